"""`python -m hil_tests.power_cuts [--json] [--quick]`: cut a unit's power at every byte, and say what became of it.

Rows: how much was tried, how many promises broke (each must be 0), and the time. --quick tries every operation, torn at
some bytes. --scenario NAME tries that one alone. The exit code is 1 when a promise broke, or when a full run tried too
little; standard error says where.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections import Counter
from typing import NamedTuple

from hil_tests.power_cuts.judge import BOOT_HUNG, NOT_GOING_ON, SAVED_LOST, SEQ_REUSED
from hil_tests.power_cuts.replay import Tally
from hil_tests.power_cuts.scenarios import SCENARIOS
from hil_tests.power_cuts.trials import run

QUICK_STEP = 61  # torn bytes that --quick leaves out, and a prime, so that it meets every place of a page
FAULTS_SHOWN = 20
CUT_POINTS_MIN = 100_000  # of a full run; with fewer, a scenario has lost its work


class Row(NamedTuple):
    name: str
    value: float
    unit: str


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m hil_tests.power_cuts", description=__doc__.split("\n\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON array of rows on standard output")
    parser.add_argument("--quick", action="store_true", help="every operation, but torn at some bytes only")
    parser.add_argument("--scenario", help="only that scenario, by its name")
    chosen = parser.parse_args()
    scenarios = [each for each in SCENARIOS if chosen.scenario in (None, each.name)]
    if not scenarios:
        print(f"there is no scenario {chosen.scenario!r}; there are: {', '.join(each.name for each in SCENARIOS)}")
        return 2
    began_s = time.monotonic()
    tally = run(scenarios, QUICK_STEP if chosen.quick else 1, flips=chosen.scenario is None)
    rows = rows_of(tally, len(scenarios), time.monotonic() - began_s)
    if chosen.json:
        print(json.dumps([{**row._asdict(), "baseline": None, "ratio": None} for row in rows], indent=1))
    else:
        print("\n".join(f"{row.name:16} {row.value:>10,} {row.unit}" for row in rows))
    for where, fault in tally.faults[:FAULTS_SHOWN]:
        print(f"{fault.promise}: {where}: {fault.what}", file=sys.stderr)
    too_few = not chosen.quick and chosen.scenario is None and tally.cut_points < CUT_POINTS_MIN
    if too_few:
        print(f"only {tally.cut_points:,} cuts were tried, of at least {CUT_POINTS_MIN:,}: ", end="", file=sys.stderr)
        print("look for the scenario whose work has become smaller", file=sys.stderr)
    return 1 if tally.faults or too_few else 0


def rows_of(tally: Tally, scenarios: int, seconds: float) -> list[Row]:
    broken = Counter(fault.promise for _where, fault in tally.faults)
    return [
        Row("scenarios", scenarios, "scenarios"),
        Row("cut_points", tally.cut_points, "cuts"),
        Row("distinct_states", tally.distinct_states, "flashes"),
        Row("pairs", tally.pairs, "pairs of cuts"),
        Row("distinct_pairs", tally.distinct_pairs, "flashes"),
        Row("bit_flips", tally.bit_flips, "flips"),
        Row("saved_lost", broken[SAVED_LOST], "flashes"),
        Row("seq_reused", broken[SEQ_REUSED], "flashes"),
        Row("boots_hung", broken[BOOT_HUNG], "flashes"),
        Row("not_going_on", broken[NOT_GOING_ON], "flashes"),
        Row("seconds", round(seconds, 1), "s"),
        Row("cpu_seconds", round(cpu_seconds(), 1), "s"),
    ]


def cpu_seconds() -> float:
    """What this run has cost, on however busy a machine."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


if __name__ == "__main__":
    sys.exit(main())
