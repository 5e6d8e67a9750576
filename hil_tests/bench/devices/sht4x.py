"""Model of the humidity sensor SHT4x: commands of one byte, answers of two words with their CRCs.

It acknowledges nothing while it measures. Left out: the heater.
"""

from __future__ import annotations

from hil_tests.bench.devices.i2c import NowUs, Sense, Sensor

MEASURING_US = {0xFD: 8_300, 0xF6: 4_500, 0xE0: 1_600}  # at most; high, medium, low precision
READ_SERIAL, SOFT_RESET = 0x89, 0x94
RESET_US = SERIAL_US = 1_000
SERIAL = (0x0F2A, 0x41C6)


class Sht4xModel(Sensor):
    """Measures "temperature" and "humidity" in thousandths. `wrong_crc` damages the second word's CRC."""

    def __init__(self, address: int, now_us: NowUs, sense: Sense) -> None:
        super().__init__(address, now_us, sense)
        self.wrong_crc = False
        self._command: int | None = None
        self._ready_us = 0
        self._answer = b""

    def quantities(self) -> tuple[str, ...]:
        return ("temperature", "humidity")

    def begins(self, reading: bool) -> bool:
        if self._now_us() < self._ready_us:
            return False
        if not reading:
            return True
        if self._command is None:
            return False
        self._answer, self._command = self._words(self._command), None
        return True

    def takes(self, byte: int) -> bool:
        if byte in MEASURING_US or byte == READ_SERIAL:
            self._command = byte
            self._ready_us = self._now_us() + MEASURING_US.get(byte, SERIAL_US)
            return True
        if byte == SOFT_RESET:
            self._command, self._ready_us = None, self._now_us() + RESET_US
            return True
        return False

    def gives(self) -> int:
        byte, self._answer = (self._answer[:1] or b"\xff")[0], self._answer[1:]
        return byte

    def _words(self, command: int) -> bytes:
        if command == READ_SERIAL:
            words = SERIAL
        else:
            words = (
                _word((self.measured("temperature") + 45_000) / 175_000),
                _word((self.measured("humidity") + 6_000) / 125_000),
            )
        first, second = (word.to_bytes(2, "big") for word in words)
        damage = 0x10 if self.wrong_crc else 0
        return first + bytes([crc8(first)]) + second + bytes([crc8(second) ^ damage])


def _word(part: float) -> int:
    return max(0, min(0xFFFF, round(part * 0xFFFF)))


def crc8(word: bytes) -> int:
    """CRC-8 of polynomial x^8+x^5+x^4+1 that begins with 0xFF, as a division of one long number."""
    number = (int.from_bytes(word, "big") ^ 0xFF << 8 * (len(word) - 1)) << 8
    for bit in range(8 * len(word) - 1, -1, -1):
        if number >> bit + 8 & 1:
            number ^= 0x131 << bit
    return number
