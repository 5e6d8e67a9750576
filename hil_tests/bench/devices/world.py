"""The world round the unit's sensors: chip models for what the enrolment letter names, measuring a SensorSource.

A source gives one scaled reading per channel; here each becomes the physical value that the channel's chip measures at
the chip's own time. A channel without a reading (missing, fault) is a chip that no longer answers, because that is how
a real board meets it. Two channels of one chip share it, and its fault.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hil_tests.bench.devices.bmp280 import Bmp280Model
from hil_tests.bench.devices.i2c import NowUs, Sense, Sensor
from hil_tests.bench.devices.sht4x import Sht4xModel
from hil_tests.bench.devices.tmp117 import Tmp117Model
from hil_tests.bench.sensor_source import SensorSource
from tools.enrolment import ChannelSpec

MODELS: dict[str, Callable[[int, NowUs, Sense], Sensor]] = {
    "tmp117": Tmp117Model,
    "sht4x": Sht4xModel,
    "bmp280": Bmp280Model,
}
LID = "lid"
EXPONENTS = {"Cel": -3, "%": -3, "mbar": -3, "hPa": -3, "kPa": -4, "Pa": -1}  # of thousandths, in the channel's unit
UNASKED = {"temperature": 25_000, "humidity": 40_000, "pressure": 1_013_250}  # what no channel reports

BOARD_CHANNELS = (
    ChannelSpec("temperature", "Cel", -2, -1000, 8000, "CAL-T-0412", 1830297600000),
    ChannelSpec("humidity", "%", -1, 0, 1000, "CAL-H-0077", 1830297600000),
    ChannelSpec("pressure", "mbar", -1, 3000, 11000, "CAL-B-0009", 1830297600000),
    ChannelSpec("lid", "1", 0, 0, 1),
)
BOARD_SENSORS: tuple[tuple[str, int, str], ...] = (
    ("tmp117", 0x48, "temperature"),
    ("sht4x", 0x44, "humidity"),
    ("bmp280", 0x76, "pressure"),
    (LID, 0, ""),
)


class World:
    """Chips by address, and the lid's switch.

    sensors: per channel of the source (driver, address, quantity), as in the letter's key 9. now_us: the chip's time.
    """

    def __init__(self, source: SensorSource, sensors: Sequence[tuple[str, int, str]], now_us: NowUs) -> None:
        if len(sensors) != len(source.channels):
            raise ValueError(f"{len(source.channels)} channels, but {len(sensors)} sensors")
        self._source = source
        self._now_us = now_us
        self._sensors = list(sensors)
        self.devices: dict[int, Sensor] = {}
        for driver, address, _quantity in sensors:
            if driver != LID and address not in self.devices:
                self.devices[address] = MODELS[driver](address, now_us, self._sense_of(address))

    def lid_open(self) -> bool:
        """The level of the lid's switch; closed when there is none."""
        readings = self._source.read(self._now_us() // 1000)
        return any(
            reading == 1 for (driver, _, _), reading in zip(self._sensors, readings, strict=True) if driver == LID
        )

    def _sense_of(self, address: int) -> Sense:
        mine = [place for place, (driver, at, _) in enumerate(self._sensors) if driver != LID and at == address]

        def sense(quantity: str) -> int | None:
            readings = self._source.read(self._now_us() // 1000)
            if any(not isinstance(readings[place], int) for place in mine):
                return None
            for place in mine:
                if self._sensors[place][2] == quantity:
                    reading, channel = readings[place], self._source.channels[place]
                    assert isinstance(reading, int)
                    return _thousandths(reading, channel)
            return UNASKED[quantity]

        return sense


def _thousandths(reading: int, channel: ChannelSpec) -> int:
    power: float = 10.0 ** (channel.exponent - EXPONENTS[channel.unit])
    return round(reading * power)
