"""Board `unix`: MicroPython's unix port on the simulated board of hil_tests/bench/board.py.

The only file that knows this board. It gives the unit flash, uptime, entropy, two serial lines, sensor readings and a
panel, and nothing else. The bus to the board is written down in board.py; when it falls silent, the board is gone and
the firmware ends.
"""

# MicroPython's gc, time and micropython have names that CPython's lack.
# mypy: disable-error-code="attr-defined,import-not-found,no-any-return,comparison-overlap"

import gc
import os
import select
import struct
import sys
import time

import micropython

try:
    import ed25519_native as ed25519
except ImportError:  # an interpreter without the C module (firmware/boards/usermod)
    from agent import ed25519

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

READ_BYTES = 512  # of a serial line at once
BUS_READ_BYTES = 2048
TIDY_MS = 50
READING_MISSING = 0x7FFFFFFF
READING_FAULT = 0x7FFFFFFE
MISSING, FAULT = None, "fault"
POWER, SOFTWARE = 0, 2  # boot causes: this board has no watchdog


class Bus:
    """Request and answer to the board; ends the program when the board is gone."""

    def __init__(self, fd: int) -> None:
        self._file = open(fd, "r+b")  # noqa: SIM115  as long as the program

    def ask(self, op: bytes, argument: int = 0, content: bytes = b"") -> bytes:
        try:
            self._file.write(struct.pack(">BIH", op[0], argument, len(content)) + content)
            return self._read(struct.unpack(">H", self._read(2))[0])
        except OSError:  # the board went away in the middle of the question
            sys.exit(0)

    def _read(self, length: int) -> bytes:
        content = self._file.read(length) if length else b""
        while len(content) < length:
            more = self._file.read(length - len(content))
            if not more:
                sys.exit(0)
            content += more
        return content


class Flash:
    """size bytes of the board's NOR flash from start; addresses count from there."""

    page = 256
    block = 4096

    def __init__(self, bus: Bus, start: int, size: int) -> None:
        self._bus = bus
        self._start = start
        self.size = size

    def read(self, addr: int, length: int) -> bytes:
        assert 0 <= addr <= self.size - length
        content = b""
        while len(content) < length:
            part = min(length - len(content), BUS_READ_BYTES)
            content += self._bus.ask(b"R", self._start + addr + len(content), struct.pack(">H", part))
        return content

    def program(self, addr: int, content: bytes) -> None:
        assert 0 <= addr <= self.size - len(content)
        self._done(self._bus.ask(b"P", self._start + addr, bytes(content)))

    def erase(self, addr: int) -> None:
        assert 0 <= addr <= self.size - self.block
        self._done(self._bus.ask(b"E", self._start + addr))

    def _done(self, answer: bytes) -> None:
        if answer != b"k":
            raise OSError("the flash refused an operation")


class Hal:
    """The board as the unit sees it."""

    model = "bench-unix"
    ed25519 = ed25519

    def __init__(self, bus_fd: int, link_fd: int, scanner_fd: int) -> None:
        self.cause = POWER
        micropython.kbd_intr(-1)  # Ctrl-C is a byte like any other
        self._bus = Bus(bus_fd)
        self._link = _serial(link_fd)
        self._scanner = _serial(scanner_fd)
        self._poll = select.poll()
        for line in (self._link, self._scanner, self._bus._file):
            self._poll.register(line, select.POLLIN)
        self._ready: "list[Any]" = []
        self.settings = _settings(self._bus.ask(b"B").decode())
        self._speed_milli = int(self.settings.get("speed_milli", "1000"))
        slots_bytes = int(self.settings["slots_bytes"])
        self.slots_flash = Flash(self._bus, 0, slots_bytes)
        self.journal_flash = Flash(self._bus, slots_bytes, int(self.settings["journal_bytes"]))
        self._ticks = time.ticks_ms()
        self._real_ms = self._tidied_ms = 0

    def restart(self) -> None:
        """Begin a new boot without a loss of power."""
        self.cause = SOFTWARE
        self._ticks = time.ticks_ms()
        self._real_ms = self._tidied_ms = 0

    def real_ms(self) -> int:
        """Milliseconds since boot as a hand feels them; never wraps (ticks_ms does, after 12 days)."""
        ticks = time.ticks_ms()
        self._real_ms += time.ticks_diff(ticks, self._ticks)
        self._ticks = ticks
        return self._real_ms

    def uptime_ms(self) -> int:
        """Milliseconds since boot in the unit's own time, which the bench may run faster."""
        return self.real_ms() * self._speed_milli // 1000

    def real_of(self, uptime_ms: int) -> int:
        """How long uptime_ms lasts on the wall, rounded up."""
        return -(-uptime_ms * 1000 // self._speed_milli)

    def entropy(self, length: int) -> bytes:
        """Random bytes of the operating system and of the board, mixed by whoever uses them."""
        return os.urandom(length) + self._bus.ask(b"N", length)

    def wait(self, real_ms: int) -> None:
        """Sleep until a serial line has bytes, at most real_ms."""
        self._ready = []
        self._tidy()
        for line, event in self._poll.poll(max(real_ms, 0)):
            if line is self._bus._file:
                sys.exit(0)  # the board speaks only when asked: this is its end
            if event & select.POLLIN:
                self._ready.append(line)

    def _tidy(self) -> None:
        """Collect garbage between two turns: what lives long must not come to lie among it."""
        now_ms = self.real_ms()
        if now_ms - self._tidied_ms >= TIDY_MS:
            self._tidied_ms = now_ms
            gc.collect()

    def link_read(self) -> bytes:
        return self._read(self._link)

    def link_write(self, frame: bytes) -> None:
        """Sends frame; what the line does not take at once is lost, and the link sends it again."""
        self._link.write(frame)

    def scanner_read(self) -> bytes:
        return self._read(self._scanner)

    def readings(self, first_uptime_ms: int, interval_ms: int, count: int, channels: int) -> "list[list[Any]]":
        """Sensor values at `count` moments: per moment a list with a value, MISSING or FAULT per channel.

        The sensor front end samples by its own timer and keeps its latest readings, so a busy unit loses none.
        """
        answer = self._bus.ask(b"S", 0, struct.pack(">QIH", first_uptime_ms, interval_ms, count))
        if len(answer) != 4 * count * channels:
            return [[MISSING] * channels for _ in range(count)]
        moment = ">%di" % channels  # one by one: no large piece of heap, which may lie in small ones
        starts = range(0, len(answer), 4 * channels)
        return [[_reading(value) for value in struct.unpack_from(moment, answer, start)] for start in starts]

    def show(self, lines: "list[str]") -> None:
        """Put lines on the panel."""
        self._bus.ask(b"D", 0, "\n".join(lines).encode())

    def light(self, colour: str) -> None:
        """Switch the status light to off, green, amber or red."""
        self._bus.ask(b"L", 0, b"light=" + colour.encode())

    def buzz(self, sound: str) -> None:
        """Begin a sound of signals.SOUNDS."""
        self._bus.ask(b"L", 0, b"buzz=" + sound.encode())

    def scanner_disturbed(self) -> bool:
        """Whether bytes of the scanner may have been lost since the last call: this board's flash stops nothing."""
        return False

    def feed_watchdog(self) -> None:
        """Say that the firmware lives; this board has no watchdog."""

    def heap_free(self) -> int:
        """Bytes left for the interpreter."""
        gc.collect()
        return gc.mem_free()

    def _read(self, line: "Any") -> bytes:
        for ready in self._ready:
            if ready is line:
                chunk = bytearray(READ_BYTES)
                return bytes(chunk[: line.readinto(chunk) or 0])
        return b""


def _serial(fd: int) -> "Any":
    """A serial line. The board gives it raw: no echo, no line editing, no signals (and never waiting)."""
    return open(fd, "r+b")


def _reading(value: int) -> "int | str | None":
    if value == READING_MISSING:
        return MISSING
    return FAULT if value == READING_FAULT else value


def _settings(text: str) -> "dict[str, str]":
    settings = {}
    for line in text.split("\n"):
        key, _equals, value = line.partition("=")
        settings[key] = value
    return settings
