"""Overrides: two people overrule what the unit refused (SPEC W28).

Decides whether an override holds: same_person_verified, override_invalid, identity_mismatch for an identity that nobody
may overrule. What then follows from it is for materials.py (an item) and procedure.py (a step).
"""

from __future__ import annotations

from dataclasses import dataclass

from cloud.domain.findings import Findings, Snapshot
from cloud.domain.plan import BatchPlan, LedgerEntry
from cloud.domain.report import ExceptionItem, OverrideFact
from wire import Boot, Override, OverrideAction, Record, Scan, Step, StepAction

COMMAND = b"CT/"  # a card of the technician, not a label
IDENTITY = "identity_mismatch"
NEVER = ("truncated", "unreadable", "no_operator", "no_batch")  # what nobody can answer for
STEP_ACTIONS = {OverrideAction.START_STEP: StepAction.START, OverrideAction.FINISH_STEP: StepAction.DONE}


@dataclass(frozen=True)
class RefusedScan:
    """The last scan, which the unit refused. place: of its fact among the scans."""

    entry: LedgerEntry
    body: Scan
    finding: ExceptionItem
    place: int

    @property
    def is_command(self) -> bool:
        return self.body.raw.startswith(COMMAND)


@dataclass(frozen=True)
class Overruling:
    """An override that holds. refused: None when the scan it names lies in a hole."""

    seq: int
    action: OverrideAction
    subject: str
    fact: OverrideFact
    refused: RefusedScan | None

    @property
    def words(self) -> str:
        """A sentence about the people."""
        fact = self.fact
        return f'{fact.first} overruled the unit, with {fact.second} as second person; reason given: "{fact.reason}".'

    @property
    def evidence(self) -> tuple[int, ...]:
        """Positions of the refused scan and the override."""
        return (self.refused.entry.record.seq, self.seq) if self.refused else (self.seq,)


class Overrides(Snapshot):
    """Remembers what could be overruled next, and the step that an override announced."""

    def __init__(self, plan: BatchPlan) -> None:
        self._recipe = plan.recipe
        self._last_scan: int | None = None
        self._refused: RefusedScan | None = None
        self._hole = False  # whether the last scan may lie in a hole
        self._announced: Overruling | None = None

    def hole(self) -> None:
        """Positions are missing here: which scan was the last is not known."""
        self._refused, self._announced, self._hole = None, None, True

    def scanned(self, seq: int, refused: RefusedScan | None) -> None:
        """The scan at seq is now the last one."""
        self._last_scan, self._refused, self._hole = seq, refused, False

    def take(self, record: Record, body: Override, findings: Findings) -> Overruling | None:
        """The next override in stream order, if it holds."""
        first = record.operator or ""
        what = f"{first} and {body.second} overruled a refusal concerning '{body.subject}'"
        if not findings.check("same_person_verified", body.second != first):
            message = f"{first} overruled the unit and is named as the second person as well; it does not count."
            findings.note("same_person_verified", message, body.refused, record.seq)
            return None
        refused = self._refused
        fault = self._fault(body)
        if not findings.check("override_invalid", fault is None):
            findings.note("override_invalid", f"{what}, but {fault}; it does not count.", body.refused, record.seq)
            return None
        if self._is_identity(body, refused):
            findings.check("identity_mismatch", False)
            message = f"{what}: an identity, which nobody may overrule; it does not count."
            findings.note("identity_mismatch", message, body.refused, record.seq)
            return None
        fact = OverrideFact(findings.reference(record.seq), first, body.second, body.reason)
        overruling = Overruling(record.seq, body.action, body.subject, fact, refused)
        self._refused = None  # overruled once
        if body.action in STEP_ACTIONS:
            self._announced = overruling
        return overruling

    def claim(self, record: Record, findings: Findings) -> Overruling | None:
        """The override that announced this record, a step; an announced step that is not the next record is noted."""
        announced, self._announced = self._announced, None
        if announced is None:
            return None
        body = record.body
        wanted = STEP_ACTIONS[announced.action], announced.subject
        if isinstance(body, Step) and (body.action, body.step) == wanted:
            if announced.refused is not None and announced.refused.is_command:  # told with the step
                findings.drop(announced.refused.finding)
            return announced
        findings.check("override_invalid", False)
        # A power cut between the two records leaves nothing done (W28).
        cut = isinstance(body, Boot)
        what = "start" if announced.action is OverrideAction.START_STEP else "finish"
        missing = "the unit restarted before it was done" if cut else "no such record follows"
        message = (
            f"{announced.fact.first} and {announced.fact.second} overruled the unit to"
            f" {what} step '{announced.subject}', but {missing}; it does not count."
        )
        findings.note("override_invalid", message, announced.seq, record.seq, softened=cut)
        return None

    def _fault(self, body: Override) -> str | None:
        if self._hole:
            return None
        if self._refused is None or self._last_scan != body.refused:
            return f"record {body.refused} is not the refused scan before it"
        reason = self._refused.body.reason
        return f"a scan refused as {reason} cannot be overruled" if reason in NEVER else None

    def _is_identity(self, body: Override, refused: RefusedScan | None) -> bool:
        if refused is not None and refused.body.reason == IDENTITY:
            return True
        items = {body.subject, refused.body.asked if refused else ""}
        exact = any(item.exact for item in self._recipe.items if item.item in items)
        return exact and body.action is OverrideAction.ACCEPT_ITEM
