"""The uplink core and the wants, in simulated time: every row of every stream gets to a cloud that loses messages."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.uplink import ASK_ROWS, WINDOW_ROWS, After, Range, Rows, Uplink
from gateway.wants import FOR_UNIT_MAX, Wants
from wire import Want

RESEND_MS, LONGEST_MS = 1_000, 8_000


class ModelSpool:
    """Rows by lane, as the real one would give them."""

    def __init__(self, rows: dict[bytes | None, list[int]]) -> None:
        self.rows = {kid: list(numbers) for kid, numbers in rows.items()}

    def newest(self) -> int:
        return max((row for numbers in self.rows.values() for row in numbers), default=0)

    def publish(self, uplink: Uplink, now_ms: int) -> dict[bytes | None, list[list[int]]]:
        """Everything that is due now, by lane."""
        messages: dict[bytes | None, list[list[int]]] = {}
        for _ in range(1000):
            ask = uplink.next(now_ms)
            if ask is None:
                return messages
            assert isinstance(ask, After)
            found = [row for row in self.rows.get(ask.kid, []) if row > ask.row][: ask.limit]
            if found:
                messages.setdefault(ask.kid, []).append(found)
                uplink.published(ask, found, found[-1], now_ms)
            else:
                uplink.nothing(ask, self.newest())
        raise AssertionError("the uplink never rests")


def uplink_for(spool: ModelSpool) -> Uplink:
    uplink = Uplink(RESEND_MS, LONGEST_MS, lambda: 1.0)
    for kid in spool.rows:
        uplink.added(kid)
    return uplink


@settings(deadline=None)
@given(
    counts=st.lists(st.integers(0, 700), min_size=1, max_size=3),
    refused=st.integers(0, 600),
    fates=st.lists(st.sampled_from(["lost", "kept", "first", "reconnect", "silent"]), max_size=20),
)
def test_every_row_is_receipted_whatever_is_lost_and_whoever_is_refused(
    counts: list[int], refused: int, fates: list[str]
) -> None:
    first = 1
    rows: dict[bytes | None, list[int]] = {None: list(range(100_000, 100_000 + refused))}
    for number, count in enumerate(counts):
        rows[bytes([number])] = list(range(first, first + count))
        first += count
    spool, now_ms = ModelSpool(rows), 0
    uplink = uplink_for(spool)
    ledger: dict[bytes | None, set[int]] = {kid: set() for kid in rows}
    for fate in [*fates, *["kept"] * 60]:
        if fate == "reconnect":
            uplink.restart()
        for kid, messages in spool.publish(uplink, now_ms).items():
            for number, message in enumerate(messages):
                assert len(message) <= ASK_ROWS
                if kid is None or fate == "lost" or (fate == "first" and number):
                    continue
                ledger[kid].update(message)
        for kid in rows:
            if kid is None or fate == "silent":
                continue
            gone = [row for row in spool.rows[kid] if row in ledger[kid]]
            if gone:
                spool.rows[kid] = [row for row in spool.rows[kid] if row not in ledger[kid]]
                uplink.answered(kid, gone, len(spool.rows[kid]), now_ms)
        now_ms += LONGEST_MS
    assert all(not numbers for kid, numbers in spool.rows.items() if kid is not None)


def test_no_more_than_a_window_is_under_way_and_silence_grows_the_waits() -> None:
    spool = ModelSpool({b"a": list(range(1, 2000))})
    uplink = uplink_for(spool)
    uplink.lane(b"a").slow = False
    sent_at: list[int] = []
    for now_ms in range(0, 120_000, 100):
        messages = spool.publish(uplink, now_ms).get(b"a", [])
        assert sum(map(len, messages)) <= WINDOW_ROWS
        if messages:
            sent_at.append(now_ms)
    waits = [later - earlier for earlier, later in pairwise(sent_at)]
    assert waits[:4] == [1000, 2000, 4000, 8000]
    assert set(waits[4:]) == {LONGEST_MS}


def test_a_lane_that_was_never_answered_is_resent_ever_more_rarely() -> None:
    spool = ModelSpool({None: [1, 2, 3]})
    uplink = uplink_for(spool)
    sent = sum(bool(spool.publish(uplink, now_ms)) for now_ms in range(0, 3_600_000, 500))
    assert 10 < sent < 60


def test_refused_rows_do_not_hide_what_stands_behind_them() -> None:
    spool = ModelSpool({b"a": list(range(1, WINDOW_ROWS + 20))})  # a window of forged rows, then true ones
    uplink = uplink_for(spool)
    seen: set[int] = set()
    for now_ms in range(0, 20_000, 500):
        for message in spool.publish(uplink, now_ms).get(b"a", []):
            seen.update(message)
    assert WINDOW_ROWS + 19 in seen


def test_new_rows_are_sent_at_once_even_in_silence() -> None:
    spool = ModelSpool({b"a": [1]})
    uplink = uplink_for(spool)
    spool.publish(uplink, 0)
    spool.rows[b"a"].append(2)
    uplink.added(b"a")
    assert spool.publish(uplink, 10) == {b"a": [[2]]}
    assert spool.publish(uplink, 20) == {}


def test_what_the_cloud_asked_for_goes_first_and_ignores_the_window() -> None:
    uplink = Uplink(RESEND_MS, LONGEST_MS, lambda: 1.0)
    uplink.added(b"a")
    full = After(b"a", 0, ASK_ROWS)
    assert uplink.next(0) == full
    uplink.want(Want(b"a", 5, 900))
    uplink.refill(77)
    ask = uplink.next(0)
    assert ask == Rows((77,))
    uplink.published(ask, [77], 5, 0)
    ask = uplink.next(0)
    assert ask == Range(b"a", 5, 900, ASK_ROWS)
    uplink.published(ask, [1, 2], 300, 0)
    ask = uplink.next(0)
    assert ask == Range(b"a", 301, 900, ASK_ROWS)
    uplink.nothing(ask, 2)
    assert uplink.next(0) == full


def test_after_a_long_silence_nobody_sits_out_the_long_wait() -> None:
    spool = ModelSpool({b"a": [1]})
    uplink = uplink_for(spool)
    for now_ms in range(0, 60_000, 100):
        spool.publish(uplink, now_ms)
    uplink.cloud_woke(60_000)
    assert spool.publish(uplink, 60_000 + RESEND_MS) == {b"a": [[1]]}


def test_a_want_is_passed_on_for_what_is_missing_and_for_what_is_asked_twice() -> None:
    wants = Wants()
    wants.asked(Want(b"a", 5, 9), [(6, 6)])
    assert wants.take_for_unit(b"a") == [Want(b"a", 6, 6)]
    assert wants.take_for_unit(b"a") == []
    assert wants.is_asked(b"a", 7)
    wants.asked(Want(b"a", 8, 12), [])
    assert wants.take_for_unit(b"a") == [Want(b"a", 8, 9)]
    wants.receipted(b"a", 12)
    assert not wants.is_asked(b"a", 7)
    wants.asked(Want(b"a", 8, 12), [])
    assert wants.take_for_unit(b"a") == []


def test_wants_for_an_absent_unit_wait_within_bounds() -> None:
    wants = Wants()
    for first in range(0, 10_000, 2):
        wants.asked(Want(b"a", first, first), [(first, first)])
    assert wants.waiting_for(b"a") == FOR_UNIT_MAX
    wants.receipted(b"a", 9_990)
    assert [want.first for want in wants.take_for_unit(b"a")] == [9_992, 9_994, 9_996, 9_998]
