"""What a scanned code says, read by the cloud from the raw bytes, independent of the unit's own reading.

Decides the grammar by the AIM prefix (R34): GS1 symbologies hold element strings, plain ones GS1 Digital Links, HIBC
(`+`), ISBT 128 (`=`, `&`), a code by the site's own pattern, or mere text. What is ambiguous is refused instead of
guessed (R35).
"""

from __future__ import annotations

from cloud.domain.gs1 import RETAIL_SYMBOLOGIES, SYMBOLOGIES, is_link, read_elements, read_link, read_retail
from cloud.domain.hibc import read_hibc
from cloud.domain.isbt128 import read_isbt128
from cloud.domain.label_fields import Expiry, Label, date_of
from cloud.domain.words import raw_text
from wire import Scheme, compile_pattern


def read_label(raw: bytes, aim: str, year: int, pattern: str = "") -> Label:
    """raw: as scanned, without AIM prefix and line suffix. year: in which it was read, for the century of a date (R38).

    pattern: of the item that was asked for, if its codes follow one (W45). A code that fits it is read by it, whatever
    else it looks like; its label has the pattern as code. Never raises.
    """
    text = raw_text(raw)
    if not raw.isascii():
        return Label(text, problem="the code holds bytes that no label can hold")
    plain = raw.decode("ascii")
    if pattern and (label := _by_pattern(text, plain, year, pattern)):
        return label
    if aim in RETAIL_SYMBOLOGIES:
        return read_retail(text, plain)
    if aim in SYMBOLOGIES or (aim == "" and plain.startswith("01")):
        return read_elements(text, plain, year)
    if is_link(plain):
        return read_link(text, plain, year)
    if plain.startswith("+"):
        return read_hibc(text, plain, year)
    if plain.startswith(("=", "&")):
        return read_isbt128(text, plain, year)
    return Label(text)


def identity_of(code: str) -> str:
    """The identity in the code of a donation or patient, as an order states it (W44)."""
    label = read_label(code.encode(), "", 2000)  # an identity holds no date: any year will do
    return label.din or label.coi or code


def _by_pattern(text: str, plain: str, year: int, pattern: str) -> Label | None:
    found = compile_pattern(pattern).fullmatch(plain)
    if found is None:
        return None
    parts = found.groupdict()
    written, expiry, day_open = parts.get("expiry"), None, False
    if written is not None:
        day, day_open = date_of(written, year)
        if day is None:
            return Label(text, problem=f"the expiry {written} is no date")
        expiry = Expiry(day)
    return Label(
        text, None, parts.get("lot"), parts.get("serial"), expiry, day_open, scheme=Scheme.PATTERN, code=pattern
    )
