"""A whole unit within this process: the firmware's cores on CPython, virtual time, and a display that keeps pixels.

For what people see and hear: every screen is drawn by the unit's own code and read off the model of the display. No
threads and no waiting, so the same scene shows the same pixels each time. What needs MicroPython, serial lines or
power cuts belongs to the other benches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nacl.exceptions
import nacl.signing
from agent import ed25519 as pure_ed25519
from agent import signals
from agent.drivers.ssd1306 import Ssd1306
from agent.face import OutOfOrder
from agent.screen import Screen
from agent.unit import OutOfService, Unit

from hil_tests.bench.devices.i2c import MemoryBus
from hil_tests.bench.devices.ssd1306 import Ssd1306Model
from hil_tests.bench.nor import BLOCK_BYTES, PAGE_BYTES, Nor
from hil_tests.bench.peer import GatewayEnd
from hil_tests.bench.sensor_source import SensorFaults, SyntheticSensors

SLOTS_BYTES = 8 * BLOCK_BYTES
TURN_MS = 20  # how far a turn with nothing to do moves the time at most


class Ed25519:
    """Signing as a board with a C module has it."""

    kind = "native"

    def public_key(self, seed: bytes) -> bytes:
        return bytes(nacl.signing.SigningKey(seed).verify_key)

    def sign(self, seed: bytes, public_key: bytes, message: bytes) -> bytes:
        return nacl.signing.SigningKey(seed).sign(message).signature

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        try:
            nacl.signing.VerifyKey(public_key).verify(message, signature)
        except (nacl.exceptions.BadSignatureError, ValueError):
            return False
        return True

    def key_is_sound(self, public_key: bytes) -> bool:
        return bool(pure_ed25519.key_is_sound(public_key))


class FlashPart:
    """`size` bytes of the board's flash from `start`."""

    page, block = PAGE_BYTES, BLOCK_BYTES

    def __init__(self, nor: Nor, start: int, size: int) -> None:
        self._nor = nor
        self._start = start
        self.size = size

    def read(self, addr: int, length: int) -> bytes:
        return self._nor.read(self._start + addr, length)

    def program(self, addr: int, content: bytes) -> None:
        self._nor.program(self._start + addr, bytes(content))

    def erase(self, addr: int) -> None:
        self._nor.erase(self._start + addr)


class MemoryBoard:
    """The hal of a unit (agent/hal/unix.py defines it), and what a person does to it and sees of it."""

    model = "bench-memory"
    cause = 0
    ed25519 = Ed25519()

    def __init__(self, flash: Path, settings: Mapping[str, str], *, journal_bytes: int = 64 * BLOCK_BYTES) -> None:
        self.nor = Nor(flash, SLOTS_BYTES + journal_bytes)
        self.slots_flash = FlashPart(self.nor, 0, SLOTS_BYTES)
        self.journal_flash = FlashPart(self.nor, SLOTS_BYTES, journal_bytes)
        self.settings = dict(settings)
        self.sensors = SensorFaults(SyntheticSensors())
        self.peer: GatewayEnd | None = None
        self.lamp = signals.OFF
        self.sounds: list[str] = []
        self.lines: list[str] = []
        self.glass = Ssd1306Model()
        self._display = Ssd1306(MemoryBus([self.glass]))
        self._screen = Screen()
        self._now_ms = 0
        self._from_scanner = b""
        self.from_gateway = b""
        self.unit: Unit | None = None
        self.out_of_order: OutOfOrder | None = None  # in its place, when it cannot work

    # --- what a person does ------------------------------------------------------------------------------------------

    def power_on(self) -> None:
        """A new boot on the flash as it is; a unit that cannot work shows why, as main does."""
        self._now_ms, self._from_scanner, self.from_gateway = 0, b"", b""
        self.glass.power_on()
        self._display.forget()
        try:
            self.unit = Unit(self)  # type: ignore[arg-type]
            self.unit.boot()
        except OutOfService as stopped:
            self.unit = None
            self.out_of_order = OutOfOrder(self, stopped.lines)  # type: ignore[arg-type]

    def scan(self, code: bytes, aim: str = "]C0") -> None:
        """The scanner reads code; the unit does all that follows from it."""
        self._from_scanner += aim.encode() + code + b"\r\n"
        self.run(10 * TURN_MS)

    def scanner_sends(self, raw: bytes) -> None:
        """Raw bytes from the scanner, which may be no whole code."""
        self._from_scanner += raw
        self.run(1000)

    def run(self, duration_ms: int) -> None:
        """Let unit time pass."""
        front = self.unit or self.out_of_order
        assert front is not None
        until_ms = self._now_ms + duration_ms
        while self._now_ms < until_ms:
            front.turn()

    def skip(self, duration_ms: int) -> None:
        """Let time pass in which the unit gets no turn but one."""
        assert self.unit is not None
        self._now_ms += duration_ms
        self.unit.turn()

    # --- the hal -----------------------------------------------------------------------------------------------------

    def restart(self) -> None:
        self.cause, self._now_ms = 2, 0

    def real_ms(self) -> int:
        return self._now_ms

    def uptime_ms(self) -> int:
        return self._now_ms

    def real_of(self, uptime_ms: int) -> int:
        return uptime_ms

    def entropy(self, length: int) -> bytes:
        return bytes(length)

    def wait(self, real_ms: int) -> None:
        if not self._from_scanner and not self.from_gateway:
            self._now_ms += max(1, min(real_ms, TURN_MS))

    def link_read(self) -> bytes:
        heard, self.from_gateway = self.from_gateway, b""
        return heard

    def link_write(self, frame: bytes) -> None:
        if self.peer is not None:
            self.peer.hear(frame)

    def scanner_read(self) -> bytes:
        read, self._from_scanner = self._from_scanner, b""
        return read

    def scanner_disturbed(self) -> bool:
        return False

    def readings(self, first_uptime_ms: int, interval_ms: int, count: int, channels: int) -> list[list[Any]]:
        return [self.sensors.read(first_uptime_ms + at * interval_ms) for at in range(count)]

    def show(self, lines: Sequence[str]) -> None:
        self.lines = list(lines)
        self._display.show(self._screen.draw(self.lines))
        while self._display.turn():
            pass

    def light(self, colour: str) -> None:
        self.lamp = colour

    def buzz(self, sound: str) -> None:
        self.sounds.append(sound)

    def feed_watchdog(self) -> None:
        pass

    def heap_free(self) -> int:
        return 0


class MemoryPeer(GatewayEnd):
    """The gateway at the other end of a MemoryBoard's link."""

    def __init__(self, board: MemoryBoard, *, kid: bytes, now_ms: int | None = None) -> None:
        super().__init__(kid=kid, now_ms=now_ms)
        self._board = board
        board.peer = self

    def send_raw(self, raw: bytes) -> None:
        self._board.from_gateway += raw

    def wait(self, holds: Callable[[], bool], what: str, timeout_s: float = 15.0) -> None:
        until_ms = self._board.real_ms() + int(timeout_s * 1000)
        while not holds():
            if self._board.real_ms() >= until_ms:
                raise TimeoutError(f"waited for {what}; next seq {self.next_seq()}")
            self._board.run(TURN_MS)
