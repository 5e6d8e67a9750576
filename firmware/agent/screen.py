"""Draws the panel's 6 lines on 128x64 pixels, as the display's memory wants them (ssd1306.py).

Decides where a line stands and how tall it is: what to scan next is twice as tall as the rest, and the result of a
refused scan is dark on bright. Never changes a text. Pure; reuses one frame and draws only lines that changed.

    rows of 8 pixels: 0 batch and step | 1 prompt | 2-3 what to scan next | 4, 5 result of the last scan
                      6 a thin rule | 7 custody
"""

from agent import font

COLUMNS, ROWS = 128, 8
LINES = 6
LINE_CHARS = 21
CELL = 6
LEFT = 1  # so that 126 columns of text stand in the middle
ROW_OF_LINE = (0, 1, 2, 4, 5, 7)
TALL_LINE = 2
RESULT_LINES = (3, 4)
RULE_ROW = 6
RULE = bytes([0x08]) * COLUMNS
BLANK = bytes(COLUMNS)
REFUSED_MARK = "! "
TALL = bytes([0x00, 0x03, 0x0C, 0x0F, 0x30, 0x33, 0x3C, 0x3F, 0xC0, 0xC3, 0xCC, 0xCF, 0xF0, 0xF3, 0xFC, 0xFF])
ALL_BRIGHT = (1 << 8 * COLUMNS) - 1


class Screen:
    """One frame of 1024 bytes; what draw() returns is the same buffer each time."""

    def __init__(self) -> None:
        self.frame = bytearray(COLUMNS * ROWS)
        self.frame[COLUMNS * RULE_ROW : COLUMNS * (RULE_ROW + 1)] = RULE
        self._drawn = [("", False)] * LINES  # text, and whether dark on bright
        self._row = bytearray(COLUMNS)

    def draw(self, lines: "list[str]") -> bytearray:
        """The frame with these LINES lines; what exceeds LINE_CHARS of a line is not seen."""
        assert len(lines) == LINES
        for line, text in enumerate(lines):
            inverse = line in RESULT_LINES and lines[RESULT_LINES[0]].startswith(REFUSED_MARK)
            if self._drawn[line] != (text, inverse):
                self._drawn[line] = (text, inverse)
                self._draw_line(line, text, inverse)
        return self.frame

    def _draw_line(self, line: int, text: str, inverse: bool) -> None:
        row, glyphs, first = self._row, font.GLYPHS, LEFT
        row[:] = BLANK
        for character in text[:LINE_CHARS]:
            glyph = font.place(character) * font.GLYPH_BYTES
            row[first : first + font.GLYPH_BYTES] = glyphs[glyph : glyph + font.GLYPH_BYTES]
            first += CELL
        at = COLUMNS * ROW_OF_LINE[line]
        if line == TALL_LINE:
            self._stretch(at)
        elif inverse:
            dark = ALL_BRIGHT ^ int.from_bytes(row, "little")
            self.frame[at : at + COLUMNS] = dark.to_bytes(COLUMNS, "little")
        else:
            self.frame[at : at + COLUMNS] = row

    def _stretch(self, at: int) -> None:
        """The drawn row twice as tall, at two rows of the frame."""
        frame, tall = self.frame, TALL
        for column in self._row:
            frame[at] = tall[column & 15]
            frame[at + COLUMNS] = tall[column >> 4]
            at += 1
