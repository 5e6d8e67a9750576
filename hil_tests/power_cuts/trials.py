"""All that is tried, in two processes: cuts of every scenario, pairs of cuts of the small ones, flips of bits."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from typing import NamedTuple

from hil_tests.power_cuts.board import sign_fast
from hil_tests.power_cuts.flips import fifty_records, try_flips
from hil_tests.power_cuts.replay import Run, Tally, try_cuts, try_pairs
from hil_tests.power_cuts.scenarios import PAIRED_OPERATIONS, SCENARIOS, Scenario

PROCESSES = 2
PARTS = 8  # of pairs and flips, so that both processes end at about the same time
CUTS, PAIRS, FLIPS = "cuts", "pairs", "flips"


class Task(NamedTuple):
    kind: str
    scenario: str
    part: int
    parts: int
    step: int


def run(scenarios: Sequence[Scenario], step: int, *, flips: bool) -> Tally:
    """Try everything, in two processes; step: of the torn bytes, and of the bits."""
    tasks = [Task(PAIRS, each.name, part, PARTS, step) for each in scenarios if each.paired for part in range(PARTS)]
    tasks += [Task(FLIPS, "", part, PARTS, step) for part in range(PARTS if flips else 0)]
    tasks += [Task(CUTS, each.name, 0, 1, step) for each in scenarios]
    tally = Tally()
    with multiprocessing.get_context("spawn").Pool(PROCESSES, sign_fast) as pool:
        for done in pool.imap_unordered(carry_out, tasks):
            tally.add(done)
        pool.close()
        pool.join()  # or their CPU time would not be counted
    return tally


def carry_out(task: Task) -> Tally:
    if task.kind == FLIPS:
        return try_flips(fifty_records(), task.part, task.parts, task.step)
    scenario = next(each for each in SCENARIOS if each.name == task.scenario)
    case = Run.of(scenario)
    if task.kind == CUTS:
        return try_cuts(case, task.step)
    assert len(case.operations) <= PAIRED_OPERATIONS
    return try_pairs(case, task.part, task.parts, task.step)
