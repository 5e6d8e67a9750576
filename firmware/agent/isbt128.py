"""ISBT 128 codes: which data structure a code is, and what donation, product, expiry, lot or identity it names.

Structure only: first the data identifier, then length and format; whatever else is refused (R41). Ships no table of
products or facilities: those come with a licence of their own (R44), so a well-formed code of an unknown product is
read all the same. Pure. Structures: R30, R41 to R43, R45.

What structure cannot tell: one character altered into another of its kind, except in a donation number whose flags
carry the check value (type 3). A code cut short or run together with another never has the right length.
"""

from agent.label_fields import (
    AMBIGUOUS,
    ANOTHER,
    ISBT128,
    RESCAN,
    UNREADABLE,
    Label,
    LabelError,
    all_in,
    date_exists,
    is_digits,
)
from agent.label_fields import month_and_day as month_and_day_of

OPENS = b"=&"  # the first characters of all data identifiers
DIGITS = "0123456789"
CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
NO_O = "ABCDEFGHIJKLMNPQRSTUVWXYZ"  # facility codes avoid the letter that looks like a zero
SMALL = "abcdefghijklmnopqrstuvwxyz"
CHECK_SET = DIGITS + CAPITALS + "*"  # ISO 7064 modulo 37-2
DIN_CHARS = 13
CHECK_FLAGS = 60  # flags of type 3 are this plus the check value
# Characters after the data identifier; "=" stands for the donation number, whose identifier ends with its first letter.
LENGTHS = {
    "=": 15, "=<": 8, "=>": 6, "&>": 10, "=*": 6, "&*": 10, "=}": 6, "&}": 10, "=)": 10, "&)": 10, "=-": 10, "&-": 10,
    "='": 11, "=,": 6, "=/": 16, "&,1": 18, "&,2": 6, "&,4": 40, "&/": 15,
}  # fmt: skip
COMPOUND = "=+"  # a message of several structures: their number, then a reference that only licensed tables explain
COMPOUND_CHARS = 5


def claims(raw: bytes) -> bool:
    """Whether a plain code opens as every ISBT 128 code does."""
    return raw[:1] != b"" and raw[0] in OPENS


def read(raw: bytes) -> Label:
    """The label in one structure, or in a compound message. Raises LabelError."""
    for byte in raw:
        if not 0x21 <= byte <= 0x7E:
            raise LabelError(UNREADABLE, "Not ISBT 128:", "scan it again")
    text = raw.decode()
    if text[:2] == COMPOUND:
        found = _compound(text)
    else:
        identifier, content, end = _structure(text, 0)
        if end != len(text):
            _refuse_rest(text, end)
        found = {identifier: content}
    return _label(found)


def check_value(din: str) -> int:
    """0..36: the value of the check character over a donation number, ISO 7064 modulo 37-2."""
    total = 0
    for char in din:
        total = (total + CHECK_SET.index(char)) * 2 % 37
    return (38 - total) % 37


def identity_kind(code: str) -> str:
    """What an order's identity is: "din" for a donation number, "coi" for a chain-of-identity code, else ""."""
    if len(code) == LENGTHS["="] + 1 and code[0] == "=":  # as it is printed, with its flags
        code = code[1 : 1 + DIN_CHARS]
    if _is_donation(code):
        return "din"
    return "coi" if code[:2] == "CH" and _is_donation(code[2:]) else ""


def _compound(text: str) -> "dict[str, str]":
    """Structures by identifier of a compound message, which says how many it has."""
    head = text[2 : 2 + COMPOUND_CHARS]
    if len(head) < COMPOUND_CHARS or not is_digits(head):
        raise LabelError(UNREADABLE, "Label is cut short:", "scan it again")
    found: "dict[str, str]" = {}
    at = 2 + COMPOUND_CHARS
    for _ in range(int(head[:2])):
        identifier, content, at = _structure(text, at)
        if identifier in found:
            raise LabelError(AMBIGUOUS, "Two codes in one:", "scan one at a time")
        found[identifier] = content
    if at != len(text) or not found:
        _refuse_rest(text, at)
    return found


def _refuse_rest(text: str, at: int) -> None:
    if at < len(text) and ord(text[at]) in OPENS:
        raise LabelError(AMBIGUOUS, "Two codes in one:", "scan one at a time")
    raise LabelError(UNREADABLE, "ISBT length wrong:", "scan it again")


def _structure(text: str, at: int) -> "tuple[str, str, int]":
    """Identifier, content and end of the structure that begins there; raises LabelError."""
    identifier = text[at : at + (3 if text[at : at + 2] == "&," else 2)]
    if identifier[:1] == "=" and identifier[1:] and identifier[1] in NO_O + "123456789":
        identifier = "="
    if identifier not in LENGTHS:
        raise LabelError(UNREADABLE, "Unknown ISBT code:", RESCAN)
    begin = at + len(identifier)
    content = text[begin : begin + LENGTHS[identifier]]
    if len(content) < LENGTHS[identifier]:
        raise LabelError(UNREADABLE, "Label is cut short:", "scan it again")
    if not _fits(identifier, content):
        raise LabelError(UNREADABLE, "ISBT 128 damaged:", RESCAN)
    return identifier, content, begin + len(content)


def _fits(identifier: str, content: str) -> bool:
    """Whether content, of the right length, has the format of its structure."""
    if identifier == "=":
        return _is_donation(content[:DIN_CHARS]) and _flags_fit(content)
    if identifier == "&/":
        return content[:2] == "CH" and _is_donation(content[2:])
    if identifier == "=<":
        return content[0] in CAPITALS and all_in(content[1:7], DIGITS + CAPITALS) and content[7] in DIGITS + SMALL
    if identifier[1] in ">*}":
        time = content[6:]
        return _date(content) != "" and (not time or (is_digits(time) and time[:2] <= "23" and time[2:] <= "59"))
    if identifier == "='":
        return _is_facility(content[:5]) and all_in(content[5:], DIGITS + CAPITALS)
    if identifier == "=/":
        return _is_facility(content[:5]) and content[11] in CAPITALS and all_in(content[5:], DIGITS + CAPITALS)
    if identifier == "&,4":
        return _is_european(content)
    return all_in(content, DIGITS + CAPITALS)


def _is_facility(code: str) -> bool:
    return code[0] in NO_O + "123456789" and all_in(code[1:3], DIGITS + NO_O) and is_digits(code[3:5])


def _is_donation(code: str) -> bool:
    """Facility, year, number: the form of donation numbers and of chain-of-identity codes after their `CH`."""
    return len(code) == DIN_CHARS and _is_facility(code[:5]) and is_digits(code[5:])


def _flags_fit(content: str) -> bool:
    """The two flag characters after a donation number: no part of it, but of type 3 they prove it (R42)."""
    flags = content[DIN_CHARS:]
    if not is_digits(flags) or not CHECK_FLAGS <= int(flags) < CHECK_FLAGS + 37:
        return all_in(flags, DIGITS + CAPITALS)
    return int(flags) == CHECK_FLAGS + check_value(content[:DIN_CHARS])


def _is_european(code: str) -> bool:
    """Single European Code: country, establishment, donation; product system, product, split, expiry (R45)."""
    if not all_in(code, DIGITS + CAPITALS) or not all_in(code[:2] + code[21], CAPITALS) or not is_digits(code[32:]):
        return False
    year, month, day = int(code[32:36]), int(code[36:38]), int(code[38:])
    return code[32:] == "00000000" or date_exists(year, month, day)


def _date(content: str) -> str:
    """YYYYMMDD of `cyyjjj`, "" when there is no such day (R43). The century digit is that of the year: 0 is 20yy."""
    if not is_digits(content[:6]):
        return ""
    year = int(content[:3]) + (1000 if content[0] == "9" else 2000)
    month_and_day = month_and_day_of(year, int(content[3:6]))
    return str(year) + month_and_day if month_and_day else ""


def _label(found: "dict[str, str]") -> Label:
    label = Label(ISBT128)
    label.din = found.get("=", "")[:DIN_CHARS]
    donation = found.get("&,4", "")[8 : 8 + DIN_CHARS]
    if _is_donation(donation):  # another country's numbers may have another form
        if label.din not in ("", donation):
            raise LabelError(UNREADABLE, "Two donations:", ANOTHER)
        label.din = donation
    label.coi = found.get("&/", "")
    label.code = found.get("=<", "")
    processed = found.get("=/", "")[11:]  # the product's description alone
    if label.code and processed and label.code[:5] != processed:
        raise LabelError(UNREADABLE, "Two product codes:", ANOTHER)
    label.code = label.code or processed
    label.lot = found.get("&,1", "")
    part = found.get("&,2", "") or (found.get("=,", "") if processed else "")
    label.serial = label.din + part if part else ""  # numbers of parts begin anew with each donation
    expiries = [found[key] for key in ("&>", "=>") if key in found]
    stated = [_date(content) + content[6:] for content in expiries]
    european = found.get("&,4", "")[32:]
    if european and european != "00000000":
        stated.append(european)
    for expiry in stated[1:]:
        if expiry[:8] != stated[0][:8]:
            raise LabelError(UNREADABLE, "Two expiry dates:", ANOTHER)
    if stated:
        label.expiry = stated[0]
    return label
