"""Site patterns: reads the codes of a plant's own labels, which follow no standard (SPEC W45).

Decides whether a pattern can be used, whether a code fits it as a whole, and what serial, lot and expiry that states.
Never searches: each place of the pattern takes one character of the code. Pure.
"""

from agent.label_fields import PATTERN, RESCAN, UNREADABLE, Label, LabelError, date_exists, is_digits

EXPIRY_PLACES = 6  # YYMMDD
GROUPS = "sle"  # serial, lot, expiry


def fault(pattern: str) -> str:
    """What is wrong with a pattern, as one sentence; "" when it can be used."""
    group, places, closed, at = "", 0, "", 0
    while at < len(pattern):
        char, following = pattern[at], pattern[at + 1 : at + 2]
        if not " " <= char <= "~":
            return "A pattern holds printable ASCII only."
        if char == "(":
            if group:
                return "A bracket stands inside another."
            if not following or following not in GROUPS:
                return "After '(' comes s, l or e."
            if following in closed:
                return "The bracket '(%s' stands there twice." % following
            group, places = following, 0
        elif char == ")":
            if not group:
                return "A ')' closes no bracket."
            if not places:
                return "The bracket '(%s' is empty." % group
            if group == "e" and places != EXPIRY_PLACES:
                return "The expiry has six places, YYMMDD."
            group, closed = "", closed + group
        elif char == "%" and (not following or following not in "dux%"):
            return "After '%' comes d, u, x or %."
        else:
            places += 1
        at += 2 if char in "(%" else 1
    return "The bracket '(%s' is not closed." % group if group else ""


def read(pattern: str, raw: bytes) -> "Label | None":
    """The label in a code that fits the pattern, None when it does not. The pattern must have no fault.

    Raises LabelError when the code fits, and its expiry is no date.
    """
    fields = {"s": "", "l": "", "e": ""}
    group, at, place = "", 0, 0
    while at < len(pattern):
        char = pattern[at]
        if char == ")":
            group = ""
        elif char == "(":
            at += 1
            group = pattern[at]
        else:
            if char == "%":
                at += 1
            if place == len(raw) or not _takes(char, pattern[at], raw[place]):
                return None
            if group:
                fields[group] += chr(raw[place])
            place += 1
        at += 1
    if place != len(raw):
        return None
    expiry = fields["e"]
    if expiry and not (
        is_digits(expiry) and date_exists(2000 + int(expiry[:2]), int(expiry[2:4]), int(expiry[4:]))  # fits any century
    ):
        raise LabelError(UNREADABLE, "No such expiry:", RESCAN)
    label = Label(PATTERN)
    label.code, label.serial, label.lot, label.expiry = pattern, fields["s"], fields["l"], expiry
    return label


def _takes(mark: str, place: str, byte: int) -> bool:
    """Whether a place of the pattern takes a character; mark is "%" when place is a class."""
    if mark != "%" or place == "%":
        return byte == ord(place)
    is_digit, is_capital = 0x30 <= byte <= 0x39, 0x41 <= byte <= 0x5A
    return (is_digit and place in "dx") or (is_capital and place in "ux")
