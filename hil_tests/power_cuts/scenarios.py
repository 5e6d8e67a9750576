"""The scenarios: what a unit is doing when its power goes. Each prepares a flash, and then does the work that is cut.

The work is small, so that every cut of it can be tried; what it stands for is in its name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agent.custody import GIVE_UP_BYTES

from hil_tests.bench.sensor_source import DEFAULT_CHANNELS
from hil_tests.power_cuts.board import BLOCK_PAGES, ERASED, SLOT_PAGES
from hil_tests.power_cuts.lab import CLOUD_KEY, NOW_MS, Lab, blank
from tools import enrolment
from wire import cbor, frames

Step = Callable[[Lab], None]
LETTER_ENTROPY = 5  # key of the enrolment letter
NOTE = "CT/NOTE/" + "n" * 20


@dataclass(frozen=True)
class Scenario:
    """prepare is done with the power on and safe; work is what is cut. channels: sensors of the unit."""

    name: str
    work: Step
    prepare: Step = lambda lab: None
    blocks: int = 4
    channels: int = 0
    gives_up: bool = False

    def lab(self) -> Lab:
        """A new unit, straight from the factory, its power still off."""
        letter = enrolment.letter(
            "U-CUT", 1, CLOUD_KEY, DEFAULT_CHANNELS[: self.channels], 0, when_full=1 if self.gives_up else 0
        )
        fields = cbor.decode(letter, len(letter))
        fields[LETTER_ENTROPY] = bytes(enrolment.ENTROPY_BYTES)  # so that each process cuts the very same run
        settings = {"enrol": cbor.encode(fields).hex(), "debounce_ms": "0"}
        return Lab(blank(self.blocks), settings)


# --- what several of them do -----------------------------------------------------------------------------------------


def enrolled(lab: Lab) -> None:
    lab.power_on()
    lab.scan("CT/BADGE/OP-1")


def note(lab: Lab) -> None:
    lab.scan(NOTE)


def notes(count: int) -> Step:
    def work(lab: Lab) -> None:
        for _ in range(count):
            note(lab)

    return work


def long_note(lab: Lab) -> None:
    """A record of two pages."""
    lab.scan("CT/NOTE/" + "l" * 190)


def until_page(place: int) -> Step:
    """Enrolled, and the next page to be programmed is that one of its block."""

    def work(lab: Lab) -> None:
        enrolled(lab)
        while lab.page % BLOCK_PAGES != place:
            note(lab)

    return work


def once_round(lab: Lab) -> None:
    """The ring has been written once, with receipts all the way; its last block is half full."""
    enrolled(lab)
    pages = len(lab.chip.pages) - SLOT_PAGES
    while lab.page < pages - BLOCK_PAGES // 2:
        note(lab)
        if lab.next_seq % 8 == 0:
            archive_all_but(lab, 2)


def round_to_the_end(lab: Lab) -> None:
    once_round(lab)
    while lab.page % (len(lab.chip.pages) - SLOT_PAGES) != len(lab.chip.pages) - SLOT_PAGES - 1:
        note(lab)


def archive_all_but(lab: Lab, waiting: int) -> None:
    lab.receipt(lab.next_seq - 1 - waiting)
    lab.hear()


def filled(lab: Lab) -> None:
    """Full: not one scan more."""
    enrolled(lab)
    while not lab.is_full:
        note(lab)


def nearly_filled(lab: Lab) -> None:
    """From 80 % on: the panel warns, scans are still taken."""
    enrolled(lab)
    while not lab.unit._custody.nearly_full and not lab.is_full:
        note(lab)


def with_order(lab: Lab) -> None:
    enrolled(lab)
    lab.order(1)


def batch_open(lab: Lab) -> None:
    with_order(lab)
    lab.scan("CT/BATCH/OPEN")
    lab.scan("CT/STEP/START/load")


def batch_done(lab: Lab) -> None:
    batch_open(lab)
    lab.scan("=A99991234567800")
    lab.scan("CT/STEP/DONE/no bag today")
    for text in ("OVERRIDE/no bag today", "BADGE/OP-2", "STEP/SKIP/seal/not needed"):
        lab.scan("CT/" + text)


# --- what is cut ------------------------------------------------------------------------------------------------------


def archive_and_go_on(lab: Lab) -> None:
    archive_all_but(lab, 1)
    for _ in range(3):
        note(lab)
    lab.turns()


def trim(lab: Lab) -> None:
    """Receipts have freed blocks; the next record needs one of them."""
    archive_all_but(lab, 3)
    while lab.page % BLOCK_PAGES:
        note(lab)
    note(lab)


def receipt_during_a_scan(lab: Lab) -> None:
    """Receipt and scan wait in their lines at the same moment."""
    lab.receipt(lab.next_seq - 2)
    lab.scan(NOTE)
    lab.hear()


def boot_again(lab: Lab) -> None:
    lab.power_on()
    note(lab)


def damaged_block(lab: Lab) -> None:
    until_page(0)(lab)
    notes(20)(lab)
    start = SLOT_PAGES
    for seq in [event for event in range(lab.next_seq) if start <= lab.page_of(event) < start + BLOCK_PAGES]:
        lab.rot(seq)


def damaged_pages(lab: Lab) -> None:
    enrolled(lab)
    notes(8)(lab)
    for seq in (3, 4, 7):
        lab.rot(seq)


def boot_and_look(lab: Lab) -> None:
    """A boot, and the quiet turns in which it reads back what waits: losses are recorded, once."""
    lab.power_on()
    lab.turns(10)
    note(lab)


def flipped_last_page(lab: Lab) -> None:
    enrolled(lab)
    notes(3)(lab)
    lab.flip_one(lab.next_seq - 1)


def clock_set(lab: Lab) -> None:
    lab.send(frames.Time(NOW_MS, 20))
    lab.hear()


def take_order(lab: Lab) -> None:
    lab.order(1)


def take_another_order(lab: Lab) -> None:
    lab.order(2, "B-2026-0018")


def open_batch(lab: Lab) -> None:
    lab.scan("CT/BATCH/OPEN")
    lab.scan("CT/STEP/START/load")


def close_batch(lab: Lab) -> None:
    lab.scan("CT/BATCH/CLOSE")


def refuse_and_override(lab: Lab) -> None:
    """A step is finished with scans missing: refused, reasoned, and confirmed by a second person."""
    for text in ("STEP/DONE", "OVERRIDE/bag broken", "BADGE/OP-2"):
        lab.scan("CT/" + text)


def before_checkpoint(lab: Lab) -> None:
    enrolled(lab)
    while lab.next_seq % 48 != 46:
        note(lab)


def reach_checkpoint(lab: Lab) -> None:
    note(lab)
    note(lab)
    lab.turns()


def sensor_minute(lab: Lab) -> None:
    lab.pass_s(61)


def receipt_when_full(lab: Lab) -> None:
    """Refused scans, then a receipt: room is made, and the loss of the scans is recorded."""
    note(lab)
    archive_all_but(lab, 2)
    lab.turns()
    note(lab)


def give_up(lab: Lab) -> None:
    """Policy: the oldest block goes, after a signed record that says which seqs."""
    before = lab.next_seq
    while lab.unit._custody.given_up_next == 0 or lab.next_seq < before + 6:
        note(lab)


def almost_giving_up(lab: Lab) -> None:
    enrolled(lab)
    while lab.unit._journal.room(GIVE_UP_BYTES + 248):
        note(lab)


def little_to_erase(*prepare: Step) -> Step:
    """As prepare leaves a used ring; of its first block, which is erased next, one page holds something.

    Few states, so that all pairs of cuts can be tried. Full blocks are erased where the work is longer ("trim").
    """

    def work(lab: Lab) -> None:
        for each in prepare:
            each(lab)
        for page in range(1, BLOCK_PAGES):
            lab.chip.pages[SLOT_PAGES + page] = ERASED

    return work


def cut_append(lab: Lab) -> None:
    enrolled(lab)
    notes(2)(lab)
    lab.cut(long_note, 1, 100)


def cut_recovery(lab: Lab) -> None:
    cut_append(lab)
    lab.cut(Lab.power_on, 0, 77)


def cut_enrolment(lab: Lab) -> None:
    lab.cut(Lab.power_on, 2, 40)


def cut_erase(lab: Lab) -> None:
    once_round(lab)
    lab.cut(lambda at_work: at_work.turns(1), 0, 700)


SCENARIOS = (
    Scenario("first boot", Lab.power_on, channels=4),
    Scenario("enrolment after a cut of it", Lab.power_on, cut_enrolment, channels=1),
    Scenario("append", note, enrolled),
    Scenario("append of two pages", long_note, enrolled),
    Scenario("page boundary", notes(3), until_page(6)),
    Scenario("block boundary", long_note, until_page(15)),
    Scenario("block boundary of a used ring", notes(9), once_round),
    Scenario("wrap", long_note, little_to_erase(round_to_the_end)),
    Scenario("trim", trim, once_round),
    Scenario("receipt during a scan", receipt_during_a_scan, once_round),
    Scenario("nearly full", archive_and_go_on, nearly_filled, blocks=12),
    Scenario("full", receipt_when_full, filled),
    Scenario("giving up the oldest block", give_up, almost_giving_up, blocks=6, gives_up=True),
    Scenario("erase ahead", lambda lab: lab.turns(2), little_to_erase(once_round)),
    Scenario("erase and append", note, little_to_erase(round_to_the_end, note)),
    Scenario("damaged block", boot_and_look, damaged_block, blocks=5),
    Scenario("damaged pages", boot_and_look, damaged_pages),
    Scenario("flipped bit in the last page", boot_again, flipped_last_page),
    Scenario("clock set", clock_set, enrolled),
    Scenario("order stored", take_order, enrolled),
    Scenario("order replaced", take_another_order, with_order),
    Scenario("batch open", open_batch, with_order, channels=2),
    Scenario("batch close", close_batch, batch_done, channels=2),
    Scenario("override", refuse_and_override, batch_open),
    Scenario("sensor batch", sensor_minute, enrolled, channels=1),
    Scenario("checkpoint", reach_checkpoint, before_checkpoint, blocks=6),
    Scenario("recovery from a cut append", boot_again, cut_append),
    Scenario("recovery from a cut recovery", boot_again, cut_recovery),
    Scenario("recovery from a cut erase", boot_again, cut_erase),
)
