"""The wall clock, and every counter of time and order at the widths where machines wrap. Runs on both interpreters."""

from agent import cbor, events, samples
from agent.clock import DRIFT_PPM, EARLIEST_MS, LATEST_MS, STEP_MS, Clock
from agent.dialogue import OVERRIDE_MS
from agent.link import Link
from agent.sensors import Sensors
from tests.procedure_bench import DONOR, NOW_MS, Bench, kit

DAY_MS = 86400000
EDGES = [1 << bits for bits in (16, 24, 30, 31, 32, 53)]  # 2^30 ms are 12 days, 2^32 are 50
CHANNEL = {1: "temp", 2: "Cel", 3: -2, 4: 0, 5: 5000}


def recorded(clock: Clock) -> "tuple[bool, int | None]":
    """Whether a clock record is due, and its step; then it has been written."""
    due, step_ms = clock.is_due, clock.step_ms
    if due:
        clock.recorded()
    return due, step_ms


def test_clock_is_unknown_until_told_and_then_grows_uncertain() -> None:
    clock = Clock(link_delay_ms=100)
    assert clock.now(5) is None
    assert recorded(clock) == (False, None)
    clock.told(NOW_MS, 20, 1000)
    assert recorded(clock) == (True, None)
    assert clock.now(1000) == (NOW_MS, 121)
    assert clock.now(1000 + DAY_MS) == (NOW_MS + DAY_MS, 120 + DAY_MS * DRIFT_PPM // 1000000 + 1)


def test_clock_takes_the_better_word_silently_and_tells_of_steps() -> None:
    clock = Clock(link_delay_ms=100)
    clock.told(NOW_MS, 20, 0)
    recorded(clock)
    later_ms = 10000000
    clock.told(NOW_MS + later_ms + 50, 20, later_ms)  # within the bounds, and less than anybody notices
    assert recorded(clock) == (False, None)
    assert clock.now(later_ms) == (NOW_MS + later_ms + 50, 121)
    clock.told(NOW_MS + later_ms + 60, 5000, later_ms)  # a worse word within the bounds is no news
    assert clock.now(later_ms) == (NOW_MS + later_ms + 50, 121)
    clock.told(NOW_MS, 0, later_ms)  # a jump, and back in time
    assert recorded(clock) == (True, -later_ms - 50)
    assert clock.now(later_ms) == (NOW_MS, 101)
    days_ms = later_ms + 10 * DAY_MS  # uncertain by minutes now: within the bounds, but a step of two seconds
    clock.told(NOW_MS + 10 * DAY_MS + 2 * STEP_MS, 20, days_ms)
    assert recorded(clock) == (True, 2 * STEP_MS)
    assert recorded(clock) == (False, None)


def test_clock_steps_that_could_not_be_recorded_add_up() -> None:
    clock = Clock(link_delay_ms=0)
    clock.told(NOW_MS, 0, 0)
    clock.told(NOW_MS + 5000, 0, 0)
    assert recorded(clock) == (True, None)  # the first setting of this boot, whatever came after it
    clock.told(NOW_MS + 8000, 0, 0)
    clock.told(NOW_MS + 7000, 0, 0)
    assert recorded(clock) == (True, 2000)


def test_clock_holds_the_truth_at_every_drift_it_admits() -> None:
    for ppm in (-DRIFT_PPM, -30, 0, 30, DRIFT_PPM):
        clock = Clock(link_delay_ms=250)
        clock.told(NOW_MS - 20, 20, 0)
        for hour in range(0, 49, 6):
            truth_ms = NOW_MS + hour * 3600000
            uptime_ms = hour * 3600000 + hour * 3600 * ppm // 1000  # as the unit's crystal counts
            shown = clock.now(uptime_ms)
            assert shown is not None
            assert abs(shown[0] - truth_ms) <= shown[1], (ppm, hour)
            if hour == 24:
                clock.told(truth_ms - 250, 20, uptime_ms)


def test_clock_ignores_a_gateway_that_has_no_time_itself() -> None:
    clock = Clock(link_delay_ms=100)
    for time_ms in (0, 946684800000, EARLIEST_MS - 1, LATEST_MS + 1, (1 << 63) - 1):
        clock.told(time_ms, 20, 1000)
        assert clock.now(1000) is None
    clock.told(NOW_MS, 20, 1000)
    clock.told(0, 20, 2000)
    assert clock.now(2000) == (NOW_MS + 1000, 121)


def near_edges() -> "list[int]":
    return [edge + by for edge in EDGES for by in (-2, -1, 0, 1, 2)]


def test_records_carry_numbers_beyond_every_width() -> None:
    for number in near_edges():
        event = events.event(
            number, bytes(32), number, number, (number, number), events.HEARTBEAT, "B", "O", {1: number}
        )
        raw = cbor.encode(event)
        again = cbor.decode(raw)
        assert (again[1], again[3], again[4], again[5], again[6], again[10][1]) == (number,) * 6
        assert events.seq_of(b"\xd2\x84\x43abc\xa0\x58\xff" + raw) == number


def test_clock_and_sensors_run_through_every_width_of_uptime() -> None:
    for edge in EDGES:
        clock = Clock(link_delay_ms=0)
        clock.told(NOW_MS, 0, edge - 2000)
        sensors = Sensors([CHANNEL])
        sensors.begin(3, edge - 2000)
        for uptime_ms in range(edge - 2000, edge + 3000, 500):
            assert clock.now(uptime_ms) == (NOW_MS + uptime_ms - edge + 2000, 1 + (uptime_ms - edge + 2000) // 5000)
            first_ms, lost, count = sensors.due(uptime_ms)
            assert (lost, count) == (0, 1 if uptime_ms % 1000 == edge % 1000 else 0), uptime_ms - edge
            if count:
                assert first_ms == uptime_ms
                assert sensors.take([3700]) is None
        body = sensors.flush()
        assert body is not None
        assert (body[2], body[4]) == (edge - 2000, 5)
        batch = samples.SampleBatch(3, edge - 30000, 1000, 1)
        batch.add([(1, 0)])
        assert not batch.full(edge + 29999)
        assert batch.full(edge + 30000)


def test_an_override_may_run_through_every_width_of_uptime() -> None:
    for edge in EDGES:
        bench = Bench()
        bench.uptime_ms = edge - OVERRIDE_MS // 2
        bench.ready()
        bench.scan(DONOR)
        bench.reason(kit("S1", "251231"))
        bench.pass_ms(OVERRIDE_MS - 1)
        bench.override()
        bench.reason(kit("S1", "251231"))
        bench.pass_ms(OVERRIDE_MS)
        assert not bench.scan("CT/OVERRIDE/too late").accepted


class Records:
    """A stream of records that the link may send."""

    def __init__(self, first: int) -> None:
        self.oldest, self.next_seq, self.head = first, first + 3, bytes(32)

    def read(self, seq: int) -> bytes:
        return b"record %d" % seq


def test_the_link_repeats_its_hello_at_every_width_of_uptime_and_seq() -> None:
    for edge in EDGES:
        link = Link(Records(edge - 1), (b"kid-0001", "U-01", 1, 1, "fw"), 2000)
        sent = [len(list(link.due(uptime_ms))) for uptime_ms in range(edge - 2500, edge + 2501, 500)]
        assert sent == [1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0], sent
