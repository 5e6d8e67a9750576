"""Labels: the AIM prefix decides the grammar, what is ambiguous is refused, and no bytes make the reader fail."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.domain.check_digits import hibc_check
from cloud.domain.isbt128 import check_value
from cloud.domain.label_fields import Expiry, Label
from cloud.domain.labels import identity_of, read_label
from wire import Scheme

GTIN = "0109520000010010"
FULL = b"010952000001001017270131" + b"10LOT-7\x1d21SN-1"


@pytest.mark.parametrize("aim", ["]d2", "]C1", "]Q3", "]J1", "]e0"])
def test_a_gs1_symbol(aim: str) -> None:
    label = read_label(FULL, aim, 2026)
    assert (label.gtin, label.lot, label.serial, label.expiry) == (
        "09520000010010",
        "LOT-7",
        "SN-1",
        Expiry(dt.date(2027, 1, 31)),
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
    assert expiry == Expiry(dt.date(expected, 1, 31))


def test_a_day_left_open_is_the_last_of_the_month() -> None:
    label = read_label(f"{GTIN}17280200".encode(), "]d2", 2026)
    assert (label.expiry, label.day_open) == (Expiry(dt.date(2028, 2, 29)), True)


@given(st.binary(max_size=60), st.sampled_from(["", "]d2", "]C1", "]E0", "]C0"]), st.integers(1970, 9999))
def test_no_bytes_make_it_fail(raw: bytes, aim: str, year: int) -> None:
    read_label(raw, aim, year)


_pieces = st.sampled_from(
    ["01", "0109520000010010", "17", "270131", "10", "21", "\x1d", "3109", "8005", "7003", "A", "0", "41", "99"]
)


@given(st.lists(_pieces, max_size=12))
def test_no_likely_code_makes_it_fail(pieces: list[str]) -> None:
    read_label("".join(pieces).encode(), "]d2", 2026)


def hibc(text: str) -> bytes:
    """text with the check character that belongs to it."""
    return (text + (hibc_check(text) or "")).encode()


@pytest.mark.parametrize(
    ("text", "lot", "serial", "expiry"),
    [
        ("+A99912345670", None, None, None),
        ("+A99912345670/$LOT-7", "LOT-7", None, None),
        ("+A99912345670/$+SN 1.2", None, "SN 1.2", None),
        ("+A99912345670/$$0228LOT7", "LOT7", None, "2028-02-29"),  # a month: its last day
        ("+A99912345670/$$2013128L", "L", None, "2028-01-31"),
        ("+A99912345670/$$3280131L", "L", None, "2028-01-31"),
        ("+A99912345670/$$428013114L", "L", None, "2028-01-31 14:00"),
        ("+A99912345670/$$528366L", "L", None, "2028-12-31"),
        ("+A99912345670/$$62800100L", "L", None, "2028-01-01 00:00"),
        ("+A99912345670/$$7LOT7", "LOT7", None, None),
        ("+A99912345670/$$+3280131SN1", None, "SN1", "2028-01-31"),
        ("+A99912345670/$$8053280131L", "L", None, "2028-01-31"),  # five pieces
        ("+A99912345670/$$9000123280131L", "L", None, "2028-01-31"),
        ("+A99912345670/28031L", "L", None, "2028-01-31"),
        ("+A99912345670/$LOT7/SX1/14D20280131/16D20260101/Q5", "LOT7", "X1", "2028-01-31"),
    ],
)
@pytest.mark.parametrize("aim", ["]C0", "]d1", "]Q1", "]A1", ""])
def test_a_hibc_label(text: str, lot: str | None, serial: str | None, expiry: str | None, aim: str) -> None:
    label = read_label(hibc(text), aim, 2026)
    assert (label.problem, label.scheme, label.code) == (None, Scheme.HIBC, "A99912345670")
    assert (label.lot, label.serial, label.expiry and str(label.expiry)) == (lot, serial, expiry)


def test_published_hibc_check_characters() -> None:
    assert hibc_check("+E20831269/$$8020423286539") == "+"
    assert hibc_check("+E20831339/$$8020223283831") == "T"


@pytest.mark.parametrize(
    "text",
    [
        "+",
        "+A9991",
        "+A999123456X",
        "+$$3280131LOTA",
        "+A99912345670/$$3281331L",
        "+A99912345670/$$5283670L",
        "+A99912345670/$$3280100L",
        "+A99912345670/$$428013124L",
        "+A99912345670/X5",
        "+A99912345670/$$83",
        "+A99912345670/$A/$B",
        "+A99912345670/$" + "L" * 19,
        "+A99912345670/S",
    ],
)
def test_a_hibc_label_that_cannot_be_relied_on(text: str) -> None:
    label = read_label(hibc(text), "]C0", 2026)
    assert label.problem
    assert (label.code, label.lot, label.expiry) == (None, None, None)


def test_a_wrong_hibc_check_character() -> None:
    good = hibc("+A99912345670/$LOT7")
    for place in range(1, len(good)):
        altered = good[:place] + (b"A" if good[place : place + 1] != b"A" else b"B") + good[place + 1 :]
        assert read_label(altered, "]C0", 2026).problem


DIN = "A999921123456"


def test_isbt_128_structures() -> None:
    assert read_label(f"={DIN}00".encode(), "]C0", 2026).din == DIN
    assert read_label(b"=<E7644V00", "]C0", 2026).code == "E7644V00"
    assert read_label(f"&/CH{DIN}".encode(), "]C0", 2026).coi == f"CH{DIN}"
    assert str(read_label(b"=>028060", "]C0", 2026).expiry) == "2028-02-29"
    assert str(read_label(b"&>0280602359", "]C0", 2026).expiry) == "2028-02-29 23:59"
    assert read_label(b"&,1000000000000LOT007", "]C0", 2026).lot == "000000000000LOT007"
    assert read_label(b"&,2SN0001", "]C0", 2026).serial == "SN0001"


def test_an_isbt_128_compound_message() -> None:
    label = read_label(f"=+04000={DIN}00=<E7644V00=>028060=)AB12345678".encode(), "]d1", 2026)
    assert (label.din, label.code, str(label.expiry)) == (DIN, "E7644V00", "2028-02-29")
    assert label.scheme is Scheme.ISBT_128


@pytest.mark.parametrize(
    "text",
    [
        "=",
        "&",
        "=+",
        "=+01000",
        f"={DIN}0",
        f"={DIN}000",
        f"={DIN}60",
        "=<E764V00",
        "=>028367",
        "&>0280602400",
        "=?12345678",
        f"=+01000={DIN}00=<E7644V00",
        f"=+02000={DIN}00={DIN}00",
        "&/CHA99992112345",
        "=>02806a",
        "=+02000=>028060&>0280612359",
    ],
)
def test_an_isbt_128_code_that_cannot_be_relied_on(text: str) -> None:
    label = read_label(text.encode(), "]C0", 2026)
    assert label.problem
    assert (label.din, label.code, label.expiry) == (None, None, None)


def test_the_check_value_of_a_donation_number() -> None:
    assert check_value("G123498654321") == 17
    assert check_value(DIN) == 3
    assert read_label(f"={DIN}63".encode(), "]C0", 2026).din == DIN


PATTERN = "KIT-(l%d%d%d%d)-(s%x%x%u)/(e%d%d%d%d%d%d)"


def test_a_code_by_a_pattern_of_the_site() -> None:
    label = read_label(b"KIT-0042-A7Z/280131", "]d1", 2026, PATTERN)
    assert (label.scheme, label.code, label.lot, label.serial) == (Scheme.PATTERN, PATTERN, "0042", "A7Z")
    assert str(label.expiry) == "2028-01-31"
    assert read_label(b"KIT-0042-A7Z/280231", "]d1", 2026, PATTERN).problem
    assert read_label(b"KIT-0042-A7Z/28013", "]d1", 2026, PATTERN).code is None
    assert read_label(FULL, "]d2", 2026, PATTERN).gtin == "09520000010010"  # what does not fit is read as it stands


def test_what_counts_as_identity_in_an_order() -> None:
    assert identity_of(f"={DIN}17") == DIN
    assert identity_of(f"&/CH{DIN}") == f"CH{DIN}"
    assert identity_of("Müller 7") == "Müller 7"


@given(
    st.text(alphabet="+=&$/<>,1234890ADESCHV", max_size=40),
    st.sampled_from(["", "]C0", "]d1"]),
    st.sampled_from(["", PATTERN]),
)
def test_no_plain_code_makes_it_fail(text: str, aim: str, pattern: str) -> None:
    read_label(text.encode(), aim, 2026, pattern)
    read_label(hibc("+" + text), aim, 2026, pattern)


def test_a_digital_link() -> None:
    text = "https://id.gs1.org/01/09520000010010/10/LOT-7/21/SN-1?17=270131"
    label = read_label(text.encode(), "]Q1", 2026)
    assert (label.problem, label.gtin, label.lot, label.serial) == (None, "09520000010010", "LOT-7", "SN-1")
    assert str(label.expiry) == "2027-01-31"
    assert read_label(text.replace("10010", "10011").encode(), "]Q1", 2026).problem
    assert read_label(b"https://example.org/01/x", "]Q1", 2026).problem
    assert read_label(b"https://example.org/cartridge", "]Q1", 2026) == Label("https://example.org/cartridge")


def test_a_time_of_day_in_gs1() -> None:
    label = read_label(f"{GTIN}70032801311430".encode(), "]d2", 2026)
    assert str(label.expiry) == "2028-01-31 14:30"
    assert label.expiry is not None
    assert label.expiry.end_ms(60) == 1_832_938_200_000 + 0


def test_the_donation_of_a_single_european_code() -> None:
    sec = f"&,4GB001234{DIN}A000039800120271231"
    assert read_label(sec.encode(), "]C0", 2026).din == DIN
    both = read_label(f"=+02000={DIN}00{sec}".encode(), "]d1", 2026)
    assert (both.din, both.problem) == (DIN, None)
    other = sec.replace(DIN, DIN[:-1] + str((int(DIN[-1]) + 1) % 10))
    assert "two donations" in (read_label(f"=+02000={DIN}00{other}".encode(), "]d1", 2026).problem or "")
    assert read_label(sec.replace(DIN, "0" * 13).encode(), "]C0", 2026).din is None  # numbered in another way
