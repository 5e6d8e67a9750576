"""What a gateway tells a whole unit of the time. Runs on CPython and MicroPython."""

from agent import events, frames
from agent.unit import Unit
from tests.dual_whole_unit import HOUR_MS, NOW_MS, enrolled, events_of, run, scan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def clocks_of(unit: Unit) -> "list[Any]":
    return [event for event in events_of(unit) if event[7] == events.CLOCK]


def test_a_gateway_whose_time_jumps_does_not_fill_the_journal() -> None:
    board = enrolled(0)
    unit = Unit(board)  # type: ignore[arg-type]
    unit.boot()
    for number in range(20):
        board.heard = frames.encode([frames.TIME, NOW_MS + (number % 2) * HOUR_MS, 10])
        run(unit, board, board.now_ms + 1000)
    assert len(clocks_of(unit)) == 1
    board.heard = frames.encode([frames.TIME, NOW_MS + 2 * HOUR_MS, 10])
    run(unit, board, 100 * 1000)
    first, second = clocks_of(unit)
    assert second[10][2] // 1000 == 2 * HOUR_MS // 1000 - 20  # all steps since the first record, added up


def test_a_time_that_waited_in_the_line_is_not_trusted_for_more_than_it_says() -> None:
    """Receipts before it are verified first, and the unit may have been busy since it read the line before."""
    board = enrolled(0)
    unit = Unit(board)  # type: ignore[arg-type]
    unit.boot()
    run(unit, board, 1000)
    board.now_ms += 700  # busy: the frame came somewhere in between
    arrived_ms = board.now_ms - 690
    board.heard = frames.encode([frames.TIME, NOW_MS, 10])
    unit.turn()
    scan(unit, board, "CT/BADGE/OP-1")
    event = events_of(unit)[-1]
    assert abs(event[5] - (NOW_MS + event[4] - arrived_ms)) <= event[6]
