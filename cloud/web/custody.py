"""One record or refused copy as evidence: its words, its neighbours in the chain, its signature checked anew.

Reads the ledger; changes nothing. The check uses the bytes as received and the enrolled key, never what ingest once
noted.
"""

from dataclasses import dataclass

from django.db.models import Max, Min

from cloud.batches import queries
from cloud.batches.queries import GapRow, NotFoundError, QuarantineRow, RecordRow
from cloud.ledger.models import LARGEST_NUMBER, LedgerRecord, Quarantine, StreamHead, UnitKey
from cloud.web import words
from cloud.web.verdicts import Mark
from wire import Record, WireError, decode_record, verify_record
from wire.bodies import Channels
from wire.samples import Samples

VALID = Mark("good", "good", "Valid")
INVALID = Mark("critical", "critical", "Not valid")
LINKED = Mark("good", "good", "Linked")
BROKEN = Mark("critical", "critical", "Does not link")
ABSENT = Mark("calm", "waiting", "Not here")
REPLACED = Mark("good", "good", "True record is held")
KEY_VALID = Mark("good", "good", "Valid")
KEY_REVOKED = Mark("critical", "critical", "Revoked")
KEY_FORKED = Mark("critical", "critical", "Signs twice")
CHAIN_BROKEN = Mark("critical", "critical", "Chain broken")


@dataclass(frozen=True)
class Check:
    """One thing that was checked just now: the answer and why."""

    name: str
    mark: Mark
    words: str


@dataclass(frozen=True)
class Evidence:
    """One record as its page shows it. samples: one row of texts per sample, under the channel names."""

    row: RecordRow
    record: Record
    title: str
    sentence: str
    fields: list[tuple[str, str]]
    checks: tuple[Check, ...]
    prev_hex: str
    hex_rows: str
    channels: tuple[str, ...]
    samples: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Missing:
    """A position that the ledger does not hold: the records either side (R66), the gap, and refused copies of it."""

    before: int | None
    after: int | None
    gap: GapRow | None
    refused: tuple[str, ...]


@dataclass(frozen=True)
class Line:
    """One record in a list of records."""

    row: RecordRow
    title: str
    sentence: str
    operator: str


def line(row: RecordRow) -> Line:
    record = decode_record(bytes.fromhex(row.record_hex))
    return Line(row, words.type_name(record.type), words.sentence(record.body, record.operator), record.operator or "")


def evidence(row: RecordRow) -> Evidence:
    """Everything one can say about a record that the ledger holds."""
    record = decode_record(bytes.fromhex(row.record_hex))
    names, samples = sample_table(record)
    return Evidence(
        row=row,
        record=record,
        title=words.type_name(record.type),
        sentence=words.sentence(record.body, record.operator),
        fields=words.fields(record.body),
        checks=(signature_check(record), _before(record), _after(record)),
        prev_hex=record.prev.hex(),
        hex_rows=words.hex_rows(record.raw),
        channels=names,
        samples=samples,
    )


def signature_check(record: Record) -> Check:
    """Whether the enrolled key of the stream signed exactly these bytes, decided now."""
    key = UnitKey.objects.select_related("unit").filter(kid=record.kid).first()
    if key is None:
        return Check("Signature", INVALID, "No key is enrolled for this stream, so nothing proves who signed.")
    try:
        verify_record(record, bytes(key.public_key))
    except WireError as error:
        return Check("Signature", INVALID, f"{words.QUARANTINE_WORDS.get(error.code, error.code)}.")
    whose = f"the key of unit {key.unit.name}, epoch {key.epoch}"
    if not key.valid_at(record.seq):
        return Check(
            "Signature",
            INVALID,
            f"The bytes are signed by {whose}, but that key is revoked from record {key.revoked_from_seq} on.",
        )
    return Check("Signature", VALID, f"Ed25519 over these bytes, by {whose}. Checked while this page was made.")


def _before(record: Record) -> Check:
    name = "Link to the record before"
    if record.seq == 0:
        return Check(name, LINKED, "This is the first record of the stream; nothing comes before it.")
    held = _digests_at(record.kid.hex(), record.seq - 1)
    if not held:
        return Check(name, ABSENT, f"Record {record.seq - 1} is not in the ledger, so the link cannot be checked.")
    if record.prev.hex() in held:
        return Check(name, LINKED, f"It names the digest of record {record.seq - 1}, which is in the ledger.")
    return Check(name, BROKEN, f"It names another predecessor than record {record.seq - 1} in the ledger.")


def _after(record: Record) -> Check:
    name = "Link from the record after"
    try:
        following = queries.record_detail(record.kid.hex(), record.seq + 1)
    except NotFoundError:
        return Check(name, ABSENT, f"Record {record.seq + 1} is not in the ledger (yet).")
    named = {decode_record(bytes.fromhex(row.record_hex)).prev for row in following}
    if record.digest in named:
        return Check(name, LINKED, f"Record {record.seq + 1} names the digest of this one.")
    return Check(name, BROKEN, f"Record {record.seq + 1} names another predecessor.")


def archived_thru(kid: str) -> int:
    """The last position of a stream that a signed receipt covers; -1 for none."""
    head = StreamHead.objects.filter(kid=bytes.fromhex(kid)).first()
    return head.archived_thru if head else -1


def utc_offset_min(kid: str) -> int | None:
    """How far the wall clock at the site of a stream's unit is ahead of UTC; nothing when nobody said so."""
    found = UnitKey.objects.filter(kid=bytes.fromhex(kid)).values_list("unit__gateway__site__utc_offset_min", flat=True)
    return found.first()


def missing(kid: str, seq: int) -> Missing | None:
    """What is known of a position that the ledger does not hold; nothing for a stream that is not enrolled."""
    raw = bytes.fromhex(kid)
    if seq > LARGEST_NUMBER or not UnitKey.objects.filter(kid=raw).exists():
        return None
    rows = LedgerRecord.objects.filter(kid=raw)
    return Missing(
        before=rows.filter(seq__lt=seq).aggregate(seq=Max("seq"))["seq"],
        after=rows.filter(seq__gt=seq).aggregate(seq=Min("seq"))["seq"],
        gap=next((gap for gap in queries.gaps(kid) if gap.first <= seq <= gap.last and gap.filled_ms is None), None),
        refused=tuple(
            bytes(digest).hex()[:16]
            for digest in Quarantine.objects.filter(kid=raw, seq=seq).values_list("digest", flat=True)
        ),
    )


def _digests_at(kid: str, seq: int) -> set[str]:
    try:
        return {row.digest for row in queries.record_detail(kid, seq)}
    except NotFoundError:
        return set()


def sample_table(record: Record) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Channel names, and one row per sample: uptime and a text per channel. Empty for every other type of record."""
    body = record.body
    if not isinstance(body, Samples):
        return (), ()
    channels = _channels(record.kid.hex(), body.channels_seq, len(body.series))
    rows = []
    for number in range(body.count):
        uptime_ms = body.start_ms + number * body.interval_ms
        texts = [
            _sample_words(series[number], exponent) for series, (_, exponent) in zip(body.series, channels, strict=True)
        ]
        rows.append((f"{uptime_ms / 1000:.3f} s", *texts))
    return tuple(name for name, _ in channels), tuple(rows)


def _sample_words(sample: object, exponent: int) -> str:
    value, mark = getattr(sample, "value", None), getattr(sample, "mark", None)
    text = words.scaled(value, exponent) if value is not None else ""
    return f"{text} {words.MARK_WORDS[mark]}".strip() if mark is not None else text


def _channels(kid: str, seq: int, count: int) -> list[tuple[str, int]]:
    """Name with unit, and exponent, of each channel; plain numbers when their definition has not arrived."""
    unnamed = [(f"channel {number + 1} (unscaled)", 0) for number in range(count)]
    try:
        body = decode_record(bytes.fromhex(queries.record_detail(kid, seq)[0].record_hex)).body
    except NotFoundError:
        return unnamed
    if not isinstance(body, Channels) or len(body.channels) != count:
        return unnamed
    return [(words.visible(f"{each.name}, {words.unit_symbol(each.unit)}"), each.exponent) for each in body.channels]


@dataclass(frozen=True)
class Refused:
    """A refused copy as its page shows it. held: the records that the ledger holds at the position it claims."""

    row: QuarantineRow
    why: str
    sentence: str
    claims: list[tuple[str, str]]
    held: tuple[RecordRow, ...]
    hex_rows: str
    size: int

    @property
    def empty(self) -> str:
        """Why nothing is held at the position that the bytes claim."""
        if self.row.reason == "key_not_valid":
            return "no stream of an enrolled unit"
        return "nothing yet: it was asked for again"

    @property
    def short(self) -> str:
        """What a reference names it by."""
        return self.row.digest[:16]


def refused(row: QuarantineRow) -> Refused:
    content = bytes.fromhex(row.content_hex)
    held: tuple[RecordRow, ...] = ()
    if row.kid is not None and row.seq is not None:
        try:
            held = queries.record_detail(row.kid, row.seq)
        except NotFoundError:
            held = ()
    why = words.QUARANTINE_WORDS.get(row.reason, words.code_words(row.reason))
    sentence = row.sentence.removeprefix(f"{row.reason}: ")
    sentence = sentence[:1].upper() + sentence[1:]
    return Refused(row, why, sentence, _claims(content), held, words.hex_rows(content), len(content))


def _claims(content: bytes) -> list[tuple[str, str]]:
    """What the refused bytes say of themselves, as far as they can be read; proven by nothing."""
    try:
        record = decode_record(content)
    except WireError as error:
        return [("Readable as a record", f"no: {words.visible(str(error))}")]
    moment = words.instant(record.time_ms)
    header = [
        ("Type", words.type_name(record.type)),
        ("Says", words.sentence(record.body, record.operator)),
        ("Unit time", f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else "none"),
        ("Operator", words.visible(record.operator or "none")),
    ]
    return header + words.fields(record.body)
