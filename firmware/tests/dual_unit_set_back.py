"""A unit whose journal lost its newest records, which the cloud has (SPEC W59). Runs on CPython and MicroPython."""

from agent import cbor, cose, ed25519, frames
from agent.unit import Unit
from tests.dual_whole_unit import CLOUD, Board, enrolled, receipt, run, scan
from tests.nor_flash import ERASED

SET_BACK = ["JOURNAL WAS SET BACK", "", "DO NOT SCAN", "Records are lost:", "enrol a new epoch."]
STRANGER = cose.SeedSigner(ed25519, b"\x01" * 32)


def booted(board: Board) -> Unit:
    """Power on: the same flash, and nothing else is left of before."""
    board.now_ms, board.heard, board.scanned = 0, b"", b""
    unit = Unit(board)  # type: ignore[arg-type]  # another board's Hal, with the same names
    unit.boot()
    return unit


def signed_receipt(kid: bytes, seq: int, signer: "cose.SeedSigner" = CLOUD) -> bytes:
    """A frame with a receipt for a record that nobody here has."""
    fields = {1: kid, 2: seq, 3: b"\x07" * 32, 4: 0}
    return frames.encode([frames.RECEIPT, cose.sign1(signer, cose.RECEIPT, cbor.encode(fields))])


def hear(unit: Unit, board: Board, frame: bytes) -> None:
    board.heard = frame
    run(unit, board, board.now_ms + 1000)


def writes_nothing_more(unit: Unit, board: Board) -> bool:
    before = unit.next_seq
    scan(unit, board, "CT/BADGE/OP-1")
    hear(unit, board, frames.encode([frames.TIME, 1795000000000, 10]))
    for _ in range(8):  # samples and a heartbeat would be due
        run(unit, board, board.now_ms + 50 * 1000)
        board.lights = []  # it blinks all the while
    return unit.next_seq == before and board.lines[:5] == SET_BACK


def test_a_unit_whose_newest_record_was_destroyed_stops_when_the_cloud_has_it() -> None:
    board = enrolled(0)
    unit = booted(board)
    scan(unit, board, "CT/BADGE/OP-1")
    lost_seq = unit.next_seq - 1
    archived = receipt(unit, lost_seq)
    used = [number for number, page in enumerate(board.journal_flash.cells) if page != ERASED]
    board.journal_flash.cells[used[-1]] = b"\x5a" * 256
    unit = booted(board)
    assert unit.next_seq == lost_seq + 2, "the seq was not used again: this test tries nothing"
    assert board.lines[2] != "DO NOT SCAN"
    hear(unit, board, archived)
    assert board.lines[:5] == SET_BACK
    next_seq, unit = unit.next_seq, booted(board)
    assert unit.next_seq == next_seq, "the boot used one more seq"
    assert board.lines[:5] == SET_BACK
    assert writes_nothing_more(unit, board)
    hear(unit, board, frames.encode([frames.WELCOME, 1, "gw-1", 0]))
    assert unit._link._sent_next == next_seq, "what is saved is no longer sent"


def test_a_receipt_for_a_record_never_written_proves_the_same() -> None:
    board = enrolled(0)
    unit = booted(board)
    hear(unit, board, signed_receipt(unit._signer.kid, 1000))
    assert board.lines[:5] == SET_BACK
    assert unit._counters()["set_back"] == 1


def test_only_the_cloud_can_say_so_and_only_of_this_stream() -> None:
    board = enrolled(0)
    unit = booted(board)
    for frame in (signed_receipt(unit._signer.kid, 1000, STRANGER), signed_receipt(b"\x09" * 8, 1000)):
        hear(unit, board, frame)
        assert board.lines[:5] != SET_BACK
    hear(unit, board, receipt(unit, unit.next_seq - 1))
    old = receipt(unit, 0)
    hear(unit, board, old)
    assert board.lines[5] == "archived all"
    assert unit._counters()["set_back"] == 0
