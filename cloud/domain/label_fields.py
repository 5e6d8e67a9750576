"""What a label can say, in whichever grammar it is written: the fields, and how dates on labels are read.

Knows no grammar: gs1.py, hibc.py and isbt128.py do, and labels.py chooses one.
"""

from __future__ import annotations

import calendar
import datetime as dt
from dataclasses import dataclass

from wire import Scheme

DAY_MINUTES = 1440


@dataclass(frozen=True)
class Expiry:
    """Usable through the end of day, or, when the label states a time of day, until minute of it (R39)."""

    day: dt.date
    minute: int | None = None

    def __str__(self) -> str:
        if self.minute is None:
            return self.day.isoformat()
        return f"{self.day.isoformat()} {self.minute // 60:02}:{self.minute % 60:02}"

    def end_ms(self, utc_offset_min: int) -> int:
        """The first millisecond at which it is over, at a site with this offset."""
        days = self.day.toordinal() - dt.date(1970, 1, 1).toordinal()
        minute = DAY_MINUTES if self.minute is None else self.minute
        return (days * DAY_MINUTES + minute - utc_offset_min) * 60_000


@dataclass(frozen=True)
class Label:
    """A code taken apart. problem: in words, why it cannot be relied on; the fields then hold nothing.

    scheme, code: what article it is where that is no gtin (SPEC W45). din, coi: the donation (13 characters) or the
    patient-therapy event (15) that it names. day_open: the expiry named a month only (DD = 00), which regulated
    healthcare items must not do since 2025 (R38).
    """

    text: str
    gtin: str | None = None
    lot: str | None = None
    serial: str | None = None
    expiry: Expiry | None = None
    day_open: bool = False
    problem: str | None = None
    scheme: Scheme | None = None
    code: str | None = None
    din: str | None = None
    coi: str | None = None

    def has(self, field: str) -> bool:
        """Whether the label carries "serial", "lot" or "expiry"."""
        return getattr(self, field) is not None


def full_year(short: int, year: int) -> int:
    """The year that two digits mean on a label read in year: the nearest one (R38)."""
    ahead = short - year % 100
    return year - year % 100 + (-100 if ahead >= 51 else 100 if ahead <= -50 else 0) + short


def date_of(digits: str, year: int) -> tuple[dt.date | None, bool]:
    """The date in YYMMDD or YYYYMMDD, and whether its day was left open; None when there is no such day."""
    if not (digits.isascii() and digits.isdigit() and len(digits) in (6, 8)):
        return None, False
    named = int(digits[:4]) if len(digits) == 8 else full_year(int(digits[:2]), year)
    month, day = int(digits[-4:-2]), int(digits[-2:])
    try:
        last = calendar.monthrange(named, month)[1]
        return dt.date(named, month, day or last), day == 0
    except ValueError:  # calendar.IllegalMonthError is one
        return None, False


def ordinal_date(digits: str, year: int) -> dt.date | None:
    """The date in YYJJJ, or in CYYJJJ, whose C is the last digit of the century (R43); JJJ is the day of the year."""
    if not (digits.isascii() and digits.isdigit() and len(digits) in (5, 6)):
        return None
    short, ordinal = int(digits[-5:-3]), int(digits[-3:])
    # "0" is 20xx, "9" is 19xx: one digit says which hundred, the first years of label standards which thousand
    named = (2000 if digits[0] < "9" else 1000) + 100 * int(digits[0]) + short if len(digits) == 6 else None
    named = full_year(short, year) if named is None else named
    if not 1 <= ordinal <= 365 + calendar.isleap(named):
        return None
    return dt.date(named, 1, 1) + dt.timedelta(days=ordinal - 1)


def minute_of(digits: str) -> int | None:
    """HH or HHMM as a minute of the day."""
    if not (digits.isascii() and digits.isdigit() and len(digits) in (2, 4)):
        return None
    hours, minutes = int(digits[:2]), int(digits[2:] or 0)
    return hours * 60 + minutes if hours < 24 and minutes < 60 else None
