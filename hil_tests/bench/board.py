"""Host side of one simulated board: everything that is soldered round the microcontroller.

The firmware's process has three descriptors: the board bus (a socket) and two serial lines (raw ptys) for link and
scanner.

Board bus: the firmware asks, the board answers, one at a time. Request: op (1 byte), address or argument (u32),
length (u16), then `length` bytes. Answer: length (u16), then as many bytes. Everything big-endian.

    R addr, n       n bytes of flash; the request carries two bytes: how many
    P addr, bytes   program within one page
    E addr          erase one block
    S 0, slots      readings: u64 first uptime ms, u32 interval ms, u16 count; answer: i32 per slot and channel
    D 0, text       what the panel shows, lines separated by a line feed
    L 0, text       `light=` off, green, amber or red; `buzz=` ok, refused or alarm
    B 0             boot settings, lines `key=value`
    N n             n random bytes
    H 0             nothing; a firmware that only wants to know that the board still lives

Serial bytes pass through here, so this is also where noise, unplugged cables and damaged bytes happen.
"""

from __future__ import annotations

import contextlib
import os
import pty
import select
import socket
import struct
import threading
import time
import tty
from collections.abc import Callable, Mapping
from pathlib import Path

from hil_tests.bench.nor import FlashMisuse, Nor, PowerLost
from hil_tests.bench.sensor_source import Reading, SensorFaults

REQUEST = struct.Struct(">cIH")
ANSWER = struct.Struct(">H")
SLOTS = struct.Struct(">QIH")
READING_MISSING = 0x7FFFFFFF
READING_FAULT = 0x7FFFFFFE
READ_BYTES = 4096
BACKLOG_BYTES = 65536  # a serial line that nobody reads loses what comes after this many bytes

Damage = Callable[[bytes], bytes]


class SerialLine:
    """One end of a raw pty that the board holds; the other end is a path that somebody else opens."""

    def __init__(self) -> None:
        self.fd, self.far_fd = pty.openpty()
        tty.setraw(self.far_fd)
        os.set_blocking(self.fd, False)
        os.set_blocking(self.far_fd, False)  # a UART's driver never waits either
        self.path = os.ttyname(self.far_fd)
        self._backlog = bytearray()

    @property
    def waiting(self) -> bool:
        """Bytes are left that the far end had no room for."""
        return bool(self._backlog)

    def close(self) -> None:
        """Hang up: whoever has the far end open sees it."""
        os.close(self.fd)
        os.close(self.far_fd)

    def read(self) -> bytes:
        try:
            return os.read(self.fd, READ_BYTES)
        except (BlockingIOError, OSError):
            return b""

    def write(self, chunk: bytes) -> None:
        """Send chunk when the far end has room; what exceeds the backlog is lost, as on a real line."""
        self._backlog += chunk[: BACKLOG_BYTES - len(self._backlog)]
        with contextlib.suppress(BlockingIOError, OSError):
            while self._backlog:
                del self._backlog[: os.write(self.fd, self._backlog[:READ_BYTES])]


class OutsidePort:
    """A serial port that programs open by a stable path; unplugging it hangs up and takes the path away."""

    def __init__(self, symlink: Path) -> None:
        self.symlink = symlink
        self.line: SerialLine | None = None

    def plug(self) -> None:
        if self.line is not None:
            return
        self.line = SerialLine()
        fresh = self.symlink.with_name(self.symlink.name + ".new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(self.line.path)
        fresh.replace(self.symlink)

    def unplug(self) -> None:
        if self.line is None:
            return
        self.symlink.unlink(missing_ok=True)
        self.line.close()
        self.line = None


class Board:
    """Serves one firmware process at a time, from a thread of its own."""

    def __init__(
        self,
        nor: Nor,
        sensors: SensorFaults,
        *,
        link: OutsidePort,
        scanner: OutsidePort,
        speed: float,
        settings: Mapping[str, str],
        power_lost: Callable[[], None],
    ) -> None:
        self.nor = nor
        self.sensors = sensors
        self.link = link
        self.scanner = scanner
        self.settings = dict(settings)
        self.to_gateway: Damage | None = None  # applied to bytes on their way, when set
        self.to_unit: Damage | None = None
        self.misuse: str | None = None  # the first thing that the firmware did wrong to its flash
        self._speed = speed
        self._power_lost = power_lost
        self.light = "off"
        self.sounds: list[str] = []  # what the buzzer has said since power-on
        self._panel: list[str] = []
        self._made_s = time.monotonic()
        self._powered_s = self._made_s
        self._bus: socket.socket | None = None
        self._asked = bytearray()
        self._unit_link: SerialLine | None = None
        self._unit_scanner: SerialLine | None = None
        self._lock = threading.RLock()
        self._wake_read, self._wake_write = os.pipe()
        self._open = True
        self._thread = threading.Thread(target=self._serve, name="board", daemon=True)
        self._thread.start()

    # --- power -------------------------------------------------------------------------------------------------------

    def power_on(self) -> tuple[socket.socket, int, int]:
        """Connect a new firmware process: the bus, link and scanner ends to hand to it."""
        with self._lock:
            self.power_off()
            self._bus, firmware_bus = socket.socketpair()
            self._unit_link, self._unit_scanner = SerialLine(), SerialLine()
            self._powered_s = time.monotonic()
            self._wake()
            return firmware_bus, self._unit_link.far_fd, self._unit_scanner.far_fd

    def power_off(self) -> None:
        """Forget the firmware process: requests that were not answered never happened."""
        with self._lock:
            if self._bus is not None:
                self._bus.close()
            for line in (self._unit_link, self._unit_scanner):
                if line is not None:
                    line.close()
            self._bus = self._unit_link = self._unit_scanner = None
            self._asked.clear()
            self._panel = []
            self.light, self.sounds = "off", []
            self._wake()

    def close(self) -> None:
        with self._lock:
            self._open = False
            self.power_off()
        if threading.current_thread() is not self._thread:
            self._thread.join()
        with self._lock:
            self.link.unplug()
            self.scanner.unplug()
            os.close(self._wake_read)
            os.close(self._wake_write)

    # --- what a person or a fault does -------------------------------------------------------------------------------

    def panel(self) -> list[str]:
        with self._lock:
            return list(self._panel)

    def scan(self, raw: bytes) -> None:
        """The scanner sends raw to the unit."""
        with self._lock:
            if self._unit_scanner is not None:
                self._unit_scanner.write(raw)
                self._wake()

    def noise(self, raw: bytes) -> None:
        """Bytes that nobody sent appear on the link, both ways."""
        with self._lock:
            for line in (self._unit_link, self.link.line):
                if line is not None:
                    line.write(raw)
            self._wake()

    def plug_link(self) -> None:
        with self._lock:
            self.link.plug()
            self._wake()

    def unplug_link(self) -> None:
        with self._lock:
            self.link.unplug()
            self._wake()

    # --- the thread --------------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        os.write(self._wake_write, b"w")

    def _serve(self) -> None:
        while True:
            with self._lock:
                if not self._open:
                    return
                poll, readers = self._watched()
            ready = poll.poll(1000)
            with self._lock:
                for fd, _events in ready:
                    if fd == self._wake_read:
                        os.read(self._wake_read, READ_BYTES)
                    elif fd in readers and self._still_open(fd):
                        readers[fd]()

    def _watched(self) -> tuple[select.poll, dict[int, Callable[[], None]]]:
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        readers: dict[int, Callable[[], None]] = {}
        if self._bus is not None:
            poll.register(self._bus, select.POLLIN)
            readers[self._bus.fileno()] = self._serve_bus
        for line, moved in (
            (self._unit_link, self._from_unit),
            (self._unit_scanner, self._from_unit_scanner),
            (self.link.line, self._from_gateway),
            (self.scanner.line, self._from_scanner),
        ):
            if line is not None:
                poll.register(line.fd, select.POLLIN | (select.POLLOUT if line.waiting else 0))
                readers[line.fd] = moved
        return poll, readers

    def _still_open(self, fd: int) -> bool:
        lines = (self._unit_link, self._unit_scanner, self.link.line, self.scanner.line)
        bus_fd = -1 if self._bus is None else self._bus.fileno()
        return fd == bus_fd or any(line is not None and line.fd == fd for line in lines)

    def _from_unit(self) -> None:
        assert self._unit_link is not None
        self._unit_link.write(b"")  # what waits for room
        chunk = self._unit_link.read()
        if chunk and self.link.line is not None:
            self.link.line.write(self.to_gateway(chunk) if self.to_gateway else chunk)

    def _from_gateway(self) -> None:
        assert self.link.line is not None
        self.link.line.write(b"")
        chunk = self.link.line.read()
        if chunk and self._unit_link is not None:
            self._unit_link.write(self.to_unit(chunk) if self.to_unit else chunk)

    def _from_unit_scanner(self) -> None:
        assert self._unit_scanner is not None
        self._unit_scanner.write(b"")
        self._unit_scanner.read()  # the unit never talks to the scanner

    def _from_scanner(self) -> None:
        assert self.scanner.line is not None
        chunk = self.scanner.line.read()
        if chunk and self._unit_scanner is not None:
            self._unit_scanner.write(chunk)

    # --- the bus -----------------------------------------------------------------------------------------------------

    def _serve_bus(self) -> None:
        assert self._bus is not None
        try:
            chunk = self._bus.recv(READ_BYTES)
        except OSError:
            chunk = b""
        if not chunk:
            self.power_off()  # the firmware ended by itself
            return
        self._asked += chunk
        while len(self._asked) >= REQUEST.size:
            op, argument, length = REQUEST.unpack_from(self._asked)
            if len(self._asked) < REQUEST.size + length:
                return
            content = bytes(self._asked[REQUEST.size : REQUEST.size + length])
            del self._asked[: REQUEST.size + length]
            try:
                answer = self._answer(op, argument, content)
            except PowerLost:
                self.power_off()
                self._power_lost()
                return
            except FlashMisuse as error:
                self.misuse = self.misuse or str(error)
                answer = b""
            try:
                self._bus.sendall(ANSWER.pack(len(answer)) + answer)
            except OSError:
                self.power_off()
                return

    def _answer(self, op: bytes, argument: int, content: bytes) -> bytes:
        match op:
            case b"R":
                return self.nor.read(argument, int.from_bytes(content, "big"))
            case b"P":
                self.nor.program(argument, content)
                return b"k"
            case b"E":
                self.nor.erase(argument)
                return b"k"
            case b"S":
                return self._readings(*SLOTS.unpack(content))
            case b"D":
                self._panel = content.decode("utf-8", "replace").split("\n")
                return b"k"
            case b"L":
                what, _equals, value = content.decode().partition("=")
                if what == "light":
                    self.light = value
                else:
                    self.sounds.append(value)
                return b"k"
            case b"B":
                return "\n".join(f"{key}={value}" for key, value in self.settings.items()).encode()
            case b"N":
                return os.urandom(argument)
            case b"H":
                return b"k"
        raise FlashMisuse(f"the board knows no request {op!r}")

    def _readings(self, first_ms: int, interval_ms: int, count: int) -> bytes:
        world_ms = int((self._powered_s - self._made_s) * 1000 * self._speed) + first_ms
        answer = bytearray()
        for slot in range(count):
            for reading in self.sensors.read(world_ms + slot * interval_ms):
                answer += struct.pack(">i", _as_wire(reading))
        return bytes(answer)


def _as_wire(reading: Reading) -> int:
    if reading is None:
        return READING_MISSING
    return reading if isinstance(reading, int) else READING_FAULT
