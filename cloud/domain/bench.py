"""Measures the fold: records per second from scratch, and whether a record costs the same in a long batch as in a short
one.

`python -m cloud.domain.bench [--json]`. The batch is a long culture: sensor batches of 60 samples on 4 channels, and a
scan after every ninth. Rows are {name, value, unit, baseline, ratio}; ratio is value / baseline: for `fold_20000`
against `fold_1000` (1.0: constant cost), for `fold_per_verify` against one libsodium verification per record in the
same run. Prints; asserts nothing.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
from collections import Counter
from time import process_time

from nacl.signing import SigningKey, VerifyKey

from cloud.domain.fold import BatchFold
from cloud.domain.plan import BatchPlan, LedgerEntry
from cloud.domain.recipe import Recipe
from cloud.domain.recipe_file import parse_recipe
from wire import (
    BatchClose,
    BatchOpen,
    Body,
    Channel,
    Channels,
    Entry,
    Outcome,
    Record,
    Sample,
    Samples,
    Scan,
    ScanVerdict,
    Step,
    StepAction,
    body_map,
    decode_record,
    kid_of,
    public_key_of,
    sign_record,
)
from wire.bodies import TYPE_OF

SEED = bytes(range(32))
BATCH = "B-BENCH"
START_MS = 1_793_170_800_000
RUNS = 3  # the best of these counts: the others were disturbed
NAMES = ("temperature", "co2", "o2", "ph")
TOML = b"""
[recipe]
id = "bench"
version = 1
name = "Long culture"
[[item]]
id = "feed"
name = "Feed bag"
gtin = "09520000010027"
needs = ["lot", "expiry"]
[[step]]
id = "culture"
name = "Culture"
scan = ["feed"]
""" + b"".join(
    b'[[parameter]]\nchannel = "%b"\nunit = "1"\naction_low = 36.5\naction_high = 37.5\n'
    b'delay_s = 60\ncadence_s = 1\nmax_gap_s = 180\nsteps = ["culture"]\n' % name.encode()
    for name in NAMES
)


def long_batch(recipe: Recipe, count: int) -> list[bytes]:
    """The signed records of a batch of count records."""
    raws: list[bytes] = []
    previous, uptime_ms = bytes(32), 0
    kinds: Counter[int] = Counter()

    def say(body: Body) -> None:
        nonlocal previous
        seq, kind = len(raws) + 1, TYPE_OF[type(body)]
        event = {
            1: seq,
            2: previous,
            3: 1,
            4: uptime_ms,
            5: START_MS + uptime_ms,
            6: 100,
            7: int(kind),
            8: BATCH,
            9: "OP-1",
        }
        raws.append(sign_record(SEED, event | {10: body_map(body)}))
        previous = decode_record(raws[-1]).digest
        kinds[int(kind)] += 1

    say(BatchOpen(recipe.recipe, recipe.version, recipe.digest, bytes(32)))
    say(Channels(tuple(Channel(name, "1", -2, 0, 6000, None, None) for name in NAMES)))
    say(Step("culture", StepAction.START, None))
    feed = Scan(b"010952000001002717490131" + b"10LOT-7", "]d2", "feed", ScanVerdict.ACCEPTED, None, Entry.SCANNER, 0)
    series = tuple(tuple(Sample(3690 + (at * 7 + shift) % 20) for at in range(60)) for shift in range(len(NAMES)))
    while len(raws) < count - 2:
        if len(raws) % 10 == 3:
            say(feed)
        else:
            uptime_ms += 60_000
            say(Samples(2, uptime_ms - 59_000, 1000, 60, series))
    say(Step("culture", StepAction.DONE, None))
    say(BatchClose(1, dict(kinds), Outcome.COMPLETED))
    return raws


def fold_seconds(plan: BatchPlan, raws: list[bytes]) -> float:
    """Processor time from decoded records to the report."""
    records = [decode_record(raw) for raw in raws]  # anew, because samples are unpacked at the first look
    entries = [_entry(record) for record in records]
    gc.collect()
    began = process_time()
    fold = BatchFold(plan)
    for entry in entries:
        fold.add(entry)
    report = fold.report(START_MS)
    took = process_time() - began
    if not report.complete or report.exceptions:
        raise SystemExit(f"the bench batch is not clean, so the figures mean nothing: {report.exceptions[:3]}")
    return took


def verify_seconds(count: int) -> float:
    """Processor time of count libsodium verifications of a message as long as a record's Sig_structure."""
    key = SigningKey(SEED)
    message = bytes(440)
    signature = key.sign(message).signature
    verifier: VerifyKey = key.verify_key
    began = process_time()
    for _ in range(count):
        verifier.verify(message, signature)
    return process_time() - began


def rows() -> list[dict[str, object]]:
    """The measurements."""
    recipe = parse_recipe(TOML)
    plan = BatchPlan(BATCH, "U-BENCH", kid_of(public_key_of(SEED)), recipe, bytes(32))
    speeds = {}
    for count in (1_000, 20_000):
        raws = long_batch(recipe, count)
        speeds[count] = count / min(fold_seconds(plan, raws) for _ in range(RUNS))
    verify = 2_000 / min(verify_seconds(2_000) for _ in range(RUNS))
    return [
        _row("fold_1000", speeds[1_000], verify),
        _row("fold_20000", speeds[20_000], speeds[1_000]),
        _row("fold_per_verify", speeds[20_000], verify),
    ]


def main() -> None:
    """Print the rows, for people or as JSON."""
    parser = argparse.ArgumentParser(prog="python -m cloud.domain.bench", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print a JSON array of rows")
    measured = rows()
    if parser.parse_args().json:
        json.dump(measured, sys.stdout, indent=1)
        print()
        return
    for row in measured:
        print(
            f"{row['name']:16} {row['value']:>10} {row['unit']}  baseline {row['baseline']:>10}  ratio {row['ratio']}"
        )


def _row(name: str, value: float, baseline: float) -> dict[str, object]:
    ratio = round(value / baseline, 3)
    return {"name": name, "value": round(value), "unit": "records/s", "baseline": round(baseline), "ratio": ratio}


def _entry(record: Record) -> LedgerEntry:
    known_ms = record.time_ms or START_MS
    return LedgerEntry(record, known_ms + 500, known_ms + 2000, "GW-1")


if __name__ == "__main__":
    main()
