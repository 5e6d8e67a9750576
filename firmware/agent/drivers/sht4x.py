"""Humidity and temperature sensor SHT40/41/45 (Sensirion, data sheet SHT4x): high precision, each word with its CRC.

Pure, see chip.py. Humidity is given as measured: the formula reaches from -6 to 119 %, and what lies outside of 0..100
is for the channel's range to mark, not for the driver to hide.
"""

from agent.drivers.chip import Chip, ChipFault

MEASURE_HIGH_PRECISION = b"\xfd"
CRC_POLYNOMIAL = 0x31
CRC_BEGIN = 0xFF


class Sht4x(Chip):
    """Address 0x44 (0x45 and 0x46 for some types)."""

    quantities = ("humidity", "temperature")
    conversion_ms = 10  # 8.3 ms at most

    def _set_up(self) -> None:
        """Nothing: it has no type register and keeps no setting. Right CRCs are what tells that it is there."""

    def _begin(self) -> None:
        self._bus.writeto(self._address, MEASURE_HIGH_PRECISION)

    def _fetch(self) -> "dict[str, int]":
        temperature, humidity = self._words()
        return {
            "temperature": (175000 * temperature + 32767) // 65535 - 45000,
            "humidity": (125000 * humidity + 32767) // 65535 - 6000,
        }

    def _words(self) -> "tuple[int, int]":
        answer = bytearray(6)
        self._bus.readfrom_into(self._address, answer)
        if crc8(answer[0], answer[1]) != answer[2] or crc8(answer[3], answer[4]) != answer[5]:
            raise ChipFault("wrong CRC")
        return answer[0] << 8 | answer[1], answer[3] << 8 | answer[4]


def crc8(high: int, low: int) -> int:
    """CRC-8 of one word (data sheet 4.4): 0xBEEF has 0x92."""
    crc = CRC_BEGIN
    for byte in (high, low):
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ CRC_POLYNOMIAL if crc & 0x80 else crc << 1) & 0xFF
    return crc
