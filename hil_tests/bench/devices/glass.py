"""Looks at a frame of 128x64 pixels as a person does: reads its text, and makes a picture of it.

Reading knows where the panel's six lines stand (the table in agent/screen.py) and the shapes of the letters, nothing of
how they were drawn. A shape that is no letter reads as UNREADABLE.
"""

from __future__ import annotations

from agent import font
from PIL import Image

COLUMNS, ROWS = 128, 8
CELL, GLYPH, LEFT, CHARS = 6, 5, 1, 21
UNREADABLE = "\ufffd"
BOX = "\u25a1"
REFUSED_MARK = "!"
# row of each line, and the line that is tall
WORKING, PROMPT_ONLY = ((0, 1, 2, 4, 5, 7), 2), ((0, 1, 3, 4, 5, 7), 1)
AFTER_REFUSAL, STOPPED = ((0, 5, 6, 1, 3, 7), 3), ((0, 2, 3, 4, 5, 7), 0)
SCALE = 4
BRIGHT, DARK, EDGE = (255, 176, 32), (18, 16, 14), (8, 7, 6)


def _letters() -> dict[bytes, str]:
    names = [chr(font.FIRST + number) for number in range(font.ASCII)] + list(font.MORE) + [BOX]
    return {cell[:GLYPH]: name for cell, name in zip(font.CELLS, names, strict=True)}


LETTERS = _letters()


def text_of(frame: bytes) -> list[str]:
    """The six lines of a frame, without blanks at their ends. What stands tall at the top shows which layout it is."""
    rows, tall = _layout_of(frame)
    return [_tall_text(frame, row) if line == tall else _row_text(_row(frame, row)) for line, row in enumerate(rows)]


def _layout_of(frame: bytes) -> tuple[tuple[int, ...], int]:
    if _is_text(_tall_text(frame, 0)):
        return STOPPED
    second = _tall_text(frame, 1)
    if not _is_text(second):
        return WORKING
    return AFTER_REFUSAL if second.startswith(REFUSED_MARK) else PROMPT_ONLY


def _is_text(text: str) -> bool:
    return text != "" and UNREADABLE not in text


def _row(frame: bytes, row: int) -> bytes:
    return frame[row * COLUMNS : (row + 1) * COLUMNS]


def _tall_text(frame: bytes, row: int) -> str:
    return _row_text(_flattened(_row(frame, row), _row(frame, row + 1)))


def _row_text(columns: bytes) -> str:
    cells = (columns[at : at + GLYPH] for at in range(LEFT, LEFT + CELL * CHARS, CELL))
    return "".join(LETTERS.get(cell, UNREADABLE) for cell in cells).rstrip()


def _flattened(upper: bytes, lower: bytes) -> bytes:
    """A row of letters from two rows in which each pixel stands twice; what is not so is all bright: no letter."""
    row = bytearray()
    for high, low in zip(upper, lower, strict=True):
        pairs = [(high | low << 8) >> 2 * bit & 3 for bit in range(8)]
        row.append(sum(1 << bit for bit, pair in enumerate(pairs) if pair) if set(pairs) <= {0, 3} else 0xFF)
    return bytes(row)


def picture_of(frame: bytes, scale: int = SCALE) -> Image.Image:
    """Amber on black, each pixel scale by scale with its dark edge, as the glass of the 2.42-inch panel looks."""
    picture = Image.new("RGB", (COLUMNS * scale, 8 * ROWS * scale), EDGE)
    for y in range(8 * ROWS):
        for x in range(COLUMNS):
            bright = frame[y // 8 * COLUMNS + x] >> y % 8 & 1
            box = (x * scale, y * scale, (x + 1) * scale - 1, (y + 1) * scale - 1)
            picture.paste(BRIGHT if bright else DARK, box)
    return picture
