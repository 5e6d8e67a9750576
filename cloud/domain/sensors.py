"""Sensor rules: were the required parameters measured often enough, by working sensors, and within their limits.

Decides parameter_excursion, sensor_gap, sensor_fault and calibration_expired from what watch.py saw of each parameter.
Within a boot time is uptime; across a restart only the clock with its uncertainty counts.
Sources: wire/SPEC.md section 6, R51 to R57.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal

from cloud.domain.findings import Findings, Snapshot
from cloud.domain.plan import BatchPlan
from cloud.domain.recipe import Parameter
from cloud.domain.report import ChannelFact, ExcursionFact
from cloud.domain.times import Moment, UnitTimes
from cloud.domain.watch import Excursion, ParameterWatch, Piece
from cloud.domain.words import EXACT, decimal_text, duration, records, scaled, told_apart, utc
from wire import Channel, Channels, Mark, Record, Samples
from wire.samples import plain_values

MARK_WORDS = {Mark.STUCK: "stuck", Mark.OUT_OF_RANGE: "out of its measuring range", Mark.FAULT: "faulty"}
MINUTE_MS = 60_000
SPARSE = 2  # one sample in so many of those expected is enough to say no more


class _Summary(Snapshot):
    """What was seen of a channel, as integers of its exponent."""

    def __init__(self, channel: Channel, defined_by: int) -> None:
        self.channel = channel
        self.defined_by = defined_by  # the channels record seen last
        self.samples = 0
        self.faulty = 0
        self.minimum: int | None = None
        self.maximum: int | None = None

    def add(self, piece: Piece) -> None:
        """Count these samples in."""
        numbers = piece.numbers()
        self.samples += len(numbers)
        self.faulty += sum(mark is not None for mark in piece.marks or ())
        if numbers:
            lowest, highest = min(numbers), max(numbers)
            self.minimum = lowest if self.minimum is None else min(self.minimum, lowest)
            self.maximum = highest if self.maximum is None else max(self.maximum, highest)


class Sensors(Snapshot):
    """Brings samples, channel definitions and steps together."""

    def __init__(self, plan: BatchPlan, definition: Callable[[int], Channels | None]) -> None:
        self._watches = [ParameterWatch(parameter) for parameter in plan.recipe.parameters]
        self._definition = definition
        self._summaries: list[_Summary] = []
        self._undefined: list[tuple[int, int]] = []
        self._overdue: set[tuple[int, str]] = set()
        self._boot: int | None = None

    def steps(self, at: Moment, seq: int, active: Sequence[str]) -> None:
        """The active steps changed; the latest first."""
        for watch in self._watches:
            wanted = watch.parameter.steps
            step = next((step for step in active if step in wanted), None) if wanted else ""
            watch.turn(at, seq, step)

    def samples(self, record: Record, body: Samples, findings: Findings) -> None:
        """The next sensor batch in stream order."""
        if self._boot != record.boot:
            self._boot = record.boot
            for watch in self._watches:
                watch.restart()
        channels = self._definition(body.channels_seq)
        fits = channels is not None and len(channels.channels) == len(body.series)
        if not findings.check("sensor_fault", fits) or channels is None:
            self._undefined.append((record.seq, body.channels_seq))
            return
        for index, channel in enumerate(channels.channels):
            values: Sequence[int | None] | None = plain_values(body.series, index)
            marks = None
            if values is None:
                values = [sample.value for sample in body.series[index]]
                marks = [sample.mark for sample in body.series[index]]
            piece = Piece(record, body.start_ms, body.interval_ms, values, marks, channel.exponent)
            self._summary(channel, body.channels_seq).add(piece)
            self._check_calibration(record, channel, body.channels_seq, findings)
            for watch in self._watches:
                if watch.parameter.channel == channel.name and watch.parameter.unit == channel.unit:
                    watch.read(piece)

    def finish(self, at: Moment, seq: int) -> None:
        """The batch is closed."""
        for watch in self._watches:
            watch.finish(at, seq)

    def conclude(self, times: UnitTimes, provisional: str, findings: Findings) -> tuple[ExcursionFact, ...]:
        """Name excursions, silences and faults."""
        for first, last, definition in _runs(self._undefined):
            message = (
                f"The samples of {records(first, last)} cannot be read: record {definition} does not describe their"
                " channels here."
            )
            findings.note("sensor_fault", message, first, last)
        facts: list[ExcursionFact] = []
        for watch in self._watches:
            self._check_unit(watch.parameter, findings)
            facts += _note_excursions(watch, times, findings)
            _note_silences(watch, times, provisional, findings)
            _note_sparse(watch, times, provisional, findings)
            _note_faults(watch, times, findings)
        return tuple(facts)

    def facts(self, findings: Findings) -> tuple[ChannelFact, ...]:
        """A summary of each channel, by name; one that was described anew in another unit or exponent stands there
        twice.
        """
        return tuple(
            ChannelFact(
                seen.channel.name,
                seen.channel.unit,
                seen.samples,
                seen.faulty,
                _text(seen.minimum, seen.channel),
                _text(seen.maximum, seen.channel),
                seen.channel.certificate,
                seen.channel.due_ms,
                findings.reference(seen.defined_by),
                seen.channel.sensor,
                seen.channel.calibrated_ms,
                None
                if seen.channel.offset is None
                else decimal_text(scaled(seen.channel.offset, seen.channel.exponent)),
            )
            for seen in sorted(
                self._summaries, key=lambda seen: (seen.channel.name, seen.channel.unit, seen.channel.exponent)
            )
        )

    def _summary(self, channel: Channel, defined_by: int) -> _Summary:
        kind = (channel.name, channel.unit, channel.exponent)
        for seen in self._summaries:
            if (seen.channel.name, seen.channel.unit, seen.channel.exponent) == kind:
                seen.channel, seen.defined_by = channel, defined_by
                return seen
        self._summaries.append(_Summary(channel, defined_by))
        return self._summaries[-1]

    def _check_calibration(self, record: Record, channel: Channel, defined_by: int, findings: Findings) -> None:
        if channel.due_ms is None or record.time_ms is None or (defined_by, channel.name) in self._overdue:
            return
        if not findings.check("calibration_expired", record.time_ms + (record.uncertainty_ms or 0) <= channel.due_ms):
            self._overdue.add((defined_by, channel.name))
            certificate = f" (certificate {channel.certificate})" if channel.certificate else ""
            message = (
                f"Channel {channel.name}{certificate} measured at {utc(record.time_ms)}, after its calibration was due"
                f" at {utc(channel.due_ms)}."
            )
            findings.note("calibration_expired", message, defined_by, record.seq)

    def _check_unit(self, parameter: Parameter, findings: Findings) -> None:
        for seen in self._summaries:
            if seen.channel.name != parameter.channel:
                continue
            if findings.check("sensor_fault", seen.channel.unit == parameter.unit):
                continue
            message = (
                f"{parameter.name} was measured in {seen.channel.unit}, but the recipe's limits are in"
                f" {parameter.unit}: it was not judged."
            )
            findings.note("sensor_fault", message, seen.defined_by)


def _note_excursions(watch: ParameterWatch, times: UnitTimes, findings: Findings) -> list[ExcursionFact]:
    parameter, facts = watch.parameter, []
    for excursion in [*watch.closed, *watch.open.values()]:
        if not findings.check("parameter_excursion", excursion.duration_ms <= parameter.delay_ms):
            lasting = excursion.band in watch.open and watch.open[excursion.band] is excursion
            fact = _excursion_fact(parameter, excursion, lasting, times, findings)
            facts.append(fact)
            side = "above" if fact.side == "high" else "below"
            end = ", and still is" if lasting else ""
            message = (
                f"{parameter.name} was {side} its {fact.band} limit of {fact.limit} {fact.unit} for"
                f" {duration(fact.duration_ms)} from"
                f" {utc(fact.start_ms)}{end}; at worst {fact.peak} {fact.unit}."
            )
            softened = fact.band == "alert"
            findings.note(
                "parameter_excursion", message, excursion.first, excursion.last, softened=softened, step=fact.step
            )
    if not facts:
        findings.check("parameter_excursion", True)
    return facts


def _excursion_fact(
    parameter: Parameter, excursion: Excursion, lasting: bool, times: UnitTimes, findings: Findings
) -> ExcursionFact:
    area = EXACT.quantize(EXACT.divide(excursion.area, Decimal(MINUTE_MS)), Decimal("0.001"))
    return ExcursionFact(
        parameter.channel,
        excursion.band.band,
        excursion.band.side,
        decimal_text(excursion.band.limit),
        parameter.unit,
        excursion.step or None,
        times.wall_ms(excursion.start),
        None if lasting else times.wall_ms(excursion.end),
        excursion.duration_ms,
        decimal_text(excursion.peak),
        decimal_text(area),
        tuple(findings.reference(seq) for seq in dict.fromkeys((excursion.first, excursion.last))),
    )


def _note_silences(watch: ParameterWatch, times: UnitTimes, provisional: str, findings: Findings) -> None:
    limit_ms, name = watch.parameter.max_gap_ms, watch.parameter.name
    for silence in watch.silences:
        elapsed = times.elapsed(silence.start, silence.end)
        limit = duration(limit_ms)
        if findings.check("sensor_gap", elapsed is not None and elapsed.most_ms <= limit_ms):
            continue
        if elapsed is None:
            span = "a time that no clock can show"
        else:
            span, limit = told_apart(elapsed.most_ms, limit_ms)
            if elapsed.least_ms != elapsed.most_ms:
                span = f"up to {span}"
        message = (
            f"{name} has no usable samples for {span} from {utc(times.wall_ms(silence.start))}; at most"
            f" {limit} are allowed{provisional}."
        )
        findings.note("sensor_gap", message, silence.first, silence.last, step=silence.step or None)
    findings.check("sensor_gap", True)


def _note_sparse(watch: ParameterWatch, times: UnitTimes, provisional: str, findings: Findings) -> None:
    """A required time without one usable sample, however short; and, minor, one with far fewer than the cadence says
    (R56, DECISIONS 40).
    """
    cadence_ms, name = watch.parameter.cadence_ms, watch.parameter.name
    for window in watch.windows:
        elapsed = times.elapsed(window.start, window.end)
        since = utc(times.wall_ms(window.start))
        expected = None if elapsed is None else elapsed.least_ms // cadence_ms
        if not window.usable:
            if not findings.check("sensor_gap", expected == 0):
                span = "a time that no clock can show" if elapsed is None else duration(elapsed.most_ms)
                message = f"{name} has no usable sample at all in the {span} from {since} in which it was required"
                findings.note(
                    "sensor_gap", message + provisional + ".", window.first, window.last, step=window.step or None
                )
        elif not window.silent and expected is not None:
            enough = window.usable * SPARSE >= expected
            if not findings.check("sensor_gap", enough):
                message = (
                    f"{name} has {window.usable} usable samples from {since}; about {expected} were due, one every"
                    f" {duration(cadence_ms)}{provisional}."
                )
                findings.note("sensor_gap", message, window.first, window.last, softened=True, step=window.step or None)


def _note_faults(watch: ParameterWatch, times: UnitTimes, findings: Findings) -> None:
    """A fault shorter than the allowed gap is minor: nothing is lost by leaving those samples out."""
    for run in watch.faults:
        span_ms = run.last_uptime_ms + run.interval_ms - run.start.uptime_ms
        findings.check("sensor_fault", False)
        message = (
            f"The sensor of {watch.parameter.name} was {MARK_WORDS[run.mark]} for {duration(span_ms)} from"
            f" {utc(times.wall_ms(run.start))} ({run.samples} samples)."
        )
        softened = span_ms <= watch.parameter.max_gap_ms
        findings.note("sensor_fault", message, run.first, run.last, softened=softened, step=run.step or None)


def _text(number: int | None, channel: Channel) -> str | None:
    return None if number is None else decimal_text(scaled(number, channel.exponent))


def _runs(marked: Iterable[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Neighbouring positions that share a definition, as (first, last, definition)."""
    runs: list[tuple[int, int, int]] = []
    for seq, definition in marked:
        if runs and runs[-1][2] == definition and runs[-1][1] < seq:
            runs[-1] = (runs[-1][0], seq, definition)
        else:
            runs.append((seq, seq, definition))
    return runs
