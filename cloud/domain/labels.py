"""What a scanned code says, read by the cloud from the raw bytes, independent of the unit's own reading.

Decides the grammar by the AIM prefix (R34) and refuses what is ambiguous instead of guessing (R35). biip splits the
element strings; its pitfalls are dealt with here: it does not raise for a bad check digit, accepts repeated
identifiers, and reads centuries by today's date.
"""

from __future__ import annotations

import calendar
import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from biip import ParseConfig, ParseError
from biip.gs1_messages import GS1Message

from cloud.domain.recipe import gtin_problem
from cloud.domain.words import raw_text

GS1_SYMBOLOGIES = frozenset({"]C1", "]d2", "]Q3", "]J1", "]e0"})
RETAIL_SYMBOLOGIES = frozenset({"]E0", "]E4"})  # EAN/UPC: a bare GTIN
GS = "\x1d"
FIELDS = {"01": "gtin", "10": "lot", "17": "expiry", "21": "serial"}
_CONFIG = ParseConfig(gs1_element_strings_verify_date=False)  # dates are read here, by the record's time


@dataclass(frozen=True)
class Label:
    """A code taken apart. problem: in words, why it cannot be relied on; the fields then hold nothing.

    day_open: the expiry named a month only (DD = 00), which regulated healthcare items must not do since 2025 (R38).
    """

    text: str
    gtin: str | None = None
    lot: str | None = None
    serial: str | None = None
    expiry: dt.date | None = None
    day_open: bool = False
    problem: str | None = None

    def has(self, field: str) -> bool:
        """Whether the label carries "serial", "lot" or "expiry"."""
        return getattr(self, field) is not None


def read_label(raw: bytes, aim: str, year: int) -> Label:
    """raw: as scanned, without AIM prefix and line suffix. year: in which it was read, for the century of a date (R38).
    Never raises.
    """
    text = raw_text(raw)
    if not raw.isascii():
        return Label(text, problem="the code holds bytes that no GS1 label can hold")
    plain = raw.decode("ascii")
    if aim in RETAIL_SYMBOLOGIES:
        return _retail(text, plain)
    if aim in GS1_SYMBOLOGIES or (aim == "" and plain.startswith("01")):
        return _gs1(text, plain, year)
    return Label(text)


def _retail(text: str, plain: str) -> Label:
    gtin = plain.zfill(14)
    problem = gtin_problem(gtin) if plain else "the code is empty"
    return Label(text, problem=problem) if problem else Label(text, gtin=gtin)


def _gs1(text: str, plain: str, year: int) -> Label:
    try:
        message = GS1Message.parse(plain, config=_CONFIG)
    except (ParseError, ValueError, ArithmeticError, LookupError) as error:
        return Label(text, problem=f"the code is no readable GS1 message ({_first_sentence(error)})")
    elements = message.element_strings
    identifiers = [element.ai.ai for element in elements]
    values = {element.ai.ai: element.value for element in elements}
    errors = [
        error for element in elements for error in (element.gtin_error, element.sscc_error, element.gln_error) if error
    ]
    if len(set(identifiers)) < len(identifiers):
        return Label(text, problem="the code states one thing twice; it is ambiguous")
    if not _separated(message.value, [(len(e.ai.ai) + len(e.value), e.ai.separator_required) for e in elements]):
        return Label(text, problem="a separator is missing in the code; it is ambiguous")
    if errors:
        return Label(text, problem=f"a number in the code is wrong ({_first_sentence(errors[0])})")
    expiry, day_open = _date(values["17"], year) if "17" in values else (None, False)
    if "17" in values and expiry is None:
        return Label(text, problem=f"the expiry {values['17']} is no date")
    return Label(text, values.get("01"), values.get("10"), values.get("21"), expiry, day_open)


def _separated(value: str, lengths: Iterable[tuple[int, bool]]) -> bool:
    """Whether every element that needs a separator behind it has one, or ends the code."""
    position = 0
    for length, required in lengths:
        position += length
        if required and position < len(value) and value[position] != GS:
            return False
        while value[position : position + 1] == GS:
            position += 1
    return True


def _date(yymmdd: str, year: int) -> tuple[dt.date | None, bool]:
    """The date, and whether its day was left open. The century is the one nearest to year (GS1 General Specifications
    7.12).
    """
    short, month, day = int(yymmdd[:2]), int(yymmdd[2:4]), int(yymmdd[4:6])
    ahead = short - year % 100
    century = year - year % 100 + (-100 if ahead >= 51 else 100 if ahead <= -50 else 0)
    try:
        last = calendar.monthrange(century + short, month)[1]
        return dt.date(century + short, month, day or last), day == 0
    except ValueError:
        return None, False


def _first_sentence(error: object) -> str:
    return str(error).split(". ")[0].rstrip(".")[:120]
