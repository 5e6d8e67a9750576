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
from collections.abc import Callable, Iterable

from cloud.domain.findings import Findings, Snapshot
from cloud.domain.materials import Materials
from cloud.domain.plan import BatchPlan, GapHistory, LedgerEntry, RefusedCopy, SerialUse
from cloud.domain.procedure import Procedure, moment_of
from cloud.domain.report import (
    AUTHENTIC,
    COMPLETE,
    CONFORMING,
    Interruption,
    Report,
    by_urgency,
)
from cloud.domain.sensors import Sensors
from cloud.domain.times import UnitTimes
from cloud.domain.transport import MISSED_HEARTBEATS, Transport, note_holes, note_refused
from cloud.domain.words import duration, records, utc
from wire import (
    Alarm,
    AlarmState,
    BatchClose,
    BatchOpen,
    Channels,
    Comment,
    Loss,
    Outcome,
    Quantity,
    Record,
    RecordType,
    Samples,
    Scan,
    Step,
)

Copies = tuple[LedgerEntry, ...]


class BatchRun(Snapshot):
    """The state after some records of the batch, taken in stream order."""

    def __init__(self, plan: BatchPlan, first_seq: int, definition: Callable[[int], Channels | None]) -> None:
        self._plan = plan
        self.first_seq = first_seq
        self.last_seq = first_seq - 1  # highest position taken or passed as a hole
        self.held_last: int | None = None
        self.holes: list[tuple[int, int]] = []
        self.opened: Record | None = None
        self.closed: Record | None = None
        self.outcome: Outcome | None = None
        self.cut_short = False  # another batch was opened before this one was closed
        self.lost_track = False  # the stream went on to another batch, and the close may lie in a hole
        self.reach = first_seq - 1  # highest position looked at
        self._named_since_hole = True
        self.last_received_ms: int | None = None
        self.findings = Findings(plan)
        self.times = UnitTimes(plan.recipe.clock_uncertainty_ms)
        self.transport = Transport(plan)
        self.procedure = Procedure(plan)
        self.materials = Materials(plan)
        self.sensors = Sensors(plan, definition)
        self._alarms: dict[str, tuple[int, str]] = {}  # code: where raised, its text
        self._strangers: list[tuple[int, int, str]] = []  # records inside that name another batch

    @property
    def ended(self) -> bool:
        return self.closed is not None or self.cut_short or self.lost_track

    def take(self, copies: Copies) -> None:
        """The next held position; a jump in seq is a hole."""
        record = copies[0].record
        self.reach = record.seq
        if record.seq > self.last_seq + 1:
            self.holes.append((self.last_seq + 1, record.seq - 1))
            self._named_since_hole = False
            self.transport.hole()
            self.last_seq = record.seq - 1
        if self._is_beyond(record):
            return
        self.last_seq = self.held_last = record.seq
        received_ms = max(held.received_ms for held in copies)
        self.last_received_ms = max(received_ms, self.last_received_ms or received_ms)
        self.times.take(record, self.findings)
        self.transport.take(copies, self.findings)
        if self.findings.check("record_outside_batch", record.batch in (None, self._plan.batch)):
            self._dispatch(copies[0])
        else:
            self._add_stranger(record)

    def _is_beyond(self, record: Record) -> bool:
        """Whether the stream has gone on to another batch."""
        if record.batch in (None, self._plan.batch):
            self._named_since_hole |= record.batch is not None
            return False
        if not self._named_since_hole:
            self.lost_track = True
        elif record.type is RecordType.BATCH_OPEN:
            self.cut_short = True
            message = f"The unit opened batch {record.batch} at record {record.seq} without closing this one."
            self.findings.check("aborted_run", False)
            self.findings.note("aborted_run", message, record.seq)
        return self.ended

    def _dispatch(self, entry: LedgerEntry) -> None:
        record, body, findings = entry.record, entry.record.body, self.findings
        if isinstance(body, Samples):
            self.sensors.samples(record, body, findings)
        elif isinstance(body, Scan):
            self.materials.scan(entry, body, self.procedure, findings)
        elif isinstance(body, Step):
            self.procedure.take(record, body, self.times, findings)
            self.sensors.steps(moment_of(record), record.seq, self.procedure.active_steps())
        elif isinstance(body, Quantity):
            self.materials.quantity(record.seq, body, findings)
        elif isinstance(body, BatchOpen):
            self._open(record, body)
        elif isinstance(body, BatchClose):
            self._close(entry, body)
        elif isinstance(body, Alarm):
            self._alarm(record.seq, body)
        elif isinstance(body, Comment):
            findings.check("operator_comment", False)
            findings.note("operator_comment", f'{record.operator or "Somebody"} noted: "{body.text}"', record.seq)
        elif isinstance(body, Loss):
            findings.check("record_lost", False)
            text = f" ({body.text})" if body.text else ""
            message = f"The unit could not record {body.count} times: {body.what}{text}."
            findings.note("record_lost", message, record.seq)

    def _open(self, record: Record, body: BatchOpen) -> None:
        findings, plan, recipe = self.findings, self._plan, self._plan.recipe
        if self.opened is not None:
            message = f"The batch was opened a second time by record {record.seq}."
            findings.note("recipe_version_mismatch", message, self.opened.seq, record.seq)
            return
        self.opened = record
        self.sensors.steps(moment_of(record), record.seq, ())
        same = (body.recipe, body.version, body.recipe_digest) == (recipe.recipe, recipe.version, recipe.digest)
        if not findings.check("recipe_version_mismatch", same):
            told = f"{body.recipe} version {body.version} (digest {body.recipe_digest.hex()[:8]})"
            wanted = (
                f"{recipe.recipe} version {recipe.version} (digest {recipe.digest.hex()[:8]})"
                if recipe.recipe
                else "none"
            )
            message = f"The unit opened the batch with recipe {told}; the recipe on record for it is {wanted}."
            findings.note("recipe_version_mismatch", message, record.seq)
        if plan.order_digest is not None and not findings.check(
            "recipe_version_mismatch", body.order_digest == plan.order_digest
        ):
            findings.note(
                "recipe_version_mismatch",
                "The unit followed another order than the one signed for this batch.",
                record.seq,
            )

    def _close(self, entry: LedgerEntry, body: BatchClose) -> None:
        record = entry.record
        self.closed, self.outcome = record, body.outcome
        self.transport.close(self.first_seq, entry, body, not self.holes, self.findings)
        self.sensors.finish(moment_of(record), record.seq)
        if not self.findings.check("aborted_run", body.outcome is Outcome.COMPLETED):
            who = record.operator or "somebody not signed in"
            message = f"The batch was aborted by {who} at {utc(record.time_ms)}."
            self.findings.note("aborted_run", message, record.seq)

    def _alarm(self, seq: int, body: Alarm) -> None:
        if body.state is AlarmState.RAISED:
            self.findings.check("alarm_unacknowledged", True)
            self._alarms.setdefault(body.code, (seq, body.text or ""))
        elif body.state is AlarmState.ACKNOWLEDGED:
            self._alarms.pop(body.code, None)

    def _add_stranger(self, record: Record) -> None:
        batch = record.batch or ""
        last = self._strangers[-1] if self._strangers else None
        if last and last[1:] == (record.seq - 1, batch):
            self._strangers[-1] = (last[0], record.seq, batch)
        else:
            self._strangers.append((record.seq, record.seq, batch))

    def note_loose_ends(self, findings: Findings) -> None:
        """Alarms nobody acknowledged, records of another batch, a batch that was never opened."""
        for code, (seq, text) in sorted(self._alarms.items(), key=lambda alarm: alarm[1]):
            if self.ended:
                findings.check("alarm_unacknowledged", False)
                findings.note(
                    "alarm_unacknowledged", f"Nobody acknowledged alarm {code}{f' ({text})' if text else ''}.", seq
                )
        for first, last, batch in self._strangers:
            message = f"{records(first, last).capitalize()} lie inside this batch but name batch {batch}."
            findings.note("record_outside_batch", message, first, last)
        if self.opened is None and (not self.holes or self.holes[0][0] > self.first_seq):
            message = f"The batch was never opened: record {self.first_seq} names it without a batch open before."
            findings.note("recipe_version_mismatch", message, self.first_seq)


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
        self, now_ms: int, *, known_serials: Iterable[SerialUse] = (), gaps: Iterable[GapHistory] = ()
    ) -> Report:
        """The report at now_ms (only a running batch depends on it). known_serials: of other batches; gaps: seen and
        filled before.
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
        quantities = run.materials.conclude(known_serials, closed_at, provisional, findings)
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
            state=_state(run),
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


def _state(run: BatchRun) -> str:
    if run.cut_short or run.outcome is Outcome.ABORTED:
        return "aborted"
    return "closed" if run.closed else "running"


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
