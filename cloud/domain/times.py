"""What a unit's times are worth: within a boot the uptime is exact, between boots only the wall clock with its
uncertainty counts (R14).

Never orders anything: order is the chain's (SPEC W19). Finds records whose time nobody can show (clock_uncertain).
"""

from __future__ import annotations

from typing import NamedTuple

from cloud.domain.findings import Findings, Snapshot
from cloud.domain.words import duration, records, utc
from wire import Record, RecordType
from wire.bodies import Clock as ClockSet  # `wire.Clock` is the host's wall clock

EVIDENCE_TYPES = (RecordType.STEP, RecordType.SCAN, RecordType.SAMPLES, RecordType.QUANTITY)


class Moment(NamedTuple):
    """A point on the unit's time line; time_ms and uncertainty_ms as the record had them."""

    boot: int
    uptime_ms: int
    time_ms: int | None = None
    uncertainty_ms: int | None = None


class Elapsed(NamedTuple):
    """Bounds of the time between two moments."""

    least_ms: int
    most_ms: int


class _Unproven(NamedTuple):
    """A contiguous run of records of one boot without a usable time."""

    boot: int
    first: int
    last: int
    timed: bool
    worst_ms: int
    matters: bool


class UnitTimes(Snapshot):
    """Learns the wall clock of each boot; says what time a moment was and how long lies between two."""

    def __init__(self, limit_ms: int) -> None:
        self._limit_ms = limit_ms
        self._fixes: dict[int, tuple[int, int, int]] = {}  # boot: uncertainty, seq, time minus uptime
        self._unproven: list[_Unproven] = []
        self._last: Record | None = None

    def take(self, record: Record, findings: Findings) -> None:
        """The next record in stream order."""
        if record.time_ms is not None and record.uncertainty_ms is not None:
            fix = (record.uncertainty_ms, record.seq, record.time_ms - record.uptime_ms)
            self._fixes[record.boot] = min(fix, self._fixes.get(record.boot, fix))
        self._check_uptime(record, findings)
        if isinstance(record.body, ClockSet):
            self._check_step(record, record.body, findings)
        proven = record.uncertainty_ms is not None and record.uncertainty_ms <= self._limit_ms
        if not proven:
            self._add_unproven(record)
        else:
            findings.check("clock_uncertain", True)
        self._last = record

    def wall_ms(self, moment: Moment) -> int | None:
        """The time at a moment: its own, else by the best fix of its boot, else None."""
        if moment.time_ms is not None:
            return moment.time_ms
        fix = self._fixes.get(moment.boot)
        return None if fix is None else fix[2] + moment.uptime_ms

    def elapsed(self, start: Moment, end: Moment) -> Elapsed | None:
        """How long from start to end; None when no clock connects their boots, or when their clocks contradict the
        order of the chain.
        """
        if start.boot == end.boot:
            return Elapsed(end.uptime_ms - start.uptime_ms, end.uptime_ms - start.uptime_ms)
        start_ms, end_ms = self.wall_ms(start), self.wall_ms(end)
        if start_ms is None or end_ms is None:
            return None
        doubt_ms = self._doubt_ms(start) + self._doubt_ms(end)
        most_ms = end_ms - start_ms + doubt_ms
        return None if most_ms < 0 else Elapsed(max(0, most_ms - 2 * doubt_ms), most_ms)

    def conclude(self, findings: Findings) -> None:
        """Name the records whose time cannot be shown."""
        for run in self._unproven:
            if not run.timed and self._fixes.get(run.boot, (self._limit_ms + 1,))[0] <= self._limit_ms:
                findings.check("clock_uncertain", True, run.last - run.first + 1)
                continue  # the clock was set later in the same boot: uptime leads back
            worth = (
                f"a clock that may be wrong by {duration(run.worst_ms)} (allowed: {duration(self._limit_ms)})"
                if run.timed
                else "no wall clock in that boot that reaches them"
            )
            verb = "has" if run.first == run.last else "have"
            findings.check("clock_uncertain", False, run.last - run.first + 1)
            findings.note(
                "clock_uncertain",
                f"{records(run.first, run.last).capitalize()} {verb} {worth}.",
                run.first,
                run.last,
                softened=not run.matters,
            )

    def _doubt_ms(self, moment: Moment) -> int:
        if moment.uncertainty_ms is not None:
            return moment.uncertainty_ms
        return self._fixes[moment.boot][0]

    def _add_unproven(self, record: Record) -> None:
        timed, doubt_ms = record.time_ms is not None, record.uncertainty_ms or 0
        matters = record.type in EVIDENCE_TYPES
        last = self._unproven[-1] if self._unproven else None
        if last and last.boot == record.boot and last.last == record.seq - 1 and last.timed == timed:
            worst_ms = max(last.worst_ms, doubt_ms)
            self._unproven[-1] = last._replace(last=record.seq, worst_ms=worst_ms, matters=last.matters or matters)
        else:
            self._unproven.append(_Unproven(record.boot, record.seq, record.seq, timed, doubt_ms, matters))

    def _check_uptime(self, record: Record, findings: Findings) -> None:
        last = self._last
        if last is None or last.boot != record.boot:
            return
        if not findings.check("clock_uncertain", record.uptime_ms >= last.uptime_ms):
            back = duration(last.uptime_ms - record.uptime_ms)
            message = f"The unit's running time went back by {back} at record {record.seq}; it must never decrease."
            findings.note("clock_uncertain", message, last.seq, record.seq)

    def _check_step(self, record: Record, change: ClockSet, findings: Findings) -> None:
        step_ms = change.step_ms
        if step_ms is None or findings.check("clock_uncertain", abs(step_ms) <= self._limit_ms):
            return
        way = "forward" if step_ms > 0 else "back"
        message = (
            f"The unit's clock was set {way} by {duration(abs(step_ms))} by {change.source or 'an unnamed source'}"
            f" to {utc(record.time_ms)}."
        )
        findings.note("clock_uncertain", message, record.seq, softened=True)
