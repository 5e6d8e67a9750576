"""Two readers of labels that share no code: what the unit takes from a label, the cloud finds in the same bytes (W45).

The unit decides at the bench, the cloud judges its decision from the raw scan. A label that only the unit can read
would be an exception for nothing; one that they read differently would be worse.
"""

from datetime import UTC, date, datetime

from agent import label as unit_labels
from agent.label_fields import LabelError
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.domain.check_digits import gtin_problem, hibc_check
from cloud.domain.isbt128 import check_value
from cloud.domain.labels import read_label

NOW_MS = int(datetime(2026, 11, 22, tzinfo=UTC).timestamp() * 1000)
PATTERN = "KIT-(l%d%d%d)-(s%x%u)/(e%d%d%d%d%d%d)"
GS = "\x1d"

days = st.dates(date(2000, 1, 1), date(2049, 12, 31))
numbers = st.text("ABC123-.", min_size=1, max_size=12)
short = days.map(lambda day: f"{day:%y%m%d}")


def gtin(first_thirteen: int) -> str:
    digits = f"{first_thirteen:013}"
    return next(digits + check for check in "0123456789" if gtin_problem(digits + check) is None)


@st.composite
def gs1_codes(draw: st.DrawFn) -> tuple[str, str]:
    fields = ["01" + gtin(draw(st.integers(0, 10**12))), "17" + draw(short)]
    fields += ["7003" + fields[1][2:] + draw(st.sampled_from(["0000", "2359", "1430"]))] * draw(st.integers(0, 1))
    loose = [ai + draw(numbers) + GS for ai in draw(st.sampled_from([[], ["10"], ["21"], ["10", "21"]]))]
    ended = [field + GS * field.startswith("7003") for field in fields]
    return draw(st.sampled_from(["]d2", "]C1", "]Q3"])), "".join(ended + loose).rstrip(GS)


@st.composite
def links(draw: st.DrawFn) -> tuple[str, str]:
    lot, serial = draw(st.text("AB12", min_size=1, max_size=9)), draw(st.text("AB12", min_size=1, max_size=9))
    text = f"https://id.gs1.org/01/{gtin(draw(st.integers(0, 10**12)))}/10/{lot}/21/{serial}?17={draw(short)}"
    return draw(st.sampled_from(["]d1", "]Q1"])), text


@st.composite
def hibc_codes(draw: st.DrawFn) -> tuple[str, str]:
    day, number = draw(days), draw(st.text("ABC123", max_size=9))
    month, short_day, ordinal = f"{day:%m%y}", f"{day:%y%m%d}", f"{day:%y%j}"
    dated = [month, f"2{day:%m%d%y}", f"3{short_day}", f"4{short_day}07", f"5{ordinal}", f"6{ordinal}23", "7"]
    second = [f"$${plus}{date}{number}" for date in dated for plus in ("", "+")]
    second += [f"${number}", f"$+{number}", f"{ordinal}{number}", f"$$8123{short_day}{number}", f"$$900012{month}"]
    fields = [draw(st.sampled_from(second))] * draw(st.integers(0, 1))
    fields += draw(st.sampled_from([[], ["SX1"], [f"14D{day:%Y%m%d}"], ["16D20250131", "Q12"]])) if fields else []
    code = "/".join(["+A999" + draw(st.text("AB12", min_size=1, max_size=18)) + "1", *fields])
    return draw(st.sampled_from(["]C0", "]d1", "]A1", ""])), code + (hibc_check(code) or "")


@st.composite
def isbt_codes(draw: st.DrawFn) -> tuple[str, str]:
    day, din = draw(days), f"A9999{draw(st.integers(0, 99999999)):08}"
    structures = [f"={din}{draw(st.sampled_from(['00', '17', f'{60 + check_value(din)}']))}", "=<E7644V00"]
    structures += [f"=>0{day:%y%j}", f"&>0{day:%y%j}0930", "&,1000000000000LOT007", "&,2SN0001", "=,A00001"]
    structures += [f"&/CH{din}", "=)AB12345678", f"=*0{day:%y%j}", "=/A9999ABC123E7644"]
    structures += [f"&,4DE001234{draw(st.sampled_from([din, 'A999900000001', '0' * 13]))}A0000398V00{day:%Y%m%d}"]
    chosen = draw(st.lists(st.sampled_from(structures), min_size=1, max_size=6, unique=True))
    compound = f"=+{len(chosen):02}000" if len(chosen) > 1 or draw(st.booleans()) else ""
    return draw(st.sampled_from(["]C0", "]d1"])), compound + "".join(chosen)


@st.composite
def site_codes(draw: st.DrawFn) -> tuple[str, str]:
    return "]d1", f"KIT-{draw(st.integers(0, 999)):03}-{draw(st.sampled_from('A7'))}Z/{draw(short)}"


codes = st.one_of(gs1_codes(), links(), hibc_codes(), isbt_codes(), site_codes())


@settings(max_examples=600, deadline=None)
@given(codes, st.integers(0, 200), st.sampled_from(["", "", "", "A", "0", "$", "/", "=", GS]))
def test_what_the_unit_reads_the_cloud_reads_alike(code: tuple[str, str], place: int, put: str) -> None:
    """Whole labels, and labels with one character replaced."""
    aim, text = code
    if put and place < len(text):
        text = text[:place] + put + text[place + 1 :]
    raw = text.encode()
    try:
        unit = unit_labels.read_label(aim, raw, (PATTERN,))
    except LabelError:
        return  # the unit refuses it; what the cloud would make of it decides nothing
    cloud = read_label(raw, aim, 2026, PATTERN)
    if unit is None:
        assert (cloud.gtin, cloud.code, cloud.din, cloud.coi) == (None, None, None, None)
        return
    assert cloud.problem is None, (aim, text, cloud.problem)
    assert int(cloud.scheme or 0) == unit.kind
    for field in ("gtin", "code", "serial", "lot", "din", "coi"):
        assert (getattr(cloud, field) or "") == getattr(unit, field), (aim, text, field)
    end_ms = unit_labels.expiry_end_ms(unit, NOW_MS) if unit.expiry else None
    assert (cloud.expiry.end_ms(0) if cloud.expiry else None) == end_ms, (aim, text)


@settings(max_examples=300, deadline=None)
@given(codes)
def test_both_read_whole_labels(code: tuple[str, str]) -> None:
    """Guards the test above: the labels that it makes are labels."""
    aim, text = code
    cloud, refused = read_label(text.encode(), aim, 2026, PATTERN), ""
    try:
        unit_labels.read_label(aim, text.encode(), (PATTERN,))
    except LabelError as error:
        refused = error.reason
    assert not refused or cloud.problem or refused == "ambiguous", (aim, text, refused)
