"""The checked flash of the RP2040 board, and the sensors' front end, with the chip's modules replaced by small ones."""

import importlib
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agent.drivers.chip import MISSING
from agent.hal.front_end import KEPT_READINGS, FrontEnd

from tools import board_image

BOARDS = Path(__file__).resolve().parents[1] / "boards"
FILES_BYTES = 96 * 1024


class Device(bytearray):
    """rp2.Flash as it is: it checks nothing, and is read in place as a memoryview."""

    stuck_bits = 0

    def __init__(self, start: int, len: int) -> None:
        super().__init__(b"\xff" * len)
        self.start = start

    def writeblocks(self, block: int, content: bytes, offset: int) -> None:
        at = block * 4096 + offset
        for i, byte in enumerate(content):
            self[at + i] &= byte | self.stuck_bits

    def readblocks(self, block: int, into: bytearray, offset: int) -> None:
        at = block * 4096 + offset
        into[:] = self[at : at + len(into)]

    def ioctl(self, operation: int, block: int) -> int:
        assert operation == 6
        self[block * 4096 : block * 4096 + 4096] = b"\xff" * 4096
        return 0


class Line:
    """The scanner's line as rp2_flash uses it; notes what was done while it was held."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def hold(self) -> None:
        self.calls.append("hold")

    def release(self) -> None:
        self.calls.append("release")

    def keep(self, operation: Any, *arguments: Any) -> None:
        self.calls.append(operation.__name__)
        operation(*arguments)


@pytest.fixture
def rp2_flash(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    rp2, vfs = types.ModuleType("rp2"), types.ModuleType("vfs")
    rp2.Flash = Device  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "rp2", rp2)
    monkeypatch.setitem(sys.modules, "vfs", vfs)
    sys.modules.pop("agent.hal.rp2_flash", None)
    yield importlib.import_module("agent.hal.rp2_flash")
    sys.modules.pop("agent.hal.rp2_flash", None)


def test_the_flash_takes_pages_and_gives_them_back(rp2_flash: Any) -> None:
    line = Line()
    flash = rp2_flash.Flash(FILES_BYTES, 3 * 4096, line)
    flash.erase(4096)
    flash.program(4096 + 256, b"a" * 256)
    flash.program(4096 + 512, b"short")
    assert line.calls == ["hold", "ioctl", "release", "writeblocks", "writeblocks"]
    assert flash.read(4096 + 250, 10) == b"\xff" * 6 + b"a" * 4
    assert flash.read(4096 + 512, 256) == b"short" + b"\xff" * 251
    assert flash.read(0, 256) == b"\xff" * 256
    assert isinstance(flash.read(0, 256), bytes)


@pytest.mark.parametrize(
    ("addr", "content"),
    [(1, b"x"), (128, b"x" * 256), (0, b""), (0, b"x" * 257), (-256, b"x"), (3 * 4096, b"x"), (3 * 4096 + 256, b"x")],
)
def test_the_flash_refuses_what_the_chip_would_do_wrong(rp2_flash: Any, addr: int, content: bytes) -> None:
    flash = rp2_flash.Flash(0, 3 * 4096, Line())
    with pytest.raises(ValueError, match="not a page"):
        flash.program(addr, content)
    assert flash.read(0, 3 * 4096) == b"\xff" * 3 * 4096


@pytest.mark.parametrize("addr", [1, 256, -4096, 3 * 4096, 4 * 4096])
def test_the_flash_refuses_to_erase_anything_but_its_blocks(rp2_flash: Any, addr: int) -> None:
    with pytest.raises(ValueError, match="not a block"):
        rp2_flash.Flash(0, 3 * 4096, Line()).erase(addr)


@pytest.mark.parametrize(("addr", "length"), [(-1, 4), (3 * 4096 - 3, 4), (3 * 4096, 1), (0, 3 * 4096 + 1), (8, -1)])
def test_the_flash_refuses_to_read_beyond_itself(rp2_flash: Any, addr: int, length: int) -> None:
    with pytest.raises(ValueError, match="beyond"):
        rp2_flash.Flash(0, 3 * 4096, Line()).read(addr, length)


def test_a_page_that_was_not_kept_is_noticed(rp2_flash: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    flash = rp2_flash.Flash(0, 4096, Line())
    monkeypatch.setattr(Device, "stuck_bits", 1)
    flash.program(0, b"\x01\x03")
    with pytest.raises(OSError, match="did not keep"):
        flash.program(256, b"\x02")


def test_the_file_system_cannot_be_written(rp2_flash: Any) -> None:
    files = rp2_flash.ReadOnly()
    assert files.ioctl(4, 0) * files.ioctl(5, 0) == FILES_BYTES
    assert files.ioctl(6, 0) < 0
    assert files.writeblocks(0, b"x" * 256, 0) < 0
    into = bytearray(16)
    files.readblocks(0, into, 0)
    assert into == b"\xff" * 16


def test_the_parts_of_the_flash_fill_it(rp2_flash: Any) -> None:
    header = (BOARDS / "CARTRACE_UNIT" / "mpconfigboard.h").read_text()
    storage = re.search(r"FLASH_STORAGE_BYTES \((\d+) \* 1024\)", header)
    assert storage is not None
    parts = rp2_flash.FILES_BYTES + rp2_flash.SLOTS_BYTES + rp2_flash.JOURNAL_BYTES
    assert parts == int(storage[1]) * 1024
    assert parts + board_image.CODE_BYTES_MAX == 2 * 1024 * 1024
    assert rp2_flash.JOURNAL_BYTES >= 1.25 * 1024 * 1024


class Bank:
    """Counts what the front end does; every reading is the time it was made at."""

    def __init__(self) -> None:
        self.started: list[int] = []

    def start(self, now_ms: int) -> None:
        self.started.append(now_ms)

    def watch(self, now_ms: int) -> None:
        pass

    def read(self, now_ms: int) -> list[int | str | None]:
        return [now_ms]


def test_readings_belong_to_their_moments() -> None:
    bank = Bank()
    front_end = FrontEnd(bank)
    assert front_end.take(1005, 1000, 1000, 1, 1) == [[MISSING]]  # nothing was started for it
    for now_ms in range(1010, 4000, 10):
        front_end.watch(now_ms)
    assert front_end.take(4003, 2000, 1000, 3, 1) == [[2000], [3000], [4003]]
    assert bank.started == [1850, 2850, 3850]


def test_a_late_reading_is_no_reading() -> None:
    front_end = FrontEnd(Bank())
    front_end.take(0, 0, 1000, 1, 1)
    front_end.watch(950)
    # The unit was busy until 3600: what is measured then is not what was at 1000, 2000 or 3000.
    assert front_end.take(3600, 1000, 1000, 3, 1) == [[MISSING], [MISSING], [MISSING]]
    front_end.watch(3900)
    assert front_end.take(4400, 4000, 1000, 1, 1) == [[4400]]


def test_a_busy_unit_finds_the_latest_readings() -> None:
    front_end = FrontEnd(Bank())
    front_end.take(0, 0, 1000, 1, 1)
    for now_ms in range(0, 30_000, 100):
        front_end.watch(now_ms)
    taken = front_end.take(29_950, 1000, 1000, 29, 1)
    assert taken[: 29 - KEPT_READINGS] == [[MISSING]] * (29 - KEPT_READINGS)
    assert taken[29 - KEPT_READINGS :] == [[at] for at in range(30_000 - 1000 * KEPT_READINGS, 30_000, 1000)]
