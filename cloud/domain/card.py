"""The technician's card: which codes a recipe's work needs beside the labels of its materials.

Decides what is printed, in which order and on which sheet; draws nothing (cloud/web/symbols.py). Pure. The codes are
those that a unit obeys: firmware/README.md, "What a technician scans".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from cloud.domain.recipe import Recipe, Step

PER_SHEET = 8  # two columns of four: a page of A4, however long names and reasons are
BADGE = re.compile(r"[A-Za-z0-9._-]{1,32}")
NO_AMOUNTS = "No amount is printed for {items}: the recipe names none (usual), and the unit takes only printed ones."


class CardError(ValueError):
    """Something that cannot be printed so that a scanner sends it unchanged. The text says what, and what to do."""


@dataclass(frozen=True)
class Symbol:
    """One code: title in large letters, note beneath."""

    code: str
    title: str
    note: str = ""


@dataclass(frozen=True)
class Sheet:
    """At most PER_SHEET codes under one heading; hint: when to use them."""

    title: str
    hint: str
    symbols: tuple[Symbol, ...]


def recipe_card(recipe: Recipe) -> tuple[Sheet, ...]:
    """The sheets of a recipe, in the order of the work. Raises CardError."""
    sheets = [
        *_sheets("Every batch", "Sign in with your badge first.", _every_batch()),
        *_sheets("Start a step", "Steps run in this order. STEP DONE ends each of them.", _starts(recipe)),
        *_amount_sheets(recipe),
        *_sheets("Overrule a refusal", "Then another person scans a badge, within a minute.", _overrides(recipe)),
        *_sheets("Leave a step out", "The batch record will say who, when and why.", _left_out(recipe)),
        *_sheets("Do a step again", "For a step that is done or was left out.", _again(recipe)),
        *_sheets("Note something", "Goes into the batch record; changes nothing.", _notes(recipe)),
        *_sheets("Give the batch up", "Ends the batch for good. Keep this sheet apart.", _aborts(recipe)),
    ]
    for sheet in sheets:
        for symbol in sheet.symbols:
            _check(symbol.code)
    return tuple(sheets)


def badges(operators: Sequence[str]) -> tuple[Sheet, ...]:
    """A code for each badge. Raises CardError."""
    for operator in operators:
        if not BADGE.fullmatch(operator):
            raise CardError(f"{operator!r} cannot be a badge; use 1 to 32 of A-Z a-z 0-9 . _ and -")
    symbols = [Symbol(f"CT/BADGE/{operator}", operator, "signs in and out") for operator in operators]
    return _sheets("Badges", "Cut along the lines. Whoever holds a badge can sign in with it.", symbols)


def _sheets(title: str, hint: str, symbols: Iterable[Symbol]) -> tuple[Sheet, ...]:
    listed = tuple(symbols)
    starts = range(0, len(listed), PER_SHEET)
    return tuple(Sheet(title, hint, listed[start : start + PER_SHEET]) for start in starts)


def _every_batch() -> list[Symbol]:
    return [
        Symbol("CT/BATCH/OPEN", "BATCH OPEN", "when the panel asks for it"),
        Symbol("CT/STEP/DONE", "STEP DONE", "when all of the step is scanned"),
        Symbol("CT/ALARM/ACK", "ALARM ACK", "I have seen the alarm"),
        Symbol("CT/BATCH/CLOSE", "BATCH CLOSE", "when every step is done"),
    ]


def _starts(recipe: Recipe) -> list[Symbol]:
    numbered = enumerate(recipe.steps, start=1)
    return [
        Symbol(f"CT/STEP/START/{step.step}", f"{number}. {step.name}", f"START {step.step}")
        for number, step in numbered
    ]


def _amount_sheets(recipe: Recipe) -> tuple[Sheet, ...]:
    """Said aloud where the recipe names no amounts, for nothing else at the unit takes one."""
    hint = _amounts_hint(recipe)
    sheets = _sheets("Amounts", hint, _amounts(recipe))
    return sheets if sheets or not recipe.quantities else (Sheet("Amounts", hint, ()),)


def _amounts(recipe: Recipe) -> list[Symbol]:
    symbols = []
    for rule in recipe.quantities:
        item = recipe.item(rule.item)
        name = item.name if item else rule.item
        for kind, amount in rule.usual:
            number = _plain(amount)
            code = f"CT/QTY/{rule.item}/{kind}/{number}/{rule.unit}"
            symbols.append(Symbol(code, f"{number} {rule.unit} {kind}", name))
    return symbols


def _amounts_hint(recipe: Recipe) -> str:
    without = [rule.item for rule in recipe.quantities if not rule.usual]
    return NO_AMOUNTS.format(items=", ".join(without)) if without else "What went in, and what came out."


def _plain(amount: Decimal) -> str:
    """Without exponent or zeros at the end: the unit takes digits and one point."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _overrides(recipe: Recipe) -> list[Symbol]:
    return [Symbol(f"CT/OVERRIDE/{reason}", reason, "OVERRIDE") for reason in recipe.reasons]


def _left_out(recipe: Recipe) -> list[Symbol]:
    """All but the steps with an identity, which no unit leaves out (R31)."""
    identities = {item.item for item in recipe.items if item.exact}
    return [_with_reason("SKIP", step, recipe) for step in recipe.steps if not identities & set(step.items)]


def _again(recipe: Recipe) -> list[Symbol]:
    why = recipe.reasons[0]
    return [
        Symbol(f"CT/STEP/REPEAT/{step.step}/{why}", step.name, f"REPEAT {step.step}: {why}") for step in recipe.steps
    ]


def _with_reason(action: str, step: Step, recipe: Recipe) -> Symbol:
    why = recipe.reasons[0]
    return Symbol(f"CT/STEP/{action}/{step.step}/{why}", step.name, f"{action} {step.step}: {why}")


def _notes(recipe: Recipe) -> list[Symbol]:
    return [Symbol(f"CT/NOTE/{reason}", reason, "NOTE") for reason in recipe.reasons]


def _aborts(recipe: Recipe) -> list[Symbol]:
    return [Symbol(f"CT/BATCH/ABORT/{reason}", reason, "BATCH ABORT") for reason in recipe.reasons]


def _check(code: str) -> None:
    """Scanners send other characters in a code page of their own, and the unit would refuse them as damaged."""
    if not (code.isascii() and code.isprintable()):
        raise CardError(f"{code!r} has characters that scanners change; write it with ASCII letters in the recipe")
