"""How values are written in the sentences of a report: durations, times, numbers, raw scans. Decides nothing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Context, Decimal

EXACT = Context(prec=64)  # sums of any numbers that fit a record keep every digit
LAST_MS = 253_402_300_799_999  # the end of the year 9999: what a calendar can show


def duration(span_ms: int) -> str:
    """Milliseconds in the two largest units that fit: "2 h 5 min", "4 min 12 s", "0.4 s"."""
    if abs(span_ms) < 10_000 and span_ms % 1000:
        return f"{decimal_text(Decimal(span_ms).scaleb(-3))} s"
    seconds = span_ms // 1000
    for size, unit, small_size, small in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            rest = seconds % size // small_size
            return f"{seconds // size} {unit} {rest} {small}" if rest else f"{seconds // size} {unit}"
    return f"{seconds} s"


def told_apart(span_ms: int, limit_ms: int) -> tuple[str, str]:
    """Both durations in words; in thousandths of a second where fewer digits would make them look alike."""
    span, limit = duration(span_ms), duration(limit_ms)
    if span != limit or span_ms == limit_ms:
        return span, limit
    return f"{decimal_text(Decimal(span_ms).scaleb(-3))} s", f"{decimal_text(Decimal(limit_ms).scaleb(-3))} s"


def utc(time_ms: int | None) -> str:
    """A moment for reading: "2026-11-22 15:31:07 UTC", or what is known instead."""
    if time_ms is None:
        return "an unknown time"
    if not 0 <= time_ms <= LAST_MS:
        return f"{time_ms} ms after 1970"
    moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(milliseconds=time_ms)
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def decimal_text(number: Decimal) -> str:
    """A decimal number without exponent, with the digits it was given: 37.50 stays 37.50."""
    return format(number, "f")


def scaled(mantissa: int, exponent: int) -> Decimal:
    """mantissa times 10**exponent, exactly."""
    sign, digits = int(mantissa < 0), tuple(map(int, str(abs(mantissa))))
    return Decimal((sign, digits, exponent))


def raw_text(raw: bytes) -> str:
    """A scan as text: printable ASCII as it stands, everything else as <1D>."""
    return "".join(chr(byte) if 0x20 <= byte < 0x7F else f"<{byte:02X}>" for byte in raw)


def records(first: int, last: int) -> str:
    """ "record 7" or "records 7 to 12"."""
    return f"record {first}" if first == last else f"records {first} to {last}"


def listed(names: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
