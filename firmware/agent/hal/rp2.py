"""Board `CARTRACE_UNIT`: the RP2040 with its serial lines, flash, sensors, display, light and buzzer.

The only file, with rp2_flash.py, that knows this chip; it gives the unit the names that hal/unix.py defines. Decides
when the scanner must wait and whether bytes of it may be lost; never what they mean.
Pins and flash map: firmware/boards/README.md.
"""

# mypy: disable-error-code="import-not-found,attr-defined,no-any-return"

import gc
import hashlib
import os
import select
import time
from binascii import hexlify

import machine

from agent import cbor, screen, signals
from agent.drivers.bank import Bank, SensorsWrong
from agent.drivers.chip import MISSING
from agent.drivers.ssd1306 import Ssd1306
from agent.hal import rp2_flash
from agent.hal.front_end import FrontEnd
from agent.slots import Slots

try:
    import ed25519_native as ed25519
except ImportError:  # an image without the C module
    from agent import ed25519

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LINK_BAUD, LINK_TX, LINK_RX = 115_200, 0, 1
SCANNER_BAUD, SCANNER_TX, SCANNER_RX, SCANNER_RTS = 9_600, 4, 5, 6
I2C_SDA, I2C_SCL, I2C_HZ = 8, 9, 400_000
I2C_TIMEOUT_US = 8_000  # twice a page of the display: a bus that is stuck must not hold up the unit
LID, LIGHT_RED, LIGHT_GREEN, BUZZER = 10, 11, 12, 13
LINK_RX_BYTES = 4096  # what arrives while the unit signs, verifies and draws
LINK_TX_BYTES = 8192  # a window of records: what does not fit is lost, and sent again two seconds later
SCANNER_RX_BYTES = 2048
WATCHDOG_MS = 8000  # of at most 8388; the longest turn takes a second
SERVE_MS = 10  # how long display, buzzer and lid may wait while there is nothing to do
TIDY_MS = 500  # between two collections while there is nothing to do
ENTROPY_BYTES = 512  # of the ring oscillator for 32 bytes: its bits are neither even nor independent

UART1_RIS, UART1_ICR = 0x4003803C, 0x40038044  # RP2040 datasheet 4.2.8: raw interrupt status, clear
OVERRUN = 1 << 10
WATCHDOG_REASON = 0x40058008  # 4.7.6
REASON_TIMER = 1
POWER, WATCHDOG, SOFTWARE = 0, 1, 2  # boot causes (SPEC section 5, type 1)
CONFIG_CHANNELS, CONFIG_SENSORS = 4, 9  # of the enrolment letter


class ScannerLine:
    """The scanner's serial line: may be told to wait, and knows when bytes were lost all the same."""

    def __init__(self) -> None:
        self._may_not_send = machine.Pin(SCANNER_RTS, machine.Pin.OUT, value=0)
        self.uart = machine.UART(
            1, SCANNER_BAUD, tx=SCANNER_TX, rx=SCANNER_RX, rxbuf=SCANNER_RX_BYTES, timeout=0, timeout_char=0
        )
        self._lost = False

    def hold(self) -> None:
        """Tell the scanner to wait. What it sends before it obeys fits the UART's own 32 bytes."""
        self._may_not_send.value(1)

    def release(self) -> None:
        self._may_not_send.value(0)

    def keep(self, operation: "Any", *arguments: "Any") -> None:
        """Do a flash operation, which stops interrupts, and look whether the UART ran over before that is cleared."""
        state = machine.disable_irq()
        try:
            operation(*arguments)
            if machine.mem32[UART1_RIS] & OVERRUN:
                machine.mem32[UART1_ICR] = OVERRUN
                self._lost = True
        finally:
            machine.enable_irq(state)

    def read(self) -> bytes:
        if self.uart.any() >= SCANNER_RX_BYTES:
            self._lost = True
        return self.uart.read() or b""

    def disturbed(self) -> bool:
        """Whether bytes were lost since the last call."""
        lost, self._lost = self._lost, False
        return lost


class Settings:
    """Settings of this board: the enrolment letter, read when somebody asks for it, and nothing else."""

    def get(self, name: str, otherwise: "Any" = None) -> "Any":
        if name != "enrol":
            return otherwise
        return hexlify(rp2_flash.letter()).decode()


class Hal:
    """The board as the unit sees it."""

    model = "rp2040"
    ed25519 = ed25519

    def __init__(self, watchdog: bool = True) -> None:
        self.cause = _boot_cause()
        self.settings = Settings()
        self._watchdog = machine.WDT(timeout=WATCHDOG_MS) if watchdog else None
        self._scanner = ScannerLine()
        self._link = machine.UART(
            0, LINK_BAUD, tx=LINK_TX, rx=LINK_RX, rxbuf=LINK_RX_BYTES, txbuf=LINK_TX_BYTES, timeout=0, timeout_char=0
        )
        self._poll = select.poll()
        for uart in (self._link, self._scanner.uart):
            self._poll.register(uart, select.POLLIN)
        start = rp2_flash.FILES_BYTES
        self.slots_flash = rp2_flash.Flash(start, rp2_flash.SLOTS_BYTES, self._scanner)
        start += rp2_flash.SLOTS_BYTES
        self.journal_flash = rp2_flash.Flash(start, rp2_flash.JOURNAL_BYTES, self._scanner)
        self._bus = machine.I2C(0, sda=I2C_SDA, scl=I2C_SCL, freq=I2C_HZ, timeout=I2C_TIMEOUT_US)
        self._lid = machine.Pin(LID, machine.Pin.IN, machine.Pin.PULL_UP)
        self._lights = (
            machine.Pin(LIGHT_RED, machine.Pin.OUT, value=0),
            machine.Pin(LIGHT_GREEN, machine.Pin.OUT, value=0),
        )
        self._buzzer = machine.PWM(machine.Pin(BUZZER), freq=1000, duty_u16=0)
        self._tune = signals.Tune()
        self._pitch_hz = 0
        self._screen = screen.Screen()
        self._display = Ssd1306(self._bus)
        self._front_end: "FrontEnd | None" = None
        self._ticks = time.ticks_ms()
        self._real_ms = 0
        self._tidied_ms = 0

    # --- power and time ---------------------------------------------------------------------------------------------

    def restart(self) -> None:
        """Begin a new boot without a loss of power, with nothing in RAM; does not return."""
        machine.reset()

    def feed_watchdog(self) -> None:
        if self._watchdog is not None:
            self._watchdog.feed()

    def real_ms(self) -> int:
        """Milliseconds since boot; never wraps (ticks_ms does, after 12 days)."""
        ticks = time.ticks_ms()
        self._real_ms += time.ticks_diff(ticks, self._ticks)
        self._ticks = ticks
        return self._real_ms

    def uptime_ms(self) -> int:
        return self.real_ms()

    def real_of(self, uptime_ms: int) -> int:
        return uptime_ms

    def entropy(self, length: int) -> bytes:
        """Random bytes of the chip's ring oscillator, which is no certified source: mix them with others."""
        found = b""
        while len(found) < length:
            found += hashlib.sha256(os.urandom(ENTROPY_BYTES) + machine.unique_id()).digest()
        return found[:length]

    def wait(self, real_ms: int) -> None:
        """Sleep until a serial line has bytes, at most real_ms; meanwhile serve display, buzzer and sensors."""
        end_ms = self.real_ms() + real_ms
        while True:
            busy = self._serve()
            left_ms = end_ms - self.real_ms()
            for _ready in self._poll.ipoll(0 if busy or left_ms <= 0 else min(left_ms, SERVE_MS)):
                return
            if self.real_ms() >= end_ms:
                return
            if not busy:
                self._tidy()

    def _tidy(self) -> None:
        """Collect garbage now that both lines are quiet: in the middle of a scan it would take a fifth of its time."""
        now_ms = self.real_ms()
        if now_ms - self._tidied_ms >= TIDY_MS:
            self._tidied_ms = now_ms
            gc.collect()

    def _serve(self) -> bool:
        """What must be done now and then; whether the display wants more at once."""
        now_ms = self.real_ms()
        if self._front_end is not None:
            self._front_end.watch(now_ms)
        pitch_hz = self._tune.pitch(now_ms)
        if pitch_hz != self._pitch_hz:
            self._pitch_hz = pitch_hz
            if pitch_hz:
                self._buzzer.freq(pitch_hz)
            self._buzzer.duty_u16(32768 if pitch_hz else 0)
        return self._display.turn()

    # --- serial lines -----------------------------------------------------------------------------------------------

    def link_read(self) -> bytes:
        return self._link.read() or b""

    def link_write(self, frame: bytes) -> None:
        """Sends frame; what the buffer has no room for is lost, and the link sends it again."""
        self._link.write(frame)

    def scanner_read(self) -> bytes:
        return self._scanner.read()

    def scanner_disturbed(self) -> bool:
        """Whether bytes of the scanner were lost since the last call."""
        return self._scanner.disturbed()

    # --- sensors ----------------------------------------------------------------------------------------------------

    def readings(self, first_uptime_ms: int, interval_ms: int, count: int, channels: int) -> "list[list[Any]]":
        """Sensor values at `count` moments: per moment a list with a value, MISSING or FAULT per channel."""
        if self._front_end is None:
            self._front_end = self._make_front_end()
        return self._front_end.take(self.uptime_ms(), first_uptime_ms, interval_ms, count, channels)

    def _make_front_end(self) -> FrontEnd:
        """The sensors of the enrolment letter; one that names none, or one unknown here, gives MISSING for ever."""
        config = Slots(self.slots_flash).load("config")
        assert config is not None  # without it no unit would ask for readings
        letter: "dict[int, Any]" = cbor.decode(config)
        try:
            return FrontEnd(Bank(self._bus, self._lid, letter[CONFIG_CHANNELS], letter.get(CONFIG_SENSORS, [])))
        except SensorsWrong:
            return FrontEnd(NoSensors(len(letter[CONFIG_CHANNELS])))

    # --- panel ------------------------------------------------------------------------------------------------------

    def show(self, lines: "list[str]") -> None:
        """Put six lines on the display; wait() sends them."""
        self._display.show(self._screen.draw(lines))

    def light(self, colour: str) -> None:
        red, green = self._lights
        red.value(colour in (signals.RED, signals.AMBER))
        green.value(colour in (signals.GREEN, signals.AMBER))

    def buzz(self, sound: str) -> None:
        self._tune.begin(sound, self.real_ms())

    def heap_free(self) -> int:
        """Bytes left for the interpreter."""
        gc.collect()
        return gc.mem_free()


class NoSensors:
    """In place of sensors that this firmware cannot read."""

    def __init__(self, channels: int) -> None:
        self._channels = channels

    def start(self, now_ms: int) -> None:
        pass

    def watch(self, now_ms: int) -> None:
        pass

    def read(self, now_ms: int) -> "list[int | str | None]":
        return [MISSING] * self._channels


def _boot_cause() -> int:
    reason = machine.mem32[WATCHDOG_REASON]
    if reason & REASON_TIMER:
        return WATCHDOG
    return SOFTWARE if reason else POWER
