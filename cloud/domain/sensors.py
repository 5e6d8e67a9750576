"""Sensor rules: were the required parameters measured often enough, by working sensors, and within their limits.

Decides parameter_excursion, sensor_gap, sensor_fault, calibration_expired. Never interpolates (R56): each sample stands
for its own interval, and a missing sample for nothing. Within a boot time is uptime; across a restart only the clock
with its uncertainty counts. Sources: wire/SPEC.md section 6, R51 to R57.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from itertools import groupby
from typing import NamedTuple, cast

from cloud.domain.findings import Findings, Snapshot
from cloud.domain.plan import BatchPlan
from cloud.domain.recipe import Parameter
from cloud.domain.report import ChannelFact, ExcursionFact
from cloud.domain.times import Moment, UnitTimes
from cloud.domain.words import EXACT, decimal_text, duration, records, scaled, utc
from wire import Channel, Channels, Mark, Record, Samples
from wire.samples import plain_values

MARK_WORDS = {Mark.STUCK: "stuck", Mark.OUT_OF_RANGE: "out of its measuring range", Mark.FAULT: "faulty"}
MINUTE_MS = 60_000


class Band(NamedTuple):
    """One limit of a parameter."""

    band: str  # alert, action
    side: str  # low, high
    limit: Decimal


@dataclass(frozen=True)
class _Excursion:
    """Samples beyond one limit; area in unit times ms."""

    band: Band
    step: str
    start: Moment
    first: int
    last_uptime_ms: int
    interval_ms: int
    last: int
    peak: Decimal
    area: Decimal

    @property
    def duration_ms(self) -> int:
        return self.last_uptime_ms + self.interval_ms - self.start.uptime_ms

    @property
    def end(self) -> Moment:
        return _later(self.start, self.last_uptime_ms + self.interval_ms)


@dataclass(frozen=True)
class _FaultRun:
    """Neighbouring samples with one mark."""

    mark: Mark
    step: str
    start: Moment
    first: int
    last_uptime_ms: int
    interval_ms: int
    last: int
    samples: int


class _Turn(NamedTuple):
    """From this moment on the parameter is required in step ("" for the whole batch), or not at all (None)."""

    at: Moment
    seq: int
    step: str | None


class _Silence(NamedTuple):
    """Two neighbouring moments between which there was no usable sample."""

    start: Moment
    first: int
    end: Moment
    last: int
    step: str


class _Piece(NamedTuple):
    """Some neighbouring samples of one channel from one record. marks: None when there are none, and then every value
    is there.
    """

    record: Record
    start_ms: int
    interval_ms: int
    values: Sequence[int | None]
    marks: Sequence[Mark | None] | None
    exponent: int

    def numbers(self) -> Sequence[int]:
        """The values that are there."""
        if self.marks is None:
            return cast("Sequence[int]", self.values)
        return [value for value in self.values if value is not None]

    def cut(self, start: int, end: int) -> _Piece:
        """Samples start up to end."""
        if end - start == len(self.values):
            return self
        marks = None if self.marks is None else self.marks[start:end]
        first_ms = self.start_ms + start * self.interval_ms
        return self._replace(start_ms=first_ms, values=self.values[start:end], marks=marks)

    def moment(self, index: int) -> Moment:
        return _later(
            Moment(self.record.boot, self.record.uptime_ms, self.record.time_ms, self.record.uncertainty_ms),
            self.start_ms + index * self.interval_ms,
        )


class ParameterWatch(Snapshot):
    """Judges one parameter while it is required; reads its channel in stream order."""

    def __init__(self, parameter: Parameter) -> None:
        self.parameter = parameter
        p = parameter
        limits = [("alert", "low", p.alert_low), ("alert", "high", p.alert_high)]
        limits += [("action", "low", p.action_low), ("action", "high", p.action_high)]
        self.bands = [Band(band, side, limit) for band, side, limit in limits if limit is not None]
        self.required: str | None = None  # step in which it is required now, as far as samples have come
        self.turns: list[_Turn] = []  # changes of that which samples have not reached yet
        self.last_good: tuple[Moment, int] | None = None
        self.silences: list[_Silence] = []
        self.open: dict[Band, _Excursion] = {}
        self._bounds: dict[int, list[tuple[Band, int]]] = {}  # by exponent: the limits as integers of the channel
        self.closed: list[_Excursion] = []
        self.faults: list[_FaultRun] = []
        self.fault_open = False  # whether the last fault run may go on with the next sample

    def turn(self, at: Moment, seq: int, step: str | None) -> None:
        """The parameter is required in step from here on. Samples taken before may still follow: they are recorded
        later.
        """
        if (self.turns[-1].step if self.turns else self.required) != step:
            self.turns.append(_Turn(at, seq, step))

    def read(self, piece: _Piece) -> None:
        """The next samples, cut where the requirement changes."""
        position, count = 0, len(piece.values)
        while self.turns and self.turns[0].at.boot <= piece.record.boot:
            turn = self.turns[0]
            reached = 0 if turn.at.boot < piece.record.boot else _index_at(turn.at.uptime_ms, piece)
            if reached >= count:
                break
            self._judge(piece, position, max(position, reached))
            position = max(position, reached)
            self._apply(self.turns.pop(0))
        self._judge(piece, position, count)

    def restart(self) -> None:
        """A new boot: nothing is known to have lasted across it."""
        self._end_all()

    def finish(self, at: Moment, seq: int) -> None:
        """The batch is closed: no samples follow."""
        for turn in self.turns:
            self._apply(turn)
        self.turns = []
        self._apply(_Turn(at, seq, None))

    def _apply(self, turn: _Turn) -> None:
        if self.required is not None and self.last_good is not None:
            self._silent_until(turn.at, turn.seq)
        self._end_all()
        self.required = turn.step
        self.last_good = None if turn.step is None else (turn.at, turn.seq)

    def _end_all(self) -> None:
        self.closed += self.open.values()
        self.open = {}
        self.fault_open = False

    def _judge(self, piece: _Piece, start: int, end: int) -> None:
        if start >= end or self.required is None:
            return
        part = piece.cut(start, end)
        self._judge_silence(part)
        numbers = part.numbers()
        if numbers:
            self._judge_limits(part, min(numbers), max(numbers))
        if part.marks is None:
            self.fault_open = False
        else:
            self._judge_marks(part, part.marks)

    def _judge_silence(self, part: _Piece) -> None:
        seq = part.record.seq
        spans = [(0, len(part.values) - 1)] if part.marks is None else _present_spans(part.values)
        for first, last in spans:
            moment = part.moment(first)
            if self.last_good is not None:
                self._silent_until(moment, seq)
            if part.interval_ms > self.parameter.max_gap_ms and last > first:
                self.silences.append(_Silence(moment, seq, part.moment(last), seq, self.required or ""))
            self.last_good = (part.moment(last), seq)

    def _silent_until(self, end: Moment, seq: int) -> None:
        assert self.last_good is not None
        start, first = self.last_good
        if start.boot != end.boot or end.uptime_ms - start.uptime_ms > self.parameter.max_gap_ms:
            self.silences.append(_Silence(start, first, end, seq, self.required or ""))
            self._end_all()

    def _judge_limits(self, part: _Piece, lowest: int, highest: int) -> None:
        """lowest, highest: of the values; most pieces lie within every limit, and that is all there is to see."""
        bounds = self._bounds.get(part.exponent)
        if bounds is None:
            bounds = self._bounds[part.exponent] = [(band, _bound(band, part.exponent)) for band in self.bands]
        for band, bound in bounds:
            within = highest <= bound if band.side == "high" else lowest >= bound
            if not within or band in self.open:
                self._judge_band(part, band, bound)

    def _judge_band(self, part: _Piece, band: Band, bound: int) -> None:
        high, position = band.side == "high", 0
        for value_beyond, group in groupby(part.values, lambda value: _is_beyond(value, bound, high)):
            numbers = list(group)
            if value_beyond:
                beyond = [scaled(number, part.exponent) for number in numbers if number is not None]
                self._beyond(part, position, beyond, band)
            elif value_beyond is False and band in self.open:
                self.closed.append(self.open.pop(band))
            position += len(numbers)

    def _beyond(self, part: _Piece, first: int, numbers: list[Decimal], band: Band) -> None:
        pick = max if band.side == "high" else min
        peak, area = pick(numbers), sum((abs(number - band.limit) for number in numbers), Decimal(0)) * part.interval_ms
        seq, last_ms = part.record.seq, part.start_ms + (first + len(numbers) - 1) * part.interval_ms
        known = self.open.get(band)
        if known is None:
            start = part.moment(first)
            step = self.required or ""
            self.open[band] = _Excursion(band, step, start, seq, last_ms, part.interval_ms, seq, peak, area)
        else:
            self.open[band] = replace(
                known,
                last_uptime_ms=last_ms,
                interval_ms=part.interval_ms,
                last=seq,
                peak=pick(known.peak, peak),
                area=known.area + area,
            )

    def _judge_marks(self, part: _Piece, marks: Sequence[Mark | None]) -> None:
        position, seq = 0, part.record.seq
        for mark, group in groupby(marks):
            count = len(list(group))
            if mark is None or mark is Mark.MISSING:
                self.fault_open = False
            else:
                last_ms = part.start_ms + (position + count - 1) * part.interval_ms
                if self.fault_open and self.faults[-1].mark is mark:
                    run = self.faults[-1]
                    self.faults[-1] = replace(run, last_uptime_ms=last_ms, last=seq, samples=run.samples + count)
                else:
                    start, step = part.moment(position), self.required or ""
                    self.faults.append(_FaultRun(mark, step, start, seq, last_ms, part.interval_ms, seq, count))
                self.fault_open = True
            position += count


class _Summary(Snapshot):
    """What was seen of a channel, as integers of its exponent."""

    def __init__(self, channel: Channel, defined_by: int) -> None:
        self.channel = channel
        self.defined_by = defined_by  # the channels record seen last
        self.samples = 0
        self.faulty = 0
        self.minimum: int | None = None
        self.maximum: int | None = None

    def add(self, piece: _Piece) -> None:
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
            piece = _Piece(record, body.start_ms, body.interval_ms, values, marks, channel.exponent)
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
                None if seen.minimum is None else decimal_text(scaled(seen.minimum, seen.channel.exponent)),
                None if seen.maximum is None else decimal_text(scaled(seen.maximum, seen.channel.exponent)),
                seen.channel.certificate,
                seen.channel.due_ms,
                findings.reference(seen.defined_by),
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
    parameter: Parameter, excursion: _Excursion, lasting: bool, times: UnitTimes, findings: Findings
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
        if findings.check("sensor_gap", elapsed is not None and elapsed.most_ms <= limit_ms):
            continue
        if elapsed is None:
            span = "a time that no clock can show"
        else:
            exact = elapsed.least_ms == elapsed.most_ms
            span = duration(elapsed.most_ms) if exact else f"up to {duration(elapsed.most_ms)}"
        message = (
            f"{name} has no usable samples for {span} from {utc(times.wall_ms(silence.start))}; at most"
            f" {duration(limit_ms)} are"
            f" allowed{provisional}."
        )
        findings.note("sensor_gap", message, silence.first, silence.last, step=silence.step or None)
    findings.check("sensor_gap", True)


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


def _is_beyond(value: int | None, bound: int, high: bool) -> bool | None:
    return None if value is None else (value > bound if high else value < bound)


def _bound(band: Band, exponent: int) -> int:
    """The limit as an integer of the channel: values above (below) it are beyond."""
    rounding = ROUND_FLOOR if band.side == "high" else ROUND_CEILING
    return int((band.limit.scaleb(-exponent)).to_integral_value(rounding))


def _index_at(uptime_ms: int, piece: _Piece) -> int:
    """The first sample at or after uptime_ms."""
    if uptime_ms <= piece.start_ms:
        return 0
    if piece.interval_ms == 0:
        return len(piece.values)
    return -((piece.start_ms - uptime_ms) // piece.interval_ms)


def _later(moment: Moment, uptime_ms: int) -> Moment:
    """Another uptime of the same boot, with the same worth of its clock."""
    if moment.time_ms is None:
        return Moment(moment.boot, uptime_ms)
    return Moment(moment.boot, uptime_ms, moment.time_ms + uptime_ms - moment.uptime_ms, moment.uncertainty_ms)


def _present_spans(values: Sequence[int | None]) -> list[tuple[int, int]]:
    spans, position = [], 0
    for present, group in groupby(values, lambda value: value is not None):
        count = len(list(group))
        if present:
            spans.append((position, position + count - 1))
        position += count
    return spans


def _runs(marked: Iterable[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Neighbouring positions that share a definition, as (first, last, definition)."""
    runs: list[tuple[int, int, int]] = []
    for seq, definition in marked:
        if runs and runs[-1][2] == definition and runs[-1][1] < seq:
            runs[-1] = (runs[-1][0], seq, definition)
        else:
            runs.append((seq, seq, definition))
    return runs
