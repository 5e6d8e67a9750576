"""Reads a recipe's TOML file: every error in it at once, each with its place and what to do about it.

Decides what a file may say (cloud/RECIPES.md). Pure: takes the file's bytes. Numbers are decimals, never floats; the
digest is over the bytes of the file, so a changed comment is another recipe.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import tomllib
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from cloud.domain.check_digits import gtin_problem
from cloud.domain.codes import CODES, FLOORED
from cloud.domain.recipe import (
    NEEDS,
    REASONS,
    UNBOUNDED,
    Item,
    Parameter,
    Problem,
    QuantityRule,
    Recipe,
    RecipeError,
    Step,
)
from cloud.domain.report import CRITICAL, SEVERITIES
from wire import Scheme, code_problem, compile_pattern
from wire.bodies import QuantityKind

RECIPE_BYTES = 65_536  # far above any real recipe; bounds the parser
LINE_BYTES = 2_000  # the longest that a recipe needs, eight reasons, has 600; the parser's time grows as its square
PROBLEMS = 100  # more are counted: who sees these knows that it is the wrong file
ID = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
STEPS, ITEMS, LIMITS, ITEMS_PER_STEP = 40, 40, 8, 12  # SPEC section 7
SCHEMES = {"hibc": Scheme.HIBC, "isbt128": Scheme.ISBT_128, "pattern": Scheme.PATTERN}
ARTICLES = {  # the keys that say how an item is recognised, each with how it is written
    "gtin": "copy the GTIN again from the supplier's label: 14 digits, with zeros on the left",
    "hibc": "copy it from the supplier's label without '+' and without the check character",
    "isbt128": "give the 8 characters behind '=<' of the label, or the first 5 to take any type and division",
    "pattern": "write it as shown in RECIPES.md: %d a digit, %u a capital letter, %x either, (s...) (l...) (e...)",
}
KINDS = tuple(kind.name.lower() for kind in QuantityKind)
USUAL_AMOUNTS, CARD_REASONS, REASON_BYTES = 6, 8, 64  # per kind; per recipe; SPEC section 5, type 15
LIMIT_KEYS = ("alert_low", "alert_high", "action_low", "action_high")
SHOWN = 40  # characters of a value or a key in an error
DURATION_S = 366 * 86_400  # no duration in a recipe is longer than a year


def parse_recipe(toml: bytes) -> Recipe:
    """The recipe in a file's bytes. Raises RecipeError with every problem found. Format: cloud/RECIPES.md."""
    if len(toml) > RECIPE_BYTES:
        raise RecipeError([Problem("file", f"larger than {RECIPE_BYTES} bytes", "shorten it")])
    for number, line in enumerate(toml.split(b"\n"), 1):
        if len(line) > LINE_BYTES:
            raise RecipeError([Problem(f"line {number}", f"longer than {LINE_BYTES} bytes", "break or shorten it")])
    try:
        document = tomllib.loads(toml.decode("utf-8"), parse_float=_exact_number)
    except UnicodeDecodeError as error:
        raise RecipeError([Problem(f"byte {error.start}", "not UTF-8", "save the file as UTF-8")]) from error
    except (tomllib.TOMLDecodeError, ValueError) as error:
        raise RecipeError([Problem("file", f"not TOML: {error}", "correct the place it names")]) from error
    except RecursionError as error:
        deep = Problem("file", "lists or tables lie too deep in one another", "write it as shown in RECIPES.md")
        raise RecipeError([deep]) from error
    return _Reader(document).recipe(hashlib.sha256(toml).digest())


class _Inexact(str):
    """A number written with an exponent, inf or nan: refused where it stands, by name."""

    __slots__ = ()


def _exact_number(text: str) -> Decimal | _Inexact:
    plain = text.replace("_", "")
    return Decimal(plain) if re.fullmatch(r"[+-]?[0-9]{1,15}\.[0-9]{1,9}", plain) else _Inexact(text)


class _Table:
    """One TOML table being read: hands out checked values, notes what is wrong, and at the end what was left over."""

    def __init__(self, problems: list[Problem], place: str, table: object) -> None:
        self.problems, self.place = problems, place
        self.left = dict(table) if isinstance(table, dict) else {}
        if not isinstance(table, dict):
            self.wrong("", "this is no table", "write it as shown in RECIPES.md")

    def wrong(self, key: str, wrong: str, remedy: str) -> None:
        shown = key if len(key) <= SHOWN and key.isprintable() else _shown(key)
        self.problems.append(Problem(", ".join(filter(None, (self.place, shown))), wrong, remedy))

    def take(self, key: str, fits: Callable[[Any], bool], remedy: str, default: Any = ...) -> Any:
        """The value when it fits, else the default (None for a required key) and a problem."""
        if key not in self.left:
            if default is ...:
                self.wrong(key, "is missing", remedy)
                return None
            return default
        value = self.left.pop(key)
        if fits(value):
            return value
        self.wrong(key, f"{_shown(value)} cannot be used", remedy)
        return None if default is ... else default

    def ident(self, key: str) -> str:
        return self.take(key, _is_id, "use 1 to 32 of a-z, 0-9 and '-', starting with a letter or digit") or ""

    def name(self, key: str, limit: int, default: Any = ...) -> str:
        remedy = f"give a text of 1 to {limit} characters without control characters"
        return self.take(key, lambda value: _is_text(value, limit), remedy, default) or ""

    def whole(self, key: str, low: int, high: int, default: Any = ...) -> Any:
        remedy = f"give a whole number from {low} to {high}"
        return self.take(key, lambda value: type(value) is int and low <= value <= high, remedy, default)

    def duration_ms(self, key: str, default_s: int | Any | None = ..., *, low: int = 1) -> Any:
        seconds = self.whole(key, low, DURATION_S, default_s)
        return None if seconds is None else seconds * 1000

    def number(self, key: str) -> Decimal | None:
        remedy = "give a decimal number without an exponent, such as 37.5"
        value = self.take(key, lambda value: type(value) in (int, Decimal) and abs(value) < UNBOUNDED, remedy, None)
        return None if value is None else Decimal(value)

    def flag(self, key: str) -> bool:
        return bool(self.take(key, lambda value: type(value) is bool, "write true or false", False))

    def names(self, key: str, known: Mapping[str, object], what: str, limit: int) -> tuple[str, ...]:
        """A list of ids that are all known and all different."""
        remedy = f"give a list of at most {limit} different {what} ids"
        value = self.take(
            key,
            lambda value: (
                isinstance(value, list) and len(value) <= limit and all(isinstance(one, str) for one in value)
            ),
            remedy,
            [],
        )
        for one in sorted(set(value) - known.keys()):
            self.wrong(
                key, f"there is no {what} {_shown(one)}", f"define it, or use one of: {', '.join(known) or 'none'}"
            )
        if len(set(value)) < len(value):
            self.wrong(key, "one id stands there twice", remedy)
        return tuple(value)

    def finish(self) -> None:
        for key in self.left:
            self.wrong(key, "this key is not known", "remove it, or correct its spelling (RECIPES.md lists all keys)")


class _Reader:
    """Reads the whole document table by table; raises once, at the end, with everything found."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.problems: list[Problem] = []
        self.document = document
        self.top = _Table(self.problems, "", document)

    def recipe(self, digest: bytes) -> Recipe:
        head = self._table("recipe")
        identity = head.ident("id"), head.whole("version", 1, 2**32 - 1) or 0, head.name("name", 80)
        head.finish()
        items = {item.item: item for item in self._each("item", ITEMS, self._item)}
        steps = {step.step: step for step in self._each("step", STEPS, lambda table: self._step(table, items))}
        if not steps:
            self.top.wrong("step", "there is no step", "add at least one [[step]] table")
        parameters = self._each("parameter", LIMITS, lambda table: self._parameter(table, steps))
        quantities = self._each("quantity", ITEMS, lambda table: self._quantity(table, items))
        self._unique("parameter", [parameter.channel for parameter in parameters])
        self._unique("quantity", [rule.item for rule in quantities])
        rules = self._table("rules", required=False)
        late_ms, clock_ms, heartbeat_ms = (
            rules.duration_ms("late_record_s", 600),
            rules.duration_ms("clock_uncertainty_s", 60),
            rules.duration_ms("heartbeat_s", 300),
        )
        rules.finish()
        severities, reasons = self._severities(), self._reasons()
        self.top.finish()
        if self.problems:
            raise RecipeError(_first(self.problems))
        return Recipe(
            *identity,
            digest,
            tuple(items.values()),
            tuple(steps.values()),
            tuple(parameters),
            tuple(quantities),
            late_ms,
            clock_ms,
            heartbeat_ms,
            severities,
            reasons,
        )

    def _table(self, key: str, *, required: bool = True) -> _Table:
        table = self.top.left.pop(key, {})
        if required and not table:
            self.top.wrong(f"[{key}]", "is missing", f"add a [{key}] table (RECIPES.md)")
            return _Table([], f"[{key}]", {})  # its missing keys would only repeat it
        return _Table(self.problems, f"[{key}]", table)

    def _each(self, key: str, limit: int, read: Callable[[_Table], Any]) -> list[Any]:
        tables = self.top.left.pop(key, [])
        if not isinstance(tables, list):
            self.top.wrong(key, "is no list of tables", f"write [[{key}]] with two brackets")
            return []
        if len(tables) > limit:
            self.top.wrong(f"[[{key}]]", f"there are {len(tables)}, at most {limit} fit", "remove some")
        made = []
        for index, entry in enumerate(tables[:limit], 1):
            given = entry.get("id", entry.get("channel", entry.get("item", ""))) if isinstance(entry, dict) else ""
            table = _Table(self.problems, f"[[{key}]] {index}{f' ({_shown(given)})' if given else ''}", entry)
            made.append(read(table))
            table.finish()
        self._unique(key, [one.item if key == "item" else one.step for one in made if key in ("item", "step")])
        return made

    def _unique(self, key: str, ids: list[str]) -> None:
        for one in sorted({one for one in ids if one and ids.count(one) > 1}):
            self.top.wrong(f"[[{key}]]", f"{_shown(one)} stands there twice", "give each its own, or merge them")

    def _item(self, table: _Table) -> Item:
        item, name, exact = table.ident("id"), table.name("name", 40), table.flag("exact")
        gtin, scheme, code = _article(table, exact)
        needs = frozenset(table.names("needs", NEEDS, "field", len(NEEDS)))
        if scheme is Scheme.PATTERN:
            _check_pattern_needs(table, code, needs)
        single_use = table.flag("single_use")
        if exact and needs:
            table.wrong("needs", "an exact code is compared as a whole", "remove needs")
        if single_use and "serial" not in needs:
            table.wrong("single_use", "only a serial number can show that it is used once", 'add "serial" to needs')
        return Item(item, name, gtin, needs, single_use, exact, scheme, code)

    def _step(self, table: _Table, items: Mapping[str, Item]) -> Step:
        step = table.ident("id")
        name, scans = table.name("name", 40), table.names("scan", items, "item", ITEMS_PER_STEP)
        return Step(step, name, scans, table.duration_ms("max_duration_s", None), table.duration_ms("max_hold_s", None))

    def _parameter(self, table: _Table, steps: Mapping[str, Step]) -> Parameter:
        channel, unit = table.name("channel", 16), table.name("unit", 16)
        alert_low, alert_high, action_low, action_high = (table.number(key) for key in LIMIT_KEYS)
        parameter = Parameter(
            channel,
            table.name("name", 40, channel),
            unit,
            alert_low,
            alert_high,
            action_low,
            action_high,
            delay_ms=table.duration_ms("delay_s", 0, low=0),
            max_gap_ms=table.duration_ms("max_gap_s") or 1,
            cadence_ms=table.duration_ms("cadence_s") or 1,
            steps=table.names("steps", steps, "step", STEPS),
        )
        _check_limits(table, parameter)
        return parameter

    def _quantity(self, table: _Table, items: Mapping[str, Item]) -> QuantityRule:
        item, unit, tolerance = table.ident("item"), table.name("unit", 16), table.number("tolerance")
        if item and item not in items:
            table.wrong(
                "item", f"there is no item {_shown(item)}", f"define it, or use one of: {', '.join(items) or 'none'}"
            )
        if tolerance is not None and tolerance < 0:
            table.wrong("tolerance", f"{tolerance} is negative", "give 0 or more")
        usual = _Table(self.problems, f"{table.place}, usual", table.left.pop("usual", {}))
        amounts = tuple((kind, amount) for kind in KINDS for amount in self._amounts(usual, kind))
        usual.finish()
        return QuantityRule(item, unit, Decimal(0) if tolerance is None else tolerance, amounts)

    def _amounts(self, usual: _Table, kind: str) -> tuple[Decimal, ...]:
        """What the card offers of one kind; the unit takes up to 15 digits without a sign."""
        remedy = f"give a list of at most {USUAL_AMOUNTS} different decimal numbers above 0, such as [12.5, 50]"
        listed = usual.take(kind, lambda value: isinstance(value, list) and len(value) <= USUAL_AMOUNTS, remedy, [])
        wrong = any(type(one) not in (int, Decimal) or not 0 < one < UNBOUNDED or _digits(one) > 15 for one in listed)
        if wrong or len(set(listed)) < len(listed):
            usual.wrong(kind, "an amount cannot be used, or stands there twice", remedy)
            return ()
        return tuple(map(Decimal, listed))

    def _reasons(self) -> tuple[str, ...]:
        table = self._table("card", required=False)
        remedy = f"give 1 to {CARD_REASONS} different texts of at most {REASON_BYTES} ASCII characters"
        listed = table.take("reasons", lambda value: isinstance(value, list), remedy, list(REASONS))
        table.finish()
        fits = all(_is_text(one, REASON_BYTES) and one.isascii() for one in listed)
        if not fits or not 1 <= len(listed) <= CARD_REASONS or len(set(listed)) < len(listed):
            table.wrong("reasons", "cannot be used", remedy)
            return REASONS
        return tuple(listed)

    def _severities(self) -> dict[str, str]:
        table = self._table("severity", required=False)
        chosen = {}
        for code in list(table.left):
            severity = table.left.pop(code)
            if code not in CODES:
                table.wrong(code, "there is no such exception code", "see the list of codes in RECIPES.md")
            elif severity not in SEVERITIES:
                table.wrong(code, f"{_shown(severity)} is no severity", f"use one of: {', '.join(SEVERITIES)}")
            elif code in FLOORED and severity != CRITICAL:
                table.wrong(code, "is always critical", "remove the line: a recipe cannot lower it")
            else:
                chosen[code] = severity
        return chosen


def _article(table: _Table, exact: bool) -> tuple[str, Scheme | None, str]:
    """How an item is recognised: its gtin, or scheme and code; nothing for an exact one."""
    given = {key: table.take(key, lambda value: isinstance(value, str), remedy, "") for key, remedy in ARTICLES.items()}
    used = [key for key, value in given.items() if value] + ["exact"] * exact
    if len(used) > 1:
        table.wrong(used[0], f"{' and '.join(used)} say twice how this item is recognised", "keep one of them")
    elif not used:
        words = f"give one of {', '.join(ARTICLES)}, or exact = true"
        table.wrong("gtin", "nothing says how this item is recognised", words)
    if len(used) != 1 or exact:
        return "", None, ""
    key, code = used[0], str(given[used[0]])
    problem = gtin_problem(code) if key == "gtin" else code_problem(SCHEMES[key], code)
    if problem:
        table.wrong(key, f"{_shown(code)}: {problem}", ARTICLES[key])
        return "", None, ""
    return (code, None, "") if key == "gtin" else ("", SCHEMES[key], code)


def _check_pattern_needs(table: _Table, pattern: str, needs: frozenset[str]) -> None:
    lacking = sorted(needs - compile_pattern(pattern).groupindex.keys())
    if lacking:
        brackets = " and ".join(f"({need[0]}...)" for need in lacking)
        table.wrong("pattern", f"it has no place for {', '.join(lacking)}", f"add {brackets}, or remove it from needs")


def _check_limits(table: _Table, parameter: Parameter) -> None:
    """Low limits lie below high ones, alert within action, and some limit exists."""
    ladder = [("action_low", parameter.action_low), ("alert_low", parameter.alert_low)]
    ladder += [("alert_high", parameter.alert_high), ("action_high", parameter.action_high)]
    given = [(key, limit) for key, limit in ladder if limit is not None]
    if not given:
        table.wrong("", "no limit is given", "give at least one of alert_low, alert_high, action_low, action_high")
    for (key, limit), (above, higher) in itertools.pairwise(given):
        if limit > higher or (limit == higher and key.endswith("low") and above.endswith("high")):
            table.wrong(
                key,
                f"{limit} is not below {above} {higher}",
                "order them action_low, alert_low, alert_high, action_high",
            )
    if parameter.cadence_ms > parameter.max_gap_ms:
        table.wrong("max_gap_s", "is shorter than cadence_s", "make it at least as long as one sample interval")


def _is_id(value: object) -> bool:
    return isinstance(value, str) and not isinstance(value, _Inexact) and ID.fullmatch(value) is not None


def _digits(number: int | Decimal) -> int:
    return sum(character.isdigit() for character in f"{Decimal(number):f}")


def _is_text(value: object, limit: int) -> bool:
    if not isinstance(value, str) or isinstance(value, _Inexact) or not 1 <= len(value) <= limit:
        return False
    return all(character >= " " and character != "\x7f" for character in value)


def _first(problems: list[Problem]) -> list[Problem]:
    more = len(problems) - PROBLEMS
    return problems[:PROBLEMS] + [Problem("file", f"{more} more errors", "correct these first")] * (more > 0)


def _shown(value: object) -> str:
    """A value from the file in few characters. What holds others in turn may be deeper than Python can show."""
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    if any(isinstance(one, dict | list) for one in inner):
        return "nested lists or tables"
    text = value if isinstance(value, str) else str(value)
    return repr(text if len(text) <= SHOWN else text[: SHOWN - 3] + "...")
