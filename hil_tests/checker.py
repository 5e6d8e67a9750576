"""The checker: compares what the units journaled with what the ledger holds. Shares no code with the product.

It has its own small CBOR reader, reads the database as a plain SQLite file, hashes with hashlib and verifies with
``cryptography``: a mistake in ``wire/`` or ``cloud/`` cannot hide itself here. Truth is what the bench read out of raw
flash, and what the bench itself tampered with. Every finding is one sentence; no sentence means that all is well.
Formats: wire/SPEC.md sections 2 to 5 and 7.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from hil_tests.ledger import Ledger
from hil_tests.signed import Signed, take_apart

BOOT, BATCH_OPEN, STEP, SCAN, BATCH_CLOSE, OVERRIDE = 1, 5, 6, 7, 14, 15
REFUSED = 2  # verdict of a scan
STEP_OF = {2: 1, 3: 2}  # action of an override, and of the step record that must follow it
_RECORD_DOMAIN, _RECEIPT_DOMAIN = b"cartrace/record/1", b"cartrace/receipt/1"


# --- what is known to be true ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Truth:
    """What the bench knows: journals by unit as read from flash, and what it did to records on their way.

    removed: positions (kid, seq) taken out of a gateway's spool. refused: bytes that were altered or forged, which the
    cloud must have quarantined. receipts: every receipt seen on the broker.
    """

    journals: Mapping[str, Sequence[bytes]]
    cloud_public_key: bytes
    removed: Sequence[tuple[bytes, int]] = ()
    refused: Sequence[bytes] = ()
    receipts: Sequence[bytes] = ()


def check(truth: Truth, database: Path) -> list[str]:
    """Every way in which the ledger is not what the units journaled; empty when it is."""
    with Ledger(database) as ledger:
        return [
            *_streams_enrolled(truth, ledger),
            *_each_record_once(truth, ledger),
            *_columns_say_what_bytes_say(ledger),
            *_chains_and_signatures(truth, ledger),
            *_receipts_not_beyond(truth, ledger),
            *_quarantine_holds_the_refused(truth, ledger),
            *_gaps_flagged(truth, ledger),
            *_verdicts(truth, ledger),
            *_overrides_of_two(truth),
            *_overrides_shown(truth, ledger),
        ]


def _kid_of(journal: Sequence[bytes]) -> bytes:
    return take_apart(journal[0]).kid


def _streams_enrolled(truth: Truth, ledger: Ledger) -> Iterator[str]:
    enrolled = dict(ledger.rows("SELECT kid, public_key FROM ledger_unitkey"))
    for unit, journal in truth.journals.items():
        genesis = take_apart(journal[0])
        public_key = genesis.event[10][3]
        if hashlib.sha256(public_key).digest()[:8] != genesis.kid:
            yield f"{unit}: the key in its genesis record does not give its kid"
        if enrolled.get(genesis.kid) != public_key:
            yield f"{unit}: the cloud has not enrolled the key that its genesis names"
    known = {_kid_of(journal) for journal in truth.journals.values()}
    for (kid,) in ledger.rows("SELECT DISTINCT kid FROM ledger_ledgerrecord"):
        if kid not in known:
            yield f"the ledger holds records of stream {kid.hex()}, which no unit has"


def _each_record_once(truth: Truth, ledger: Ledger) -> Iterator[str]:
    for unit, journal in truth.journals.items():
        held = ledger.records_of(_kid_of(journal))
        for raw in set(held) - set(journal):
            yield f"{unit}: the ledger holds seq {take_apart(raw).event[1]}, which the unit never journaled so"
        for raw in journal:
            times = held.count(raw)
            if times != 1:
                yield f"{unit}: saved record {take_apart(raw).event[1]} is in the ledger {times} times"


def _columns_say_what_bytes_say(ledger: Ledger) -> Iterator[str]:
    columns = "kid, seq, digest, prev, type, batch, time_ms, uncertainty_ms, uptime_ms, boot"
    for raw, *stored in ledger.rows(f"SELECT record, {columns} FROM ledger_ledgerrecord"):
        record = take_apart(raw)
        event = record.event
        said = [record.kid, event[1], record.digest, event[2], event[7], event.get(8)]
        said += [event.get(5), event.get(6), event[4], event[3]]
        if said != stored:
            yield f"the ledger's columns for {record.kid.hex()}/{event[1]} are not what its bytes say"


def _chains_and_signatures(truth: Truth, ledger: Ledger) -> Iterator[str]:
    for unit, journal in truth.journals.items():
        public_key = take_apart(journal[0]).event[10][3]
        prev, seq = bytes(32), 0
        for raw in ledger.records_of(_kid_of(journal)):
            record = take_apart(raw)
            if record.event[1] != seq:
                yield f"{unit}: the ledger goes from seq {seq - 1} to {record.event[1]}"
            elif record.event[2] != prev:
                yield f"{unit}: record {seq} does not name its predecessor"
            if not verifies(record, public_key, _RECORD_DOMAIN):
                yield f"{unit}: the signature of record {record.event[1]} is not the unit's"
            prev, seq = record.digest, record.event[1] + 1


def _receipts_not_beyond(truth: Truth, ledger: Ledger) -> Iterator[str]:
    for raw in truth.receipts:
        receipt = take_apart(raw)
        kid, seq, digest = (receipt.event[key] for key in (1, 2, 3))
        if not verifies(receipt, truth.cloud_public_key, _RECEIPT_DOMAIN):
            yield f"a receipt for {kid.hex()} through {seq} is not signed by the cloud"
        held = ledger.records_of(kid)[: seq + 1]
        if len(held) <= seq or hashlib.sha256(held[seq]).digest() != digest:
            yield f"a receipt covers {kid.hex()} through {seq}, and the ledger does not hold that"
    for kid, thru in ledger.rows("SELECT kid, archived_thru FROM ledger_streamhead"):
        positions = {row[0] for row in ledger.rows("SELECT seq FROM ledger_ledgerrecord WHERE kid=?", kid)}
        if not positions >= set(range(thru + 1)):
            yield f"the cloud holds {kid.hex()} for archived through {thru}, and records are missing below"


def _quarantine_holds_the_refused(truth: Truth, ledger: Ledger) -> Iterator[str]:
    kept = {row[0] for row in ledger.rows("SELECT content FROM ledger_quarantine")}
    for raw in set(truth.refused) - kept:
        yield f"{_name(raw)} was altered or forged on its way, and is not in quarantine"
    for raw in kept - set(truth.refused):
        yield f"quarantine holds {_name(raw)}, with which nobody tampered"


def _gaps_flagged(truth: Truth, ledger: Ledger) -> Iterator[str]:
    """Positions that were missing on the way must have been noticed; positions still missing must be open gaps."""
    flagged = {"open": set[tuple[bytes, int]](), "filled": set[tuple[bytes, int]]()}
    for kid, first, last, filled_ms in ledger.rows("SELECT kid, first, last, filled_ms FROM ledger_gap"):
        flagged["open" if filled_ms is None else "filled"] |= {(kid, seq) for seq in range(first, last + 1)}
    missing = set(_true_gaps(truth, ledger))
    for kid, seq in missing - flagged["open"]:
        yield f"{kid.hex()}/{seq} is missing and the cloud has not flagged it"
    for kid, seq in flagged["open"] - missing:
        yield f"{kid.hex()}/{seq} is flagged as missing and is not"
    for kid, seq in set(truth.removed) - flagged["open"] - flagged["filled"]:
        yield f"{kid.hex()}/{seq} was removed on its way and the cloud never noticed"


def _true_gaps(truth: Truth, ledger: Ledger) -> Iterator[tuple[bytes, int]]:
    """Positions below the highest one held that the unit journaled and the ledger lacks."""
    for journal in truth.journals.values():
        kid = _kid_of(journal)
        held = {row[0] for row in ledger.rows("SELECT seq FROM ledger_ledgerrecord WHERE kid=?", kid)}
        yield from ((kid, seq) for seq in range(max(held, default=-1)) if seq not in held)


def _verdicts(truth: Truth, ledger: Ledger) -> Iterator[str]:
    """*Complete* as the journals have it must be what each report says; each refused copy must be an exception."""
    refused = [hashlib.sha256(raw).hexdigest()[:16] for raw in truth.refused]
    shown = set[str]()
    for batch, text in ledger.rows(
        "SELECT b.batch, r.report FROM batches_batch b JOIN batches_batchreport r ON r.batch_id = b.id"
    ):
        report = json.loads(text)
        shown |= {reference for item in report["exceptions"] for reference in item["evidence"]}
        if report["complete"] != _is_complete(batch, truth, ledger):
            yield f"batch {batch}: the report says complete is {report['complete']}, the journals say otherwise"
    for name in refused:
        if f"quarantine/{name}" not in shown:
            yield f"no batch shows quarantine/{name}, which was altered or forged on its way"


def _overrides_of_two(truth: Truth) -> Iterator[str]:
    """Each override is of two people, of the refused scan before it, and followed by its step (SPEC W28)."""
    for unit, journal in truth.journals.items():
        last_scan: dict[int, Any] = {}
        events = [take_apart(raw).event for raw in journal]
        for event, following in zip(events, [*events[1:], None], strict=True):
            body = event[10]
            if event[7] == SCAN:
                last_scan = event
            if event[7] != OVERRIDE:
                continue
            if body[5] == event.get(9):
                yield f"{unit}: override {event[1]} names {body[5]} twice"
            if last_scan.get(1) != body[1] or last_scan[10][4] != REFUSED:
                yield f"{unit}: override {event[1]} is not of the refused scan before it"
            if body[2] in STEP_OF and following is not None and following[7] != BOOT:
                said = following[7], following[10].get(1), following[10].get(2)
                if said != (STEP, body[3], STEP_OF[body[2]]):
                    yield f"{unit}: override {event[1]} is not followed by its step"


def _overrides_shown(truth: Truth, ledger: Ledger) -> Iterator[str]:
    shown = {
        (batch, reference)
        for batch, text in ledger.rows(
            "SELECT b.batch, r.report FROM batches_batch b JOIN batches_batchreport r ON r.batch_id = b.id"
        )
        for item in json.loads(text)["exceptions"]
        for reference in item["evidence"]
    }
    for journal in truth.journals.values():
        for record in map(take_apart, journal):
            reference = f"{record.kid.hex()}/{record.event[1]}"
            if record.event[7] == OVERRIDE and (record.event[8], reference) not in shown:
                yield f"batch {record.event[8]} has no exception that shows override {reference}"


def _is_complete(batch: str, truth: Truth, ledger: Ledger) -> bool:
    for journal in truth.journals.values():
        events = [take_apart(raw).event for raw in journal]
        opened = [event[1] for event in events if event[7] == BATCH_OPEN and event.get(8) == batch]
        closed = [event[1] for event in events if event[7] == BATCH_CLOSE and event.get(8) == batch]
        if opened:
            held = ledger.records_of(_kid_of(journal))
            return bool(closed) and all(raw in held for raw in journal[opened[0] : closed[0] + 1])
    return False


def verifies(signed: Signed, public_key: bytes, domain: bytes) -> bool:
    """Whether the signature is that key's over the Sig_structure (SPEC W12)."""
    message = b"\x84\x6aSignature1" + b"".join(_cbor_bytes(part) for part in (signed.protected, domain, signed.payload))
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signed.signature, message)
    except InvalidSignature:
        return False
    return True


def _cbor_bytes(raw: bytes) -> bytes:
    """raw as a CBOR byte string; enough for a Sig_structure."""
    head = bytes([0x40 + len(raw)]) if len(raw) < 24 else b"\x58" + bytes([len(raw)]) if len(raw) < 256 else b""
    return (head or b"\x59" + len(raw).to_bytes(2, "big")) + raw


def _name(raw: bytes) -> str:
    return f"the copy with digest {hashlib.sha256(raw).hexdigest()[:16]}"
