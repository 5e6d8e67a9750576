"""Whether a scan satisfies an item of the order that the active step still asks for.

Decides on identity, needed fields, expiry against the clock, and serials used before; and which refusal may be
overridden. Never writes a record and never looks at flash. Pure. What a code says: label.py. Spec: wire/SPEC.md section
7 (W44, W45); requirements R31, R33, R36, R39, R42.
"""

import hashlib

from agent import label as labels
from agent.isbt128 import identity_kind
from agent.label_fields import ANOTHER, MONTH_ONLY, PATTERN, LabelError
from agent.orders import NEEDS_EXPIRY, NEEDS_LOT, NEEDS_SERIAL
from agent.verdict import ACCEPT_ITEM, GO_ON, NO_CLOCK, Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.label_fields import Label
    from agent.orders import Item, Order
    from agent.procedure import Procedure
    from agent.scanner import Read

    Clock = tuple[int, int] | None  # time in ms since 1970 and its uncertainty in ms; None while it is not set

MISMATCH = ("IDENTITY MISMATCH:", "STOP, call supervisor")
SERIAL_MARK_BYTES = 5  # enough to tell some hundred serials apart; the full serial is in the records


def judge(procedure: "Procedure", read: "Read", clock: "Clock") -> "tuple[Item, str]":
    """The item that the scan satisfies at the time of clock, and a remark for the panel, "" for none; raises Refusal.

    A batch is open, and its order is known.
    """
    if not procedure.step:
        raise procedure.no_step_open()
    order, missing = procedure.plan, procedure.missing_items()
    label, flaw = _label(order, read)
    matches = [item for item in order.items if _matches(item, label, read.raw)]
    if label is not None and _names_another(order, label):
        raise Refusal("identity_mismatch", *MISMATCH, missing[0] if missing else "")
    wanted = [item for item in matches if item.item in missing]
    if not wanted:
        if flaw is not None:
            raise _unclear(flaw, order.item(missing[0]) if missing else None)
        raise _unwanted(procedure, label, matches, missing)
    item = wanted[0]
    if label is not None:
        _require_fields(item, label)
        _require_fresh(item, label, clock, procedure.site_offset_ms)
    _require_unused(procedure, item, label, mark_of(read.aim, read.raw))
    return item, _remark(label, clock)


def mark_of(aim: str, raw: bytes) -> bytes:
    """A short mark of item and serial; b"" when the label names no serial.

    Plain text is its own mark: only the order says where a site's pattern has the serial, and a record is read without.
    """
    try:
        label = labels.read_label(aim, raw)
    except LabelError:
        label = None
    if label is None:
        return hashlib.sha256(raw).digest()[:SERIAL_MARK_BYTES]
    if not label.serial:
        return b""
    return hashlib.sha256(((label.gtin or label.code) + "/" + label.serial).encode()).digest()[:SERIAL_MARK_BYTES]


def is_among(mark: bytes, marks: bytes) -> bool:
    """Whether mark is one of marks, which stand one behind the other."""
    for at in range(0, len(marks), SERIAL_MARK_BYTES):
        if marks[at : at + SERIAL_MARK_BYTES] == mark:
            return True
    return False


def _label(order: "Order", read: "Read") -> "tuple[Label | None, LabelError | None]":
    patterns = tuple([item.code for item in order.items if item.scheme == PATTERN])
    try:
        return labels.read_label(read.aim, read.raw, patterns), None
    except LabelError as error:
        return None, error


def _remark(label: "Label | None", clock: "Clock") -> str:
    """What an accepted label left open: a date without day was taken as the end of its month (R38)."""
    if label is None or clock is None or not label.notes & MONTH_ONLY:
        return ""
    return "exp end of " + labels.expiry_shown(label, clock[0])[:7]


def _matches(item: "Item", label: "Label | None", raw: bytes) -> bool:
    if item.exact:  # W44: the flag characters of a donation number are no part of it
        return raw == item.exact.encode() or (label is not None and item.exact in (label.din, label.coi))
    return label is not None and labels.is_item(label, item.gtin, item.scheme, item.code)


# --- refusals ---------------------------------------------------------------------------------------------------------


def _about(item: "Item", reason: str, first: str, second: str) -> Refusal:
    """A refusal of a scan that item was asked for. An identity is never overridden (W28)."""
    action = 0 if item.exact else ACCEPT_ITEM
    return Refusal(reason, first, second, item.item, action, item.item)


def _unclear(flaw: LabelError, asked: "Item | None") -> Refusal:
    """The label cannot be trusted."""
    if asked is None:
        return Refusal(flaw.reason, flaw.words[0], flaw.words[1])
    return _about(asked, flaw.reason, flaw.words[0], flaw.words[1])


def _unwanted(procedure: "Procedure", label: "Label | None", matches: "list[Item]", missing: "list[str]") -> Refusal:
    """The scan is none of what the step still asks for."""
    asked = procedure.plan.item(missing[0]) if missing else None
    asked_id = asked.item if asked is not None else ""
    for item in matches:
        if item.item in procedure.have:
            return Refusal("duplicate", "Already scanned:", GO_ON, asked_id)
    identity_asked = asked is not None and asked.exact != ""
    is_identity = label is not None and (label.din != "" or label.coi != "")
    if (is_identity and not matches and _has_identity(procedure.plan)) or (label is None and identity_asked):
        return Refusal("identity_mismatch", *MISMATCH, asked_id)
    if asked is None:
        return Refusal("not_asked", "Nothing asked here:", "scan STEP DONE")
    if identity_asked:
        return Refusal("identity_mismatch", "WRONG ITEM. Need:", asked.name, asked_id)
    return _about(asked, "wrong_item", "WRONG ITEM. Need:", asked.name)


def _names_another(order: "Order", label: "Label") -> bool:
    """Whether the label, whatever else it is of, names a donation or patient, and not one of the order's."""
    for kind, named in (("din", label.din), ("coi", label.coi)):
        ours = [item.exact for item in order.items if item.exact and identity_kind(item.exact) == kind]
        if named and ours and not any([named in exact for exact in ours]):
            return True
    return False


def _has_identity(order: "Order") -> bool:
    for item in order.items:
        if item.exact:
            return True
    return False


def _require_fields(item: "Item", label: "Label") -> None:
    for need, field, name in (
        (NEEDS_SERIAL, label.serial, "serial"),
        (NEEDS_LOT, label.lot, "lot"),
        (NEEDS_EXPIRY, label.expiry, "expiry"),
    ):
        if item.needs & need and not field:
            raise _about(item, "missing_field", "No %s in code:" % name, "scan the other code")


def _require_fresh(item: "Item", label: "Label", clock: "Clock", site_offset_ms: int) -> None:
    """R39: valid through the end of the stated day or minute at the site; what the clock cannot tell is refused."""
    if not label.expiry:
        return
    if clock is None:
        raise _about(item, "clock_uncertain", NO_CLOCK[0], NO_CLOCK[1])
    now_ms, uncertainty_ms = clock
    try:
        end_ms = labels.expiry_end_ms(label, now_ms) - site_offset_ms
    except LabelError as error:
        raise _unclear(error, item)  # noqa: B904  MicroPython keeps no cause
    if now_ms - uncertainty_ms >= end_ms:
        raise _about(item, "expired", "EXPIRED %s:" % labels.expiry_shown(label, now_ms), ANOTHER)
    if now_ms + uncertainty_ms >= end_ms:
        raise _about(item, "clock_uncertain", "Expires about now:", ANOTHER)


def _require_unused(procedure: "Procedure", item: "Item", label: "Label | None", mark: bytes) -> None:
    """No serial twice in a batch, and none of a single-use item (it needs a serial) that an earlier batch had."""
    single_use = item.needs & NEEDS_SERIAL
    if not mark or not (single_use or (label is not None and label.serial)):
        return
    for _action, marks in procedure.steps.values():
        if is_among(mark, marks):
            raise _about(item, "duplicate", "Serial used before:", ANOTHER)
    if single_use and is_among(mark, procedure.earlier_marks):
        raise _about(item, "duplicate", "Used in old batch:", ANOTHER)
