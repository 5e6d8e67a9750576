"""Reads a file of measured values for the simulated sensors: CSV in UTF-8 with the columns timestamp,value.

Decides whether the file can be used: a mistake is one sentence with the file, the line and what to do. Only the values
count, in the order of their rows; when they were measured is for people.
"""

from __future__ import annotations

import codecs
import csv
import io
import math
from pathlib import Path

from hil_tests.bench.request import RequestError

FILE_BYTES_MAX = 16 * 1024 * 1024  # a value for each minute of a year; what is larger is another file
VALUE_MAX = 1e12  # beyond what any sensor measures, and far from where floats end
SHOWN_CHARS = 40  # of a wrong value


def values_of(path: Path) -> list[float]:
    """The measured values, at least one, all finite. Raises RequestError (bad_sensor_file)."""
    rows = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    try:
        heading = [name.strip() for name in next(rows, [])]
        if "value" not in heading:
            raise _wrong(path, 1, "the first line must name the columns timestamp,value, with a comma", "correct it")
        values = [_value(path, rows.line_num, row, heading) for row in rows if row]
    except csv.Error as error:
        raise _wrong(path, rows.line_num, f"this is no row of a CSV file ({error})", "correct it") from error
    if not values:
        raise _wrong(path, rows.line_num + 1, "there is no row below the heading", "add a measured value at least")
    return values


def _value(path: Path, line: int, row: list[str], heading: list[str]) -> float:
    if len(row) != len(heading):
        wrong = f"the row has {len(row)} columns, the first line names {len(heading)}"
        raise _wrong(path, line, wrong, "write it as 2026-01-31 12:00:00,36.9 with a point and no comma in the value")
    text = row[heading.index("value")]
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= VALUE_MAX:
        wrong = f"the value {text[:SHOWN_CHARS]!r} is no number that a sensor measures"
        raise _wrong(path, line, wrong, "correct it, or remove the row")
    return value


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1).removeprefix(codecs.BOM_UTF8)
    except OSError as error:
        raise RequestError(
            "bad_sensor_file",
            f"{path} cannot be read ({error.strerror}); check its path and its permissions",
        ) from error
    if len(raw) > FILE_BYTES_MAX:
        raise RequestError(
            "bad_sensor_file",
            f"{path} is larger than {FILE_BYTES_MAX // 2**20} MiB; cut it down to the rows that are needed",
        )
    zero = raw.find(b"\0")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        zero = error.start if zero < 0 else min(zero, error.start)
    if zero >= 0:
        wrong = "this is no text in UTF-8"
        raise _wrong(path, 1 + raw.count(b"\n", 0, zero), wrong, "save the table as CSV in UTF-8")
    return text


def _wrong(path: Path, line: int, wrong: str, remedy: str) -> RequestError:
    return RequestError("bad_sensor_file", f"{path}, line {line}: {wrong}; {remedy}")
