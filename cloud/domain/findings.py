"""Collects what the rules find: exceptions, and how often each rule was applied and satisfied (R71).

Decides only severity: the catalogue's, the recipe's override, or minor for a softened finding. The rule modules decide
what is an exception.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Self

from cloud.domain.codes import CODES
from cloud.domain.plan import BatchPlan
from cloud.domain.report import MINOR, OPEN, RESOLVED, ExceptionItem, RuleCount


class Snapshot:
    """State that can be copied cheaply: its containers hold immutable things, or Snapshots."""

    def copy(self) -> Self:
        """A state that goes on by itself; costs as much as there are facts, not samples."""
        twin = copy.copy(self)
        for name, value in vars(twin).items():
            if isinstance(value, Snapshot):
                setattr(twin, name, value.copy())
            elif isinstance(value, list):
                setattr(twin, name, [one.copy() if isinstance(one, Snapshot) else one for one in value])
            elif isinstance(value, dict | set):
                setattr(twin, name, value.copy())
        return twin


class Findings(Snapshot):
    """The exceptions of one batch so far, and the count of checks by code."""

    def __init__(self, plan: BatchPlan) -> None:
        self._recipe = plan.recipe
        self._stream = plan.kid.hex()
        self.items: list[ExceptionItem] = []
        self._checked: dict[str, int] = {}
        self._failed: dict[str, int] = {}

    def reference(self, seq: int) -> str:
        """The evidence reference of a record of the batch's stream."""
        return f"{self._stream}/{seq}"

    def check(self, code: str, ok: bool, times: int = 1) -> bool:
        """Count that rule code was applied `times` times; returns ok."""
        self._checked[code] = self._checked.get(code, 0) + times
        if not ok:
            self._failed[code] = self._failed.get(code, 0) + times
        return ok

    def note(
        self,
        code: str,
        message: str,
        *seqs: int,
        softened: bool = False,
        step: str | None = None,
        state: str = OPEN,
        evidence: tuple[str, ...] = (),
    ) -> ExceptionItem:
        """Add an exception, and return it. seqs: positions of the batch's stream that show it, equal neighbours once;
        evidence: other references.
        """
        severity = MINOR if softened else self._recipe.severity(code)
        shown = tuple(self.reference(seq) for seq in dict.fromkeys(seqs)) + evidence
        item = ExceptionItem(code, severity, CODES[code].verdict, message, shown, state, step)
        self.items.append(item)
        return item

    def drop(self, item: ExceptionItem) -> None:
        """Take back an exception that another one tells as well."""
        self.items.remove(item)

    def harden(self, softened: ExceptionItem, told: ExceptionItem, words: str, evidence: str) -> None:
        """What the unit had stopped was used after all: its exception gets the code's full severity, and told's words
        with these behind them.
        """
        severity = self._recipe.severity(softened.code)
        shown = tuple(dict.fromkeys((*softened.evidence, *told.evidence, evidence)))
        hardened = replace(told, severity=severity, message=f"{told.message} {words}", evidence=shown, state=OPEN)
        self.items[self.items.index(softened)] = hardened

    def resolve(self, item: ExceptionItem, words: str, seq: int) -> None:
        """The record at seq put it right; the exception stays, and spoils no verdict."""
        shown = (*item.evidence, self.reference(seq))
        resolved = replace(item, message=f"{item.message} {words}", evidence=shown, state=RESOLVED)
        self.items[self.items.index(item)] = resolved

    def rule_counts(self) -> dict[str, RuleCount]:
        """By code, for every code of the catalogue: a rule that never applied says so with zero."""
        return {
            code: RuleCount(self._checked.get(code, 0), self._checked.get(code, 0) - self._failed.get(code, 0))
            for code in sorted(CODES)
        }
