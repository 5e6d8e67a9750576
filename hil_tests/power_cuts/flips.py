"""Every single-bit flip of a journal of fifty records, and of what the slots hold: each is read as if nothing happened.

The journal's own recovery judges most of them; a flip in the newest record, where a loss would make the unit use its
seq twice, is judged with the whole unit. So is each flip in a slot: identity, order and state must be what they were.
"""

from __future__ import annotations

from agent.events import BOOT, CHANNELS
from agent.journal import Journal

from hil_tests.power_cuts.board import BLOCK_PAGES, ERASED, PAGE_BYTES, SLOT_PAGES, Chip, Flash
from hil_tests.power_cuts.judge import NOT_GOING_ON, SAVED_LOST, SEQ_REUSED, Fault, judge, judge_going_on
from hil_tests.power_cuts.lab import Known, Lab
from hil_tests.power_cuts.replay import Tally
from hil_tests.power_cuts.scenarios import Scenario, enrolled, note

RECORDS = 50
PAGE_BITS = 8 * PAGE_BYTES
LAPS_RECORDS = 230
COUNTS = 5  # of the procedure's state: records of the open batch by type
OF_A_BOOT = (BOOT, CHANNELS)


def fifty_records() -> Lab:
    lab = Scenario("fifty records", note, blocks=5, channels=1).lab()
    enrolled(lab)
    while lab.next_seq < RECORDS:
        note(lab)
    return lab


def try_flips(lab: Lab, part: int = 0, parts: int = 1, step: int = 1) -> Tally:
    """Flip each bit of each used page, one at a time. part of parts: every parts-th page; step: every step-th bit."""
    known = Known()
    for _at, happened in lab.moments:
        happened(known)
    tally = Tally()
    used = [number for number in range(SLOT_PAGES, len(lab.chip.pages)) if lab.chip.pages[number] != ERASED]
    seq_of_page = {lab.page_of(seq): seq for seq in known.saved}
    for number in used[part::parts]:
        whole = lab.chip.pages[number]
        for bit in range(0, PAGE_BITS, step):
            lab.flip(number, bit)
            where = f"bit {bit} of page {number - SLOT_PAGES}"
            faults = _read_again(lab.chip, known, seq_of_page.get(number))
            if number == used[-1] and not faults:
                faults = _boot_again(lab, known, seq_of_page[number])
            tally.faults += [(where, fault) for fault in faults]
            tally.bit_flips += 1
            lab.chip.pages[number] = whole
    return tally


def unit_at_work() -> Lab:
    """A unit within a step, whose small ring has been used all round, with two checkpoints."""
    lab = Scenario("a unit at work", note, blocks=6, channels=1).lab()
    enrolled(lab)
    lab.order(1)
    for text in ("CT/BATCH/OPEN", "CT/STEP/START/load", "=A99991234567800"):
        lab.scan(text)
    while lab.next_seq < LAPS_RECORDS:
        work_on(lab)
    return lab


def work_on(lab: Lab) -> None:
    """One more record, and now and then a receipt."""
    note(lab)
    if lab.next_seq % 10 == 0:
        lab.receipt(lab.next_seq - 1)
        lab.hear()


def try_slot_flips(lab: Lab, part: int = 0, parts: int = 1, step: int = 1) -> Tally:
    """Flip each bit of the slots' values, one at a time; part, parts and step as in try_flips()."""
    known = Known()
    for _at, happened in lab.moments:
        happened(known)
    tally, whole, before = Tally(), list(lab.chip.pages), _standing(lab)
    used = [number for number in range(SLOT_PAGES) if whole[number] != ERASED]
    for number in used[part::parts]:
        for bit in range(0, 8 * len(whole[number].rstrip(b"\xff")), step):
            lab.flip(number, bit)
            faults, again = judge(lab.chip.pages, known, lab.settings)
            if again is not None and _standing(again) != before:
                faults.append(Fault(NOT_GOING_ON, "identity, order or state is another one"))
            tally.faults += [(f"bit {bit} of slot page {number}", fault) for fault in faults]
            tally.bit_flips += 1
            lab.chip.pages[:] = whole
    return tally


def _standing(lab: Lab) -> tuple[object, ...]:
    """Who the unit is, what it was ordered, and where it stands; not how often it was switched on."""
    procedure = lab.unit._procedure
    state = procedure.checkpoint()
    counts = {kind: number for kind, number in state.pop(COUNTS).items() if kind not in OF_A_BOOT}
    return lab.unit._signer.kid, procedure.order and procedure.order.digest, state, counts


def _read_again(chip: Chip, known: Known, seq: int | None) -> list[Fault]:
    """seq: of the record that begins in the flipped page; None for a page in the middle of one."""
    journal = Journal(Flash(chip, SLOT_PAGES, (len(chip.pages) - SLOT_PAGES) // BLOCK_PAGES))
    journal.recover()
    faults = [
        Fault(SAVED_LOST, f"seq {wanted} is not read as it was saved")
        for wanted in (range(RECORDS) if seq is None else (0, seq))
        if journal.read(wanted) != known.saved[wanted]
    ]
    if journal.next_seq != RECORDS:
        faults.append(Fault(SEQ_REUSED, f"the next seq would be {journal.next_seq}"))
    return faults


def _boot_again(lab: Lab, known: Known, seq: int) -> list[Fault]:
    known = Known(known.saved, flipped=frozenset({seq}))
    faults, again = judge(lab.chip.pages, known, lab.settings)
    return faults + (judge_going_on(again, known) if again is not None else [])
