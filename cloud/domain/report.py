"""What reconciliation says of one batch: plain immutable facts, verdicts and exceptions.

Decides nothing: `fold.py` and the rule modules fill it, pages and the API show it, `to_json` keeps it. The same records
and rules give the same bytes (R70). Times are milliseconds since 1970 UTC or None where no clock was ever set; decimal
numbers are texts without an exponent; an evidence reference is "<kid hex>/<seq>" for a record in the ledger or
"quarantine/<first 16 hex of digest>" for a refused copy.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from types import UnionType
from typing import Any

RULES_VERSION = "3"  # named in every report; grows with every change that can alter a report (R70)

CRITICAL, MAJOR, MINOR = "critical", "major", "minor"
SEVERITIES = (CRITICAL, MAJOR, MINOR)  # worst first
COMPLETE, CONFORMING, AUTHENTIC, NO_VERDICT = "complete", "conforming", "authentic", "none"
OPEN, RESOLVED = "open", "resolved"


@dataclass(frozen=True)
class ExceptionItem:
    """One thing a person must look at (R66, R69).

    verdict: which of the three verdicts it belongs to, "none" for what only has to be seen. Only an *open* exception of
    severity critical or major spoils that verdict. message: one sentence for QA. evidence: at most a handful of
    references, first and last for a long run.
    """

    code: str
    severity: str
    verdict: str
    message: str
    evidence: tuple[str, ...]
    state: str = OPEN
    step: str | None = None

    @property
    def spoils(self) -> bool:
        """Whether its verdict is "no" because of this."""
        return self.state == OPEN and self.severity != MINOR and self.verdict != NO_VERDICT


@dataclass(frozen=True)
class OverrideFact:
    """Two people who overruled the unit: the one signed in, the second one, and why."""

    evidence: str
    first: str
    second: str
    reason: str


@dataclass(frozen=True)
class StepFact:
    """One run of a step, or a step of the recipe that has not run. state: pending, running, done, skipped, aborted."""

    step: str
    name: str
    order: int  # position in the recipe from 1; 0 when the recipe does not know the step
    run: int  # 1 for the first run, 2 for its repetition; 0 while pending
    state: str
    started_ms: int | None
    ended_ms: int | None
    duration_ms: int | None
    operator: str | None
    reason: str | None
    expected: tuple[str, ...]  # item ids the recipe asks for in this step
    missing: tuple[str, ...]  # those of them without an accepted scan (so far, while the step runs)
    evidence: tuple[str, ...]
    overruled: tuple[OverrideFact, ...] = ()  # its start, its end


@dataclass(frozen=True)
class ScanFact:
    """One scan as the unit recorded it, and how the cloud reads the same bytes."""

    evidence: str
    time_ms: int | None
    uncertainty_ms: int | None
    step: str | None
    item: str  # item id asked for, "" when nothing was asked
    name: str
    text: str  # the raw bytes as text; what is not printable ASCII is written <1D>
    aim: str
    gtin: str | None
    article: str | None  # what it is in words, where that is no gtin: "HIBC A99912345670"
    lot: str | None
    serial: str | None
    expiry: str | None  # ISO date, and the time of day where the label states one
    accepted: bool  # the unit's verdict
    reason: str | None  # the unit's reason for refusing
    manual: bool
    repeats: int
    operator: str | None
    findings: tuple[str, ...]  # exception codes that this scan gave rise to
    overruled: OverrideFact | None = None  # its refusal


@dataclass(frozen=True)
class QuantityFact:
    """The balance of one material lot: issued against everything it went into (R59). Sums are decimal texts."""

    item: str
    name: str
    lot: str | None
    unit: str
    sums: Mapping[
        str, str
    ]  # kind (issued, used, rejected, sampled, returned, destroyed, lost) to sum; absent when never recorded
    difference: str  # issued minus the rest
    tolerance: str | None  # None: the recipe sets no limit
    balanced: bool | None  # None: no limit, or the batch is not closed
    evidence: tuple[str, ...]


@dataclass(frozen=True)
class ExcursionFact:
    """A parameter outside its limit for longer than the delay (R55)."""

    channel: str
    band: str  # "alert" or "action"
    side: str  # "low" or "high"
    limit: str
    unit: str
    step: str | None
    start_ms: int | None
    end_ms: int | None  # None while it lasts
    duration_ms: int
    peak: str
    area: str  # unit times minutes beyond the limit
    evidence: tuple[str, ...]


@dataclass(frozen=True)
class ChannelFact:
    """Summary of one sensor channel over the batch; the samples themselves are a SampleSeries (R57: never a
    replacement).
    """

    channel: str
    unit: str
    samples: int  # with a value
    faulty: int  # marked missing, stuck, out of range or fault
    minimum: str | None
    maximum: str | None
    certificate: str | None
    due_ms: int | None
    evidence: str  # the channels record in force
    sensor: str | None = None  # type and serial number
    calibrated_ms: int | None = None
    offset: str | None = None  # the adjustment that every value contains


@dataclass(frozen=True)
class CustodyFact:
    """A run of records that travelled the same way: unit, gateway, cloud."""

    gateway: str
    first: int
    last: int
    records: int
    recorded_first_ms: int | None
    recorded_last_ms: int | None
    arrived_first_ms: int
    arrived_last_ms: int
    received_first_ms: int
    received_last_ms: int
    longest_delay_ms: int | None  # from record to ledger


@dataclass(frozen=True)
class Interruption:
    """A time in which the batch was on its own. kind: restart, silence, late, gap."""

    kind: str
    first: int  # seq of the first and last record concerned
    last: int
    from_ms: int | None
    until_ms: int | None
    message: str


@dataclass(frozen=True)
class RuleCount:
    """Proof of what was checked (R71): how often a rule was applied, and how often it was satisfied."""

    checked: int
    passed: int


@dataclass(frozen=True)
class Report:
    """The reconciled batch record. state: waiting (nothing arrived), running, closed, aborted.

    complete, conforming, authentic: read them with state. While it is waiting they are false because nothing was
    recorded, which is no failure; while it is running complete is false, and the others say what is known so far.
    """

    batch: str
    recipe: str
    version: int
    recipe_digest: str
    unit: str
    kid: str
    state: str
    complete: bool
    conforming: bool
    authentic: bool
    first_seq: int | None
    last_seq: int | None  # highest seq of the batch that is held
    records: int
    opened_ms: int | None
    closed_ms: int | None
    last_contact_ms: int | None  # when the cloud received the newest record of the batch
    holes: tuple[tuple[int, int], ...]  # first and last seq of every run of missing records
    counts: Mapping[str, int]  # record type to number held
    exceptions: tuple[ExceptionItem, ...]  # worst first
    steps: tuple[StepFact, ...]
    scans: tuple[ScanFact, ...]
    quantities: tuple[QuantityFact, ...]
    channels: tuple[ChannelFact, ...]
    excursions: tuple[ExcursionFact, ...]
    interruptions: tuple[Interruption, ...]
    custody: tuple[CustodyFact, ...]
    rules_checked: Mapping[str, RuleCount]
    rules_version: str = RULES_VERSION

    @property
    def attention(self) -> tuple[int, int, int]:
        """Open exceptions by severity (critical, major, minor): larger sorts first in a list of batches."""
        severities = [item.severity for item in self.exceptions if item.state == OPEN]
        return severities.count(CRITICAL), severities.count(MAJOR), severities.count(MINOR)

    @property
    def refused_copies(self) -> int:
        """Altered or forged on the way, and the true record is here: resolved exceptions of authenticity."""
        return sum(item.state == RESOLVED and item.verdict == AUTHENTIC for item in self.exceptions)

    def to_json(self) -> dict[str, Any]:
        """Only dict, list, str, int, bool and None."""
        plain = _plain(self)
        assert isinstance(plain, dict)
        return plain

    def to_bytes(self) -> bytes:
        """The one serialisation whose digest can be signed: sorted keys, no spaces, UTF-8."""
        return json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Report:
        """The inverse of to_json. Raises KeyError or TypeError for what to_json did not write."""
        report = _built(cls, plain)
        assert isinstance(report, Report)
        return report


@dataclass(frozen=True)
class LimitBand:
    """Limits to draw: "alert" or "action", as decimal texts."""

    band: str
    low: str | None
    high: str | None


@dataclass(frozen=True)
class SampleSeries:
    """The samples of one channel for the chart, in stream order. A value is an integer times 10**exponent.

    times_ms, values and marks have one length; a value is None where the unit had none; a mark is 0 or wire.Mark.
    """

    channel: str
    unit: str
    exponent: int
    times_ms: tuple[int, ...]
    values: tuple[int | None, ...]
    marks: tuple[int, ...]
    bands: tuple[LimitBand, ...]
    excursions: tuple[ExcursionFact, ...]
    thinned: bool  # True when max_points left samples out; extremes and marks always stay

    def to_json(self) -> dict[str, Any]:
        """Only dict, list, str, int, bool and None."""
        plain = _plain(self)
        assert isinstance(plain, dict)
        return plain


def by_urgency(items: Iterable[ExceptionItem]) -> tuple[ExceptionItem, ...]:
    """Open before resolved, worst first, then in stream order: a total order, so that reports are reproducible."""
    return tuple(sorted(items, key=_urgency))


def _urgency(item: ExceptionItem) -> tuple[object, ...]:
    return (
        item.state != OPEN,
        SEVERITIES.index(item.severity),
        [_evidence_order(reference) for reference in item.evidence],
        item.code,
        item.message,
    )


def _evidence_order(reference: str) -> tuple[str, int, str]:
    store, _, place = reference.partition("/")
    return (
        (store, int(place), "") if place.isascii() and place.isdigit() and store != "quarantine" else (store, 0, place)
    )


def _plain(fact: object) -> Any:
    if dataclasses.is_dataclass(fact):
        return {field.name: _plain(getattr(fact, field.name)) for field in dataclasses.fields(fact)}
    if isinstance(fact, Mapping):
        return {key: _plain(value) for key, value in fact.items()}
    if isinstance(fact, tuple | list):
        return [_plain(element) for element in fact]
    return fact


@cache
def _hints(kind: type) -> dict[str, Any]:
    """Types of a fact's fields; working them out anew for each fact took half the time of a page."""
    return typing.get_type_hints(kind)


def _built(kind: Any, plain: Any) -> Any:
    """plain as kind, which is a dataclass of this module or a type that occurs in one."""
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = _hints(kind)
        names = {field.name for field in dataclasses.fields(kind)}
        if unknown := plain.keys() - names:
            raise TypeError(f"{kind} has no {sorted(unknown)}: was this report written by another version?")
        return kind(**{name: _built(hints[name], plain[name]) for name in names})
    if isinstance(kind, UnionType):  # "X | None"
        return plain if plain is None else _built(typing.get_args(kind)[0], plain)
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) is tuple:
        each = [arguments[0]] * len(plain) if arguments[-1] is ... else list(arguments)
        return tuple(_built(element_kind, element) for element_kind, element in zip(each, plain, strict=True))
    if arguments:  # Mapping[str, X]
        return {key: _built(arguments[1], value) for key, value in plain.items()}
    return plain
