"""36 hours without a gateway: everything that one long batch makes fits the journal of a real unit, and what is left.

The records are the unit's own, made by its own code in simulated time: four channels at 1 Hz, 500 scans of labels with
trade item, expiry, lot and serial, the badges, steps, quantities and notes of such a batch, and a power cut every three
hours.
"""

from __future__ import annotations

from collections import Counter

import pytest
from agent import ed25519
from agent.journal import BLOCK_PAGES, RESERVED_PAGES, pages_of

from hil_tests.power_cuts.board import sign_fast
from hil_tests.power_cuts.lab import NOW_MS, Lab, event_of
from hil_tests.power_cuts.scenarios import Scenario, enrolled
from wire import frames

HOURS, BLOCKS = 36, 320
SCANS = 500
BOOTS_EVERY_HOURS = 3
SCAN, CHANNELS, SAMPLES = 7, 8, 9


@pytest.fixture(autouse=True)
def fast_signatures(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("public_key", "sign", "verify", "key_is_sound"):
        monkeypatch.setattr(ed25519, name, getattr(ed25519, name))  # so that it is put back
    sign_fast()


def clock(lab: Lab, hour: int) -> None:
    lab.send(frames.Time(NOW_MS + 3_600_000 * hour, 20))
    lab.hear()


def label(number: int) -> bytes:
    return f"]d201095200000100171727123110LOT-{number:04d}\x1d21{number:08d}\r\n".encode()


def thirty_six_hours() -> Lab:
    lab = Scenario("36 hours", enrolled, blocks=BLOCKS, channels=4).lab()
    enrolled(lab)
    clock(lab, 0)
    lab.order(1, "B-2026-0017", high=3800)
    lab.scan("CT/BATCH/OPEN")
    lab.scan("CT/STEP/START/load")
    scans = 0
    for minute in range(60 * HOURS):
        hour = minute // 60
        if minute and minute % (60 * BOOTS_EVERY_HOURS) == 0:
            lab.power_on()
            clock(lab, hour)
        if minute % 480 == 479:
            lab.scan(f"CT/BADGE/OP-{hour}")  # a shift ends
        if minute % 90 == 89:
            lab.scan("CT/QTY/bag/used/12.5/mL")
            lab.scan("CT/NOTE/medium changed, colour as expected")
        while scans < SCANS * (minute + 1) // (60 * HOURS):
            lab.hal.pass_ms(900)
            lab.hal.scanner_in += label(scans)
            lab.unit.turn()
            scans += 1
        lab.hal.pass_ms(60_000 - lab.hal.uptime_ms() % 60_000)
        lab.turns(2)
    return lab


def test_36_hours_fit_the_ring_with_room_to_spare() -> None:
    lab = thirty_six_hours()
    assert not lab.is_full
    records = lab.records()
    assert [event_of(raw)[1] for raw in records] == list(range(lab.next_seq)), "nothing was given up"
    kinds = Counter(event_of(raw)[7] for raw in records)
    assert kinds[SCAN] >= SCANS
    assert kinds[SAMPLES] >= 60 * HOURS
    samples = sum(event_of(raw)[10][4] for raw in records if event_of(raw)[7] == SAMPLES)
    assert samples >= 3600 * HOURS - 60 * (HOURS // BOOTS_EVERY_HOURS + 1), "only what a power cut took is missing"
    pages = {kind: [pages_of(len(raw)) for raw in records if event_of(raw)[7] == kind] for kind in kinds}
    assert set(pages[SCAN]) == {1}
    assert max(pages[SAMPLES]) == 2
    left = lab.unit._journal.free_pages - RESERVED_PAGES
    used = sum(sum(each) for each in pages.values())
    print(f"{len(records)} records, {used} pages of {BLOCKS * BLOCK_PAGES}, {left} left")
    for kind in sorted(kinds):
        longest = max(len(raw) for raw in records if event_of(raw)[7] == kind)
        print(f"type {kind:2}: {kinds[kind]:5} records, {sum(pages[kind]):5} pages, longest {longest} bytes")
    assert left > 100
