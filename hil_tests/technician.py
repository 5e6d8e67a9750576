"""The technician of the story: scans printed labels and card codes into a unit and believes only what its panel says.

Every code is drawn and read back as an image first (labels.py). A scan that the panel does not answer as expected ends
the story with what the panel showed instead.
"""

import threading
import time
from collections.abc import Callable

from hil_tests import labels
from hil_tests.bench.unix_unit import UnixUnit
from hil_tests.signed import take_apart

BOOT, CLOCK = 1, 2  # record types, SPEC section 5
ANSWER_S = 15.0  # a scan is answered in milliseconds; a busy machine takes its time
ORDER_S = 40.0
ALARM_S = 30.0  # a limit's delay is a minute of the demonstration's time
POLL_S = 0.02
PANEL_CHARS = 21


class StoryStopped(Exception):  # noqa: N818 - somebody pressed Ctrl-C: no error
    """The story was told to stop; nothing is wrong."""


class UnexpectedPanelError(AssertionError):
    """The unit did not answer as a technician would expect."""


class Technician:
    """One pair of gloved hands at one unit. pace_s: the breath taken before every scan."""

    def __init__(self, unit: UnixUnit, *, pace_s: float, stopping: threading.Event) -> None:
        self.unit = unit
        self._pace_s = pace_s
        self._stopping = stopping

    # --- the card ---------------------------------------------------------------------------------------------------

    def sign_in(self, badge: str) -> None:
        self._scan(labels.scan_badge(f"CT/BADGE/{badge}"), "Welcome " + badge)

    def sign_out(self, badge: str) -> None:
        self._scan(labels.scan_badge(f"CT/BADGE/{badge}"), "Signed out " + badge)

    def open_batch(self, batch: str) -> None:
        self.wait_panel(lambda lines: "Scan BATCH OPEN" in lines and f"> {batch}" in lines, f"order {batch}", ORDER_S)
        self._card("BATCH/OPEN", "Batch open", batch)

    def close_batch(self, batch: str) -> None:
        self._card("BATCH/CLOSE", "Batch closed", batch)

    def start(self, step: str) -> None:
        self._card(f"STEP/START/{step}", "Step started", step)

    def done(self, step: str) -> None:
        self._card("STEP/DONE", "Step done", step)

    def start_refused(self, step: str, *answer: str) -> None:
        self._card(f"STEP/START/{step}", f"! {answer[0]}", *answer[1:])

    def done_refused(self, *answer: str) -> None:
        self._card("STEP/DONE", f"! {answer[0]}", *answer[1:])

    def override(self, reason: str, second: str, subject: str) -> None:
        """Together with a second person: what was just refused is done after all, for the item or step subject."""
        self._card(f"OVERRIDE/{reason}", "Second badge:", "> ANOTHER person")
        self._scan(labels.scan_badge(f"CT/BADGE/{second}"), "Override recorded:", subject)

    def quantity(self, item: str, kind: str, number: str, unit: str) -> None:
        self._card(f"QTY/{item}/{kind}/{number}/{unit}", f"{item} {kind}", f"{number} {unit}")

    def note(self, text: str) -> None:
        self._card(f"NOTE/{text}", "Note recorded")

    def acknowledge(self, alarm: str) -> None:
        """Wait until the panel shows that alarm, and acknowledge it."""
        self.wait_panel(lambda lines: _shows(lines, f"ALARM {alarm}"[:PANEL_CHARS]), f"ALARM {alarm}", ALARM_S)
        self._card("ALARM/ACK", "Alarm acknowledged")

    def _card(self, command: str, *answer: str) -> None:
        self._scan(labels.scan_card(f"CT/{command}"), *answer)

    # --- materials --------------------------------------------------------------------------------------------------

    def take(self, code: str, name: str) -> None:
        """Scan a label (labels.scan_label says how it is written); the unit accepts it."""
        self._scan(labels.scan_label(code), f"OK {name}")

    def refused(self, code: str, *answer: str) -> None:
        """Scan a label; the unit refuses it, and says why in these words."""
        self._scan(labels.scan_label(code), f"! {answer[0]}", *answer[1:])

    # --- waiting ----------------------------------------------------------------------------------------------------

    def _scan(self, raw: bytes, *answer: str) -> None:
        self.wait(self._pace_s)
        self.unit.scan(raw)
        expected = [words[:PANEL_CHARS] for words in answer]
        self.wait_panel(lambda lines: all(_shows(lines, words) for words in expected), " / ".join(answer), ANSWER_S)

    def wait(self, seconds: float) -> None:
        """Stand by; StoryStopped when told to."""
        if self._stopping.wait(seconds):
            raise StoryStopped

    def wait_panel(self, true: Callable[[list[str]], bool], what: str, timeout_s: float) -> None:
        give_up_at = time.monotonic() + timeout_s
        while not true(self.unit.panel()):
            if time.monotonic() > give_up_at:
                raise UnexpectedPanelError(
                    f"waited for {what!r}; the panel shows {self.unit.panel()}; console: {self.unit.console()[-300:]!r}"
                )
            self.wait(POLL_S)

    def wait_clock(self, timeout_s: float = 20.0) -> None:
        """Until the unit has set its clock in this boot: before that, it cannot judge an expiry date."""
        give_up_at = time.monotonic() + timeout_s
        while not self._clock_is_set():
            if time.monotonic() > give_up_at:
                raise UnexpectedPanelError(f"the unit got no time from its gateway; it shows {self.unit.panel()}")
            self.wait(0.1)

    def _clock_is_set(self) -> bool:
        for raw in reversed(self.unit.journal()):
            kind = take_apart(raw).event[7]
            if kind in (BOOT, CLOCK):
                return bool(kind == CLOCK)
        return False


def _shows(lines: list[str], words: str) -> bool:
    return any(line.startswith(words) for line in lines)
