"""A unit whose journal was destroyed. Runs on CPython and MicroPython."""

from agent.unit import OutOfService, Unit
from tests.cases import raises
from tests.dual_whole_unit import enrolled


def test_a_ruined_journal_is_not_begun_anew() -> None:
    """Under the same key, it would use every seq a second time."""
    board = enrolled(0)
    unit = Unit(board)  # type: ignore[arg-type]
    unit.boot()
    flash = board.journal_flash
    flash.cells = [b"\x5a" * flash.page] * len(flash.cells)
    before = len(flash.operations)
    error = raises(OutOfService, Unit(board).boot)  # type: ignore[arg-type]
    assert error.lines[:3] == ["OUT OF SERVICE", "Journal is ruined:", "enrol a new epoch."]
    assert len(flash.operations) == before
