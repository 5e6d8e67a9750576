"""Steps as lanes on one time axis: when each planned step really ran. Pure geometry; numbers stand beside each lane."""

from dataclasses import dataclass

from cloud.domain.report import Report, StepFact

AXIS = 1000  # width of a lane's drawing, in its own units
SHORTEST = 6  # a step of two seconds in a day must still be seen


@dataclass(frozen=True)
class Lane:
    """One run of a step. start and width are 0..AXIS; drawn is False when it never ran or its times are unknown."""

    fact: StepFact
    planned: str
    drawn: bool
    start: int
    width: int


def lanes(report: Report) -> tuple[Lane, ...]:
    """One lane per step run, in the order of the report."""
    first_ms, last_ms = _axis(report)
    return tuple(_lane(fact, first_ms, last_ms) for fact in report.steps)


def _axis(report: Report) -> tuple[int, int]:
    known = [ms for fact in report.steps for ms in (fact.started_ms, fact.ended_ms) if ms is not None]
    known += [ms for ms in (report.opened_ms, report.closed_ms) if ms is not None]
    if report.state == "running" and report.last_contact_ms is not None:
        known.append(report.last_contact_ms)
    return (min(known), max(known)) if known else (0, 0)


def _lane(fact: StepFact, first_ms: int, last_ms: int) -> Lane:
    planned = str(fact.order) if fact.order else "not planned"
    if fact.started_ms is None or last_ms <= first_ms:
        return Lane(fact, planned, False, 0, 0)
    end_ms = last_ms if fact.ended_ms is None else fact.ended_ms
    scale = AXIS / (last_ms - first_ms)
    start = min(AXIS - SHORTEST, round((fact.started_ms - first_ms) * scale))
    width = max(SHORTEST, round((end_ms - fact.started_ms) * scale))
    return Lane(fact, planned, True, start, min(width, AXIS - start))
