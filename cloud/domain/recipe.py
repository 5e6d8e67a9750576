"""Recipes: a TOML file in, an exact plan of a batch out, or every error in it at once.

Decides what a recipe may say (cloud/RECIPES.md) and what of it goes into the signed order for a unit (wire/SPEC.md
section 7). Pure: takes the file's bytes. Numbers are decimals, never floats; the digest is over the bytes of the file,
so a changed comment is another recipe.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, cast

from cloud.domain.codes import CODES, FLOORED
from cloud.domain.report import CRITICAL, SEVERITIES
from wire import Order, OrderItem, OrderLimit, OrderStep, WireError, sign_order

RECIPE_BYTES = 65_536  # far above any real recipe; bounds the parser
ID = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
NEEDS = {"serial": 1, "lot": 2, "expiry": 4}  # SPEC W44
STEPS, ITEMS, LIMITS, ITEMS_PER_STEP = 40, 40, 8, 12  # SPEC section 7
UNBOUNDED = 10**9  # stands in an order for a limit that the recipe leaves open
LIMIT_KEYS = ("alert_low", "alert_high", "action_low", "action_high")
DURATION_S = 366 * 86_400  # no duration in a recipe is longer than a year


@dataclass(frozen=True)
class Problem:
    """One error of a recipe: where, what is wrong, what to do."""

    place: str
    wrong: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.place}: {self.wrong}; {self.remedy}"


class RecipeError(ValueError):
    """A recipe, or an order made from it, that cannot be used. problems: all of them, in the order of the file."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


@dataclass(frozen=True)
class Item:
    """A material. gtin "" means that `exact` decides: the batch's order then gives the whole text of its code."""

    item: str
    name: str
    gtin: str
    needs: frozenset[str]  # of NEEDS
    single_use: bool
    exact: bool


@dataclass(frozen=True)
class Step:
    """max_duration_ms: start to done. max_hold_ms: from the end of the step before it to its start. None: no limit."""

    step: str
    name: str
    items: tuple[str, ...]
    max_duration_ms: int | None
    max_hold_ms: int | None


@dataclass(frozen=True)
class Parameter:
    """Limits on one sensor channel. steps: where it is required; empty: from batch open to batch close."""

    channel: str
    name: str
    unit: str  # UCUM, as the unit's channels record says it
    alert_low: Decimal | None
    alert_high: Decimal | None
    action_low: Decimal | None
    action_high: Decimal | None
    delay_ms: int
    max_gap_ms: int
    cadence_ms: int
    steps: tuple[str, ...]


@dataclass(frozen=True)
class QuantityRule:
    """issued = everything it went into, within tolerance, in this unit (R59)."""

    item: str
    unit: str
    tolerance: Decimal


@dataclass(frozen=True)
class Recipe:
    """An approved way to make a product; digest is SHA-256 of the file's bytes."""

    recipe: str
    version: int
    name: str
    digest: bytes
    items: tuple[Item, ...]
    steps: tuple[Step, ...]
    parameters: tuple[Parameter, ...] = ()
    quantities: tuple[QuantityRule, ...] = ()
    late_record_ms: int = 600_000
    clock_uncertainty_ms: int = 60_000
    heartbeat_ms: int = 300_000
    severities: Mapping[str, str] = field(default_factory=dict)

    def item(self, item: str) -> Item | None:
        """The material with this id."""
        return next((known for known in self.items if known.item == item), None)

    def step(self, step: str) -> Step | None:
        """The step with this id."""
        return next((known for known in self.steps if known.step == step), None)

    def severity(self, code: str) -> str:
        """Of a full (not softened) finding: the recipe's word, else the catalogue's."""
        return self.severities.get(code, CODES[code].severity)

    def to_order(
        self, *, number: int, kid: bytes, batch: str, issued_ms: int, exact: Mapping[str, str] | None = None
    ) -> Order:
        """The order for one batch, not yet signed. exact: item id to the whole text of its code, for every item with
        exact = true.

        Raises RecipeError when a code is missing or left over, or the signed order would not fit (W4).
        """
        codes = dict(exact or {})
        wanted = {item.item for item in self.items if item.exact}
        problems = [
            Problem(f"batch {batch}, item {item}", "no code was given", f"add --exact {item}=CODE")
            for item in sorted(wanted - codes.keys())
        ]
        problems += [
            Problem(f"batch {batch}, item {item}", "the recipe has no such item with exact = true", "leave it out")
            for item in sorted(codes.keys() - wanted)
        ]
        if problems:
            raise RecipeError(problems)
        order = Order(
            number=number,
            kid=kid,
            batch=batch,
            recipe=self.recipe,
            version=self.version,
            recipe_digest=self.digest,
            steps=tuple(OrderStep(step.step, step.name, step.items) for step in self.steps),
            items=tuple(_order_item(item, codes.get(item.item)) for item in self.items),
            issued_ms=issued_ms,
            limits=tuple(_order_limit(parameter) for parameter in self.parameters if _has_action(parameter)),
        )
        try:
            sign_order(bytes(32), order)  # with a throw-away key: only to see that it can be encoded
        except WireError as refusal:
            remedy = "shorten names, or split the recipe; an order holds 4096 bytes"
            raise RecipeError([Problem(f"order for batch {batch}", str(refusal), remedy)]) from refusal
        return order


def unplanned_recipe() -> Recipe:
    """Stands in where a unit names a batch for which no recipe is known: every rule then finds what was not planned."""
    return Recipe("", 0, "no recipe is known", bytes(32), (), ())


def parse_recipe(toml: bytes) -> Recipe:
    """The recipe in a file's bytes. Raises RecipeError with every problem found. Format: cloud/RECIPES.md."""
    if len(toml) > RECIPE_BYTES:
        raise RecipeError([Problem("file", f"larger than {RECIPE_BYTES} bytes", "shorten it")])
    try:
        document = tomllib.loads(toml.decode("utf-8"), parse_float=_exact_number)
    except UnicodeDecodeError as error:
        raise RecipeError([Problem(f"byte {error.start}", "not UTF-8", "save the file as UTF-8")]) from error
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise RecipeError([Problem("file", f"not TOML: {error}", "correct the place it names")]) from error
    return _Reader(document).recipe(hashlib.sha256(toml).digest())


def gtin_problem(gtin: str) -> str | None:
    """What is wrong with a GTIN of 14 digits, None when nothing is (R37)."""
    if not re.fullmatch(r"[0-9]{14}", gtin):
        return "a GTIN is written with 14 digits (pad with zeros on the left)"
    weighted = sum(int(digit) * (3 if place % 2 == 0 else 1) for place, digit in enumerate(gtin[:13]))
    expected = -weighted % 10
    return None if int(gtin[13]) == expected else f"its check digit is {gtin[13]}, but the other digits give {expected}"


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
        self.problems.append(Problem(", ".join(filter(None, (self.place, key))), wrong, remedy))

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
        severities = self._severities()
        self.top.finish()
        if self.problems:
            raise RecipeError(self.problems)
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
        gtin = table.take("gtin", lambda value: isinstance(value, str), "give the GTIN as a text of 14 digits", "")
        if gtin and exact:
            table.wrong("gtin", "an item with exact = true has its code from the order", "remove gtin or exact")
        elif gtin and (problem := gtin_problem(gtin)):
            table.wrong("gtin", problem, "copy it again from the supplier's label")
        elif not gtin and not exact and "gtin" not in table.left:
            table.wrong("gtin", "nothing says how this item is recognised", "give a gtin, or exact = true")
        needs = frozenset(table.names("needs", NEEDS, "field", len(NEEDS)))
        single_use = table.flag("single_use")
        if exact and needs:
            table.wrong("needs", "an exact code is compared as a whole", "remove needs")
        if single_use and "serial" not in needs:
            table.wrong("single_use", "only a serial number can show that it is used once", 'add "serial" to needs')
        return Item(item, name, gtin, needs, single_use, exact)

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
        return QuantityRule(item, unit, Decimal(0) if tolerance is None else tolerance)

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


def _has_action(parameter: Parameter) -> bool:
    return parameter.action_low is not None or parameter.action_high is not None


def _order_item(item: Item, code: str | None) -> OrderItem:
    return OrderItem(item.item, item.name, item.gtin, sum(NEEDS[need] for need in item.needs), code)


def _order_limit(parameter: Parameter) -> OrderLimit:
    """Action limits as integers with one exponent (SPEC section 7)."""
    limits = [limit for limit in (parameter.action_low, parameter.action_high) if limit is not None]
    exponent = min(cast(int, limit.normalize().as_tuple().exponent) for limit in limits)
    exponent = min(exponent, 0)
    low, high = (
        fallback if limit is None else int(limit.scaleb(-exponent))
        for limit, fallback in ((parameter.action_low, -UNBOUNDED), (parameter.action_high, UNBOUNDED))
    )
    return OrderLimit(parameter.channel, low, high, exponent, parameter.delay_ms, parameter.steps)


def _is_id(value: object) -> bool:
    return isinstance(value, str) and not isinstance(value, _Inexact) and ID.fullmatch(value) is not None


def _is_text(value: object, limit: int) -> bool:
    if not isinstance(value, str) or isinstance(value, _Inexact) or not 1 <= len(value) <= limit:
        return False
    return all(character >= " " and character != "\x7f" for character in value)


def _is_texts(value: object, limit: int) -> bool:
    return isinstance(value, list) and len(value) <= limit and all(isinstance(one, str) for one in value)


def _choose(known: Mapping[str, object]) -> str:
    return f"define it, or use one of: {', '.join(known) or 'none'}"


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else str(value)
    return repr(text if len(text) <= 40 else text[:37] + "...")
