"""How fast the codec is, beside one libsodium verification per record measured in the same run.

`python -m wire.bench [--json]` prints rows {name, value, unit, baseline, ratio}: value and baseline in
records/s, ratio = value / baseline. Rounds of all rows are interleaved, so that a noisy machine is
noisy for all of them, and the median round counts.
"""

import hashlib
import json
import statistics
import sys
import time
from collections.abc import Callable

from nacl import bindings

from wire.bodies import Entry, Genesis, RecordType, Scan, ScanVerdict
from wire.judge import judge_run
from wire.keys import public_key_of
from wire.record import body_map, decode_record, sign_record, verify_record
from wire.samples import Sample, Samples

ROUNDS = 21
RECORDS = 128  # per round and row
SEED = hashlib.sha256(b"cartrace bench key").digest()
TIME_MS = 1_793_190_000_000


def stream(length: int) -> list[tuple[dict[int, object], bytes]]:
    """Events and records as a batch makes them: scans and sensor batches of 60 x 4 in turn."""
    made: list[tuple[dict[int, object], bytes]] = []
    for seq in range(length):
        prev = hashlib.sha256(made[-1][1]).digest() if made else bytes(32)
        event: dict[int, object] = {1: seq, 2: prev, 3: 1, 4: 60_000 * seq, 5: TIME_MS + 60_000 * seq, 6: 40}
        type_number, body = _body(seq)
        event |= {7: type_number, 8: "B-2026-0017", 9: "OP-114", 10: body}
        made.append((event, sign_record(SEED, event)))
    return made


def _body(seq: int) -> tuple[int, dict[int, object]]:
    if seq == 0:
        return RecordType.GENESIS.value, body_map(Genesis("U-01", 1, public_key_of(SEED), "CT-100", "1.0", "pure"))
    if seq % 2:
        label = b"010950600013435221%06d\x1d10LOT-7\x1d17270131" % seq
        return RecordType.SCAN.value, body_map(
            Scan(label, "]d2", "cartridge", ScanVerdict.ACCEPTED, None, Entry.SCANNER, 0)
        )
    series = tuple(tuple(Sample(3700 + (7 * i + seq) % 23 - c) for i in range(60)) for c in range(4))
    return RecordType.SAMPLES.value, body_map(Samples(1, 60_000 * seq, 1000, 60, series))


def _rounds() -> tuple[Callable[[], object], dict[str, Callable[[], object]]]:
    """The baseline and the rows; each call handles RECORDS records."""
    public_key = public_key_of(SEED)
    made = stream(RECORDS)
    raws = [raw for _, raw in made]
    records = [decode_record(raw) for raw in raws]
    held = {(record.kid, record.seq): frozenset({record.digest}) for record in records}
    secret_key = bindings.crypto_sign_seed_keypair(SEED)[1]
    signed = [bindings.crypto_sign(raw, secret_key) for raw in raws]

    def judge(given: list[bytes], known: dict[tuple[bytes, int], frozenset[bytes]]) -> None:
        judged = judge_run(
            given, key_for=lambda kid: public_key, digests_of=lambda kid, seq: known.get((kid, seq), frozenset())
        )
        assert all(found.accepted for found in judged)

    def verify() -> None:
        for record in records:
            verify_record(record, public_key)

    def judge_singly() -> None:
        for record in records:
            before = (record.kid, record.seq - 1)
            judge([record.raw], {before: held[before]} if before in held else {})

    return (
        lambda: [bindings.crypto_sign_open(message, public_key) for message in signed],
        {
            "sign": lambda: [sign_record(SEED, event) for event, _ in made],
            "verify": verify,
            "decode": lambda: [decode_record(raw) for raw in raws],
            "judge_run_1": judge_singly,
            "judge_run_128": lambda: judge(raws, {}),
        },
    )


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def rows() -> list[dict[str, str | float]]:
    """One row per operation, over a batch of scans and sensor batches."""
    baseline, works = _rounds()
    taken: dict[str, list[float]] = {"baseline": [], **{name: [] for name in works}}
    for _ in range(ROUNDS):
        taken["baseline"].append(_seconds(baseline))
        for name, work in works.items():
            taken[name].append(_seconds(work))
    rates = {name: RECORDS / statistics.median(seconds) for name, seconds in taken.items()}
    return [
        {
            "name": name,
            "value": round(rates[name], 1),
            "unit": "records/s",
            "baseline": round(rates["baseline"], 1),
            "ratio": round(rates[name] / rates["baseline"], 3),
        }
        for name in works
    ]


def main(arguments: list[str]) -> None:
    measured = rows()
    if "--json" in arguments:
        print(json.dumps(measured))
        return
    print(f"{'':14}{'records/s':>12}{'libsodium':>12}{'ratio':>8}")
    for row in measured:
        print(f"{row['name']:14}{row['value']:>12}{row['baseline']:>12}{row['ratio']:>8}")


if __name__ == "__main__":
    main(sys.argv[1:])
