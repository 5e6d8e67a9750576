"""Sensor samples of a batch as series for a chart. Separate from the report, which stays small.

Decides which samples a thinned chart keeps: the extremes of each stretch and everything marked. Judges nothing; limits
and excursions come from the recipe and the report. Times are the record's time carried along uptime, as wire/SPEC.md
section 6 has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from cloud.domain.recipe import Recipe
from cloud.domain.report import LimitBand, Report, SampleSeries
from cloud.domain.words import decimal_text
from wire import Channel, Channels, Record, Samples

MAX_POINTS = 4_000  # per channel: more than a screen has columns


@dataclass
class _Columns:
    channel: Channel
    times_ms: list[int] = field(default_factory=list)
    values: list[int | None] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)


def sample_series(
    records: Iterable[Record], recipe: Recipe, report: Report, max_points: int = MAX_POINTS
) -> tuple[SampleSeries, ...]:
    """The series of each channel. records: the batch's records in stream order, and the channels records they refer to.

    Samples of a boot without any clock have no place on a time axis and are left out, as are samples whose channels are
    not described. A channel whose definition changes its exponent or unit begins a new series.
    """
    kept = list(records)
    clocks = _clocks(kept)
    definitions = {record.seq: record.body for record in kept if isinstance(record.body, Channels)}
    columns: dict[tuple[str, str, int], _Columns] = {}
    for record in kept:
        if isinstance(record.body, Samples):
            _append(columns, record, record.body, definitions.get(record.body.channels_seq), clocks)
    return tuple(_series(column, recipe, report, max_points) for _, column in sorted(columns.items()))


def _clocks(kept: Sequence[Record]) -> dict[int, int]:
    """By boot, the time minus uptime with the least uncertainty."""
    fixes: dict[int, tuple[int, int, int]] = {}
    for record in kept:
        if record.time_ms is not None and record.uncertainty_ms is not None:
            fix = (record.uncertainty_ms, record.seq, record.time_ms - record.uptime_ms)
            fixes[record.boot] = min(fix, fixes.get(record.boot, fix))
    return {boot: fix[2] for boot, fix in fixes.items()}


def _append(
    columns: dict[tuple[str, str, int], _Columns],
    record: Record,
    body: Samples,
    definition: Channels | None,
    clocks: dict[int, int],
) -> None:
    offset_ms = clocks.get(record.boot) if record.time_ms is None else record.time_ms - record.uptime_ms
    if definition is None or offset_ms is None or len(definition.channels) != len(body.series):
        return
    start_ms = offset_ms + body.start_ms
    for channel, samples in zip(definition.channels, body.series, strict=True):
        column = columns.setdefault((channel.name, channel.unit, channel.exponent), _Columns(channel))
        column.times_ms += [start_ms + index * body.interval_ms for index in range(len(samples))]
        column.values += [sample.value for sample in samples]
        column.marks += [int(sample.mark or 0) for sample in samples]


def _series(column: _Columns, recipe: Recipe, report: Report, max_points: int) -> SampleSeries:
    channel, count = column.channel, len(column.values)
    chosen = range(count) if count <= max_points else _chosen(column, max_points)
    return SampleSeries(
        channel.name,
        channel.unit,
        channel.exponent,
        tuple(column.times_ms[index] for index in chosen),
        tuple(column.values[index] for index in chosen),
        tuple(column.marks[index] for index in chosen),
        _bands(channel, recipe),
        tuple(excursion for excursion in report.excursions if excursion.channel == channel.name),
        thinned=len(chosen) < count,
    )


def _chosen(column: _Columns, max_points: int) -> list[int]:
    """Of each of max_points / 2 stretches the lowest and the highest sample; and where a mark begins or ends."""
    count, stretches = len(column.values), max(1, max_points // 2)
    chosen = {0, count - 1}
    for number in range(stretches):
        stretch = range(number * count // stretches, (number + 1) * count // stretches)
        valued = [(value, index) for index in stretch if (value := column.values[index]) is not None]
        if valued:
            chosen |= {min(valued)[1], max(valued)[1]}
    changes = [index for index in range(1, count) if column.marks[index] != column.marks[index - 1]]
    chosen |= {index for change in changes for index in (change - 1, change)}
    return sorted(chosen)


def _bands(channel: Channel, recipe: Recipe) -> tuple[LimitBand, ...]:
    bands = []
    for parameter in recipe.parameters:
        if parameter.channel == channel.name and parameter.unit == channel.unit:
            for band, low, high in (
                ("alert", parameter.alert_low, parameter.alert_high),
                ("action", parameter.action_low, parameter.action_high),
            ):
                if low is not None or high is not None:
                    texts = [None if limit is None else decimal_text(limit) for limit in (low, high)]
                    bands.append(LimitBand(band, *texts))
    return tuple(bands)
