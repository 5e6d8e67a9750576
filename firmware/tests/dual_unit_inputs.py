"""What comes into a unit from outside: scans, labels, times, readings. Runs on CPython and MicroPython."""

from agent import gs1, panel
from agent.alarms import CLEARED, RAISED, Limits
from agent.clock import Clock
from agent.orders import Limit
from agent.scanner import TRUNCATED, UNREADABLE, WHOLE, Scanner
from agent.sensors import Sensors

NOW_MS = 1795000000000  # 2026-11-18T07:06:40Z
CHANNEL = {1: "temp", 2: "Cel", 3: -2, 4: 0, 5: 8000}


def test_scanner_splits_prefix_and_suffix() -> None:
    reads = Scanner().feed(b"]d2010\x1d21\r\n]C1x\r\rplain\n", 0)
    assert [(read.aim, read.raw, read.flaw) for read in reads] == [
        ("]d2", b"010\x1d21", WHOLE),
        ("]C1", b"x", WHOLE),
        ("", b"plain", WHOLE),
    ]


def test_scanner_keeps_a_code_in_pieces_and_any_byte() -> None:
    scanner = Scanner()
    whole = b"]d1" + bytes([byte for byte in range(256) if byte not in b"\r\n"])
    reads = []
    for byte in whole + b"\r\n":
        reads += scanner.feed(bytes((byte,)), 1000)
    assert [read.raw for read in reads] == [whole[3:]]


def test_scanner_bounds_a_flood_and_goes_on() -> None:
    scanner = Scanner()
    reads = scanner.feed(b"]d1" + b"A" * 5000 + b"\r\nok\r\n", 0)
    assert [(read.raw, read.flaw) for read in reads] == [(b"A" * 400, UNREADABLE), (b"ok", WHOLE)]
    assert Scanner().feed(b"]d1" + b"A" * 400 + b"\r\n", 0)[0].flaw == WHOLE
    assert Scanner().feed(b"A" * 401 + b"\r\n", 0)[0].flaw == UNREADABLE


def test_scanner_ends_a_code_at_silence_but_not_while_bytes_wait() -> None:
    scanner = Scanner(idle_ms=400)
    assert scanner.feed(b"half", 0) == []
    assert scanner.feed(b"", 399) == []
    assert scanner.feed(b" more", 9000) == []  # the unit was busy, the line was not silent
    reads = scanner.feed(b"", 9400)
    assert [(read.raw, read.flaw) for read in reads] == [(b"half more", TRUNCATED)]


def test_scanner_collapses_repeats_and_counts_them() -> None:
    scanner = Scanner(debounce_ms=800)
    reads = []
    for at_ms in (0, 300, 600, 1300):  # held on the label: each repeat opens the window anew
        reads += scanner.feed(b"A\r\n", at_ms)
    reads += scanner.feed(b"B\r\n", 1400)
    reads += scanner.feed(b"A\r\n", 1500)
    reads += scanner.feed(b"A\r\n", 2300)
    assert [(read.raw, read.repeats) for read in reads] == [(b"A", 0), (b"B", 3), (b"A", 0), (b"A", 0)]


def _refused(aim: str, raw: bytes) -> str:
    try:
        gs1.read_label(aim, raw)
    except gs1.Gs1Error as error:
        return error.reason
    return "taken"


def _label(aim: str, raw: bytes) -> gs1.Label:
    label = gs1.read_label(aim, raw)
    assert label is not None
    return label


def test_gs1_reads_elements() -> None:
    label = _label("]d2", b"0109520000010010172712311021\x1d21S1")
    assert (label.gtin, label.expiry, label.lot, label.serial) == ("09520000010010", "271231", "21", "S1")
    assert _label("]C1", b"\x1d10LOT").lot == "LOT"
    assert _label("]E0", b"4006381333931").gtin == "04006381333931"
    assert _label("]d2", b"00106141411234567897").elements["00"] == "106141411234567897"


def test_gs1_leaves_plain_symbologies_alone() -> None:
    for aim in ("]d1", "]C0", "]Q1"):
        assert gs1.read_label(aim, b"0109520000010010") is None
    assert _label("", b"0109520000010010").gtin == "09520000010010"
    assert gs1.read_label("", b"0109520000010014") is None  # wrong check digit: no label, then


def test_gs1_refuses_what_it_would_have_to_guess() -> None:
    assert _refused("]d2", b"0109520000010010" + b"21ABC17271231") == "ambiguous"
    assert _refused("]d2", b"21ABC0109520000010010") == "ambiguous"
    assert _refused("]d2", b"10" + b"A" * 21) == "ambiguous"
    assert _refused("]d2", b"0109520000010010" + b"1727123121ABC") == "taken"
    assert _refused("]d2", b"21LOT1710") == "taken"  # no date: an honest serial


def test_gs1_refuses_what_is_damaged() -> None:
    for raw in (
        b"0109520000010014", b"010952000001001", b"17271331", b"17271232", b"17271200\x1d10", b"", b"\x1d\x1d", b"9",
        b"10A\x1d10B", b"10\xff", b"10A\x00", b"zz123", b"88123",
    ):  # fmt: skip
        assert _refused("]d2", raw) == "unreadable", raw


def test_gs1_expiry_days_and_centuries() -> None:
    assert gs1.end_of_day_ms("261118", NOW_MS) == 1795046400000
    assert gs1.end_of_day_ms("270200", NOW_MS) == gs1.end_of_day_ms("270228", NOW_MS)
    assert gs1.end_of_day_ms("280200", NOW_MS) == gs1.end_of_day_ms("280229", NOW_MS)
    assert gs1.end_of_day_ms("760101", NOW_MS) > NOW_MS  # 50 ahead: this century
    assert gs1.end_of_day_ms("770101", NOW_MS) < NOW_MS  # 51 ahead: the last one
    for wrong in ("270230", "271301", "270001"):
        try:
            gs1.end_of_day_ms(wrong, NOW_MS)
        except gs1.Gs1Error:
            continue
        raise AssertionError(wrong)


def test_clock_grows_uncertain_and_takes_the_better_word() -> None:
    clock = Clock(link_delay_ms=100)
    assert clock.now(5) is None
    assert clock.told(NOW_MS, 20, 1000) == (True, None)
    assert clock.now(1000) == (NOW_MS, 121)
    assert clock.now(1000 + 10000000) == (NOW_MS + 10000000, 120 + 1000 + 1)
    assert clock.told(NOW_MS + 10000000 + 50, 20, 1000 + 10000000) == (False, 50)  # within bounds: no record
    assert clock.now(1000 + 10000000) == (NOW_MS + 10000050, 121)
    assert clock.told(NOW_MS, 0, 1000 + 10000000) == (True, -10000050)
    assert clock.now(1000 + 10000000) == (NOW_MS, 101)


def test_sensors_mark_what_is_wrong() -> None:
    sensors = Sensors([CHANNEL, CHANNEL])
    sensors.begin(2, 500)
    bodies = [sensors.take([3700 + at % 7, value]) for at, value in enumerate([None, "fault", 9000, -1] + [5] * 56)]
    assert bodies[:59] == [None] * 59
    body = bodies[59]
    assert body is not None
    assert (body[1], body[2], body[3], body[4]) == (2, 500, 1000, 60)
    assert body[6] == [[1, 0, 1, 1], [1, 1, 1, 4], [1, 2, 2, 3]]
    assert sensors.flush() is None


def test_sensors_call_a_frozen_value_stuck() -> None:
    sensors = Sensors([CHANNEL])
    sensors.begin(2, 0)
    marks = []
    for _ in range(180):
        body = sensors.take([3700])
        if body:
            marks.append(body.get(6))
    assert marks == [None, [[0, 59, 1, 2]], [[0, 0, 60, 2]]]


def test_sensors_lose_what_the_front_end_no_longer_keeps() -> None:
    sensors = Sensors([CHANNEL])
    sensors.begin(2, 0)
    assert sensors.due(999) == (0, 0, 1)
    assert sensors.due(99000) == (0, 36, 64)


def test_alarms_wait_for_the_delay_and_clear() -> None:
    limit = Limit("temp", 360, 380, -1, 3000, ["culture"])
    limits = Limits([limit], [CHANNEL], [])
    found = []
    for at_ms, reading in (
        (0, 3900),
        (2000, 3900),
        (2500, 3700),
        (3000, 3900),
        (6000, None),
        (6100, 3810),
        (7000, 3900),
    ):
        found += limits.take(at_ms, "culture", [reading])
    assert [(code, state) for code, state, _words in found] == [("limit_temp", RAISED)]
    assert limits.take(8000, "culture", [3800])[0][:2] == ("limit_temp", CLEARED)
    assert limits.take(9000, "wash", [9999]) == []
    again = Limits([limit], [CHANNEL], ["limit_temp"])  # after a reboot
    assert again.take(0, "wash", [3700])[0][1] == CLEARED


def test_panel_fits_its_display() -> None:
    for lines in (panel.full(12345678), panel.not_enrolled(), panel.broken("x" * 50, "y" * 50), panel.lines("a" * 99)):
        assert len(lines) == panel.LINES
        assert max([len(line) for line in lines]) <= panel.LINE_CHARS
    assert panel.custody(5, 5, 5, 0) == "archived all"
    assert panel.custody(5, 5, 2, 61000) == "relayed, 3 wait 1m"
    assert panel.custody(5, 4, 2, 7200000) == "saved, 3 wait 2h"
