"""What a control code asks for: badges, batch, steps, quantities, notes, alarms.

Decides which records a command makes, or why it is not possible now; procedure.py then follows those records. Overrides
are dialogue.py's. Pure. The codes: firmware/README.md. Spec: wire/SPEC.md section 5; requirements R18, R19.
"""

from agent import alarms, events
from agent.events import ALARM, BATCH_CLOSE, BATCH_OPEN, COMMENT, OPERATOR, QUANTITY, STEP
from agent.procedure import ABORT, BADGE_IN, BADGE_OUT, DONE, REPEAT, SKIP, START
from agent.verdict import CARD, FINISH_STEP, GO_ON, NO_ORDER, START_STEP, Answer, Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from agent.orders import Item
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
    raise Refusal("not_asked", "Unknown command:", CARD)


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
        raise Refusal("not_asked", "Batch already open:", GO_ON)
    if not procedure.order_is_new:
        raise Refusal("no_batch", NO_ORDER[0], NO_ORDER[1])
    order = procedure.plan
    body = events.batch_open(order.recipe, order.version, order.recipe_digest, order.digest)
    return _done(procedure, "Batch open", order.batch, (BATCH_OPEN, body))


def _close_batch(procedure: "Procedure") -> Answer:
    procedure.require_batch()
    if procedure.step:
        raise Refusal("not_asked", "A step is open:", "scan STEP DONE first")
    if procedure.next_step():
        raise Refusal("not_asked", "Steps are not done:", "do or SKIP them first")
    return _done(procedure, "Batch closed", procedure.batch, (BATCH_CLOSE, {3: COMPLETED}))


def _abort_batch(procedure: "Procedure", reason: str) -> Answer:
    if not procedure.batch:
        raise Refusal("no_batch", "No batch is open:", GO_ON)
    if procedure.step:
        why = (STEP, events.step(procedure.step, ABORT, reason))
    else:
        why = (COMMENT, events.comment("batch aborted: " + reason))
    return _done(procedure, "Batch aborted", procedure.batch, why, (BATCH_CLOSE, {3: ABORTED}))


# --- steps ------------------------------------------------------------------------------------------------------------


def _begin_step(procedure: "Procedure", action: str, step: str, reason: str) -> Answer:
    procedure.require_batch()
    planned = procedure.plan.step(step)
    if planned is None:
        raise Refusal("not_asked", "No such step here:", CARD)
    if procedure.step:
        raise Refusal("not_asked", "A step is open:", "scan STEP DONE first")
    settled = procedure.settled(step)
    if action == "REPEAT" and not settled:
        raise Refusal("not_asked", "Step not done yet:", "scan its STEP START")
    if action != "REPEAT" and settled:
        raise Refusal("not_asked", "Already done:", "to redo: STEP REPEAT")
    if action != "START" and not reason:
        raise Refusal("not_asked", "Reason is missing:", "scan one with reason")
    if action == "START" and step != procedure.next_step():
        raise Refusal("wrong_step", "WRONG STEP. Next:", procedure.next_step(), "", START_STEP, step)
    if action == "SKIP" and _identity_among(procedure, planned.items):  # R31
        raise Refusal("not_asked", "Identity is a must:", "do it, or BATCH ABORT")
    number = {"START": START, "SKIP": SKIP, "REPEAT": REPEAT}[action]
    words = {"START": "Step started", "SKIP": "Step skipped", "REPEAT": "Step repeated"}
    return _done(procedure, words[action], step, (STEP, events.step(step, number, _reason(reason))))


def _identity_among(procedure: "Procedure", names: "Iterable[str]") -> "Item | None":
    """The first of these items that is an identity."""
    for name in names:
        item = procedure.plan.item(name)
        if item is not None and item.exact:
            return item
    return None


def _finish_step(procedure: "Procedure", reason: str) -> Answer:
    procedure.require_batch()
    if not procedure.step:
        raise procedure.no_step_open()
    missing = procedure.missing_items()
    if missing:
        raise _unfinished(procedure, missing)
    return _done(procedure, "Step done", procedure.step, (STEP, events.step(procedure.step, DONE, _reason(reason))))


def _unfinished(procedure: "Procedure", missing: "list[str]") -> Refusal:
    """Two people may finish a step without its materials, but not without its identities (W28)."""
    identity = _identity_among(procedure, missing)
    if identity is not None:
        return Refusal("not_asked", "NO IDENTITY. Scan:", identity.name, identity.item)
    return Refusal(
        "not_asked", "NOT DONE. Scan:", procedure.item_name(missing[0]), missing[0], FINISH_STEP, procedure.step
    )


# --- the rest ---------------------------------------------------------------------------------------------------------


def _quantity(procedure: "Procedure", item: str, rest: str) -> Answer:
    procedure.require_batch()
    kind, rest = cut(rest)
    number, unit = cut(rest)
    if procedure.plan.item(item) is None:
        raise Refusal("not_asked", "Not in this order:", CARD)
    if kind not in QUANTITY_KINDS:
        raise Refusal("not_asked", "Unknown quantity:", CARD)
    mantissa, exponent = _decimal(number)
    unit = bounded(unit, events.CHANNEL_BYTES)
    body = events.quantity(item, QUANTITY_KINDS.index(kind) + 1, mantissa, exponent, unit)
    return _done(procedure, item + " " + kind, number + " " + unit, (QUANTITY, body))


def _acknowledge_alarms(procedure: "Procedure") -> Answer:
    codes = procedure.alarms.unacknowledged
    if not codes:
        raise Refusal("not_asked", "No alarm is waiting", GO_ON)
    records = [(ALARM, events.alarm(code, alarms.ACKNOWLEDGED)) for code in codes]
    return _done(procedure, "Alarm acknowledged", "", *records)


def cut(text: str) -> "tuple[str, str]":
    """What stands before the first slash, and what behind it."""
    before, _slash, after = text.partition("/")
    return before, after


def bounded(text: str, longest: int) -> str:
    """text of 1..longest bytes; raises Refusal."""
    if not text:
        raise Refusal("not_asked", "Text is missing:", CARD)
    if len(text) > longest or len(text.encode()) > longest:
        raise Refusal("not_asked", "Text is too long:", "use %d bytes at most" % longest)
    return text


def _reason(reason: str) -> "str | None":
    return bounded(reason, events.REASON_BYTES) if reason else None


def _decimal(number: str) -> "tuple[int, int]":
    """(mantissa, exponent) of a decimal number: "12.50" is (1250, -2)."""
    whole, _dot, fraction = number.partition(".")
    digits = whole + fraction
    if not whole or len(digits) > 15 or len(fraction) > 9 or not all(char in "0123456789" for char in digits):
        raise Refusal("not_asked", "Not a number:", "use a code like 12.5")
    return int(digits), -len(fraction)
