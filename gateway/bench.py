"""What the gateway's store costs: records durable through the session core, beside SQLite's single commits.

Both run in one call on the same disk, so the ratio says something where the figures alone would not.
"""

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import apsw

from gateway.session import Session
from gateway.spool import open_spool
from wire import FrameReader, Hello, RecordFrame, Time, encode_frame, kid_of, public_key_of, sign_record

RECORDS = 20_000
PER_COMMIT = 256  # what waits while a commit is being synced, with many units or after an outage
SINGLE_COMMITS = 300
COMMENT = 12  # SPEC section 5
TEXT = "a" * 120  # makes a record about as long as a scan


def measure(directory: Path | None) -> list[dict[str, Any]]:
    """Rows of {name, value, unit, baseline, ratio}; directory names the disk to measure."""
    with tempfile.TemporaryDirectory(dir=directory) as folder:
        single = _single_commits_per_s(Path(folder))
        relayed = _relayed_records_per_s(Path(folder) / "state")
    return [
        {
            "name": "relayed_records_per_s", "value": round(relayed), "unit": "records/s",
            "baseline": round(single), "ratio": round(relayed / single, 1),
        }
    ]  # fmt: skip


def _single_commits_per_s(folder: Path) -> float:
    connection = apsw.Connection(str(folder / "single.db"))
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE single(row INTEGER PRIMARY KEY, record BLOB)")
    record = os.urandom(250)
    begun_s = time.perf_counter()
    for _ in range(SINGLE_COMMITS):
        connection.execute("INSERT INTO single(record) VALUES (?)", (record,))
    took_s = time.perf_counter() - begun_s
    connection.close()
    return SINGLE_COMMITS / took_s


def _relayed_records_per_s(state_dir: Path) -> float:
    """Serial bytes in, acknowledgements out, everything between them included: frames, shape, digest, commit, sync."""
    seed = os.urandom(32)
    kid = kid_of(public_key_of(seed))
    signed = [sign_record(seed, _event(seq)) for seq in range(RECORDS)]
    chunks = [
        b"".join(encode_frame(RecordFrame(raw)) for raw in signed[first : first + PER_COMMIT])
        for first in range(0, RECORDS, PER_COMMIT)
    ]
    spool = open_spool(state_dir)
    session = Session("bench", lambda: Time(0, 0))
    with spool.transaction():
        session.heard(Hello(kid, "U-bench", 1, 0, RECORDS, bytes(32), 1, "bench"), spool, 0)
    reader = FrameReader()
    acked = 0
    begun_s = time.perf_counter()
    for chunk in chunks:
        messages = reader.feed(chunk)
        with spool.transaction():
            for message in messages:
                session.heard(message, spool, 1)
            ack = session.commit(spool)
        acked = acked if ack is None else ack.next
    took_s = time.perf_counter() - begun_s
    spool.close()
    assert acked == RECORDS
    return RECORDS / took_s


def _event(seq: int) -> dict[int, object]:
    return {1: seq, 2: os.urandom(32), 3: 1, 4: seq * 1000, 7: COMMENT, 10: {1: TEXT}}
