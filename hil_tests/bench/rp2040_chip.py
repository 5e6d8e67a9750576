"""The board's chip, emulated: an RP2040 with its 2 MiB of flash, its pins, and what is soldered to them.

It runs the real image in the thread that asks for it, for as much of the chip's own time as asked, and nothing in it
looks at a wall clock: the same input at the same moments gives the same run. A power cut is a new Chip on a copy of
the flash; a watchdog reset keeps RAM and flash, as on the bench. It decides nothing about records.

What the emulator (rp2040py) lacks is put right here, each with a test that it is still needed: UARTs that take time
(rp2040_uart.py), flash that takes time and tells its unique number, I2C that takes time, random bits of the ring
oscillator. Emulated times are a lower bound for silicon: no cache ever misses.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hil_tests.bench.board_image import FLASH_BYTES
from hil_tests.bench.devices.i2c import Device
from hil_tests.bench.emulator import (
    BOOTROM_B1,
    RP2040,
    BasePeripheral,
    ConsoleLogger,
    I2CMode,
    I2CState,
    LogLevel,
    execute_batch,
    sio,
)  # fmt: skip
from hil_tests.bench.nor import BLOCK_BYTES, ERASED, PAGE_BYTES, Cut, PowerLost
from hil_tests.bench.rp2040_uart import SerialLine, TimedUart

FLASH_START = 0x1000_0000
ERASE_NS = 45e6  # W25Q16: 45 ms for a block of 4 KiB
PROGRAM_NS = 0.8e6  # typically 0.7 ms for a page
PAGE_PROGRAM, BLOCK_ERASE, LARGE_ERASE, UNIQUE_ID = 0x02, 0x20, 0xD8, 0x4B
LARGE_BLOCK_BYTES = 65536
UNIQUE_ID_DUMMIES = 4
PERIPHERAL_HZ = 48_000_000  # what MicroPython runs UARTs from; the emulator takes the processor's 125 MHz for it
CLOCK_NS = 8.0  # 125 MHz
I2C_BYTE_BITS = 9  # eight and the acknowledgement
RESETS_OF_UARTS = (0x40034, 0x40038)
IC_ENABLE = 0x6C
RING_OSCILLATOR = 0x40060
RANDOM_BIT = 0x1C
RTS, LID, LIGHT_RED, LIGHT_GREEN, BUZZER = 6, 10, 11, 12, 13
BUZZER_SLICE = 6  # PWM channel 6B drives GP13


@dataclass(frozen=True)
class FlashOperation:
    """An erase or program that the firmware has begun: which block or page, when, and what will stand there."""

    number: int  # counted from 1 since this chip got its power
    erase: bool
    addr: int
    after: bytes
    at_ns: float


class Engine:
    """What execute_batch() drives: all that it needs of the package's Simulator."""

    __slots__ = ("clock", "rp2040", "stopped")

    def __init__(self, rp2040: RP2040, clock: Any) -> None:
        self.rp2040, self.clock, self.stopped = rp2040, clock, True


class QuickSio(sio.RPSIO):
    """The emulator's SIO with a short way to its unsigned divider, which firmware asks 300,000 times a second.

    The same answers, worked out when somebody reads them (test_chip_parts.py compares the two).
    """

    def __init__(self, chip: RP2040) -> None:
        super().__init__(chip)
        self._due = False  # operands were written, and no result has been worked out yet

    def read_uint32(self, offset: int) -> int | float:
        if offset == sio.DIV_CSR:
            return self.div_csr
        if offset == sio.DIV_REMAINDER or offset == sio.DIV_QUOTIENT:
            if self._due:
                self._divide()
            if offset == sio.DIV_REMAINDER:
                return self.div_remainder
        return super().read_uint32(offset)

    def write_uint32(self, offset: int, value: int) -> None:
        if offset == sio.DIV_UDIVIDEND:
            self.div_dividend = value
        elif offset == sio.DIV_UDIVISOR:
            self.div_divisor = value
        else:
            if self._due:
                self._divide()
            super().write_uint32(offset, value)
            return
        self.div_csr = 0b11
        self._due = True

    def _divide(self) -> None:
        self._due = False
        ready_and_dirty = self.div_csr
        self.update_hardware_divider(False)
        self.div_csr = ready_and_dirty


class RingOscillator(BasePeripheral):
    """Only its random bit, from a seed; the emulator answers ones for ever, and every key would be the same."""

    def __init__(self, chip: RP2040, seed: int) -> None:
        super().__init__(chip, "ROSC")
        self._dice = random.Random(seed)

    def read_uint32(self, offset: int) -> int:
        return self._dice.getrandbits(1) if offset == RANDOM_BIT else 0xFFFF_FFFF

    def write_uint32(self, offset: int, value: int) -> None:
        """Its other registers change nothing here."""


class Chip:
    """One supply of power: from the first instruction to the cut. flash: its 2 MiB, copied."""

    def __init__(
        self,
        flash: bytes,
        *,
        devices: Mapping[int, Device] | None = None,
        seed: int = 0,
        unique_id: bytes = b"CT-BENCH",
    ) -> None:
        assert len(flash) == FLASH_BYTES
        self.devices: dict[int, Device] = dict(devices or {})  # by address; take one out to unplug it
        self.erase_ns, self.program_ns = ERASE_NS, PROGRAM_NS
        self.operations: list[FlashOperation] = []
        self.before_operation: Callable[[FlashOperation], None] = lambda _operation: None
        self.misuse: str | None = None
        self.resets = 0  # by the watchdog or by the firmware itself
        self.tones: list[tuple[float, int]] = []  # (at ns, Hz); 0 Hz is silence
        self._cut: Cut | None = None
        self._unique_id = unique_id
        self._addressed: Device | None = None
        mcu: Any = RP2040()  # Any: its own types do not allow for what is soldered to it here
        mcu.clk_peri = PERIPHERAL_HZ
        self.mcu = mcu
        self.mcu.logger = ConsoleLogger(LogLevel.ERROR)
        self.clock = self.mcu.clock
        self._solder(seed)
        self.mcu.load_bootrom(BOOTROM_B1)
        self.mcu.flash[:FLASH_BYTES] = flash
        self.mcu.core.pc = FLASH_START
        self._pio, self.mcu.pio = self.mcu.pio, ()  # nothing here uses it, and it costs a quarter of the speed
        self._end = self.clock.create_alarm(self._stop)
        self._engine: Any = Engine(self.mcu, self.clock)

    def _solder(self, seed: int) -> None:
        mcu = self.mcu
        for number, place in enumerate(RESETS_OF_UARTS):
            mcu.uart[number] = mcu.peripherals[place] = TimedUart(mcu, mcu.uart[number])
        mcu.sio = QuickSio(mcu)
        mcu.peripherals[RING_OSCILLATOR] = RingOscillator(mcu, seed)
        self.link = SerialLine(mcu.uart[0], self.clock)
        self.scanner = SerialLine(mcu.uart[1], self.clock, may_send=lambda: mcu.gpio[RTS].value != 1)
        self._solder_i2c(mcu.i2c[0])
        self._solder_flash(mcu.ssi)
        self._solder_buzzer(mcu.pwm.channels[BUZZER_SLICE])
        mcu.gpio[LID].set_input_value(False)
        mcu.watchdog.on_watchdog_trigger = self._reset

    # --- time --------------------------------------------------------------------------------------------------------

    @property
    def now_ms(self) -> float:
        """Milliseconds of the chip's own time since it got its power."""
        return float(self.clock.nanos) / 1e6

    def run_ms(self, ms: float) -> None:
        """Run for ms of the chip's time. Raises PowerLost at an armed cut."""
        self._engine.stopped = False
        self._end.schedule(ms * 1e6)
        while not self._engine.stopped:
            execute_batch(self._engine, 1)

    def run_until(self, holds: Callable[[], bool], timeout_ms: float, step_ms: float = 1.0) -> bool:
        """Run until holds() or timeout_ms of the chip's time have passed; says which."""
        ends_ms = self.now_ms + timeout_ms
        while not holds():
            if self.now_ms >= ends_ms:
                return False
            self.run_ms(step_ms)
        return True

    def _stop(self) -> None:
        self._engine.stopped = True

    def _reset(self) -> None:
        """The watchdog bites, or the firmware restarts itself: RAM and flash stay, the rest begins anew."""
        self.resets += 1
        self.mcu.pio = self._pio
        self.mcu.enter_reset(from_watchdog=True)
        self.mcu.leave_reset()
        self.mcu.pio = ()

    # --- flash -------------------------------------------------------------------------------------------------------

    @property
    def flash(self) -> bytes:
        """The 2 MiB as they are now."""
        return bytes(self.mcu.flash[:FLASH_BYTES])

    def arm(self, cut: Cut | None) -> None:
        """Lose power at the at_op-th flash operation from now; None disarms."""
        if cut is not None:
            cut = Cut(len(self.operations) + cut.at_op, cut.torn_bytes)
        self._cut = cut

    def _solder_flash(self, ssi: Any) -> None:
        plain_apply, plain_shift = ssi._apply_command, ssi._shift_byte

        def apply() -> None:
            sent = ssi._tx_buffer
            if ssi._write_enabled and len(sent) >= 4 and sent[0] in (PAGE_PROGRAM, BLOCK_ERASE, LARGE_ERASE):
                self._operate(sent[0], sent[1] << 16 | sent[2] << 8 | sent[3], bytes(sent[4:]))
            plain_apply()

        def shift(value: int) -> int:
            answer = plain_shift(value)
            at = len(ssi._tx_buffer) - 2 - UNIQUE_ID_DUMMIES
            if ssi._tx_buffer[0] == UNIQUE_ID and 0 <= at < len(self._unique_id):
                return self._unique_id[at]
            return int(answer)

        ssi._apply_command, ssi._shift_byte = apply, shift

    def _operate(self, command: int, addr: int, content: bytes) -> None:
        if command == PAGE_PROGRAM:
            before = bytes(self.mcu.flash[addr : addr + len(content)])
            after = bytes(old & new for old, new in zip(before, content, strict=False))
            if addr // PAGE_BYTES != (addr + len(content) - 1) // PAGE_BYTES or addr + len(content) > FLASH_BYTES:
                self.misuse = self.misuse or f"a program of {len(content)} bytes at {addr:#x} leaves its page"
            elif after != content:
                self.misuse = self.misuse or f"a program at {addr:#x} over bytes that were not erased"
        else:
            length = BLOCK_BYTES if command == BLOCK_ERASE else LARGE_BLOCK_BYTES
            addr -= addr % length
            after = bytes([ERASED]) * length
        operation = FlashOperation(
            len(self.operations) + 1, command != PAGE_PROGRAM, addr, after, float(self.clock.nanos)
        )
        self.before_operation(operation)
        self.operations.append(operation)
        if self._cut is not None and operation.number >= self._cut.at_op:
            done = after[: self._cut.torn_bytes]  # a cut may ask for more bytes than the operation has
            self.mcu.flash[addr : addr + len(done)] = done
            self._cut = None
            self._engine.stopped = True
            raise PowerLost(f"power lost at flash operation {operation.number}")
        self.clock.tick(self.program_ns if command == PAGE_PROGRAM else self.erase_ns * len(after) / BLOCK_BYTES)

    # --- I2C, pins ---------------------------------------------------------------------------------------------------

    def _solder_i2c(self, bus: Any) -> None:
        def pass_time() -> None:
            self.clock.tick(I2C_BYTE_BITS * CLOCK_NS * (bus.scl_high_period + bus.scl_low_period))

        def connect(address: int, mode: int) -> None:
            pass_time()
            if any(device.holds_bus for device in self.devices.values()):
                return  # the transfer never ends; the firmware gives up by itself
            self._addressed = self.devices.get(address)
            bus.complete_connect(self._addressed is not None and self._addressed.start(mode == I2CMode.READ))

        def write(value: int) -> None:
            pass_time()
            bus.complete_write(self._addressed is not None and self._addressed.write(value))

        def read(_acknowledged: bool) -> None:
            pass_time()
            bus.complete_read(0xFF if self._addressed is None else self._addressed.read())

        def stop() -> None:
            if self._addressed is not None:
                self._addressed.stop()
                self._addressed = None
            bus.complete_stop()

        def set_register(offset: int, value: int) -> None:
            if offset == IC_ENABLE and not value & 1:
                bus._busy, bus._state = False, I2CState.IDLE  # switched off, it forgets a transfer that never ended
            plain_set(offset, value)

        plain_set = bus.write_uint32
        bus.on_connect, bus.on_write_byte, bus.on_read_byte, bus.on_stop = connect, write, read, stop
        bus.write_uint32 = set_register

    def _solder_buzzer(self, channel: Any) -> None:
        plain_write = channel.write_register

        def write(offset: int, value: int) -> None:
            plain_write(offset, value)
            pitch_hz = self._pitch_hz(channel)
            if pitch_hz != (self.tones[-1][1] if self.tones else 0):
                self.tones.append((float(self.clock.nanos), pitch_hz))

        channel.write_register = write

    def _pitch_hz(self, channel: Any) -> int:
        """What a buzzer at the slice's second output gives; 0 when it is off or never toggles."""
        if not channel.csr & 1 or not channel.cc >> 16:
            return 0
        return int(125e6 / (max(channel.div, 16) / 16) / (channel.top + 1) + 0.5)

    @property
    def light(self) -> str:
        lit = tuple(self.mcu.gpio[pin].value == 1 for pin in (LIGHT_RED, LIGHT_GREEN))
        colours: dict[tuple[bool, ...], str] = {
            (False, False): "off",
            (True, False): "red",
            (False, True): "green",
            (True, True): "amber",
        }
        return colours[lit]

    def open_lid(self, is_open: bool) -> None:
        self.mcu.gpio[LID].set_input_value(is_open)
