"""Material rules: is each scanned thing the right one, whole, in date and used once.

The cloud reads every accepted scan by itself (labels.py) and does not rely on the unit's verdict; what the unit refused
is shown as refused, and what two people overruled (SPEC W28) is judged as used. Decides wrong_item, identity_mismatch,
unexpected_item, duplicate_serial, expired_material, label_mismatch, manual_entry_unverified, scan_refused.
Sources: R17, R31, R39, R60.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, replace

from cloud.domain.findings import Findings, Snapshot
from cloud.domain.isbt128 import identity_kind
from cloud.domain.label_fields import Label
from cloud.domain.labels import identity_of, read_label
from cloud.domain.overrides import COMMAND, Overruling, RefusedScan
from cloud.domain.plan import BatchPlan, LedgerEntry, SerialUse
from cloud.domain.procedure import Procedure, StepRun, moment_of
from cloud.domain.recipe import Item, article_words
from cloud.domain.report import ExceptionItem, ScanFact
from cloud.domain.times import Moment, UnitTimes
from cloud.domain.words import LAST_MS, raw_text, utc
from wire import Entry, Scan, ScanVerdict, Scheme

REFUSED_AS = {
    "wrong_item": "wrong_item",
    "expired": "expired_material",
    "duplicate": "duplicate_serial",
    "not_asked": "unexpected_item",
    "clock_uncertain": "clock_uncertain",
    "missing_field": "label_mismatch",
    "identity_mismatch": "identity_mismatch",
    "wrong_step": "step_out_of_order",
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
    "identity_mismatch": "it names another donation or patient than this batch's",
    "wrong_step": "an earlier step was not finished",
}
COMMAND_REASONS = {"not_asked": "it does not fit what is due now"}


@dataclass(frozen=True)
class _Used:
    """An accepted serial number: for which item, in which run of which step, first and latest position."""

    item: str
    step: str
    run: int
    first: int
    latest: int


class Materials(Snapshot):
    """Judges scans and adds up quantities, record by record."""

    def __init__(self, plan: BatchPlan) -> None:
        self._plan = plan
        self._items = {item.item: item for item in plan.recipe.items}
        self._scans: list[tuple[ScanFact, Moment]] = []
        self._serials: dict[tuple[str, str], _Used] = {}
        self._stopped: list[tuple[str, ExceptionItem]] = []  # item, and the identity that the unit refused for it

    def serials(self) -> tuple[SerialUse, ...]:
        """The single-use serial numbers that this batch used."""
        return tuple(SerialUse(article, serial, self._plan.batch) for article, serial in sorted(self._serials))

    def scan(self, entry: LedgerEntry, body: Scan, procedure: Procedure, findings: Findings) -> RefusedScan | None:
        """The next scan in stream order; what an override may overrule when the unit refused it."""
        record = entry.record
        run = procedure.place_scan(body.asked)
        label = self._read(entry, body, body.asked)
        before = len(findings.items)
        refused = None
        if body.verdict is ScanVerdict.REFUSED:
            finding = self._note_refused(record.seq, body, run, findings)
            refused = RefusedScan(entry, body, finding, len(self._scans))
        else:
            self._judge(entry, body, body.asked, label, run, findings)
            if not {"identity_mismatch", "wrong_item"} & {finding.code for finding in findings.items[before:]}:
                self._settle_identity(record.seq, body.asked, findings)
            if run is not None:
                procedure.accept_scan(run, body.asked)
        fact = ScanFact(
            evidence=findings.reference(record.seq),
            time_ms=record.time_ms,
            uncertainty_ms=record.uncertainty_ms,
            step=run.step if run else None,
            item=body.asked,
            name=item.name if (item := self._items.get(body.asked)) else body.asked,
            text=label.text,
            aim=body.aim,
            gtin=label.gtin,
            article=article_words(None, label.scheme, label.code) or None,
            lot=label.lot,
            serial=label.serial,
            expiry=str(label.expiry) if label.expiry else None,
            accepted=body.verdict is ScanVerdict.ACCEPTED,
            reason=body.reason,
            manual=body.entry is Entry.MANUAL,
            repeats=body.repeats,
            operator=record.operator,
            findings=tuple(finding.code for finding in findings.items[before:]),
        )
        self._scans.append((fact, moment_of(record)))
        return refused

    def overrule(self, overruling: Overruling, procedure: Procedure, findings: Findings) -> None:
        """Two people had the item of a refused scan accepted: it counts as scanned, and is judged as used.

        The refusal stays an exception under its code, now at that code's full severity (R70).
        """
        item, refused = overruling.subject, overruling.refused
        run = procedure.place_scan(item)
        if run is not None:
            procedure.accept_scan(run, item)
        if refused is None:  # it lies in a hole
            return
        entry, body, place = refused.entry, refused.body, refused.place
        before = len(findings.items)
        self._judge(entry, body, item, self._read(entry, body, item), run, findings)
        judged = findings.items[before:]
        same = next((found for found in judged if found.code == refused.finding.code), None)
        if same is not None:  # one exception for one fact; ours says more than the unit's reason
            findings.drop(same)
        findings.harden(refused.finding, same or refused.finding, overruling.words, overruling.fact.evidence)
        codes = dict.fromkeys([refused.finding.code, *(found.code for found in judged)])
        self._mark_overruled(overruling, place, run.step if run else None, tuple(codes))

    def forced(self, overruling: Overruling, step: str) -> None:
        """Two people had a step started or finished: the scan of the refused command shows it; the step tells it."""
        refused = overruling.refused
        if refused is not None and refused.is_command:
            self._mark_overruled(overruling, refused.place, step, ("forced_step",))

    def _mark_overruled(self, overruling: Overruling, place: int, step: str | None, codes: tuple[str, ...]) -> None:
        fact, moment = self._scans[place]
        self._scans[place] = replace(fact, step=step, findings=codes, overruled=overruling.fact), moment

    def facts(self, times: UnitTimes) -> tuple[ScanFact, ...]:
        """All scans in stream order; a time that the record lacks is taken from its boot's clock."""
        return tuple(
            fact if fact.time_ms is not None else replace(fact, time_ms=times.wall_ms(moment))
            for fact, moment in self._scans
        )

    def conclude(self, known_serials: Iterable[SerialUse], findings: Findings) -> None:
        """Compare with other batches."""
        elsewhere: dict[tuple[str, str], set[str]] = {}
        for use in known_serials:
            if use.batch != self._plan.batch:
                elsewhere.setdefault((use.article, use.serial), set()).add(use.batch)
        for key, used in sorted(self._serials.items(), key=lambda pair: (pair[1].first, pair[0])):
            batches = sorted(elsewhere.get(key, ()))
            if not findings.check("duplicate_serial", not batches):
                message = (
                    f"{self._name(used.item)} with serial number {key[1]} is for one use, but batch"
                    f" {', '.join(batches)} used it too."
                )
                findings.note("duplicate_serial", message, used.first, step=used.step or None)

    def _read(self, entry: LedgerEntry, body: Scan, item: str) -> Label:
        """The label as it reads where this item is asked for."""
        known = self._items.get(item)
        return read_label(body.raw, body.aim, _year(entry), known.pattern if known else "")

    def _settle_identity(self, seq: int, item: str, findings: Findings) -> None:
        """The right thing was accepted for the item at which the unit had stopped another identity."""
        for stopped in [finding for asked, finding in self._stopped if asked == item]:
            findings.resolve(stopped, "The right one was scanned afterwards.", seq)
        self._stopped = [(asked, finding) for asked, finding in self._stopped if asked != item]

    def _name(self, item: str) -> str:
        known = self._items.get(item)
        return known.name if known else f"'{item}'" if item else "Something that was not asked for"

    def _note_refused(self, seq: int, body: Scan, run: StepRun | None, findings: Findings) -> ExceptionItem:
        """A refusal is minor: the control worked. But a wrong identity is critical until the right one was scanned."""
        reason = body.reason or ""
        told, text = REASONS.get(reason, reason), _short(raw_text(body.raw))
        if body.raw.startswith(COMMAND):
            code = REFUSED_AS[reason] if reason == "wrong_step" else "scan_refused"
            message = f"The unit refused a command: {COMMAND_REASONS.get(reason, told)} ({text})."
        else:
            code = REFUSED_AS.get(reason, "scan_refused")
            asked = f"instead of {self._name(body.asked)}" if body.asked else "that nothing asked for"
            message = f"The unit refused a scan {asked}: {told} ({text})."
        findings.check(code, False)
        mistaken = code == "identity_mismatch"
        finding = findings.note(code, message, seq, softened=not mistaken, step=run.step if run else None)
        if mistaken:
            self._stopped.append((body.asked, finding))
        return finding

    def _judge(
        self, entry: LedgerEntry, body: Scan, asked: str, label: Label, run: StepRun | None, findings: Findings
    ) -> None:
        """A scan that was accepted for the item asked, by the recipe and the label alone."""
        seq, step = entry.record.seq, run.step if run else None
        name = self._name(asked)
        if not findings.check("manual_entry_unverified", body.entry is Entry.SCANNER):
            message = f"The code of {name} was typed in, not scanned, and nobody verified it."
            findings.note("manual_entry_unverified", message, seq, step=step)
        if not findings.check("operator_not_qualified", entry.record.operator is not None):
            findings.note("operator_not_qualified", f"{name} was scanned with nobody signed in.", seq, step=step)
        item = self._items.get(asked)
        known_step = self._plan.recipe.step(step) if step else None
        if not findings.check("unexpected_item", known_step is not None and asked in known_step.items):
            where = (
                f"step {known_step.name if known_step else step} does not ask for it" if step else "no step was running"
            )
            message = f"{name} was accepted, but {where} ({_short(label.text)})."
            findings.note("unexpected_item", message, seq, step=step)
        if item is None:
            return
        another = self._another_identity(label)
        if not item.exact and not findings.check("identity_mismatch", another is None):
            message = (
                f"{item.name} was accepted, but its label is of {another}, not of this batch ({_short(label.text)})."
            )
            findings.note("identity_mismatch", message, seq, step=step)
        if item.exact:
            self._judge_exact(seq, item, label, step, findings)
        else:
            self._judge_article(entry, item, label, run, findings)

    def _judge_exact(self, seq: int, item: Item, label: Label, step: str | None, findings: Findings) -> None:
        code = self._plan.exact.get(item.item)
        same = code is not None and _is_identity(label, code) and self._another_identity(label) is None
        if not findings.check("identity_mismatch", same):
            wanted = f"this batch's is {_short(code)}" if code is not None else "no code is known for this batch"
            message = f"{item.name} was accepted with the code {_short(label.text)}, but {wanted}."
            findings.note("identity_mismatch", message, seq, step=step)

    def _another_identity(self, label: Label) -> str | None:
        """The donation or patient on the label, beside whatever else, when the batch has one and it is not that."""
        known = [identity_of(code) for code in self._plan.exact.values()]
        for named in (label.din, label.coi):
            ours = [code for code in known if identity_kind(code) == identity_kind(named or "")]
            if named and ours and named not in ours:
                return named
        return None

    def _judge_article(
        self, entry: LedgerEntry, item: Item, label: Label, run: StepRun | None, findings: Findings
    ) -> None:
        seq, step = entry.record.seq, run.step if run else None
        if not findings.check("label_mismatch", label.problem is None):
            message = f"{item.name} was accepted, but {label.problem} ({_short(label.text)})."
            findings.note("label_mismatch", message, seq, step=step)
            return
        if not findings.check("wrong_item", _is_article(label, item)):
            found = article_words(label.gtin, label.scheme, label.code)
            found = found or f"a code that names no article ({_short(label.text)})"
            message = f"{found[0].upper()}{found[1:]} was accepted as {item.name}, which is {item.article}."
            findings.note("wrong_item", message, seq, step=step)
        lacking = sorted(need for need in item.needs if not label.has(need))
        if not findings.check("label_mismatch", not lacking):
            message = f"The label of {item.name} lacks {', '.join(lacking)} ({_short(label.text)})."
            findings.note("label_mismatch", message, seq, step=step)
        self._judge_expiry(entry, item, label, step, findings)
        article = article_words(label.gtin, label.scheme, label.code)
        if item.single_use and article and label.serial:
            self._judge_serial(seq, item, (article, label.serial), run, findings)

    def _judge_expiry(self, entry: LedgerEntry, item: Item, label: Label, step: str | None, findings: Findings) -> None:
        """Valid to the end of the day at the site, at the time of use; an uncertain boundary is no pass (R39)."""
        if label.expiry is None:
            return
        record, seq = entry.record, entry.record.seq
        end_ms = label.expiry.end_ms(self._plan.utc_offset_min)
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


def _year(entry: LedgerEntry) -> int:
    """The year in which the scan was made, near enough to choose a century."""
    time_ms = entry.received_ms if entry.record.time_ms is None else entry.record.time_ms
    return dt.datetime.fromtimestamp(min(max(time_ms, 0), LAST_MS) / 1000, dt.UTC).year


def _is_identity(label: Label, code: str) -> bool:
    """Whether the label names this donation or patient: the flag characters of a donation number do not count (W44)."""
    return code in (label.din, label.coi) or label.text == raw_text(code.encode())


def _is_article(label: Label, item: Item) -> bool:
    if item.scheme is None:
        return label.gtin == item.gtin
    if label.scheme is not item.scheme or label.code is None:
        return False
    # Five characters of an ISBT 128 product code name the product in any type and division.
    return item.code in (label.code, label.code[:5] if item.scheme is Scheme.ISBT_128 else label.code)


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
