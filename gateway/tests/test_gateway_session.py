"""The session core against a unit that follows SPEC section 8, over a line that loses, doubles and reorders frames."""

import hashlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import SpoolFullError
from gateway.ports import Outgoing
from gateway.session import Session
from gateway.spool import Spool, open_spool
from gateway.tests.standins import CLOUD_KEY, CLOUD_SEED
from gateway.tests.standins import Stream as Records
from wire import (
    FIRST_PREV,
    Ack,
    Hello,
    Message,
    Order,
    OrderChunk,
    OrderStep,
    ReceiptFrame,
    RecordFrame,
    Status,
    Time,
    Welcome,
    cbor,
    cose,
    sign_order,
    verify_order,
    verify_receipt,
)

RECORDS = Records("session")
RECORDS.write(24)
WINDOW = 8  # SPEC W55


class ModelUnit:
    """W53..W55 as a model: what it would send next, and what it makes of answers."""

    def __init__(self) -> None:
        self.oldest = 0
        self.written = 0
        self.restart()

    def restart(self) -> None:
        self.welcomed, self.acked, self.sent = False, 0, 0

    def says(self) -> list[Message]:
        if not self.welcomed:
            head = hashlib.sha256(RECORDS.records[self.written - 1]).digest() if self.written else FIRST_PREV
            return [Hello(RECORDS.kid, "U-01", 1, self.oldest, self.written, head, 1, "model")]
        frames: list[Message] = []
        while self.sent < min(self.written, self.acked + WINDOW):
            frames.append(RecordFrame(RECORDS.records[self.sent]))
            self.sent += 1
        return frames

    def hears(self, message: Message) -> None:
        if isinstance(message, Welcome):
            relayed = message.relayed_next
            self.acked = self.sent = self.oldest if relayed > self.written else max(self.oldest, relayed)
            self.welcomed = True
        elif isinstance(message, Ack) and self.welcomed and self.acked <= message.next <= self.written:
            self.acked = message.next

    def resend(self) -> None:
        self.sent = self.acked


class Bench:
    """A gateway's session and spool that can be killed between commits, or in the middle of one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.spool: Spool | None = None
        self.restart()

    def restart(self) -> None:
        if self.spool is not None:
            self.spool.close()
        self.spool = open_spool(self.folder)
        # The promises here are about order, not about the disk: test_gateway_spool.py cares for that.
        self.spool._connection.execute("PRAGMA synchronous = OFF")
        self.session = Session("gw", lambda: Time(0, 0))

    def hear(self, messages: list[Message], *, dies: bool) -> list[Outgoing]:
        assert self.spool is not None
        replies: list[Outgoing] = []
        try:
            with self.spool.transaction():
                for message in messages:
                    replies.extend(self.session.heard(message, self.spool, 1).replies)
                ack = self.session.commit(self.spool)
                if dies:
                    raise SpoolFullError("killed before the commit")
        except SpoolFullError:
            self.restart()
            return []
        return replies if ack is None else [*replies, ack]

    def held(self) -> list[bytes]:
        assert self.spool is not None
        return [row.record for row in self.spool.rows_between(RECORDS.kid, 0, 2**62, 1000)]


Step = tuple[str, int, list[str], list[str]]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["talk", "talk", "talk", "unit_restarts", "gateway_restarts", "dies", "resend"]),
        st.integers(0, 3),  # records written meanwhile
        st.lists(st.sampled_from(["lost", "doubled", "last"]), max_size=4),  # what the line does to the frames
        st.lists(st.sampled_from(["lost", "doubled", "last"]), max_size=4),  # and to the answers
    ),
    max_size=14,
)


def through_line(messages: list[Message], faults: list[str]) -> list[Message]:
    arriving = list(messages)
    for place, fault in enumerate(faults):
        if not arriving:
            break
        index = place * 7 % len(arriving)
        if fault == "lost":
            arriving.pop(index)
        elif fault == "doubled":
            arriving.insert(0, arriving[index])
        else:
            arriving.append(arriving.pop(index))
    return arriving


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS)
def test_every_record_is_stored_once_and_none_is_acknowledged_before(steps: list[Step]) -> None:
    """SPEC W54, W57."""
    with tempfile.TemporaryDirectory() as folder:
        bench, unit = Bench(Path(folder)), ModelUnit()
        recovery: list[Step] = [("resend", 0, [], []), ("talk", 0, [], []), ("unit_restarts", 0, [], [])]
        recovery += [("resend", 0, [], []), ("talk", 0, [], [])] * 10
        for what, written, there, back in [*steps, *recovery]:
            unit.written = min(len(RECORDS.records), unit.written + written)
            if what == "unit_restarts":
                unit.restart()
            elif what == "gateway_restarts":
                bench.restart()
                unit.restart()  # a restarted gateway says who
            elif what == "resend":
                unit.resend()
            arriving = through_line(unit.says(), there)
            replies = [reply() if callable(reply) else reply for reply in bench.hear(arriving, dies=what == "dies")]
            for reply in through_line(replies, back):
                unit.hears(reply)
            assert set(RECORDS.records[unit.oldest : unit.acked]) <= set(bench.held())
        assert unit.acked == unit.written
        assert bench.held() == RECORDS.records[: unit.written]
        assert bench.spool is not None
        bench.spool.close()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def hello(next_seq: int, oldest: int = 0, head: bytes | None = None) -> Hello:
    known = hashlib.sha256(RECORDS.records[next_seq - 1]).digest() if next_seq else FIRST_PREV
    return Hello(RECORDS.kid, "U-01", 1, oldest, next_seq, head or known, 1, "model")


def record(seq: int) -> RecordFrame:
    return RecordFrame(RECORDS.records[seq])


def test_a_failed_commit_acknowledges_nothing(bench: Bench) -> None:
    """SPEC W54."""
    bench.hear([hello(3)], dies=False)
    assert bench.hear([record(0), record(1)], dies=True) == []
    assert bench.hear([hello(3)], dies=False)[0] == Welcome("gw", 0)


def test_repeats_are_acknowledged_again_and_gaps_are_not_passed(bench: Bench) -> None:
    bench.hear([hello(5)], dies=False)
    assert bench.hear([record(0), record(1)], dies=False) == [Ack(RECORDS.kid, 2)]
    assert bench.hear([record(1)], dies=False) == [Ack(RECORDS.kid, 2)]
    assert bench.hear([record(4)], dies=False) == [Ack(RECORDS.kid, 2)]
    assert bench.held() == [RECORDS.records[0], RECORDS.records[1], RECORDS.records[4]]


def test_a_record_before_hello_or_of_another_stream_is_stored_and_not_acknowledged(bench: Bench) -> None:
    other = Records("stranger")
    other.write(2)
    assert bench.hear([record(0), RecordFrame(other.records[1])], dies=False) == []
    assert bench.spool is not None
    assert bench.spool.stranger_rows() == 2


def test_bytes_that_are_no_record_are_counted_and_not_acknowledged(bench: Bench) -> None:
    bench.hear([hello(2)], dies=False)
    flipped = bytearray(RECORDS.records[0])
    flipped[3] ^= 1
    for raw in (b"\x00", bytes(flipped), RECORDS.records[0][:-1], RECORDS.records[0] + b"\x00", b"\x9f" * 900):
        assert bench.hear([RecordFrame(raw)], dies=False) == []
    assert sum(bench.session.refused.values()) == 5
    assert "cannot be read" in bench.session.refusal
    assert "U-01" in bench.session.refusal
    assert bench.held() == []


def test_a_type_that_this_version_does_not_know_is_carried(bench: Bench) -> None:
    event = cbor.encode({1: 0, 2: FIRST_PREV, 3: 1, 4: 0, 7: 23, 10: {1: 5}})
    raw = cose.sign1(RECORDS.seed, cose.Purpose.RECORD, event)
    bench.hear([hello(1)], dies=False)
    assert bench.hear([RecordFrame(raw)], dies=False) == [Ack(RECORDS.kid, 1)]
    assert bench.held() == [raw]


@pytest.mark.parametrize(
    ("said", "relayed"),
    [
        (hello(5), 5),  # nothing new
        (hello(9), 5),  # more to come
        (hello(9, oldest=7), 7),  # the cloud has the rest
        (hello(3), 0),  # set back: all it holds is asked for
        (hello(5, head=b"\5" * 32), 0),  # another record 4 than ours
    ],
)
def test_where_a_welcome_starts(bench: Bench, said: Hello, relayed: int) -> None:
    bench.hear([hello(5), *(record(seq) for seq in range(5))], dies=False)
    bench.restart()
    assert bench.hear([said], dies=False)[0] == Welcome("gw", relayed)


def set_back_at(seq: int, upto: int) -> list[bytes]:
    """What a unit holds that lost its records from seq on and has written others since."""
    other = Records("session")
    other.records = RECORDS.records[:seq]
    while len(other.records) < upto:
        other.records.append(other.sign(len(other.records), other.head, "written anew"))
    return other.records


@pytest.mark.parametrize("lost", [4, 2])
def test_a_unit_that_was_set_back_and_wrote_on_is_asked_for_all_it_holds(bench: Bench, lost: int) -> None:
    """SPEC W54: its hello counts beyond what is held here, and only the next record's predecessor gives it away."""
    bench.hear([hello(5), *(record(seq) for seq in range(5))], dies=False)
    anew = set_back_at(lost, 9)
    assert bench.hear([hello(9)], dies=False)[0] == Welcome("gw", 5)
    for at in range(2):
        frames: list[Message] = [RecordFrame(raw) for raw in anew[5:7]]
        assert bench.hear(frames, dies=at == 0) == ([] if at == 0 else [Welcome("gw", 0), Ack(RECORDS.kid, 0)])
        if at == 0:
            assert bench.hear([hello(9)], dies=False)[0] == Welcome("gw", 5)
    bench.restart()
    assert bench.hear([hello(9)], dies=False)[0] == Welcome("gw", 0), "a gateway that dies forgets it"
    assert bench.hear([RecordFrame(raw) for raw in anew], dies=False) == [Ack(RECORDS.kid, 9)]
    assert set(bench.held()) == {*RECORDS.records[:5], *anew}
    bench.restart()
    assert bench.hear([hello(9, head=hashlib.sha256(anew[-1]).digest())], dies=False)[0] == Welcome("gw", 9)


def test_a_unit_whose_own_chain_is_broken_is_asked_once(bench: Bench) -> None:
    bench.hear([hello(9), *(record(seq) for seq in range(5))], dies=False)
    anew = set_back_at(4, 9)
    assert bench.hear([hello(9)], dies=False)[0] == Welcome("gw", 5)
    assert bench.hear([RecordFrame(anew[5])], dies=False) == [Welcome("gw", 0)]
    broken: list[Message] = [*(record(seq) for seq in range(5)), *(RecordFrame(raw) for raw in anew[5:])]
    assert bench.hear(broken, dies=False) == [Ack(RECORDS.kid, 9)]


def test_a_hello_that_no_store_can_count_is_not_answered(bench: Bench) -> None:
    assert bench.hear([hello(0, oldest=2**63)], dies=False) == []
    assert bench.session.refused == {"wrong_shape": 1}


def test_the_welcome_brings_time_receipt_and_order(bench: Bench) -> None:
    assert bench.spool is not None
    bench.hear([hello(5), *(record(seq) for seq in range(5))], dies=False)
    receipt = RECORDS.receipt(3)
    assert bench.spool.cover(verify_receipt(receipt, CLOUD_KEY), 1).matched
    steps = tuple(OrderStep(f"step-{n}", "a step with a name", ()) for n in range(30))
    raw = sign_order(CLOUD_SEED, Order(7, RECORDS.kid, "B-1", "recipe", 1, b"\1" * 32, steps, (), 1, ()))
    with bench.spool.transaction():
        bench.spool.keep_order(verify_order(raw, CLOUD_KEY))
    bench.restart()
    welcome, clock, latest, *chunks = bench.hear([hello(5, oldest=4)], dies=False)
    assert (welcome, latest) == (Welcome("gw", 5), ReceiptFrame(receipt))
    assert callable(clock), "a time is told when its frame is written, and no earlier"
    assert clock() == Time(0, 0)
    assert len(chunks) > 1
    assert b"".join(chunk.chunk for chunk in chunks if isinstance(chunk, OrderChunk)) == raw


def test_an_older_order_does_not_replace_a_newer_one(bench: Bench) -> None:
    assert bench.spool is not None
    newer, older = (
        sign_order(
            CLOUD_SEED, Order(number, RECORDS.kid, "B", "r", 1, b"\1" * 32, (OrderStep("s", "s", ()),), (), 1, ())
        )
        for number in (5, 4)
    )
    for raw in (newer, older):
        with bench.spool.transaction():
            bench.spool.keep_order(verify_order(raw, CLOUD_KEY))
    assert bench.spool.order(RECORDS.kid) == newer


def test_a_status_is_kept_for_people_only(bench: Bench) -> None:
    status = Status(1, 2, 3, 4, {"noise": 5})
    assert bench.hear([status], dies=False) == []
    assert bench.session.status == status
