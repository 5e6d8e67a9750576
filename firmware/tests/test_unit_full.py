"""A unit whose journal is full, or cannot be freed because flash is worn: what it refuses is counted, and told."""

from typing import Any

from agent import cbor, events
from agent.custody import GIVE_UP_BYTES
from agent.unit import CONFIG_WHEN_FULL, Unit
from tests.dual_unit_set_back import SET_BACK, booted, hear, signed_receipt
from tests.dual_whole_unit import CHANNELS, CLOUD, Board, enrolled, events_of, receipt, run, scan
from tests.nor_flash import NorFlash

import wire
from hil_tests.bench.small_batch import order


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
    return fill_up(unit)


def fill_up(unit: Unit) -> Unit:
    while not unit._custody.full:
        unit._append(events.COMMENT, events.comment("x" * 255))
    return unit


def refuse(unit: Unit, board: Board, scans: int) -> None:
    for number in range(scans):
        scan(unit, board, "CT/NOTE/%d" % number)
        run(unit, board, board.now_ms + 1000)


def test_refused_scans_are_told_after_a_power_cut_too() -> None:
    board = enrolled(0)
    unit = filled(board)
    refuse(unit, board, 3)
    assert board.lines[:5] == ["JOURNAL FULL", "", "DO NOT SCAN", "Nothing can be saved:", "check the gateway."]
    before, unit = unit.next_seq, booted(board)
    hear(unit, board, receipt(unit, before - 1))
    run(unit, board, 5000)
    losses = [event[10] for event in events_of_waiting(unit) if event[7] == events.LOSS]
    assert [(loss[1], loss[2]) for loss in losses] == [("scans", 3)]
    unit = booted(board)
    run(unit, board, 5000)
    assert len([event for event in events_of_waiting(unit) if event[7] == events.LOSS]) == 1, "told twice"
    hear(unit, board, receipt(unit, unit.next_seq - 1))
    unit = fill_up(booted(board))  # a second time: as many as before, and no more
    refuse(unit, board, 3)
    before, unit = unit.next_seq, booted(board)
    hear(unit, board, receipt(unit, before - 1))
    run(unit, board, 5000)
    assert [event[10][2] for event in events_of_waiting(unit) if event[7] == events.LOSS] == [3]


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
    fill_up(unit)
    run(unit, board, board.now_ms + 1000)
    assert board.lines[:5] == ["FLASH IS WORN", "", "DO NOT SCAN", "Nothing can be saved:", "replace this unit."]
    assert isinstance(board.slots_flash, WornSlots)
    tried = board.slots_flash.tried
    run(unit, board, board.now_ms + 60 * 1000)
    assert board.slots_flash.tried < tried + 5, "it is tried at every turn, and each try takes 45 ms from the scanner"
    assert len(events_of(unit)) == unit.next_seq, "a record that could not be written down as archived was overwritten"


def test_what_is_archived_does_not_keep_the_warning_on_the_panel() -> None:
    board = enrolled(0)
    board.journal_flash = NorFlash(40)
    unit = booted(board)
    while not unit._custody.nearly_full:
        unit._append(events.COMMENT, events.comment("x" * 255))
    run(unit, board, board.now_ms + 1000)
    assert "FULL" in board.lines[5]
    hear(unit, board, receipt(unit, unit.next_seq - 1))
    run(unit, board, board.now_ms + 2000)
    assert board.lines[5] == "archived all"


def test_a_unit_that_gives_up_its_oldest_block_comes_up_again_after_any_row_of_cut_boots() -> None:
    letter = {1: "U-01", 2: 1, 3: CLOUD.public_key, 4: CHANNELS, 5: bytes(32), 6: 0, CONFIG_WHEN_FULL: 1}
    board = Board(0, cbor.encode(letter))
    board.journal_flash = NorFlash(6)
    unit = booted(board)
    while unit._journal.room(GIVE_UP_BYTES + 500):
        unit._append(events.COMMENT, events.comment("x" * 255))
    for _ in range(30):  # power goes again before the first turn
        unit = booted(board)
    run(unit, board, 5000)
    scan(unit, board, "CT/NOTE/at last")
    assert board.lines[3] in ("Note recorded", "! Nobody signed in:")


def test_an_older_order_is_refused_although_the_newest_is_lost() -> None:
    board = enrolled(0)
    unit = booted(board)
    kid = unit._signer.kid
    older, newer = [wire.sign_order(bytes(32), order(kid, number, "B-%d" % number)) for number in (1, 2)]
    for raw in (older, newer):
        hear(unit, board, b"".join(map(wire.encode_frame, wire.order_chunks(raw))))
    assert unit._procedure.order is not None
    unit._checkpoint()
    for page in range(16 * 2, 16 * 6):
        board.slots_flash.cells[page] = b"\0" * 256
    unit = booted(board)
    for raw, batch in ((older, None), (newer, "B-2")):
        hear(unit, board, b"".join(map(wire.encode_frame, wire.order_chunks(raw))))
        taken = unit._procedure.order
        assert (taken.batch if taken is not None else None) == batch


def test_a_flipped_bit_does_not_make_a_unit_forget_that_it_was_set_back() -> None:
    board = enrolled(0)
    unit = booted(board)
    hear(unit, board, signed_receipt(unit._signer.kid, 1000))
    slots = unit._slots
    newest = 6 if slots._generation("state", 0) >= slots._generation("state", 1) else 7  # its block
    for block in (newest, 13 - newest):
        whole = list(board.slots_flash.cells)
        page = bytearray(whole[16 * block])
        page[40] ^= 1
        board.slots_flash.cells[16 * block] = bytes(page)
        booted(board)
        assert board.lines[:5] == SET_BACK
        board.slots_flash.cells[:] = whole


def test_a_checkpoint_of_older_firmware_is_read() -> None:
    board = enrolled(0)
    unit = booted(board)
    scan(unit, board, "CT/BADGE/OP-1")
    unit._checkpoint()
    slots = unit._slots
    saved = cbor.decode(slots.load("state") or b"")
    slots.store("state", cbor.encode({key: value for key, value in saved.items() if key < 9}))
    unit = booted(board)
    assert unit._procedure.operator == "OP-1"
