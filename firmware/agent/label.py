"""What a scanned code says, in whichever grammar it is written: the one front of all label grammars.

    label = read_label(read.aim, read.raw, patterns)      # Label, or None for plain text; raises LabelError
    end_ms = expiry_end_ms(label, now_ms)                 # raises LabelError when there is no such date

The AIM prefix decides the grammar (R34): GS1 symbologies carry element strings (gs1.py), plain ones GS1 Digital Link
(gs1.py), HIBC (`+`, hibc.py), ISBT 128 (`=`, `&`, isbt128.py), a code by a pattern of the site (plain_code.py), or mere
text. Without a prefix a code must prove itself by its check digits; the note GUESSED says so. Never looks anything up:
what a code stands for is the order's business. Pure.

Fields of a Label (a field that the label does not carry is ""):

| field | GS1 (kind 0) | HIBC (kind 1) | ISBT128 (kind 2) | PATTERN (kind 3) |
|---|---|---|---|---|
| gtin | AI 01, 14 digits | "" | "" | "" |
| code | "" | LIC + PCN + unit of measure | product code, 8 characters, or 5 | the pattern that fits |
| serial | AI 21 | serial | din, then `&,2`, or `=,` beside `=/` | `(s..)` |
| lot | AI 10 | lot | `&,1` | `(l..)` |
| expiry | AI 7003, else 17 | expiry | `&>`, `=>` or SEC | `(e..)` |
| din | "" | "" | 13 characters, without flags | "" |
| coi | "" | "" | 15 characters | "" |

expiry: YYMMDD, YYYYMMDD (the century is stated), YYMMDDHHMM or YYYYMMDDHHMM (a time of day is stated); the date
exists, in its century at least. A day 00 has become the last day of the month, and MONTH_ONLY is set in notes.
kind equals the `scheme` of an order item; 0 is the item that names a gtin. `is_item` compares the two.
LabelError: reason is `unreadable`, `ambiguous` or `missing_field`; words are the two panel lines, the first one short
enough for a mark before it.
"""

from agent import gs1, hibc, isbt128, plain_code
from agent.label_fields import (
    AMBIGUOUS,
    DAY_MS,
    GS1,
    GUESSED,
    HIBC,
    ISBT128,
    MINUTE_MS,
    MONTH_ONLY,
    PATTERN,
    RESCAN,
    UNREADABLE,
    Label,
    LabelError,
    date_exists,
    days_since_1970,
    full_year,
    year_of,
)

__all__ = [
    "AMBIGUOUS",
    "GS1",
    "GUESSED",
    "HIBC",
    "ISBT128",
    "MONTH_ONLY",
    "PATTERN",
    "UNREADABLE",
    "Label",
    "LabelError",
]


def read_label(aim: str, raw: bytes, patterns: "tuple[str, ...]" = ()) -> "Label | None":
    """The label in a code, None when it is plain text. Raises LabelError.

    patterns: the site patterns of the order's items, each without fault (plain_code.fault). A label read by one names
    that pattern in code; a code that fits two different ones is refused as ambiguous.
    """
    if aim in gs1.GS1_AIMS:
        return gs1.read_elements(raw)
    if aim in gs1.RETAIL_DIGITS:
        return gs1.read_retail(aim, raw)
    label = _plain(aim, raw, patterns)
    if label is not None and not aim:
        label.notes |= GUESSED
    return label


def _plain(aim: str, raw: bytes, patterns: "tuple[str, ...]") -> "Label | None":
    """The label in a plain symbology, or in an unknown one, where the code itself must show its grammar."""
    if not aim and gs1.opens_with_item(raw):
        return gs1.read_elements(raw)
    label = None
    for pattern in patterns:
        found = plain_code.read(pattern, raw)
        if found is not None and label is not None and label.code != found.code:
            raise LabelError(AMBIGUOUS, "Fits two patterns:", "call the supervisor")
        label = found or label
    if label is not None:
        return label
    if hibc.claims(raw):
        return hibc.read(raw)
    if isbt128.claims(raw):
        return isbt128.read(raw)
    return gs1.read_link(raw) if gs1.is_link(raw) else None


def is_item(label: Label, gtin: str, scheme: int, code: str) -> bool:
    """Whether the label names the item that an order describes so: gtin with scheme 0, else scheme and code."""
    if label.kind != scheme:
        return False
    if scheme == GS1:
        return gtin != "" and label.gtin == gtin
    if scheme == ISBT128 and len(code) == 5:  # any division and type of donation of that product
        return label.code[:5] == code
    return code != "" and label.code == code


def expiry_shown(label: Label, now_ms: int) -> str:
    """The expiry as people read it: YYYY-MM-DD, or MM-DD hh:mm when a time of day is stated, which is near then."""
    text = label.expiry
    if len(text) in (6, 10):
        text = str(full_year(int(text[:2]), year_of(now_ms))) + text[2:]
    if len(text) == 12:
        return "%s-%s %s:%s" % (text[4:6], text[6:8], text[8:10], text[10:])
    return "%s-%s-%s" % (text[:4], text[4:6], text[6:])


def expiry_end_ms(label: Label, now_ms: int) -> int:
    """First millisecond at which the label's material is expired, in the label's own local time as if it were UTC.

    The end of the stated day, or the stated minute (R39). now_ms, UTC ms since 1970, decides an unstated century (R38).
    label.expiry must not be "". Raises LabelError when the century makes it a day that does not exist.
    """
    text = label.expiry
    digits = 4 if len(text) in (8, 12) else 2
    year = int(text[:digits]) if digits == 4 else full_year(int(text[:2]), year_of(now_ms))
    month, day, minutes = int(text[digits : digits + 2]), int(text[digits + 2 : digits + 4]), text[digits + 4 :]
    if not date_exists(year, month, day):
        raise LabelError(UNREADABLE, "No such expiry:", RESCAN)
    start_ms = days_since_1970(year, month, day) * DAY_MS
    return start_ms + ((int(minutes[:2]) * 60 + int(minutes[2:])) * MINUTE_MS if minutes else DAY_MS)
