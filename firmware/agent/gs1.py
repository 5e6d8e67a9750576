"""GS1 element strings: what a label says of trade item, serial, lot and expiry, or why it cannot be trusted.

Never guesses: a label from which a separator may have been lost is refused as ambiguous. Pure.
Grammar: GS1 General Specifications; requirements R34 to R38.
"""

GS = 0x1D  # how FNC1 arrives between elements
UNREADABLE = "unreadable"
AMBIGUOUS = "ambiguous"

GS1_AIMS = ("]C1", "]d2", "]Q3", "]J1", "]e0")  # R34: these symbologies carry element strings
RETAIL_AIMS = {"]E0": 13, "]E4": 8}  # EAN-13 and EAN-8: a bare GTIN
# Content length of the application identifiers that need no separator (R35), by their first two digits.
PREDEFINED = {
    "00": 18, "01": 14, "02": 14, "11": 6, "12": 6, "13": 6, "15": 6, "16": 6, "17": 6, "20": 2,
    "31": 6, "32": 6, "33": 6, "34": 6, "35": 6, "36": 6, "41": 13,
}  # fmt: skip
# Others that units meet (R36): identifier, shortest and longest content. All end at a separator or at the end.
VARIABLE = {
    "10": (1, 20), "21": (1, 20), "22": (1, 20), "30": (1, 8), "37": (1, 8), "240": (1, 30), "241": (1, 30),
    "250": (1, 30), "251": (1, 30), "254": (1, 20), "400": (1, 30), "420": (1, 20), "7003": (10, 10), "7240": (1, 20),
    "8003": (14, 30), "8004": (1, 30), "8006": (18, 18), "8008": (8, 12), "8010": (1, 30), "8011": (1, 12),
    "8013": (1, 25), "8017": (18, 18), "8018": (18, 18), "8020": (1, 25),
    "90": (1, 30), "91": (1, 90), "92": (1, 90), "93": (1, 90), "94": (1, 90), "95": (1, 90), "96": (1, 90),
    "97": (1, 90), "98": (1, 90), "99": (1, 90),
}  # fmt: skip
DATES = ("11", "12", "13", "15", "16", "17")
CHECKED = ("00", "01", "02", "41", "8017", "8018")  # whole content ends in a check digit (R37)
TELLING = ("00", "01", "02", "11", "12", "13", "15", "16", "17", "41")  # their content proves itself
DAY_MS = 86400000


class Gs1Error(Exception):
    """A label that must be refused; reason is a SPEC section 5 word, detail says what is wrong with it."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Label:
    """What a label says; a field that it does not carry is ""."""

    def __init__(self, elements: "dict[str, str]") -> None:
        self.elements = elements
        self.gtin = elements.get("01", "")
        self.serial = elements.get("21", "")
        self.lot = elements.get("10", "")
        self.expiry = elements.get("17", "")  # YYMMDD


def read_label(aim: str, raw: bytes) -> "Label | None":
    """The label of a code in a GS1 symbology, None when the code is plain text. Raises Gs1Error.

    Without an AIM prefix a code counts as a label only when it is a faultless one that opens with a GTIN; the record
    keeps the empty prefix, which marks the guess (R34).
    """
    if aim in GS1_AIMS:
        return Label(_elements(raw))
    if aim in RETAIL_AIMS:
        return Label({"01": _retail_gtin(raw, RETAIL_AIMS[aim])})
    if aim == "" and raw[:2] == b"01" and len(raw) >= 16 and _digits(raw[2:16]) and check_digit_holds(raw[2:16]):
        return Label(_elements(raw))
    return None


def check_digit_holds(digits: bytes) -> bool:
    """Modulo 10 with weights 3, 1 from the right, check digit included (R37)."""
    total, weight = 0, 1
    for byte in reversed(digits):
        total += (byte - 0x30) * weight
        weight = 4 - weight
    return total % 10 == 0


def end_of_day_ms(yymmdd: str, now_ms: int) -> int:
    """First millisecond after the day, as UTC ms since 1970. now_ms decides the century (R38). Raises Gs1Error."""
    year, month, day = int(yymmdd[:2]), int(yymmdd[2:4]), int(yymmdd[4:])
    this_year = year_of(now_ms)
    year += this_year - this_year % 100
    if year - this_year > 50:
        year -= 100
    elif this_year - year >= 50:
        year += 100
    if not 1 <= month <= 12 or day > month_days(year, month):
        raise Gs1Error(UNREADABLE, "no such date " + yymmdd)
    return (days_since_1970(year, month, day or month_days(year, month)) + 1) * DAY_MS


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


def _retail_gtin(raw: bytes, length: int) -> str:
    if len(raw) != length or not _digits(raw) or not check_digit_holds(raw):
        raise Gs1Error(UNREADABLE, "not a valid EAN code")
    return "0" * (14 - length) + raw.decode()


def _elements(raw: bytes) -> "dict[str, str]":
    elements: "dict[str, str]" = {}
    at = 0
    while at < len(raw) and raw[at] == GS:
        at += 1
    if at == len(raw):
        raise Gs1Error(UNREADABLE, "empty label")
    while at < len(raw):
        ai, content, at = _element(raw, at)
        if elements.get(ai, content) != content:
            raise Gs1Error(UNREADABLE, "two different values of AI " + ai)
        elements[ai] = content
    return elements


def _element(raw: bytes, at: int) -> "tuple[str, str, int]":
    """Identifier, content and where the next element begins."""
    family = _text(raw[at : at + 2])
    if family in PREDEFINED:
        ai = _text(raw[at : at + (2 if family not in ("31", "32", "33", "34", "35", "36", "41") else _long(family))])
        begin = at + len(ai)
        end = begin + PREDEFINED[family]
        content = raw[begin:end]
        if len(content) < PREDEFINED[family] or not _digits(content):
            raise Gs1Error(UNREADABLE, "AI " + ai + " is cut short")
        _check_content(family, ai, content)
    else:
        ai = _variable_ai(raw, at)
        shortest, longest = VARIABLE[ai]
        begin = at + len(ai)
        end = begin
        while end < len(raw) and raw[end] != GS:
            end += 1
        content = raw[begin:end]
        if len(content) > longest:
            raise Gs1Error(AMBIGUOUS, "AI " + ai + " runs on: a separator is missing")
        if len(content) < shortest:
            raise Gs1Error(UNREADABLE, "AI " + ai + " is cut short")
        if end == len(raw) and _hides_element(content, shortest):
            raise Gs1Error(AMBIGUOUS, "AI " + ai + " may hold another field: a separator is missing")
        _check_content(ai, ai, content)
    while end < len(raw) and raw[end] == GS:
        end += 1
    return ai, _text(content), end


def _long(family: str) -> int:
    return 3 if family == "41" else 4


def _variable_ai(raw: bytes, at: int) -> str:
    for length in (2, 3, 4):
        ai = _text(raw[at : at + length])
        if ai in VARIABLE:
            return ai
    raise Gs1Error(UNREADABLE, "unknown AI " + _text(raw[at : at + 2]))


def _hides_element(content: bytes, shortest: int) -> bool:
    """Whether the end of a last, open-ended field reads as a self-proving element: then a separator was lost (R35)."""
    for split in range(shortest, len(content) - 7):
        family = content[split : split + 2]
        if family[0] not in b"014" or not _digits(family):
            continue
        if family.decode() not in TELLING:
            continue
        try:
            elements = _elements(content[split:])
        except Gs1Error:
            continue
        if elements:
            return True
    return False


def _check_content(family: str, ai: str, content: bytes) -> None:
    if family in CHECKED and (not _digits(content) or not check_digit_holds(content)):
        raise Gs1Error(UNREADABLE, "wrong check digit in AI " + ai)
    if family in DATES and not (b"01" <= content[2:4] <= b"12" and content[4:6] <= b"31"):
        raise Gs1Error(UNREADABLE, "no such date in AI " + ai)


def _digits(raw: bytes) -> bool:
    for byte in raw:
        if not 0x30 <= byte <= 0x39:
            return False
    return len(raw) > 0


def _text(raw: bytes) -> str:
    """Printable ASCII only: GS1's character set 82 has nothing else."""
    for byte in raw:
        if not 0x21 <= byte <= 0x7A:
            raise Gs1Error(UNREADABLE, "a character that GS1 does not allow")
    return raw.decode()
