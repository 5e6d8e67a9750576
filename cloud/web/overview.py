"""The list of batches: which group each belongs to, in which order, and what of it the reader asked for.

Groups answer "what do I look at first": open critical, open major, tampering put right, running late, running, in
order. Decides no verdict.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cloud.batches.queries import BatchRow
from cloud.domain.report import AUTHENTIC, COMPLETE, CONFORMING
from cloud.web.verdicts import QUESTIONS, Mark, list_answer
from cloud.web.words import duration

LATE_MS = 15 * 60_000  # three heartbeats of five minutes (DESIGN section 3)
SHOWN = 200  # batches on one page; a filter narrows it

GROUPS = (
    ("critical", "Critical exceptions open", "Look at these first."),
    ("major", "Major exceptions open", "Something departed from the recipe or is not shown."),
    ("refused", "Altered or forged on the way", "The true records are here. Read what was refused before you sign."),
    ("late", "Running late", "No news for longer than three heartbeats."),
    ("running", "Waiting or running", "Nothing to do yet."),
    ("good", "In order", "Closed, with all three verdicts good and only minor exceptions."),
)


@dataclass(frozen=True)
class Filter:
    """What the reader asked for; empty text means all."""

    site: str = ""
    unit: str = ""
    state: str = ""
    text: str = ""

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> "Filter":
        return cls(*(query.get(name, "").strip() for name in ("site", "unit", "state", "q")))

    def admits(self, row: BatchRow) -> bool:
        chosen = self.site in ("", row.site) and self.unit in ("", row.unit) and self.state in ("", row.state)
        return chosen and self.text.casefold() in f"{row.batch} {row.recipe}".casefold()

    @property
    def active(self) -> bool:
        return self != Filter()


@dataclass(frozen=True)
class Line:
    """One batch in the list."""

    row: BatchRow
    group: str
    tone: str
    answers: tuple[tuple[str, Mark], ...]  # title of the verdict and its answer
    silence: str  # how long nothing was heard, for a late batch


@dataclass(frozen=True)
class Group:
    """Batches that need the same kind of attention."""

    title: str
    hint: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Overview:
    """The whole list: groups in order of urgency, and what can be chosen."""

    groups: tuple[Group, ...]
    shown: int
    matching: int
    total: int
    sites: tuple[str, ...]
    units: tuple[str, ...]
    live: bool


def overview(rows: Sequence[BatchRow], asked: Filter, now_ms: int) -> Overview:
    """The list as the reader asked for it. now_ms: the cloud's wall clock."""
    wanted = [row for row in rows if asked.admits(row)]
    order = {key: position for position, (key, _, _) in enumerate(GROUPS)}
    lines = sorted((_line(row, now_ms) for row in wanted), key=lambda line: (order[line.group], _urgency(line.row)))
    lines = lines[:SHOWN]
    groups = tuple(
        Group(title, hint, members)
        for key, title, hint in GROUPS
        if (members := tuple(line for line in lines if line.group == key))
    )
    sites, units = sorted({row.site for row in rows}), sorted({row.unit for row in rows})
    live = any(row.state in ("waiting", "running") for row in wanted)
    return Overview(groups, len(lines), len(wanted), len(rows), tuple(sites), tuple(units), live)


def _urgency(row: BatchRow) -> tuple[int, int, int, int, str]:
    return -row.open_critical, -row.open_major, -row.open_minor, -row.created_ms, row.batch


def _line(row: BatchRow, now_ms: int) -> Line:
    group = _group(row, now_ms)
    goods = ((COMPLETE, row.complete), (CONFORMING, row.conforming), (AUTHENTIC, row.authentic))
    answers = tuple((QUESTIONS[name][0], list_answer(name, good, row.state)) for name, good in goods)
    silence = duration((now_ms - _heard_ms(row)) // 60_000 * 60_000) if group == "late" else ""
    tone = {"late": "major", "refused": "major", "running": "calm"}.get(group, group)
    return Line(row, group, tone, answers, silence)


def _group(row: BatchRow, now_ms: int) -> str:
    finished = row.state in ("closed", "aborted")
    not_good = finished and not (row.complete and row.conforming and row.authentic)
    if row.open_critical:
        return "critical"
    if row.open_major or not_good:
        return "major"
    if row.refused_copies:
        return "refused"
    if row.state == "running" and now_ms - _heard_ms(row) > LATE_MS:
        return "late"
    return "good" if finished else "running"


def _heard_ms(row: BatchRow) -> int:
    return row.created_ms if row.last_contact_ms is None else row.last_contact_ms
