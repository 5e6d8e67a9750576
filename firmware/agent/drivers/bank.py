"""All sensors of a unit: makes the drivers that the enrolment letter names and reads every channel at one moment.

Decides which chip answers for which channel, and scales its thousandths to the channel's unit and exponent; the
channel's calibration offset (SPEC section 5, type 8) is added here. Never marks a value: sensors.py does. Pure.

How a hal uses it: `start(now_ms)` some time before a reading is due (SETTLE_MS, or right after the last one),
`watch(now_ms)` as often as it likes, `read(now_ms)` when it is due. No call sleeps. With a bus that is stuck each call
takes the bus's own timeout twice per chip: keep that at a few milliseconds.
"""

from agent.drivers.bmp280 import Bmp280
from agent.drivers.chip import FAULT, MISSING
from agent.drivers.lid import Lid
from agent.drivers.sht4x import Sht4x
from agent.drivers.tmp117 import Tmp117

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from agent.drivers.chip import Bus, Chip, Pin

CHIPS = {"tmp117": Tmp117, "sht4x": Sht4x, "bmp280": Bmp280}
LID = "lid"
SETTLE_MS = 150  # the slowest chip's measurement
EXPONENTS = {"Cel": -3, "%": -3, "mbar": -3, "hPa": -3, "kPa": -4, "Pa": -1}  # of a driver's integers in this unit
QUANTITY_UNITS = {"temperature": ("Cel",), "humidity": ("%",), "pressure": ("mbar", "hPa", "kPa", "Pa")}


class SensorsWrong(ValueError):  # noqa: N818  a letter that cannot be followed
    """The letter names a sensor that this firmware cannot read. The text says which, and why."""


class Bank:
    """The sensors of one unit.

    channels: maps as in SPEC section 5, type 8 (letter key 4); sensors: per channel [driver, address, quantity]
    (letter key 9), e.g. ["sht4x", 68, "humidity"] or ["lid", 0, ""]; lid: the pin, or None. Raises SensorsWrong.
    """

    def __init__(
        self, bus: "Bus", lid: "Pin | None", channels: "list[dict[int, Any]]", sensors: "list[list[Any]]"
    ) -> None:
        if len(channels) != len(sensors):
            raise SensorsWrong("%d channels, but %d sensors" % (len(channels), len(sensors)))
        self._chips: "dict[tuple[str, int], Chip]" = {}
        self._lid = Lid(lid) if lid is not None else None
        self._channels = []
        for channel, (driver, address, quantity) in zip(channels, sensors):
            if driver == LID:
                if self._lid is None or channel[2] != "1" or channel[3] != 0:
                    raise SensorsWrong("channel %s: a lid needs a pin, unit 1 and exponent 0" % channel[1])
            elif driver not in CHIPS or quantity not in CHIPS[driver].quantities:
                raise SensorsWrong("channel %s: no driver reads %s from %s" % (channel[1], quantity, driver))
            elif channel[2] not in QUANTITY_UNITS[quantity]:
                raise SensorsWrong("channel %s: %s is not given in %s" % (channel[1], quantity, channel[2]))
            elif (driver, address) not in self._chips:
                self._chips[driver, address] = CHIPS[driver](bus, address)
            self._channels.append((driver, address, quantity, channel[2], channel[3], channel.get(10, 0)))

    def start(self, now_ms: int) -> None:
        """Begin a measurement on every chip."""
        for chip in self._chips.values():
            chip.start(now_ms)

    def watch(self, now_ms: int) -> None:
        """Look at what changes between two readings."""
        if self._lid is not None:
            self._lid.watch(now_ms)

    def read(self, now_ms: int) -> "list[int | str | None]":
        """What was measured since start(): per channel a value scaled by its exponent, MISSING or FAULT."""
        measured: "dict[tuple[str, int], dict[str, int] | str | None]" = {}
        for key, chip in self._chips.items():
            measured[key] = chip.read(now_ms)
        readings: "list[int | str | None]" = []
        for driver, address, quantity, unit, exponent, offset in self._channels:
            if driver == LID:
                assert self._lid is not None
                readings.append(self._lid.read(now_ms))
                continue
            answer = measured[driver, address]
            if isinstance(answer, dict):
                readings.append(_scaled(answer[quantity], EXPONENTS[unit] - exponent) + offset)
            else:
                readings.append(FAULT if answer == FAULT else MISSING)
        return readings


def _scaled(value: int, shift: int) -> int:
    """value times ten to the power of shift, rounded half up."""
    if shift >= 0:
        return int(value * 10**shift)
    divisor = 10**-shift
    return int((value + divisor // 2) // divisor)
