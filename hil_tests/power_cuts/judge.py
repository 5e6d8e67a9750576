"""Judges one flash state as a power cut left it: boots a unit on it in a fresh state and asks what became of the truth.

Three promises, and what keeps them useful: nothing that was announced is lost, no seq is used for two records, the boot
ends within its bound, and the unit goes on: it saves one more record, in a chain without a break.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from agent.custody import CHECKPOINT_RECORDS_MAX, GIVEN_UP

from hil_tests.power_cuts.board import SLOT_PAGES, Chip
from hil_tests.power_cuts.lab import Known, Lab, event_of
from wire import cbor

SAVED_LOST, SEQ_REUSED, BOOT_HUNG, NOT_GOING_ON = "saved_lost", "seq_reused", "boots_hung", "not_going_on"
BOOT = 1
LOSS = 13
WHEN_FULL = 10  # key of the enrolment letter
SLOT_READS = 60  # three values of two copies each, mended and compared
REPLAYED_MAX = 2 * CHECKPOINT_RECORDS_MAX
OPERATIONS_MAX = 64  # a slot mended (17), a checkpoint (17), an erase or two, and the records of a boot


@dataclass(frozen=True)
class Fault:
    """A broken promise, and how it was broken."""

    promise: str
    what: str


def reads_max(chip: Chip) -> int:
    """Reads of a boot: the journal's recovery twice (a first boot looks before it makes a key), a look into each block,
    the slots, and replay."""
    blocks = (len(chip.pages) - SLOT_PAGES) // 16
    return 2 * (37 * blocks + 50) + 16 * blocks + SLOT_READS + 16 + 5 * REPLAYED_MAX


def judge(pages: Sequence[bytes], known: Known, settings: Mapping[str, str]) -> tuple[list[Fault], Lab | None]:
    """The broken promises of a unit on that flash, and the lab it was booted in: None when it did not boot."""
    chip = Chip(pages)
    chip.reads_max, chip.operations_max = reads_max(chip), OPERATIONS_MAX
    lab = Lab(chip, dict(settings))
    try:
        lab.power_on()
    except Exception as error:  # whatever it is: the unit did not come up
        return [Fault(BOOT_HUNG, f"{type(error).__name__}: {error}")], None
    chip.reads_max = chip.operations_max = 1 << 60
    return _look(lab, known), lab


def judge_going_on(lab: Lab, known: Known) -> list[Fault]:
    """The same after one more record, which must be saved."""
    before = len(lab.moments)
    try:
        lab.scan("CT/NOTE/afterwards")
        if lab.is_full:
            lab.receipt(event_of(lab.records()[-1])[1])
            lab.hear()
            lab.turns(3)
            lab.scan("CT/NOTE/afterwards")
    except Exception as error:
        return [Fault(NOT_GOING_ON, f"{type(error).__name__}: {error}")]
    if len(lab.moments) == before:
        return [Fault(NOT_GOING_ON, f"nothing was saved; the panel says {lab.hal.panel}")]
    return _look(lab, known)


def _look(lab: Lab, known: Known) -> list[Fault]:
    """Compare what the flash holds with what was announced, before the cut and since."""
    since = Known(freed_next=known.freed_next)
    for _at, happened in lab.moments:
        happened(since)
    held = {event_of(raw)[1]: raw for raw in lab.records()}
    held.update((seq, raw) for seq in known.flipped if (raw := lab.unit._journal.read(seq)) is not None)
    announced = known.saved | since.saved
    faults = [
        Fault(SEQ_REUSED, f"seq {seq} was announced, and then used for another record")
        for seq, raw in since.saved.items()
        if known.saved.get(seq, raw) != raw
    ]
    excused_next = since.freed_next
    if may_give_up(lab.settings["enrol"]):
        excused_next = max(excused_next, _given_up_next({**announced, **held}))
    for seq, raw in announced.items():
        if seq >= excused_next and seq not in known.damaged and held.get(seq) != raw:
            promise = SAVED_LOST if seq not in held else SEQ_REUSED
            faults.append(Fault(promise, f"seq {seq} was announced, and is {'gone' if seq not in held else 'another'}"))
    return faults + _breaks({**announced, **held}, min(since.saved, default=0))


@lru_cache(maxsize=256)
def may_give_up(letter: str) -> bool:
    """Whether that enrolment letter (hex) lets a full unit give up its oldest block after a signed loss."""
    raw = bytes.fromhex(letter)
    return bool(cbor.decode(raw, len(raw)).get(WHEN_FULL) == 1)


def _breaks(records: Mapping[int, bytes], first: int) -> list[Fault]:
    """Breaks of the chain among the records that were signed since the cut."""
    faults = []
    for seq, raw in records.items():
        before = records.get(seq - 1)
        if seq < first or before is None:
            continue
        event, last = event_of(raw), event_of(before)
        if event[2] != hashlib.sha256(before).digest():
            faults.append(Fault(NOT_GOING_ON, f"seq {seq} does not name seq {seq - 1} as the record before it"))
        if event[3] - last[3] != (1 if event[7] == BOOT and last[7] != 0 else 0):
            faults.append(Fault(NOT_GOING_ON, f"seq {seq} is of boot {event[3]}, the record before it of {last[3]}"))
    return faults


def _given_up_next(records: Mapping[int, bytes]) -> int:
    """The first seq that no loss record gave up."""
    given_up = 0
    for raw in records.values():
        event = event_of(raw)
        if event[7] == LOSS and event[10][1] == GIVEN_UP:
            given_up = max(given_up, int(event[10][3].split("..")[1].split(":")[0]) + 1)
    return given_up


def follow(known: Known, lab: Lab, operations: int) -> Known:
    """What is known when the lab's own power goes after so many of its operations."""
    later = replace(known, saved=dict(known.saved))
    for at, happened in lab.moments:
        if at <= operations:
            happened(later)
    return later
