"""What is asked of the bench's programs and cannot be: a sentence with a code, exit code 2, and nothing left behind."""

from __future__ import annotations

import re
import resource
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from hil_tests.bench.peer import CLOUD_KEY
from hil_tests.bench.request import RequestError
from hil_tests.bench.sensor_file import FILE_BYTES_MAX, values_of
from hil_tests.programs import python

LIMIT_S = 60


def provision(
    *options: str, cloud_key: str = CLOUD_KEY.hex(), room_bytes: int | None = None
) -> subprocess.CompletedProcess[str]:
    """room_bytes: no file of the program may become larger, as on a disk that fills."""
    fill = None if room_bytes is None else partial(resource.setrlimit, resource.RLIMIT_FSIZE, (room_bytes, room_bytes))
    command = python("hil_tests.bench", "provision", "--cloud-key", cloud_key, *options)
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, preexec_fn=fill)


def assert_refused(done: subprocess.CompletedProcess[str], code: str, *words: str) -> None:
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert re.fullmatch(rf"{code}: [^\n]+; [^\n]+\n", done.stderr), done.stderr
    for word in words:
        assert word in done.stderr


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (CLOUD_KEY.hex()[:-2], "64 hexadecimal digits"),
        (CLOUD_KEY.hex() + "00", "64 hexadecimal digits"),
        ("x" * 64, "64 hexadecimal digits"),
        ("", "64 hexadecimal digits"),
        ("no-such-file.key", "and no file"),
        ("00" * 32, "copy it again from `cartrace cloud key`"),
    ],
)
def test_a_key_that_is_none_makes_no_unit(tmp_path: Path, key: str, words: str) -> None:
    assert_refused(provision("--directory", str(tmp_path / "new" / "unit"), cloud_key=key), "bad_cloud_key", words)
    assert list(tmp_path.iterdir()) == []


def test_a_board_that_has_power_is_not_powered_twice(tmp_path: Path) -> None:
    """Two chips on one flash would write where the other does."""
    board = tmp_path / "unit"
    assert provision("--directory", str(board)).returncode == 0
    command = python("hil_tests.bench", "run", "--directory", str(board))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as first:
        assert first.stdout is not None
        first.stdout.readline()  # its panel
        second = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, stdin=subprocess.DEVNULL)
        assert_refused(second, "already_running", str(board))
        assert (board / "link").is_symlink()
        first.communicate(b"quit\n", timeout=LIMIT_S)
    assert first.returncode == 0


@pytest.mark.parametrize(
    ("option", "value"), [("--unit", "Ü 1"), ("--unit", ""), ("--epoch", "0"), ("--site-offset-min", "900")]
)
def test_a_unit_that_no_letter_can_name_is_not_made(tmp_path: Path, option: str, value: str) -> None:
    assert_refused(
        provision("--directory", str(tmp_path / "unit"), option, value), "bad_request", f"{option} cannot be"
    )
    assert list(tmp_path.iterdir()) == []


def _below_a_file(folder: Path) -> Path:
    (folder / "file").write_text("kept")
    return folder / "file" / "unit"


def _in_the_kernels(_folder: Path) -> Path:
    return Path("/sys/cartrace-unit")  # where not even root makes a folder


@pytest.mark.parametrize("place", [_below_a_file, _in_the_kernels])
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, place: Callable[[Path], Path]) -> None:
    folder = place(tmp_path)
    assert_refused(provision("--directory", str(folder)), "file_unwritable", f"{folder} cannot be written")
    assert {path.name for path in tmp_path.iterdir()} <= {"file"}


@pytest.mark.parametrize("room_bytes", [0, 100_000, 1_300_000])
def test_a_disk_that_fills_leaves_no_half_of_a_board(tmp_path: Path, room_bytes: int) -> None:
    folder = tmp_path / "new" / "unit"
    done = provision("--directory", str(folder), room_bytes=room_bytes)
    assert_refused(done, "file_unwritable", f"{folder} cannot be written (File too large)")
    assert list(tmp_path.iterdir()) == []


def test_a_genesis_record_without_room_leaves_no_board(tmp_path: Path) -> None:
    tmp_path.joinpath("notes.txt").write_text("somebody else's")
    done = provision("--directory", str(tmp_path), "--genesis", "/dev/full")
    assert_refused(done, "disk_full", "/dev/full cannot be written: its disk is full")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


GOOD = "2026-01-31 12:00:00,36.9\n"
HEADING = "timestamp,value\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (HEADING + GOOD + "2026-01-31 12:00:01,nan\n", ", line 3: the value 'nan' is no number that a sensor measures"),
        (HEADING + "x,inf\n" + GOOD, ", line 2: the value 'inf' is no number"),
        (HEADING + "x,-1e300\n" + GOOD, ", line 2: the value '-1e300' is no number"),
        (HEADING + GOOD + "\n" + "x,\n", ", line 4: the value '' is no number"),
        (HEADING + "x,warm\n", ", line 2: the value 'warm' is no number"),
        (HEADING + GOOD + "x\n", ", line 3: the row has 1 columns, the first line names 2"),
        (HEADING + "x,36,9\n", ", line 2: the row has 3 columns, the first line names 2"),
        (HEADING.replace(",", ";") + "x;1\n", ", line 1: the first line must name the columns timestamp,value"),
        (GOOD, ", line 1: the first line must name the columns timestamp,value"),
        ("", ", line 1: the first line must name the columns timestamp,value"),
        (HEADING, ", line 2: there is no row below the heading"),
        (HEADING + 'x,"36.9\n', ", line 2: this is no row of a CSV file (unexpected end of data)"),
        (
            HEADING + "x," + "1" * 200_000 + "\n",
            ", line 2: this is no row of a CSV file (field larger than field limit",
        ),
        (HEADING.encode() + "x,36.9 °C\n".encode("latin-1"), ", line 2: this is no text in UTF-8"),
        ((HEADING + GOOD).encode("utf-16"), ", line 1: this is no text in UTF-8"),
        (b"\x7fELF\x02\x01\x01" + bytes(60), ", line 1: this is no text in UTF-8"),
        (HEADING.encode() + GOOD.encode() + b"x,\x001\n", ", line 3: this is no text in UTF-8"),
        (GOOD.encode() * (FILE_BYTES_MAX // len(GOOD) + 1), " is larger than 16 MiB"),
    ],
)
def test_a_sensor_file_that_cannot_be_played_is_named_with_its_line(
    tmp_path: Path, content: str | bytes, words: str
) -> None:
    path = tmp_path / "oven.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(RequestError) as refused:
        values_of(path)
    assert refused.value.code == "bad_sensor_file"
    assert str(refused.value).startswith(f"{path}{words}")
    assert re.fullmatch(r"[^\n]+; [a-z][^\n]+", str(refused.value)), "a sentence, and what to do"


def test_a_sensor_file_as_tables_write_it_is_played(tmp_path: Path) -> None:
    path = tmp_path / "oven.csv"
    path.write_bytes(b'\xef\xbb\xbfvalue,timestamp ,remark\r\n36.9,2026-01-31,"a, b"\r\n\r\n -1.5e1 ,2026-02-01,\r\n')
    assert values_of(path) == [36.9, -15.0]


@pytest.mark.parametrize(
    "program", [["hil_tests.story", "--once", "--state"], ["hil_tests.bench", "run", "--directory"]]
)
def test_a_sensor_file_is_judged_before_anything_is_touched(tmp_path: Path, program: list[str]) -> None:
    for name, content in (("flash.bin", "a board"), ("made-by-cartrace-demo", ""), ("oven.csv", HEADING + "x,nan\n")):
        tmp_path.joinpath(name).write_text(content)
    command = python(*program, str(tmp_path), "--sensor-csv", str(tmp_path / "oven.csv"))
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
    assert_refused(done, "bad_sensor_file", f"{tmp_path}/oven.csv, line 2: ")
    assert (tmp_path / "flash.bin").read_text() == "a board"
    for wrong in (tmp_path, tmp_path / "none.csv"):
        with pytest.raises(RequestError, match="cannot be read"):
            values_of(wrong)
