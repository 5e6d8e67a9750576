"""What a person sees while the story runs, on standard error: what every unit is doing, and how far its records are.

On a terminal a table that renews itself; otherwise one line per event and a line of figures now and then.
"""

import sqlite3
import sys
import threading
import time

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from hil_tests import figures
from hil_tests.stage import UNITS, Stage

REFRESH_S = 1.0
FIGURES_EVERY_S = 10.0
EVENTS_SHOWN = 14


class Progress:
    """say() from any thread; start() once the stage has risen, stop() before it falls."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._started_s = time.monotonic()
        self._events: list[str] = []
        self._headline = ""
        self._stage: Stage | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None

    def headline(self, text: str) -> None:
        """Stays in sight: the address and the login."""
        self._headline = text
        if self._live is None:
            print(text, file=sys.stderr, flush=True)

    def say(self, what: str) -> None:
        line = f"{time.monotonic() - self._started_s:6.1f} s  {what}"
        self._events.append(line)
        if self._live is None or self._stage is None:
            print(line, file=sys.stderr, flush=True)

    def start(self, stage: Stage) -> None:
        self._stage = stage
        if self._live is not None:
            self._live.start()
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(10)
        if self._live is not None and self._stage is not None:
            self._live.stop()

    def _run(self) -> None:
        assert self._stage is not None
        shown_s = time.monotonic()
        while not self._stopping.wait(REFRESH_S):
            try:
                streams = figures.streams(self._stage)
            except (OSError, sqlite3.Error):
                continue  # a store is being killed or opened just now
            if self._live is not None:
                self._live.update(self._picture(self._stage, streams), refresh=True)
            elif time.monotonic() - shown_s >= FIGURES_EVERY_S:
                shown_s = time.monotonic()
                self.say(
                    "  ".join(f"{s.unit} {s.saved}/{s.relayed}/{s.archived}" for s in streams)
                    + "  saved/relayed/archived"
                )

    def _picture(self, stage: Stage, streams: list[figures.Stream]) -> Group:
        table = Table("unit", "gateway", "what the panel shows", "saved", "relayed", "archived", expand=True)
        for stream in streams:
            panel = " · ".join(line for line in stage.units[stream.unit].panel() if line) or "no power"
            colour = "green" if stream.settled else "yellow"
            counts = (Text(str(count), colour) for count in (stream.saved, stream.relayed, stream.archived))
            table.add_row(stream.unit, UNITS[stream.unit], Text(panel), *counts)
        events = Text("\n".join(self._events[-EVENTS_SHOWN:]))
        return Group(Text(self._headline, "bold"), table, events)
