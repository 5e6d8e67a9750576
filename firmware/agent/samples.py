"""Sensor samples: packs one batch of readings into the body of a samples record.

Decides how values and marks are written, and when a batch is full. Never invents a value: what failed is marked.
Spec: wire/SPEC.md section 6 (W30..W33).
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Reading = tuple[int | None, int]  # value scaled by the channel's exponent, mark

MISSING, STUCK, OUT_OF_RANGE, FAULT = 1, 2, 3, 4  # marks (W31); 0 means none
SAMPLES_MAX = 60  # W33
PERIOD_MS = 60_000  # W33
BODY_BYTES_MAX = 720  # so that the longest envelope around it stays within the 1024 bytes of a record (W4)
VALUE_MAX = (1 << 54) - 1  # so that a difference of two fits the 8 bytes that a reader takes (W30)
_READING_BYTES_MAX = 8 + 8  # a difference, and a mark of its own


class SampleBatch:
    """Readings of all channels at a fixed interval, collected one by one.

    channels_seq: seq of the channels record in force. start_ms: uptime of the first sample. Not for use once full().
    """

    def __init__(self, channels_seq: int, start_ms: int, interval_ms: int, channel_count: int) -> None:
        self.channels_seq = channels_seq
        self.start_ms = start_ms
        self.interval_ms = interval_ms
        self.count = 0
        self._series = [bytearray() for _ in range(channel_count)]
        self._last = [0] * channel_count
        self._marks: "list[list[list[int]]]" = [[] for _ in range(channel_count)]  # by channel: [first, count, mark]

    def add(self, readings: "list[Reading]") -> None:
        """The readings of one moment, one (value, mark) per channel.

        A value that is None is missing when no mark says fault; a value with the mark missing or fault is not kept,
        and one beyond VALUE_MAX is a fault: no sensor measures that.
        """
        assert len(readings) == len(self._series)
        assert not self.full(self.start_ms)
        for channel, (value, mark) in enumerate(readings):
            if value is None and mark != FAULT:
                mark = MISSING
            if value is not None and not -VALUE_MAX <= value <= VALUE_MAX:
                mark = FAULT
            if mark:
                self._mark(channel, mark)
            if value is not None and mark not in (MISSING, FAULT):
                self._series[channel].extend(_leb128(_zigzag(value - self._last[channel])))
                self._last[channel] = value
        self.count += 1

    def full(self, now_ms: int) -> bool:
        """Whether the batch must be closed now: 60 samples, 60 s since start_ms, or no room for one more sample."""
        if self.count >= SAMPLES_MAX or (self.count and now_ms - self.start_ms >= PERIOD_MS):
            return True
        used = sum([len(series) for series in self._series]) + 8 * sum([len(marks) for marks in self._marks])
        return used + (_READING_BYTES_MAX + 2) * len(self._series) > BODY_BYTES_MAX - 40  # 40: keys and heads

    def body(self) -> "dict[int, Any]":
        """The body of a samples record. Only for a batch with at least one sample."""
        assert self.count
        body: "dict[int, Any]" = {1: self.channels_seq, 2: self.start_ms, 3: self.interval_ms, 4: self.count}
        body[5] = [bytes(series) for series in self._series]
        marks = []
        for channel, runs in enumerate(self._marks):
            for first, count, mark in runs:
                marks.append([channel, first, count, mark])
        if marks:
            body[6] = marks
        return body

    def _mark(self, channel: int, mark: int) -> None:
        runs = self._marks[channel]
        if runs and runs[-1][2] == mark and runs[-1][0] + runs[-1][1] == self.count:
            runs[-1][1] += 1
        else:
            runs.append([self.count, 1, mark])


def _zigzag(number: int) -> int:
    return 2 * number if number >= 0 else -2 * number - 1


def _leb128(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
