"""Sensor samples: one byte string of differences per channel, and marks for what is no good value (SPEC section 6).

Checks counts and marks when a record is decoded; turns the bytes into numbers only when somebody
asks for them, because custody needs the bytes and only the batch record needs the numbers.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from itertools import accumulate, chain
from typing import Any, NamedTuple, overload

from wire.shape import UINT, Field, Kind, MapShape, array, integer, octets, wrong_shape

MAX_COUNT = 60  # SPEC W33
MAX_CHANNELS = 8
MAX_NUMBER_BYTES = 8  # SPEC W30: 56 bits per difference, so that 60 of them stay within 64 bits
# What shortest LEB128 never holds: a number that ends in zero, is cut off, or is too long.
_BAD_NUMBER = re.compile(rb"[\x80-\xff](?:\x00|\Z|[\x80-\xff]{%d})" % (MAX_NUMBER_BYTES - 1))
_CONTINUED = bytes(range(0x80, 0x100))
_SMALL = [(byte >> 1) ^ -(byte & 1) for byte in range(0x80)]  # what a number of one byte stands for


class Mark(IntEnum):
    """Why a sample is missing or not to be trusted (W31)."""

    MISSING = 1
    STUCK = 2
    OUT_OF_RANGE = 3
    FAULT = 4


class Sample(NamedTuple):
    """value: scaled by the channel's exponent, None when missing or fault; mark: None when good."""

    value: int | None
    mark: Mark | None = None


_VALUELESS = (Mark.MISSING, Mark.FAULT)
Series = Sequence[tuple[Sample, ...]]


class Span(NamedTuple):
    """Samples first..first+length-1 of one channel carry mark."""

    channel: int
    first: int
    length: int
    mark: Mark


class Columns(Series):
    """One tuple of samples per channel, unpacked from the record's bytes at the first look."""

    def __init__(self, columns: tuple[bytes, ...], spans: tuple[Span, ...], count: int) -> None:
        self._columns = columns
        self._spans = spans
        self._count = count

    @cached_property
    def _channels(self) -> tuple[tuple[Sample, ...], ...]:
        return tuple(self._channel(index) for index in range(len(self._columns)))

    def _channel(self, index: int) -> tuple[Sample, ...]:
        marks: dict[int, Mark] = {}
        for span in self._spans:
            if span.channel == index:
                marks.update(dict.fromkeys(range(span.first, span.first + span.length), span.mark))
        values = iter(unpack_column(self._columns[index]))
        if not marks:
            return tuple(map(Sample, values))
        chosen = (marks.get(position) for position in range(self._count))
        return tuple(Sample(None if mark in _VALUELESS else next(values), mark) for mark in chosen)

    def plain_values(self, index: int) -> list[int] | None:
        """See the function of this name."""
        marked = any(span.channel == index for span in self._spans)
        return None if marked else unpack_column(self._columns[index])

    @overload
    def __getitem__(self, index: int) -> tuple[Sample, ...]: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[tuple[Sample, ...], ...]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return self._channels[index]

    def __len__(self) -> int:
        return len(self._columns)

    def __iter__(self) -> Iterator[tuple[Sample, ...]]:
        return iter(self._channels)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._channels == tuple(other)

    def __hash__(self) -> int:
        return hash(self._channels)

    def __repr__(self) -> str:
        return repr(self._channels)


@dataclass(frozen=True)
class Samples:
    """A sensor batch of 1..60 samples per channel.

    channels_seq: seq of the channels record in force; start_ms: uptime of the first sample;
    interval_ms between samples; series: per channel one tuple of count samples.
    """

    channels_seq: int
    start_ms: int
    interval_ms: int
    count: int
    series: Series


def pack_column(values: Sequence[int]) -> bytes:
    """values as first value then differences, zigzag, LEB128 (W30)."""
    packed = bytearray()
    previous = 0
    for value in values:
        change = value - previous
        number = change << 1 if change >= 0 else (-change << 1) - 1
        while number >= 0x80:
            packed.append(number & 0x7F | 0x80)
            number >>= 7
        packed.append(number)
        previous = value
    return bytes(packed)


def plain_values(series: Series, index: int) -> list[int] | None:
    """The values of one channel when none of its samples carries a mark, else None: much cheaper than its samples."""
    if isinstance(series, Columns):
        return series.plain_values(index)
    values = [sample.value for sample in series[index] if sample.mark is None and sample.value is not None]
    return values if len(values) == len(series[index]) else None


def unpack_column(column: bytes) -> list[int]:
    """The values of a column that was checked (W30)."""
    rest = column.lstrip(_CONTINUED)[1:]
    if not rest.isascii():
        return list(accumulate(_unzigzag(column)))
    # The usual case: behind the first value, every difference fits one byte.
    return list(accumulate(chain(_unzigzag(column[: len(column) - len(rest)]), map(_SMALL.__getitem__, rest))))


def _unzigzag(column: bytes) -> list[int]:
    """The numbers of a column, positive and negative."""
    numbers: list[int] = []
    number = shift = 0
    for byte in column:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            numbers.append(number)
            number = shift = 0
    return [(number >> 1) ^ -(number & 1) for number in numbers]


def _build(
    channels_seq: int, start_ms: int, interval_ms: int, count: int, columns: tuple[bytes, ...], marks: Any
) -> Samples:
    spans: tuple[Span, ...] = marks or ()
    _check_spans(spans, len(columns), count)
    expected = [count] * len(columns)
    for span in spans:
        if span.mark in _VALUELESS:
            expected[span.channel] -= span.length
    for index, column in enumerate(columns):
        _check_column(index, column, expected[index])
    return Samples(channels_seq, start_ms, interval_ms, count, Columns(columns, spans, count))


def _check_column(index: int, column: bytes, expected: int) -> None:
    """expected numbers in shortest LEB128 and nothing else (W30, W32)."""
    if _BAD_NUMBER.search(column):
        raise wrong_shape(f"channel {index} is no shortest LEB128 of at most {MAX_NUMBER_BYTES} bytes each (W30)")
    held = len(column.translate(None, _CONTINUED))  # each number ends in one byte below 0x80
    if held != expected:
        raise wrong_shape(f"channel {index} has {held} values, count and marks say {expected} (W32)")


def _check_spans(spans: tuple[Span, ...], channels: int, count: int) -> None:
    """Sorted, inside the batch, not overlapping (W31)."""
    free_from = (0, 0)
    for span in spans:
        if (span.channel, span.first) < free_from:
            raise wrong_shape("marks are not sorted by channel and first, or overlap (W31)")
        if span.channel >= channels or span.first + span.length > count:
            raise wrong_shape("a mark lies outside the samples (W31)")
        free_from = (span.channel, span.first + span.length)


def _read_span(value: Any) -> Span:
    if type(value) is not list or len(value) != 4:
        raise wrong_shape("a mark is [channel, first, count, mark] (W31)")
    if any(type(part) is not int for part in value) or min(value[0], value[1]) < 0 or value[2] < 1:
        raise wrong_shape("a mark is four integers, its count at least 1 (W31)")
    if value[3] not in tuple(Mark):
        raise wrong_shape("a mark is 1 missing, 2 stuck, 3 out of range or 4 fault (W31)")
    return Span(value[0], value[1], value[2], Mark(value[3]))


_COLUMNS = array(octets(0, MAX_COUNT * MAX_NUMBER_BYTES), 1, MAX_CHANNELS)
_MARKS = array(Kind(_read_span, list), 1, MAX_CHANNELS * MAX_COUNT)


class SamplesShape(MapShape[Samples]):
    """The body of type 9; on the wire columns and marks, here one series."""

    def __init__(self) -> None:
        super().__init__(
            _build,
            Field(1, "channels_seq", UINT),
            Field(2, "start_ms", UINT),
            Field(3, "interval_ms", UINT),
            Field(4, "count", integer(1, MAX_COUNT)),
            Field(5, "columns", _COLUMNS),
            Field(6, "marks", _MARKS, required=False),
        )

    def write(self, thing: Samples) -> dict[int, Any]:
        values = [[sample.value for sample in channel if sample.value is not None] for channel in thing.series]
        body: dict[int, Any] = {1: thing.channels_seq, 2: thing.start_ms, 3: thing.interval_ms, 4: thing.count}
        body[5] = [pack_column(channel) for channel in values]
        spans = [span for index, channel in enumerate(thing.series) for span in _spans_of(index, channel)]
        return body | ({6: [[*span[:3], int(span.mark)] for span in spans]} if spans else {})


def _spans_of(index: int, channel: Sequence[Sample]) -> list[Span]:
    """Equal neighbouring marks of one channel as spans."""
    spans: list[Span] = []
    for position, sample in enumerate(channel):
        if sample.mark is None:
            continue
        last = spans[-1] if spans else None
        if last and last.mark == sample.mark and last.first + last.length == position:
            spans[-1] = last._replace(length=last.length + 1)
        else:
            spans.append(Span(index, position, 1, sample.mark))
    return spans
