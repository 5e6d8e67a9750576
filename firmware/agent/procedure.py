"""Batch, steps and materials against the signed order: where things stand, and what the technician must do next.

The state follows from records alone (`fold`), live and at boot: the journal is the truth, so a power cut in the middle
of a step resumes exactly there. Never judges a scan (scans.py), obeys no command (commands.py), writes no record. Pure.
Spec: wire/SPEC.md section 5; requirements R19, R31, R60.
"""

from agent import alarms, events
from agent.events import ACCEPTED, ALARM, BATCH_CLOSE, BATCH_OPEN, OPERATOR, OVERRIDE, SCAN, STEP
from agent.panel import short
from agent.scans import SERIAL_MARK_BYTES, is_among, mark_of
from agent.verdict import ACCEPT_ITEM, ORDER_LOST, Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from agent.orders import Order

START_CHARS = 13  # of a step id, behind "> START "
START, DONE, REPEAT, SKIP, ABORT = 1, 2, 3, 4, 5  # step actions
BADGE_IN, BADGE_OUT = 1, 2
EARLIER_SERIALS = 64  # of the batches before; with the batch's own, the state must fit its slot
BATCH_SERIALS = 100  # of the open batch; more than any cartridge process has, and the cloud sees them all


class Procedure:
    """Who is signed in, which batch and step are open, and what has been scanned."""

    def __init__(self, site_offset_min: int = 0) -> None:
        self.site_offset_ms = site_offset_min * 60000
        self.order: "Order | None" = None  # set by the unit
        self.operator = ""
        self.batch = ""
        self.first_seq = 0
        self.order_digest = b""  # of the open batch, or of the last one when none is open
        self.counts: "dict[int, int]" = {}  # records of the open batch by type
        self.step = ""  # the active one
        self.have: "dict[str, int]" = {}  # accepted scans of the active step by item
        self.steps: "dict[str, list[Any]]" = {}  # step -> [last action, marks of the serials accepted in it]
        self.freed_marks = b""  # of serials that a repeated step may have again, in this batch only
        self.earlier_marks = b""  # of serials that the batches before had, the last EARLIER_SERIALS
        self.last_scan_seq = 0  # of this boot: an override overrules it within a minute or never
        self._refused_mark = b""  # of the last scan when it was refused: an override may still accept it
        self.alarms = alarms.AlarmStates()

    # --- state, from records only -----------------------------------------------------------------------------------

    def fold(self, seq: int, kind: int, batch: str, operator: str, body: "dict[int, Any]") -> None:
        """Follow one journaled record of any type."""
        if kind == BATCH_OPEN:
            self.batch, self.first_seq, self.order_digest = batch, seq, body[4]
            self._forget_batch()
        if kind == BATCH_CLOSE:
            self._keep_serials()
            self.batch = ""
            self._forget_batch()
            self.alarms.forget()
        if self.batch:
            self.counts[kind] = self.counts.get(kind, 0) + 1
        if kind == OPERATOR:
            self.operator = operator if body[1] == BADGE_IN else ""
        elif kind == STEP:
            self._fold_step(body[1], body[2])
        elif kind == SCAN:
            self._fold_scan(seq, body)
        elif kind == OVERRIDE and body[2] == ACCEPT_ITEM:  # the others are followed by their step record
            self._accept(body[3], self._refused_mark)
        elif kind == ALARM:
            self.alarms.fold(body[1], body[2])

    def _fold_step(self, step: str, action: int) -> None:
        marks = self.steps[step][1] if step in self.steps else b""
        if action == REPEAT:
            self.freed_marks, marks = self.freed_marks + marks, b""
        self.steps[step] = [action, marks]
        self.step, self.have = (step if action in (START, REPEAT) else ""), {}

    def _fold_scan(self, seq: int, body: "dict[int, Any]") -> None:
        mark = mark_of(body[2], body[1]) if self.step else b""
        self.last_scan_seq, self._refused_mark = seq, b""
        if body[4] == ACCEPTED:
            self._accept(body[3], mark)
        else:
            self._refused_mark = mark

    def _accept(self, item: str, mark: bytes) -> None:
        if not self.step:
            return
        self.have[item] = self.have.get(item, 0) + 1
        marks = self.steps[self.step][1]
        if not is_among(mark, marks) and len(self._batch_marks()) < BATCH_SERIALS * SERIAL_MARK_BYTES:
            self.steps[self.step][1] = marks + mark

    def _batch_marks(self) -> bytes:
        return b"".join([self.freed_marks] + [self.steps[step][1] for step in sorted(self.steps)])

    def _keep_serials(self) -> None:
        """The batch is over: what it used, no other batch may use."""
        marks = self._batch_marks()
        for at in range(0, len(self.earlier_marks), SERIAL_MARK_BYTES):  # newest in front; a plain code comes again
            mark = self.earlier_marks[at : at + SERIAL_MARK_BYTES]
            if not is_among(mark, marks):
                marks += mark
        self.earlier_marks = marks[: EARLIER_SERIALS * SERIAL_MARK_BYTES]

    def _forget_batch(self) -> None:
        self.counts, self.step, self.have, self.steps, self.freed_marks = {}, "", {}, {}, b""

    def checkpoint(self) -> "dict[int, Any]":
        """The whole state as a CBOR-able map, so that the records it came from may be overwritten."""
        return {
            1: self.operator, 2: self.batch, 3: self.first_seq, 4: self.order_digest, 5: self.counts, 6: self.step,
            7: self.have, 8: self.steps, 9: self.alarms.checkpoint(), 12: self.earlier_marks, 13: self.freed_marks,
            14: self._refused_mark,
        }  # fmt: skip

    def resume(self, state: "dict[int, Any]") -> None:
        """Take over a checkpoint."""
        self.operator, self.batch, self.first_seq, self.order_digest = state[1], state[2], state[3], state[4]
        self.counts, self.step, self.have, self.steps = state[5], state[6], state[7], state[8]
        self.alarms.resume(state[9])
        self.earlier_marks, self.freed_marks = state[12], state[13]
        self._refused_mark = state[14]

    def closing(self, outcome: int) -> "dict[int, Any]":
        """Body of a batch close that is written now (W26)."""
        return events.batch_close(self.first_seq, dict(self.counts), outcome)

    # --- what comes next --------------------------------------------------------------------------------------------

    @property
    def order_fits(self) -> bool:
        """The order in force is the one that the open batch was opened with."""
        return self.order is not None and (not self.batch or self.order.digest == self.order_digest)

    @property
    def order_is_new(self) -> bool:
        """An order waits that no batch was opened with."""
        return self.order is not None and not self.batch and self.order.digest != self.order_digest

    def missing_items(self) -> "list[str]":
        """Item ids that the active step still asks for, in its order."""
        if not self.step or not self.order_fits:
            return []
        step = self.plan.step(self.step)
        left, missing = dict(self.have), []
        for item in step.items if step else ():
            if left.get(item, 0) > 0:
                left[item] -= 1
            else:
                missing.append(item)
        return missing

    def next_step(self) -> str:
        """The first step of the order that is neither done nor skipped; "" when there is none."""
        for step in self.plan.steps if self.order_fits else ():
            if not self.settled(step.step):
                return step.step
        return ""

    def prompt(self) -> "list[str]":
        """Two lines: what to scan next. An alarm comes before everything else."""
        alarm = self.alarms.prompt(self.operator)
        if alarm:
            return alarm
        if self.batch and not self.order_fits:
            return ORDER_LOST
        if not self.operator:
            return ["Scan your BADGE", ""]
        if not self.batch:
            return ["Scan BATCH OPEN", self.plan.batch] if self.order_is_new else ["No order yet: wait", ""]
        missing = self.missing_items()
        if missing:
            return ["Scan this item:", self.item_name(missing[0])]
        if self.step:
            return [self.step_name(self.step), "scan STEP DONE"]
        coming = self.next_step()
        if not coming:
            return ["All steps settled:", "scan BATCH CLOSE"]
        return [self.step_name(coming), "START " + short(coming, START_CHARS)]

    @property
    def plan(self) -> "Order":
        """The order, where it is known that there is one."""
        assert self.order is not None
        return self.order

    def item_name(self, item: str) -> str:
        """The name that people know the item by."""
        found = self.plan.item(item)
        return found.name if found is not None else item

    def step_name(self, step: str) -> str:
        """The name that people know the step by. Its id stands in the code that starts it."""
        found = self.plan.step(step)
        return found.name if found is not None else step

    def settled(self, step: str) -> bool:
        """The step is done or skipped."""
        return step in self.steps and self.steps[step][0] in (DONE, SKIP)

    def require_operator(self) -> None:
        """Raises Refusal while nobody is signed in."""
        if not self.operator:
            raise Refusal("no_operator", "Nobody signed in:", "scan your BADGE")

    def require_batch(self) -> None:
        """Raises Refusal unless somebody is signed in and a batch is open whose order is at hand."""
        self.require_operator()
        if not self.batch:
            raise Refusal("no_batch", "No batch is open:", "scan BATCH OPEN")
        if not self.order_fits:
            raise Refusal("not_asked", ORDER_LOST[0], ORDER_LOST[1])

    def no_step_open(self) -> Refusal:
        """What to say to somebody who believes that a step is open."""
        coming = self.next_step()
        if not coming:
            return Refusal("not_asked", "No step is open:", "scan BATCH CLOSE")
        return Refusal("not_asked", "No step open. Next:", "START " + coming)
