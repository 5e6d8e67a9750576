"""How fast ingest is, verified and durable, beside one libsodium verification per record in the same run.

`python -m cloud bench [--json]` prints rows {name, value, unit, baseline, ratio}: value and baseline in records/s. The
database is a new one on the state directory's disk, thrown away afterwards. Rounds of baseline and rows are interleaved
and the median counts, so that a noisy machine is noisy for all of them.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from django.core.management import call_command
from django.db import connection
from nacl import bindings

from cloud.ingest.commit import Message, commit
from cloud.ingest.worker import GROUP_MESSAGES
from cloud.ledger.enrol import enrol
from cloud.ledger.models import LedgerRecord
from wire import encode_records
from wire.bench import SEED, stream

ROUNDS = 7
MESSAGE_RECORDS = 128
NOW_MS = 1_793_190_000_000


@contextmanager
def _throwaway_database(state: Path) -> Iterator[None]:
    """The default connection on a new, migrated database beside the real one."""
    kept = connection.settings_dict["NAME"]
    connection.close()
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=state) as directory:
        connection.settings_dict["NAME"] = Path(directory) / "bench.sqlite3"
        try:
            call_command("migrate", verbosity=0)
            yield
        finally:
            connection.close()
            connection.settings_dict["NAME"] = kept


def rows(state: Path) -> list[dict[str, str | float]]:
    """ingest: groups as the worker makes them under load. ingest_message: one message per transaction."""
    per_round = (GROUP_MESSAGES + 1) * MESSAGE_RECORDS
    records = [raw for _, raw in stream(ROUNDS * per_round)]
    _, secret_key = bindings.crypto_sign_seed_keypair(SEED)
    public_key = secret_key[32:]
    signed = [bindings.crypto_sign(raw, secret_key) for raw in records[:MESSAGE_RECORDS]]
    rates: dict[str, list[float]] = {"baseline": [], "ingest": [], "ingest_message": []}
    with _throwaway_database(state):
        enrol(records[0], "bench", "bench", NOW_MS)
        for start in range(0, len(records), per_round):
            messages = [_message(part) for part in _parts(records[start : start + per_round])]
            rates["baseline"].append(
                _rate(len(signed), lambda: [bindings.crypto_sign_open(one, public_key) for one in signed])
            )
            rates["ingest"].append(_rate_of_commit(messages[:GROUP_MESSAGES]))
            rates["ingest_message"].append(_rate_of_commit(messages[GROUP_MESSAGES:]))
        assert LedgerRecord.objects.count() == len(records)
    baseline = statistics.median(rates.pop("baseline"))
    return [
        {
            "name": name,
            "value": round(statistics.median(found), 1),
            "unit": "records/s",
            "baseline": round(baseline, 1),
            "ratio": round(statistics.median(found) / baseline, 3),
        }
        for name, found in rates.items()
    ]


def _parts(records: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    return (records[start : start + MESSAGE_RECORDS] for start in range(0, len(records), MESSAGE_RECORDS))


def _message(records: Sequence[bytes]) -> Message:
    return Message("bench", "bench", encode_records(1, [(NOW_MS, raw) for raw in records]))


def _rate_of_commit(messages: Sequence[Message]) -> float:
    return _rate(len(messages) * MESSAGE_RECORDS, lambda: commit(messages, NOW_MS))


def _rate(count: int, work: Callable[[], object]) -> float:
    begin_s = time.perf_counter()
    work()
    return count / (time.perf_counter() - begin_s)
