"""Sensor readings: when one is due, what is wrong with it, and which of the order's limits it breaks.

Decides marks (missing, fault, out of range, stuck) and alarms; never changes a value. Packing is samples.py's. Pure.
Spec: wire/SPEC.md section 6 and type 10; order limits in section 7.
"""

from agent.samples import FAULT, MISSING, OUT_OF_RANGE, STUCK, SampleBatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from agent.orders import Limit

INTERVAL_MS = 1000
STUCK_READINGS = 120  # two minutes of exactly one value: a living measurement moves by its last digit
KEPT_READINGS = 64  # how many moments the sensor front end keeps for a busy unit
RAISED, CLEARED = 1, 3
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
        return reading, STUCK if self._same[channel] >= STUCK_READINGS else 0


class Alarms:
    """Watches the limits of an order. A limit is broken when every reading for its delay was outside of it."""

    def __init__(self, limits: "list[Limit]", channels: "list[dict[int, Any]]", raised: "list[str]") -> None:
        self._watches = [_Watch(limit, at, channel[3]) for limit in limits for at, channel in _named(channels, limit)]
        for watch in self._watches:
            watch.raised = watch.code in raised

    def take(self, at_ms: int, step: str, readings: "list[int | str | None]") -> "list[tuple[str, int, str]]":
        """Alarms raised or cleared by the readings of one moment, as (code, state, words)."""
        found = [watch.take(at_ms, step, readings) for watch in self._watches]
        return [alarm for alarm in found if alarm is not None]


class _Watch:
    def __init__(self, limit: "Limit", channel: int, exponent: int) -> None:
        self._limit = limit
        self._channel = channel
        self._factor = 10 ** max(0, exponent - limit.exponent)  # brings reading and limit to one scale
        self._limit_factor = 10 ** max(0, limit.exponent - exponent)
        self._outside_since_ms: "int | None" = None
        self.code = "limit_" + limit.channel
        self.raised = False

    def take(self, at_ms: int, step: str, readings: "list[int | str | None]") -> "tuple[str, int, str] | None":
        reading = readings[self._channel]
        watched = not self._limit.steps or step in self._limit.steps
        if not watched or (isinstance(reading, int) and self._is_inside(reading)):
            self._outside_since_ms = None
            if not self.raised:
                return None
            self.raised = False
            return self.code, CLEARED, "within limits" if watched else "not watched in this step"
        if not isinstance(reading, int):
            return None  # no value breaks no limit; the gap in the samples speaks for itself
        if self._outside_since_ms is None:
            self._outside_since_ms = at_ms
        if self.raised or at_ms - self._outside_since_ms < self._limit.delay_ms:
            return None
        self.raised = True
        return self.code, RAISED, "%s outside %d..%d e%d" % (
            self._limit.channel, self._limit.low, self._limit.high, self._limit.exponent,
        )  # fmt: skip

    def _is_inside(self, reading: int) -> bool:
        scaled = reading * self._factor
        low, high = self._limit.low * self._limit_factor, self._limit.high * self._limit_factor
        return bool(low <= scaled <= high)


def _named(channels: "list[dict[int, Any]]", limit: "Limit") -> "list[tuple[int, dict[int, Any]]]":
    return [(at, channel) for at, channel in enumerate(channels) if channel[1] == limit.channel]
