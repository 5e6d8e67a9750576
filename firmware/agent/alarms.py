"""Alarms: which of the order's limits the readings break, and which alarms nobody has acknowledged yet.

Decides when an alarm is raised, cleared and may be acknowledged; never judges a reading without value, and never writes
a record. Pure. Spec: wire/SPEC.md section 5, type 10; order limits in section 7. Control code: firmware/README.md.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from agent.orders import Limit

RAISED, ACKNOWLEDGED, CLEARED = 1, 2, 3
LIMIT_CODE = "limit_"  # and the channel's name
CLEAR_AFTER_MS = 60_000, 3_600_000  # inside for so long, twice as long each time: who wavers must not fill the journal


class AlarmStates:
    """What the alarm records of the open batch add up to. An alarm that has cleared still wants to be acknowledged."""

    def __init__(self) -> None:
        self.raised: "list[str]" = []  # codes raised and not cleared
        self.unacknowledged: "list[str]" = []  # codes raised since the last acknowledgement, cleared or not

    def fold(self, code: str, state: int) -> None:
        """Follow one journaled alarm record."""
        if state == RAISED:
            _add(self.raised, code)
            _add(self.unacknowledged, code)
        elif state == ACKNOWLEDGED:
            _drop(self.unacknowledged, code)
        else:
            _drop(self.raised, code)

    def forget(self) -> None:
        """The batch is closed: it is too late to acknowledge its alarms."""
        self.unacknowledged = []

    def prompt(self, operator: str) -> "list[str]":
        """Two lines while an alarm is not acknowledged: which one, and what to scan. Otherwise none."""
        if not self.unacknowledged:
            return []
        code = self.unacknowledged[0]
        name = code[len(LIMIT_CODE) :] if code.startswith(LIMIT_CODE) else code
        return ["ALARM " + name, "scan ALARM ACK" if operator else "BADGE, ALARM ACK"]

    def checkpoint(self) -> "list[list[str]]":
        return [self.raised, self.unacknowledged]

    def resume(self, state: "list[list[str]]") -> None:
        self.raised, self.unacknowledged = state


def _add(codes: "list[str]", code: str) -> None:
    if code not in codes:
        codes.append(code)


def _drop(codes: "list[str]", code: str) -> None:
    if code in codes:
        codes.remove(code)


class Limits:
    """Watches the limits of an order.

    A limit is broken when every reading for its delay was outside of it, and holds again when every reading was inside
    for CLEAR_AFTER_MS (R55).
    """

    def __init__(self, limits: "list[Limit]", channels: "list[dict[int, Any]]", raised: "list[str]") -> None:
        self._watches = [_Watch(limit, at, channel[3]) for limit in limits for at, channel in _named(channels, limit)]
        for watch in self._watches:
            watch.raised = watch.code in raised

    def take(self, at_ms: int, step: str, readings: "list[int | str | None]") -> "list[tuple[str, int, str]]":
        """Alarms raised or cleared by the readings of one moment, as (code, state, words)."""
        found = [watch.take(at_ms, step, readings) for watch in self._watches]
        return [alarm for alarm in found if alarm is not None]

    def not_saved(self, code: str) -> None:
        """The alarm that take() told last for code could not be journaled: the next readings tell it again."""
        for watch in self._watches:
            if watch.code == code:
                watch.undo()


class _Watch:
    def __init__(self, limit: "Limit", channel: int, exponent: int) -> None:
        self._limit = limit
        self._channel = channel
        self._factor = 10 ** max(0, exponent - limit.exponent)  # brings reading and limit to one scale
        self._limit_factor = 10 ** max(0, limit.exponent - exponent)
        self._outside_since_ms: "int | None" = None
        self._inside_since_ms: "int | None" = None
        self._cleared = 0  # how often
        self.code = LIMIT_CODE + limit.channel
        self.raised = False

    def take(self, at_ms: int, step: str, readings: "list[int | str | None]") -> "tuple[str, int, str] | None":
        reading = readings[self._channel]
        if self._limit.steps and step not in self._limit.steps:
            self._outside_since_ms = None
            return self._clear("not watched in this step")
        if not isinstance(reading, int):
            return None  # no value breaks no limit; the gap in the samples speaks for itself
        if self._is_inside(reading):
            self._outside_since_ms = None
            if self._inside_since_ms is None:
                self._inside_since_ms = at_ms
            if at_ms - self._inside_since_ms < self._clear_after_ms:
                return None
            return self._clear("within limits")
        self._inside_since_ms = None
        if self._outside_since_ms is None:
            self._outside_since_ms = at_ms
        if self.raised or at_ms - self._outside_since_ms < self._limit.delay_ms:
            return None
        self.raised = True
        return self.code, RAISED, "%s outside %d..%d e%d" % (
            self._limit.channel, self._limit.low, self._limit.high, self._limit.exponent,
        )  # fmt: skip

    def _clear(self, words: str) -> "tuple[str, int, str] | None":
        if not self.raised:
            return None
        self.raised = False
        self._cleared += 1
        return self.code, CLEARED, words

    def undo(self) -> None:
        """What take() told last did not happen."""
        self.raised = not self.raised
        if self.raised:
            self._cleared -= 1

    @property
    def _clear_after_ms(self) -> int:
        least_ms, most_ms = CLEAR_AFTER_MS
        return max(self._limit.delay_ms, min(least_ms << self._cleared, most_ms))

    def _is_inside(self, reading: int) -> bool:
        scaled = reading * self._factor
        low, high = self._limit.low * self._limit_factor, self._limit.high * self._limit_factor
        return bool(low <= scaled <= high)


def _named(channels: "list[dict[int, Any]]", limit: "Limit") -> "list[tuple[int, dict[int, Any]]]":
    return [(at, channel) for at, channel in enumerate(channels) if channel[1] == limit.channel]
