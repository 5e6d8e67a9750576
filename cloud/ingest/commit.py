"""One transaction per group of uplink messages: every record ends in the ledger or in quarantine, or nothing happened.

Never acknowledges, signs or publishes; the caller does that after this returned. A record that is already held is
compared by its digest, never overwritten; the same (kid, seq) with another valid digest is kept beside it (SPEC W17).
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from django.db import connection, transaction

from cloud.ingest.claims import Claim, claim_of
from cloud.ingest.streams import advance
from cloud.ledger.models import LARGEST_NUMBER, LedgerRecord, Quarantine, UnitKey
from wire import Finding, Judged, Record, WireError, decode_records, judge_run

MAX_KEPT_BYTES = 65_536  # of a payload that is no uplink message: as much as a lawful one may have
WINDOW_SEQS = 512  # ledger positions fetched at once for comparing; a message holds at most 256 records
SENTENCE_CHARACTERS = 400

REASONS = {
    Finding.ALTERED: "signature_invalid",
    Finding.UNKNOWN_KEY: "key_not_valid",
    Finding.UNKNOWN_TYPE: "unknown_type",
}
NEXT_STEPS = {
    Finding.ALTERED: "The true record is asked for again; if this repeats, inspect the gateway.",
    Finding.UNKNOWN_KEY: "Enrol the unit with its genesis record, or find out who sent this.",
    Finding.UNKNOWN_TYPE: "Update the cloud: the unit's firmware is newer.",
    Finding.MALFORMED: "Inspect the gateway or the unit that sent it.",
}


@dataclass(frozen=True)
class Message:
    """One uplink message as the broker delivered it; site and gateway come from its topic."""

    site: str
    gateway: str
    payload: bytes


@dataclass(frozen=True)
class Arrived:
    """A record that is new in the ledger."""

    record: Record
    gateway: str
    arrival_ms: int
    received_ms: int
    key_valid: bool


@dataclass(frozen=True)
class Refused:
    """A copy that is new in quarantine."""

    digest: bytes
    reason: str
    claim: Claim
    received_ms: int


@dataclass
class Committed:
    """What a group of messages changed, and who must hear of it.

    heard: for each (site, gateway) the streams it sent authentic records of, with the last of them (seq, digest) per
    stream.
    """

    arrived: list[Arrived] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    heard: dict[tuple[str, str], dict[bytes, tuple[int, bytes]]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Entry:
    message: Message
    arrival_ms: int
    raw: bytes


def commit(messages: Sequence[Message], now_ms: int) -> Committed:
    """Bring messages into the ledger and quarantine, durably. Raises django.db.Error, and then nothing happened."""
    committed = Committed()
    with transaction.atomic():
        entries = [entry for message in messages for entry in _entries(message, now_ms, committed)]
        ledger = _Ledger()
        judgements = judge_run(
            [entry.raw for entry in entries],
            key_for=ledger.public_key,
            digests_of=ledger.digests,
            prevs_of=ledger.prevs,
        )
        _store(list(zip(entries, judgements, strict=True)), ledger, now_ms, committed)
    return committed


def quarantine_payload(message: Message, reason: str, sentence: str, now_ms: int) -> None:
    """Keep a whole payload aside. Raises django.db.Error."""
    with transaction.atomic():
        _quarantine_payload(message, reason, sentence, now_ms, Committed())


class _Ledger:
    """What the ledger held when the transaction began, fetched in windows and kept for its length."""

    def __init__(self) -> None:
        self._keys: dict[bytes, UnitKey | None] = {}
        self._windows: dict[tuple[bytes, int], dict[int, list[tuple[bytes, bytes]]]] = {}

    def key(self, kid: bytes) -> UnitKey | None:
        if kid not in self._keys:
            self._keys[kid] = UnitKey.objects.filter(kid=kid).first()
        return self._keys[kid]

    def public_key(self, kid: bytes) -> bytes | None:
        key = self.key(kid)
        return bytes(key.public_key) if key else None

    def digests(self, kid: bytes, seq: int) -> frozenset[bytes]:
        return frozenset(digest for digest, _ in self._held(kid, seq))

    def prevs(self, kid: bytes, seq: int) -> frozenset[bytes]:
        return frozenset(prev for _, prev in self._held(kid, seq))

    def _held(self, kid: bytes, seq: int) -> list[tuple[bytes, bytes]]:
        if seq > LARGEST_NUMBER:  # the successor of the last position there is
            return []
        number = seq // WINDOW_SEQS
        if (kid, number) not in self._windows:
            self._windows[kid, number] = self._window(kid, number * WINDOW_SEQS)
        return self._windows[kid, number].get(seq, [])

    def _window(self, kid: bytes, first: int) -> dict[int, list[tuple[bytes, bytes]]]:
        held: dict[int, list[tuple[bytes, bytes]]] = {}
        rows = LedgerRecord.objects.filter(kid=kid, seq__range=(first, first + WINDOW_SEQS - 1))
        for seq, digest, prev in rows.values_list("seq", "digest", "prev"):
            held.setdefault(seq, []).append((bytes(digest), bytes(prev)))
        return held


def _entries(message: Message, now_ms: int, committed: Committed) -> list[_Entry]:
    try:
        _, records = decode_records(message.payload)
    except WireError as error:
        sentence = (
            f"The payload is no records message ({error}). Inspect gateway {message.gateway} or who writes there."
        )
        _quarantine_payload(message, "unreadable_message", sentence, now_ms, committed)
        return []
    return [_Entry(message, arrival_ms, raw) for arrival_ms, raw in records]


def _store(judged: Sequence[tuple[_Entry, Judged]], ledger: _Ledger, now_ms: int, committed: Committed) -> None:
    new: dict[bytes, set[int]] = {}
    doubled: dict[bytes, set[int]] = {}
    accepted: list[tuple[_Entry, Judged, Record]] = []
    for entry, judgement in judged:
        record = judgement.record
        if record is None or not (judgement.accepted or judgement.finding is Finding.DUPLICATE):
            _refuse(entry, judgement, now_ms, committed)
            continue
        _note_heard(entry.message, record, committed)
        if judgement.accepted:
            accepted.append((entry, judgement, record))
            _note_position(record, ledger, new, doubled)
    _insert(accepted, ledger, now_ms, committed)
    for kid, positions in new.items():
        key = ledger.key(kid)
        assert key is not None  # nothing of an unknown key was accepted
        advance(key, positions, doubled.get(kid, set()), now_ms)


def _note_position(record: Record, ledger: _Ledger, new: dict[bytes, set[int]], doubled: dict[bytes, set[int]]) -> None:
    positions = new.setdefault(record.kid, set())
    if ledger.digests(record.kid, record.seq) or record.seq in positions:
        doubled.setdefault(record.kid, set()).add(record.seq)
    else:
        positions.add(record.seq)


def _note_heard(message: Message, record: Record, committed: Committed) -> None:
    streams = committed.heard.setdefault((message.site, message.gateway), {})
    if record.kid not in streams or streams[record.kid][0] < record.seq:
        streams[record.kid] = (record.seq, record.digest)


_INSERT_RECORD = (
    "INSERT INTO ledger_ledgerrecord (kid, seq, digest, prev, record, type, batch, time_ms, uncertainty_ms, uptime_ms,"
    " boot, gateway, arrival_ms, received_ms, key_valid, finding)"
    " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
)


def _insert(
    accepted: Iterable[tuple[_Entry, Judged, Record]], ledger: _Ledger, now_ms: int, committed: Committed
) -> None:
    """Plain INSERT: a collision that the comparison missed must fail loudly, not vanish."""
    rows = []
    for entry, judgement, record in accepted:
        key = ledger.key(record.kid)
        assert key is not None
        arrived = Arrived(record, entry.message.gateway, entry.arrival_ms, now_ms, key.valid_at(record.seq))
        committed.arrived.append(arrived)
        rows.append(_row(arrived, judgement.finding))
    if rows:
        with connection.cursor() as cursor:
            cursor.executemany(_INSERT_RECORD, rows)


def _row(arrived: Arrived, finding: Finding) -> tuple[bytes | int | str | None, ...]:
    record = arrived.record
    return (
        record.kid,
        record.seq,
        record.digest,
        record.prev,
        record.raw,
        int(record.type),
        record.batch,
        record.time_ms,
        record.uncertainty_ms,
        record.uptime_ms,
        record.boot,
        arrived.gateway,
        arrived.arrival_ms,
        arrived.received_ms,
        arrived.key_valid,
        finding.value,
    )


def _refuse(entry: _Entry, judgement: Judged, now_ms: int, committed: Committed) -> None:
    reason = REASONS.get(judgement.finding) or judgement.detail.partition(":")[0]
    sentence = f"{judgement.detail}. {NEXT_STEPS[judgement.finding]}"
    claim = claim_of(entry.raw, judgement.record)
    _keep_aside(entry.raw, entry.message, entry.arrival_ms, reason, sentence, claim, now_ms, committed)


def _quarantine_payload(message: Message, reason: str, sentence: str, now_ms: int, committed: Committed) -> None:
    _keep_aside(message.payload, message, None, reason, sentence, Claim(), now_ms, committed)


def _keep_aside(
    content: bytes,
    message: Message,
    arrival_ms: int | None,
    reason: str,
    sentence: str,
    claim: Claim,
    now_ms: int,
    committed: Committed,
) -> None:
    """One row per digest and reason: a gateway that repeats its rubbish fills no disk."""
    digest = hashlib.sha256(content).digest()
    _, created = Quarantine.objects.get_or_create(
        digest=digest,
        reason=reason,
        defaults={
            "content": content[:MAX_KEPT_BYTES],
            "sentence": sentence[:SENTENCE_CHARACTERS],
            "kid": claim.kid,
            "seq": claim.seq,
            "batch": claim.batch,
            "gateway": message.gateway,
            "arrival_ms": arrival_ms,
            "received_ms": now_ms,
        },
    )
    if created:
        committed.refused.append(Refused(digest, reason, claim, now_ms))
