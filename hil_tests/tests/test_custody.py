"""Custody of a unit in memory: what is kept, freed, given up, said to be lost, and how much a boot has to read."""

from __future__ import annotations

import hashlib

import pytest
from agent import ed25519
from agent.custody import CHECKPOINT_RECORDS_MAX, GIVEN_UP, UNREADABLE
from agent.slots import Slots
from agent.unit import OutOfService

from hil_tests.power_cuts.board import BLOCK_PAGES, ERASED, SLOT_PAGES, sign_fast
from hil_tests.power_cuts.lab import Lab, event_of
from hil_tests.power_cuts.scenarios import (
    Scenario,
    archive_all_but,
    damaged_block,
    enrolled,
    filled,
    nearly_filled,
    note,
    notes,
)  # fmt: skip

BOOT, LOSS = 1, 13


@pytest.fixture(autouse=True)
def fast_signatures(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("public_key", "sign", "verify", "key_is_sound"):
        monkeypatch.setattr(ed25519, name, getattr(ed25519, name))  # so that it is put back
    sign_fast()


def lab_of(*, blocks: int = 4, gives_up: bool = False) -> Lab:
    return Scenario("custody", note, blocks=blocks, gives_up=gives_up).lab()


def events(lab: Lab, kind: int) -> list[dict[int, object]]:
    return [event[10] for raw in lab.records() if (event := event_of(raw))[7] == kind]


def losses(lab: Lab) -> list[tuple[object, object, object]]:
    return [(body[1], body[2], body.get(3)) for body in events(lab, LOSS)]


def test_a_damaged_record_is_said_to_be_lost_once() -> None:
    lab = lab_of(blocks=12)
    enrolled(lab)
    notes(8)(lab)
    for seq in (3, 4, 7):
        lab.rot(seq)
    lab.flip_one(5)  # read as if nothing had happened
    for boots in range(1, 4):
        lab.power_on()
        lab.turns(10)
        assert losses(lab) == [
            (UNREADABLE, 2, "seq 3..4: flash damaged"),
            (UNREADABLE, 1, "seq 7..7: flash damaged"),
        ]
        assert len(events(lab, BOOT)) == boots + 1
    notes(CHECKPOINT_RECORDS_MAX)(lab)  # now the loss records are behind the checkpoint, and no boot reads them
    lab.power_on()
    lab.turns(40)
    assert lab.unit._custody._checkpoint_next > 20
    assert len(losses(lab)) == 2


def test_a_damaged_block_is_one_loss_and_no_obstacle() -> None:
    lab = lab_of(blocks=6)
    damaged_block(lab)
    rotten = [seq for seq in range(lab.next_seq) if seq not in {event_of(raw)[1] for raw in lab.records()}]
    assert len(rotten) >= BLOCK_PAGES - 1
    lab.power_on()
    lab.turns(40)
    assert losses(lab) == [(UNREADABLE, len(rotten), f"seq {rotten[0]}..{rotten[-1]}: flash damaged")]


def test_nearly_full_is_said_before_full_is() -> None:
    lab = lab_of(blocks=12)
    nearly_filled(lab)
    assert lab.unit._custody.nearly_full
    assert not lab.is_full
    before = lab.next_seq
    filled_from = lab.page
    while not lab.is_full:
        note(lab)
    assert lab.next_seq > before
    assert lab.page > filled_from
    saved = lab.records()
    lab.power_on()
    lab.turns()
    assert lab.is_full
    assert lab.records() == saved, "a full journal takes not even a boot: the next receipt must find room for that"
    archive_all_but(lab, 0)
    lab.turns()
    note(lab)
    assert not lab.is_full
    assert not lab.unit._custody.nearly_full


def test_the_panel_warns_from_80_percent_on_and_not_before() -> None:
    lab = lab_of(blocks=64)
    enrolled(lab)
    used, custody_line = 0.0, ""
    while "FULL" not in custody_line:
        assert used < 0.8, custody_line
        note(lab)
        used = lab.unit._journal.used_bytes / lab.unit._journal.size_bytes
        custody_line = lab.hal.panel[5]
    assert 0.80 <= used < 0.81
    assert custody_line.startswith("80% FULL, saved "), custody_line
    assert lab.unit._custody.nearly_full
    assert not lab.is_full


def test_refused_scans_are_counted_and_recorded_when_there_is_room() -> None:
    lab = lab_of()
    filled(lab)
    notes(3)(lab)
    archive_all_but(lab, 2)
    lab.turns()
    assert losses(lab) == [("scans", 3, "refused: the journal was full")]


def test_by_policy_the_oldest_block_goes_after_a_signed_loss() -> None:
    lab = lab_of(blocks=6, gives_up=True)
    enrolled(lab)
    everything: dict[int, bytes] = {}
    for _ in range(40):
        notes(8)(lab)
        assert not lab.is_full
        held = {event_of(raw)[1]: raw for raw in lab.records()}
        everything |= held
        gone = {seq for seq in everything if seq not in held}
        assert gone <= set(range(lab.unit._custody.given_up_next))
        assert lab.unit.oldest == lab.unit._custody.given_up_next
    ranges = sorted({body[3] for raw in everything.values() if (body := event_of(raw)[10]).get(1) == GIVEN_UP})
    named = [seq for words in ranges for seq in range(*_first_and_after(str(words)))]
    assert sorted(named) == list(range(lab.unit._custody.given_up_next)), "each seq is named once, and none is left out"
    oldest, next_seq = lab.unit.oldest, lab.next_seq
    lab.power_on()
    assert lab.unit.oldest == oldest
    assert lab.next_seq == next_seq + 1


def _first_and_after(words: str) -> tuple[int, int]:
    first, last = words.removeprefix("seq ").split(":")[0].split("..")
    return int(first), int(last) + 1


def test_a_boot_replays_a_bounded_number_of_records() -> None:
    lab = lab_of(blocks=40)
    enrolled(lab)
    replayed: list[int] = []
    for _ in range(300):
        note(lab)
        if lab.next_seq % 7 == 0:
            before = lab.next_seq
            lab.power_on()
            first = lab.unit._custody._checkpoint_next
            replayed.append(before - first)
    assert max(replayed) <= CHECKPOINT_RECORDS_MAX + 3
    assert lab.unit._procedure.operator == "OP-1"


def test_a_row_of_boots_does_not_grow() -> None:
    """Cut as soon as its boot is recorded, a unit writes a checkpoint all the same."""
    lab = lab_of(blocks=40)
    enrolled(lab)
    for _ in range(3 * CHECKPOINT_RECORDS_MAX):
        lab.power_on()
        assert lab.next_seq - lab.unit._custody._checkpoint_next <= CHECKPOINT_RECORDS_MAX + 1
    assert len(events(lab, BOOT)) == 3 * CHECKPOINT_RECORDS_MAX + 1


def test_the_newest_records_gone_beyond_repair_are_not_numbered_again_once_a_checkpoint_knows_them() -> None:
    lab = lab_of(blocks=8)
    enrolled(lab)
    while lab.next_seq % 48:
        note(lab)
    lab.turns()
    known = lab.unit._custody._checkpoint_next
    assert known == lab.next_seq
    last = lab.records()[-1]
    lab.rot(known - 1)
    lab.power_on()
    lab.turns(20)
    boot = next(event for raw in lab.records() if (event := event_of(raw))[1] == known)
    assert boot[2] == hashlib.sha256(last).digest()
    assert (UNREADABLE, 1, f"seq {known - 1}..{known - 1}: flash damaged") in losses(lab)
    boots = [event_of(raw)[3] for raw in lab.records()]
    assert boots == sorted(boots)


def test_a_receipt_for_another_record_frees_nothing() -> None:
    lab = lab_of()
    filled(lab)
    before = lab.unit.oldest
    lab.receipt(lab.next_seq - 3)
    lab.hal.link_in = lab.hal.link_in[:-40] + bytes(1) + lab.hal.link_in[-39:]  # one byte of the frame
    lab.hear()
    assert (lab.unit.oldest, lab.is_full) == (before, True)


def test_a_lost_configuration_starts_no_second_stream() -> None:
    lab = lab_of()
    enrolled(lab)
    lab.turns()
    assert Slots(lab.hal.slots_flash).load("config") is not None
    lab.chip.pages[0] = ERASED  # one of two copies
    lab.power_on()
    assert lab.chip.pages[0] != ERASED, "the lost copy was not written again"
    lab.chip.pages[0] = lab.chip.pages[BLOCK_PAGES] = ERASED
    records, operations = lab.records(), len(lab.chip.log)
    with pytest.raises(OutOfService) as stopped:
        lab.power_on()
    assert stopped.value.lines[1] == "Identity is lost:"
    assert (lab.records(), len(lab.chip.log)) == (records, operations)


def test_a_checkpoint_with_both_copies_gone_costs_time_and_nothing_else() -> None:
    lab = lab_of(blocks=8)
    enrolled(lab)
    notes(70)(lab)
    lab.turns()
    for page in range(SLOT_PAGES - 2 * BLOCK_PAGES, SLOT_PAGES):
        lab.chip.pages[page] = ERASED
    next_seq = lab.next_seq
    lab.power_on()
    assert lab.unit._procedure.operator == "OP-1"
    assert (lab.next_seq, lab.unit.oldest) == (next_seq + 1, 0)
