"""The state of one batch after some of its records, taken in stream order: hands each record to the rules it concerns.

Decides where the batch ends, recipe_version_mismatch and record_outside_batch, alarm_unacknowledged, record_lost,
operator_comment and aborted_run (the batch); the rest is for the rule modules. Never sees a record before those in
front of it: that is fold.py's care.
"""

from __future__ import annotations

from collections.abc import Callable

from cloud.domain.balance import Balance
from cloud.domain.findings import Findings, Snapshot
from cloud.domain.materials import Materials
from cloud.domain.overrides import Overrides
from cloud.domain.plan import BatchPlan, LedgerEntry
from cloud.domain.procedure import Procedure, moment_of
from cloud.domain.sensors import Sensors
from cloud.domain.times import UnitTimes
from cloud.domain.transport import Transport
from cloud.domain.words import records, utc
from wire import (
    Alarm,
    AlarmState,
    BatchClose,
    BatchOpen,
    Channels,
    Comment,
    Loss,
    Outcome,
    Override,
    OverrideAction,
    Quantity,
    Record,
    RecordType,
    Samples,
    Scan,
    Step,
)

Copies = tuple[LedgerEntry, ...]  # what the ledger holds for one position, the one to fold first


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
        self.balance = Balance(plan)
        self.overrides = Overrides(plan)
        self.sensors = Sensors(plan, definition)
        self._alarms: dict[str, tuple[int, str]] = {}  # code: where raised, its text
        self._strangers: list[tuple[int, int, str]] = []  # records inside that name another batch

    @property
    def ended(self) -> bool:
        return self.closed is not None or self.cut_short or self.lost_track

    @property
    def state(self) -> str:
        """The report's word for it."""
        if self.cut_short or self.outcome is Outcome.ABORTED:
            return "aborted"
        return "closed" if self.closed else "running"

    def take(self, copies: Copies) -> None:
        """The next held position; a jump in seq is a hole."""
        record = copies[0].record
        self.reach = record.seq
        if record.seq > self.last_seq + 1:
            self.holes.append((self.last_seq + 1, record.seq - 1))
            self._named_since_hole = False
            self.transport.hole()
            self.overrides.hole()
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
        overruling = self.overrides.claim(record, findings)
        if isinstance(body, Samples):
            self.sensors.samples(record, body, findings)
        elif isinstance(body, Scan):
            self.overrides.scanned(record.seq, self.materials.scan(entry, body, self.procedure, findings))
        elif isinstance(body, Override):
            self._overrule(record, body)
        elif isinstance(body, Step):
            self.procedure.take(record, body, self.times, findings, overruling)
            if overruling is not None:
                self.materials.forced(overruling, body.step)
            self.sensors.steps(moment_of(record), record.seq, self.procedure.active_steps())
        elif isinstance(body, Quantity):
            self.balance.quantity(record.seq, body, findings)
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

    def _overrule(self, record: Record, body: Override) -> None:
        overruling = self.overrides.take(record, body, self.findings)
        if overruling is not None and body.action is OverrideAction.ACCEPT_ITEM:
            self.materials.overrule(overruling, self.procedure, self.findings)

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
