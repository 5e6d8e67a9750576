"""What a technician sees and hears of the unit: panel, light and buzzer.

Decides when the panel is written again and which signal the board gets, also while the unit is out of service. The
words are panel.py's, colours and sounds are signals.py's, and what is so comes from the cores. Never changes anything
of theirs.
"""

from agent import panel
from agent.signals import OFF, TURN_MS, Signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.clock import Clock
    from agent.custody import Custody
    from agent.dialogue import Dialogue
    from agent.hal.unix import Hal
    from agent.journal import Journal
    from agent.procedure import Procedure

PANEL_REAL_MS = 500  # how old the ages on the panel may get
ONE_SCAN_MS = 1000  # pieces of a code that come within this time are answered once


class LampAndBuzzer:
    """Light and buzzer of a board: lit and sounded only when something changes."""

    def __init__(self, hal: "Hal") -> None:
        self._hal = hal
        self._signals = Signals()
        self._colour = OFF

    def after_scan(self, accepted: bool) -> None:
        self._hal.buzz(self._signals.after_scan(accepted, self._hal.real_ms()))

    def standing(self, alarms: int, near_full: bool, stopped: bool) -> None:
        """What is so now (signals.py)."""
        hal = self._hal
        sound = self._signals.standing(alarms, near_full, stopped, hal.real_ms())
        if sound:
            hal.buzz(sound)
        colour = self._signals.colour(hal.real_ms())
        if colour != self._colour:
            self._colour = colour
            hal.light(colour)


class Face:
    """One unit's front. resumed: this boot continued an earlier one, and nothing has been scanned since."""

    def __init__(
        self,
        hal: "Hal",
        clock: "Clock",
        procedure: "Procedure",
        dialogue: "Dialogue",
        journal: "Journal",
        custody: "Custody",
    ) -> None:
        self._hal = hal
        self._clock = clock
        self._procedure = procedure
        self._dialogue = dialogue
        self._journal = journal
        self._custody = custody
        self._lamp = LampAndBuzzer(hal)
        self._result = ["", ""]
        self._accepted = True
        self._due_ms = 0
        self._shown: "list[str]" = []
        self.resumed = False

    def answered(self, words: "list[str]", accepted: bool, relayed_next: int, stopped: bool) -> None:
        """A scan was judged, or waited for in vain, and all that follows from it is saved."""
        self._result, self._accepted, self.resumed = words, accepted, False
        self._beep(accepted, relayed_next, stopped)

    def over(self, refusal: "list[str]") -> None:
        """What these words refused holds no longer, without a scan: they leave the panel."""
        if self._result == refusal and not self._accepted:
            self._result, self._accepted, self._due_ms = ["", ""], True, 0

    def not_taken(self, relayed_next: int) -> None:
        """A scan came while none can be taken."""
        self._beep(False, relayed_next, stopped=True)

    def _beep(self, accepted: bool, relayed_next: int, stopped: bool) -> None:
        self.show(relayed_next, stopped)
        self._lamp.after_scan(accepted)
        self._signal(stopped)

    def turn(self, relayed_next: int, stopped: bool) -> None:
        """Once per turn: what is old on the panel, and the light."""
        if self._hal.real_ms() >= self._due_ms:
            self.show(relayed_next, stopped)
        self._signal(stopped)

    def show(self, relayed_next: int, stopped: bool) -> None:
        """The panel as things are now. stopped: no scan can be taken."""
        self._due_ms = self._hal.real_ms() + PANEL_REAL_MS
        procedure, custody = self._procedure, self._custody_line(relayed_next)
        if stopped:
            why = panel.SET_BACK if self._custody.set_back else panel.WORN if self._custody.worn else panel.FULL
            lines = panel.stopped(procedure.batch, procedure.step, why, custody)
        else:
            prompt = self._dialogue.prompt()
            lines = panel.working(procedure, prompt, self._result, self._accepted, custody, self.resumed)
        if lines != self._shown:
            self._shown = lines
            self._hal.show(lines)

    def _signal(self, stopped: bool) -> None:
        self._lamp.standing(len(self._procedure.alarms.unacknowledged), self._custody.nearly_full, stopped)

    def _custody_line(self, relayed_next: int) -> str:
        journal, custody = self._journal, self._custody
        full_percent = journal.used_bytes * 100 // journal.size_bytes if custody.nearly_full else 0
        uptime_ms = self._hal.uptime_ms()
        age_ms, at_least = custody.oldest_waits(uptime_ms, self._clock.now(uptime_ms))
        return panel.custody(journal.next_seq, relayed_next, custody.oldest, age_ms, full_percent, at_least)


class OutOfOrder:
    """The front of a unit that is out of service: why, a red light, an alarm now and then, a no to every scan."""

    def __init__(self, hal: "Hal", lines: "list[str]") -> None:
        self._hal = hal
        self._lamp = LampAndBuzzer(hal)
        self._answered_ms = -ONE_SCAN_MS
        hal.show(lines)

    def turn(self) -> None:
        """Say it, and wait a little. What is scanned or sent is lost: there is no place to record it."""
        hal = self._hal
        self._lamp.standing(alarms=0, near_full=False, stopped=True)
        hal.wait(TURN_MS)
        hal.feed_watchdog()
        hal.link_read()
        if hal.scanner_read() and hal.real_ms() - self._answered_ms >= ONE_SCAN_MS:
            self._answered_ms = hal.real_ms()
            self._lamp.after_scan(accepted=False)
