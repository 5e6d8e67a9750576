"""The bench itself: flash that behaves like flash, an independent reader of it, sensors, a board that dies properly."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest

from hil_tests.bench import truth
from hil_tests.bench.nor import BLOCK_BYTES, PAGE_BYTES, Cut, FlashMisuse, Nor, PowerLost
from hil_tests.bench.peer import CLOUD_KEY, provisioned
from hil_tests.bench.sensor_source import FAULT, CsvSensors, SensorFaults, SyntheticSensors


def test_a_program_only_clears_bits_and_an_erase_sets_a_block(tmp_path: Path) -> None:
    nor = Nor(tmp_path / "flash", 2 * BLOCK_BYTES)
    nor.program(10, b"\x0f\xf0")
    nor.program(10, b"\xfc\x3f")
    assert nor.read(9, 4) == b"\xff\x0c\x30\xff"
    nor.program(BLOCK_BYTES, b"\0")
    nor.erase(0)
    assert nor.read(0, BLOCK_BYTES) == b"\xff" * BLOCK_BYTES
    assert nor.read(BLOCK_BYTES, 1) == b"\0"
    nor.close()
    again = Nor(tmp_path / "flash", 2 * BLOCK_BYTES)  # the bytes outlive the object
    assert again.read(BLOCK_BYTES, 1) == b"\0"
    again.close()


@pytest.mark.parametrize(
    ("addr", "length"), [(PAGE_BYTES - 1, 2), (0, PAGE_BYTES + 1), (0, 0), (2 * BLOCK_BYTES, 1), (-1, 1)]
)
def test_a_program_that_leaves_its_page_is_misuse(tmp_path: Path, addr: int, length: int) -> None:
    nor = Nor(tmp_path / "flash", 2 * BLOCK_BYTES)
    with pytest.raises(FlashMisuse):
        nor.program(addr, bytes(length))
    with pytest.raises(FlashMisuse):
        nor.erase(1)
    nor.close()


@pytest.mark.parametrize(("torn_bytes", "kept"), [(0, 0), (3, 3), (9, 8), (None, 8)])
def test_a_cut_keeps_what_was_programmed_so_far(tmp_path: Path, torn_bytes: int | None, kept: int) -> None:
    nor = Nor(tmp_path / "flash", BLOCK_BYTES)
    nor.arm(Cut(2, torn_bytes))
    nor.program(0, bytes(8))
    with pytest.raises(PowerLost):
        nor.program(PAGE_BYTES, bytes(8))
    assert nor.read(PAGE_BYTES, 8) == bytes(kept) + b"\xff" * (8 - kept)
    nor.program(2 * PAGE_BYTES, bytes(8))  # one cut, and then the power is back
    nor.close()


def page(lap: int, tag: int, payload: bytes) -> bytes:
    checked = (struct.pack("<HB", lap, len(payload)) + payload).ljust(PAGE_BYTES - 5, b"\xff") + bytes((tag,))
    return struct.pack("<I", zlib.crc32(b"CTJ2" + checked)) + checked


def test_truth_reads_entries_across_the_end_of_the_ring() -> None:
    blank = b"\xff" * PAGE_BYTES
    pages = [blank] * 64
    pages[60] = page(0, 0xA0, b"one")
    pages[62] = page(0, 0xA2, b"t" * 248)
    pages[63] = page(0, 0xB1, b"w" * 248)
    pages[0] = page(1, 0xB0, b"o")
    pages[1] = page(1, 0xC0, b"of no kind that there is")
    pages[2] = page(1, 0xA0, b"three")
    pages[3] = page(1, 0xA1, b"x" * 248)  # its second page never came
    pages[5] = page(1, 0xA0, b"four")
    pages[6] = page(0, 0xA0, b"left over from the lap before")
    damaged = bytearray(page(1, 0xA0, b"damaged"))
    damaged[9] ^= 1
    pages[7] = bytes(damaged)
    assert truth.records(b"".join(pages)) == [
        bytes.fromhex("d2844da201320448") + stored
        for stored in (b"one", b"t" * 248 + b"w" * 248 + b"o", b"three", b"four")
    ]
    assert truth.records(blank * 64) == []


def test_a_recorded_file_feeds_the_first_channel(tmp_path: Path) -> None:
    path = tmp_path / "oven.csv"
    path.write_text("timestamp,value\n2013-12-02 21:15:00,70.0\n2013-12-02 21:20:00,80.0\n2013-12-02 21:25:00,75.0\n")
    source = CsvSensors(path, span=(3600, 3800), row_ms=1000)
    assert [source.read(at_ms)[0] for at_ms in (0, 999, 1000, 2000, 3000)] == [3600, 3600, 3800, 3700, 3600]
    assert len(source.read(0)) == len(source.channels)


def test_synthetic_values_repeat_themselves_and_say_what_they_are() -> None:
    one, two = SyntheticSensors(), SyntheticSensors()
    assert [one.read(at) for at in range(0, 90_000, 777)] == [two.read(at) for at in range(0, 90_000, 777)]
    assert "synthetic" in one.label
    temperatures = {one.read(at)[0] for at in range(0, 900_000, 1000)}
    assert len(temperatures) > 10


def test_faults_bend_one_channel_and_end() -> None:
    faults = SensorFaults(SyntheticSensors())
    healthy = faults.read(5000)
    assert isinstance(healthy[0], int)
    faults.excursion("temperature", 400)
    faults.fault("co2")
    faults.missing("ph")
    faults.stuck("pressure", 7)
    assert faults.read(5000) == [healthy[0] + 400, FAULT, None, 7]
    for channel in ("temperature", "co2", "ph", "pressure"):
        faults.well(channel)
    assert faults.read(5000) == healthy
    with pytest.raises(ValueError, match="no channel"):
        faults.missing("humidity")


def test_the_firmware_dies_with_the_bench(tmp_path: Path) -> None:
    """A bench that is killed leaves no firmware running: the bus closes, and that ends it."""
    provisioned(tmp_path, journal_bytes=8 * BLOCK_BYTES)
    program = (
        "import sys, time; from pathlib import Path; from hil_tests.bench.unix_unit import UnixUnit\n"
        f"u = UnixUnit(Path({str(tmp_path)!r}), journal_bytes={8 * BLOCK_BYTES}); u.power_on()\n"
        "u.wait_panel('Scan your BADGE'); print(u._firmware.pid, flush=True); time.sleep(60)\n"
    )
    bench = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert bench.stdout is not None
    pid = int(bench.stdout.readline())
    bench.kill()
    bench.wait(10)
    bench.stdout.close()
    deadline_s = time.monotonic() + 10
    while _is_running(pid):
        assert time.monotonic() < deadline_s, "the firmware outlived its board"
        time.sleep(0.02)


def _is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_the_program_provisions_and_runs_a_unit(tmp_path: Path) -> None:
    bench = [sys.executable, "-m", "hil_tests.bench"]
    board = ["--directory", str(tmp_path / "board")]

    def call(*arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*bench, *arguments], input=typed, capture_output=True, text=True, timeout=60, check=False
        )

    refused = call("run", *board)
    assert (refused.returncode, "make one with `provision` first" in refused.stderr) == (2, True)
    made = call("provision", *board, "--cloud-key", CLOUD_KEY.hex())
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "board" / "genesis.cbor").stat().st_size > 150
    again = call("provision", *board, "--cloud-key", CLOUD_KEY.hex())
    assert (again.returncode, "already" in again.stderr) == (2, True)
    with subprocess.Popen([*bench, "run", *board, "--json"], stdin=-1, stdout=-1, stderr=-1, text=True) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        _read_until(running.stdout.fileno(), b"Scan your BADGE")
        running.stdin.write("scan ]d1CT/BADGE/OP-7\n")
        running.stdin.flush()
        _read_until(running.stdout.fileno(), b"Welcome OP-7")
        running.stdin.write("quit\n")
        running.stdin.flush()
        running.wait(10)


def _read_until(fd: int, words: bytes) -> None:
    seen = b""
    while words not in seen:
        chunk = os.read(fd, 4096)
        assert chunk, f"the bench ended; it said {seen!r}"
        seen += chunk
