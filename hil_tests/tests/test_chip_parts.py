"""The emulated chip without firmware: what is soldered to it behaves as the data sheets say.

The tests named `..._still_needs_it` hold for the bare emulator. When one of them fails, rp2040py has been mended, and
what the bench puts right there can go. The quick divider is for speed alone: only its answers are tested.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hil_tests.bench.board_image import FLASH_BYTES
from hil_tests.bench.emulator import RP2040, ConsoleLogger, LogLevel, pl011, sio
from hil_tests.bench.nor import Cut, PowerLost
from hil_tests.bench.rp2040_chip import BUZZER_SLICE, ERASE_NS, FLASH_START, IC_ENABLE, Chip, QuickSio
from hil_tests.bench.rp2040_uart import RX_TIMEOUT_INTR, UARTIFLS

ENDLESS_LOOP = bytes.fromhex("fee7")  # b .
IBRD_115200, FBRD_115200 = 26, 3  # of 48 MHz
LEVELS_AS_MICROPYTHON = 0
# movs r4, 0x20; lsls r4, 24; then for ever: some arithmetic, and a word to RAM and back
ARITHMETIC = bytes.fromhex("202424060730c1004a409b18236025684543cd415b1bf5e7")
RUN_IT = """
from hil_tests.bench.rp2040_chip import Chip
from hil_tests.bench.board_image import FLASH_BYTES
chip = Chip(bytes.fromhex({program!r}).ljust(FLASH_BYTES, b"\\xff"))
chip.run_ms(20)
print(list(chip.mcu.core.registers), chip.now_ms)
"""
RANDOM_BIT_REGISTER = 0x4006_001C
IC_TAR, IC_DATA_CMD, IC_STOP = 0x04, 0x10, 1 << 9
UART_ON = pl011.UARTEN | pl011.RXE | pl011.TXE


def chip(**more: object) -> Chip:
    return Chip(ENDLESS_LOOP.ljust(FLASH_BYTES, b"\xff"), **more)  # type: ignore[arg-type]


def switch_on(uart: pl011.RPUART) -> None:
    uart.write_uint32(pl011.UARTIBRD, IBRD_115200)
    uart.write_uint32(pl011.UARTFBRD, FBRD_115200)
    uart.write_uint32(pl011.UARTLCR_H, pl011.FEN | 0x60)
    uart.write_uint32(UARTIFLS, LEVELS_AS_MICROPYTHON)
    uart.write_uint32(pl011.UARTCR, UART_ON)


def clear(uart: pl011.RPUART, bits: int) -> None:
    uart.write_uint32_atomic(pl011.UARTICR, bits, 0)


def bare() -> RP2040:
    chip = RP2040()
    chip.logger = ConsoleLogger(LogLevel.ERROR)
    return chip


def test_the_transmit_interrupt_still_needs_it() -> None:
    uart = bare().uart[0]
    uart.write_uint32(pl011.UARTIMSC, pl011.UARTTXINTR)
    clear(uart, pl011.UARTTXINTR)
    assert uart.read_uint32(pl011.UARTIMIS) & pl011.UARTTXINTR, "cleared, and raised again at once"
    mended = chip().mcu.uart[0]
    switch_on(mended)
    mended.write_uint32(pl011.UARTIMSC, pl011.UARTTXINTR)
    assert not mended.read_uint32(pl011.UARTIMIS)


def test_the_peripheral_clock_still_needs_it() -> None:
    rates = []
    for mcu in (bare(), chip().mcu):
        switch_on(mcu.uart[0])
        rates.append(mcu.uart[0].baud_rate)
    assert rates == [pytest.approx(300_000, rel=0.01), pytest.approx(115_200, rel=0.01)]


def test_the_time_of_a_serial_byte_still_needs_it() -> None:
    left: list[list[int]] = [[], []]
    for heard, mcu in zip(left, (bare(), chip().mcu), strict=True):
        switch_on(mcu.uart[0])
        mcu.uart[0].on_byte = heard.append
        mcu.uart[0].write_uint32(pl011.UARTDR, 65)
    assert left == [[65], []], "the bare one sends a byte in no time"


def test_the_time_of_a_flash_operation_still_needs_it() -> None:
    for command in (b"\x02\x0c\x00\x00" + bytes(8), b"\x20\x0c\x00\x00"):
        plain, mended = bare(), chip().mcu
        for mcu in (plain, mended):
            flash_command(mcu.ssi, command)
        assert plain.clock.nanos == 0 < mended.clock.nanos


def connect_i2c(mcu: RP2040, *, answers: bool) -> None:
    """The first byte of a transfer to 0x48, where somebody answers, or never lets go of the bus."""
    bus = mcu.i2c[0]
    if not answers:
        bus.on_connect = lambda _address, _mode: None
    for register, value in ((IC_TAR, 0x48), (IC_ENABLE, 1), (IC_DATA_CMD, IC_STOP)):
        bus.write_uint32(register, value)


def test_the_time_of_an_i2c_byte_still_needs_it() -> None:
    plain, mended = bare(), chip().mcu
    for mcu in (plain, mended):
        connect_i2c(mcu, answers=True)
    assert plain.clock.nanos == 0 < mended.clock.nanos


def test_switching_i2c_off_still_needs_it() -> None:
    plain, mended = bare(), chip().mcu
    for mcu in (plain, mended):
        connect_i2c(mcu, answers=False)
        assert mcu.i2c[0]._busy
        mcu.i2c[0].write_uint32(IC_ENABLE, 0)
    assert plain.i2c[0]._busy, "the bare one waits for ever for a transfer that never ends"
    assert not mended.i2c[0]._busy


def test_the_unique_number_still_needs_it() -> None:
    def answers(ssi: object) -> bytes:
        ssi._tx_buffer = bytearray()  # type: ignore[attr-defined]
        return bytes(ssi._shift_byte(byte) for byte in b"\x4b" + bytes(12))[5:]  # type: ignore[attr-defined]

    assert answers(bare().ssi) == b"\xff" * 8
    assert answers(chip(unique_id=b"unit0001").mcu.ssi) == b"unit0001"


def test_the_ring_oscillator_still_needs_it() -> None:
    plain = bare()
    assert {plain.read_uint32(RANDOM_BIT_REGISTER) for _ in range(64)} == {0xFFFF_FFFF}
    one, same, other = chip(seed=1), chip(seed=1), chip(seed=2)
    bits = [[each.mcu.read_uint32(RANDOM_BIT_REGISTER) for _ in range(64)] for each in (one, same, other)]
    assert bits[0] == bits[1] != bits[2]
    assert set(bits[0]) == {0, 1}


def _printed(program: str, environment: dict[str, str]) -> str:
    command, here = [sys.executable, "-c", program], Path(__file__).parents[2]
    done = subprocess.run(command, env=environment, cwd=here, capture_output=True, text=True, check=True, timeout=100)
    return done.stdout


def test_both_builds_of_the_emulator_run_alike() -> None:
    """Compiled for this interpreter or not: the same registers after the same time."""
    program = RUN_IT.format(program=ARITHMETIC.hex())
    runs = [_printed(program, {**os.environ, "CARTRACE_EMULATOR": build}) for build in ("wheel", "")]
    assert runs[0] == runs[1]
    registers = runs[0].partition("]")[0]
    assert len(set(registers.split(","))) > 5, "the program did not run"


def test_bytes_arrive_at_the_baud_rate_and_the_buffer_overflows_at_32() -> None:
    board = chip()
    uart = board.mcu.uart[1]
    switch_on(uart)
    board.scanner.send(bytes(range(60)))
    board.run_ms(20 / 11.52 + 0.01)
    assert uart.rx_fifo.item_count == 20
    board.run_ms(4)
    assert (uart.rx_fifo.item_count, uart.overruns) == (32, 28)
    assert [uart.read_uint32(pl011.UARTDR) for _ in range(32)] == list(range(32))
    assert uart.flags & pl011.RXFE


def test_what_waits_in_the_receive_buffer_is_announced_after_silence() -> None:
    board = chip()
    uart = board.mcu.uart[0]
    switch_on(uart)
    board.link.send(b"abc")
    board.run_ms(3 / 11.52 + 0.05)
    assert not uart.read_uint32(pl011.UARTIRIS) & (pl011.UARTRXINTR | RX_TIMEOUT_INTR)
    board.run_ms(0.3)
    assert uart.read_uint32(pl011.UARTIRIS) & RX_TIMEOUT_INTR
    board.link.send(b"d")
    board.run_ms(0.1)
    assert uart.read_uint32(pl011.UARTIRIS) & pl011.UARTRXINTR, "four bytes are the trigger level"


def test_bytes_leave_at_the_baud_rate() -> None:
    board = chip()
    heard = bytearray()
    board.link.heard = heard.extend
    uart = board.mcu.uart[0]
    switch_on(uart)
    for byte in range(33):
        uart.write_uint32(pl011.UARTDR, byte)
    assert uart.flags & 1 << 5, "one byte on the line and 32 in the buffer: full"
    board.run_ms(10 / 11.52 + 0.01)
    assert heard == bytes(range(10))
    board.run_ms(3)
    assert heard == bytes(range(33))
    assert uart.read_uint32(pl011.UARTIRIS) & pl011.UARTTXINTR
    clear(uart, pl011.UARTTXINTR)
    board.run_ms(1)
    assert not uart.read_uint32(pl011.UARTIRIS) & pl011.UARTTXINTR, "cleared is cleared"


def test_an_unplugged_cable_carries_nothing() -> None:
    board = chip()
    heard = bytearray()
    board.link.heard = heard.extend
    uart = board.mcu.uart[0]
    switch_on(uart)
    board.link.unplug()
    board.link.send(b"lost")
    uart.write_uint32(pl011.UARTDR, 65)
    board.run_ms(2)
    assert (uart.rx_fifo.item_count, bytes(heard)) == (0, b"")
    board.link.plug()
    board.link.send(b"here")
    board.run_ms(2)
    assert uart.rx_fifo.item_count == 4


def send_flash_command(board: Chip, content: bytes) -> None:
    flash_command(board.mcu.ssi, content)


def flash_command(ssi: Any, content: bytes) -> None:
    for command in (b"\x06", content):
        ssi._tx_buffer = bytearray()
        for byte in command:
            ssi._shift_byte(byte)
        ssi._apply_command()


@pytest.mark.parametrize(("torn_bytes", "kept"), [(0, 0), (3, 3), (9, 8), (None, 8)])
def test_a_cut_keeps_what_was_programmed_so_far(torn_bytes: int | None, kept: int) -> None:
    board = chip()
    board.arm(Cut(2, torn_bytes))
    send_flash_command(board, b"\x02\x0c\x00\x00" + bytes(8))
    with pytest.raises(PowerLost):
        send_flash_command(board, b"\x02\x0c\x01\x00" + bytes(8))
    assert board.flash[0xC0000:0xC0008] == bytes(8)
    assert board.flash[0xC0100:0xC0108] == bytes(kept) + b"\xff" * (8 - kept)
    assert board.misuse is None


def test_an_erase_takes_its_time_and_can_be_torn() -> None:
    board = chip()
    send_flash_command(board, b"\x02\x0c\x00\x00" + bytes(256))
    began_ns = board.clock.nanos
    send_flash_command(board, b"\x20\x0c\x00\x10")
    assert board.clock.nanos - began_ns == ERASE_NS
    assert board.flash[0xC0000:0xC1000] == b"\xff" * 4096
    send_flash_command(board, b"\x02\x0c\x00\x00" + bytes(256))
    board.arm(Cut(1, 100))
    with pytest.raises(PowerLost):
        send_flash_command(board, b"\x20\x0c\x00\x00")
    assert board.flash[0xC0000:0xC0100] == b"\xff" * 100 + bytes(156)


def test_programming_over_what_was_not_erased_is_noticed() -> None:
    board = chip()
    send_flash_command(board, b"\x02\x0c\x00\x00\x0f")
    send_flash_command(board, b"\x02\x0c\x00\x00\xf0")
    assert board.misuse is not None
    assert "not erased" in board.misuse


def test_the_quick_divider_gives_the_emulator_s_own_answers() -> None:
    dice = random.Random(8)
    plain, quick = sio.RPSIO(bare()), QuickSio(bare())
    registers = (sio.DIV_UDIVIDEND, sio.DIV_UDIVISOR, sio.DIV_SDIVIDEND, sio.DIV_SDIVISOR, sio.DIV_REMAINDER)
    read = (*registers, sio.DIV_QUOTIENT, sio.DIV_CSR)
    for _turn in range(5000):
        register = dice.choice((*registers[:2], *registers))
        value = dice.choice((0, 1, 7, 0x7FFF_FFFF, 0xFFFF_FFFF, dice.getrandbits(32)))
        for divider in (plain, quick):
            divider.write_uint32(register, value)
        asked = dice.choice(read)
        assert plain.read_uint32(asked) == quick.read_uint32(asked)


def test_the_buzzer_s_pitch_is_heard() -> None:
    board = chip()
    channel = board.mcu.pwm.channels[BUZZER_SLICE]
    for offset, value in ((0x04, 16 << 4), (0x10, 2892), (0x0C, 1446 << 16), (0x00, 1), (0x00, 0)):
        channel.write_register(offset, value)
    assert [pitch_hz for _at_ns, pitch_hz in board.tones] == [2700, 0]


def test_the_same_input_gives_the_same_run() -> None:
    def run() -> tuple[float, int, list[int]]:
        board = chip()
        switch_on(board.mcu.uart[0])
        board.link.send(b"same")
        board.run_ms(3)
        return board.now_ms, board.mcu.uart[0].rx_fifo.item_count, list(board.mcu.core.registers)

    assert run() == run()
    assert run()[2][15] & ~3 == FLASH_START
