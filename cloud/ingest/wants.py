"""When to ask for missing positions: soon, then ever more rarely, for as long as they are missing (SPEC W65). Pure.

The same range is asked for in the same words each time, because a repeated want is what makes a gateway ask the unit.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass

FIRST_DELAY_S = 1.0  # messages that overtake each other sort themselves out within this time
FIRST_PAUSE_S = 3.0
LONGEST_PAUSE_S = 300.0
JITTER = 0.2  # of the pause, so that many clouds and gateways do not fall into step

Range = tuple[bytes, int, int]  # kid, first, last


@dataclass
class _Asking:
    due_s: float
    pause_s: float = FIRST_PAUSE_S


class WantSchedule:
    """Knows which ranges are wanted and when each is to be asked for again. Times: monotonic seconds."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._asking: dict[Range, _Asking] = {}

    def update(self, wanted: Iterable[Range], now_s: float) -> None:
        """These ranges are wanted, and no others."""
        ranges = set(wanted)
        for gone in self._asking.keys() - ranges:
            del self._asking[gone]
        for new in ranges - self._asking.keys():
            self._asking[new] = _Asking(now_s + FIRST_DELAY_S)

    def due(self, now_s: float) -> list[Range]:
        """Ranges to ask for now, by stream and position; each is then left alone for its pause."""
        due = sorted(wanted for wanted, asking in self._asking.items() if asking.due_s <= now_s)
        for wanted in due:
            asking = self._asking[wanted]
            asking.due_s = now_s + asking.pause_s * self._rng.uniform(1 - JITTER, 1 + JITTER)
            asking.pause_s = min(2 * asking.pause_s, LONGEST_PAUSE_S)
        return due
