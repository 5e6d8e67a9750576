"""Sensor curves as the chart script takes them: points, gaps, limits and excursions of each channel.

Interpolates nothing (R56): where no value is, the line is broken and the gap is named. Times are milliseconds since
1970.
"""

from collections.abc import Sequence
from typing import Any

from cloud.domain.report import ExcursionFact, SampleSeries
from cloud.web.words import MARK_WORDS, duration, unit_symbol, visible
from wire.samples import Mark

GAP_INTERVALS = 3  # this many usual intervals without a sample are a gap: a late sample is none
Gap = dict[str, Any]


def curves(series: Sequence[SampleSeries]) -> dict[str, Any]:
    """What batches/<batch>/series.json answers. Channels without any sample are left out."""
    return {"channels": [curve(each) for each in series if each.times_ms]}


def curve(series: SampleSeries) -> dict[str, Any]:
    """One channel. times_ms and values have one length, null breaks the line; words say it for who cannot see it."""
    times_ms, values, gaps = broken_at_gaps(series)
    scale = 10.0**series.exponent
    digits = max(0, -series.exponent)
    return {
        "name": visible(series.channel),
        "unit": unit_symbol(series.unit),
        "digits": digits,
        "times_ms": times_ms,
        "values": [None if value is None else round(value * scale, digits) for value in values],
        "gaps": gaps,
        "limits": [{"band": band.band, "low": _number(band.low), "high": _number(band.high)} for band in series.bands],
        "excursions": [_excursion(each) for each in series.excursions if each.start_ms is not None],
        "thinned": series.thinned,
        "words": summary(series, gaps),
    }


def broken_at_gaps(series: SampleSeries) -> tuple[list[int], list[int | None], list[Gap]]:
    """The points with a null inside each gap, and the gaps: from the last value before to the first value after."""
    longest_ms = GAP_INTERVALS * usual_interval_ms(series)
    times_ms: list[int] = []
    values: list[int | None] = []
    gaps: list[Gap] = []
    valued_ms: int | None = None  # when the last value was
    why: set[str] = set()
    for time_ms, value, mark in zip(series.times_ms, series.values, series.marks, strict=True):
        if value is None:
            why.add(MARK_WORDS[Mark(mark)] if mark else "missing")
            if values and values[-1] is not None:
                times_ms.append(time_ms)
                values.append(None)
            valued_ms = time_ms if valued_ms is None else valued_ms
            continue
        if valued_ms is not None and (why or time_ms - valued_ms > longest_ms):
            gaps.append({"from_ms": valued_ms, "until_ms": time_ms, "why": ", ".join(sorted(why)) or "no records"})
            if values and values[-1] is not None:
                times_ms.append(valued_ms + 1)
                values.append(None)
        times_ms.append(time_ms)
        values.append(value)
        valued_ms, why = time_ms, set()
    if why and valued_ms is not None:
        gaps.append({"from_ms": valued_ms, "until_ms": series.times_ms[-1], "why": ", ".join(sorted(why))})
    return times_ms, values, gaps


def usual_interval_ms(series: SampleSeries) -> int:
    """The usual distance between samples.

    A thinned curve keeps two points of each stretch: there, the wider ones count.
    """
    distances = sorted(after - before for before, after in zip(series.times_ms, series.times_ms[1:], strict=False))
    place = len(distances) * 19 // 20 if series.thinned else len(distances) // 2
    return distances[place] if distances else 0


def summary(series: SampleSeries, gaps: Sequence[Gap]) -> str:
    """Limits, excursions and gaps in words."""
    symbol = unit_symbol(series.unit)
    limits = [
        f"{band.band} limits {band.low or 'none'} to {band.high or 'none'} {symbol}".strip() for band in series.bands
    ]
    silent_ms = sum(gap["until_ms"] - gap["from_ms"] for gap in gaps)
    gap_words = f"{_count(len(gaps), 'gap')}, together {duration(silent_ms)}" if gaps else "no gap"
    excursion_words = _count(len(series.excursions), "excursion") if series.excursions else "no excursion"
    thinned = ["drawn thinned: extremes and marks kept"] if series.thinned else []
    return "; ".join([*(limits or ["no limit in the recipe"]), excursion_words, gap_words, *thinned])


def _count(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _number(text: str | None) -> float | None:
    return None if text is None else float(text)


def _excursion(fact: ExcursionFact) -> dict[str, Any]:
    return {"from_ms": fact.start_ms, "until_ms": fact.end_ms, "band": fact.band, "side": fact.side}
