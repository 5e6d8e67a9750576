"""What the simulated board's sensors measure: a recorded file or a generated curve, and injected faults.

Time here is the unit's own (accelerated) time in ms since the board was first switched on; it runs on across boots.
A value is an integer scaled by the channel's exponent. None is a reading that was not possible; FAULT is a sensor that
reported an error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from hil_tests.bench.sensor_file import values_of
from tools.enrolment import ChannelSpec

FAULT = "fault"
SWITCH_UNIT = "1"  # a lid: generated as shut
Reading = int | str | None  # a scaled value, FAULT, or None when no reading was possible


_CALIBRATED_MS, _DUE_MS = 1764547200000, 1830297600000  # 2025-12-01 and 2028-01-01
DEFAULT_CHANNELS = (  # invented sensors, and their names say so
    ChannelSpec("temperature", "Cel", -2, -1000, 8000, "CAL-T-0412", _DUE_MS, "TMP117 TEST-0412", _CALIBRATED_MS, -3),
    ChannelSpec("co2", "%", -2, 0, 2000, "CAL-C-0077", _DUE_MS, "NDIR20 TEST-0077", _CALIBRATED_MS, 4),
    ChannelSpec("ph", "[pH]", -2, 0, 1400, "CAL-P-0231", _DUE_MS, "PHX1 TEST-0231", _CALIBRATED_MS, 0),
    ChannelSpec("pressure", "mbar", -1, 0, 20000, "CAL-B-0009", _DUE_MS, "BMP280 TEST-0009", _CALIBRATED_MS, 12),
)


class SensorSource(Protocol):
    """Gives a reading of every channel at one moment."""

    @property
    def channels(self) -> Sequence[ChannelSpec]: ...

    @property
    def label(self) -> str:
        """Where the values come from, for people."""

    def read(self, world_ms: int) -> list[Reading]:
        """One reading per channel, in the order of `channels`."""


class SyntheticSensors:
    """Generated curves round a set point: slow waves and a little noise. Synthetic, and its name says so."""

    label = "synthetic (generated, not measured)"
    _SHAPES: Mapping[str, tuple[int, int, int]] = {
        # name: (set point, wave height, wave length in s), scaled by the channel's exponent
        "temperature": (3700, 18, 900),
        "co2": (500, 9, 700),
        "humidity": (450, 6, 1100),
        "ph": (720, 3, 1300),
        "pressure": (10132, 14, 1700),
    }

    def __init__(self, channels: Sequence[ChannelSpec] = DEFAULT_CHANNELS) -> None:
        self.channels = channels

    def read(self, world_ms: int) -> list[Reading]:
        return [self._value(index, channel, world_ms) for index, channel in enumerate(self.channels)]

    def _value(self, index: int, channel: ChannelSpec, world_ms: int) -> int:
        if channel.unit == SWITCH_UNIT:
            return channel.low
        middle, height, length_s = self._SHAPES.get(channel.name, ((channel.low + channel.high) // 2, 5, 600))
        wave = math.sin(2 * math.pi * world_ms / (1000 * length_s) + index)
        return middle + round(height * wave) + _noise(index, world_ms // 1000)


def _noise(index: int, second: int) -> int:
    """-2..2, the same for the same moment, so that a run can be repeated."""
    mixed = (second * 2654435761 + index * 40503) & 0xFFFFFFFF
    return ((mixed >> 16) ^ mixed) % 5 - 2


class CsvSensors:
    """Readings of a file with the columns timestamp,value, fitted to the first channel; the others are generated.

    The file's smallest and largest value become `span` (scaled). One row lasts row_ms of unit time; the file repeats.
    Raises RequestError when the file cannot be used.
    """

    def __init__(
        self,
        path: Path,
        *,
        channels: Sequence[ChannelSpec] = DEFAULT_CHANNELS,
        span: tuple[int, int] = (3640, 3760),
        row_ms: int = 1000,
    ) -> None:
        self.channels = channels
        self.label = f"recorded: {path.name}"
        self._row_ms = row_ms
        self._rest = SyntheticSensors(channels)
        self._rows = _fitted(values_of(path), span)

    def read(self, world_ms: int) -> list[Reading]:
        row = self._rows[world_ms // self._row_ms % len(self._rows)]
        return [row, *self._rest.read(world_ms)[1:]]


def _fitted(values: Sequence[float], span: tuple[int, int]) -> list[int]:
    lowest, highest = min(values), max(values)
    width = highest - lowest or 1.0
    return [span[0] + round((value - lowest) * (span[1] - span[0]) / width) for value in values]


@dataclass
class SensorFaults:
    """Wraps a source and bends chosen channels while told to."""

    source: SensorSource
    _bent: dict[str, Reading] = field(default_factory=dict)
    _shift: dict[str, int] = field(default_factory=dict)

    @property
    def channels(self) -> Sequence[ChannelSpec]:
        return self.source.channels

    @property
    def label(self) -> str:
        return self.source.label

    def excursion(self, channel: str, shift: int) -> None:
        """Add shift (scaled) to every value of the channel from now on."""
        self._shift[self._known(channel)] = shift

    def missing(self, channel: str) -> None:
        """No reading is possible from now on."""
        self._bent[self._known(channel)] = None

    def fault(self, channel: str) -> None:
        """The sensor reports an error from now on."""
        self._bent[self._known(channel)] = FAULT

    def stuck(self, channel: str, value: int) -> None:
        """The sensor repeats one value (scaled) from now on."""
        self._bent[self._known(channel)] = value

    def well(self, channel: str) -> None:
        """End every fault of the channel."""
        self._bent.pop(channel, None)
        self._shift.pop(channel, None)

    def read(self, world_ms: int) -> list[Reading]:
        readings = self.source.read(world_ms)
        for index, channel in enumerate(self.channels):
            reading = self._bent.get(channel.name, readings[index])
            readings[index] = reading + self._shift.get(channel.name, 0) if isinstance(reading, int) else reading
        return readings

    def _known(self, channel: str) -> str:
        if all(spec.name != channel for spec in self.channels):
            raise ValueError(f"the board has no channel {channel!r}")
        return channel
