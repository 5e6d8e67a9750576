"""Sensor readings: when one is due, and what is wrong with it.

Decides marks (missing, fault, out of range, stuck); never changes a value. Packing is samples.py's, limits are
alarms.py's. Pure. Spec: wire/SPEC.md section 6.
"""

from agent.samples import FAULT, MISSING, OUT_OF_RANGE, STUCK, SampleBatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

INTERVAL_MS = 1000
STUCK_READINGS = 120  # two minutes of exactly one value: a living measurement moves by its last digit
SWITCH_UNIT = "1"  # of a lid switch: it may stay as it is for days
KEPT_READINGS = 64  # how many moments the sensor front end keeps for a busy unit
FAULTY = "fault"  # what the hal gives for a sensor that reports an error; None: no reading was possible


class Sensors:
    """All channels of one unit, read at a fixed interval. channels: maps as in SPEC section 5, type 8."""

    def __init__(self, channels: "list[dict[int, Any]]", interval_ms: int = INTERVAL_MS) -> None:
        self.channels = channels
        self.interval_ms = interval_ms
        self._batch: "SampleBatch | None" = None
        self._channels_seq = 0
        self._next_ms = 0
        self._same = [0] * len(channels)  # how often the last value came in a row
        self._last: "list[int | None]" = [None] * len(channels)

    def begin(self, channels_seq: int, uptime_ms: int) -> None:
        """From now on samples refer to the channels record channels_seq. Flush before."""
        assert self._batch is None
        self._channels_seq = channels_seq
        self._next_ms = max(self._next_ms, uptime_ms)

    def due(self, uptime_ms: int) -> "tuple[int, int, int]":
        """(first moment, how many of them are lost, how many are to be read) by uptime_ms."""
        if uptime_ms < self._next_ms or not self.channels:
            return self._next_ms, 0, 0
        count = (uptime_ms - self._next_ms) // self.interval_ms + 1
        lost = max(0, count - KEPT_READINGS)
        return self._next_ms, lost, count - lost

    @property
    def next_ms(self) -> int:
        """Uptime of the next reading."""
        return self._next_ms

    def take(self, readings: "list[int | str | None]") -> "dict[int, Any] | None":
        """The readings of the next moment, one per channel; returns a samples body when a batch is complete."""
        at_ms = self._next_ms
        self._next_ms += self.interval_ms
        if self._batch is None:
            self._batch = SampleBatch(self._channels_seq, at_ms, self.interval_ms, len(self.channels))
        self._batch.add([self._marked(channel, reading) for channel, reading in enumerate(readings)])
        return self.flush() if self._batch.full(at_ms) else None

    def flush(self) -> "dict[int, Any] | None":
        """The samples body of what was read so far, None when nothing was."""
        batch, self._batch = self._batch, None
        return batch.body() if batch is not None else None

    def _marked(self, channel: int, reading: "int | str | None") -> "tuple[int | None, int]":
        if not isinstance(reading, int):
            self._same[channel] = 0
            return None, MISSING if reading is None else FAULT
        self._same[channel] = self._same[channel] + 1 if reading == self._last[channel] else 1
        self._last[channel] = reading
        if not self.channels[channel][4] <= reading <= self.channels[channel][5]:
            return reading, OUT_OF_RANGE
        living = self.channels[channel][2] != SWITCH_UNIT
        return reading, STUCK if living and self._same[channel] >= STUCK_READINGS else 0
