"""What comes into a unit from outside besides scans: times, readings. Runs on CPython and MicroPython."""

from agent import panel
from agent.alarms import CLEARED, RAISED, Limits
from agent.orders import Limit
from agent.sensors import Sensors

NOW_MS = 1795000000000  # 2026-11-18T07:06:40Z
CHANNEL = {1: "temp", 2: "Cel", 3: -2, 4: 0, 5: 8000}


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
    for at_ms in (8000, 67999):
        assert limits.take(at_ms, "culture", [3800]) == []  # it may waver
    assert limits.take(68000, "culture", [3800])[0][:2] == ("limit_temp", CLEARED)
    assert limits.take(69000, "wash", [9999]) == []
    again = Limits([limit], [CHANNEL], ["limit_temp"])  # after a reboot
    assert again.take(0, "wash", [3700])[0][1] == CLEARED


def test_panel_fits_its_display() -> None:
    full = panel.stopped("b" * 32, "s" * 32, panel.FULL, "saved")
    for lines in (full, panel.not_enrolled(), panel.broken("x" * 50, "y" * 50), panel.lines("a" * 99)):
        assert len(lines) == panel.LINES
        assert max([len(line) for line in lines]) <= panel.LINE_CHARS
    assert panel.custody(5, 5, 5, 0) == "archived all"
    assert panel.custody(5, 5, 2, 61000) == "relayed, 3 wait 1m"
    assert panel.custody(5, 4, 2, 7200000) == "saved, 3 wait 2h"


def test_an_alarm_that_could_not_be_saved_is_told_again() -> None:
    limits = Limits([Limit("temp", 360, 380, -1, 0, [])], [CHANNEL], [])
    for reading, state in ((3900, RAISED), (3700, CLEARED)):
        for at_ms in (0, 60000, 61000, 62000):  # no room, and no room, and room
            if state == CLEARED and not at_ms:
                assert limits.take(at_ms, "culture", [reading]) == []
                continue
            told = [(code, found) for code, found, _words in limits.take(at_ms, "culture", [reading])]
            assert told == [("limit_temp", state)]
            if at_ms < 62000:
                limits.not_saved("limit_temp")
        assert limits.take(3000, "culture", [reading]) == []


def test_a_value_that_wavers_about_its_limit_does_not_fill_the_journal() -> None:
    """36 hours, in which a unit has room for a hundred and seventy records more than it must have."""
    limits = Limits([Limit("temp", 360, 380, -1, 0, [])], [CHANNEL], [])
    told = []
    for second in range(0, 36 * 3600, 10):
        inside = second % 4000 < 3900 if second > 5000 else second % 20 == 0  # restless at first, then now and then
        told += limits.take(second * 1000, "culture", [3700 if inside else 3900])
    states = [state for _code, state, _words in told]
    assert states == [RAISED, CLEARED] * (len(states) // 2) + [RAISED] * (len(states) % 2)
    assert 20 < len(states) < 80
