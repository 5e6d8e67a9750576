"""Temperature sensor TMP117 (Texas Instruments, SNOSD82): one-shot measurements averaged over 8 conversions.

Registers are 16 bits, high byte first; the result counts 1/128 degree Celsius in two's complement. Pure, see chip.py.
"""

from agent.drivers.chip import Chip, ChipFault

RESULT, CONFIGURATION, DEVICE_ID = 0x00, 0x01, 0x0F
THIS_DEVICE = 0x117  # bits 11..0; above them the revision
ONE_SHOT_OF_8 = b"\x0c\x20"  # MOD 11, AVG 01
DATA_READY = 0x20  # of the high byte of the configuration
NEVER_MEASURED = 0x8000  # -256 degrees: what the result shows after power-on


class Tmp117(Chip):
    """Addresses 0x48..0x4B."""

    quantities = ("temperature",)
    conversion_ms = 140  # 8 conversions of 15.5 ms, 17.5 ms at most

    def _set_up(self) -> None:
        if self._register(DEVICE_ID) & 0x0FFF != THIS_DEVICE:
            raise ChipFault("no TMP117")

    def _begin(self) -> None:
        self._bus.writeto_mem(self._address, CONFIGURATION, ONE_SHOT_OF_8)

    def _fetch(self) -> "dict[str, int]":
        if not self._register(CONFIGURATION) >> 8 & DATA_READY:
            raise ChipFault("never ready")
        raw = self._register(RESULT)
        if raw == NEVER_MEASURED:
            raise ChipFault("restarted by itself")
        if raw & 0x8000:
            raw -= 0x10000
        return {"temperature": (raw * 1000 + 64) // 128}

    def _register(self, register: int) -> int:
        word = bytearray(2)
        self._bus.readfrom_mem_into(self._address, register, word)
        return word[0] << 8 | word[1]
