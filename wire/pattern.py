"""Site patterns: how a plant writes the codes of its own labels (SPEC W45).

Decides whether a pattern can be used and turns it into a regular expression; what a code that fits means is for others.
In a pattern `%d` is a digit, `%u` a capital letter, `%x` either, `%%` a percent sign, and every other character itself;
`(s` ... `)`, `(l` ... `)` and `(e` ... `)` enclose serial, lot and expiry (YYMMDD): `KIT-(l%d%d%d%d)-(s%x%x%x)`.
"""

import re

_CLASSES = {"d": "[0-9]", "u": "[A-Z]", "x": "[0-9A-Z]", "%": "%"}
_GROUPS = {"s": "serial", "l": "lot", "e": "expiry"}
_EXPIRY_PLACES = 6  # YYMMDD
_PIECE = re.compile(r"%.|\(.|.")


class PatternError(ValueError):
    """A pattern that cannot be used, in words for whoever wrote it."""


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """An expression for fullmatch, with the groups "serial", "lot" and "expiry" where the pattern has them.

    Raises PatternError. The expression has no repetition, so matching takes one pass.
    """
    if not pattern.isascii() or not pattern.isprintable():
        raise PatternError("a pattern holds printable ASCII only")
    made: list[str] = []
    group, places = "", 0  # the open group, and how many characters it holds so far
    closed: set[str] = set()
    for piece in (found[0] for found in _PIECE.finditer(pattern)):
        if piece[0] == "(":
            group, places = _opened(piece, group, closed), 0
            made.append(f"(?P<{group}>")
        elif piece == ")":
            _check_closing(group, places)
            closed.add(group)
            group = ""
            made.append(")")
        else:
            places += 1
            made.append(_place(piece))
    if group:
        raise PatternError(f"the bracket of the {group} is not closed")
    return re.compile("".join(made))


def _opened(piece: str, group: str, closed: set[str]) -> str:
    if group:
        raise PatternError("a bracket stands inside another")
    opened = _GROUPS.get(piece[1:])
    if opened is None:
        raise PatternError("after '(' comes s, l or e")
    if opened in closed:
        raise PatternError(f"the {opened} stands there twice")
    return opened


def _check_closing(group: str, places: int) -> None:
    if not group:
        raise PatternError("')' closes no bracket")
    if not places:
        raise PatternError(f"the bracket of the {group} is empty")
    if group == "expiry" and places != _EXPIRY_PLACES:
        raise PatternError("the expiry has six places, YYMMDD")


def _place(piece: str) -> str:
    """One character of the code."""
    if piece[0] != "%":
        return re.escape(piece)
    if piece[1:] not in _CLASSES:
        raise PatternError("after '%' comes d, u, x or %")
    return _CLASSES[piece[1:]]
