"""Model of the temperature sensor TMP117 (SNOSD82): pointer, 16-bit registers, shutdown, one-shot and continuous mode.

Left out: alerts, the EEPROM's programming and general calls.
"""

from __future__ import annotations

from hil_tests.bench.devices.i2c import NowUs, Sense, Sensor

RESULT, CONFIGURATION, HIGH_LIMIT, LOW_LIMIT, UNLOCK, DEVICE_ID = 0x00, 0x01, 0x02, 0x03, 0x04, 0x0F
OFFSET = 0x07
POWER_ON = {RESULT: 0x8000, CONFIGURATION: 0x0220, HIGH_LIMIT: 0x6000, LOW_LIMIT: 0x8000, DEVICE_ID: 0x0117}
READ_ONLY = (RESULT, DEVICE_ID)
DATA_READY, SOFT_RESET = 0x2000, 0x0002
CONTINUOUS, SHUTDOWN, ONE_SHOT = (0, 2), 1, 3
CONVERSION_US = 15_500
AVERAGED = (1, 8, 32, 64)
CYCLE_US = (15_500, 125_000, 250_000, 500_000, 1_000_000, 4_000_000, 8_000_000, 16_000_000)


class Tmp117Model(Sensor):
    """Measures "temperature" in thousandths of a degree; one count of the result is 1/128 degree."""

    def __init__(self, address: int, now_us: NowUs, sense: Sense) -> None:
        super().__init__(address, now_us, sense)
        self._power_on()

    def _power_on(self) -> None:
        self.registers = dict(POWER_ON)
        self._pointer = RESULT
        self._received: list[int] = []
        self._sent = 0
        self._begun_us = self._now_us()

    def quantities(self) -> tuple[str, ...]:
        return ("temperature",)

    def begins(self, reading: bool) -> bool:
        self._convert()
        self._received, self._sent = [], 0
        return True

    def takes(self, byte: int) -> bool:
        self._received.append(byte)
        if len(self._received) == 1:
            self._pointer = byte & 0x0F
        elif len(self._received) == 3:
            self._set(self._received[1] << 8 | byte)
        return True

    def gives(self) -> int:
        if self._sent == 0:
            self._word = self.registers.get(self._pointer, 0)
            if self._pointer in (RESULT, CONFIGURATION):
                self.registers[CONFIGURATION] &= ~DATA_READY
        self._sent += 1
        return self._word >> 8 if self._sent % 2 else self._word & 0xFF

    def _set(self, word: int) -> None:
        if self._pointer in READ_ONLY:
            return
        if self._pointer == CONFIGURATION:
            if word & SOFT_RESET:
                self._power_on()
                return
            word = (word & 0x0FFC) | (self.registers[CONFIGURATION] & DATA_READY)
            self._begun_us = self._now_us()
        self.registers[self._pointer] = word

    def _convert(self) -> None:
        """Finish the conversions that time has finished."""
        configuration = self.registers[CONFIGURATION]
        mode, averaging = configuration >> 10 & 3, AVERAGED[configuration >> 5 & 3]
        if mode == SHUTDOWN or self._now_us() - self._begun_us < CONVERSION_US * averaging:
            return
        if mode == ONE_SHOT:
            configuration = configuration & ~0x0C00 | SHUTDOWN << 10
        else:
            cycle_us = max(CYCLE_US[configuration >> 7 & 7], CONVERSION_US * averaging)
            self._begun_us += cycle_us * max(1, (self._now_us() - self._begun_us) // cycle_us)
        count = round(self.measured("temperature") * 128 / 1000) + _signed(self.registers.get(OFFSET, 0))
        self.registers[RESULT] = max(-0x8000, min(0x7FFF, count)) & 0xFFFF
        self.registers[CONFIGURATION] = configuration | DATA_READY


def _signed(word: int) -> int:
    return word - 0x10000 if word & 0x8000 else word
