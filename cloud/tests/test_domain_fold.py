"""Promises of the fold: order and repetition do not matter, gaps are exact, nothing authentic makes it fail."""

import json
from dataclasses import replace
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.domain.fold import BatchFold
from cloud.domain.plan import RefusedCopy
from cloud.domain.report import Report
from cloud.domain.series import sample_series
from cloud.tests.domain_batch import (
    BATCH,
    BUFFER,
    CARTRIDGE,
    DONOR,
    KID,
    PLAN,
    RECIPE,
    SEED,
    START_MS,
    Unit,
    codes,
    entry_of,
    fold_of,
    good_batch,
    part_quantities,
    signed,
)
from wire import (
    Alarm,
    AlarmState,
    BatchClose,
    BatchOpen,
    Body,
    Boot,
    BootCause,
    Channel,
    Channels,
    Comment,
    Entry,
    Heartbeat,
    Loss,
    Mark,
    Operator,
    OperatorAction,
    Outcome,
    Quantity,
    QuantityKind,
    Record,
    Sample,
    Samples,
    Scan,
    ScanVerdict,
    Step,
    StepAction,
)
from wire.bodies import Clock as ClockSet

NOW_MS = START_MS + 10_000_000


@cache
def troubled_batch() -> tuple[Record, ...]:
    """Every kind of record, restarts, faults, a forked position, and other batches on the same stream."""
    unit = Unit()
    unit.open(batch="B-BEFORE")
    unit.close()
    unit.say(Heartbeat(300_000))
    unit.describe()
    unit.open()
    unit.step("load", StepAction.START, "cells first")
    unit.scan("donor-bag", DONOR)
    unit.scan("buffer", CARTRIDGE, refused="wrong_item")
    unit.step("prime", StepAction.START)
    unit.scan("cartridge", CARTRIDGE)
    unit.scan("cartridge", CARTRIDGE)
    unit.scan("buffer", BUFFER, entry=Entry.MANUAL)
    unit.say(Alarm("lid", AlarmState.RAISED, None))
    unit.restart()
    unit.wait(3)
    unit.say(ClockSet("gateway", None))
    unit.step("load", StepAction.DONE)
    unit.step("culture", StepAction.START)
    unit.measure(1)
    unit.wait(60)
    unit.samples([3700] * 20 + [None] * 20 + [3790] * 20, dict.fromkeys(range(20, 40), Mark.FAULT))
    unit.measure(2, 3790)
    unit.restart(BootCause.WATCHDOG)
    unit.measure(1)
    fork = unit.records[-3]
    unit.step("culture", StepAction.DONE)
    part_quantities(unit)
    unit.say(Comment("foam"))
    unit.say(Loss("samples", 2, None))
    unit.close()
    unit.say(Heartbeat(300_000))
    unit.open(batch="B-AFTER")
    values = {"seq": fork.seq, "prev": fork.prev, "boot": fork.boot, "uptime_ms": fork.uptime_ms, "batch": BATCH}
    unit.records.append(signed(SEED, Comment("the fork"), values))
    return tuple(unit.records)


def test_the_report_survives_json() -> None:
    report = fold_of(troubled_batch()).report(NOW_MS)
    assert Report.from_json(json.loads(report.to_bytes())) == report
    assert len(set(codes(report))) > 12
    waiting = BatchFold(PLAN).report(NOW_MS)
    assert (waiting.state, waiting.complete, waiting.conforming, waiting.authentic) == ("waiting", False, False, False)
    assert Report.from_json(json.loads(waiting.to_bytes())) == waiting


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_order_repetition_and_intermediate_reports_do_not_matter(data: st.DataObject) -> None:
    """Also when some records never come, and when somebody looks at a report at any moment."""
    records = troubled_batch()
    kept = data.draw(st.lists(st.sampled_from(records), unique_by=id, min_size=1))
    refusal = RefusedCopy(bytes(32), "altered", KID, kept[0].seq, BATCH, NOW_MS)
    expected = fold_of(kept)
    expected.refused(refusal)
    arrivals = data.draw(st.permutations(kept + data.draw(st.lists(st.sampled_from(kept), max_size=10))))
    looks = data.draw(st.sets(st.integers(0, len(arrivals))))
    fold = BatchFold(PLAN)
    for number, record in enumerate(arrivals):
        if number in looks:
            fold.report(NOW_MS)
        fold.add(entry_of(record))
        fold.refused(refusal)
    assert fold.report(NOW_MS).to_bytes() == expected.report(NOW_MS).to_bytes()


@settings(max_examples=150, deadline=None)
@given(st.sets(st.integers(0, 17)))
def test_exactly_the_lost_records_are_missing(lost: set[int]) -> None:
    """C4: recall and precision of 100 %, head included; the close is there (its loss is the next test)."""
    batch = good_batch().records[1:]  # the channels record stands before the batch
    batch, close = batch[:-1], batch[-1]
    kept = [record for place, record in enumerate(batch) if place not in lost]
    report = fold_of([*kept, close]).report(NOW_MS)
    flagged = {seq for first, last in report.holes for seq in range(first, last + 1)}
    assert flagged == {record.seq for record in batch} - {record.seq for record in kept}
    told = [item for item in report.exceptions if item.code == "sequence_gap"]
    assert len(told) == len(report.holes)
    assert report.complete == (not flagged)


@given(st.integers(1, 6))
@settings(max_examples=6, deadline=None)
def test_a_lost_tail_is_a_hole_as_soon_as_the_stream_goes_on(lost: int) -> None:
    unit = good_batch()
    tail = unit.records[-lost:]
    unit.open(batch="B-NEXT")
    after = unit.records[-1]
    report = fold_of([*unit.records[: -lost - 1], after]).report(NOW_MS)
    assert report.holes == ((tail[0].seq, tail[-1].seq),)
    assert not report.complete


def test_a_hole_is_filled_without_a_trace_in_the_facts() -> None:
    records = good_batch().records
    fold = fold_of(records[:7] + records[8:])
    holed = fold.report(NOW_MS)
    assert holed.holes == ((records[7].seq,) * 2,)
    assert [step.step for step in holed.steps if step.state == "done"] == ["prime", "load", "culture"]  # islands show
    fold.add(entry_of(records[7]))
    assert fold.report(NOW_MS).to_bytes() == fold_of(records).report(NOW_MS).to_bytes()
    assert fold.finished


def test_a_fold_goes_on_behind_a_hole_without_starting_again() -> None:
    """A new record costs one step even while an old hole is open."""
    unit = Unit()
    unit.describe()
    unit.open()
    unit.say(Comment("lost"))
    lost = unit.records.pop()
    for _ in range(50):
        unit.say(Heartbeat(300_000))
    fold = fold_of(unit.records)
    fold.report(NOW_MS)
    settled, ahead = fold._settled, fold._ahead
    fold.add(entry_of(unit.say(Heartbeat(300_000))))
    fold.report(NOW_MS)
    assert ahead is not None
    assert fold._ahead is ahead
    fold.add(entry_of(lost))
    fold.report(NOW_MS)
    assert fold._ahead is None
    assert fold._settled is settled


def test_a_record_that_came_two_ways_counts_as_it_came_first() -> None:
    records = good_batch().records
    first = [entry_of(record) for record in records]
    second = [replace(entry, gateway="GW-2", received_ms=entry.received_ms + 10**7) for entry in first]
    reports = set()
    for entries in ([*first, *second], [*second, *first]):
        fold = BatchFold(PLAN)
        for number, entry in enumerate(entries):
            fold.add(entry)
            if number == len(first):
                fold.report(NOW_MS)
        report = fold.report(NOW_MS)
        assert report.exceptions == ()
        reports.add(report.to_bytes())
    assert len(reports) == 1


# Anything a unit may sign

_ids = st.sampled_from(["prime", "load", "culture", "cartridge", "buffer", "donor-bag", "temperature", "x"])
_texts = st.sampled_from(["a", "wrong_item", "expired", "reason given"])
_ints = st.one_of(st.integers(-5, 5000), st.integers(-(2**63), 2**63 - 1))
_uints = st.one_of(st.integers(0, 200_000), st.integers(0, 2**62))
_exponents = st.integers(-9, 9)
_columns = st.lists(st.one_of(st.integers(3600, 3800), st.none(), st.integers(-(2**40), 2**40)), min_size=1, max_size=6)


@st.composite
def _samples(draw: st.DrawFn) -> Samples:
    columns = draw(st.lists(_columns, min_size=1, max_size=2))
    count = min(map(len, columns))
    series = tuple(
        tuple(
            Sample(value, draw(st.sampled_from([Mark.MISSING, Mark.FAULT])))
            if value is None
            else Sample(value, draw(st.sampled_from([None, None, None, Mark.STUCK, Mark.OUT_OF_RANGE])))
            for value in column[:count]
        )
        for column in columns
    )
    return Samples(draw(st.integers(0, 6)), draw(_uints), draw(st.one_of(st.just(1000), _uints)), count, series)


_channels = st.builds(
    Channel,
    _ids,
    st.sampled_from(["Cel", "K"]),
    _exponents,
    _ints,
    _ints,
    st.none() | st.just("C-1"),
    st.none() | _uints,
)
_bodies: st.SearchStrategy[Body] = st.one_of(
    st.builds(Boot, st.sampled_from(BootCause), st.just("1.0"), st.integers(0, 3)),
    st.builds(ClockSet, st.sampled_from(["", "gateway"]), st.none() | _ints),
    st.builds(Heartbeat, _uints),
    st.builds(Operator, st.sampled_from(OperatorAction)),
    st.builds(BatchOpen, _ids, st.integers(0, 9), st.just(bytes(32)), st.just(bytes(32))),
    st.builds(Step, _ids, st.sampled_from(StepAction), st.none() | _texts),
    st.builds(
        Scan,
        st.sampled_from([CARTRIDGE.encode(), BUFFER.encode(), DONOR.encode(), b""]) | st.binary(max_size=30),
        st.sampled_from(["", "]d2", "]C1", "]C0", "]E0"]),
        _ids | st.just(""),
        st.just(ScanVerdict.ACCEPTED),
        st.none(),
        st.sampled_from(Entry),
        st.integers(0, 3),
    ),
    st.builds(
        Scan,
        st.binary(max_size=9),
        st.just("]d2"),
        _ids,
        st.just(ScanVerdict.REFUSED),
        _texts,
        st.just(Entry.SCANNER),
        st.just(0),
    ),
    st.builds(Channels, st.lists(_channels, min_size=1, max_size=2).map(tuple)),
    _samples(),
    st.builds(Alarm, _ids, st.sampled_from(AlarmState), st.none() | _texts),
    st.builds(
        Quantity, _ids, st.sampled_from(QuantityKind), _ints, _exponents, st.sampled_from(["mL", "L"]), st.none() | _ids
    ),
    st.builds(Comment, _texts),
    st.builds(Loss, _ids, _uints, st.none()),
    st.builds(
        BatchClose,
        st.integers(0, 12),
        st.dictionaries(st.integers(0, 23), _uints, max_size=3),
        st.sampled_from(Outcome),
    ),
)


@st.composite
def _records(draw: st.DrawFn) -> Record:
    clock = draw(st.none() | st.tuples(_uints, _uints))
    values = {
        "seq": draw(st.integers(1, 14)),
        "prev": bytes(32),
        "boot": draw(st.integers(1, 3)),
        "uptime_ms": draw(_uints),
        "time_ms": clock and clock[0],
        "uncertainty_ms": clock and clock[1],
        "batch": draw(st.sampled_from([BATCH, BATCH, "B-OTHER"])),
        "operator": draw(st.sampled_from(["OP-1", "OP-2"])),
    }
    return signed(SEED, draw(_bodies), values)


@settings(max_examples=200, deadline=None)
@given(st.lists(_records(), max_size=12), st.integers(0, 2**50))
def test_no_authentic_records_make_it_fail(records: list[Record], now_ms: int) -> None:
    fold = BatchFold(PLAN)
    for record in records:
        fold.add(entry_of(record))
        report = fold.report(now_ms)
    report = fold.report(now_ms)
    assert Report.from_json(json.loads(report.to_bytes())) == report
    assert report.to_bytes() == fold_of(reversed(records)).report(now_ms).to_bytes()
    sample_series(sorted(records, key=lambda record: record.seq), RECIPE, report, max_points=4)
