"""A unit whose journal was destroyed, or that finds somebody else's. Runs on CPython and MicroPython."""

from agent import pages
from agent.unit import OutOfService, Unit
from tests.cases import raises
from tests.dual_whole_unit import Board, enrolled
from tests.nor_flash import PowerCut

NOISE = b"\x5a" * pages.PAGE_BYTES
END_OF_A_RECORD = pages.make(0, pages.CONTINUED, b"its first page is gone")


def booted() -> "tuple[Board, Unit]":
    board = enrolled(0)
    unit = Unit(board)  # type: ignore[arg-type]  # another board's Hal, with the same names
    unit.boot()
    return board, unit


def refused(board: Board) -> "list[str]":
    """What a unit on this board says that does not even begin, and writes nothing."""
    before = len(board.journal_flash.operations), len(board.slots_flash.operations)
    error = raises(OutOfService, lambda: Unit(board).boot())  # type: ignore[arg-type]
    assert (len(board.journal_flash.operations), len(board.slots_flash.operations)) == before
    return list(error.lines[:3])


def test_a_destroyed_journal_is_not_begun_anew() -> None:
    """Under the same key, it would use every seq a second time."""
    board, _unit = booted()
    board.journal_flash.cells = [NOISE] * len(board.journal_flash.cells)
    assert refused(board) == ["OUT OF SERVICE", "Journal is ruined:", "enrol a new epoch."]


def test_pages_without_one_whole_record_are_a_ruined_journal() -> None:
    board, _unit = booted()
    board.journal_flash.cells[:33] = [END_OF_A_RECORD] * 33  # a page more than two blocks
    assert refused(board) == ["OUT OF SERVICE", "Journal is ruined:", "enrol a new epoch."]


def test_a_ruined_journal_is_not_gone_on_with_where_a_checkpoint_was() -> None:
    """The records behind it used seqs too."""
    board, unit = booted()
    written = len(board.slots_flash.operations)
    unit._checkpoint()
    assert len(board.slots_flash.operations) > written
    board.journal_flash.cells[:33] = [END_OF_A_RECORD] * 33
    assert refused(board) == ["OUT OF SERVICE", "Journal is ruined:", "enrol a new epoch."]


def test_a_new_unit_does_not_begin_among_the_pages_of_another() -> None:
    board = enrolled(0)
    board.journal_flash.cells[:33] = [END_OF_A_RECORD] * 33
    assert refused(board) == ["OUT OF SERVICE", "Flash is not empty:", "erase all of it."]


def test_first_boots_cut_short_ruin_no_journal() -> None:
    """The genesis record fits one page, so that a torn one leaves none behind, and its block is erased again."""
    board = enrolled(0)
    for _ in range(20):
        board.journal_flash.cut_at(1, 100)  # behind the erase
        raises(PowerCut, lambda: Unit(board).boot())  # type: ignore[arg-type]
    unit = Unit(board)  # type: ignore[arg-type]
    unit.boot()
    assert unit.next_seq > 1
