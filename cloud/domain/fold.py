"""Reconciles the records of one batch into a report: a pure, incremental fold (DESIGN section 6, R66 to R71).

Decides where the batch lies in its stream, which positions are missing, and hands every record in stream order to the
rule modules. Never asks a clock or a store. The same entries, refusals and plan give the same report whatever the order
in which they were added, once or many times (R70). A new record costs the same however long the batch is: records
before the first hole are settled once; those behind a hole are folded into a copy that is thrown away when the hole is
filled. The batch's entries stay in memory.

A batch is the range of its stream from its batch_open to its batch_close (DECISIONS 8). A position that is held twice
is folded with the copy of the lowest digest, and spoils *authentic*.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable

from cloud.domain.findings import Findings
from cloud.domain.plan import BatchPlan, GapHistory, LedgerEntry, RefusedCopy, SerialUse, StreamFaults
from cloud.domain.procedure import Procedure, moment_of
from cloud.domain.report import AUTHENTIC, COMPLETE, CONFORMING, Interruption, Report, by_urgency
from cloud.domain.run import BatchRun, Copies
from cloud.domain.times import UnitTimes
from cloud.domain.transport import MISSED_HEARTBEATS, note_holes, note_refused, note_stream_faults
from cloud.domain.words import duration, records, utc
from wire import BatchClose, BatchOpen, Channels, Outcome, Record, RecordType

NO_FAULTS = StreamFaults()


class BatchFold:
    """Collects what the cloud knows of one batch and reports on it.

    Feed every entry of the ordered stream from the batch_open on, until `finished`, and any entry of any stream that
    names the batch; entries of other batches on the stream do no harm. Feed also the channels records named by
    `missing_channels`.
    """

    def __init__(self, plan: BatchPlan) -> None:
        self.plan = plan
        self._held: dict[int, Copies] = {}  # by position, copies by digest
        self._seqs: list[int] = []  # sorted
        self._abroad: dict[tuple[bytes, int], Record] = {}  # other streams' records that name the batch
        self._refused: set[RefusedCopy] = set()
        self._opens: set[int] = set()
        self._named: list[int] = []  # sorted positions that name the batch
        self._close_firsts: dict[int, int] = {}
        self._defining: set[int] = set()  # positions that samples named as their channels record
        self._settled: BatchRun | None = None
        self._ahead: BatchRun | None = None  # settled and what lies behind its hole

    @property
    def missing_channels(self) -> frozenset[int]:
        """Positions of channels records that samples refer to and that were not added. Complete after a report."""
        return frozenset(self._defining - self._held.keys())

    @property
    def channels_at(self) -> frozenset[int]:
        """Positions that samples named as their channels record, held or not. Complete after a report."""
        return frozenset(self._defining)

    @property
    def finished(self) -> bool:
        """Whether the batch is closed and every position up to the close is held. As of the last report."""
        return self._settled is not None and self._settled.ended

    def add(self, entry: LedgerEntry) -> None:
        """An authentic record from the ledger, in any order, any number of times."""
        record = entry.record
        if record.kid != self.plan.kid:
            if record.batch == self.plan.batch:
                key = (record.kid, record.seq)
                self._abroad[key] = min(record, self._abroad.get(key, record), key=lambda held: held.digest)
            return
        copies = {held.record.digest: held for held in self._held.get(record.seq, ())}
        known = copies.get(record.digest)
        copies[record.digest] = entry if known is None else min(known, entry, key=_arrival)
        ordered = tuple(copies[digest] for digest in sorted(copies))
        if self._held.get(record.seq) == ordered:
            return
        self._file(record)
        self._held[record.seq] = ordered
        self._unsettle(record.seq)

    def refused(self, copy: RefusedCopy) -> None:
        """Bytes in quarantine that name this batch, or a position of its stream."""
        self._refused.add(copy)

    def serials(self) -> tuple[SerialUse, ...]:
        """Single-use serial numbers accepted in this batch, for the reports of the others. As of the last report."""
        run = self._ahead or self._settled
        return run.materials.serials() if run else ()

    def report(
        self,
        now_ms: int,
        *,
        known_serials: Iterable[SerialUse] = (),
        gaps: Iterable[GapHistory] = (),
        faults: StreamFaults = NO_FAULTS,
    ) -> Report:
        """The report at now_ms (only a running batch depends on it). known_serials: of other batches; gaps: seen and
        filled before; faults: of the stream as a whole.
        """
        run = self._catch_up()
        findings = Findings(self.plan) if run is None else run.findings.copy()
        holes = () if run is None else tuple(run.holes)
        note_holes(holes, gaps, findings)
        whole = run is not None and run.closed is not None and not holes
        note_refused(self._refused, self.plan, self._held.__contains__, whole, findings)
        self._note_outside(run, findings)
        if run is None:
            return self._waiting(findings)
        note_stream_faults(faults, run.first_seq, findings)
        return self._reconciled(run, now_ms, known_serials, findings)

    def _file(self, record: Record) -> None:
        """Remember what a new copy says of where the batch lies."""
        if record.seq not in self._held:
            insort(self._seqs, record.seq)
        if record.seq in self._defining:
            self._settled = self._ahead = None
        if record.batch != self.plan.batch:
            return
        place = bisect_right(self._named, record.seq)
        if not place or self._named[place - 1] != record.seq:
            self._named.insert(place, record.seq)
        if isinstance(record.body, BatchOpen):
            self._opens.add(record.seq)
        elif isinstance(record.body, BatchClose):
            known = self._close_firsts.get(record.seq, record.body.first_seq)
            self._close_firsts[record.seq] = min(known, record.body.first_seq)

    def _unsettle(self, seq: int) -> None:
        """Throw away what was folded beyond a position that changed."""
        settled, ahead = self._settled, self._ahead
        if settled is not None and (settled.first_seq != self._start() or settled.first_seq <= seq <= settled.reach):
            self._settled = self._ahead = None
        elif ahead is not None and ahead.first_seq <= seq <= ahead.reach:
            self._ahead = None

    def _start(self) -> int | None:
        """Where the batch begins: its first batch_open, else what its close says, else just before the first record
        that names it.
        """
        if not self._named:
            return None
        if self._opens:
            return min(self._opens)
        first_named = self._named[0]
        told = [first for first in self._close_firsts.values() if first <= first_named]
        if told:
            return min(told)
        return first_named if first_named - 1 in self._held or first_named == 0 else first_named - 1

    def _catch_up(self) -> BatchRun | None:
        """Fold what was added since the last report."""
        start = self._start()
        if start is None:
            return None
        if self._settled is None:
            self._settled = BatchRun(self.plan, start, self._definition)
        settled = self._settled
        while not settled.ended and (copies := self._held.get(settled.last_seq + 1)):
            settled.take(copies)
        if settled.ended or self._seqs[-1] <= settled.last_seq:
            return settled
        if self._ahead is None:
            self._ahead = settled.copy()
        for seq in self._seqs[bisect_right(self._seqs, self._ahead.last_seq) :]:
            if self._ahead.ended:
                break
            self._ahead.take(self._held[seq])
        return self._ahead

    def _definition(self, seq: int) -> Channels | None:
        self._defining.add(seq)
        copies = self._held.get(seq)
        body = copies[0].record.body if copies else None
        return body if isinstance(body, Channels) else None

    def _note_outside(self, run: BatchRun | None, findings: Findings) -> None:
        """Records that name the batch before its open, after its close, or on another unit's stream."""
        if run is not None:
            outside = [seq for seq in self._named if seq < run.first_seq or (run.ended and seq > run.last_seq)]
            for first, last in _neighbours(outside):
                findings.check("record_outside_batch", False)
                side = "before it was opened" if first < run.first_seq else "after it was closed"
                verb = "names" if first == last else "name"
                message = f"{records(first, last).capitalize()} {verb} this batch {side}."
                findings.note("record_outside_batch", message, first, last)
        for kid in sorted({kid for kid, _ in self._abroad}):
            seqs = sorted(seq for other, seq in self._abroad if other == kid)
            findings.check("unit_not_authorised", False)
            message = (
                f"Another unit's stream ({kid.hex()}) names this batch in {len(seqs)} records; the order was for"
                f" {self.plan.unit}."
            )
            evidence = tuple(f"{kid.hex()}/{seq}" for seq in dict.fromkeys((seqs[0], seqs[-1])))
            findings.note("unit_not_authorised", message, evidence=evidence)

    def _waiting(self, findings: Findings) -> Report:
        plan = self.plan
        return Report(
            plan.batch,
            plan.recipe.recipe,
            plan.recipe.version,
            plan.recipe.digest.hex(),
            plan.unit,
            plan.kid.hex(),
            state="waiting",
            complete=False,
            conforming=False,
            authentic=False,
            first_seq=None,
            last_seq=None,
            records=0,
            opened_ms=None,
            closed_ms=None,
            last_contact_ms=None,
            holes=(),
            counts={},
            exceptions=by_urgency(findings.items),
            steps=Procedure(plan).facts(UnitTimes(0), findings),
            scans=(),
            quantities=(),
            channels=(),
            excursions=(),
            interruptions=(),
            custody=(),
            rules_checked=findings.rule_counts(),
        )

    def _reconciled(self, run: BatchRun, now_ms: int, known_serials: Iterable[SerialUse], findings: Findings) -> Report:
        plan, closed = self.plan, run.closed
        provisional = "; records of the batch are missing, so this may change" if run.holes else ""
        closed_at = closed.seq if closed else None
        run.times.conclude(findings)
        run.transport.conclude(findings)
        run.note_loose_ends(findings)
        run.procedure.conclude(run.outcome is Outcome.COMPLETED, closed_at, provisional, findings)
        run.materials.conclude(known_serials, findings)
        quantities = run.balance.conclude(closed_at, provisional, findings)
        excursions = run.sensors.conclude(run.times, provisional, findings)
        if not run.ended:
            _note_silence(run, now_ms, plan.recipe.heartbeat_ms, findings)
        exceptions = by_urgency(findings.items)
        spoiled = {item.verdict for item in exceptions if item.spoils}
        return Report(
            plan.batch,
            plan.recipe.recipe,
            plan.recipe.version,
            plan.recipe.digest.hex(),
            plan.unit,
            plan.kid.hex(),
            state=run.state,
            complete=closed is not None and not run.holes and COMPLETE not in spoiled,
            conforming=CONFORMING not in spoiled,
            authentic=AUTHENTIC not in spoiled,
            first_seq=run.first_seq,
            last_seq=run.held_last,
            records=sum(run.transport.counts.values()),
            opened_ms=run.times.wall_ms(moment_of(run.opened)) if run.opened else None,
            closed_ms=run.times.wall_ms(moment_of(closed)) if closed else None,
            last_contact_ms=run.last_received_ms,
            holes=tuple(run.holes),
            counts={RecordType(kind).name.lower(): count for kind, count in sorted(run.transport.counts.items())},
            exceptions=exceptions,
            steps=run.procedure.facts(run.times, findings),
            scans=run.materials.facts(run.times),
            quantities=quantities,
            channels=run.sensors.facts(findings),
            excursions=excursions,
            interruptions=self._interruptions(run),
            custody=run.transport.custody(),
            rules_checked=findings.rule_counts(),
        )

    def _interruptions(self, run: BatchRun) -> tuple[Interruption, ...]:
        def wall_ms(seq: int) -> int | None:
            copies = self._held.get(seq)
            return run.times.wall_ms(moment_of(copies[0].record)) if copies else None

        missing = [
            Interruption(
                "gap",
                first,
                last,
                wall_ms(first - 1),
                wall_ms(last + 1),
                f"{records(first, last).capitalize()} missing.",
            )
            for first, last in run.holes
        ]
        found = [*run.transport.interruptions, *run.transport.late_interruptions(wall_ms), *missing]
        return tuple(sorted(found, key=lambda one: (one.first, one.last, one.kind)))


def _note_silence(run: BatchRun, now_ms: int, heartbeat_ms: int, findings: Findings) -> None:
    """A running batch from which nothing came for three heartbeats: its tail is missing, wherever it is (R67)."""
    if run.last_received_ms is None or run.held_last is None:
        return
    silent_ms = now_ms - run.last_received_ms
    if not findings.check("communication_loss", silent_ms <= MISSED_HEARTBEATS * heartbeat_ms):
        message = (
            f"The batch is not closed and nothing was heard of it since {utc(run.last_received_ms)}, although a"
            " heartbeat is due every"
            f" {duration(heartbeat_ms)}; everything after record {run.held_last} is missing."
        )
        findings.note("communication_loss", message, run.held_last)


def _neighbours(seqs: Iterable[int]) -> list[tuple[int, int]]:
    """Sorted positions as runs (first, last)."""
    runs: list[tuple[int, int]] = []
    for seq in seqs:
        if runs and runs[-1][1] == seq - 1:
            runs[-1] = (runs[-1][0], seq)
        else:
            runs.append((seq, seq))
    return runs


def _arrival(entry: LedgerEntry) -> tuple[int, int, str, bool]:
    return entry.received_ms, entry.arrival_ms, entry.gateway, entry.key_valid
