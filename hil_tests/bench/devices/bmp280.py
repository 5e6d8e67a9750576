"""Model of the pressure sensor BMP280 (BST-BMP280-DS001): registers, sleep, forced and normal mode, trimming values.

What it measures is turned into raw counts through the data sheet's floating-point formulas (section 8.1), so that a
driver's integer arithmetic is checked by something else than itself. Left out: the filter and SPI.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from hil_tests.bench.devices.i2c import NowUs, Sense, Sensor

TRIM = (27504, 26435, -1000, 36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000)  # the data sheet's example
CALIBRATION, CHIP_ID, RESET, STATUS, CTRL_MEAS, CONFIG, RESULT = 0x88, 0xD0, 0xE0, 0xF3, 0xF4, 0xF5, 0xF7
THIS_CHIP, RESET_WORD, MEASURING = 0x58, 0xB6, 0x08
SLEEP, NORMAL = 0, 3
RAW_MAX = (1 << 20) - 1
STANDBY_US = (500, 62_500, 125_000, 250_000, 500_000, 1_000_000, 2_000_000, 4_000_000)


class Bmp280Model(Sensor):
    """Measures "temperature" and "pressure" in thousandths of a degree and of a millibar."""

    def __init__(self, address: int, now_us: NowUs, sense: Sense) -> None:
        super().__init__(address, now_us, sense)
        self._power_on()

    def _power_on(self) -> None:
        self._registers = bytearray(256)
        self._registers[CALIBRATION : CALIBRATION + 24] = struct.pack("<HhhHhhhhhhhh", *TRIM)
        self._registers[CHIP_ID] = THIS_CHIP
        self._registers[RESULT : RESULT + 6] = b"\x80\x00\x00" * 2
        self._register = 0
        self._writing: int | None = None
        self._pointed = False
        self._begun_us = 0

    def quantities(self) -> tuple[str, ...]:
        return ("temperature", "pressure")

    def begins(self, reading: bool) -> bool:
        self._convert()
        self._pointed = False
        return True

    def takes(self, byte: int) -> bool:
        """Pairs of register and value; the register of the last pair is where reading begins."""
        if not self._pointed:
            self._register, self._pointed = byte, True
            return True
        self._pointed = False
        if self._register == RESET and byte == RESET_WORD:
            self._power_on()
        elif self._register in (CTRL_MEAS, CONFIG):
            self._registers[self._register] = byte
            self._begun_us = self._now_us()
            self._convert()
        return True

    def gives(self) -> int:
        byte = self._registers[self._register]
        self._register = (self._register + 1) & 0xFF
        return byte

    def measuring_us(self) -> int:
        """The longest that one measurement takes with the oversampling in force (section 3.8.1)."""
        temperature, pressure = self._oversampling()
        return 1_250 + 2_300 * temperature + (2_300 * pressure + 575 if pressure else 0)

    def _oversampling(self) -> tuple[int, int]:
        control = self._registers[CTRL_MEAS]
        return tuple((0, 1, 2, 4, 8, 16, 16, 16)[control >> shift & 7] for shift in (5, 2))  # type: ignore[return-value]

    def _convert(self) -> None:
        mode = self._registers[CTRL_MEAS] & 3
        busy = mode != SLEEP and self._now_us() - self._begun_us < self.measuring_us()
        self._registers[STATUS] = MEASURING if busy else 0
        if mode == SLEEP or busy:
            return
        temperature, pressure = self._oversampling()
        celsius, pascal = self.measured("temperature") / 1000, self.measured("pressure") / 10
        raw_temperature = _raw_for(celsius, lambda raw: _fine(raw) / 5120)
        fine = _fine(raw_temperature)
        raw_pressure = RAW_MAX - _raw_for(pascal, lambda raw: _pascal(RAW_MAX - raw, fine))
        self._registers[RESULT : RESULT + 3] = _packed(raw_pressure if pressure else 0x80000)
        self._registers[RESULT + 3 : RESULT + 6] = _packed(raw_temperature if temperature else 0x80000)
        if mode == NORMAL:
            self._begun_us = self._now_us() + STANDBY_US[self._registers[CONFIG] >> 5]
        else:
            self._registers[CTRL_MEAS] &= ~3


def _packed(raw: int) -> bytes:
    return (raw << 4).to_bytes(3, "big")


def _raw_for(wanted: float, measured: Callable[[int], float]) -> int:
    """The count, 0..RAW_MAX, whose measured value comes nearest to wanted; measured grows with the count."""
    low, high = 0, RAW_MAX
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if measured(middle) < wanted else (low, middle)
    return low if wanted - measured(low) < measured(high) - wanted else high


def _fine(raw: int) -> float:
    t1, t2, t3 = TRIM[:3]
    return (raw / 16384 - t1 / 1024) * t2 + (raw / 131072 - t1 / 8192) ** 2 * t3


def _pascal(raw: int, fine: float) -> float:
    p1, p2, p3, p4, p5, p6, p7, p8, p9 = TRIM[3:]
    offset = fine / 2 - 64000
    bend = (offset * offset * p6 / 32768 + offset * p5 * 2) / 4 + p4 * 65536
    slope = (1 + (p3 * offset * offset / 524288 + p2 * offset) / 524288 / 32768) * p1
    pressure = (1048576 - raw - bend / 4096) * 6250 / slope
    return pressure + (p9 * pressure * pressure / 2147483648 + pressure * p8 / 32768 + p7) / 16
