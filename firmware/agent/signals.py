"""Light and buzzer: what a technician with gloves on notices without looking at the panel.

Decides which colour is lit now and which sound begins; never what is accepted, and it touches no pin: the hal's
`light(colour)` and `buzz(sound)` do. Pure. Times are real milliseconds, as a hand feels them.

How the unit uses it:

    hal.buzz(signals.after_scan(accepted, real_ms))           after every scan
    sound = signals.standing(alarms, near_full, stopped, real_ms)   once per turn
    if sound: hal.buzz(sound)
    hal.light(signals.colour(real_ms))                        once per turn, when it differs from the last

A board with a bare buzzer plays a sound by `Tune`, asked every few milliseconds; TURN_MS is how soon `colour` must be
asked again for the blinking to be seen.
"""

OFF, GREEN, AMBER, RED = "off", "green", "amber", "red"
OK, REFUSED, ALARM = "ok", "refused", "alarm"
ACCEPTED_MS = 1000  # green after an accepted scan
REFUSED_MS = 2000  # red after a refused one: long enough to be there when the eyes come up from the label
BLINK_MS = 500  # half a period of the red light of a unit that takes no scans
REMIND_MS = 60_000  # an alarm that nobody acknowledges, or a unit out of service, sounds again
TURN_MS = BLINK_MS

# (Hz, ms) one after the other; 0 Hz is silence. Length, pitch and number differ, so that each alone tells them apart.
SOUNDS = {
    OK: ((2700, 80),),
    REFUSED: ((440, 800),),
    ALARM: ((1500, 150), (0, 100), (1500, 150), (0, 100), (1500, 150)),
}


class Signals:
    """The light and the sounds of one unit. Begins dark and silent."""

    def __init__(self) -> None:
        self._scan_colour = OFF
        self._scan_until_ms = 0
        self._alarms = 0
        self._near_full = False
        self._stopped = False
        self._remind_ms = 0

    def after_scan(self, accepted: bool, real_ms: int) -> str:
        """A scan was judged: the sound that begins now. Its colour covers every other for a while."""
        self._scan_colour = GREEN if accepted else RED
        self._scan_until_ms = real_ms + (ACCEPTED_MS if accepted else REFUSED_MS)
        return OK if accepted else REFUSED

    def standing(self, alarms: int, near_full: bool, stopped: bool, real_ms: int) -> str:
        """What is so now; returns the sound that begins now, "" for none.

        alarms: how many wait to be acknowledged; near_full: the journal's warning; stopped: no scan can be taken
        (journal full, out of service). It sounds when one of them begins or grows, and again every REMIND_MS while an
        alarm waits or the unit is stopped.
        """
        worse = alarms > self._alarms or (near_full and not self._near_full) or (stopped and not self._stopped)
        due = (alarms > 0 or stopped) and real_ms >= self._remind_ms
        self._alarms, self._near_full, self._stopped = alarms, near_full, stopped
        if not worse and not due:
            return ""
        self._remind_ms = real_ms + REMIND_MS
        return ALARM

    def colour(self, real_ms: int) -> str:
        """The light at real_ms: the last scan's for a while, then red blinking, amber or off."""
        if real_ms < self._scan_until_ms:
            return self._scan_colour
        if self._stopped:
            return RED if real_ms // BLINK_MS % 2 == 0 else OFF
        return AMBER if self._alarms or self._near_full else OFF


class Tune:
    """Plays one sound at a time on a buzzer that only knows a pitch; a new sound ends the one before it."""

    def __init__(self) -> None:
        self._notes: "tuple[tuple[int, int], ...]" = ()
        self._began_ms = 0

    def begin(self, sound: str, real_ms: int) -> None:
        """sound: one of SOUNDS."""
        self._notes, self._began_ms = SOUNDS[sound], real_ms

    def pitch(self, real_ms: int) -> int:
        """Hz that the buzzer gives at real_ms; 0 for silence."""
        left_ms = real_ms - self._began_ms
        for pitch_hz, length_ms in self._notes:
            if left_ms < length_ms:
                return pitch_hz
            left_ms -= length_ms
        self._notes = ()
        return 0
