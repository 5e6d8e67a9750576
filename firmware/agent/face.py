"""What a technician sees and hears of the unit: panel, light and buzzer.

Decides when the panel is written again and which signal the board gets. The words are panel.py's, colours and sounds
are signals.py's, and what is so comes from the cores. Never changes anything of theirs.
"""

from agent import panel
from agent.signals import OFF, Signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.custody import Custody
    from agent.dialogue import Dialogue
    from agent.hal.unix import Hal
    from agent.journal import Journal
    from agent.procedure import Procedure

PANEL_REAL_MS = 500  # how old the ages on the panel may get


class Face:
    """One unit's front. resumed: this boot continued an earlier one, and nothing has been scanned since."""

    def __init__(
        self, hal: "Hal", procedure: "Procedure", dialogue: "Dialogue", journal: "Journal", custody: "Custody"
    ) -> None:
        self._hal = hal
        self._procedure = procedure
        self._dialogue = dialogue
        self._journal = journal
        self._custody = custody
        self._signals = Signals()
        self._colour = OFF
        self._result = ["", ""]
        self._accepted = True
        self._due_ms = 0
        self._shown: "list[str]" = []
        self.resumed = False

    def answered(self, words: "list[str]", accepted: bool, relayed_next: int, stopped: bool) -> None:
        """A scan was judged, and all that follows from it is saved."""
        self._result, self._accepted, self.resumed = words, accepted, False
        self._beep(accepted, relayed_next, stopped)

    def not_taken(self, relayed_next: int) -> None:
        """A scan came while none can be taken."""
        self._beep(False, relayed_next, stopped=True)

    def _beep(self, accepted: bool, relayed_next: int, stopped: bool) -> None:
        self.show(relayed_next, stopped)
        self._hal.buzz(self._signals.after_scan(accepted, self._hal.real_ms()))
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
            lines = panel.full(procedure.batch, procedure.step, custody)
        else:
            prompt = self._dialogue.prompt()
            lines = panel.working(procedure, prompt, self._result, self._accepted, custody, self.resumed)
        if lines != self._shown:
            self._shown = lines
            self._hal.show(lines)

    def _signal(self, stopped: bool) -> None:
        hal, signals = self._hal, self._signals
        waiting = len(self._procedure.alarms.unacknowledged)
        sound = signals.standing(waiting, self._custody.nearly_full, stopped, hal.real_ms())
        if sound:
            hal.buzz(sound)
        colour = signals.colour(hal.real_ms())
        if colour != self._colour:
            self._colour = colour
            hal.light(colour)

    def _custody_line(self, relayed_next: int) -> str:
        journal, custody = self._journal, self._custody
        full_percent = journal.used_bytes * 100 // journal.size_bytes if custody.nearly_full else 0
        age_ms = custody.oldest_age_ms(self._hal.uptime_ms())
        return panel.custody(journal.next_seq, relayed_next, custody.oldest, age_ms, full_percent)
