"""Material rules: is each scanned thing the right one, whole, in date and used once; and do the quantities balance.

The cloud reads every accepted scan by itself (labels.py) and does not rely on the unit's verdict; what the unit refused
is shown as refused. Decides wrong_item, identity_mismatch, unexpected_item, duplicate_serial, expired_material,
label_mismatch, manual_entry_unverified, scan_refused, quantity_mismatch. Sources: R17, R31, R39, R59, R60, R62.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal

from cloud.domain.findings import Findings, Snapshot
from cloud.domain.labels import Label, read_label
from cloud.domain.plan import BatchPlan, LedgerEntry, SerialUse
from cloud.domain.procedure import Procedure, StepRun, moment_of
from cloud.domain.recipe import Item, QuantityRule
from cloud.domain.report import QuantityFact, ScanFact
from cloud.domain.times import Moment, UnitTimes
from cloud.domain.words import EXACT, LAST_MS, decimal_text, raw_text, scaled, utc
from wire import Entry, Quantity, QuantityKind, Scan, ScanVerdict

DAY_MS = 86_400_000
REFUSED_AS = {
    "wrong_item": "wrong_item",
    "expired": "expired_material",
    "duplicate": "duplicate_serial",
    "not_asked": "unexpected_item",
    "clock_uncertain": "clock_uncertain",
}
REASONS = {
    "wrong_item": "it is another article than the one asked for",
    "expired": "it is past its expiry",
    "duplicate": "its serial number was already used",
    "not_asked": "nothing of this kind was asked for",
    "clock_uncertain": "the unit did not know the time well enough to judge its expiry",
    "no_operator": "nobody was signed in",
    "no_batch": "no batch was open",
    "ambiguous": "the code can be read in more than one way",
    "unreadable": "the code could not be read",
    "truncated": "the code was cut short",
    "missing_field": "the label lacks a field that the recipe needs",
}


@dataclass(frozen=True)
class _Used:
    """An accepted serial number: for which item, in which run of which step, first and latest position."""

    item: str
    step: str
    run: int
    first: int
    latest: int


@dataclass(frozen=True)
class _Sum:
    """What was recorded of one lot in one unit of measure."""

    sums: tuple[tuple[QuantityKind, Decimal], ...]
    first: int
    last: int


class Materials(Snapshot):
    """Judges scans and adds up quantities, record by record."""

    def __init__(self, plan: BatchPlan) -> None:
        self._plan = plan
        self._items = {item.item: item for item in plan.recipe.items}
        self._scans: list[tuple[ScanFact, Moment]] = []
        self._serials: dict[tuple[str, str], _Used] = {}
        self._sums: dict[tuple[str, str | None, str], _Sum] = {}

    def serials(self) -> tuple[SerialUse, ...]:
        """The single-use serial numbers that this batch used."""
        return tuple(SerialUse(gtin, serial, self._plan.batch) for gtin, serial in sorted(self._serials))

    def scan(self, entry: LedgerEntry, body: Scan, procedure: Procedure, findings: Findings) -> None:
        """The next scan in stream order."""
        record = entry.record
        run = procedure.place_scan(body.asked)
        label = read_label(body.raw, body.aim, _year(entry))
        before = len(findings.items)
        if body.verdict is ScanVerdict.REFUSED:
            self._note_refused(record.seq, body, run, findings)
        else:
            self._judge(entry, body, label, run, findings)
            if run is not None:
                procedure.accept_scan(run, body.asked)
        item = self._items.get(body.asked)
        fact = ScanFact(
            evidence=findings.reference(record.seq),
            time_ms=record.time_ms,
            uncertainty_ms=record.uncertainty_ms,
            step=run.step if run else None,
            item=body.asked,
            name=item.name if item else body.asked,
            text=label.text,
            aim=body.aim,
            gtin=label.gtin,
            lot=label.lot,
            serial=label.serial,
            expiry=label.expiry.isoformat() if label.expiry else None,
            accepted=body.verdict is ScanVerdict.ACCEPTED,
            reason=body.reason,
            manual=body.entry is Entry.MANUAL,
            repeats=body.repeats,
            operator=record.operator,
            findings=tuple(finding.code for finding in findings.items[before:]),
        )
        self._scans.append((fact, moment_of(record)))

    def quantity(self, seq: int, body: Quantity, findings: Findings) -> None:
        """The next quantity record in stream order."""
        if not findings.check("unexpected_item", body.item in self._items):
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

    def facts(self, times: UnitTimes) -> tuple[ScanFact, ...]:
        """All scans in stream order; a time that the record lacks is taken from its boot's clock."""
        return tuple(
            fact if fact.time_ms is not None else replace(fact, time_ms=times.wall_ms(moment))
            for fact, moment in self._scans
        )

    def conclude(
        self, known_serials: Iterable[SerialUse], closed_at: int | None, provisional: str, findings: Findings
    ) -> tuple[QuantityFact, ...]:
        """Compare with other batches, and balance the quantities once the batch is closed (closed_at: position of the
        close).
        """
        elsewhere: dict[tuple[str, str], set[str]] = {}
        for use in known_serials:
            if use.batch != self._plan.batch:
                elsewhere.setdefault((use.gtin, use.serial), set()).add(use.batch)
        for key, used in sorted(self._serials.items(), key=lambda pair: (pair[1].first, pair[0])):
            batches = sorted(elsewhere.get(key, ()))
            if not findings.check("duplicate_serial", not batches):
                message = (
                    f"{self._name(used.item)} with serial number {key[1]} is for one use, but batch"
                    f" {', '.join(batches)} used it too."
                )
                findings.note("duplicate_serial", message, used.first, step=used.step or None)
        return self._balance(closed_at, provisional, findings)

    def _name(self, item: str) -> str:
        known = self._items.get(item)
        return known.name if known else f"'{item}'" if item else "Something that was not asked for"

    def _note_refused(self, seq: int, body: Scan, run: StepRun | None, findings: Findings) -> None:
        reason = body.reason or ""
        code = REFUSED_AS.get(reason, "scan_refused")
        asked = f"instead of {self._name(body.asked)}" if body.asked else "that nothing asked for"
        message = f"The unit refused a scan {asked}: {REASONS.get(reason, reason)} ({_short(raw_text(body.raw))})."
        findings.check(code, False)
        findings.note(code, message, seq, softened=True, step=run.step if run else None)

    def _judge(self, entry: LedgerEntry, body: Scan, label: Label, run: StepRun | None, findings: Findings) -> None:
        """An accepted scan, by the recipe and the label alone."""
        seq, step = entry.record.seq, run.step if run else None
        name = self._name(body.asked)
        if not findings.check("manual_entry_unverified", body.entry is Entry.SCANNER):
            message = f"The code of {name} was typed in, not scanned, and nobody verified it."
            findings.note("manual_entry_unverified", message, seq, step=step)
        if not findings.check("operator_not_qualified", entry.record.operator is not None):
            findings.note("operator_not_qualified", f"{name} was scanned with nobody signed in.", seq, step=step)
        item = self._items.get(body.asked)
        known_step = self._plan.recipe.step(step) if step else None
        if not findings.check("unexpected_item", known_step is not None and body.asked in known_step.items):
            where = (
                f"step {known_step.name if known_step else step} does not ask for it" if step else "no step was running"
            )
            message = f"{name} was accepted, but {where} ({_short(label.text)})."
            findings.note("unexpected_item", message, seq, step=step)
        if item is None:
            return
        if item.exact:
            self._judge_exact(seq, item, body, step, findings)
        else:
            self._judge_article(entry, item, label, run, findings)

    def _judge_exact(self, seq: int, item: Item, body: Scan, step: str | None, findings: Findings) -> None:
        code = self._plan.exact.get(item.item)
        same = code is not None and body.raw == code.encode()
        if not findings.check("identity_mismatch", same):
            wanted = f"this batch's is {_short(code)}" if code is not None else "no code is known for this batch"
            message = f"{item.name} was accepted with the code {_short(raw_text(body.raw))}, but {wanted}."
            findings.note("identity_mismatch", message, seq, step=step)

    def _judge_article(
        self, entry: LedgerEntry, item: Item, label: Label, run: StepRun | None, findings: Findings
    ) -> None:
        seq, step = entry.record.seq, run.step if run else None
        if not findings.check("label_mismatch", label.problem is None):
            message = f"{item.name} was accepted, but {label.problem} ({_short(label.text)})."
            findings.note("label_mismatch", message, seq, step=step)
            return
        if not findings.check("wrong_item", label.gtin == item.gtin):
            found = f"article {label.gtin}" if label.gtin else f"a code that names no article ({_short(label.text)})"
            message = f"{found[0].upper()}{found[1:]} was accepted as {item.name}, which is article {item.gtin}."
            findings.note("wrong_item", message, seq, step=step)
        lacking = sorted(need for need in item.needs if not label.has(need))
        if not findings.check("label_mismatch", not lacking):
            message = f"The label of {item.name} lacks {', '.join(lacking)} ({_short(label.text)})."
            findings.note("label_mismatch", message, seq, step=step)
        self._judge_expiry(entry, item, label, step, findings)
        if item.single_use and label.gtin and label.serial:
            self._judge_serial(seq, item, (label.gtin, label.serial), run, findings)

    def _judge_expiry(self, entry: LedgerEntry, item: Item, label: Label, step: str | None, findings: Findings) -> None:
        """Valid to the end of the day at the site, at the time of use; an uncertain boundary is no pass (R39)."""
        if label.expiry is None:
            return
        record, seq = entry.record, entry.record.seq
        end_ms = _day_end_ms(label.expiry, self._plan.utc_offset_min)
        if not findings.check("label_mismatch", not label.day_open):
            message = f"The label of {item.name} gives no day of expiry; {label.expiry} is taken."
            findings.note("label_mismatch", message, seq, softened=True, step=step)
        doubt_ms = record.uncertainty_ms or 0
        # Without a unit time, the cloud's receipt still shows that the use was not later.
        earliest_ms = None if record.time_ms is None else record.time_ms - doubt_ms
        latest_ms = entry.received_ms if record.time_ms is None else record.time_ms + doubt_ms
        if findings.check("expired_material", latest_ms < end_ms):
            return
        lot = f" lot {label.lot}" if label.lot else ""
        if earliest_ms is not None and earliest_ms >= end_ms:
            message = f"{item.name}{lot} expired on {label.expiry} and was used at {utc(record.time_ms)}."
            findings.note("expired_material", message, seq, step=step)
        else:
            message = (
                f"{item.name}{lot} expires on {label.expiry}; the unit's clock cannot show that it was used before the"
                " end of that day."
            )
            findings.check("clock_uncertain", False)
            findings.note("clock_uncertain", message, seq, step=step)

    def _judge_serial(
        self, seq: int, item: Item, key: tuple[str, str], run: StepRun | None, findings: Findings
    ) -> None:
        """The same thing may be shown again in another step, or in the same one repeated; else it was used twice"
        " (R60)."""
        step, number = (run.step, run.run) if run else ("", 0)
        used = self._serials.get(key)
        twice = used is not None and (used.item != item.item or (used.step, used.run) == (step, number))
        if not findings.check("duplicate_serial", not twice) and used is not None:
            message = f"{item.name} with serial number {key[1]} is for one use, but was accepted twice in this batch."
            findings.note("duplicate_serial", message, used.latest, seq, step=step or None)
        self._serials[key] = _Used(item.item, step, number, used.first if used else seq, seq)

    def _balance(self, closed_at: int | None, provisional: str, findings: Findings) -> tuple[QuantityFact, ...]:
        rules = {rule.item: rule for rule in self._plan.recipe.quantities}
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
            known.name if (known := self._items.get(item)) else item,
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


def _year(entry: LedgerEntry) -> int:
    """The year in which the scan was made, near enough to choose a century."""
    time_ms = entry.received_ms if entry.record.time_ms is None else entry.record.time_ms
    return dt.datetime.fromtimestamp(min(max(time_ms, 0), LAST_MS) / 1000, dt.UTC).year


def _day_end_ms(day: dt.date, utc_offset_min: int) -> int:
    """The first millisecond after a day at the site."""
    days = day.toordinal() - dt.date(1970, 1, 1).toordinal() + 1
    return days * DAY_MS - utc_offset_min * 60_000


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
