"""Watches one parameter while it is required: when it left its limits, when nothing usable was measured, when its
sensor was at fault.

Decides nothing about severity and names no exception: sensors.py does, at the end, when the clocks of all boots are
known. Never interpolates (R56): each sample stands for its own interval, and a missing sample for nothing. Sources:
wire/SPEC.md section 6, R55, R56.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from itertools import groupby
from typing import NamedTuple, cast

from cloud.domain.findings import Snapshot
from cloud.domain.recipe import Parameter
from cloud.domain.times import Moment
from cloud.domain.words import scaled
from wire import Mark, Record


class Band(NamedTuple):
    """One limit of a parameter."""

    band: str  # alert, action
    side: str  # low, high
    limit: Decimal


@dataclass(frozen=True)
class Excursion:
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
class FaultRun:
    """Neighbouring samples with one mark."""

    mark: Mark
    step: str
    start: Moment
    first: int
    last_uptime_ms: int
    interval_ms: int
    last: int
    samples: int


class Turn(NamedTuple):
    """From this moment on the parameter is required in step ("" for the whole batch), or not at all (None)."""

    at: Moment
    seq: int
    step: str | None


class Silence(NamedTuple):
    """Two neighbouring moments between which there was no usable sample."""

    start: Moment
    first: int
    end: Moment
    last: int
    step: str


class Window(NamedTuple):
    """A time in which the parameter was required, with how many usable samples it gave; silent: whether a silence too
    long lies in it.
    """

    start: Moment
    first: int
    end: Moment
    last: int
    step: str
    usable: int
    silent: bool


class Piece(NamedTuple):
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

    def cut(self, start: int, end: int) -> Piece:
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
        self.turns: list[Turn] = []  # changes of that which samples have not reached yet
        self.last_good: tuple[Moment, int] | None = None
        self.silences: list[Silence] = []
        self.windows: list[Window] = []  # those that have ended
        self._began: tuple[Moment, int] | None = None  # the window that has not
        self._usable = 0
        self._silences_before = 0
        self.open: dict[Band, Excursion] = {}
        self._bounds: dict[int, list[tuple[Band, int]]] = {}  # by exponent: the limits as integers of the channel
        self.closed: list[Excursion] = []
        self.faults: list[FaultRun] = []
        self.fault_open = False  # whether the last fault run may go on with the next sample

    def turn(self, at: Moment, seq: int, step: str | None) -> None:
        """The parameter is required in step from here on. Samples taken before may still follow: they are recorded
        later.
        """
        if (self.turns[-1].step if self.turns else self.required) != step:
            self.turns.append(Turn(at, seq, step))

    def read(self, piece: Piece) -> None:
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
        self._apply(Turn(at, seq, None))

    def _apply(self, turn: Turn) -> None:
        if self.required is not None and self._began is not None:
            if self._usable:
                self._silent_until(turn.at, turn.seq)
            silent = len(self.silences) > self._silences_before
            self.windows.append(Window(*self._began, turn.at, turn.seq, self.required, self._usable, silent))
        self._end_all()
        self.required = turn.step
        self.last_good = self._began = None if turn.step is None else (turn.at, turn.seq)
        self._usable, self._silences_before = 0, len(self.silences)

    def _end_all(self) -> None:
        self.closed += self.open.values()
        self.open = {}
        self.fault_open = False

    def _judge(self, piece: Piece, start: int, end: int) -> None:
        if start >= end or self.required is None:
            return
        part = piece.cut(start, end)
        self._judge_silence(part)
        numbers = part.numbers()
        self._usable += len(numbers)
        if numbers:
            self._judge_limits(part, min(numbers), max(numbers))
        if part.marks is None:
            self.fault_open = False
        else:
            self._judge_marks(part, part.marks)

    def _judge_silence(self, part: Piece) -> None:
        seq = part.record.seq
        spans = [(0, len(part.values) - 1)] if part.marks is None else _present_spans(part.values)
        for first, last in spans:
            moment = part.moment(first)
            if self.last_good is not None:
                self._silent_until(moment, seq)
            if part.interval_ms > self.parameter.max_gap_ms and last > first:
                self.silences.append(Silence(moment, seq, part.moment(last), seq, self.required or ""))
            self.last_good = (part.moment(last), seq)

    def _silent_until(self, end: Moment, seq: int) -> None:
        assert self.last_good is not None
        start, first = self.last_good
        if start.boot != end.boot or end.uptime_ms - start.uptime_ms > self.parameter.max_gap_ms:
            self.silences.append(Silence(start, first, end, seq, self.required or ""))
            self._end_all()

    def _judge_limits(self, part: Piece, lowest: int, highest: int) -> None:
        """lowest, highest: of the values; most pieces lie within every limit, and that is all there is to see."""
        bounds = self._bounds.get(part.exponent)
        if bounds is None:
            bounds = self._bounds[part.exponent] = [(band, _bound(band, part.exponent)) for band in self.bands]
        for band, bound in bounds:
            within = highest <= bound if band.side == "high" else lowest >= bound
            if not within or band in self.open:
                self._judge_band(part, band, bound)

    def _judge_band(self, part: Piece, band: Band, bound: int) -> None:
        high, position = band.side == "high", 0
        for value_beyond, group in groupby(part.values, lambda value: _is_beyond(value, bound, high)):
            numbers = list(group)
            if value_beyond:
                beyond = [scaled(number, part.exponent) for number in numbers if number is not None]
                self._beyond(part, position, beyond, band)
            elif value_beyond is False and band in self.open:
                self.closed.append(self.open.pop(band))
            position += len(numbers)

    def _beyond(self, part: Piece, first: int, numbers: list[Decimal], band: Band) -> None:
        pick = max if band.side == "high" else min
        peak, area = pick(numbers), sum((abs(number - band.limit) for number in numbers), Decimal(0)) * part.interval_ms
        seq, last_ms = part.record.seq, part.start_ms + (first + len(numbers) - 1) * part.interval_ms
        known = self.open.get(band)
        if known is None:
            start = part.moment(first)
            step = self.required or ""
            self.open[band] = Excursion(band, step, start, seq, last_ms, part.interval_ms, seq, peak, area)
        else:
            self.open[band] = replace(
                known,
                last_uptime_ms=last_ms,
                interval_ms=part.interval_ms,
                last=seq,
                peak=pick(known.peak, peak),
                area=known.area + area,
            )

    def _judge_marks(self, part: Piece, marks: Sequence[Mark | None]) -> None:
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
                    self.faults.append(FaultRun(mark, step, start, seq, last_ms, part.interval_ms, seq, count))
                self.fault_open = True
            position += count


def _is_beyond(value: int | None, bound: int, high: bool) -> bool | None:
    return None if value is None else (value > bound if high else value < bound)


def _bound(band: Band, exponent: int) -> int:
    """The limit as an integer of the channel: values above (below) it are beyond."""
    rounding = ROUND_FLOOR if band.side == "high" else ROUND_CEILING
    return int((band.limit.scaleb(-exponent)).to_integral_value(rounding))


def _index_at(uptime_ms: int, piece: Piece) -> int:
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
