"""`python -m hil_tests.image_cuts [--json]`: power cuts of the real image, each followed by a new boot.

Lives three lives of a unit on the emulated board (its first boot; a working day with orders, scans, samples, receipts;
a ring that is full and makes room) and keeps the flash as it was before every flash operation. A cut point is one of
these operations, before it, after it, or torn after some bytes. From each one a new chip boots, and the journal is
looked at with code that shares nothing with the firmware. Every tenth boot is cut in its turn, and booted again.

Rows {name, value, unit, baseline, ratio}: cut_points; saved_lost: records that the flash held whole before the cut and
no receipt covered, and that are gone or changed; seq_reused: a seq that was saved or sent, found with other bytes;
boots_hung: boots that did not come to a lit panel; seconds.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import wire
from hil_tests.bench.board_image import image_path, journal_of
from hil_tests.bench.full_ring import let_pass, lived
from hil_tests.bench.memory_board import MemoryBoard, MemoryPeer
from hil_tests.bench.nor import BLOCK_BYTES, PAGE_BYTES, Cut
from hil_tests.bench.peer import CLOUD_KEY
from hil_tests.bench.rp2040_chip import FlashOperation
from hil_tests.bench.rp2040_unit import Rp2040Unit
from hil_tests.tests.test_bench_batch import NOW_MS, cartridge, order, plain

CUT_POINTS = 330
PROCESSES = 2
READY_S = 8.0  # of the chip's time; the watchdog bites after as many
SEED = 2040
RING_SCAN = b"CT/NOTE/the ring goes round"

Records = Mapping[tuple[bytes, int], bytes]  # by (kid, seq)


@dataclass(frozen=True)
class Moment:
    """A flash operation that was about to begin, and what was so just before it."""

    life: str
    operation: FlashOperation
    flash: bytes
    sent: frozenset[bytes]  # records that the gateway had heard
    archived_next: int


@dataclass(frozen=True)
class CutPoint:
    """The power goes at a moment; torn_bytes of the operation take effect, None: all of them."""

    moment: int
    torn_bytes: int | None
    again: Cut | None  # the boot that follows is cut as well


@dataclass(frozen=True)
class Outcome:
    lost: int
    reused: int
    hung: bool


# --- three lives ------------------------------------------------------------------------------------------------------


class Watch:
    """Keeps a Moment for every flash operation of a unit."""

    def __init__(self, life: str, unit: Rp2040Unit, moments: list[Moment]) -> None:
        self._life, self._unit, self._moments = life, unit, moments
        unit.before_operation = self._keep

    def _keep(self, operation: FlashOperation) -> None:
        peer = self._unit.peer
        sent = frozenset(peer.records.values()) if peer else frozenset()
        archived_next = peer.archived_next if peer else 0
        self._moments.append(Moment(self._life, operation, self._unit.flash, sent, archived_next))


def first_boot(directory: Path, moments: list[Moment]) -> None:
    def watch(unit: Rp2040Unit) -> None:
        Watch("first boot", unit, moments)

    Rp2040Unit.provision(directory, cloud_public_key=CLOUD_KEY, prepared=watch)


def working_day(directory: Path, moments: list[Moment]) -> None:
    with Rp2040Unit(directory) as unit:
        Watch("working day", unit, moments)
        unit.power_on()
        peer = unit.connect(wire.decode_record(unit.journal()[0]).kid, NOW_MS)
        peer.wait(lambda: bool(peer.hellos), "a hello")
        peer.order(order(peer.kid))
        for raw, words in (
            (plain("CT/BADGE/OP-1"), "Welcome"), (plain("CT/BATCH/OPEN"), "Batch open"),
            (plain("CT/STEP/START/load"), "Step started"), (plain("=A99991234567800"), "OK Donor"),
            (cartridge("C0009", "251231"), "EXPIRED"), (cartridge("C0001"), "OK Cartridge"),
            (plain("CT/NOTE/" + "n" * 190), "Note recorded"), (plain("CT/STEP/DONE"), "Step done"),
        ):  # fmt: skip
            unit.scan(raw)
            unit.wait_panel(words)
        peer.archive_every = 4
        unit.pass_ms(62_000)  # a whole batch of samples
        for number in range(40):  # past a checkpoint
            unit.scan(plain(f"CT/NOTE/{number}"))
            unit.pass_ms(350)
        unit.scan(plain("CT/BATCH/ABORT/enough"))
        unit.wait_panel("Batch aborted")


def full_ring(directory: Path, moments: list[Moment]) -> None:
    """The ring has just been filled, and receipts for all of it arrive: from now on appending means erasing."""

    def live(board: MemoryBoard, peer: MemoryPeer) -> None:
        peer.archive_every = None
        board.scan(b"CT/BADGE/OP-1", aim="]d1")
        let_pass(board, 36 * 60, lambda number: b"CT/NOTE/%d" % number)
        while not any("FULL" in line for line in board.lines):
            let_pass(board, 10, lambda number: b"CT/NOTE/%d" % number)

    path = directory / "flash.bin"
    path.write_bytes(lived(path.read_bytes(), live, now_ms=NOW_MS))
    with Rp2040Unit(directory) as unit:
        Watch("full ring", unit, moments)
        unit.power_on()
        records = {wire.decode_record(raw).seq: raw for raw in unit.journal()}
        peer = unit.connect(wire.decode_record(records[0]).kid, NOW_MS)
        peer.records.update(records)
        peer.wait(lambda: bool(peer.hellos), "a hello")
        peer.archived_next = max(records) - 40
        peer.receipt(peer.archived_next - 1)
        unit.wait_until(lambda lines: not any("FULL" in line for line in lines), "room")
        for number in range(24):
            unit.scan(plain(f"CT/NOTE/{number} {'x' * 180}"))
            unit.pass_ms(500)


# --- cuts -------------------------------------------------------------------------------------------------------------


def cut_points(moments: Sequence[Moment], wanted: int) -> list[CutPoint]:
    """Before and after every operation, then torn ones in turn until there are enough."""
    dice = random.Random(SEED)
    torn = [(number, bytes_done) for bytes_done in (0, None) for number in range(len(moments))]
    while len(torn) < wanted:
        for number, moment in enumerate(moments):
            size = BLOCK_BYTES if moment.operation.erase else PAGE_BYTES
            torn.append((number, dice.randrange(1, size)))
    points = []
    for place, (number, bytes_done) in enumerate(torn[: max(wanted, 2 * len(moments))]):
        again = Cut(1 + place // 10 % 3, dice.choice((0, 7, 100, 255, None))) if place % 10 == 9 else None
        points.append(CutPoint(number, bytes_done, again))
    return points


def flash_after(moment: Moment, torn_bytes: int | None) -> bytes:
    operation = moment.operation
    done = operation.after if torn_bytes is None else operation.after[:torn_bytes]
    return moment.flash[: operation.addr] + done + moment.flash[operation.addr + len(done) :]


def by_seq(raws: Sequence[bytes]) -> dict[tuple[bytes, int], bytes]:
    records = [wire.decode_record(raw) for raw in raws]
    return {(record.kid, record.seq): record.raw for record in records}


def judge(directory: Path, moment: Moment, cut: CutPoint) -> Outcome:
    """Boot from the cut and compare what was saved with what is there."""
    flash = flash_after(moment, cut.torn_bytes)
    saved = by_seq(journal_of(moment.flash)) | by_seq(journal_of(flash))
    sent = by_seq(sorted(moment.sent))
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "flash.bin").write_bytes(flash)
    with Rp2040Unit(directory) as unit:
        unit.unplug_link()
        hung = not _boots(unit, cut.again)
        found = by_seq(unit.journal())
        bad_flash = unit.misuse is not None
    must_stay = [key for key in saved if key[1] >= moment.archived_next]
    lost = sum(found.get(key) != saved[key] for key in must_stay)
    reused = sum(found[key] != raw for key, raw in (saved | sent).items() if key in found)
    return Outcome(lost, reused, hung or bad_flash)


def _boots(unit: Rp2040Unit, again: Cut | None) -> bool:
    """Whether the panel lights up and says something, after a cut of this boot too when there is one."""
    if again is not None:
        unit.power_cut(at_flash_op=again.at_op, torn_bytes=again.torn_bytes)
    for _boot in range(2):
        unit.power_on()
        try:
            unit.wait_until(lambda lines: any(lines) or not unit.is_on, "the panel", READY_S)
            unit.pass_ms(20)
        except TimeoutError:
            return False
        if unit.is_on:
            return unit.chip is not None and unit.chip.resets == 0
    return False


# --- the whole --------------------------------------------------------------------------------------------------------

_moments: list[Moment] = []  # inherited by the worker processes


def _judge_one(task: tuple[CutPoint, str]) -> Outcome:
    cut, folder = task
    return judge(Path(folder) / str(os.getpid()), _moments[cut.moment], cut)


def measure(wanted: int, say: Callable[[str], None]) -> Iterator[dict[str, object]]:
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "unit"
        for live in (first_boot, working_day, full_ring):
            live(directory, _moments)
            say(f"{live.__name__}: {len(_moments)} flash operations so far, {time.monotonic() - began_s:.0f} s")
        cuts = cut_points(_moments, wanted)
        with multiprocessing.get_context("fork").Pool(PROCESSES) as pool:
            outcomes = []
            for outcome in pool.imap(_judge_one, [(cut, folder) for cut in cuts]):
                outcomes.append(outcome)
                if len(outcomes) % 50 == 0:
                    say(f"{len(outcomes)} of {len(cuts)} cuts, {time.monotonic() - began_s:.0f} s")
    for cut, outcome in zip(cuts, outcomes, strict=True):
        if outcome != Outcome(0, 0, False):
            moment = _moments[cut.moment]
            kind = "erase" if moment.operation.erase else "program"
            say(f"{moment.life}, {kind} at {moment.operation.addr:#x}, torn {cut.torn_bytes}, {cut.again}: {outcome}")
    yield from (
        row("cut_points", len(outcomes), "cuts", 300),
        row("saved_lost", sum(outcome.lost for outcome in outcomes), "records"),
        row("seq_reused", sum(outcome.reused for outcome in outcomes), "records"),
        row("boots_hung", sum(outcome.hung for outcome in outcomes), "boots"),
        row("seconds", round(time.monotonic() - began_s, 1), "s"),
    )


def row(name: str, value: float, unit: str, baseline: float | None = None) -> dict[str, object]:
    ratio = None if baseline is None else round(value / baseline, 3)
    return {"name": name, "value": value, "unit": unit, "baseline": baseline, "ratio": ratio}


def main() -> int:
    parser = argparse.ArgumentParser(prog="hil_tests.image_cuts", description="Power cuts of the real image.")
    parser.add_argument("--json", action="store_true", help="only the rows, as JSON")
    parser.add_argument("--cuts", type=int, default=CUT_POINTS, help="cut points at least")
    arguments = parser.parse_args()
    if image_path() is None:
        print("no_image: there is no image of the firmware; make image builds it", file=sys.stderr)
        return 1
    rows = list(measure(arguments.cuts, lambda words: print(words, file=sys.stderr, flush=True)))
    print(json.dumps(rows) if arguments.json else "\n".join(f"{row['name']:12} {row['value']}" for row in rows))
    wrong = [row["name"] for row in rows if row["name"] in ("saved_lost", "seq_reused", "boots_hung") and row["value"]]
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
