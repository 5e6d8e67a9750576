"""Check digits and characters of the codes on labels. Decides whether a code can have been read right, nothing else."""

from __future__ import annotations

import re

_HIBC = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-. $/+%"  # each character's place is its value


def gtin_problem(gtin: str) -> str | None:
    """What is wrong with a GTIN of 14 digits, None when nothing is (R37)."""
    if not re.fullmatch(r"[0-9]{14}", gtin):
        return "a GTIN is written with 14 digits (pad with zeros on the left)"
    weighted = sum(int(digit) * (3 if place % 2 == 0 else 1) for place, digit in enumerate(gtin[:13]))
    expected = -weighted % 10
    return None if int(gtin[13]) == expected else f"its check digit is {gtin[13]}, but the other digits give {expected}"


def hibc_check(text: str) -> str | None:
    """The check character over text, its '+' included (modulo 43, R46); None for a character that no HIBC code has."""
    values = [_HIBC.find(character) for character in text]
    return None if -1 in values else _HIBC[sum(values) % len(_HIBC)]
