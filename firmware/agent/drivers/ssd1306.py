"""Display 128x64 with SSD1306 or SSD1309 (Solomon Systech data sheets): sends the pages of a frame that changed.

Decides what must be sent, one page of 128 bytes (3 ms at 400 kHz) per turn; never draws: screen.py does. A display that
does not answer is set up anew at a later turn, and stays dark until its whole memory is ours: it never shows the noise
it powers on with. Pure; the bus has the names of machine.I2C and may raise OSError.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.drivers.chip import Bus

ADDRESS = 0x3C
PAGES, COLUMNS = 8, 128
FRAME_BYTES = PAGES * COLUMNS  # page by page from the top, in it column by column; bit 0 is a column's upper pixel
COMMANDS, CONTENT = 0x00, 0x40  # control bytes: all that follows is of this kind
SET_UP = bytes([
    COMMANDS,
    0xAE,  # off
    0xD5, 0x80,  # clock
    0xA8, 0x3F,  # 64 lines
    0xD3, 0x00,  # no offset
    0x40,  # first line on top
    0x8D, 0x14,  # charge pump (an SSD1309 has none, and takes 0x14 for a column that each page sets again)
    0x20, 0x02,  # page addressing
    0xA1, 0xC8,  # connector above the glass
    0xDA, 0x12,  # alternating lines
    0x81, 0xCF,  # contrast
    0xD9, 0xF1,  # precharge
    0xDB, 0x34,  # deselect level
    0x2E,  # no scrolling
    0xA4, 0xA6,  # what memory says, bright on dark
])  # fmt: skip
LIGHT_UP = bytes([COMMANDS, 0xAF])
RETRY_TURNS = 100  # after a fault, about a second: a bus that is stuck must not take the time of every turn


class Ssd1306:
    """One display; show() what it should say, turn() until that has arrived."""

    def __init__(self, bus: "Bus", address: int = ADDRESS) -> None:
        self._bus = bus
        self._address = address
        self._wanted = bytearray(FRAME_BYTES)
        self._page = bytearray(1 + COLUMNS)
        self._page[0] = CONTENT
        self._cursor = bytearray(4)
        self._stale = (1 << PAGES) - 1  # bit per page: what the display holds of it is not what it should
        self._is_set_up = False
        self._is_lit = False
        self._rest_turns = 0
        self.faults = 0  # bus errors so far

    def show(self, frame: "bytes | bytearray") -> None:
        """The 1024 bytes to be seen; a copy is kept. Sends nothing yet."""
        assert len(frame) == FRAME_BYTES
        wanted = self._wanted
        for page in range(PAGES):
            first = page * COLUMNS
            part = frame[first : first + COLUMNS]
            if wanted[first : first + COLUMNS] != part:
                wanted[first : first + COLUMNS] = part
                self._stale |= 1 << page

    def forget(self) -> None:
        """Nobody knows what the display holds (a supply that dipped): set it up and send everything again."""
        self._is_set_up = self._is_lit = False
        self._stale = (1 << PAGES) - 1

    def turn(self) -> bool:
        """Send at most one page; returns whether there is more to send at once. Never raises a bus error."""
        if self._rest_turns:
            self._rest_turns -= 1
            return False
        try:
            return self._advance()
        except OSError:
            self.faults += 1
            self._rest_turns = RETRY_TURNS
            self.forget()
            return False

    def _advance(self) -> bool:
        if not self._is_set_up:
            self._bus.writeto(self._address, SET_UP)
            self._is_set_up = True
        for page in range(PAGES):
            if self._stale >> page & 1:
                self._send(page)
                self._stale &= ~(1 << page)
                break
        if not self._stale and not self._is_lit:
            self._bus.writeto(self._address, LIGHT_UP)
            self._is_lit = True
        return self._stale != 0

    def _send(self, page: int) -> None:
        cursor = self._cursor
        cursor[0], cursor[1], cursor[2], cursor[3] = COMMANDS, 0xB0 | page, 0x00, 0x10  # page, column 0
        self._bus.writeto(self._address, cursor)
        first = page * COLUMNS
        self._page[1:] = self._wanted[first : first + COLUMNS]
        self._bus.writeto(self._address, self._page)
