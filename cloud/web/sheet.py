"""How the facts of a report are laid out.

Which scans, the balance of materials, the rungs of custody. Decides nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cloud.domain.report import ChannelFact, CustodyFact, ExcursionFact, QuantityFact, Report, ScanFact
from cloud.web.verdicts import Mark
from wire.bodies import QuantityKind

KINDS = tuple(kind.name.lower() for kind in QuantityKind)
BALANCED = Mark("good", "good", "Balanced")
UNBALANCED = Mark("major", "major", "Not balanced")
UNDECIDED = Mark("calm", "waiting", "Not decided")


@dataclass(frozen=True)
class ChannelLine:
    """A channel's summary, with its excursions in words."""

    fact: ChannelFact
    excursions: str


@dataclass(frozen=True)
class QuantityLine:
    """A material lot's balance; sums has one (kind, text) per kind that is shown, "" where nothing was recorded."""

    fact: QuantityFact
    mark: Mark
    sums: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Rung:
    """One rung of the custody ladder (DESIGN section 1) for the records of a batch."""

    name: str
    words: str
    reached: bool
    first_ms: int | None
    last_ms: int | None


def scans_to_show(report: Report, limit: int) -> tuple[ScanFact, ...]:
    """At most limit scans in the order they were read: those with a finding or a refusal, then the latest."""
    if len(report.scans) <= limit:
        return report.scans
    places = range(len(report.scans))
    urgent = sorted(places, key=lambda place: (not _needs_eyes(report.scans[place]), -place))
    return tuple(report.scans[place] for place in sorted(urgent[:limit]))


def _needs_eyes(scan: ScanFact) -> bool:
    return bool(scan.findings) or not scan.accepted or scan.manual


def channel_lines(report: Report) -> tuple[ChannelLine, ...]:
    return tuple(
        ChannelLine(fact, _excursion_words([each for each in report.excursions if each.channel == fact.channel]))
        for fact in report.channels
    )


def _excursion_words(excursions: Sequence[ExcursionFact]) -> str:
    bands = [each.band for each in excursions]
    return ", ".join(f"{bands.count(band)} {band}" for band in ("action", "alert") if band in bands)


def kinds_shown(report: Report) -> tuple[str, ...]:
    """The kinds of quantity that occur, issued and used in any case."""
    present = {kind for fact in report.quantities for kind in fact.sums} | {"issued", "used"}
    return tuple(kind for kind in KINDS if kind in present)


def quantity_lines(report: Report) -> tuple[QuantityLine, ...]:
    kinds = kinds_shown(report)
    return tuple(
        QuantityLine(fact, _balance(fact), tuple((kind, fact.sums.get(kind, "")) for kind in kinds))
        for fact in report.quantities
    )


def _balance(fact: QuantityFact) -> Mark:
    if fact.balanced is None:
        return UNDECIDED
    return BALANCED if fact.balanced else UNBALANCED


def ladder(report: Report, archived_thru: int) -> tuple[Rung, ...]:
    """How many of the batch's records are saved, relayed and archived, and when the first and the last were.

    archived_thru: the last position of the stream that a receipt covers. Saved counts what the unit says it wrote,
    as far as known here.
    """
    runs = report.custody
    first, last = report.first_seq, report.last_seq
    known = 0 if first is None or last is None else last - first + 1
    archived = 0 if first is None or last is None else max(0, min(last, archived_thru) - first + 1)
    return (
        Rung("Saved", f"{_records(known)} on the unit that we know of", known > 0, *_span(runs, "recorded")),
        Rung(
            "Relayed",
            f"{_records(report.records)} through a gateway",
            _all(report.records, known),
            *_span(runs, "arrived"),
        ),
        Rung(
            "Archived",
            f"{_records(archived)} covered by a signed receipt",
            _all(archived, known),
            *_span(runs, "received"),
        ),
    )


def _records(count: int) -> str:
    return f"{count} record" if count == 1 else f"{count} records"


def _all(count: int, known: int) -> bool:
    return 0 < known <= count


def _span(runs: Sequence[CustodyFact], stage: str) -> tuple[int | None, int | None]:
    firsts = [ms for run in runs if (ms := getattr(run, f"{stage}_first_ms")) is not None]
    lasts = [ms for run in runs if (ms := getattr(run, f"{stage}_last_ms")) is not None]
    return (min(firsts) if firsts else None, max(lasts) if lasts else None)
