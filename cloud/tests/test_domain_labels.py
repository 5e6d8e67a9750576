"""Labels: the AIM prefix decides the grammar, what is ambiguous is refused, and no bytes make the reader fail."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.domain.labels import read_label

GTIN = "0109520000010010"
FULL = b"010952000001001017270131" + b"10LOT-7\x1d21SN-1"


@pytest.mark.parametrize("aim", ["]d2", "]C1", "]Q3", "]J1", "]e0"])
def test_a_gs1_symbol(aim: str) -> None:
    label = read_label(FULL, aim, 2026)
    assert (label.gtin, label.lot, label.serial, label.expiry) == (
        "09520000010010",
        "LOT-7",
        "SN-1",
        dt.date(2027, 1, 31),
    )
    assert label.text == "01095200000100101727013110LOT-7<1D>21SN-1"
    assert label.problem is None


@pytest.mark.parametrize("aim", ["]d1", "]Q1", "]C0"])
def test_a_plain_symbol_is_never_read_as_gs1(aim: str) -> None:
    label = read_label(FULL, aim, 2026)
    assert (label.gtin, label.problem) == (None, None)


def test_a_retail_symbol_is_a_bare_gtin() -> None:
    assert read_label(b"9520000010010", "]E0", 2026).gtin == "09520000010010"
    assert read_label(b"9520000010011", "]E0", 2026).problem
    assert read_label(b"", "]E0", 2026).problem


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (GTIN[:-1] + "1", "number in the code is wrong"),
        (GTIN + GTIN, "twice"),
        (GTIN + "10A\x1d10B", "twice"),
        (GTIN + "10" + "L" * 20 + "21S", "separator"),
        (GTIN + "17270231", "no date"),
        (GTIN + "17271301", "no readable GS1"),
        (GTIN + "1727", "no readable GS1"),
        ("", ""),
        ("XYZ", "no readable GS1"),
        ("00" + "1" * 18, "number in the code is wrong"),
    ],
)
def test_what_cannot_be_relied_on(code: str, told: str) -> None:
    label = read_label(code.encode(), "]d2", 2026)
    assert (told in (label.problem or "")) if told else label.gtin is None
    assert (label.gtin, label.expiry) == (None, None)


def test_bytes_beyond_ascii() -> None:
    assert read_label(b"01\xff", "]d2", 2026).problem
    assert read_label("01٠٩".encode(), "]d2", 2026).problem  # Arabic digits are no digits here


@pytest.mark.parametrize(
    ("year", "short", "expected"), [(2026, "76", 2076), (2026, "77", 1977), (2099, "01", 2101), (2049, "00", 2000)]
)
def test_the_century_is_that_of_the_scan_not_of_today(year: int, short: str, expected: int) -> None:
    expiry = read_label(f"{GTIN}17{short}0131".encode(), "]d2", year).expiry
    assert expiry == dt.date(expected, 1, 31)


def test_a_day_left_open_is_the_last_of_the_month() -> None:
    label = read_label(f"{GTIN}17280200".encode(), "]d2", 2026)
    assert (label.expiry, label.day_open) == (dt.date(2028, 2, 29), True)


@given(st.binary(max_size=60), st.sampled_from(["", "]d2", "]C1", "]E0", "]C0"]), st.integers(1970, 9999))
def test_no_bytes_make_it_fail(raw: bytes, aim: str, year: int) -> None:
    read_label(raw, aim, year)


_pieces = st.sampled_from(
    ["01", "0109520000010010", "17", "270131", "10", "21", "\x1d", "3109", "8005", "7003", "A", "0", "41", "99"]
)


@given(st.lists(_pieces, max_size=12))
def test_no_likely_code_makes_it_fail(pieces: list[str]) -> None:
    read_label("".join(pieces).encode(), "]d2", 2026)
