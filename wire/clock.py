"""Wall time in ms since 1970, and the accelerated time of a demonstration.

Gateway and cloud take every wall time from here; timers use time.monotonic and are never scaled.
A demonstration clock is set by one environment variable and is loud: pages show a banner while demo is true.
"""

import os
import time
from collections.abc import Callable, Mapping

VARIABLE = "CARTRACE_DEMO_CLOCK"
MAX_SPEED = 10_000.0


def real_now_ms() -> int:
    return time.time_ns() // 1_000_000


class Clock:
    """Real time, or a time that started at shown_origin_ms and runs speed times as fast."""

    def __init__(
        self,
        real_origin_ms: int = 0,
        shown_origin_ms: int = 0,
        speed: float = 1.0,
        *,
        real_now_ms: Callable[[], int] = real_now_ms,
    ) -> None:
        self._real_origin_ms = real_origin_ms
        self._shown_origin_ms = shown_origin_ms
        self._real_now_ms = real_now_ms
        self.speed = speed

    @property
    def demo(self) -> bool:
        """Whether this clock shows anything but real time."""
        return self.speed != 1.0 or self._real_origin_ms != self._shown_origin_ms

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01T00:00Z."""
        return self._shown_origin_ms + round((self._real_now_ms() - self._real_origin_ms) * self.speed)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "Clock":
        """The clock that CARTRACE_DEMO_CLOCK="real_origin_ms,shown_origin_ms,speed" asks for; else real time.

        Raises ValueError with one sentence that says what is wrong and what to do.
        """
        asked = (os.environ if environment is None else environment).get(VARIABLE, "").strip()
        if not asked:
            return cls()
        try:
            real_origin, shown_origin, speed = asked.split(",")
            clock = cls(int(real_origin), int(shown_origin), float(speed))
        except ValueError:
            clock = cls(speed=0.0)
        if not 0 < clock.speed <= MAX_SPEED:
            raise ValueError(
                f"{VARIABLE}={asked!r} is not understood: write real_origin_ms,shown_origin_ms,speed "
                f"(speed above 0 and at most {MAX_SPEED:.0f}), or unset it for real time."
            )
        return clock
