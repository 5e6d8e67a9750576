"""Lid switch on a pin: 0 closed, 1 open.

Decides what is only bouncing, and forgets no opening between two readings. Pure.
"""

from agent.drivers.chip import MISSING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.drivers.chip import Pin

BOUNCE_MS = 30  # contacts of a lid switch come to rest sooner


class Lid:
    """One switch; watch() as often as there is time for it, at least once per reading."""

    def __init__(self, pin: "Pin") -> None:
        self._pin = pin
        self._level: "int | None" = None  # as last seen
        self._since_ms = 0
        self._is: "int | None" = None  # once at rest
        self._was_open = False

    def watch(self, now_ms: int) -> None:
        level = 1 if self._pin.value() else 0
        if level != self._level:
            self._level, self._since_ms = level, now_ms
        elif now_ms - self._since_ms >= BOUNCE_MS:
            self._is = level
            self._was_open = self._was_open or level == 1

    def read(self, now_ms: int) -> "int | None":
        """1 when the lid is open or was so since the last reading, 0 when not, MISSING while that is not known."""
        self.watch(now_ms)
        if self._is is None:
            return MISSING
        was_open, self._was_open = self._was_open, self._is == 1
        return 1 if was_open else 0
