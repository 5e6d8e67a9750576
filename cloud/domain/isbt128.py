"""ISBT 128 data structures: donation, product, expiry and lot of a medical product of human origin (R41 to R43).

Structure only: identifiers, lengths and formats. What facility or product a code stands for is in tables that need a
licence (R44), and is not looked up. A structure that this file does not know is refused, not skipped.
"""

from __future__ import annotations

import re

from cloud.domain.label_fields import Expiry, Label, date_of, minute_of, ordinal_date
from wire import Scheme

_FACILITY = r"[A-NP-Z1-9][A-NP-Z0-9]{2}[0-9]{2}"
_DONATION = rf"{_FACILITY}[0-9]{{8}}"
# By identifier: what stands behind it. Capitals and digits where a batch record has no use for more.
_STRUCTURES = {
    "=": rf"{_DONATION}[0-9A-Z]{{2}}",  # no identifier but the first letter or digit of the number
    "=<": r"[A-Z][A-Z0-9]{6}[a-z0-9]",  # product
    "=>": r"[0-9]{6}",  # expiry
    "&>": r"[0-9]{10}",
    "&,1": r"[A-Z0-9]{18}",  # lot
    "&,2": r"[A-Z0-9]{6}",  # serial
    "=,": r"[A-Z0-9]{6}",  # divisions, which number the parts of one donation
    "=/": rf"{_FACILITY}[A-Z0-9]{{6}}[A-Z][A-Z0-9]{{4}}",  # processor, its own code, product
    "&/": rf"CH{_DONATION}",  # chain of identity
    "&,4": r"[A-Z0-9]{32}[0-9]{8}",  # Single European Code
    "=*": r"[0-9]{6}",  # collection
    "&*": r"[0-9]{10}",
    "=}": r"[0-9]{6}",  # production
    "&}": r"[0-9]{10}",
    "=)": r"[A-Z0-9]{10}",  # container: maker and catalogue number
    "&)": r"[A-Z0-9]{10}",  # container: lot
    "=-": r"[A-Z0-9]{10}",  # other items
    "&-": r"[A-Z0-9]{10}",
    "='": rf"{_FACILITY}[A-Z0-9]{{6}}",  # staff
}
_NEXT = {identifier: re.compile(re.escape(identifier) + content) for identifier, content in _STRUCTURES.items()}
_COMPOUND = re.compile(r"=\+(?P<count>[0-9]{2})[0-9]{3}")
_MOD37 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ*"
_CHECK_FLAGS = 60  # flags of type 3 are this plus the check value (R42)


def identity_kind(code: str) -> str | None:
    """What an identity is, as an order states it (W44): donation, patient, or neither as far as its form tells."""
    if re.fullmatch(_DONATION, code):
        return "donation"
    return "patient" if re.fullmatch(_STRUCTURES["&/"], code) else None


def read_isbt128(text: str, plain: str, year: int) -> Label:
    """plain begins with `=` or `&`: one structure, or a compound message of several. Never raises."""
    compound = _COMPOUND.match(plain)
    position, found = compound.end() if compound else 0, dict[str, str]()
    while position < len(plain):
        matches = ((key, match) for key, form in _NEXT.items() if (match := form.match(plain, position)))
        identifier, match = next(matches, ("", None))
        if match is None:
            return Label(text, problem="the code holds an ISBT 128 structure that cannot be read")
        if identifier in found:
            return Label(text, problem="the code states one thing twice; it is ambiguous")
        found[identifier] = match[0][len(identifier) :]
        position = match.end()
    if len(found) != (int(compound["count"]) if compound else 1):
        return Label(text, problem="the code holds another number of ISBT 128 structures than it says")
    return _label(text, found, year)


def _label(text: str, found: dict[str, str], year: int) -> Label:
    din, flags = found.get("=", "")[:13], found.get("=", "")[13:]
    if flags.isdigit() and 0 <= int(flags) - _CHECK_FLAGS < 37 and int(flags) - _CHECK_FLAGS != check_value(din):
        return Label(text, problem="the donation number does not fit its check value")
    european_din = found.get("&,4", "")[8:21]
    if re.fullmatch(_DONATION, european_din):  # numbers of other systems have other forms
        if din not in ("", european_din):
            return Label(text, problem="the code names two donations; it is ambiguous")
        din = european_din
    codes = [code for code in (found.get("=<", ""), found.get("=/", "")[11:]) if code]
    if len({code[:5] for code in codes}) > 1:
        return Label(text, problem="the code names two products; it is ambiguous")
    stated = [_expiry(found[key], year) for key in ("&>", "=>") if key in found]
    european = found.get("&,4", "")[32:]
    if european.strip("0"):
        day, _ = date_of(european, year)
        stated.append(Expiry(day) if day else None)
    if len({expiry.day if expiry else None for expiry in stated}) > 1 or None in stated:
        return Label(text, problem="the code's expiry is no date, or two")
    part = found.get("&,2") or (found.get("=,") if "=/" in found else None)
    return Label(
        text,
        lot=found.get("&,1"),
        serial=din + part if part else None,  # parts are numbered anew in each donation
        expiry=stated[0] if stated else None,
        scheme=Scheme.ISBT_128,
        code=codes[0] if codes else None,
        din=din or None,
        coi=found.get("&/"),
    )


def check_value(din: str) -> int:
    """0..36: the value of the check character over a donation number (ISO 7064 modulo 37-2)."""
    total = 0
    for character in din:
        total = (total + _MOD37.index(character)) * 2 % 37
    return (38 - total) % 37


def _expiry(content: str, year: int) -> Expiry | None:
    """CYYJJJ, or CYYJJJHHMM."""
    day, minute = ordinal_date(content[:6], year), minute_of(content[6:])
    return None if day is None or (content[6:] and minute is None) else Expiry(day, minute)
