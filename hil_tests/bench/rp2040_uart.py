"""A UART of the emulated chip as the silicon has it: bytes take their time, buffers hold 32 and overflow.

The emulator moves bytes in no time, never fills a buffer, and raises the transmit interrupt for ever, so that
`machine.UART()` does not return. This one follows the PL011 (RP2040 datasheet, 4.2): a byte takes ten bit times at
the baud rate that the firmware has set; the receive interrupt comes at the trigger level, or after 32 silent bit times;
the transmit interrupt comes when the buffer drains through its level, and ends when it is cleared.

`SerialLine` is the cable: what the far end sends, and what it hears.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from hil_tests.bench.emulator import RP2040, pl011

FIFO_BYTES = 32
FRAME_BITS = 10  # start, eight data bits, stop
TIMEOUT_BITS = 32  # of silence, after which what waits in the buffer is announced
DEFAULT_BAUD = 115_200
UARTIFLS = 0x34
BUSY = 1 << 3
TX_EMPTY_FLAG = 1 << 7
TX_FULL_FLAG = 1 << 5
RX_TIMEOUT_INTR = 1 << 6
OVERRUN_INTR = 1 << 10
OVERRUN_ERROR = 1 << 11  # beside the byte that follows the lost ones
LEVELS = (4, 8, 16, 24, 28)

Damage = Callable[[bytes], bytes]


class TimedUart(pl011.RPUART):
    """One UART with its two 32-byte buffers. on_byte hears a byte when its last bit has left."""

    def __init__(self, chip: RP2040, replaced: pl011.RPUART) -> None:
        super().__init__(chip, replaced.name, replaced.irq, replaced.dreq)
        self.overruns = 0  # bytes that came while the buffer was full
        self._tx: deque[int] = deque()
        self._shifting: int | None = None
        self._levels = 0b010_010
        self._overrun = False
        self._sent = chip.clock.create_alarm(self._byte_sent)
        self._silence = chip.clock.create_alarm(self._rx_silent)

    @property
    def byte_ns(self) -> float:
        return self.bit_ns * FRAME_BITS

    @property
    def bit_ns(self) -> float:
        return 1e9 / (self.baud_rate if self.baud_divider else DEFAULT_BAUD)

    def reset(self) -> None:
        super().reset()
        self._tx.clear()
        self._shifting = None
        self._levels = 0b010_010
        self._overrun = False
        self._sent.cancel()
        self._silence.cancel()

    # --- receiving ---------------------------------------------------------------------------------------------------

    def feed_byte(self, value: int) -> None:
        """The last bit of a byte has arrived; nobody listens while the UART is off."""
        if not (self.enabled and self.rx_enabled):
            return
        if self.rx_fifo.item_count >= (FIFO_BYTES if self.fifos_enabled else 1):
            self.overruns += 1
            self._overrun = True
            self._interrupt_status |= OVERRUN_INTR
        else:
            self.rx_fifo.push(value | (OVERRUN_ERROR if self._overrun else 0))
            self._overrun = False
        if self.rx_fifo.item_count >= self._level(3):
            self._interrupt_status |= pl011.UARTRXINTR
        self._silence.cancel()
        self._silence.schedule(self.bit_ns * TIMEOUT_BITS)
        self.check_interrupts()

    def _rx_silent(self) -> None:
        if not self.rx_fifo.empty:
            self._interrupt_status |= RX_TIMEOUT_INTR
            self.check_interrupts()

    def _read_byte(self) -> int:
        value = self.rx_fifo.pull()
        if self.rx_fifo.item_count < self._level(3):
            self._interrupt_status &= ~pl011.UARTRXINTR
        if self.rx_fifo.empty:
            self._interrupt_status &= ~RX_TIMEOUT_INTR
        self.check_interrupts()
        return value

    # --- sending -----------------------------------------------------------------------------------------------------

    def _write_byte(self, value: int) -> None:
        if self._shifting is None:
            self._shift(value)
        elif len(self._tx) < FIFO_BYTES:
            self._tx.append(value)  # into a full buffer it is lost, as on the chip

    def _shift(self, value: int) -> None:
        self._shifting = value
        self._sent.schedule(self.byte_ns)

    def _byte_sent(self) -> None:
        value, self._shifting = self._shifting, None
        if self._tx:
            self._shift(self._tx.popleft())
            if len(self._tx) == self._level(0):
                self._interrupt_status |= pl011.UARTTXINTR
        elif self._level(0) > 0:
            self._interrupt_status |= pl011.UARTTXINTR  # fewer bytes than the level were ever in it
        self.check_interrupts()
        if self.on_byte and value is not None:
            self.on_byte(value)

    # --- registers ---------------------------------------------------------------------------------------------------

    def _level(self, shift: int) -> int:
        if not self.fifos_enabled:
            return 1 if shift else 0
        return LEVELS[min(self._levels >> shift & 0b111, len(LEVELS) - 1)]

    @property
    def flags(self) -> int:
        flags = (pl011.RXFE if self.rx_fifo.empty else 0) | (pl011.RXFF if self.rx_fifo.full else 0)
        flags |= TX_EMPTY_FLAG if not self._tx else 0
        flags |= TX_FULL_FLAG if len(self._tx) >= FIFO_BYTES else 0
        return flags | (BUSY if self._shifting is not None else 0)

    def check_interrupts(self) -> None:
        self.rp2040.set_interrupt(self.irq, bool(self._interrupt_status & self._interrupt_mask))

    def read_uint32(self, offset: int) -> int:
        if offset == pl011.UARTDR:
            return self._read_byte()
        if offset == UARTIFLS:
            return self._levels
        return int(super().read_uint32(offset))

    def write_uint32(self, offset: int, value: int) -> None:
        if offset == pl011.UARTDR:
            self._write_byte(value & 0xFF)
        elif offset == UARTIFLS:
            self._levels = value & 0b111_111
        else:
            super().write_uint32(offset, value)


class SerialLine:
    """The cable at one UART, seen from the far end. Unplugged, it carries nothing either way."""

    def __init__(self, uart: TimedUart, clock: Any, may_send: Callable[[], bool] = lambda: True) -> None:
        self.plugged = True
        self.heard: Callable[[bytes], None] = lambda _chunk: None
        self.to_unit: Damage | None = None  # applied to bytes on their way, when set
        self.from_unit: Damage | None = None
        self.last_byte_ms = 0.0  # when the last byte so far had arrived at the unit
        self._uart, self._clock = uart, clock
        self._may_send = may_send
        self._queue: deque[int] = deque()
        self._moving = False  # a byte is on its way
        self._arrival = clock.create_alarm(self._arrived)
        uart.on_byte = self._hear

    @property
    def idle(self) -> bool:
        """Everything that was sent has arrived."""
        return not self._queue

    def send(self, chunk: bytes) -> None:
        """Send chunk at the line's baud rate, after what is on its way already."""
        if not self.plugged:
            return
        self._queue.extend(self.to_unit(chunk) if self.to_unit else chunk)
        if self._queue and not self._moving:
            self._next()

    def plug(self) -> None:
        self.plugged = True

    def unplug(self) -> None:
        self.plugged = False
        self._queue.clear()

    def _arrived(self) -> None:
        self._moving = False
        if self._queue and self._may_send():
            self._uart.feed_byte(self._queue.popleft())
            self.last_byte_ms = self._clock.nanos / 1e6
        if self._queue:
            self._next()

    def _next(self) -> None:
        self._moving = True
        self._arrival.schedule(self._uart.byte_ns)

    def _hear(self, value: int) -> None:
        if self.plugged:
            chunk = bytes((value,))
            self.heard(self.from_unit(chunk) if self.from_unit else chunk)
