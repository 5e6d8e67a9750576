"""A unit whose journal is full, or cannot be freed because flash is worn: what it refuses is counted, and told."""

from typing import Any

from agent import cbor, events
from agent.unit import Unit
from tests.dual_unit_set_back import booted, hear
from tests.dual_whole_unit import Board, enrolled, events_of, receipt, run, scan
from tests.nor_flash import NorFlash


class WornSlots(NorFlash):
    """Slots of which no block can be erased any more."""

    tried = 0

    def erase(self, address: int) -> None:
        self.tried += 1
        raise OSError("the flash did not erase a block")


def filled(board: Board) -> Unit:
    """A unit that takes no more scans, because nothing is archived."""
    board.journal_flash = NorFlash(4)
    unit = booted(board)
    scan(unit, board, "CT/BADGE/OP-1")
    while not unit._custody.full:
        unit._append(events.COMMENT, events.comment("x" * 255))
    return unit


def test_refused_scans_are_told_after_a_power_cut_too() -> None:
    board = enrolled(0)
    unit = filled(board)
    for number in range(3):
        scan(unit, board, "CT/NOTE/%d" % number)
        run(unit, board, board.now_ms + 1000)
    assert board.lines[:5] == ["JOURNAL FULL", "", "DO NOT SCAN", "Nothing can be saved:", "check the gateway."]
    before, unit = unit.next_seq, booted(board)
    hear(unit, board, receipt(unit, before - 1))
    run(unit, board, 5000)
    losses = [event[10] for event in events_of_waiting(unit) if event[7] == events.LOSS]
    assert [(loss[1], loss[2]) for loss in losses] == [("scans", 3)]
    unit = booted(board)
    run(unit, board, 5000)
    assert len([event for event in events_of_waiting(unit) if event[7] == events.LOSS]) == 1, "told twice"


def events_of_waiting(unit: Unit) -> "list[Any]":
    found = []
    for seq in range(unit.oldest, unit.next_seq):
        record = unit.read(seq)
        assert record is not None
        found.append(cbor.decode(cbor.decode(record[1:])[2]))
    return found


def test_worn_flash_is_told_to_the_gateway_and_when_nothing_can_be_saved_on_the_panel() -> None:
    board = enrolled(0)
    unit = booted(board)
    board.slots_flash = unit._slots._flash = WornSlots(8, board.slots_flash.cells)
    assert unit._counters()["worn"] == 0
    while unit.next_seq < 64:
        unit._append(events.COMMENT, events.comment("short"))
    run(unit, board, board.now_ms + 1000)
    assert unit._counters()["worn"] == 1
    assert board.lines[2] != "DO NOT SCAN", "there is room yet"
    hear(unit, board, receipt(unit, unit.next_seq - 1))
    while not unit._custody.full:
        unit._append(events.COMMENT, events.comment("x" * 255))
    run(unit, board, board.now_ms + 1000)
    assert board.lines[:5] == ["FLASH IS WORN", "", "DO NOT SCAN", "Nothing can be saved:", "replace this unit."]
    assert isinstance(board.slots_flash, WornSlots)
    tried = board.slots_flash.tried
    run(unit, board, board.now_ms + 60 * 1000)
    assert board.slots_flash.tried < tried + 5, "it is tried at every turn, and each try takes 45 ms from the scanner"
    assert len(events_of(unit)) == unit.next_seq, "a record that could not be written down as archived was overwritten"
