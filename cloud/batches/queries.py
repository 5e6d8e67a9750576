"""What the pages and the API ask of the database: plain, frozen values, never models. Reads only.

kid and digests come out as hexadecimal text, times as milliseconds since 1970-01-01T00:00Z. A reference to evidence is
"<kid hex>/<seq>" for a ledger record and "quarantine/<first 16 hex of the digest>" for a refused copy.
"""

from dataclasses import dataclass

from django.db.models import Count, QuerySet

from cloud.batches.models import Batch, BatchReport
from cloud.batches.records import batch_ranges, faults_of, records_of
from cloud.batches.reports import plan_of, report_of
from cloud.config import wall_clock
from cloud.domain import series as curves
from cloud.domain.report import Report, SampleSeries
from cloud.ledger.models import Gap, Gateway, LedgerRecord, Quarantine, StreamHead, Unit, UnitKey
from cloud.ledger.readable import Json, readable_record
from wire import RecordType, Samples, decode_record

PAGE_ROWS = 100
MAX_PAGE_ROWS = 1000


class NotFoundError(LookupError):
    """There is no such thing; the text says what was asked for."""

    code = "not_found"


@dataclass(frozen=True)
class BatchRow:
    """One line of the list of batches. complete, conforming, authentic: as in Report, to be read with state."""

    batch: str
    unit: str
    site: str
    recipe: str
    version: int
    state: str  # waiting, running, closed, aborted
    complete: bool
    conforming: bool
    authentic: bool
    needs_attention: int  # open exceptions that a person must look at
    open_critical: int
    open_major: int
    open_minor: int
    refused_copies: int  # resolved exceptions of authenticity: somebody altered or forged, and the true record is here
    last_contact_ms: int | None
    created_ms: int
    updated_ms: int | None


@dataclass(frozen=True)
class RecordRow:
    """One ledger record: decoded, with its bytes and its three times."""

    reference: str  # "<kid hex>/<seq>"
    kid: str
    seq: int
    digest: str
    type: str
    decoded: dict[str, Json]
    record_hex: str
    size: int
    unit: str | None
    epoch: int | None
    time_ms: int | None
    uncertainty_ms: int | None
    uptime_ms: int
    boot: int
    gateway: str
    arrival_ms: int  # at the gateway
    received_ms: int  # in the ledger
    key_valid: bool  # by what is known now, later revocations included
    finding: str


@dataclass(frozen=True)
class RecordPage:
    """Some records of a batch, in stream order."""

    total: int
    offset: int
    records: tuple[RecordRow, ...]


@dataclass(frozen=True)
class GapRow:
    """Missing positions first..last of a stream, and when they were found and filled."""

    first: int
    last: int
    found_ms: int
    filled_ms: int | None
    asked: int


@dataclass(frozen=True)
class StreamRow:
    """One key of a unit and how far its stream has come; archived_thru: what a receipt covers (-1: nothing yet).

    forked_at: the first position that holds different records signed with the key; broken_at: the first held one that
    names no held predecessor. Nothing from there on is authentic (DECISIONS 38).
    """

    unit: str
    kid: str
    epoch: int
    archived_thru: int
    highest_seq: int
    records: int  # positions held
    received_ms: int | None
    open_gaps: tuple[GapRow, ...]
    quarantined: int
    revoked_from_seq: int | None
    forked_at: int | None
    broken_at: int | None


@dataclass(frozen=True)
class UnitRow:
    """One unit with its streams, the current epoch last."""

    unit: str
    site: str
    gateway: str
    model: str
    streams: tuple[StreamRow, ...]


@dataclass(frozen=True)
class QuarantineRow:
    """Bytes that were refused. kid, seq and batch are claims of those bytes and proven by nothing."""

    reference: str  # "quarantine/<first 16 hex of the digest>"
    digest: str
    reason: str
    sentence: str
    kid: str | None
    seq: int | None
    batch: str | None
    gateway: str
    arrival_ms: int | None
    received_ms: int
    content_hex: str


def batch_list() -> list[BatchRow]:
    """Every batch, what needs attention first, then the newest."""
    batches = Batch.objects.select_related("unit__gateway__site", "recipe", "report")
    batches = batches.defer("report__report", "recipe__toml", "order")  # the whole report is for the batch page
    rows = [_batch_row(batch) for batch in batches]
    return sorted(rows, key=_urgency)


def _urgency(row: BatchRow) -> tuple[int, int, int, int, str]:
    """Critical exceptions, then major ones, then what was altered or forged and put right; then the newest."""
    return -row.open_critical, -row.open_major, -row.refused_copies, -row.created_ms, row.batch


def batch_row(batch: str) -> BatchRow:
    """One batch's line. Raises NotFoundError."""
    return _batch_row(_batch(batch))


def batch_report(batch: str) -> Report:
    """The latest report of a batch; a batch nobody has opened yet has one too. Raises NotFoundError."""
    return report_of(_batch(batch), wall_clock())


def batch_records(batch: str, offset: int = 0, limit: int = PAGE_ROWS, only: str | None = None) -> RecordPage:
    """A page of the batch's records in stream order, all or only of one type; limit is cut to MAX_PAGE_ROWS.

    Raises NotFoundError.
    """
    rows = records_of(_batch(batch))
    if only is not None:
        rows = rows.filter(type=RecordType[only.upper()])
    page = rows[max(0, offset) : max(0, offset) + max(1, min(limit, MAX_PAGE_ROWS))]
    return RecordPage(rows.count(), max(0, offset), _record_rows(page))


def record_detail(kid: str, seq: int) -> tuple[RecordRow, ...]:
    """What the ledger holds at a position: one record, or several after an equivocation. Raises NotFoundError."""
    rows = _record_rows(LedgerRecord.objects.filter(kid=_kid(kid), seq=seq).order_by("id"))
    if not rows:
        raise NotFoundError(f"The ledger holds no record {kid}/{seq}.")
    return rows


def batches_at(kid: str, seq: int) -> tuple[str, ...]:
    """The batches whose range covers a position of a stream."""
    raw = _kid(kid)
    return tuple(name for name, first, last in batch_ranges(raw) if first <= seq and (last is None or seq <= last))


def sample_series(batch: str, max_points: int = curves.MAX_POINTS) -> tuple[SampleSeries, ...]:
    """The sensor curves of a batch with limits and excursions, thinned to max_points each. Raises NotFoundError."""
    found = _batch(batch)
    told = (RecordType.SAMPLES, RecordType.CHANNELS, RecordType.CLOCK)
    rows = records_of(found).filter(type__in=told).values_list("record", flat=True)
    records = [decode_record(bytes(raw)) for raw in rows.iterator(chunk_size=1000)]
    defined = {record.seq for record in records if record.type is RecordType.CHANNELS}
    asked = {record.body.channels_seq for record in records if isinstance(record.body, Samples)} - defined
    before = LedgerRecord.objects.filter(kid=found.key.kid, seq__in=asked, type=RecordType.CHANNELS).order_by("seq")
    records = [decode_record(bytes(raw)) for raw in before.values_list("record", flat=True)] + records
    return curves.sample_series(records, plan_of(found).recipe, batch_report(batch), max_points)


def units() -> list[UnitRow]:
    """Every unit by name."""
    by_unit: dict[str, list[StreamRow]] = {}
    for stream in streams():
        by_unit.setdefault(stream.unit, []).append(stream)
    return [
        UnitRow(unit.name, unit.gateway.site.name, unit.gateway.name, unit.model, tuple(by_unit.get(unit.name, [])))
        for unit in Unit.objects.select_related("gateway__site").order_by("name")
    ]


def streams() -> list[StreamRow]:
    """Every enrolled stream, by unit and epoch."""
    heads = {bytes(head.kid): head for head in StreamHead.objects.all()}
    missing: dict[bytes, list[Gap]] = {}
    for gap in Gap.objects.filter(filled_ms=None).order_by("first"):
        missing.setdefault(bytes(gap.kid), []).append(gap)
    refused = {
        bytes(row["kid"]): row["n"]
        for row in Quarantine.objects.exclude(kid=None).values("kid").annotate(n=Count("id"))
        if row["kid"] is not None
    }
    rows = []
    for key in UnitKey.objects.select_related("unit").order_by("unit__name", "epoch"):
        kid = bytes(key.kid)
        head, gaps_now = heads.get(kid), missing.get(kid, [])
        faults = faults_of(head, gaps_now)
        rows.append(
            StreamRow(
                unit=key.unit.name,
                kid=kid.hex(),
                epoch=key.epoch,
                archived_thru=head.archived_thru if head else -1,
                highest_seq=head.highest_seq if head else -1,
                records=head.highest_seq + 1 - sum(gap.last - gap.first + 1 for gap in gaps_now) if head else 0,
                received_ms=head.received_ms if head else None,
                open_gaps=tuple(_gap_row(gap) for gap in gaps_now),
                quarantined=refused.get(kid, 0),
                revoked_from_seq=key.revoked_from_seq,
                forked_at=faults.forked_at,
                broken_at=faults.broken_at,
            )
        )
    return rows


def gaps(kid: str) -> tuple[GapRow, ...]:
    """Every gap a stream ever had, filled ones included. Raises NotFoundError."""
    if not UnitKey.objects.filter(kid=_kid(kid)).exists():
        raise NotFoundError(f"No stream {kid} is enrolled.")
    return tuple(_gap_row(gap) for gap in Gap.objects.filter(kid=_kid(kid)).order_by("first", "id"))


def gateways() -> list[tuple[str, str]]:
    """(site, gateway) of every gateway."""
    return list(Gateway.objects.order_by("site__name", "name").values_list("site__name", "name"))


def quarantine_list(offset: int = 0, limit: int = PAGE_ROWS) -> list[QuarantineRow]:
    """Refused copies, the newest first."""
    start = max(0, offset)
    rows = Quarantine.objects.order_by("-id")[start : start + max(1, min(limit, MAX_PAGE_ROWS))]
    return [_quarantine_row(row) for row in rows]


def quarantine_count() -> int:
    """How many refused copies there are."""
    return Quarantine.objects.count()


def quarantine_entry(prefix: str) -> QuarantineRow:
    """The refused copy whose digest starts with prefix (hex, at least 4 characters). Raises NotFoundError."""
    wanted = prefix.removeprefix("quarantine/").lower()
    try:
        low = bytes.fromhex(wanted if len(wanted) % 2 == 0 else wanted + "0")
    except ValueError:
        low = b""
    if len(low) < 2 or len(low) > 32:
        raise NotFoundError(f"{prefix!r} is no digest: give at least 4 hexadecimal characters of it.")
    near = Quarantine.objects.filter(digest__gte=low).order_by("digest", "id")[:1]
    for row in near:
        if bytes(row.digest).hex().startswith(wanted):
            return _quarantine_row(row)
    raise NotFoundError(f"Quarantine holds nothing whose digest starts with {wanted}.")


def _batch(batch: str) -> Batch:
    found = Batch.objects.select_related("unit__gateway__site", "recipe", "key", "report").filter(batch=batch).first()
    if found is None:
        raise NotFoundError(f"There is no batch {batch}.")
    return found


def _batch_row(batch: Batch) -> BatchRow:
    report: BatchReport | None = getattr(batch, "report", None)
    return BatchRow(
        batch=batch.batch,
        unit=batch.unit.name,
        site=batch.unit.gateway.site.name,
        recipe=batch.recipe.recipe,
        version=batch.recipe.version,
        state=report.state if report else "waiting",
        complete=report.complete if report else False,
        conforming=report.conforming if report else False,
        authentic=report.authentic if report else False,
        needs_attention=report.needs_attention if report else 0,
        open_critical=report.open_critical if report else 0,
        open_major=report.open_major if report else 0,
        open_minor=report.open_minor if report else 0,
        refused_copies=report.refused_copies if report else 0,
        last_contact_ms=report.last_contact_ms if report else None,
        created_ms=batch.created_ms,
        updated_ms=report.updated_ms if report else None,
    )


def _kid(kid: str) -> bytes:
    try:
        raw = bytes.fromhex(kid)
    except ValueError:
        raw = b""
    if len(raw) != 8:
        raise NotFoundError(f"{kid!r} names no stream: a kid is 16 hexadecimal characters.")
    return raw


def _record_rows(rows: QuerySet[LedgerRecord]) -> tuple[RecordRow, ...]:
    found = list(rows)
    keys = {
        bytes(key.kid): key
        for key in UnitKey.objects.select_related("unit").filter(kid__in={bytes(row.kid) for row in found})
    }
    return tuple(_record_row(row, keys.get(bytes(row.kid))) for row in found)


def _record_row(row: LedgerRecord, key: UnitKey | None) -> RecordRow:
    raw = bytes(row.record)
    kid = bytes(row.kid).hex()
    return RecordRow(
        reference=f"{kid}/{row.seq}",
        kid=kid,
        seq=row.seq,
        digest=bytes(row.digest).hex(),
        type=RecordType(row.type).name.lower(),
        decoded=readable_record(decode_record(raw)),
        record_hex=raw.hex(),
        size=len(raw),
        unit=key.unit.name if key else None,
        epoch=key.epoch if key else None,
        time_ms=row.time_ms,
        uncertainty_ms=row.uncertainty_ms,
        uptime_ms=row.uptime_ms,
        boot=row.boot,
        gateway=row.gateway,
        arrival_ms=row.arrival_ms,
        received_ms=row.received_ms,
        key_valid=row.key_valid and key is not None and key.valid_at(row.seq),
        finding=row.finding,
    )


def _gap_row(gap: Gap) -> GapRow:
    return GapRow(gap.first, gap.last, gap.found_ms, gap.filled_ms, gap.asked)


def _quarantine_row(row: Quarantine) -> QuarantineRow:
    digest = bytes(row.digest).hex()
    return QuarantineRow(
        reference=f"quarantine/{digest[:16]}",
        digest=digest,
        reason=row.reason,
        sentence=row.sentence,
        kid=bytes(row.kid).hex() if row.kid is not None else None,
        seq=row.seq,
        batch=row.batch,
        gateway=row.gateway,
        arrival_ms=row.arrival_ms,
        received_ms=row.received_ms,
        content_hex=bytes(row.content).hex(),
    )
