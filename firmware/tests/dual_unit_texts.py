"""Texts that a technician scans, as a unit takes them. Runs on CPython and MicroPython."""

from agent.unit import Unit
from tests.dual_whole_unit import enrolled, events_of, run, scan


def test_text_that_is_no_utf8_is_no_command() -> None:
    """One bit of a scanner's line flips. MicroPython would take the text, and the record could be read by nobody."""
    board = enrolled(0)
    unit = Unit(board)  # type: ignore[arg-type]
    unit.boot()
    scan(unit, board, "CT/BADGE/OP-1")
    before = unit.next_seq
    for text in (b"Ger\xc1\xa4t", b"\xed\xa0\x80", b"cut \xe2\x82"):
        for word in (b"NOTE", b"BADGE", b"QTY/kit/used/1"):
            board.scanned = b"]d1CT/" + word + b"/" + text + b"\r\n"
            run(unit, board, board.now_ms + 1000)
            assert board.lines[3] in ("! Damaged command:", "! Nobody signed in:"), (word, text, board.lines)
    assert unit.next_seq > before
    scan(unit, board, "CT/NOTE/Ger\u00e4t")
    assert board.lines[3] == "Note recorded"
    events_of(unit)  # all of them can be read
    board.now_ms = 0
    unit = Unit(board)  # type: ignore[arg-type]
    unit.boot()
