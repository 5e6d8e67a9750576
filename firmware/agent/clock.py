"""The unit's wall clock: what time it is, and by how much that may be wrong.

The unit has no battery clock: after each boot the time is unknown until the gateway tells it. Decides which words of
the gateway are taken and which of them a clock record must tell. Never orders anything: order is the chain's (W19).
Pure: uptime in, time out. Requirements: R14; SPEC section 4 (W20) and section 5, type 2.
"""

DRIFT_PPM = 200  # of the crystal, over temperature and age
STEP_MS = 1000  # a correction that a person would notice is recorded, however uncertain the time was
EARLIEST_MS = 1735689600000  # 2025-01-01: no gateway with a clock says less
LATEST_MS = 7258118400000  # 2200-01-01


class Clock:
    """Time by the last word of the gateway, with an uncertainty that grows until the next.

    link_delay_ms: the longest that a time frame may have been on its way. is_due: a clock record must be written, with
    step_ms: new time minus the time shown before, None when that is the first setting of this boot.
    """

    def __init__(self, link_delay_ms: int) -> None:
        self._link_delay_ms = link_delay_ms
        self._set = False
        self._time_ms = 0
        self._uncertainty_ms = 0
        self._at_ms = 0
        self._told_first = False
        self.is_due = False
        self.step_ms: "int | None" = None

    def now(self, uptime_ms: int) -> "tuple[int, int] | None":
        """(ms since 1970, uncertainty ms) at uptime_ms, or None while unknown."""
        if not self._set:
            return None
        passed_ms = uptime_ms - self._at_ms
        return self._time_ms + passed_ms, self._uncertainty_ms + passed_ms * DRIFT_PPM // 1000000 + 1

    def told(self, time_ms: int, uncertainty_ms: int, uptime_ms: int) -> None:
        """Take the gateway's word: the first one, a better one, and one that contradicts the time shown."""
        if not EARLIEST_MS <= time_ms <= LATEST_MS:
            return
        uncertainty_ms += self._link_delay_ms
        shown = self.now(uptime_ms)
        step_ms = 0 if shown is None else time_ms - shown[0]
        jumps = shown is not None and abs(step_ms) > shown[1] + uncertainty_ms
        if shown is not None and not jumps and uncertainty_ms >= shown[1]:
            return
        self._set = True
        self._time_ms, self._uncertainty_ms, self._at_ms = time_ms, uncertainty_ms, uptime_ms
        if shown is None:
            self.is_due = True
        elif jumps or abs(step_ms) >= max(STEP_MS, self._link_delay_ms):
            self.is_due = True
            if self._told_first:
                self.step_ms = (self.step_ms or 0) + step_ms  # the journal may have been full since the last step

    def recorded(self) -> None:
        """The clock record is journaled."""
        self._told_first, self.is_due, self.step_ms = True, False, None
