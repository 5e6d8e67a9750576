"""`python -m hil_tests.image_cuts [--json]`: power cuts of the real image, each followed by a new boot.

Lives three lives of a unit on the emulated board (its first boot; a working day with orders, scans, samples, receipts;
a ring that is full and makes room) and keeps the flash as it was before every flash operation. A cut point is one of
these operations, before it, after it, or torn after some bytes. From each one a new chip boots, and the journal is
looked at with code that shares nothing with the firmware. Every fifteenth boot is cut in its turn, and booted again.

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
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import wire
from hil_tests.bench.board_image import image_path, journal_of
from hil_tests.bench.full_ring import let_pass, lived
from hil_tests.bench.memory_board import MemoryBoard, MemoryPeer
from hil_tests.bench.nor import Cut
from hil_tests.bench.peer import CLOUD_KEY
from hil_tests.bench.rp2040_chip import FlashOperation
from hil_tests.bench.rp2040_unit import Rp2040Unit
from hil_tests.bench.small_batch import NOW_MS, cartridge, order, plain

CUT_POINTS = 302
PROCESSES = 2
READY_S = 8.0  # of the chip's time; the watchdog bites after as many
SEED = 2040


@dataclass(frozen=True)
class Life:
    """One power-on of a unit: the flash it began with, and every flash operation of it.

    heard: records in the order in which the gateway heard them. For each operation how many of them had been heard when
    it began, and the first seq without a receipt at that moment.
    """

    name: str
    start: bytes
    operations: tuple[FlashOperation, ...]
    heard: tuple[bytes, ...]
    heard_before: tuple[int, ...]
    archived_before: tuple[int, ...]

    def flash_before(self, number: int) -> bytes:
        """What the flash held when that operation (counted from 0) was about to begin."""
        flash = bytearray(self.start)
        for operation in self.operations[:number]:
            flash[operation.addr : operation.addr + len(operation.after)] = operation.after
        return bytes(flash)


@dataclass(frozen=True)
class CutPoint:
    """The power goes at an operation; torn_bytes of it take effect, None: all. again: a cut of the next boot."""

    life: int
    number: int
    torn_bytes: int | None
    again: Cut | None


@dataclass(frozen=True)
class Outcome:
    lost: int
    reused: int
    hung: bool


# --- three lives ------------------------------------------------------------------------------------------------------


class Watch:
    """Notes at every flash operation of a unit what was so just before it."""

    def __init__(self, unit: Rp2040Unit) -> None:
        self._unit = unit
        self._start = unit.flash
        self._operations: list[FlashOperation] = []
        self._heard_before: list[int] = []
        self._archived_before: list[int] = []
        unit.before_operation = self._note

    def _note(self, operation: FlashOperation) -> None:
        peer = self._unit.peer
        self._operations.append(operation)
        self._heard_before.append(len(peer.records) if peer else 0)
        self._archived_before.append(peer.archived_next if peer else 0)

    def life(self, name: str) -> Life:
        heard = tuple(self._unit.peer.records.values()) if self._unit.peer else ()
        notes = tuple(self._heard_before), tuple(self._archived_before)
        return Life(name, self._start, tuple(self._operations), heard, *notes)


def first_boot(directory: Path) -> Life:
    watches: list[Watch] = []
    Rp2040Unit.provision(directory, cloud_public_key=CLOUD_KEY, prepared=lambda unit: watches.append(Watch(unit)))
    return watches[0].life("first boot")


def working_day(directory: Path) -> Life:
    with Rp2040Unit(directory) as unit:
        watch = Watch(unit)
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
        peer.archive_every = 10
        unit.pass_ms(62_000)  # a whole batch of samples
        for number in range(8):
            unit.scan(plain(f"CT/NOTE/{number}"))
            unit.pass_ms(350)
        unit.scan(plain("CT/BATCH/ABORT/enough"))
        unit.wait_panel("Batch aborted")
        return watch.life("working day")


def full_ring(directory: Path) -> Life:
    """The ring has just been filled, and receipts for nearly all of it arrive: from now on appending means erasing."""

    def live(board: MemoryBoard, peer: MemoryPeer) -> None:
        board.scan(b"CT/BADGE/OP-1", aim="]d1")
        let_pass(board, 36 * 60, lambda number: b"CT/NOTE/%d" % number)
        while not any("FULL" in line for line in board.lines):
            let_pass(board, 10, lambda number: b"CT/NOTE/%d" % number)

    path = directory / "flash.bin"
    path.write_bytes(lived(path.read_bytes(), live, now_ms=NOW_MS))
    with Rp2040Unit(directory) as unit:
        watch = Watch(unit)
        unit.power_on()
        records = {wire.decode_record(raw).seq: raw for raw in unit.journal()}
        peer = unit.connect(wire.decode_record(records[0]).kid, NOW_MS)
        peer.records.update(records)
        peer.wait(lambda: bool(peer.hellos), "a hello")
        peer.archived_next = max(records) - 40
        peer.receipt(peer.archived_next - 1)
        unit.wait_until(lambda lines: not any("FULL" in line for line in lines), "room")
        for number in range(16):
            unit.scan(plain(f"CT/NOTE/{number} {'x' * 180}"))
            unit.pass_ms(500)
        return watch.life("full ring")


LIVES = {"first boot": first_boot, "working day": working_day, "full ring": full_ring}


def lived_in(name: str, directory: Path) -> Life:
    return LIVES[name](directory)


# --- cuts -------------------------------------------------------------------------------------------------------------


def cut_points(lives: Sequence[Life], wanted: int) -> list[CutPoint]:
    """Every operation torn somewhere; then, evenly spread, after and before them until there are enough.

    Before one operation is after the one in front of it, as far as the flash can tell.
    """
    dice = random.Random(SEED)
    places = [(life, number) for life, lived in enumerate(lives) for number in range(len(lived.operations))]
    sizes = [len(lives[life].operations[number].after) for life, number in places]
    chosen: list[tuple[int, int, int | None]] = [
        (*place, dice.randrange(1, size)) for place, size in zip(places, sizes, strict=True)
    ]
    more = max(0, wanted - len(chosen))
    for turn in range(more):
        at = turn * len(places) // more
        chosen.append((*places[at], (None, 0, dice.randrange(1, sizes[at]))[turn % 3]))
    return [
        CutPoint(life, number, torn, Cut(1 + at // 15 % 3, torn) if at % 15 == 14 else None)
        for at, (life, number, torn) in enumerate(chosen)
    ]


def by_seq(raws: Iterable[bytes]) -> dict[tuple[bytes, int], bytes]:
    records = [wire.decode_record(raw) for raw in raws]
    return {(record.kid, record.seq): record.raw for record in records}


def judge(directory: Path, life: Life, cut: CutPoint) -> Outcome:
    """Boot from the cut and compare what was saved with what is there."""
    before = life.flash_before(cut.number)
    operation = life.operations[cut.number]
    done = operation.after[: cut.torn_bytes]
    flash = before[: operation.addr] + done + before[operation.addr + len(done) :]
    saved = {*journal_of(before), *journal_of(flash)}
    sent = set(life.heard[: life.heard_before[cut.number]])
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "flash.bin").write_bytes(flash)
    with Rp2040Unit(directory) as unit:
        unit.unplug_link()
        hung = not _boots(unit, cut.again)
        found = set(unit.journal())
        misused = unit.misuse is not None
    archived_next = life.archived_before[cut.number]
    gone, fresh = by_seq(saved - found), by_seq(found - saved)
    lost = sum(seq >= archived_next for _kid, seq in gone)
    reused = len((gone.keys() | by_seq(sent - found).keys()) & fresh.keys())
    return Outcome(lost, reused, hung or misused)


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

_lives: list[Life] = []  # inherited by the worker processes


def _judge_one(task: tuple[CutPoint, str]) -> Outcome:
    cut, folder = task
    return judge(Path(folder) / str(os.getpid()), _lives[cut.life], cut)


def measure(wanted: int, say: Callable[[str], None]) -> Iterator[dict[str, object]]:
    began_s = time.monotonic()
    fork = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        new = first_boot(home / "new")
        for name in ("day", "ring"):
            shutil.copytree(home / "new", home / name)
        with fork.Pool(PROCESSES) as pool:
            tasks = [("working day", home / "day"), ("full ring", home / "ring")]
            _lives[:] = [new, *pool.starmap(lived_in, tasks, 1)]
        for life in _lives:
            say(f"{life.name}: {len(life.operations)} flash operations, after {time.monotonic() - began_s:.0f} s")
        cuts = cut_points(_lives, wanted)
        outcomes: list[Outcome] = []
        with fork.Pool(PROCESSES) as pool:
            for cut, outcome in zip(cuts, pool.imap(_judge_one, [(cut, folder) for cut in cuts]), strict=True):
                outcomes.append(outcome)
                if outcome != Outcome(0, 0, False):
                    say(_described(cut, outcome))
                if len(outcomes) % 50 == 0:
                    say(f"{len(outcomes)} of {len(cuts)} cuts, {time.monotonic() - began_s:.0f} s")
    yield from (
        row("cut_points", len(outcomes), "cuts", 300),
        row("saved_lost", sum(outcome.lost for outcome in outcomes), "records"),
        row("seq_reused", sum(outcome.reused for outcome in outcomes), "records"),
        row("boots_hung", sum(outcome.hung for outcome in outcomes), "boots"),
        row("seconds", round(time.monotonic() - began_s, 1), "s"),
    )


def _described(cut: CutPoint, outcome: Outcome) -> str:
    life = _lives[cut.life]
    operation = life.operations[cut.number]
    kind = "erase" if operation.erase else "program"
    return f"{life.name}, {kind} at {operation.addr:#x}, torn {cut.torn_bytes}, {cut.again}: {outcome}"


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
