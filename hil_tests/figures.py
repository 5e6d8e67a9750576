"""How far every stream has come on the custody ladder, read from the three stores themselves.

saved: records in the unit's flash. relayed: what the gateway holds as committed. archived: what a receipt covers in the
ledger. forged: ledger records that the unit never journaled; anything but 0 is a disaster.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hil_tests.carrier import relayed_next
from hil_tests.stage import Stage


@dataclass(frozen=True)
class Stream:
    unit: str
    kid: str
    saved: int
    relayed: int
    archived: int
    forged: int

    @property
    def settled(self) -> bool:
        return self.saved == self.relayed == self.archived


def streams(stage: Stage) -> list[Stream]:
    with _ledger(stage.cloud.database) as ledger:
        return [_stream(stage, unit, ledger) for unit in sorted(stage.units)]


def _stream(stage: Stage, unit: str, ledger: sqlite3.Connection) -> Stream:
    kid = stage.kids[unit]
    held = {row[0] for row in ledger.execute("SELECT record FROM ledger_ledgerrecord WHERE kid = ?", (kid,))}
    thru = ledger.execute("SELECT archived_thru FROM ledger_streamhead WHERE kid = ?", (kid,)).fetchone()
    relayed = relayed_next(stage.gateway_of(unit).spool, kid) if stage.gateways else 0
    saved = set(stage.units[unit].journal())  # last, so that whatever was relayed or archived is among it
    return Stream(unit, kid.hex(), len(saved), relayed, thru[0] + 1 if thru else 0, len(held - saved))


def quarantined(stage: Stage) -> int:
    with _ledger(stage.cloud.database) as ledger:
        return int(ledger.execute("SELECT count(*) FROM ledger_quarantine").fetchone()[0])


def reports(stage: Stage) -> dict[str, dict[str, Any]]:
    """The stored report of every batch, by batch."""
    query = "SELECT b.batch, r.report FROM batches_batch b JOIN batches_batchreport r ON r.batch_id = b.id ORDER BY 1"
    with _ledger(stage.cloud.database) as ledger:
        return {batch: json.loads(report) for batch, report in ledger.execute(query)}


def outcome(stage: Stage) -> dict[str, Any]:
    """The one JSON object that ``make demo ONCE=1`` prints."""
    return {
        "batches": [_verdicts(report) for report in reports(stage).values()],
        "streams": [asdict(stream) for stream in streams(stage)],
        "quarantined": quarantined(stage),
    }


def _verdicts(report: dict[str, Any]) -> dict[str, Any]:
    exceptions = [{key: item[key] for key in ("code", "severity", "evidence")} for item in report["exceptions"]]
    return {key: report[key] for key in ("batch", "complete", "conforming", "authentic")} | {"exceptions": exceptions}


@contextmanager
def _ledger(database: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=20)
    try:
        yield connection
    finally:
        connection.close()
