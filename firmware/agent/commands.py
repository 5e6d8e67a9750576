"""What a control code asks for: badges, batch, steps, quantities, notes, alarms.

Decides which records a command makes, or why it is not possible now; procedure.py then follows those records. Overrides
are dialogue.py's. Pure. The codes: firmware/README.md. Spec: wire/SPEC.md section 5; requirements R18, R19.
"""

from agent import alarms, events
from agent.events import ALARM, BATCH_CLOSE, BATCH_OPEN, COMMENT, OPERATOR, QUANTITY, STEP
from agent.procedure import ABORT, BADGE_IN, BADGE_OUT, DONE, REPEAT, SKIP, START
from agent.verdict import FINISH_STEP, START_STEP, Answer, Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from agent.procedure import Procedure
    from agent.verdict import Event

COMPLETED, ABORTED = 1, 2
QUANTITY_KINDS = ("issued", "used", "rejected", "sampled", "returned", "destroyed", "lost")


def obey(procedure: "Procedure", text: str) -> Answer:
    """The answer to a control code; text is what follows `CT/`. Raises Refusal."""
    word, rest = cut(text)
    if word == "BADGE":
        return _badge(procedure, rest)
    procedure.require_operator()
    if word == "NOTE":
        note = (COMMENT, events.comment(bounded(rest, events.COMMENT_BYTES)))
        return _done(procedure, "Note recorded", "", note)
    action, rest = cut(rest)
    if word == "BATCH" and action == "OPEN":
        return _open_batch(procedure)
    if word == "BATCH" and action == "CLOSE":
        return _close_batch(procedure)
    if word == "BATCH" and action == "ABORT":
        return _abort_batch(procedure, bounded(rest, events.REASON_BYTES))
    if word == "STEP" and action == "DONE":
        return _finish_step(procedure, rest)
    if word == "STEP" and action in ("START", "SKIP", "REPEAT"):
        step, reason = cut(rest)
        return _begin_step(procedure, action, step, reason)
    if word == "QTY":
        return _quantity(procedure, action, rest)
    if word == "ALARM" and action == "ACK":
        return _acknowledge_alarms(procedure)
    raise Refusal("not_asked", "Unknown command:", text)


def _done(procedure: "Procedure", first: str, second: str, *records: "tuple[int, dict[int, Any]]") -> Answer:
    return Answer(True, [first, second], [(kind, body, procedure.operator) for kind, body in records])


def _badge(procedure: "Procedure", badge: str) -> Answer:
    badge = bounded(badge, events.NAME_BYTES)
    records: "list[Event]" = []
    if procedure.operator:
        records.append((OPERATOR, events.operator(BADGE_OUT), procedure.operator))
    if badge == procedure.operator:
        return Answer(True, ["Signed out " + badge, ""], records)
    records.append((OPERATOR, events.operator(BADGE_IN), badge))
    return Answer(True, ["Welcome " + badge, ""], records)


# --- batch ------------------------------------------------------------------------------------------------------------


def _open_batch(procedure: "Procedure") -> Answer:
    if procedure.batch:
        raise Refusal("not_asked", "Batch is open:", procedure.batch)
    if not procedure.order_is_new:
        raise Refusal("no_batch", "No order yet: wait", "for the gateway")
    order = procedure.plan
    body = events.batch_open(order.recipe, order.version, order.recipe_digest, order.digest)
    return _done(procedure, "Batch open", order.batch, (BATCH_OPEN, body))


def _close_batch(procedure: "Procedure") -> Answer:
    procedure.require_batch()
    if procedure.step:
        raise Refusal("not_asked", "Finish this step:", procedure.step)
    if procedure.next_step():
        raise Refusal("not_asked", "Do or SKIP first:", procedure.next_step())
    return _done(procedure, "Batch closed", procedure.batch, (BATCH_CLOSE, {3: COMPLETED}))


def _abort_batch(procedure: "Procedure", reason: str) -> Answer:
    if not procedure.batch:
        raise Refusal("no_batch", "No batch is open:", "nothing to abort")
    if procedure.step:
        why = (STEP, events.step(procedure.step, ABORT, reason))
    else:
        why = (COMMENT, events.comment("batch aborted: " + reason))
    return _done(procedure, "Batch aborted", procedure.batch, why, (BATCH_CLOSE, {3: ABORTED}))


# --- steps ------------------------------------------------------------------------------------------------------------


def _begin_step(procedure: "Procedure", action: str, step: str, reason: str) -> Answer:
    procedure.require_batch()
    if procedure.plan.step(step) is None:
        raise Refusal("not_asked", "No such step:", step)
    if procedure.step:
        raise Refusal("not_asked", "Finish first: step", procedure.step)
    settled = procedure.settled(step)
    if action == "REPEAT" and not settled:
        raise Refusal("not_asked", "Not done yet: START", step)
    if action != "REPEAT" and settled:
        raise Refusal("not_asked", "Done: use REPEAT", step)
    if action != "START" and not reason:
        raise Refusal("not_asked", "Reason is missing:", action + "/step/reason")
    if action == "START" and step != procedure.next_step():
        raise Refusal("wrong_step", "WRONG STEP. Next:", procedure.next_step(), "", START_STEP, step)
    number = {"START": START, "SKIP": SKIP, "REPEAT": REPEAT}[action]
    words = {"START": "Step started", "SKIP": "Step skipped", "REPEAT": "Step repeated"}
    return _done(procedure, words[action], step, (STEP, events.step(step, number, _reason(reason))))


def _finish_step(procedure: "Procedure", reason: str) -> Answer:
    procedure.require_batch()
    if not procedure.step:
        raise Refusal("not_asked", "No step is open:", "start " + (procedure.next_step() or "no step"))
    missing = procedure.missing_items()
    if missing:
        raise _unfinished(procedure, missing)
    return _done(procedure, "Step done", procedure.step, (STEP, events.step(procedure.step, DONE, _reason(reason))))


def _unfinished(procedure: "Procedure", missing: "list[str]") -> Refusal:
    """Two people may finish a step without its materials, but not without its identities (W28)."""
    for name in missing:
        item = procedure.plan.item(name)
        if item is not None and item.exact:
            return Refusal("not_asked", "Identity not read:", item.name, name)
    return Refusal(
        "not_asked", "Not scanned yet:", procedure.item_name(missing[0]), missing[0], FINISH_STEP, procedure.step
    )


# --- the rest ---------------------------------------------------------------------------------------------------------


def _quantity(procedure: "Procedure", item: str, rest: str) -> Answer:
    procedure.require_batch()
    kind, rest = cut(rest)
    number, unit = cut(rest)
    if procedure.plan.item(item) is None:
        raise Refusal("not_asked", "Not in the order:", item)
    if kind not in QUANTITY_KINDS:
        raise Refusal("not_asked", "Unknown quantity:", kind)
    mantissa, exponent = _decimal(number)
    unit = bounded(unit, events.CHANNEL_BYTES)
    body = events.quantity(item, QUANTITY_KINDS.index(kind) + 1, mantissa, exponent, unit)
    return _done(procedure, item + " " + kind, number + " " + unit, (QUANTITY, body))


def _acknowledge_alarms(procedure: "Procedure") -> Answer:
    codes = procedure.alarms.unacknowledged
    if not codes:
        raise Refusal("not_asked", "No alarm is waiting", "to be acknowledged")
    records = [(ALARM, events.alarm(code, alarms.ACKNOWLEDGED)) for code in codes]
    return _done(procedure, "Alarm acknowledged", "", *records)


def cut(text: str) -> "tuple[str, str]":
    """What stands before the first slash, and what behind it."""
    before, _slash, after = text.partition("/")
    return before, after


def bounded(text: str, longest: int) -> str:
    """text of 1..longest bytes; raises Refusal."""
    if not text:
        raise Refusal("not_asked", "Text is missing:", "check the code")
    if len(text) > longest or len(text.encode()) > longest:
        raise Refusal("not_asked", "Text is too long:", "at most %d bytes" % longest)
    return text


def _reason(reason: str) -> "str | None":
    return bounded(reason, events.REASON_BYTES) if reason else None


def _decimal(number: str) -> "tuple[int, int]":
    """(mantissa, exponent) of a decimal number: "12.50" is (1250, -2)."""
    whole, _dot, fraction = number.partition(".")
    digits = whole + fraction
    if not whole or len(digits) > 15 or len(fraction) > 9 or not all(char in "0123456789" for char in digits):
        raise Refusal("not_asked", "Not a number:", number)
    return int(digits), -len(fraction)
