"""HIBC supplier labels: who made the article, which one it is, and its lot, serial and expiry (R46).

Structure only: `+` labeler code (4), product code (1 to 18), unit of measure (1), then `/` and further fields, and one
check character over all of it. A code that holds the fields but no article (the second of two bars on old labels) is
refused: one scan must say what it is.
"""

from __future__ import annotations

import datetime as dt
import re

from cloud.domain.check_digits import hibc_check
from cloud.domain.label_fields import Expiry, Label, date_of, minute_of, ordinal_date
from wire import Scheme

_ARTICLE = re.compile(r"[A-Z][A-Z0-9]{3}[A-Z0-9]{1,18}[0-9]")
_NUMBER = r"[A-Z0-9.\- ]{0,18}"  # of a lot or a serial
_FIELD = re.compile(
    rf"(?P<kind>1[46]D)(?P<day>[0-9]{{8}})"  # 14D expiry, 16D manufacture
    rf"|S(?P<serial>{_NUMBER})"
    r"|Q[0-9]{1,5}"
    rf"|\$\$(?P<dated_serial>\+?)(?:8[0-9]{{2}}|9[0-9]{{5}})?(?P<date>[01]|[2-7]|$)(?P<rest>{_NUMBER})"
    rf"|\$(?P<serial_only>\+?)(?P<only>{_NUMBER})"
    rf"|(?P<ordinal>[0-9]{{5}})(?P<lot>{_NUMBER})"
)
EXPIRIES = ("expiry", "day", "month")  # a label may state it twice; the one that says most stands first
# What the digit after `$$` says of the date: its layout, without the digit itself. 0 and 1 begin the month of an MMYY.
_LAYOUTS = {"2": "MMDDYY", "3": "YYMMDD", "4": "YYMMDDHH", "5": "YYJJJ", "6": "YYJJJHH", "7": ""}


def read_hibc(text: str, plain: str, year: int) -> Label:
    """plain begins with `+`. year: in which it was read (R38). Never raises."""
    if len(plain) < 2 or hibc_check(plain[:-1]) != plain[-1]:
        return Label(text, problem="the code's HIBC check character is wrong")
    article, *fields = plain[1:-1].split("/")
    if not _ARTICLE.fullmatch(article):
        return Label(text, problem="the code is a HIBC label that names no article")
    said: dict[str, str | Expiry] = {}
    for field in fields:
        for name, value in _read_field(field, year).items():
            if value is None:
                return Label(text, problem=f"the code's HIBC field {field} cannot be read")
            if name in said:
                return Label(text, problem="the code states one thing twice; it is ambiguous")
            said[name] = value
    expiries = {name: said.pop(name) for name in EXPIRIES if name in said}
    if len({str(expiry)[: 7 if "month" in expiries else 10] for expiry in expiries.values()}) > 1:
        return Label(text, problem="the code states two expiry dates; it is ambiguous")
    said |= {"expiry": next(iter(expiries.values()))} if expiries else {}
    return Label(text, scheme=Scheme.HIBC, code=article, **said)  # type: ignore[arg-type]  # names and types fit


def _read_field(field: str, year: int) -> dict[str, str | Expiry | None]:
    """What one field says, by the name it has in a Label or in EXPIRIES; None for what is there and cannot be read."""
    found = _FIELD.fullmatch(field)
    if found is None:
        return {"problem": None}
    part = found.groupdict()
    if part["kind"]:
        return {"day": _expiry("YYYYMMDD", part["day"], year)} if part["kind"] == "14D" else {}
    if part["serial"] is not None:
        return {"serial": part["serial"] or None}
    if part["ordinal"]:
        return {"expiry": _expiry("YYJJJ", part["ordinal"], year)} | _number(part["lot"], "lot")
    if part["only"] is not None:
        return _number(part["only"], "serial" if part["serial_only"] else "lot")
    if part["date"] is not None:
        return _dated(part["date"], part["rest"], "serial" if part["dated_serial"] else "lot", year)
    return {}  # a quantity


def _dated(digit: str, rest: str, name: str, year: int) -> dict[str, str | Expiry | None]:
    """`$$` with its date, and the lot or serial behind it."""
    if digit in ("", "7"):
        return _number(rest, name)
    layout = _LAYOUTS.get(digit, "MMYY")
    written = rest if digit in _LAYOUTS else digit + rest
    found = _expiry(layout, written[: len(layout)], year)
    return {"month" if layout == "MMYY" else "expiry": found} | _number(written[len(layout) :], name)


def _number(number: str, name: str) -> dict[str, str | Expiry | None]:
    return {name: number} if number else {}


def _expiry(layout: str, digits: str, year: int) -> Expiry | None:
    """A date in one of the layouts that HIBC has; of a month alone its last day, as the standard says."""
    if len(digits) != len(layout):
        return None
    hour = minute_of(digits[-2:]) if layout.endswith("HH") else None
    if layout.endswith("HH") and hour is None:
        return None
    bare = digits[:-2] if layout.endswith("HH") else digits
    day: dt.date | None
    if layout.startswith("YYJJJ"):
        day = ordinal_date(bare, year)
    elif layout == "MMYY":
        day = date_of(f"{bare[2:]}{bare[:2]}00", year)[0]
    else:
        ordered = bare[4:] + bare[:4] if layout == "MMDDYY" else bare
        day = None if ordered.endswith("00") else date_of(ordered, year)[0]
    return None if day is None else Expiry(day, hour)
