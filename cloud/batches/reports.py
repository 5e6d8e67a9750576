"""Keeps one report per batch in step with the ledger: feeds folds, asks them for reports, stores what changed.

Decides nothing about a batch: cloud/domain does. Folds live in memory and are made again from the ledger whenever their
range, their key or this process changed; a stored report is therefore only a copy that may be thrown away.
"""

import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import structlog
from django.db import DatabaseError, transaction
from django.db.models import Exists, OuterRef

from cloud.batches import models
from cloud.batches.models import Batch, BatchReport
from cloud.batches.records import (
    Range,
    count_entries,
    entries_at,
    entries_of,
    filled_gaps,
    range_of,
    refused_copies,
    stream_faults,
)
from cloud.domain.fold import BatchFold
from cloud.domain.plan import BatchPlan, LedgerEntry, RefusedCopy, SerialUse, StreamFaults
from cloud.domain.recipe_file import parse_recipe
from cloud.domain.report import RULES_VERSION, Report
from cloud.ingest.commit import Arrived, Committed, Refused
from cloud.ledger.models import LedgerRecord, UnitKey
from wire import Clock, Record, RecordType, peek_order

MEMORY_BATCHES = 64  # folds kept; an older one is made again from the ledger when it is needed
BUSY_PAUSE_S = 2.0  # while messages wait, reports are made at most this often
DEADLINE_S = 10.0  # deadlines of running batches are looked at this often
FINAL_STATES = ("closed", "aborted")

MadeFrom = dict[str, object]
Ranges = dict[int, tuple[str, Range | None]]  # the batches of a stream: name and range by primary key

log = structlog.get_logger("cloud.reports")


def plan_of(batch: Batch) -> BatchPlan:
    """The batch as ordered, from the recipe's and the order's own bytes."""
    order = peek_order(bytes(batch.order))
    return BatchPlan(
        batch=batch.batch,
        unit=batch.unit.name,
        kid=bytes(batch.key.kid),
        recipe=parse_recipe(bytes(batch.recipe.toml)),
        order_digest=bytes(batch.order_digest),
        exact={item.item: item.exact for item in order.items if item.exact is not None},
        utc_offset_min=batch.unit.gateway.site.utc_offset_min or 0,
    )


def report_of(batch: Batch, clock: Clock) -> Report:
    """The stored report, or one made now when there is none or the rules have changed since."""
    stored = BatchReport.objects.filter(batch=batch).first()
    if stored is not None and stored.report.get("rules_version") == RULES_VERSION:
        return Report.from_json(stored.report)
    return _Followed(batch, range_of(batch)).report(clock.now_ms())


class _Followed:
    """A batch with its fold. covered: the range that the fold was made for."""

    def __init__(self, batch: Batch, covered: Range | None) -> None:
        self.batch = batch
        self.covered = covered
        self.kid = bytes(batch.key.kid)
        self._folded = 0
        self._made_from: MadeFrom = {}
        self._highest = covered[0] if covered is not None else 0
        self.changed = True
        self.state = ""
        self.final = False
        self._stored: tuple[dict[str, object], MadeFrom] | None = None
        self._fold = BatchFold(plan_of(batch))
        for entry in entries_of(batch):
            self.add(entry)
        for row in refused_copies(batch, covered):
            self.refuse(
                RefusedCopy(
                    bytes(row.digest),
                    row.reason,
                    bytes(row.kid) if row.kid is not None else None,
                    row.seq,
                    row.batch,
                    row.received_ms,
                )
            )

    def grows_into(self, covered: Range) -> bool:
        """Take covered as the new range when everything folded so far lies in it; else the fold is of no use."""
        if self.covered is None or self.covered[0] != covered[0]:
            return False
        if covered[1] != self.covered[1] and (self.covered[1] is not None or not _within(covered, self._highest)):
            return False
        self.covered = covered
        return True

    def add(self, entry: LedgerEntry) -> None:
        """A record of the batch's range, one that names the batch, or a channels record from before it."""
        self._fold.add(entry)
        record = entry.record
        if record.kid == self.kid and self.covered is not None and _within(self.covered, record.seq):
            self._highest = max(self._highest, record.seq)
            self._folded += 1
        elif record.batch == self.batch.batch:
            self._folded += 1
        self.changed = True

    def refuse(self, copy: RefusedCopy) -> None:
        self._fold.refused(copy)
        if copy.kid == self.kid and copy.seq is not None and copy.batch != self.batch.batch:
            self._highest = max(self._highest, copy.seq)  # it belongs here only while the range reaches so far
        self._folded += 1
        self.changed = True

    def report(self, now_ms: int) -> Report:
        """The report, with the channels records from before the batch and the serials of other batches it turned to."""
        gaps = tuple(filled_gaps(self.batch, self.covered)) if self.covered is not None else ()
        faults = stream_faults(self.kid)
        report = self._fold.report(now_ms, gaps=gaps, faults=faults)
        if self._fold.missing_channels:
            definitions = list(entries_at(self.kid, self._fold.missing_channels))
            for entry in definitions:
                self._fold.add(entry)
            report = self._fold.report(now_ms, gaps=gaps, faults=faults) if definitions else report
        known = self._serials_elsewhere()
        channels = sorted(self._fold.channels_at)
        self._made_from = _made_from(self.kid, self._folded, channels, len(known), faults)
        return self._fold.report(now_ms, gaps=gaps, known_serials=known, faults=faults) if known else report

    def _serials_elsewhere(self) -> list[SerialUse]:
        own = [use.serial for use in self._fold.serials()]
        used = {(use.article, use.serial) for use in self._fold.serials()}
        rows = models.SerialUse.objects.filter(serial__in=own).exclude(batch=self.batch).select_related("batch")
        return [
            SerialUse(row.article, row.serial, row.batch.batch) for row in rows if (row.article, row.serial) in used
        ]

    def store(self, now_ms: int) -> set[int]:
        """Make the report and keep it when it says something new. Returns the other batches that it concerns: those
        in which a serial is used that is new here.
        """
        report = self.report(now_ms)
        self.changed = False
        self.state = report.state
        self.final = report.state in FINAL_STATES and report.complete
        plain = report.to_json()
        if (plain, self._made_from) == self._stored:
            return set()
        critical, major, minor = report.attention
        with transaction.atomic():  # a report without its serials would pass for one that is in step
            BatchReport.objects.update_or_create(
                batch=self.batch,
                defaults={
                    "report": plain,
                    "state": report.state,
                    "complete": report.complete,
                    "conforming": report.conforming,
                    "authentic": report.authentic,
                    "needs_attention": critical + major,
                    "open_critical": critical,
                    "open_major": major,
                    "open_minor": minor,
                    "refused_copies": report.refused_copies,
                    "last_contact_ms": report.last_contact_ms,
                    "made_from": self._made_from,
                    "updated_ms": now_ms,
                },
            )
            concerned = self._keep_serials()
        self._stored = plain, self._made_from
        return concerned

    def _keep_serials(self) -> set[int]:
        """Grows only: a serial once accepted stays used, whatever is found out about its batch later."""
        known = set(models.SerialUse.objects.filter(batch=self.batch).values_list("article", "serial"))
        new = {(use.article, use.serial) for use in self._fold.serials()} - known
        if not new:
            return set()
        models.SerialUse.objects.bulk_create(
            [models.SerialUse(batch=self.batch, article=article, serial=serial) for article, serial in sorted(new)]
        )
        rows = models.SerialUse.objects.filter(serial__in=[serial for _, serial in new]).exclude(batch=self.batch)
        return {row.batch_id for row in rows if (row.article, row.serial) in new}


class Reconciler:
    """Routes what was committed to the folds of its batches. Lives in the ingest worker's thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._followed: OrderedDict[int, _Followed] = OrderedDict()
        self._streams: dict[bytes, Ranges] = {}
        self._faults: dict[bytes, StreamFaults] = {}
        self._revoked: dict[bytes, int | None] = {}
        self._newest_batch = 0
        self._evaluated_s = self._deadlines_s = float("-inf")

    def follow(self, committed: Committed) -> None:
        """Feed new records and refused copies to the folds of the batches they belong to."""
        by_kid: dict[bytes, list[Arrived]] = {}
        for arrived in committed.arrived:
            by_kid.setdefault(arrived.record.kid, []).append(arrived)
        for kid, records in by_kid.items():
            stream = self._stream(kid, fresh=self._moves_a_range(kid, records))
            for batch_id, (name, covered) in stream.items():
                self._feed(batch_id, name, covered, records)
            self._feed_abroad(kid, records)
            self._notice_faults(kid)
        for refused in committed.refused:
            self._refuse(refused)

    def evaluate(self, busy: bool) -> None:
        """Store the reports that changed; look at deadlines from time to time. busy: messages are waiting."""
        now_s = time.monotonic()
        if busy and now_s - self._evaluated_s < BUSY_PAUSE_S:
            return
        self._evaluated_s = now_s
        self._take_up_new_batches()
        self._notice_revocations()
        deadlines = now_s - self._deadlines_s >= DEADLINE_S
        self._deadlines_s = now_s if deadlines else self._deadlines_s
        concerned: set[int] = set()
        for batch_id, followed in list(self._followed.items()):
            if followed.changed or (deadlines and not followed.final):
                concerned |= self._store(batch_id, followed)
        for batch_id in sorted(concerned):
            self._look_again(batch_id)
        for batch_id in [key for key, followed in self._followed.items() if followed.final][:-MEMORY_BATCHES]:
            del self._followed[batch_id]

    def running_streams(self) -> set[bytes]:
        """kids of the streams that are in the middle of a batch."""
        return {followed.kid for followed in self._followed.values() if followed.state == "running"}

    def _moves_a_range(self, kid: bytes, records: Iterable[Arrived]) -> bool:
        if kid not in self._streams:
            return True
        known = {name for name, covered in self._streams[kid].values() if covered is not None}
        bounds = (RecordType.BATCH_OPEN, RecordType.BATCH_CLOSE)
        return any(
            arrived.record.type in bounds or (arrived.record.batch is not None and arrived.record.batch not in known)
            for arrived in records
        )

    def _stream(self, kid: bytes, fresh: bool) -> Ranges:
        if fresh or kid not in self._streams:
            batches = Batch.objects.select_related("key").filter(key__kid=kid)
            self._streams[kid] = {batch.pk: (batch.batch, range_of(batch)) for batch in batches}
        return self._streams[kid]

    def _feed(self, batch_id: int, name: str, covered: Range | None, records: Iterable[Arrived]) -> None:
        if covered is None:
            return
        within = [arrived for arrived in records if _concerns(arrived.record, name, covered)]
        followed = self._followed.get(batch_id)
        if followed is None or not followed.grows_into(covered):
            if within or followed is not None:
                self._follow(batch_id, covered)  # from the ledger, which holds these records already
            return
        with self._guarded(batch_id):
            for arrived in within:
                followed.add(_entry(arrived))

    def _feed_abroad(self, kid: bytes, records: Iterable[Arrived]) -> None:
        """Records that name a batch which was ordered from another unit."""
        own = {name for name, _ in self._streams[kid].values()}
        for arrived in records:
            name = arrived.record.batch
            if name is None or name in own:
                continue
            batch = Batch.objects.filter(batch=name).first()
            if batch is not None and batch.pk in self._followed:
                with self._guarded(batch.pk):
                    self._followed[batch.pk].add(_entry(arrived))
            elif batch is not None:
                self._follow(batch.pk, range_of(batch))

    def _follow(self, batch_id: int, covered: Range | None) -> None:
        with self._guarded(batch_id):
            batch = Batch.objects.select_related("unit", "key", "recipe").get(pk=batch_id)
            self._followed[batch_id] = _Followed(batch, covered)
            self._followed.move_to_end(batch_id)

    @contextmanager
    def _guarded(self, batch_id: int) -> Iterator[None]:
        """A fault in the rules costs this batch its report until the next record, and nothing else."""
        try:
            yield
        except DatabaseError:
            raise
        except Exception:
            log.exception("report_failed", batch_id=batch_id)
            self._followed.pop(batch_id, None)

    def _refuse(self, refused: Refused) -> None:
        claim = refused.claim
        copy = RefusedCopy(refused.digest, refused.reason, claim.kid, claim.seq, claim.batch, refused.received_ms)
        if claim.kid is not None and UnitKey.objects.filter(kid=claim.kid).exists():
            self._stream(claim.kid, fresh=False)
        named = Batch.objects.filter(batch=claim.batch).values_list("pk", flat=True) if claim.batch else ()
        stream = self._streams.get(claim.kid) if claim.kid is not None else None
        held = stream.items() if stream is not None and claim.seq is not None else ()
        reached = {
            key for key, (_, covered) in held if covered and claim.seq is not None and _within(covered, claim.seq)
        }
        for batch_id in reached | set(named):
            followed = self._followed.get(batch_id)
            if followed is None:
                batch = Batch.objects.select_related("key").get(pk=batch_id)
                self._follow(batch_id, range_of(batch))
            else:
                with self._guarded(batch_id):
                    followed.refuse(copy)

    def _take_up_new_batches(self) -> None:
        """Batches ordered since the last look; at the first look, all whose stored report is not the last word."""
        rows = Batch.objects.select_related("key", "report").filter(pk__gt=self._newest_batch).order_by("pk")
        for batch in rows:
            self._newest_batch = batch.pk
            self._streams.pop(bytes(batch.key.kid), None)
            covered = range_of(batch)
            if not _is_current(batch, covered):
                self._follow(batch.pk, covered)

    def _notice_revocations(self) -> None:
        now = {bytes(kid): seq for kid, seq in UnitKey.objects.values_list("kid", "revoked_from_seq")}
        changed = {kid for kid in now if kid in self._revoked and self._revoked[kid] != now[kid]}
        self._revoked = now
        for kid in changed:
            for batch_id, (_, covered) in self._stream(kid, fresh=True).items():
                self._follow(batch_id, covered)

    def _notice_faults(self, kid: bytes) -> None:
        """When a stream forks or its chain turns out to be broken, look again at the batches from there on."""
        before, now = self._faults.get(kid, StreamFaults()), stream_faults(kid)
        self._faults[kid] = now
        if now == before:
            return
        places = (before.forked_at, before.broken_at, now.forked_at, now.broken_at)
        first_fault = min(place for place in places if place is not None)
        for batch_id, (_, covered) in self._stream(kid, fresh=False).items():
            if covered is None or covered[0] < first_fault:
                continue
            if batch_id in self._followed:
                self._followed[batch_id].changed = True
            else:
                self._follow(batch_id, covered)

    def _look_again(self, batch_id: int) -> None:
        """Another batch turned out to concern this one."""
        if batch_id not in self._followed:
            batch = Batch.objects.select_related("key").get(pk=batch_id)
            self._follow(batch_id, range_of(batch))
        followed = self._followed.get(batch_id)
        if followed is not None:
            self._store(batch_id, followed)

    def _store(self, batch_id: int, followed: _Followed) -> set[int]:
        with self._guarded(batch_id):
            return followed.store(self._clock.now_ms())
        return set()


def _within(covered: Range, seq: int) -> bool:
    first, last = covered
    return first <= seq and (last is None or seq <= last)


def _concerns(record: Record, name: str, covered: Range) -> bool:
    """Whether a batch of the record's stream must know of it. A channels record may define the samples of a later
    batch: one that comes late is given to all of these.
    """
    earlier_channels = record.type is RecordType.CHANNELS and record.seq < covered[0]
    return _within(covered, record.seq) or record.batch == name or earlier_channels


def _made_from(kid: bytes, records: int, channels: list[int], serials: int, faults: StreamFaults) -> MadeFrom:
    """What a report rests on, as numbers that grow with it. records: with refused copies; channels: positions asked
    for; serials: uses in other batches of those used here.
    """
    held = LedgerRecord.objects.filter(kid=kid, seq__in=channels).count()
    return {"records": records, "channels": channels, "channels_held": held, "serials": serials, **vars(faults)}


def _entry(arrived: Arrived) -> LedgerEntry:
    return LedgerEntry(
        arrived.record, arrived.arrival_ms, arrived.received_ms, arrived.gateway, key_valid=arrived.key_valid
    )


def _is_current(batch: Batch, covered: Range | None) -> bool:
    """Whether the stored report is final and was made from everything that is there now."""
    stored: BatchReport | None = getattr(batch, "report", None)
    if stored is None or stored.state not in FINAL_STATES or not stored.complete:
        return False
    if stored.report.get("rules_version") != RULES_VERSION:
        return False
    if batch.key.revoked_ms is not None and batch.key.revoked_ms >= stored.updated_ms:
        return False
    kid, channels = bytes(batch.key.kid), stored.made_from.get("channels", [])
    records = count_entries(batch) + refused_copies(batch, covered).count()
    own = models.SerialUse.objects.filter(batch=batch, article=OuterRef("article"), serial=OuterRef("serial"))
    serials = models.SerialUse.objects.exclude(batch=batch).filter(Exists(own)).count()
    return bool(stored.made_from == _made_from(kid, records, channels, serials, stream_faults(kid)))
