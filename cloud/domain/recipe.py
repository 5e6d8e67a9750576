"""What a recipe is: materials, steps, limits, and the signed order that a unit gets of it (wire/SPEC.md section 7).

Reads no file: recipe_file.py. Numbers are decimals, never floats.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import cast

from cloud.domain.codes import CODES
from cloud.domain.labels import identity_of
from wire import Order, OrderItem, OrderLimit, OrderStep, Scheme, WireError, sign_order

NEEDS = {"serial": 1, "lot": 2, "expiry": 4}  # SPEC W44
REASONS = ("Supervisor decision", "Label unreadable", "Equipment fault", "Planned deviation")  # when it gives none
UNBOUNDED = 10**9  # stands in an order for a limit that the recipe leaves open


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


_SCHEME_WORDS = {Scheme.HIBC: "HIBC", Scheme.ISBT_128: "ISBT 128 product", Scheme.PATTERN: "site pattern"}


def article_words(gtin: str | None, scheme: Scheme | None, code: str | None) -> str:
    """What an article is, for people and as a key: "article 09520000010010", "HIBC A99912345670"; "" for none."""
    if gtin:
        return f"article {gtin}"
    return f"{_SCHEME_WORDS[scheme]} {code}" if scheme and code else ""


@dataclass(frozen=True)
class Item:
    """A material: known by its gtin, by the code of another scheme (SPEC W45), or, with exact, by what the order says.

    gtin "" and code "": not that one.
    """

    item: str
    name: str
    gtin: str
    needs: frozenset[str]  # of NEEDS
    single_use: bool
    exact: bool
    scheme: Scheme | None = None
    code: str = ""

    @property
    def article(self) -> str:
        """What it is, in words; "" for an exact one."""
        return article_words(self.gtin, self.scheme, self.code)

    @property
    def pattern(self) -> str:
        """The site pattern of its codes, or ""."""
        return self.code if self.scheme is Scheme.PATTERN else ""


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
    """issued = everything it went into, within tolerance, in this unit (R59).

    usual: kinds (SPEC section 5, type 11, in small letters) and amounts that are printed on the technician's card.
    """

    item: str
    unit: str
    tolerance: Decimal
    usual: tuple[tuple[str, Decimal], ...] = ()


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
    reasons: tuple[str, ...] = REASONS  # on the technician's card

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
        """The order for one batch, not yet signed. exact: item id to its code as a label holds it, for every
        item with exact = true.

        Raises RecipeError when a code is missing or left over, or the signed order would not fit (W4).
        """
        codes = {item: identity_of(code) for item, code in (exact or {}).items()}
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


def _has_action(parameter: Parameter) -> bool:
    return parameter.action_low is not None or parameter.action_high is not None


def _order_item(item: Item, code: str | None) -> OrderItem:
    needs = sum(NEEDS[need] for need in item.needs)
    return OrderItem(item.item, item.name, item.gtin, needs, code, item.scheme, item.code or None)


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
