"""HIBC labels: what primary, secondary and concatenated codes of the supplier standard say, or why they are refused.

Structure only: knows no labeler and no product. Every code proves itself by its check character (modulo 43), so a
truncated or altered one is refused 42 times of 43, and `*` is never data. Pure. Grammar: ANSI/HIBC 2; requirement R46.
"""

from agent.label_fields import (
    ANOTHER,
    HIBC,
    MISSING_FIELD,
    MONTH_ONLY,
    RESCAN,
    UNREADABLE,
    Label,
    LabelError,
    all_in,
    date_exists,
    is_digits,
    last_day,
    month_and_day,
)

FLAG = 0x2B  # `+` opens every code of the supplier standard
CHECK_SET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-. $/+%"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
ALPHANUMERIC = "0123456789" + LETTERS
NUMBER_SET = ALPHANUMERIC + "-. "
PRODUCT_MAX = 18  # characters of the product code; 13 in editions before 2.4
NUMBER_MAX = 18  # characters of a lot or serial
JULIAN_LOT_MAX = 13
# Date formats after `$$`, by their digit: length and layout. 0 and 1 are the month's own first digit.
FORMATS = {"2": "MMDDYY", "3": "YYMMDD", "4": "YYMMDDHH", "5": "YYJJJ", "6": "YYJJJHH", "7": ""}
QUANTITY_DIGITS = {"8": 2, "9": 5}


def claims(raw: bytes) -> bool:
    """Whether a plain code opens as HIBC does: `+`, then a labeler's letter, or the marks of a secondary code."""
    if len(raw) < 2 or raw[0] != FLAG:
        return False
    return chr(raw[1]) in ALPHANUMERIC or raw[1] == 0x24


def read(raw: bytes) -> Label:
    """The label in a code that opens with `+`. Raises LabelError.

    A secondary code alone, which names its product only by that one's check character, is refused as incomplete.
    """
    text = _checked(raw)
    label = Label(HIBC)
    alone = text[1] not in LETTERS
    parts = text[1 : -2 if alone else -1].split("/")  # without check character, and the link character before it
    if not alone:
        label.code = _primary(parts[0])
        parts = parts[1:]
    if parts:
        _secondary(label, parts[0])
    for part in parts[1:]:
        _supplement(label, part)
    if alone:
        raise LabelError(MISSING_FIELD, "No product in it:", "scan the other code")
    return label


def check_character(text: str) -> str:
    """The check character that follows text, `+` included."""
    total = 0
    for char in text:
        total += CHECK_SET.index(char)
    return CHECK_SET[total % 43]


def _checked(raw: bytes) -> str:
    """raw as text when its characters and check character are right."""
    for byte in raw:
        if byte > 0x7E or chr(byte) not in CHECK_SET:
            raise LabelError(UNREADABLE, "Not a HIBC label:", "scan it again")
    text = raw.decode()
    if len(text) < 4 or check_character(text[:-1]) != text[-1]:
        raise LabelError(UNREADABLE, "HIBC check wrong:", "scan it again")
    return text


def _primary(part: str) -> str:
    """Labeler code, product code and unit of measure."""
    if not 6 <= len(part) <= 5 + PRODUCT_MAX or not all_in(part, ALPHANUMERIC) or not is_digits(part[-1]):
        raise LabelError(UNREADABLE, "HIBC is damaged:", "scan it again")
    return part


def _secondary(label: Label, part: str) -> None:
    """Quantity, expiry, and lot or serial: after `$`, `$+`, `$$`, `$$+`, or five digits YYJJJ."""
    if len(part) >= 5 and is_digits(part[:5]):
        label.expiry = _date(label, part[:5], "YYJJJ")
        label.lot = _number(part[5:], JULIAN_LOT_MAX)
        return
    if part[:1] != "$":
        raise LabelError(UNREADABLE, "HIBC is damaged:", "scan it again")
    dated = part[1:2] == "$"
    rest = part[2 if dated else 1 :]
    is_serial = rest[:1] == "+"
    if is_serial:
        rest = rest[1:]
    if dated:
        rest = _dated(label, rest)
    if is_serial:
        label.serial = _number(rest, NUMBER_MAX)
    else:
        label.lot = _number(rest, NUMBER_MAX)


def _dated(label: Label, rest: str) -> str:
    """What follows quantity and date; the date goes into the label."""
    if rest[:1] in QUANTITY_DIGITS:
        digits = QUANTITY_DIGITS[rest[:1]]
        if len(rest) <= digits or not is_digits(rest[1 : 1 + digits]):
            raise LabelError(UNREADABLE, "HIBC amount wrong:", "scan it again")
        rest = rest[1 + digits :]
        if not rest:
            return ""
    if rest[:1] in FORMATS:
        layout = FORMATS[rest[:1]]
        rest = rest[1:]
    else:
        layout = "MMYY"
    if layout:
        label.expiry = _date(label, rest[: len(layout)], layout)
    return rest[len(layout) :]


def _supplement(label: Label, part: str) -> None:
    """A further field after `/`: expiry `14D`, date of manufacture `16D`, serial `S`, quantity `Q`."""
    if part[:3] == "14D" or part[:3] == "16D":
        date = part[3:]
        if len(date) != 8 or not is_digits(date) or not date_exists(int(date[:4]), int(date[4:6]), int(date[6:])):
            raise LabelError(UNREADABLE, "No such date:", RESCAN)
        if part[:3] == "14D":
            told = 4 if label.notes & MONTH_ONLY else 6  # digits that the secondary code stated
            if label.expiry and label.expiry[:told] != date[2 : 2 + told]:
                raise LabelError(UNREADABLE, "Two expiry dates:", ANOTHER)
            if len(label.expiry) <= 6:  # otherwise the secondary code stated the hour as well
                label.expiry, label.notes = date, label.notes & ~MONTH_ONLY
    elif part[:1] == "S" and not label.serial:
        label.serial = _number(part[1:], NUMBER_MAX)
    elif part[:1] != "Q" or not is_digits(part[1:]) or len(part) > 6:
        raise LabelError(UNREADABLE, "Unknown HIBC field:", RESCAN)


def _date(label: Label, digits: str, layout: str) -> str:
    """The expiry in digits as YYMMDD, or YYMMDDHHMM when layout has an hour; raises LabelError."""
    if len(digits) != len(layout) or not is_digits(digits):
        raise LabelError(UNREADABLE, "No such expiry:", RESCAN)
    found = {"Y": "", "M": "", "D": "", "J": "", "H": ""}
    for at in range(len(layout)):
        found[layout[at]] += digits[at]
    month_day = found["M"] + found["D"]
    if found["J"]:
        month_day = month_and_day(2000 + int(found["Y"]), int(found["J"]))
    elif not found["D"]:
        label.notes |= MONTH_ONLY
        month_day += last_day(2000 + int(found["Y"]), int(found["M"]))
    if not month_day or not date_exists(2000 + int(found["Y"]), int(month_day[:2]), int(month_day[2:])):
        raise LabelError(UNREADABLE, "No such expiry:", RESCAN)
    if found["H"] > "23":
        raise LabelError(UNREADABLE, "No such hour:", RESCAN)
    return found["Y"] + month_day + (found["H"] + "00" if found["H"] else "")


def _number(text: str, longest: int) -> str:
    if len(text) > longest or not all_in(text, NUMBER_SET):
        raise LabelError(UNREADABLE, "HIBC is damaged:", "scan it again")
    return text
