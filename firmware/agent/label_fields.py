"""What every label grammar shares: the fields a label can carry, the error that refuses it, characters and calendar.

Knows no grammar; label.py chooses one. Pure. Requirements: R33, R38, R43.
"""

GS1, HIBC, ISBT128, PATTERN = 0, 1, 2, 3  # the last three as `scheme` of an order item (SPEC section 7)
UNREADABLE = "unreadable"
MISSING_FIELD = "missing_field"
AMBIGUOUS = "ambiguous"
MONTH_ONLY = 1  # a note: the label names no day, its month's last one was taken (R38)
GUESSED = 2  # a note: no AIM prefix came, the code proved itself by its check digits (R34)
DAY_MS = 86400000
MINUTE_MS = 60000
RESCAN = "rescan, or call help"  # nobody can tell whether the read or the label is at fault
ANOTHER = "take another one"  # the label is at fault


class LabelError(Exception):
    """A label that must be refused: reason is a SPEC section 5 word, words are two lines of 19 and 21 characters."""

    def __init__(self, reason: str, first: str, second: str = "") -> None:
        super().__init__((first + " " + second).strip())
        self.reason = reason
        self.words = [first, second]


class Label:
    """What a label says; a field that it does not carry is "". Which grammar fills which: label.py."""

    def __init__(self, kind: int) -> None:
        self.kind = kind
        self.gtin = ""
        self.code = ""
        self.serial = ""
        self.lot = ""
        self.expiry = ""
        self.din = ""
        self.coi = ""
        self.notes = 0


def is_digits(text: str) -> bool:
    """ASCII digits only, and at least one."""
    for char in text:
        if not "0" <= char <= "9":
            return False
    return text != ""


def all_in(text: str, characters: str) -> bool:
    """Whether text holds none but these characters."""
    for char in text:
        if char not in characters:
            return False
    return True


def date_exists(year: int, month: int, day: int) -> bool:
    return 1 <= month <= 12 and 1 <= day <= month_days(year, month)


def last_day(year: int, month: int) -> str:
    """The two digits of a month's last day; "00" when there is no such month."""
    return "%02d" % month_days(year, month) if 1 <= month <= 12 else "00"


def month_and_day(year: int, day: int) -> str:
    """MMDD of the n-th day of a year, "" when it has no such day (R43)."""
    month = 1
    while month <= 12 and day > month_days(year, month):
        day -= month_days(year, month)
        month += 1
    return "%02d%02d" % (month, day) if 1 <= day and month <= 12 else ""


def full_year(two_digits: int, this_year: int) -> int:
    """The year meant by its last two digits: 49 years back to 50 years ahead of this one (R38)."""
    year = this_year - this_year % 100 + two_digits
    if year - this_year > 50:
        return year - 100
    if this_year - year >= 50:
        return year + 100
    return year


def year_of(time_ms: int) -> int:
    """The UTC year of a moment in ms since 1970."""
    days = time_ms // DAY_MS
    year = 1970 + days // 366
    while days_since_1970(year + 1, 1, 1) <= days:
        year += 1
    return year


def month_days(year: int, month: int) -> int:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31


def days_since_1970(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01 to a date of the Gregorian calendar."""
    before = year - 1
    days = before * 365 + before // 4 - before // 100 + before // 400 - 719162
    for earlier in range(1, month):
        days += month_days(year, earlier)
    return days + day - 1
