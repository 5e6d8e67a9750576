"""Thousands of records in one boot with everything active: link, receipts, orders, scans, overrides, samples, alarms.

A unit has 160 kB of heap and no second chance: running out of it once is a restart, and one more boot record tells. A
record takes a MicroPython without native signer about 33 ms of processor time, so the number of them is a setting:
`make proof` makes it 10,000 (CARTRACE_SOAK_RECORDS), in the interpreter of `make image-host`, in half a minute.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

import wire
from hil_tests.bench.peer import Peer
from hil_tests.bench.powered import connect, powered
from hil_tests.bench.small_batch import BUFFER_GTIN, cartridge, label, order, plain
from hil_tests.bench.unix_unit import UnixUnit
from wire import RecordType

RECORDS = int(os.environ.get("CARTRACE_SOAK_RECORDS", "500"))
ARCHIVE_EVERY = 40
HEAP_FREE_MIN = 15_000  # what the largest thing of a turn, an order of 4 kB with its parts, needs twice over
SPEED = 60.0
SLOWEST_BATCH_S = 60.0
BURST = 4  # codes that wait in the scanner's line
OVERRIDE = (plain("CT/OVERRIDE/the only one left"), plain("CT/BADGE/OP-2"))


def day(number: int) -> list[bytes]:
    """What is scanned for one batch, from a hand that makes mistakes."""
    scans = [plain("CT/BATCH/OPEN"), plain("CT/STEP/START/wash"), *OVERRIDE]
    scans += [label(BUFFER_GTIN, f"1725123110WB-{number}"), *OVERRIDE, plain("CT/STEP/DONE")]
    scans += [plain("CT/STEP/START/load"), plain("=A99991234567900"), plain("=A99991234567800")]
    scans += [cartridge(f"C{number}"), cartridge(f"C{number}"), plain("CT/STEP/DONE")]
    scans += [plain(f"CT/NOTE/{'n' * 180} {at}") for at in range(10)]
    scans += [label(BUFFER_GTIN, f"10{at}") for at in range(10)]
    scans += [plain(f"CT/QTY/buffer/used/{at}.50/mL") for at in range(10)]
    scans += [b"]d2garbage\x01\r\n", plain("CT/ALARM/ACK"), plain("CT/BATCH/ABORT/the end of the day")]
    return scans


@pytest.mark.exhaustive
@pytest.mark.timeout(3000)
def test_thousands_of_records_without_running_out_of_heap(tmp_path: Path) -> None:
    with powered(tmp_path, speed=SPEED, journal_blocks=320) as unit, connect(unit) as peer:
        peer.archive_every = ARCHIVE_EVERY
        unit.scan(plain("CT/BADGE/OP-1"))
        number = 0
        while peer.next_seq() < RECORDS:
            number += 1
            work_a_day(unit, peer, number)
        peer.wait(lambda: bool(peer.statuses), "a status")
        free = [status.counters["heap_free"] for status in peer.statuses]
        types = Counter(record.type for record in peer.decoded())
        print(f"{peer.next_seq()} records, {number} batches, heap free {min(free)}..{max(free)} bytes")
        print({record_type.name: count for record_type, count in types.items()}, peer.statuses[-1].counters)
        boots = [record.body for record in peer.decoded() if isinstance(record.body, wire.Boot)]
        assert [boot.cause for boot in boots] == [0, 0], "the unit ran out of heap"  # the factory's and this one
        assert types[RecordType.OVERRIDE] == 2 * number
        assert min(types[RecordType.SAMPLES], types[RecordType.ALARM], types[RecordType.BATCH_CLOSE]) >= number - 1
        assert min(free) >= HEAP_FREE_MIN
        records = peer.decoded()
        assert [record.seq for record in records] == list(range(len(records)))


def work_a_day(unit: UnixUnit, peer: Peer, number: int) -> None:
    """One batch, scanned as fast as the unit answers."""
    work = replace(order(peer.kid), number=number, batch=f"B-{number}")
    give_up_s = time.monotonic() + SLOWEST_BATCH_S
    while f"> B-{number}" not in unit.panel():  # as a gateway does, until the unit has it
        assert time.monotonic() < give_up_s, f"order {number} is not taken: {unit.panel()}"
        peer.order(work)
        with contextlib.suppress(TimeoutError):
            unit.wait_panel(f"> B-{number}", 3.0)
    unit.sensors.excursion("temperature", 500 if number % 2 else 0)
    scans = day(number)
    for at in range(0, len(scans), BURST):
        wait_answers(unit, scans[at : at + BURST])
    peer.send(wire.Who())  # the archive moves on, and with it what this end looks through


def wait_answers(unit: UnixUnit, scans: list[bytes]) -> None:
    wanted = len(unit.sounds) + len(scans)
    for raw in scans:
        unit.scan(raw)
    unit.wait_until(lambda _lines: len(unit.sounds) >= wanted, "answers", SLOWEST_BATCH_S)
