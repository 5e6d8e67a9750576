"""The link against a bad line, in memory: every record arrives, in order, whatever is lost. CPython and MicroPython."""

from agent import frames
from agent.link import WINDOW_RECORDS, Link

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

KID = b"kid-0001"


class Store:
    """Records 0..count-1 that say their own number."""

    def __init__(self, count: int, missing: "tuple[int, ...]" = ()) -> None:
        self.count, self.missing, self.oldest = count, missing, 0

    @property
    def next_seq(self) -> int:
        return self.count

    @property
    def head(self) -> bytes:
        return bytes(32)

    def read(self, seq: int) -> "bytes | None":
        return None if seq in self.missing or seq >= self.count else b"record %d" % seq


def link_to(store: Store) -> Link:
    return Link(store, (KID, "U-01", 1, 1, "fw"), 1000)


def heard(chunks: "list[bytes]") -> "list[Any]":
    reader = frames.Reader()
    messages: "list[Any]" = []
    for chunk in chunks:
        messages += reader.feed(chunk)
    return messages


def due(link: Link, now_ms: int) -> "list[bytes]":
    return list(link.due(now_ms))


def sent_seqs(chunks: "list[bytes]") -> "list[int]":
    return [int(message[1].split(b" ")[1]) for message in heard(chunks) if message[0] == frames.RECORD]


def welcome(link: Link, relayed_next: int = 0, now_ms: int = 0) -> None:
    link.receive(frames.encode([frames.WELCOME, 1, "GW", relayed_next]), now_ms)


def ack(link: Link, next_seq: int, now_ms: int = 0, kid: bytes = KID) -> None:
    link.receive(frames.encode([frames.ACK, kid, next_seq]), now_ms)


def test_hello_until_welcomed() -> None:
    link = link_to(Store(3))
    assert heard(due(link, 0))[0] == [frames.HELLO, 1, KID, "U-01", 1, 0, 3, bytes(32), 1, "fw"]
    assert due(link, 999) == []
    assert heard(due(link, 1000))[0][0] == frames.HELLO
    link.receive(frames.encode([frames.WELCOME, 2, "GW", 0]), 1000)  # another protocol
    assert not link.welcomed


def test_window_and_start() -> None:
    link = link_to(Store(100))
    welcome(link)
    assert sent_seqs(due(link, 0)) == list(range(WINDOW_RECORDS))
    assert due(link, 1) == []
    ack(link, 3, 2)
    assert sent_seqs(due(link, 3)) == [8, 9, 10]
    ack(link, 50, 4)  # beyond what was sent
    ack(link, 5, 4, kid=b"kid-0002")
    assert link.relayed_next == 3
    assert sent_seqs(due(link, 999)) == []
    assert sent_seqs(due(link, 1002)) == list(range(3, 11))  # no ack: back to the last one
    for relayed_next, first in ((40, 40), (100, 100), (101, 0)):
        welcome(link, relayed_next)
        assert (sent_seqs(due(link, 2000)) + [100])[0] == first


def test_hello_after_three_silent_resends() -> None:
    link = link_to(Store(2))
    welcome(link)
    said = [heard(due(link, at_ms))[0][0] for at_ms in (0, 1000, 2000, 3000)]
    assert said == [frames.RECORD, frames.RECORD, frames.RECORD, frames.HELLO]
    assert not link.welcomed


def test_wants_do_not_move_the_window() -> None:
    link = link_to(Store(30, missing=(5,)))
    welcome(link, 30)
    link.receive(frames.encode([frames.WANT, KID, 4, 99]), 0)
    seqs = []
    for turn in range(20):
        seqs += sent_seqs(due(link, turn))
    assert seqs == [4] + list(range(6, 30))
    assert link.relayed_next == 30
    link.receive(frames.encode([frames.WANT, b"kid-0002", 0, 3]), 0)
    link.receive(frames.encode([frames.WANT, KID, 7, 6]), 0)
    assert due(link, 99) == []


def test_an_unreadable_record_is_stepped_over_after_all_before_it_are_relayed() -> None:
    link = link_to(Store(6, missing=(2, 3)))
    welcome(link)
    assert sent_seqs(due(link, 0)) == [0, 1]
    assert due(link, 1) == []
    ack(link, 2, 2)
    due(link, 3)
    for turn in range(4, 8):
        for message in heard(due(link, turn)):
            if message[0] == frames.HELLO:
                oldest = message[5]
                welcome(link, oldest)
    assert oldest == 4
    assert link.unreadable == [2, 3]
    assert sent_seqs(due(link, 9)) + [5] == [4, 5, 5] or link.relayed_next == 4


def test_everything_arrives_over_a_line_that_loses_and_flips() -> None:
    state = 12345
    link, gateway = link_to(Store(60)), frames.Reader()
    got = 0
    now_ms = 0
    while got < 60:
        assert now_ms < 600000
        to_gateway = b"".join(due(link, now_ms))
        damaged = bytearray(to_gateway)
        answers = b""
        if damaged:
            state = (state * 1103515245 + 12345) & 0x7FFFFFFF
            if state >> 16 & 3 == 0:
                damaged[(state >> 8) % len(damaged)] ^= 1 << (state & 7)
        for message in gateway.feed(bytes(damaged)):
            if message[0] == frames.HELLO:
                answers += frames.encode([frames.WELCOME, 1, "GW", got])
            elif message[0] == frames.RECORD and message[1] == b"record %d" % got:
                got += 1
                answers += frames.encode([frames.ACK, KID, got])
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        if state >> 16 & 3:  # a quarter of the answers is lost
            link.receive(answers, now_ms)
        link.receive(bytes(((state >> 8) & 0xFF, 0)), now_ms)
        now_ms += 250
    assert link.noise > 0
