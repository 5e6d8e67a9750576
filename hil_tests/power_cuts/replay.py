"""Every cut of a scenario: the work is run once with its flash operations recorded, and each cut's flash is built anew.

An operation can be cut before, after, and when each number of its bytes has reached the cells: 258 points of a program,
4098 of an erase. Neighbouring points often leave the same bytes behind (padding is 0xFF already); such a flash is
judged once, with everything that was announced at the last of its points, and counts for all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from hil_tests.power_cuts.board import PAGE_BYTES, Operation
from hil_tests.power_cuts.judge import Fault, follow, judge, judge_going_on
from hil_tests.power_cuts.lab import Known, Lab
from hil_tests.power_cuts.scenarios import Scenario

BEFORE, AFTER = "before", "after"
PAIRED_OPERATIONS_MAX = 3  # of a work of which all pairs of cuts are tried


@dataclass(frozen=True)
class Cut:
    """The power goes in operation `at` (from 0): before it, after it, or after so many of its bytes."""

    at: int
    moment: str

    def __str__(self) -> str:
        return f"operation {self.at} {self.moment}"


@dataclass(frozen=True)
class State:
    """A flash as some cuts leave it. known_at: announcements count that came before operation known_at began."""

    cut: Cut
    pages: list[bytes]
    points: int
    known_at: int


@dataclass
class Tally:
    """What was tried, and what was found."""

    cut_points: int = 0
    distinct_states: int = 0
    pairs: int = 0
    distinct_pairs: int = 0
    bit_flips: int = 0
    faults: list[tuple[str, Fault]] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        for name in ("cut_points", "distinct_states", "pairs", "distinct_pairs", "bit_flips"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.faults += other.faults


@dataclass(frozen=True)
class Run:
    """One scenario, carried out once: the flash before its work, the operations of the work, and who heard what."""

    scenario: Scenario
    pages: list[bytes]
    operations: list[Operation]
    known: Known
    lab: Lab

    @property
    def is_paired(self) -> bool:
        """Whether a second cut is tried as well, everywhere in the boot that follows each first one."""
        return len(self.operations) <= PAIRED_OPERATIONS_MAX

    @classmethod
    def of(cls, scenario: Scenario) -> Run:
        lab = scenario.lab()
        scenario.prepare(lab)
        known = Known()
        for _at, happened in lab.moments:
            happened(known)
        pages = list(lab.chip.pages)
        lab.chip.log.clear()
        lab.moments.clear()
        scenario.work(lab)
        return cls(scenario, pages, list(lab.chip.log), known, lab)


def states(pages: Sequence[bytes], operations: Sequence[Operation], torn_step: int = 1) -> Iterator[State]:
    """Every state that a cut of the operations can leave, with the number of cut points that lead to it.

    torn_step: try only every so many torn bytes; 1 is all of them.
    """
    now = list(pages)
    waiting = State(Cut(0, BEFORE), list(now), 0, 0)  # the state between two operations belongs to both
    for at, operation in enumerate(operations):
        waiting = State(waiting.cut, waiting.pages, waiting.points + 1, at)
        first, cells = operation.first, list(now[operation.first : operation.first + len(operation.after)])
        points = 0
        for torn in range(0, PAGE_BYTES * len(cells), torn_step):
            page, size = divmod(torn, PAGE_BYTES)
            for whole in range(page):
                cells[whole] = operation.after[whole]
            cells[page] = operation.after[page][:size] + now[first + page][size:]
            if cells == waiting.pages[first : first + len(cells)]:
                waiting = State(waiting.cut, waiting.pages, waiting.points + 1, waiting.known_at)
                continue
            yield waiting
            points += 1
            torn_pages = list(now)
            torn_pages[first : first + len(cells)] = cells
            waiting = State(Cut(at, f"torn at byte {torn}"), torn_pages, 1, at)
        now[first : first + len(operation.after)] = operation.after
        if now == waiting.pages:
            waiting = State(waiting.cut, waiting.pages, waiting.points + 1, at + 1)
        else:
            yield waiting
            waiting = State(Cut(at, AFTER), list(now), 1, at + 1)
    yield State(waiting.cut, waiting.pages, waiting.points, len(operations))


def known_at(run: Run, operation: int) -> Known:
    """What had been announced when that operation began."""
    return follow(run.known, run.lab, operation)


def try_cuts(run: Run, torn_step: int = 1) -> Tally:
    """Judge every cut of the scenario's work."""
    tally = Tally()
    for state in states(run.pages, run.operations, torn_step):
        tally.cut_points += state.points
        tally.distinct_states += 1
        known = known_at(run, state.known_at)
        found, lab = judge(state.pages, known, run.lab.settings)
        if lab is not None:
            found += judge_going_on(lab, known)
        tally.faults += [(f"{run.scenario.name}: {state.cut}", fault) for fault in found]
    return tally


def try_pairs(run: Run, part: int = 0, parts: int = 1, torn_step: int = 1) -> Tally:
    """Judge every second cut, within the boot that follows each first one. part of parts: every parts-th first cut."""
    tally = Tally()
    for number, first in enumerate(states(run.pages, run.operations, torn_step)):
        if number % parts != part:
            continue
        known = known_at(run, first.known_at)
        _found, lab = judge(first.pages, known, run.lab.settings)
        if lab is None:
            continue  # said by try_cuts
        for second in states(first.pages, lab.chip.log, torn_step):
            tally.pairs += first.points * second.points
            tally.distinct_pairs += 1
            both = follow(known, lab, second.known_at)
            found, again = judge(second.pages, both, run.lab.settings)
            if again is not None and second.points > 1:
                found += judge_going_on(again, both)
            where = f"{run.scenario.name}: {first.cut}, then in the boot {second.cut}"
            tally.faults += [(where, fault) for fault in found]
    return tally
