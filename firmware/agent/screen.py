"""Draws the panel's 6 lines on 128x64 pixels, as the display's memory wants them (ssd1306.py).

Decides where a line stands and how tall it is. The most important one is twice as tall as the others: what to scan
next (line 2, or line 1 when that says it all); when the last scan was refused, why, until something else is to be
scanned next; of a unit out of service, that it is so. Never changes a text. Pure; reuses one frame and draws only lines
that changed.

| rows of 8 pixels | working | line 2 is empty | refused: line 3 begins with REFUSED_MARK | stopped: line 5 is empty |
|---|---|---|---|---|
| 0 | 0 batch and step | 0 | 0 | 0 what is wrong, tall |
| 1 | 1 prompt | 1, tall | 3 why it was refused, tall | |
| 2 | 2 what to scan next, tall | | | 1 |
| 3 | | 2 | 4 what to do | 2 |
| 4 | 3 result of the last scan | 3 | a thin rule | 3 |
| 5 | 4 | 4 | 1 prompt | 4 |
| 6 | a thin rule | a thin rule | 2 what to scan next | a thin rule |
| 7 | 5 custody | 5 | 5 | 5 |
"""

from agent import font

COLUMNS, ROWS = 128, 8
LINES = 6
LINE_CHARS = 21
LEFT = 1  # so that 126 columns of text stand in the middle
REFUSED_MARK = "!"
WORKING = (0, 1, 2, 4, 5, 7), 2, 6  # row of each line, which line is tall, row of the rule
PROMPT_ONLY = (0, 1, 3, 4, 5, 7), 1, 6
AFTER_REFUSAL = (0, 5, 6, 1, 3, 7), 3, 4
STOPPED = (0, 2, 3, 4, 5, 7), 0, 6
RULE = bytes([0x08]) * COLUMNS
BLANK = bytes(COLUMNS)
TWICE = bytes([0x00, 0x03, 0x0C, 0x0F, 0x30, 0x33, 0x3C, 0x3F, 0xC0, 0xC3, 0xCC, 0xCF, 0xF0, 0xF3, 0xFC, 0xFF])


class Screen:
    """One frame of 1024 bytes; what draw() returns is the same buffer each time."""

    def __init__(self) -> None:
        self.frame = bytearray(COLUMNS * ROWS)
        self._layout: "tuple[tuple[int, ...], int, int] | None" = None
        self._drawn: "list[str]" = [""] * LINES
        self._result: "list[str]" = []  # lines 3 and 4
        self._prompt: "list[str]" = []  # lines 1 and 2 as they were when that result came

    def draw(self, lines: "list[str]") -> bytearray:
        """The frame with these LINES lines; what exceeds LINE_CHARS of a line is not seen."""
        assert len(lines) == LINES
        layout = self._layout_of(lines)
        rows, tall, rule = layout
        for line, text in enumerate(lines):
            if text != self._drawn[line] or layout is not self._layout:
                self._drawn[line] = text
                self._draw_line(COLUMNS * rows[line], text, line == tall)
        self.frame[COLUMNS * rule : COLUMNS * (rule + 1)] = RULE
        self._layout = layout
        return self.frame

    def _layout_of(self, lines: "list[str]") -> "tuple[tuple[int, ...], int, int]":
        prompt, result = lines[1:3], lines[3:5]
        if result != self._result:
            self._result, self._prompt = result, prompt
        if not lines[5]:
            return STOPPED
        if result[0].startswith(REFUSED_MARK) and prompt == self._prompt:
            return AFTER_REFUSAL
        return WORKING if lines[2] else PROMPT_ONLY

    def _draw_line(self, at: int, text: str, tall: bool) -> None:
        columns = font.columns(text[:LINE_CHARS])
        frame = self.frame
        frame[at : at + COLUMNS] = BLANK
        if not tall:
            frame[at + LEFT : at + LEFT + len(columns)] = columns
            return
        frame[at + COLUMNS : at + 2 * COLUMNS] = BLANK
        twice, at = TWICE, at + LEFT
        for column in columns:
            frame[at] = twice[column & 15]
            frame[at + COLUMNS] = twice[column >> 4]
            at += 1
