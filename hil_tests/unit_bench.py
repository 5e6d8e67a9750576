"""`python -m hil_tests.unit_bench [--json]`: figures of the unit, measured on its real image at an emulated 125 MHz.

Nothing is measured from inside: times run from a byte at a UART to pixels on the display, memory is what the status
frames say against what the image's symbols say. Only the two signers are timed by a prompt, that of the development
image, which holds the same code. Emulated times are a lower bound for silicon (no cache ever misses); every number is
the chip's own time and every run makes the same scans, so a busy machine changes none of them.

Rows {name, value, unit, baseline, ratio}; the baseline is the budget where there is one, and for records_per_s what
115200 baud could carry. A row that misses its budget is named on standard error, and the program ends with 1.
heap_peak_kb is the most that was in use after a collection, of all moments at which a status frame was sent; garbage
that waits for the next collection comes on top of it, and the collector makes room for that when it must.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

import wire
from hil_tests.bench.board_image import blank_flash, image_path
from hil_tests.bench.full_ring import let_pass, lived
from hil_tests.bench.memory_board import MemoryBoard, MemoryPeer
from hil_tests.bench.peer import CLOUD_KEY, CLOUD_SEED, GatewayEnd
from hil_tests.bench.prompt import Prompt
from hil_tests.bench.rp2040_unit import ChipPeer, Rp2040Unit
from hil_tests.bench.small_batch import NOW_MS, cartridge, order, plain
from tools import board_image

LIMITS = {  # DESIGN section 8; more than that is a miss
    "scan_to_saved_p99_ms": 150,
    "heap_peak_kb": 160,
    "boot_full_journal_ms": 1500,
    "saturated_scans_lost": 0,
}
STEPS, ITEMS_OF_STEP = 5, 10
SPARE_STEPS, STEP_BYTES = 23, 150  # they make the order as long as one may be, within a step
SCANS = 3 * STEPS * ITEMS_OF_STEP
LINE_USED_MIN = 0.9  # of the records per second that the line carries
SATURATED_SCAN_GAP_MS = 700
GAP_MS = (50, 700)  # between two scans, so that they meet the sampling at every phase
LOOK_MS = 1.0
SATURATED_MS = 30_000
ARCHIVE_EVERY = 10
FRAME_OVERHEAD_BYTES = 11  # array and kind, byte string's head, CRC, COBS, delimiter
LINE_BYTES_PER_S = 11_520
SIGN = """
import time, {module} as signer
seed = bytes(range(32)); key = signer.public_key(seed); took = []
for number in range({rounds}):
    message = bytes((number,)) * 250
    began = time.ticks_us(); signer.sign(seed, key, message); took.append(time.ticks_diff(time.ticks_us(), began))
took.sort(); print(took[len(took) // 2])
"""


def scan_to_saved_ms(unit: Rp2040Unit) -> list[float]:
    """One figure per scan: from the code's last byte at the UART to the pixels that say what became of it.

    A third each are notes, refused cartridges and accepted ones.
    """
    dice = random.Random(150)
    took_ms: list[float] = []
    for number in range(SCANS):
        if number % (3 * ITEMS_OF_STEP) == 0:
            _next_step(unit, number // (3 * ITEMS_OF_STEP))
        raw, wanted = (
            (plain(f"CT/NOTE/bottle {number} warm"), "Note recorded"),
            (cartridge(f"X{number:04d}", "251231"), "! EXPIRED"),
            (cartridge(f"C{number:04d}"), "OK Cartridge"),
        )[number % 3]
        took_ms.append(_one_scan_ms(unit, raw, wanted))
        unit.pass_ms(dice.randint(*GAP_MS))
    return took_ms


def _next_step(unit: Rp2040Unit, number: int) -> None:
    if number:
        unit.scan(plain("CT/STEP/DONE"))
        unit.wait_panel("Step done")
    unit.scan(plain(f"CT/STEP/START/load{number}"))
    unit.wait_panel("Step started")


def _one_scan_ms(unit: Rp2040Unit, raw: bytes, wanted: str) -> float:
    assert unit.chip is not None
    assert not unit.panel()[3].startswith(wanted)
    unit.scan(raw)
    line = unit.chip.scanner
    while not (line.idle and unit.panel()[3].startswith(wanted)):
        unit.pass_ms(LOOK_MS)
        if unit.chip.now_ms - line.last_byte_ms > 5000 and line.idle:
            raise TimeoutError(f"the scan of {raw!r} has no result; the panel shows {unit.panel()}")
    return unit.chip.now_ms - line.last_byte_ms


def rest_of_the_day(unit: Rp2040Unit, peer: GatewayEnd) -> None:
    """What the scans left out, so that the heap is measured with everything active: receipts, an alarm, an override."""
    peer.archive_every = ARCHIVE_EVERY
    unit.plug_link()
    unit.sensors.excursion("temperature", 500)
    unit.wait_panel("ALARM temperature")
    unit.sensors.well("temperature")
    _one_scan_ms(unit, plain("CT/ALARM/ACK"), "Alarm acknowledged")
    _next_step(unit, STEPS)
    _one_scan_ms(unit, cartridge("X9999", "251231"), "! EXPIRED")
    _one_scan_ms(unit, plain("CT/OVERRIDE/the only one left"), "Override:")
    _one_scan_ms(unit, plain("CT/BADGE/OP-2"), "Override recorded:")
    peer.wait(lambda: peer.archived_next > SCANS, "receipts", 60)


def percentile(values: list[float], percent: float) -> float:
    return sorted(values)[min(len(values) - 1, math.ceil(len(values) * percent / 100) - 1)]


def heap_bytes(elf: Path) -> int:
    """Bytes of the interpreter's heap in that image, its tables included."""
    with elf.open("rb") as file:
        symbols = ELFFile(file).get_section_by_name(".symtab")
        assert isinstance(symbols, SymbolTableSection)
        places = {symbol.name: int(symbol["st_value"]) for symbol in symbols.iter_symbols()}
    return places["__GcHeapEnd"] - places["__GcHeapStart"]


def busy_order(kid: bytes) -> wire.Order:
    """An order that asks for all the cartridges that are scanned, and is as long as an order may be."""
    steps = tuple(
        wire.OrderStep(f"load{number}", f"Load rack {number}", ("cartridge",) * ITEMS_OF_STEP)
        for number in range(STEPS + 1)  # the last one is for the rest of the day
    )
    spare = tuple(
        wire.OrderStep(f"spare{number}", f"Change filter of rack {number}, seal it", ("cartridge",) * 8)
        for number in range(SPARE_STEPS)
    )
    longest = replace(order(kid), steps=(*steps, *spare))
    assert 0 <= wire.MAX_ORDER_BYTES - len(wire.sign_order(CLOUD_SEED, longest)) < STEP_BYTES
    return longest


def working(unit: Rp2040Unit) -> ChipPeer:
    """A batch is open, somebody is signed in, sensors sample."""
    unit.power_on()
    peer = unit.connect(wire.decode_record(unit.journal()[0]).kid, NOW_MS)
    peer.wait(lambda: bool(peer.hellos), "a hello")
    peer.order(busy_order(peer.kid))
    for raw, words in ((plain("CT/BADGE/OP-1"), "BATCH OPEN"), (plain("CT/BATCH/OPEN"), "Batch open")):
        unit.scan(raw)
        unit.wait_panel(words)
    return peer


def full_journal(flash: bytes) -> bytes:
    """36 hours of four channels at 1 Hz and 500 scans, none of them archived."""

    def live(board: MemoryBoard, peer: MemoryPeer) -> None:
        peer.order(order(peer.kid))
        board.run(2000)
        for code in (b"CT/BADGE/OP-1", b"CT/BATCH/OPEN", b"CT/STEP/START/load"):
            board.scan(code, aim="]d1")
        let_pass(board, 36 * 60, lambda number: cartridge(f"X{number:05d}", "251231").strip())

    return lived(flash, live, now_ms=NOW_MS)


def boot_ms(unit: Rp2040Unit) -> float:
    """From power-on to a lit panel that says where the unit stands."""
    unit.power_on()
    assert unit.chip is not None
    unit.unplug_link()
    while not any(unit.panel()):
        unit.pass_ms(LOOK_MS)
        if unit.chip.now_ms > 60_000:
            raise TimeoutError("the unit with a full journal shows nothing after a minute")
    return unit.chip.now_ms


def saturated(unit: Rp2040Unit) -> tuple[float, float, int]:
    """While thousands of records wait, every one is acknowledged, and somebody scans: (records that arrive per second,
    what the line allows, scans that are not in the journal afterwards)."""
    unit.plug_link()
    peer: GatewayEnd = unit.connect(wire.decode_record(unit.journal()[0]).kid, NOW_MS)
    peer.wait(lambda: peer.next_seq() >= 20, "the first records", 60)
    began_ms, first = unit.now_ms, peer.next_seq()
    notes = [f"busy line {number}" for number in range(SATURATED_MS // SATURATED_SCAN_GAP_MS)]
    for note in notes:
        unit.scan(plain(f"CT/NOTE/{note}"))
        unit.pass_ms(SATURATED_SCAN_GAP_MS)
    seconds = (unit.now_ms - began_ms) / 1000
    sent = [peer.records[seq] for seq in range(first, peer.next_seq())]
    mean_bytes = sum(len(raw) for raw in sent) / len(sent) + FRAME_OVERHEAD_BYTES
    unit.pass_ms(SATURATED_SCAN_GAP_MS)
    bodies = [wire.decode_record(raw).body for raw in unit.journal()[-10 * len(notes) :]]
    saved = {body.text for body in bodies if isinstance(body, wire.Comment)}
    return len(sent) / seconds, LINE_BYTES_PER_S / mean_bytes, len(set(notes) - saved)


def sign_ms(flash: bytes, module: str, rounds: int) -> float:
    """Median of signing 250 bytes, by the prompt of the development image."""
    prompt = Prompt(flash)
    return int(prompt.run(SIGN.format(module=module, rounds=rounds)).strip()) / 1000


# --- the whole --------------------------------------------------------------------------------------------------------


def row(name: str, value: float, unit: str, baseline: float | None = None) -> dict[str, object]:
    baseline = LIMITS.get(name, baseline)
    ratio = round(value / baseline, 3) if baseline else None
    return {
        "name": name, "value": round(value, 2), "unit": unit,
        "baseline": None if baseline is None else round(baseline, 2), "ratio": ratio,
    }  # fmt: skip


def missed(rows: list[dict[str, object]]) -> list[str]:
    """One sentence for each row above its limit, and for a line that is not used."""
    sentences = [
        f"budget_missed: {row['name']} is {row['value']} {row['unit']}, and {LIMITS[name]} is the limit"
        for row in rows
        if (name := str(row["name"])) in LIMITS and float(str(row["value"])) > LIMITS[name]
    ]
    return sentences + [
        f"budget_missed: records_per_s is {row['value']}, and the line carries {row['baseline']}"
        for row in rows
        if row["name"] == "records_per_s" and float(str(row["ratio"])) < LINE_USED_MIN
    ]


def measure(image: Path, say: Callable[[str], None]) -> Iterator[dict[str, object]]:
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        Rp2040Unit.provision(directory, cloud_public_key=CLOUD_KEY, image=image.read_bytes())
        new = (directory / "flash.bin").read_bytes()
        yield from _busy_day(directory, image, say)
        (directory / "flash.bin").write_bytes(full_journal(new))
        say("a journal of 36 hours is written")
        with Rp2040Unit(directory) as unit:
            say(f"it holds {len(unit.journal())} records")
            yield row("boot_full_journal_ms", boot_ms(unit), "ms")
            rate, bound, lost = saturated(unit)
            yield row("records_per_s", rate, "records/s", bound)
            yield row("saturated_scans_lost", lost, "scans")
    development = blank_flash(board_image.build(board_image.DEVELOPMENT).read_bytes(), None)
    yield row("sign_native_ms", sign_ms(development, "ed25519_native", 21), "ms")
    yield row("sign_pure_ms", sign_ms(development, "agent.ed25519", 5), "ms")


def _busy_day(directory: Path, image: Path, say: Callable[[str], None]) -> Iterator[dict[str, object]]:
    with Rp2040Unit(directory) as unit:
        peer = working(unit)
        unit.unplug_link()
        took_ms = scan_to_saved_ms(unit)
        say(f"{len(took_ms)} scans: median {percentile(took_ms, 50):.0f} ms, worst {max(took_ms):.0f} ms")
        yield row("scan_to_saved_p99_ms", percentile(took_ms, 99), "ms")
        yield row("scan_to_saved_p50_ms", percentile(took_ms, 50), "ms")
        rest_of_the_day(unit, peer)
        statuses = len(peer.statuses)
        peer.wait(lambda: len(peer.statuses) > statuses, "a status", 200)
        free = min(status.counters["heap_free"] for status in peer.statuses)
        say(f"heap free {free}")
        yield row("heap_peak_kb", (heap_bytes(image.with_suffix(".elf")) - free) / 1024, "KiB")
        assert unit.chip is not None
        if unit.chip.resets:
            raise RuntimeError("the unit restarted while it was measured")


def main() -> int:
    parser = argparse.ArgumentParser(prog="hil_tests.unit_bench", description="Figures of the unit on its image.")
    parser.add_argument("--json", action="store_true", help="only the rows, as JSON")
    arguments = parser.parse_args()
    image = image_path()
    if image is None:
        print("no_image: there is no image of the firmware; make image builds it", file=sys.stderr)
        return 1
    rows = list(measure(image, lambda words: print(words, file=sys.stderr, flush=True)))
    print(json.dumps(rows) if arguments.json else "\n".join(f"{row['name']:24} {row['value']}" for row in rows))
    misses = missed(rows)
    print("\n".join(misses), file=sys.stderr, end="\n" if misses else "")
    return 1 if misses else 0


if __name__ == "__main__":
    sys.exit(main())
