"""GS1 element strings, Digital Links and bare GTINs, as they stand on a label.

biip splits the element strings; its pitfalls are dealt with here: it does not raise for a bad check digit, accepts
repeated identifiers, and reads centuries by today's date. What is ambiguous is refused instead of guessed (R35).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from biip import ParseConfig, ParseError
from biip.gs1_digital_link_uris import GS1DigitalLinkURI
from biip.gs1_element_strings import GS1ElementString
from biip.gs1_messages import GS1Message

from cloud.domain.check_digits import gtin_problem
from cloud.domain.label_fields import Expiry, Label, date_of, minute_of

SYMBOLOGIES = frozenset({"]C1", "]d2", "]Q3", "]J1", "]e0"})
RETAIL_SYMBOLOGIES = frozenset({"]E0", "]E4"})  # EAN/UPC: a bare GTIN
GS = "\x1d"
_CONFIG = ParseConfig(  # dates are read here, by the record's time
    gs1_element_strings_verify_date=False
)


def read_retail(text: str, plain: str) -> Label:
    """A GTIN of 8, 12 or 13 digits. text: as people see it; plain: the code."""
    gtin = plain.zfill(14)
    problem = gtin_problem(gtin) if plain else "the code is empty"
    return Label(text, problem=problem) if problem else Label(text, gtin=gtin)


def read_elements(text: str, plain: str, year: int) -> Label:
    """An element string. year: in which it was read (R38)."""
    try:
        message = GS1Message.parse(plain, config=_CONFIG)
    except (ParseError, ValueError, ArithmeticError, LookupError) as error:
        return Label(text, problem=f"the code is no readable GS1 message ({_first_sentence(error)})")
    elements = message.element_strings
    if not _separated(message.value, [(len(e.ai.ai) + len(e.value), e.ai.separator_required) for e in elements]):
        return Label(text, problem="a separator is missing in the code; it is ambiguous")
    return _label(text, elements, year)


def is_link(plain: str) -> bool:
    """Whether a plain code is a web address with a trade item in its path (R40)."""
    return plain[:8].lower().startswith(("https://", "http://")) and "/01/" in plain


def read_link(text: str, plain: str, year: int) -> Label:
    """A GS1 Digital Link URI: keys in the path, attributes in the query."""
    try:
        link = GS1DigitalLinkURI.parse(plain, config=_CONFIG)
    except (ParseError, ValueError, ArithmeticError, LookupError) as error:
        return Label(text, problem=f"the code is no readable GS1 Digital Link ({_first_sentence(error)})")
    return _label(text, link.element_strings, year)


def _label(text: str, elements: Sequence[GS1ElementString], year: int) -> Label:
    identifiers = [element.ai.ai for element in elements]
    values = {element.ai.ai: element.value for element in elements}
    errors = [
        error for element in elements for error in (element.gtin_error, element.sscc_error, element.gln_error) if error
    ]
    if len(set(identifiers)) < len(identifiers):
        return Label(text, problem="the code states one thing twice; it is ambiguous")
    if errors:
        return Label(text, problem=f"a number in the code is wrong ({_first_sentence(errors[0])})")
    expiry, day_open, problem = _expiry(values, year)
    if problem:
        return Label(text, problem=problem)
    return Label(text, values.get("01"), values.get("10"), values.get("21"), expiry, day_open)


def _expiry(values: Mapping[str, str], year: int) -> tuple[Expiry | None, bool, str | None]:
    """AI 7003, which states a time of day, else AI 17; whether the day was left open; what is wrong with it."""
    written = values.get("7003", values.get("17"))
    if written is None:
        return None, False, None
    day, day_open = date_of(written[:6], year)
    minute = minute_of(written[6:10]) if "7003" in values else None
    if day is None or ("7003" in values and minute is None):
        return None, False, f"the expiry {written} is no date"
    return Expiry(day, minute), day_open, None


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


def _first_sentence(error: object) -> str:
    return str(error).split(". ")[0].rstrip(".")[:120]
