"""Pressure and temperature sensor BMP280 (Bosch, BST-BMP280-DS001): forced measurements, integer compensation.

The compensation is the data sheet's 64-bit integer one (section 3.11.3), step by step and with its rounding; the
trimming values are read from the chip. Pure, see chip.py.
"""

import struct

from agent.drivers.chip import Chip, ChipFault

CALIBRATION, CHIP_ID, STATUS, CTRL_MEAS, CONFIG, RESULT = 0x88, 0xD0, 0xF3, 0xF4, 0xF5, 0xF7
THIS_CHIP = 0x58
FORCED_P16_T2 = b"\x55"  # temperature twice, pressure 16 times, then asleep again
NO_FILTER = b"\x00"
MEASURING = 0x08
NEVER_MEASURED = 0x80000  # what a result shows after power-on


class Bmp280(Chip):
    """Address 0x76 or 0x77."""

    quantities = ("pressure", "temperature")
    conversion_ms = 44  # 43.2 ms at most with this oversampling

    _trim: "tuple[int, ...]" = ()

    def _set_up(self) -> None:
        if self._bytes(CHIP_ID, 1)[0] != THIS_CHIP:
            raise ChipFault("no BMP280")
        self._trim = struct.unpack("<HhhHhhhhhhhh", self._bytes(CALIBRATION, 24))
        if self._trim[0] in (0, 0xFFFF) or self._trim[3] in (0, 0xFFFF):
            raise ChipFault("no trimming values")
        self._bus.writeto_mem(self._address, CONFIG, NO_FILTER)

    def _begin(self) -> None:
        self._bus.writeto_mem(self._address, CTRL_MEAS, FORCED_P16_T2)

    def _fetch(self) -> "dict[str, int]":
        if self._bytes(STATUS, 1)[0] & MEASURING:
            raise ChipFault("never ready")
        raw = self._bytes(RESULT, 6)
        raw_pressure = raw[0] << 12 | raw[1] << 4 | raw[2] >> 4
        raw_temperature = raw[3] << 12 | raw[4] << 4 | raw[5] >> 4
        if NEVER_MEASURED in (raw_pressure, raw_temperature):
            raise ChipFault("restarted by itself")
        fine = fine_temperature(self._trim, raw_temperature)
        pressure = pressure_q8(self._trim, raw_pressure, fine)
        if not pressure:
            raise ChipFault("impossible trimming values")
        return {"pressure": (pressure * 10 + 128) // 256, "temperature": hundredths(fine) * 10}

    def _bytes(self, register: int, length: int) -> bytearray:
        content = bytearray(length)
        self._bus.readfrom_mem_into(self._address, register, content)
        return content


def fine_temperature(trim: "tuple[int, ...]", raw: int) -> int:
    """t_fine of the data sheet. trim: dig_T1..dig_T3, dig_P1..dig_P9."""
    t1, t2, t3 = trim[:3]
    var1 = (((raw >> 3) - (t1 << 1)) * t2) >> 11
    var2 = ((((raw >> 4) - t1) * ((raw >> 4) - t1)) >> 12) * t3 >> 14
    return var1 + var2


def hundredths(fine: int) -> int:
    """Temperature in 1/100 degree Celsius."""
    return (fine * 5 + 128) >> 8


def pressure_q8(trim: "tuple[int, ...]", raw: int, fine: int) -> int:
    """Pressure in 1/256 Pa; 0 when the trimming values allow none."""
    p1, p2, p3, p4, p5, p6, p7, p8, p9 = trim[3:]
    var1 = fine - 128000
    var2 = var1 * var1 * p6 + ((var1 * p5) << 17) + (p4 << 35)
    var1 = ((var1 * var1 * p3) >> 8) + ((var1 * p2) << 12)
    var1 = (((1 << 47) + var1) * p1) >> 33
    if not var1:
        return 0
    pressure = _divided((((1048576 - raw) << 31) - var2) * 3125, var1)
    var1 = (p9 * (pressure >> 13) * (pressure >> 13)) >> 25
    var2 = (p8 * pressure) >> 19
    return ((pressure + var1 + var2) >> 8) + (p7 << 4)


def _divided(dividend: int, divisor: int) -> int:
    """As C divides: towards zero."""
    quotient = abs(dividend) // abs(divisor)
    return quotient if (dividend < 0) == (divisor < 0) else -quotient
