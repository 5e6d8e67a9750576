"""Batch, steps and scans against the signed order: what each scan means, and what the technician must do next.

Decides whether a scan is accepted and which records it makes; `fold` then changes the state, from the same records,
live and at boot: the journal is the truth, so a power cut in the middle of a step resumes exactly there. Never writes
a record and never overrules the order; what is refused is recorded as well. Pure. Spec: wire/SPEC.md section 5;
requirements R19, R31, R33, R39, R47. Control codes: firmware/README.md.
"""

import hashlib

from agent import alarms, events, gs1
from agent.events import ACCEPTED, ALARM, BATCH_CLOSE, BATCH_OPEN, COMMENT, OPERATOR, QUANTITY, REFUSED, SCAN, STEP
from agent.orders import NEEDS_EXPIRY, NEEDS_LOT, NEEDS_SERIAL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from agent.orders import Item, Order
    from agent.scanner import Read

    Clock = tuple[int, int] | None  # time in ms since 1970 and its uncertainty in ms; None while it is not set
    Event = tuple[int, dict[int, Any], str]  # type, body, operator

START, DONE, REPEAT, SKIP, ABORT = 1, 2, 3, 4, 5  # step actions
SCANNER_ENTRY = 1
BADGE_IN, BADGE_OUT = 1, 2
COMPLETED, ABORTED = 1, 2
QUANTITY_KINDS = ("issued", "used", "rejected", "sampled", "returned", "destroyed", "lost")
COMMAND = b"CT/"
SERIAL_MARK_BYTES = 5  # enough to tell 480 serials of one batch apart; the full serial is in the records


class Answer:
    """What a scan leads to: records to write, whether it did what was meant, and words for the panel."""

    def __init__(self, accepted: bool, words: "list[str]", records: "list[Event]") -> None:
        self.accepted = accepted
        self.words = words
        self.records = records


class Refusal(Exception):  # noqa: N818  a state of things, and no mistake of the program
    """A command or scan that is not possible now: reason is a SPEC word, words say what to do."""

    def __init__(self, reason: str, first: str, second: str = "") -> None:
        super().__init__(first)
        self.reason = reason
        self.words = [first, second]


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
        self.alarms = alarms.AlarmStates()

    # --- state, from records only -----------------------------------------------------------------------------------

    def fold(self, seq: int, kind: int, batch: str, operator: str, body: "dict[int, Any]") -> None:
        """Follow one journaled record of any type."""
        if kind == BATCH_OPEN:
            self.batch, self.first_seq, self.order_digest = batch, seq, body[4]
            self.counts, self.step, self.have, self.steps = {}, "", {}, {}
        if kind == BATCH_CLOSE:
            self.batch, self.step, self.have, self.steps, self.counts = "", "", {}, {}, {}
            self.alarms.forget()
        if self.batch:
            self.counts[kind] = self.counts.get(kind, 0) + 1
        if kind == OPERATOR:
            self.operator = operator if body[1] == BADGE_IN else ""
        elif kind == STEP:
            self._fold_step(body[1], body[2])
        elif kind == SCAN and body[4] == ACCEPTED and self.step:
            self._fold_scan(body)
        elif kind == ALARM:
            self.alarms.fold(body[1], body[2])

    def _fold_step(self, step: str, action: int) -> None:
        marks = self.steps[step][1] if step in self.steps and action != REPEAT else b""
        self.steps[step] = [action, marks]
        self.step, self.have = (step if action in (START, REPEAT) else ""), {}

    def _fold_scan(self, body: "dict[int, Any]") -> None:
        self.have[body[3]] = self.have.get(body[3], 0) + 1
        mark = _serial_mark(_label_or_none(body[2], body[1]))
        if mark:
            self.steps[self.step][1] += mark

    def checkpoint(self) -> "dict[int, Any]":
        """The whole state as a CBOR-able map, so that the records it came from may be overwritten."""
        return {
            1: self.operator, 2: self.batch, 3: self.first_seq, 4: self.order_digest, 5: self.counts, 6: self.step,
            7: self.have, 8: self.steps, 9: self.alarms.checkpoint(),
        }  # fmt: skip

    def resume(self, state: "dict[int, Any]") -> None:
        """Take over a checkpoint."""
        self.operator, self.batch, self.first_seq, self.order_digest = state[1], state[2], state[3], state[4]
        self.counts, self.step, self.have, self.steps = state[5], state[6], state[7], state[8]
        self.alarms.resume(state[9])

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
        step = self._plan.step(self.step)
        left, missing = dict(self.have), []
        for item in step.items if step else ():
            if left.get(item, 0) > 0:
                left[item] -= 1
            else:
                missing.append(item)
        return missing

    def next_step(self) -> str:
        """The first step of the order that is neither done nor skipped; "" when there is none."""
        for step in self._plan.steps if self.order_fits else ():
            if not self._settled(step.step):
                return step.step
        return ""

    def prompt(self) -> "list[str]":
        """Two lines: what to scan next. An alarm comes before everything else."""
        alarm = self.alarms.prompt(self.operator)
        if alarm:
            return alarm
        if self.batch and not self.order_fits:
            return ["Order lost: abort", "or call supervisor"]
        if not self.operator:
            return ["Scan your BADGE", ""]
        if not self.batch:
            return ["Scan BATCH OPEN", self._plan.batch] if self.order_is_new else ["No order yet: wait", ""]
        missing = self.missing_items()
        if missing:
            return ["Scan this item:", self._item_name(missing[0])]
        if self.step:
            return ["Scan STEP DONE", self.step]
        coming = self.next_step()
        return ["Scan STEP START", coming] if coming else ["All steps settled:", "scan BATCH CLOSE"]

    @property
    def _plan(self) -> "Order":
        """The order, where it is known that there is one."""
        assert self.order is not None
        return self.order

    def _item_name(self, item: str) -> str:
        found = self._plan.item(item)
        return found.name if found is not None else item

    def _settled(self, step: str) -> bool:
        return step in self.steps and self.steps[step][0] in (DONE, SKIP)

    # --- scans ------------------------------------------------------------------------------------------------------

    def read(self, read: "Read", clock: "Clock") -> Answer:
        """What a complete read means, judged at the time of `clock`."""
        try:
            if read.flaw:
                raise Refusal(read.flaw, "Not read completely:", "scan it again")
            if read.raw[:3] == COMMAND and read.aim not in gs1.GS1_AIMS:
                return self._command(_clean_text(read.raw))
            item = self._judge(read, clock)
            body = events.scan(read.raw, read.aim, item.item, ACCEPTED, None, SCANNER_ENTRY, read.repeats)
            return Answer(True, ["OK " + item.name, ""], [(SCAN, body, self.operator)])
        except Refusal as refused:
            asked = (self.missing_items() or [""])[0]
            body = events.scan(read.raw, read.aim, asked, REFUSED, refused.reason, SCANNER_ENTRY, read.repeats)
            return Answer(False, refused.words, [(SCAN, body, self.operator)])

    def _judge(self, read: "Read", clock: "Clock") -> "Item":
        """The item that the scan satisfies; raises Refusal."""
        self._require_batch()
        if not self.step:
            raise Refusal("not_asked", "No step is open:", "start " + (self.next_step() or "no step"))
        label = _label(read.aim, read.raw)
        matches = [item for item in self._plan.items if _matches(item, label, read.raw)]
        missing = self.missing_items()
        wanted = [item for item in matches if item.item in missing]
        if not wanted:
            raise self._unwanted(matches, missing)
        item = wanted[0]
        if label is not None:
            _require_fields(item, label)
            self._require_fresh(label, clock)
            if _is_among(_serial_mark(label), self.steps):
                raise Refusal("duplicate", "Serial used before:", "take another one")
        elif item.needs and not item.exact:
            raise Refusal("missing_field", "Scan the GS1 code", "of " + item.name)
        return item

    def _unwanted(self, matches: "list[Item]", missing: "list[str]") -> Refusal:
        for item in matches:
            if item.item in self.have:
                return Refusal("duplicate", "Already scanned:", item.name)
        if missing:
            return Refusal("wrong_item", "WRONG ITEM. Need:", self._item_name(missing[0]))
        return Refusal("not_asked", "Nothing asked here:", "scan STEP DONE")

    def _require_fresh(self, label: gs1.Label, clock: "Clock") -> None:
        """R39: valid through the end of the stated day at the site; what the clock cannot tell is refused."""
        if not label.expiry:
            return
        if clock is None:
            raise Refusal("clock_uncertain", "Clock not set: wait", "and scan again")
        now_ms, uncertainty_ms = clock
        try:
            end_ms = gs1.end_of_day_ms(label.expiry, now_ms) - self.site_offset_ms
        except gs1.Gs1Error as error:
            raise Refusal(error.reason, "No such expiry date:", label.expiry)
        if now_ms - uncertainty_ms >= end_ms:
            raise Refusal("expired", "EXPIRED " + label.expiry + ":", "take another one")
        if now_ms + uncertainty_ms >= end_ms:
            raise Refusal("clock_uncertain", "Expires about now:", "take another one")

    # --- commands ---------------------------------------------------------------------------------------------------

    def _command(self, text: str) -> Answer:
        word, rest = _cut(text[3:])
        if word == "BADGE":
            return self._badge(rest)
        self._require_operator()
        action, rest = (rest, "") if word == "NOTE" else _cut(rest)
        if word == "NOTE":
            return self._done("Note recorded", "", (COMMENT, events.comment(_bounded(action, events.COMMENT_BYTES))))
        if word == "BATCH" and action == "OPEN":
            return self._open_batch()
        if word == "BATCH" and action == "CLOSE":
            return self._close_batch()
        if word == "BATCH" and action == "ABORT":
            return self._abort_batch(_bounded(rest, events.REASON_BYTES))
        if word == "STEP" and action == "DONE":
            return self._finish_step(rest)
        if word == "STEP" and action in ("START", "SKIP", "REPEAT"):
            step, reason = _cut(rest)
            return self._begin_step(action, step, reason)
        if word == "QTY":
            return self._quantity(action, rest)
        if word == "ALARM" and action == "ACK":
            return self._acknowledge_alarms()
        raise Refusal("not_asked", "Unknown command:", text[:21])

    def _done(self, first: str, second: str, *records: "tuple[int, dict[int, Any]]") -> Answer:
        return Answer(True, [first, second], [(kind, body, self.operator) for kind, body in records])

    def _badge(self, badge: str) -> Answer:
        badge = _bounded(badge, events.NAME_BYTES)
        records: "list[Event]" = []
        if self.operator:
            records.append((OPERATOR, events.operator(BADGE_OUT), self.operator))
        if badge == self.operator:
            return Answer(True, ["Signed out " + badge, ""], records)
        records.append((OPERATOR, events.operator(BADGE_IN), badge))
        return Answer(True, ["Welcome " + badge, ""], records)

    def _open_batch(self) -> Answer:
        if self.batch:
            raise Refusal("not_asked", "Batch is open:", self.batch)
        if not self.order_is_new:
            raise Refusal("no_batch", "No order yet: wait", "for the gateway")
        order = self._plan
        body = events.batch_open(order.recipe, order.version, order.recipe_digest, order.digest)
        return self._done("Batch open", order.batch, (BATCH_OPEN, body))

    def _close_batch(self) -> Answer:
        self._require_batch()
        if self.step:
            raise Refusal("not_asked", "Finish first: step", self.step)
        if self.next_step():
            raise Refusal("not_asked", "Do or SKIP first:", self.next_step())
        return self._done("Batch closed", self.batch, (BATCH_CLOSE, {3: COMPLETED}))

    def _abort_batch(self, reason: str) -> Answer:
        if not self.batch:
            raise Refusal("no_batch", "No batch is open", "")
        if self.step:
            why = (STEP, events.step(self.step, ABORT, reason))
        else:
            why = (COMMENT, events.comment("batch aborted: " + reason))
        return self._done("Batch aborted", self.batch, why, (BATCH_CLOSE, {3: ABORTED}))

    def _begin_step(self, action: str, step: str, reason: str) -> Answer:
        self._require_batch()
        if self._plan.step(step) is None:
            raise Refusal("not_asked", "No such step:", step[:21])
        if self.step:
            raise Refusal("not_asked", "Finish first: step", self.step)
        settled = self._settled(step)
        if action == "REPEAT" and not settled:
            raise Refusal("not_asked", "Not done before: use", "STEP START " + step)
        if action != "REPEAT" and settled:
            raise Refusal("not_asked", "Done before: REPEAT", step + " with reason")
        if action != "START" and not reason:
            raise Refusal("not_asked", action + " needs a reason", "")
        if action == "START" and step != self.next_step() and not reason:
            raise Refusal("not_asked", "Out of order. Next:", self.next_step())
        number = {"START": START, "SKIP": SKIP, "REPEAT": REPEAT}[action]
        words = {"START": "Step started", "SKIP": "Step skipped", "REPEAT": "Step repeated"}
        return self._done(words[action], step, (STEP, events.step(step, number, _reason(reason))))

    def _finish_step(self, reason: str) -> Answer:
        self._require_batch()
        if not self.step:
            raise Refusal("not_asked", "No step is open", "")
        missing = self.missing_items()
        if missing and not reason:
            raise Refusal("not_asked", "Not scanned yet:", self._item_name(missing[0]))
        return self._done("Step done", self.step, (STEP, events.step(self.step, DONE, _reason(reason))))

    def _quantity(self, item: str, rest: str) -> Answer:
        self._require_batch()
        kind, rest = _cut(rest)
        number, unit = _cut(rest)
        if self._plan.item(item) is None:
            raise Refusal("not_asked", "Not in the order:", item[:21])
        if kind not in QUANTITY_KINDS:
            raise Refusal("not_asked", "Unknown quantity:", kind[:21])
        mantissa, exponent = _decimal(number)
        unit = _bounded(unit, events.CHANNEL_BYTES)
        body = events.quantity(item, QUANTITY_KINDS.index(kind) + 1, mantissa, exponent, unit)
        return self._done(item + " " + kind, number + " " + unit, (QUANTITY, body))

    def _acknowledge_alarms(self) -> Answer:
        codes = self.alarms.unacknowledged
        if not codes:
            raise Refusal("not_asked", "No alarm is waiting", "to be acknowledged")
        records = [(ALARM, events.alarm(code, alarms.ACKNOWLEDGED)) for code in codes]
        return self._done("Alarm acknowledged", "", *records)

    def _require_operator(self) -> None:
        if not self.operator:
            raise Refusal("no_operator", "Nobody signed in:", "scan your BADGE")

    def _require_batch(self) -> None:
        self._require_operator()
        if not self.batch:
            raise Refusal("no_batch", "No batch is open:", "scan BATCH OPEN")
        if not self.order_fits:
            raise Refusal("not_asked", "Order lost: abort", "or call supervisor")


def _cut(text: str) -> "tuple[str, str]":
    before, _slash, after = text.partition("/")
    return before, after


def _clean_text(raw: bytes) -> str:
    """raw as text without control characters (W23)."""
    try:
        text = raw.decode()
    except UnicodeError:
        raise Refusal("unreadable", "Not a command:", "not readable text")
    for char in text:
        if ord(char) < 0x20 or ord(char) == 0x7F:
            raise Refusal("unreadable", "Not a command:", "control characters")
    return text


def _bounded(text: str, longest: int) -> str:
    if not text:
        raise Refusal("not_asked", "Text is missing", "in this command")
    if len(text) > longest or len(text.encode()) > longest:
        raise Refusal("not_asked", "Text is too long:", "at most %d" % longest)
    return text


def _reason(reason: str) -> "str | None":
    return _bounded(reason, events.REASON_BYTES) if reason else None


def _decimal(number: str) -> "tuple[int, int]":
    """(mantissa, exponent) of a decimal number: "12.50" is (1250, -2)."""
    whole, _dot, fraction = number.partition(".")
    digits = whole + fraction
    if not whole or len(digits) > 15 or len(fraction) > 9 or not all(char in "0123456789" for char in digits):
        raise Refusal("not_asked", "Not a number:", number[:21])
    return int(digits), -len(fraction)


def _label(aim: str, raw: bytes) -> "gs1.Label | None":
    try:
        return gs1.read_label(aim, raw)
    except gs1.Gs1Error as error:
        raise Refusal(error.reason, "Label refused:", error.detail)


def _label_or_none(aim: str, raw: bytes) -> "gs1.Label | None":
    try:
        return gs1.read_label(aim, raw)
    except gs1.Gs1Error:
        return None


def _matches(item: "Item", label: "gs1.Label | None", raw: bytes) -> bool:
    if item.exact:
        return raw == item.exact.encode()
    return label is not None and item.gtin != "" and label.gtin == item.gtin


def _require_fields(item: "Item", label: gs1.Label) -> None:
    if item.needs & NEEDS_SERIAL and not label.serial:
        raise Refusal("missing_field", "No serial on label:", item.name)
    if item.needs & NEEDS_LOT and not label.lot:
        raise Refusal("missing_field", "No lot on label:", item.name)
    if item.needs & NEEDS_EXPIRY and not label.expiry:
        raise Refusal("missing_field", "No expiry on label:", item.name)


def _serial_mark(label: "gs1.Label | None") -> bytes:
    """A short mark of trade item and serial; b"" when the label names no serial."""
    if label is None or not label.serial:
        return b""
    return hashlib.sha256((label.gtin + "/" + label.serial).encode()).digest()[:SERIAL_MARK_BYTES]


def _is_among(mark: bytes, steps: "dict[str, list[Any]]") -> bool:
    for _action, marks in steps.values():
        for at in range(0, len(marks), SERIAL_MARK_BYTES):
            if mark and marks[at : at + SERIAL_MARK_BYTES] == mark:
                return True
    return False
