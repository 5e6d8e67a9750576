"""GS1 labels: what element strings, retail codes and Digital Links say, or why they cannot be trusted.

Never guesses: a label from which a separator may have been lost is refused as ambiguous, one that lacks the number of
its item as incomplete. Pure. Grammar: GS1 General Specifications; requirements R34 to R38, R40.

What no grammar can tell: a lot or serial at the end of a label that lost its own last characters, or swallowed a
second lot or serial with the separator between them. The first is the scanner's to notice (its suffix is missing),
the second the order's (`needs`).
"""

from agent.label_fields import (
    AMBIGUOUS,
    ANOTHER,
    GS1,
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
)

GS = "\x1d"  # how FNC1 arrives between fields
GS1_AIMS = ("]C1", "]d2", "]Q3", "]J1", "]e0")  # R34: these symbologies carry element strings
RETAIL_DIGITS = {"]E0": 13, "]E4": 8}  # EAN-13 and EAN-8: a bare GTIN
LINK_AIMS = ("]d1", "]Q1", "]J0", "]C0", "")  # plain data, perhaps a Digital Link

SET_82 = "!\"%&'()*+,-./0123456789:;<=>?ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
SET_39 = "#-/0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SET_32 = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83)

# Families of two digits whose length is known without a separator (R35).
PREDEFINED = (
    "00",
    "01",
    "02",
    "03",
    "11",
    "12",
    "13",
    "15",
    "16",
    "17",
    "20",
    "31",
    "32",
    "33",
    "34",
    "35",
    "36",
    "41",
)
# Measures have four digits, the last is the decimal point's place; how far the third goes, by family.
MEASURES = {"31": "6", "32": "9", "33": "7", "34": "9", "35": "7", "36": "9"}

PROVEN = ("checked", "date", "time", "piece")  # fields of these kinds show by themselves that they are what they seem
# Fields that units meet (R36), behind their kind, shortest and longest content; as one text, which takes less heap.
FIELDS = (
    "|checked,14,14 01 02 03 "
    "|checked,17,17 402 "
    "|checked,18,18 00 8017 8018 "
    "|date,6,6 11 12 13 15 16 17 "
    "|gdti,13,30 253 "
    "|grai,14,30 8003 "
    "|made,8,12 8008 "
    "|model,3,25 8013 "
    "|number,1,6 242 "
    "|number,1,8 30 37 "
    "|number,1,10 8019 "
    "|number,1,12 8011 "
    "|number,2,2 20 7241 "
    "|number,3,3 422 426 "
    "|part,1,30 8010 "
    "|piece,18,18 8006 8026 "
    "|text,1,20 10 21 22 243 254 420 7240 8012 "
    "|text,1,25 7242 8020 "
    "|text,1,28 235 "
    "|text,1,30 240 241 250 251 400 401 403 8004 90 "
    "|text,1,70 8200 "
    "|text,4,12 421 "
    "|time,10,10 7003 "
    "|"
)
MEASURE = ("number", 6, 6)
LOCATION = ("checked", 13, 13)
INTERNAL = ("text", 1, 90)
NATIONAL = ("text", 1, 20)  # 710 to 716: a country's own number of a medicine
CERTIFIED = ("text", 3, 30)  # 7230 to 7239
# Fields that mean nothing without one of some others (R36). On a label of two codes those may stand in the other one.
NEEDS_ITEM = ("10", "11", "13", "15", "16", "17", "20", "21", "22", "235", "240", "241", "250", "251", "30", "7003",
              "7240", "8008")  # fmt: skip
ITEMS = ("01", "02", "03", "8006")
NEEDS = (("21", ("01", "03", "8006")), ("22", ("01",)), ("250", ("21",)), ("254", ("414",)), ("8011", ("8010",)))
EXCLUDES = (("01", "02"), ("01", "03"), ("02", "03"), ("01", "37"), ("03", "37"), ("01", "8006"), ("37", "8006"),
            ("21", "235"), ("8017", "8018"))  # fmt: skip
LINK_QUALIFIERS = ("22", "10", "21")  # in this order, each at most once (R40)


def read_elements(raw: bytes) -> Label:
    """The label in an element string, as GS1 symbologies carry it. Raises LabelError."""
    fields = _split(_text(raw))
    for ai in fields:
        if ai[:2] not in PREDEFINED and _hides_field(fields[ai], _kind(ai)[1], fields):
            raise LabelError(AMBIGUOUS, "Separator missing:", RESCAN)
    return _label(fields)


def opens_with_item(raw: bytes) -> bool:
    """Whether a code without AIM prefix opens with a faultless trade item number (R34)."""
    return raw[:2] == b"01" and len(raw) >= 16 and _digits(raw[2:16]) and check_digit_holds(raw[2:16].decode())


def read_retail(aim: str, raw: bytes) -> Label:
    """The label in an EAN code: nothing but a GTIN. Raises LabelError."""
    digits = RETAIL_DIGITS[aim]
    if len(raw) != digits or not _digits(raw) or not check_digit_holds(raw.decode()):
        raise LabelError(UNREADABLE, "Not an EAN code:", "scan it again")
    return _label({"01": "0" * (14 - digits) + raw.decode()})


def is_link(raw: bytes) -> bool:
    """Whether a code is a web address with a trade item in its path: a GS1 Digital Link, or one that is damaged."""
    scheme = raw[:8].lower()
    return (scheme == b"https://" or scheme[:7] == b"http://") and raw.find(b"/01/") >= 0


def read_link(raw: bytes) -> Label:
    """The label in a Digital Link: keys in the path, attributes in the query (R40). Raises LabelError."""
    for byte in raw:
        if not 0x21 <= byte <= 0x7E:
            raise LabelError(UNREADABLE, "Link is damaged:", "scan it again")
    text = raw.decode()
    scheme, _colon, rest = text.partition("://")
    if scheme not in ("http", "https", "HTTP", "HTTPS"):
        raise LabelError(UNREADABLE, "Link is damaged:", "scan it again")
    path, _mark, query = rest.partition("#")[0].partition("?")
    fields: "dict[str, str]" = {}
    keys = path[path.find("/01/") + 1 :].split("/")
    if len(keys) % 2:
        raise LabelError(UNREADABLE, "Link is cut short:", "scan it again")
    for at in range(0, len(keys), 2):
        _add(fields, keys[at], _percent_decoded(keys[at + 1]))
    places = [LINK_QUALIFIERS.index(ai) if ai in LINK_QUALIFIERS else -1 for ai in keys[2::2]]
    if places != sorted(places) or -1 in places:
        raise LabelError(UNREADABLE, "Link keys mixed up:", RESCAN)
    for pair in query.split("&") if query else []:
        ai, _equals, content = pair.partition("=")
        if is_digits(ai):  # other names are the web's, not the label's
            _add(fields, ai, _percent_decoded(content))
    return _label(fields)


def check_digit_holds(digits: str) -> bool:
    """Modulo 10 with weights 3, 1 from the right, check digit included (R37)."""
    total, weight = 0, 1
    for at in range(len(digits) - 1, -1, -1):
        total += (ord(digits[at]) - 0x30) * weight
        weight = 4 - weight
    return total % 10 == 0


def model_check_holds(model: str) -> bool:
    """The two check characters of a Global Model Number: values weighted with primes from the right, modulo 1021."""
    total = 0
    for at in range(len(model) - 2):
        total += SET_82.index(model[at]) * PRIMES[len(model) - 3 - at]
    total %= 1021
    return model[-2:] == SET_32[total >> 5] + SET_32[total & 31]


def _split(text: str) -> "dict[str, str]":
    """Fields by application identifier; raises LabelError."""
    fields: "dict[str, str]" = {}
    at = 1 if text[:1] == GS else 0
    if at == len(text):
        raise LabelError(UNREADABLE, "Empty label:", "scan it again")
    while at < len(text):
        ai = _ai_at(text, at)
        if not ai:
            raise LabelError(UNREADABLE, "Unknown field:", RESCAN)
        begin = at + len(ai)
        end = text.find(GS, begin)
        if end < 0:
            end = len(text)
        if ai[:2] in PREDEFINED:
            end = min(end, begin + _kind(ai)[2])
        _add(fields, ai, text[begin:end])
        at = end + 1 if text[end : end + 1] == GS else end
    return fields


def _ai_at(text: str, at: int) -> str:
    """The application identifier that stands there; "" when it is none that units know."""
    for length in (2, 3, 4):
        ai = text[at : at + length]
        if len(ai) == length and _kind(ai)[2]:
            return ai
    return ""


def _kind(ai: str) -> "tuple[str, int, int]":
    """Kind, shortest and longest content of a field; longest is 0 for an unknown one."""
    at = FIELDS.find(" " + ai + " ")
    if at >= 0:
        start = FIELDS.rfind("|", 0, at) + 1
        kind, shortest, longest = FIELDS[start : FIELDS.find(" ", start)].split(",")
        return kind, int(shortest), int(longest)
    if len(ai) == 4 and ai[:2] in MEASURES and "0" <= ai[2] <= MEASURES[ai[:2]] and "0" <= ai[3] <= "5":
        return MEASURE
    if len(ai) == 3 and ai[:2] == "41" and "0" <= ai[2] <= "7":
        return LOCATION
    if len(ai) == 3 and ai[:2] == "71" and "0" <= ai[2] <= "6":
        return NATIONAL
    if len(ai) == 4 and ai[:3] == "723" and "0" <= ai[3] <= "9":
        return CERTIFIED
    if len(ai) == 2 and ai[0] == "9" and "1" <= ai[1] <= "9":
        return INTERNAL
    return "", 0, 0


def _add(fields: "dict[str, str]", ai: str, content: str) -> None:
    kind, shortest, longest = _kind(ai)
    if not longest:
        raise LabelError(UNREADABLE, "Unknown field:", RESCAN)
    if len(content) > longest:
        raise LabelError(AMBIGUOUS, "Separator missing:", RESCAN)
    if len(content) < shortest:
        raise LabelError(UNREADABLE, "Field %s is cut:" % ai, "scan it again")
    if ai in fields:
        raise LabelError(AMBIGUOUS, "Two codes in one:", "scan one at a time")
    if not _fits(kind, content):
        raise LabelError(UNREADABLE, "Field %s damaged:" % ai, RESCAN)
    fields[ai] = content


def _fits(kind: str, content: str) -> bool:
    """Whether content, of a permitted length, is what its kind says: characters, check digit, date."""
    if kind == "text":
        return all_in(content, SET_82)
    if kind == "part":
        return all_in(content, SET_39)
    if kind == "model":
        return all_in(content, SET_82) and model_check_holds(content)
    if kind == "grai":
        return content[0] == "0" and _is_numbered(content, 14)
    if kind == "gdti":
        return _is_numbered(content, 13)
    if not is_digits(content):
        return False
    if kind == "checked":
        return check_digit_holds(content)
    if kind == "piece":
        return check_digit_holds(content[:14]) and "01" <= content[14:16] <= content[16:]
    if kind == "date":
        return _is_date(content)
    if kind == "time":
        return _is_date(content[:6]) and content[4:6] != "00" and content[6:8] <= "23" and content[8:] <= "59"
    if kind == "made":
        odd = len(content) % 2 or content[4:6] == "00" or content[6:8] > "23"
        return not odd and _is_date(content[:6]) and content[8:10] <= "59" and content[10:] <= "59"
    return True


def _is_numbered(content: str, length: int) -> bool:
    """A number with its check digit, then a text of open length."""
    return is_digits(content[:length]) and check_digit_holds(content[:length]) and all_in(content[length:], SET_82)


def _hides_field(content: str, shortest: int, fields: "dict[str, str]") -> bool:
    """Whether a field of open length holds another one that proves itself: then a separator was lost (R35).

    A date that the label states elsewhere is no such proof: no label states it twice, while serials of many digits
    look like dates now and then.
    """
    for split in range(shortest, len(content) - 7):
        if content[split] not in "01478":  # where fields of PROVEN kinds begin
            continue
        ai = _ai_at(content, split)
        kind, _shortest, length = _kind(ai)
        if not ai or kind not in PROVEN or (kind == "date" and ai in fields):
            continue
        end = split + len(ai) + length
        if end > len(content) or not _fits(kind, content[split + len(ai) : end]):
            continue
        if end == len(content) or _ai_at(content, end):
            return True
    return False


def _label(fields: "dict[str, str]") -> Label:
    _require_company(fields)
    label = Label(GS1)
    label.gtin = fields.get("01", "")
    label.serial = fields.get("21", "")
    label.lot = fields.get("10", "")
    label.expiry = fields.get("17", "")
    if label.expiry[4:] == "00":
        label.notes |= MONTH_ONLY
        label.expiry = label.expiry[:4] + last_day(2000 + int(label.expiry[:2]), int(label.expiry[2:4]))
    timed = fields.get("7003", "")
    if timed and label.expiry and timed[:6] != label.expiry and not (label.notes and timed[:4] == label.expiry[:4]):
        raise LabelError(UNREADABLE, "Two expiry dates:", ANOTHER)
    if timed:
        label.expiry, label.notes = timed, 0
    return label


def _require_company(fields: "dict[str, str]") -> None:
    """Fields that need or exclude each other (R36); raises LabelError."""
    for first, second in EXCLUDES:
        if first in fields and second in fields:
            raise LabelError(AMBIGUOUS, "Two codes in one:", "scan one at a time")
    for ai in fields:
        if ai in NEEDS_ITEM and not any([item in fields for item in ITEMS]):
            raise LabelError(MISSING_FIELD, "No item number:", "scan the other code")
    for ai, others in NEEDS:
        if ai in fields and not any([other in fields for other in others]):
            raise LabelError(MISSING_FIELD, "Field %s alone:" % ai, "scan the other code")


def _is_date(yymmdd: str) -> bool:
    """Whether the day exists in 20yy, which has every day that any century's yy has; day 00 is the month (R38)."""
    month, day = int(yymmdd[2:4]), int(yymmdd[4:6])
    return date_exists(2000 + int(yymmdd[:2]), month, day or 1)


def _percent_decoded(text: str) -> str:
    """text with %XX as the character meant; raises LabelError."""
    parts = text.split("%")
    decoded = parts[0]
    for part in parts[1:]:
        try:
            decoded += chr(int(part[:2], 16)) + part[2:]
        except ValueError:
            raise LabelError(UNREADABLE, "Link is damaged:", "scan it again")  # noqa: B904  as above
    return decoded


def _digits(raw: bytes) -> bool:
    for byte in raw:
        if not 0x30 <= byte <= 0x39:
            return False
    return len(raw) > 0


def _text(raw: bytes) -> str:
    """ASCII only: MicroPython's decode looks no closer than UTF-8."""
    for byte in raw:
        if byte > 0x7E:
            raise LabelError(UNREADABLE, "No GS1 character:", "scan it again")
    return raw.decode()
