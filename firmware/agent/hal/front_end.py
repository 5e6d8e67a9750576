"""Sensor front end in software: reads the sensors at their moments while the unit does other things.

Decides which reading belongs to which moment: one that comes more than half an interval late belongs to none, and its
moment stays MISSING. Never makes a value up. Pure; bank is drivers/bank.py's Bank. Times are uptime ms.
"""

from agent.drivers.bank import SETTLE_MS
from agent.drivers.chip import MISSING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Sensors(Protocol):
        def start(self, now_ms: int) -> None: ...
        def watch(self, now_ms: int) -> None: ...
        def read(self, now_ms: int) -> "list[int | str | None]": ...


KEPT_READINGS = 16  # of a unit that is busy; 16 s at one reading a second


class FrontEnd:
    """Knows from the last take() when the next reading is due; until the first one it measures nothing."""

    def __init__(self, bank: "Sensors") -> None:
        self._bank = bank
        self._kept: "list[tuple[int, list[int | str | None]]]" = []  # moment, readings
        self._next_ms = -1
        self._interval_ms = 1
        self._is_started = False

    def watch(self, now_ms: int) -> None:
        """Call this as often as possible: starts the measurements and reads them when they are due."""
        self._bank.watch(now_ms)
        if self._next_ms < 0:
            return
        if not self._is_started and now_ms >= self._next_ms - SETTLE_MS:
            self._bank.start(now_ms)
            self._is_started = True
        if now_ms < self._next_ms:
            return
        late_ms = now_ms - self._next_ms
        readings = self._bank.read(now_ms)
        self._is_started = False
        self._next_ms += late_ms // self._interval_ms * self._interval_ms
        if late_ms % self._interval_ms <= self._interval_ms // 2:
            self._kept.append((self._next_ms, readings))
            del self._kept[:-KEPT_READINGS]
        self._next_ms += self._interval_ms

    def take(
        self, now_ms: int, first_ms: int, interval_ms: int, count: int, channels: int
    ) -> "list[list[int | str | None]]":
        """The readings of `count` moments from first_ms on, MISSING where there is none; the next one follows them."""
        self.watch(now_ms)
        kept = dict(self._kept)
        self._kept = []
        taken = [kept.get(first_ms + i * interval_ms, [MISSING] * channels) for i in range(count)]
        next_ms = first_ms + count * interval_ms
        if self._next_ms != next_ms:
            self._next_ms, self._is_started = next_ms, False
        self._interval_ms = interval_ms
        return taken
