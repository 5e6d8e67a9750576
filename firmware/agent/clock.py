"""The unit's wall clock: what time it is, and by how much that may be wrong.

The unit has no battery clock: after each boot the time is unknown until the gateway tells it. Never orders anything:
order is the chain's (W19). Pure: uptime in, time out. Requirements: R14; SPEC section 4 (W20) and type 2.
"""

DRIFT_PPM = 100  # of the crystal, over temperature and age


class Clock:
    """Time by the last word of the gateway, with an uncertainty that grows until the next.

    link_delay_ms: the longest that a time frame may have been on its way.
    """

    def __init__(self, link_delay_ms: int) -> None:
        self._link_delay_ms = link_delay_ms
        self._set = False
        self._time_ms = 0
        self._uncertainty_ms = 0
        self._at_ms = 0

    def now(self, uptime_ms: int) -> "tuple[int, int] | None":
        """(ms since 1970, uncertainty ms) at uptime_ms, or None while unknown."""
        if not self._set:
            return None
        passed_ms = uptime_ms - self._at_ms
        return self._time_ms + passed_ms, self._uncertainty_ms + passed_ms * DRIFT_PPM // 1000000 + 1

    def told(self, time_ms: int, uncertainty_ms: int, uptime_ms: int) -> "tuple[bool, int | None]":
        """Take the gateway's word. Returns (whether a clock record is due, step ms or None at the first setting).

        A word within the bounds of both is no step: it is taken silently, and only when it is the better one.
        """
        uncertainty_ms += self._link_delay_ms
        shown = self.now(uptime_ms)
        step_ms = None if shown is None else time_ms - shown[0]
        jumps = shown is not None and abs(time_ms - shown[0]) > shown[1] + uncertainty_ms
        if shown is None or jumps or uncertainty_ms < shown[1]:
            self._set = True
            self._time_ms, self._uncertainty_ms, self._at_ms = time_ms, uncertainty_ms, uptime_ms
        return shown is None or jumps, step_ms
