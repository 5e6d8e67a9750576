"""Procedure rules: did the steps run as the recipe orders, by somebody, within their times.

Decides missing_step, step_out_of_order, step_repeated, forced_step, time_limit_exceeded, missing_scan, aborted_run (a
step), and for steps operator_not_qualified and recipe_version_mismatch. Whether a scan is the right thing is for
materials.py. Sources: R18, R19, R65, R66.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cloud.domain.findings import Findings, Snapshot
from cloud.domain.overrides import Overruling
from cloud.domain.plan import BatchPlan
from cloud.domain.recipe import Step as RecipeStep
from cloud.domain.report import OverrideFact, StepFact
from cloud.domain.times import Moment, UnitTimes
from cloud.domain.words import duration, listed
from wire import Record, Step, StepAction


@dataclass(frozen=True)
class StepRun:
    """One run of one step. ended, end_seq: None while it runs."""

    step: str
    run: int
    state: str
    start: Moment
    start_seq: int
    end: Moment | None = None
    end_seq: int | None = None
    operator: str | None = None
    reason: str | None = None
    scanned: frozenset[str] = frozenset()
    overruled: tuple[OverrideFact, ...] = ()

    @property
    def running(self) -> bool:
        return self.state == "running"


def moment_of(record: Record) -> Moment:
    """Where a record stands on the unit's time line."""
    return Moment(record.boot, record.uptime_ms, record.time_ms, record.uncertainty_ms)


class Procedure(Snapshot):
    """Follows the step records of a batch; says which step a scan belongs to."""

    def __init__(self, plan: BatchPlan) -> None:
        self._recipe = plan.recipe
        self._order = {step.step: place for place, step in enumerate(plan.recipe.steps)}
        self.runs: list[StepRun] = []

    def active_steps(self) -> tuple[str, ...]:
        """Steps that run now, the latest first."""
        return tuple(run.step for run in reversed(self.runs) if run.running)

    def place_scan(self, item: str) -> StepRun | None:
        """The running step that a scan of this item belongs to: one that asks for it, else the latest."""
        running = [run for run in reversed(self.runs) if run.running]
        asking = [run for run in running if (step := self._recipe.step(run.step)) and item in step.items]
        return next(iter(asking or running), None)

    def accept_scan(self, run: StepRun, item: str) -> None:
        """An accepted scan of item fulfils what this run asked for."""
        self.runs[self.runs.index(run)] = replace(run, scanned=run.scanned | {item})

    def take(
        self, record: Record, body: Step, times: UnitTimes, findings: Findings, overruling: Overruling | None = None
    ) -> None:
        """The next step record in stream order. overruling: the override that announced it."""
        force = _Force.of(record, body, overruling)
        step = self._recipe.step(body.step)
        if not findings.check("recipe_version_mismatch", step is not None):
            message = f"The unit recorded a step '{body.step}' that the recipe does not have."
            findings.note("recipe_version_mismatch", message, record.seq, step=body.step)
        if not findings.check("operator_not_qualified", record.operator is not None):
            message = f"Step {self._name(body.step)} was recorded with nobody signed in."
            findings.note("operator_not_qualified", message, record.seq, step=body.step)
        if body.action in (StepAction.START, StepAction.REPEAT):
            self._start(record, body, times, findings, force)
        elif body.action is StepAction.SKIP:
            self._skip(record, body, findings)
        else:
            self._end(record, body, times, findings, force)

    def conclude(self, completed: bool, close_seq: int | None, provisional: str, findings: Findings) -> None:
        """What only the end shows. completed: the batch was closed as completed; provisional: added where a hole may
        explain it.
        """
        if not completed or close_seq is None:
            return
        seen = {run.step for run in self.runs}
        for step in self._recipe.steps:
            if not findings.check("missing_step", step.step in seen):
                message = f"Step {self._name(step.step)} was never started{provisional}."
                findings.note("missing_step", message, close_seq, step=step.step)
        for run in self.runs:
            if run.running:
                findings.check("missing_step", False)
                message = f"Step {self._name(run.step)} was started but never finished{provisional}."
                findings.note("missing_step", message, run.start_seq, close_seq, step=run.step)
                self._check_scans(run, (close_seq,), provisional, findings)

    def facts(self, times: UnitTimes, findings: Findings) -> tuple[StepFact, ...]:
        """Every run in stream order, then the steps that have not run."""
        seen = {run.step for run in self.runs}
        pending = [step for step in self._recipe.steps if step.step not in seen]
        return tuple(self._fact(run, times, findings) for run in self.runs) + tuple(map(self._pending, pending))

    def _start(self, record: Record, body: Step, times: UnitTimes, findings: Findings, force: _Force) -> None:
        earlier = [run for run in self.runs if run.step == body.step]
        repeated = bool(earlier) or body.action is StepAction.REPEAT
        if not findings.check("step_repeated", not repeated):
            message = f"Step {self._name(body.step)} was started again{_because(body.reason)}."
            findings.note(
                "step_repeated", message, *(run.start_seq for run in earlier[-1:]), record.seq, step=body.step
            )
        else:
            self._check_order(body, findings, force)
            self._check_hold(record, body, times, findings)
        for run in earlier:
            if run.running:  # its repetition replaces it
                self._replace(run, replace(run, state="aborted", end=moment_of(record), end_seq=record.seq))
        self._check_forced(record, body, findings, force)
        number, start = len(earlier) + 1, moment_of(record)
        reason = force.reason or body.reason
        run = StepRun(body.step, number, "running", start, record.seq, operator=record.operator, reason=reason)
        self.runs.append(replace(run, overruled=force.facts))

    def _skip(self, record: Record, body: Step, findings: Findings) -> None:
        findings.check("missing_step", False)
        message = f"Step {self._name(body.step)} was skipped{_because(body.reason)}."
        findings.note("missing_step", message, record.seq, step=body.step)
        number = sum(run.step == body.step for run in self.runs) + 1
        at = moment_of(record)
        self.runs.append(
            StepRun(body.step, number, "skipped", at, record.seq, at, record.seq, record.operator, body.reason)
        )

    def _end(self, record: Record, body: Step, times: UnitTimes, findings: Findings, force: _Force) -> None:
        run = next((run for run in reversed(self.runs) if run.step == body.step and run.running), None)
        aborted = body.action is StepAction.ABORT
        if aborted:
            findings.check("aborted_run", False)
            message = f"Step {self._name(body.step)} was aborted{_because(body.reason)}."
            findings.note("aborted_run", message, record.seq, step=body.step)
        if not findings.check("step_out_of_order", run is not None) or run is None:
            message = f"Step {self._name(body.step)} was ended by record {record.seq} without having been started."
            findings.note("step_out_of_order", message, record.seq, step=body.step)
            at = moment_of(record)
            run = StepRun(body.step, 1, "running", at, record.seq, operator=record.operator)
            self.runs.append(run)
        state, reason = "aborted" if aborted else "done", force.reason or body.reason or run.reason
        ended = replace(run, state=state, end=moment_of(record), end_seq=record.seq, reason=reason)
        ended = replace(ended, overruled=run.overruled + force.facts)
        self._replace(run, ended)
        if not aborted:
            self._check_scans(run, (*force.evidence, record.seq), force.finished, findings)
            self._check_forced(record, body, findings, force)
        self._check_duration(ended, times, findings)

    def _check_order(self, body: Step, findings: Findings, force: _Force) -> None:
        place = self._order.get(body.step)
        if place is None:
            return
        over = {run.step for run in self.runs if not run.running}
        waiting = [step for step in self._recipe.steps[:place] if step.step not in over]
        if not findings.check("step_out_of_order", not waiting):
            earlier = listed([self._name(step.step) for step in waiting])
            message = f"Step {self._name(body.step)} was started before {earlier} had been finished{force.because}."
            findings.note("step_out_of_order", message, *force.evidence, step=body.step)

    def _check_forced(self, record: Record, body: Step, findings: Findings, force: _Force) -> None:
        if not findings.check("forced_step", not force.because):
            what = "start" if body.action is StepAction.START else "end"
            who = record.operator or "Somebody not signed in"
            message = f"{who} forced the {what} of step {self._name(body.step)} against the unit{force.because}."
            findings.note("forced_step", message, *force.evidence, step=body.step)

    def _check_scans(self, run: StepRun, seqs: tuple[int, ...], words: str, findings: Findings) -> None:
        step = self._recipe.step(run.step)
        for item in step.items if step else ():
            if not findings.check("missing_scan", item in run.scanned):
                known = self._recipe.item(item)
                name = known.name if known else item
                message = f"{name} was not scanned in step {self._name(run.step)}{words}."
                findings.note("missing_scan", message, run.start_seq, *seqs, step=run.step)

    def _check_duration(self, run: StepRun, times: UnitTimes, findings: Findings) -> None:
        step = self._recipe.step(run.step)
        if step is not None and step.max_duration_ms is not None and run.end is not None and run.end_seq is not None:
            span = _Span(f"Step {self._name(run.step)}", run.start, run.start_seq, run.end, run.end_seq)
            _check_time(span, run.step, step.max_duration_ms, times, findings)

    def _check_hold(self, record: Record, body: Step, times: UnitTimes, findings: Findings) -> None:
        place = self._order.get(body.step, 0)
        step = self._recipe.step(body.step)
        if place == 0 or step is None or step.max_hold_ms is None:
            return
        before = self._recipe.steps[place - 1].step
        run = next((run for run in reversed(self.runs) if run.step == before and run.state == "done"), None)
        if run is not None and run.end is not None and run.end_seq is not None:
            what = f"The wait between {self._name(before)} and {self._name(body.step)}"
            span = _Span(what, run.end, run.end_seq, moment_of(record), record.seq)
            _check_time(span, body.step, step.max_hold_ms, times, findings)

    def _replace(self, old: StepRun, new: StepRun) -> None:
        self.runs[self.runs.index(old)] = new

    def _name(self, step: str) -> str:
        known = self._recipe.step(step)
        return known.name if known else f"'{step}'"

    def _fact(self, run: StepRun, times: UnitTimes, findings: Findings) -> StepFact:
        known = self._recipe.step(run.step)
        expected = known.items if known else ()
        elapsed = None if run.end is None else times.elapsed(run.start, run.end)
        seqs = (run.start_seq,) if run.end_seq in (None, run.start_seq) else (run.start_seq, run.end_seq)
        return StepFact(
            run.step,
            known.name if known else run.step,
            self._order.get(run.step, -1) + 1,
            run.run,
            run.state,
            times.wall_ms(run.start),
            None if run.end is None else times.wall_ms(run.end),
            None if elapsed is None else (elapsed.least_ms + elapsed.most_ms) // 2,
            run.operator,
            run.reason,
            expected,
            () if run.state == "skipped" else tuple(item for item in expected if item not in run.scanned),
            tuple(findings.reference(seq) for seq in seqs if seq is not None),
            run.overruled,
        )

    def _pending(self, step: RecipeStep) -> StepFact:
        order = self._order[step.step] + 1
        nothing = (None, None, None, None, None)
        return StepFact(step.step, step.name, order, 0, "pending", *nothing, step.items, step.items, ())


@dataclass(frozen=True)
class _Force:
    """Whether, by whom and why a start or an end was forced. because: goes on from a sentence; "" when it was not."""

    reason: str | None
    because: str
    evidence: tuple[int, ...]  # the refused command, the override, the step
    facts: tuple[OverrideFact, ...]

    @classmethod
    def of(cls, record: Record, body: Step, overruling: Overruling | None) -> _Force:
        if overruling is not None:
            fact = overruling.fact
            because = f'; overruled by {fact.first}, with {fact.second} as second person, reason given: "{fact.reason}"'
            return cls(fact.reason, because, (*overruling.evidence, record.seq), (fact,))
        forced = body.action in (StepAction.START, StepAction.DONE)
        return cls(None, _because(body.reason) if forced else "", (record.seq,), ())

    @property
    def finished(self) -> str:
        """Goes on from a sentence about the end of a step."""
        return f"; the step was finished by force{self.because.replace(';', ',', 1)}" if self.because else ""


@dataclass(frozen=True)
class _Span:
    """A stretch of the run whose length is limited; what: how a sentence calls it."""

    what: str
    start: Moment
    start_seq: int
    end: Moment
    end_seq: int


def _check_time(span: _Span, step: str, limit_ms: int, times: UnitTimes, findings: Findings) -> None:
    """Longer than the limit, or not shown to be within it, is an exception (R39: an uncertain boundary is no pass)."""
    elapsed = times.elapsed(span.start, span.end)
    if findings.check("time_limit_exceeded", elapsed is not None and elapsed.most_ms <= limit_ms):
        return
    if elapsed is None:
        took = "took a time that no clock can show"
    elif elapsed.least_ms > limit_ms:
        took = f"took {duration(elapsed.least_ms)}"
    else:
        took = f"may have taken {duration(elapsed.most_ms)}"
    message = f"{span.what} {took}; the limit is {duration(limit_ms)}."
    findings.note("time_limit_exceeded", message, span.start_seq, span.end_seq, step=step)


def _because(reason: str | None) -> str:
    return f'; reason given: "{reason}"' if reason else ""
