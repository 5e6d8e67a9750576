"""Which ledger records belong to a batch: a range of positions of one stream, never a time (SPEC W21, W26).

The range runs from the batch's open to its close, both included. While the open is missing, the close or the first
record that names the batch stands in for it; while the close is missing, the batch ends before the stream's next batch,
or not yet.
"""

from collections.abc import Iterable, Iterator

from django.db.models import Min, Q, QuerySet

from cloud.batches.models import Batch
from cloud.domain.plan import GapHistory, LedgerEntry, StreamFaults
from cloud.ledger.models import Gap, LedgerRecord, Quarantine, StreamHead, UnitKey
from wire import BatchClose, RecordType, decode_record

Range = tuple[int, int | None]  # first and last seq; last None while the batch may go on


def range_of(batch: Batch) -> Range | None:
    """The batch's positions in its stream; None while nothing of it has arrived."""
    kid = bytes(batch.key.kid)
    named = LedgerRecord.objects.filter(kid=kid, batch=batch.batch)
    seen = named.aggregate(first=Min("seq"))["first"]
    if seen is None:
        return None
    opened = named.filter(type=RecordType.BATCH_OPEN).aggregate(seq=Min("seq"))["seq"]
    closing = named.filter(type=RecordType.BATCH_CLOSE).order_by("seq").first()
    if closing is not None:
        close = decode_record(bytes(closing.record)).body
        assert isinstance(close, BatchClose)
        return (opened if opened is not None else min(close.first_seq, closing.seq)), closing.seq
    first = opened if opened is not None else seen
    return first, _before_next(batch, kid, first)


def _before_next(batch: Batch, kid: bytes, first: int) -> int | None:
    later = Batch.objects.filter(key=batch.key, order_number__gt=batch.order_number).values_list("batch", flat=True)
    opens = LedgerRecord.objects.filter(kid=kid, type=RecordType.BATCH_OPEN, batch__in=list(later), seq__gt=first)
    following = opens.aggregate(seq=Min("seq"))["seq"]
    return None if following is None else following - 1


def batch_ranges(kid: bytes) -> list[tuple[str, int, int | None]]:
    """(batch, first, last) of every batch of a stream of which something has arrived, by position."""
    found = []
    for batch in Batch.objects.select_related("key").filter(key__kid=kid):
        covered = range_of(batch)
        if covered is not None:
            found.append((batch.batch, *covered))
    return sorted(found, key=lambda row: row[1])


def records_of(batch: Batch) -> QuerySet[LedgerRecord]:
    """The batch's ledger records in stream order; variants of one position in order of arrival."""
    covered = range_of(batch)
    if covered is None:
        return LedgerRecord.objects.none()
    first, last = covered
    rows = LedgerRecord.objects.filter(kid=batch.key.kid, seq__gte=first)
    return (rows if last is None else rows.filter(seq__lte=last)).order_by("seq", "id")


def entries_of(batch: Batch) -> Iterator[LedgerEntry]:
    """The records in the batch's range, then those elsewhere that name it, as the fold takes them."""
    yield from _entries(records_of(batch))
    yield from _entries(_elsewhere(batch))


def count_entries(batch: Batch) -> int:
    """How many records entries_of gives."""
    return records_of(batch).count() + _elsewhere(batch).count()


def _elsewhere(batch: Batch) -> QuerySet[LedgerRecord]:
    """Records outside of the batch's range, or of other streams, that name it."""
    covered, elsewhere = range_of(batch), LedgerRecord.objects.filter(batch=batch.batch)
    if covered is None:
        return elsewhere
    first, last = covered
    return elsewhere.exclude(Q(kid=batch.key.kid, seq__gte=first) & (Q() if last is None else Q(seq__lte=last)))


def entries_at(kid: bytes, positions: Iterable[int]) -> Iterator[LedgerEntry]:
    """What the ledger holds at some positions of a stream."""
    yield from _entries(LedgerRecord.objects.filter(kid=kid, seq__in=list(positions)))


def _entries(rows: QuerySet[LedgerRecord]) -> Iterator[LedgerEntry]:
    keys: dict[bytes, UnitKey] = {}
    for row in rows.iterator(chunk_size=1000):
        kid = bytes(row.kid)
        if kid not in keys:
            keys[kid] = UnitKey.objects.get(kid=kid)
        yield _entry(row, keys[kid])


def _entry(row: LedgerRecord, key: UnitKey) -> LedgerEntry:
    return LedgerEntry(
        record=decode_record(bytes(row.record)),
        arrival_ms=row.arrival_ms,
        received_ms=row.received_ms,
        gateway=row.gateway,
        key_valid=row.key_valid and key.valid_at(row.seq),
    )


def refused_copies(batch: Batch, covered: Range | None) -> QuerySet[Quarantine]:
    """Refused copies that claim the batch by name, or a position of its range."""
    claims = Q(batch=batch.batch)
    if covered is not None:
        first, last = covered
        upper = Q() if last is None else Q(seq__lte=last)
        claims |= Q(kid=batch.key.kid, seq__gte=first) & upper
    return Quarantine.objects.filter(claims).order_by("id")


def stream_faults(kid: bytes) -> StreamFaults:
    """Where the stream forks, and where the receiptable prefix ends although the next record is held (SPEC W40)."""
    return faults_of(StreamHead.objects.filter(kid=kid).first(), Gap.objects.filter(kid=kid, filled_ms=None))


def faults_of(head: StreamHead | None, open_gaps: Iterable[Gap]) -> StreamFaults:
    """The same for a stream whose head and open gaps are at hand."""
    if head is None:
        return StreamFaults()
    following = head.archived_thru + 1
    broken = following <= head.highest_seq and not any(gap.first <= following <= gap.last for gap in open_gaps)
    return StreamFaults(head.forked_at, following if broken else None)


def filled_gaps(batch: Batch, covered: Range) -> Iterator[GapHistory]:
    """Holes of the batch's range that were seen and later filled."""
    first, last = covered
    rows = Gap.objects.filter(kid=batch.key.kid, last__gte=first).exclude(filled_ms=None).order_by("first", "id")
    for gap in rows if last is None else rows.filter(first__lte=last):
        assert gap.filled_ms is not None
        yield GapHistory(gap.first, gap.last, gap.found_ms, gap.filled_ms)
