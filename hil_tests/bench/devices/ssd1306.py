"""Model of a 128x64 display with SSD1306 or SSD1309: commands, addressing modes, display memory, what is on the glass.

It powers on dark, with noise in its memory. Commands that the data sheet does not know are kept in `unknown`.
Left out: scrolling (its commands are taken and nothing moves), fading and the charge pump.
"""

from __future__ import annotations

import random

from PIL import Image

from hil_tests.bench.devices import glass
from hil_tests.bench.devices.i2c import Device

COLUMNS, PAGES = 128, 8
HORIZONTAL, VERTICAL, PAGE = 0, 1, 2
PARAMETERS = {
    0x20: 1, 0x21: 2, 0x22: 2, 0x26: 6, 0x27: 6, 0x29: 5, 0x2A: 5, 0x81: 1, 0x8D: 1, 0xA3: 2, 0xA8: 1,
    0xD3: 1, 0xD5: 1, 0xD9: 1, 0xDA: 1, 0xDB: 1, 0xFD: 1,
}  # fmt: skip
SINGLE = {*range(0x20), 0x2E, 0x2F, *range(0x40, 0x80), *range(0xA0, 0xA2), *range(0xA4, 0xA8), 0xAE, 0xAF,
          *range(0xB0, 0xB8), 0xC0, 0xC8, 0xE3}  # fmt: skip


class Ssd1306Model(Device):
    """One display at its address; mounted so that A1 and C8 show the picture upright."""

    def __init__(self, address: int = 0x3C) -> None:
        super().__init__(address)
        self.power_on()

    def power_on(self) -> None:
        """As after its supply came up: nothing that was set is left."""
        self.memory = bytearray(random.Random(1306).randbytes(COLUMNS * PAGES))
        self.on = False
        self.contrast = 0x7F
        self.inverted = False
        self.all_bright = False
        self.mode = PAGE
        self.unknown: list[int] = []
        self.bytes_taken = 0
        self._page, self._column = 0, 0
        self._pages, self._columns = (0, PAGES - 1), (0, COLUMNS - 1)
        self._turned_columns = self._turned_rows = False
        self._first_line = self._offset = 0
        self._lines = 64
        self._control: int | None = None
        self._command: list[int] = []

    # the bus

    def begins(self, reading: bool) -> bool:
        self._control = None
        return True

    def takes(self, byte: int) -> bool:
        self.bytes_taken += 1
        if self._control is None:
            self._control = byte
            return True
        if self._control & 0x40:
            self._store(byte)
        else:
            self._take_command(byte)
        if self._control & 0x80:  # one byte only, then another control byte
            self._control = None
        return True

    def gives(self) -> int:
        return 0x00 if self.on else 0x40

    # what one sees

    def frame(self) -> bytes:
        """1024 bytes in the order of the display's memory: what shines on the glass, upright."""
        if not self.on:
            return bytes(COLUMNS * PAGES)
        shown = bytearray(COLUMNS * PAGES)
        for column in range(COLUMNS):
            bits = sum(self.memory[page * COLUMNS + column] << 8 * page for page in range(PAGES))
            shift = (self._first_line + self._offset) % 64
            bits = (bits >> shift | bits << 64 - shift) & (1 << self._lines) - 1
            if not self._turned_rows:
                bits = int(f"{bits:064b}"[::-1], 2)
            if self.inverted:
                bits ^= (1 << 64) - 1
            for page in range(PAGES):
                shown[page * COLUMNS + column] = 0xFF if self.all_bright else bits >> 8 * page & 0xFF
        return bytes(shown)

    def lines(self) -> list[str]:
        """The panel's six lines, read from the pixels."""
        return glass.text_of(self.frame())

    def picture(self) -> Image.Image:
        """What a person sees."""
        return glass.picture_of(self.frame())

    # memory and commands

    def _store(self, byte: int) -> None:
        column = self._column if self._turned_columns else COLUMNS - 1 - self._column
        self.memory[self._page * COLUMNS + column] = byte
        if self.mode == PAGE:
            self._column = (self._column + 1) % COLUMNS
        elif self.mode == HORIZONTAL:
            self._column, wrapped = _next(self._column, self._columns)
            if wrapped:
                self._page, _ = _next(self._page, self._pages)
        else:
            self._page, wrapped = _next(self._page, self._pages)
            if wrapped:
                self._column, _ = _next(self._column, self._columns)

    def _take_command(self, byte: int) -> None:
        self._command.append(byte)
        if len(self._command) > PARAMETERS.get(self._command[0], 0):
            command, *parameters = self._command
            self._command = []
            self._obey(command, parameters)

    def _obey(self, command: int, parameters: list[int]) -> None:
        if command < 0x10 and self.mode == PAGE:
            self._column = self._column & 0x70 | command
        elif command < 0x20 and self.mode == PAGE:
            self._column = (command & 0x07) << 4 | self._column & 0x0F
        elif command == 0x20:
            self.mode = parameters[0] & 3
        elif command == 0x21:
            self._columns = (parameters[0] & 0x7F, parameters[1] & 0x7F)
            self._column = self._columns[0]
        elif command == 0x22:
            self._pages = (parameters[0] & 7, parameters[1] & 7)
            self._page = self._pages[0]
        elif 0x40 <= command < 0x80:
            self._first_line = command & 0x3F
        elif command == 0x81:
            self.contrast = parameters[0]
        elif command in (0xA0, 0xA1):
            self._turned_columns = command == 0xA1
        elif command in (0xA4, 0xA5):
            self.all_bright = command == 0xA5
        elif command in (0xA6, 0xA7):
            self.inverted = command == 0xA7
        elif command == 0xA8:
            self._lines = (parameters[0] & 0x3F) + 1
        elif command in (0xAE, 0xAF):
            self.on = command == 0xAF
        elif 0xB0 <= command < 0xB8:
            if self.mode == PAGE:
                self._page = command & 7
        elif command in (0xC0, 0xC8):
            self._turned_rows = command == 0xC8
        elif command == 0xD3:
            self._offset = parameters[0] & 0x3F
        elif command not in SINGLE and command not in PARAMETERS:
            self.unknown.append(command)


def _next(place: int, bounds: tuple[int, int]) -> tuple[int, bool]:
    """The place after this one, and whether it began anew."""
    return (bounds[0], True) if place == bounds[1] else (place + 1, False)
