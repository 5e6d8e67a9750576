"""The checker itself is checked: broken copies of a good ledger, and each break must be named."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hil_tests.checker import Truth, check
from hil_tests.signed import take_apart
from hil_tests.tests.conftest import Told
from wire import sign_record

pytestmark = [pytest.mark.story, pytest.mark.timeout(300)]
SOME_RECORD = "(SELECT id FROM ledger_ledgerrecord ORDER BY kid, seq LIMIT 1 OFFSET 40)"
ONE_BYTE_OTHER = "CAST(substr(record, 1, length(record) - 1) || x'ff' AS BLOB)"  # no signature ends with ff
COLUMNS = (
    "kid, seq, digest, prev, record, type, batch, time_ms, uncertainty_ms, uptime_ms, boot, gateway, arrival_ms,"
    " received_ms, key_valid, finding"
)


@pytest.fixture
def copy(told: Told, tmp_path: Path) -> sqlite3.Connection:
    """A copy of the ledger that lets everything be done to it."""
    source, path = sqlite3.connect(told.stage.cloud.database), tmp_path / "copy.sqlite3"
    target = sqlite3.connect(path, isolation_level=None)
    source.backup(target)
    source.close()
    for (name,) in target.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        target.execute(f"DROP TRIGGER {name}")
    return target


def complaints(told: Told, copy: sqlite3.Connection, truth: Truth | None = None) -> str:
    path = Path(copy.execute("PRAGMA database_list").fetchone()[2])
    return "\n".join(check(truth or told.truth(), path))


def test_a_faithful_copy_gives_no_complaint(told: Told, copy: sqlite3.Connection) -> None:
    assert complaints(told, copy) == ""


def edit_report(copy: sqlite3.Connection, change: Callable[[dict[str, object]], None]) -> None:
    for number, text in copy.execute("SELECT id, report FROM batches_batchreport").fetchall():
        report = json.loads(text)
        change(report)
        copy.execute("UPDATE batches_batchreport SET report = ? WHERE id = ?", (json.dumps(report), number))


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        (f"DELETE FROM ledger_ledgerrecord WHERE id = {SOME_RECORD}", "is in the ledger 0 times"),
        (f"DELETE FROM ledger_ledgerrecord WHERE id = {SOME_RECORD}", "is missing and the cloud has not flagged it"),
        (f"DELETE FROM ledger_ledgerrecord WHERE id = {SOME_RECORD}", "records are missing below"),
        (
            f"UPDATE ledger_ledgerrecord SET record = {ONE_BYTE_OTHER} WHERE id = {SOME_RECORD}",
            "the signature of record",
        ),
        (
            f"UPDATE ledger_ledgerrecord SET record = {ONE_BYTE_OTHER} WHERE id = {SOME_RECORD}",
            "which the unit never journaled so",
        ),
        (f"UPDATE ledger_ledgerrecord SET time_ms = 0 WHERE id = {SOME_RECORD}", "not what its bytes say"),
        (f"UPDATE ledger_ledgerrecord SET seq = seq + 9000 WHERE id = {SOME_RECORD}", "not what its bytes say"),
        (
            f"INSERT INTO ledger_ledgerrecord({COLUMNS}) SELECT {COLUMNS.replace('digest', 'randomblob(32)')}"
            f" FROM ledger_ledgerrecord WHERE id = {SOME_RECORD}",
            "is in the ledger 2 times",
        ),
        (f"UPDATE ledger_ledgerrecord SET kid = x'0011223344556677' WHERE id = {SOME_RECORD}", "which no unit has"),
        ("UPDATE ledger_unitkey SET public_key = randomblob(32)", "has not enrolled the key"),
        ("UPDATE ledger_streamhead SET archived_thru = archived_thru + 1", "records are missing below"),
        ("DELETE FROM ledger_quarantine", "is not in quarantine"),
        (
            "INSERT INTO ledger_quarantine(digest, content, reason, sentence, gateway, received_ms)"
            " VALUES (randomblob(32), x'01', 'not_cbor', 'x', 'g', 0)",
            "with which nobody tampered",
        ),
        ("DELETE FROM ledger_gap", "was removed on its way and the cloud never noticed"),
        ("UPDATE ledger_gap SET filled_ms = NULL", "is flagged as missing and is not"),
    ],
)
def test_each_break_is_named(told: Told, copy: sqlite3.Connection, statement: str, complaint: str) -> None:
    assert copy.execute(statement).rowcount > 0
    assert complaint in complaints(told, copy)


def test_two_records_in_each_others_place_are_named(told: Told, copy: sqlite3.Connection) -> None:
    (one, first), (two, second) = copy.execute(
        "SELECT id, record FROM ledger_ledgerrecord ORDER BY kid, seq LIMIT 2 OFFSET 30"
    ).fetchall()
    copy.execute("UPDATE ledger_ledgerrecord SET record = ? WHERE id = ?", (second, one))
    copy.execute("UPDATE ledger_ledgerrecord SET record = ? WHERE id = ?", (first, two))
    assert "the ledger goes from seq" in complaints(told, copy)


def test_a_hidden_exception_is_named(told: Told, copy: sqlite3.Connection) -> None:
    edit_report(copy, lambda report: report.update(exceptions=[]))
    assert "no batch shows quarantine/" in complaints(told, copy)
    assert "has no exception that shows override" in complaints(told, copy)


def test_a_wrong_verdict_is_named(told: Told, copy: sqlite3.Connection) -> None:
    edit_report(copy, lambda report: report.update(complete=False))
    assert "the report says complete is False" in complaints(told, copy)


def test_a_receipt_beyond_the_ledger_is_named(told: Told, copy: sqlite3.Connection) -> None:
    newest = max(told.stage.witness.receipts, key=lambda raw: int(take_apart(raw).event[2]))
    kid, seq = take_apart(newest).event[1], take_apart(newest).event[2]
    copy.execute("DELETE FROM ledger_ledgerrecord WHERE kid = ? AND seq = ?", (kid, seq))
    assert f"a receipt covers {kid.hex()} through {seq}" in complaints(told, copy)


def test_a_receipt_of_somebody_else_is_named(told: Told, copy: sqlite3.Connection) -> None:
    stranger = take_apart(told.truth().journals["U-01"][0]).event[10][3]
    assert "is not signed by the cloud" in complaints(told, copy, replace(told.truth(), cloud_public_key=stranger))


@pytest.mark.parametrize(
    ("keys", "value", "complaint"),
    [
        ((9,), "OP-901", "names OP-901 twice"),
        ((10, 1), 0, "is not of the refused scan before it"),
        ((10, 3), "another", "is not followed by its step"),
    ],
)
def test_an_override_that_breaks_the_rules_is_named(
    told: Told, copy: sqlite3.Connection, keys: tuple[int, ...], value: object, complaint: str
) -> None:
    """SPEC W28, as a unit would journal it that does not keep to it."""
    journal = list(told.truth().journals["U-02"])
    event, place = next(
        (event, place)
        for place, event in enumerate(take_apart(raw).event for raw in journal)
        if event[7] == 15 and event[10][2] != 1
    )
    holder = event
    for key in keys[:-1]:
        holder = holder[key]
    holder[keys[-1]] = value
    journal[place] = sign_record(bytes(32), event)
    truth = replace(told.truth(), journals={**told.truth().journals, "U-02": journal})
    assert complaint in complaints(told, copy, truth)


def test_the_copy_is_a_copy(told: Told, copy: sqlite3.Connection, tmp_path: Path) -> None:
    """Guards the tests above: what they break is not what the other tests read."""
    copy.execute("DELETE FROM ledger_ledgerrecord")
    shutil.copy(told.stage.cloud.database, tmp_path / "original.sqlite3")
    assert check(told.truth(), told.stage.cloud.database) == []
