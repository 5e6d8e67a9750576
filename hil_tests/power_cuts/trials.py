"""All that is tried, in two processes: cuts of every scenario, pairs of cuts of the small ones, flips of bits."""

from __future__ import annotations

import marshal
import multiprocessing
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from agent import cbor, pages

from hil_tests.power_cuts.board import sign_fast
from hil_tests.power_cuts.flips import fifty_records, try_flips, try_slot_flips, unit_at_work
from hil_tests.power_cuts.replay import Run, Tally, try_cuts, try_pairs
from hil_tests.power_cuts.scenarios import SCENARIOS, Scenario

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
    tally = Tally()
    names = [each.name for each in scenarios]
    with multiprocessing.get_context("spawn").Pool(PROCESSES, answer_fast) as pool:
        paired = [name for name, is_paired in zip(names, pool.map(is_cut_in_pairs, names), strict=True) if is_paired]
        for done in pool.imap_unordered(carry_out, tasks_of(names, paired, step, flips)):
            tally.add(done)
        pool.close()
        pool.join()  # or their CPU time would not be counted
    return tally


def answer_fast() -> None:
    """Give this process the same answers in less time."""
    sign_fast()
    pages.put_right = lru_cache(maxsize=4096)(pages.put_right)  # a damaged page is met again in every boot
    cbor.decode = decode_once(cbor.decode)  # type: ignore[assignment]  # the same shape


def decode_once(decode: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """decode, which every boot asks for the same records, with a new copy of each answer."""
    copied = lru_cache(maxsize=4096)(lambda raw: marshal.dumps(decode(raw)))
    return lambda raw: marshal.loads(copied(raw))


def tasks_of(names: Sequence[str], paired: Sequence[str], step: int, flips: bool) -> list[Task]:
    """The long ones first."""
    tasks = [Task(PAIRS, name, part, PARTS, step) for name in paired for part in range(PARTS)]
    tasks += [Task(FLIPS, "", part, PARTS, step) for part in range(PARTS if flips else 0)]
    return tasks + [Task(CUTS, name, 0, 1, step) for name in names]


def is_cut_in_pairs(name: str) -> bool:
    return Run.of(scenario_of(name)).is_paired


def scenario_of(name: str) -> Scenario:
    return next(each for each in SCENARIOS if each.name == name)


def carry_out(task: Task) -> Tally:
    if task.kind == FLIPS:
        tally = try_flips(fifty_records(), task.part, task.parts, task.step)
        tally.add(try_slot_flips(unit_at_work(), task.part, task.parts, task.step))
        return tally
    case = Run.of(scenario_of(task.scenario))
    if task.kind == CUTS:
        return try_cuts(case, task.step)
    return try_pairs(case, task.part, task.parts, task.step)
