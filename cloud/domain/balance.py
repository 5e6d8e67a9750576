"""Balances quantities: what was issued of a material lot against everything it went into (R59, R62).

Decides quantity_mismatch, and unexpected_item for a quantity of something that the recipe does not have.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from cloud.domain.findings import Findings, Snapshot
from cloud.domain.plan import BatchPlan
from cloud.domain.recipe import QuantityRule
from cloud.domain.report import QuantityFact
from cloud.domain.words import EXACT, decimal_text, scaled
from wire import Quantity, QuantityKind


@dataclass(frozen=True)
class _Sum:
    """What was recorded of one lot in one unit of measure."""

    sums: tuple[tuple[QuantityKind, Decimal], ...]
    first: int
    last: int


class Balance(Snapshot):
    """Adds up quantities, record by record."""

    def __init__(self, plan: BatchPlan) -> None:
        self._recipe = plan.recipe
        self._sums: dict[tuple[str, str | None, str], _Sum] = {}

    def quantity(self, seq: int, body: Quantity, findings: Findings) -> None:
        """The next quantity record in stream order."""
        if not findings.check("unexpected_item", self._recipe.item(body.item) is not None):
            message = f"A quantity was recorded of '{body.item}', which the recipe does not have."
            findings.note("unexpected_item", message, seq)
        amount = scaled(body.mantissa, body.exponent)
        if not findings.check("quantity_mismatch", amount >= 0):
            message = (
                f"A negative quantity, {decimal_text(amount)} {body.unit}, was recorded of {self._name(body.item)}."
            )
            findings.note("quantity_mismatch", message, seq)
        key = body.item, body.lot, body.unit
        known = self._sums.get(key, _Sum((), seq, seq))
        sums = dict(known.sums)
        sums[body.kind] = EXACT.add(sums.get(body.kind, Decimal(0)), amount)
        self._sums[key] = _Sum(tuple(sorted(sums.items())), known.first, seq)

    def conclude(self, closed_at: int | None, provisional: str, findings: Findings) -> tuple[QuantityFact, ...]:
        """The balance of every lot; judged once the batch is closed (closed_at: position of the close)."""
        rules = {rule.item: rule for rule in self._recipe.quantities}
        facts = [
            self._balance_lot(key, entered, rules.get(key[0]), closed_at, provisional, findings)
            for key, entered in sorted(self._sums.items(), key=lambda pair: (pair[1].first, str(pair[0])))
        ]
        recorded = {item for item, _, _ in self._sums}
        for rule in rules.values() if closed_at is not None else ():
            if not findings.check("quantity_mismatch", rule.item in recorded) and closed_at is not None:
                message = (
                    f"No quantity of {self._name(rule.item)} was recorded, but the recipe balances it{provisional}."
                )
                findings.note("quantity_mismatch", message, closed_at)
        return tuple(facts)

    def _balance_lot(
        self,
        key: tuple[str, str | None, str],
        entered: _Sum,
        rule: QuantityRule | None,
        closed_at: int | None,
        provisional: str,
        findings: Findings,
    ) -> QuantityFact:
        item, lot, unit = key
        sums = dict(entered.sums)
        issued = sums.get(QuantityKind.ISSUED, Decimal(0))
        difference = issued
        for kind, amount in sums.items():
            if kind is not QuantityKind.ISSUED:
                difference = EXACT.subtract(difference, amount)
        balanced = None
        if rule is not None and closed_at is not None:
            balanced = unit == rule.unit and abs(difference) <= rule.tolerance
            if not findings.check("quantity_mismatch", balanced):
                message = self._imbalance(key, sums, difference, rule)
                findings.note("quantity_mismatch", f"{message}{provisional}.", entered.first, entered.last)
        return QuantityFact(
            item,
            known.name if (known := self._recipe.item(item)) else item,
            lot,
            unit,
            {kind.name.lower(): decimal_text(amount) for kind, amount in sums.items()},
            decimal_text(difference),
            decimal_text(rule.tolerance) if rule else None,
            balanced,
            tuple(findings.reference(seq) for seq in dict.fromkeys((entered.first, entered.last))),
        )

    def _imbalance(
        self,
        key: tuple[str, str | None, str],
        sums: dict[QuantityKind, Decimal],
        difference: Decimal,
        rule: QuantityRule,
    ) -> str:
        item, lot, unit = key
        name = f"{self._name(item)}{f' lot {lot}' if lot else ''}"
        if unit != rule.unit:
            return f"{name} was recorded in {unit}, but the recipe balances it in {rule.unit}"
        issued = sums.get(QuantityKind.ISSUED, Decimal(0))
        return (
            f"{name}: {decimal_text(issued)} {unit} issued, {decimal_text(EXACT.subtract(issued, difference))} {unit}"
            " accounted for; the difference of"
            f" {decimal_text(difference)} {unit} is more than the {decimal_text(rule.tolerance)} {unit} that the"
            " recipe allows"
        )

    def _name(self, item: str) -> str:
        known = self._recipe.item(item)
        return known.name if known else f"'{item}'"
