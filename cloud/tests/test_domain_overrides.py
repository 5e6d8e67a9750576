"""Overrides in the reports (W28): what two people overruled counts, with both names; what does not hold is told."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.domain.report import CRITICAL, MAJOR, MINOR, OPEN, RESOLVED, Report
from cloud.tests.domain_batch import (
    BUFFER,
    CARTRIDGE,
    DONOR,
    PLAN,
    Unit,
    codes,
    entry_of,
    fold_of,
    found,
    good_batch,
    report_of,
)
from wire import BootCause, Override, OverrideAction, Record, StepAction

EXPIRED = "0109520000010027" + "17261027" + "10LOT-7"  # used on 2026-10-28
OTHER_DONOR = "=A99992199999900"
WHY = "released by QA"


def overrule(
    unit: Unit, refused: Record, action: OverrideAction, subject: str, second: str = "OP-115", **changed: object
) -> Record:
    return unit.say(Override(refused.seq, action, subject, WHY, second), **changed)


def priming(
    text: str, reason: str, second: str = "OP-115", subject: str = "buffer", *, between: str | None = None
) -> Unit:
    """A batch whose buffer was refused for this reason, and accepted by two people."""

    def prime(unit: Unit) -> None:
        unit.step("prime", StepAction.START)
        unit.scan("cartridge", CARTRIDGE)
        refused = unit.scan("buffer", text, refused=reason)
        if between is not None:
            unit.scan("buffer", between, refused="wrong_item")
        overrule(unit, refused, OverrideAction.ACCEPT_ITEM, subject, second)
        unit.step("prime", StepAction.DONE)

    return good_batch(prime=prime)


def places(report: Report, code: str) -> list[list[int]]:
    """The positions that each exception of this code shows."""
    return [[int(reference.split("/")[1]) for reference in item.evidence] for item in found(report, code)]


def test_an_item_accepted_by_two_people_counts_as_scanned() -> None:
    report = report_of(priming(EXPIRED, "expired"))
    (item,) = report.exceptions  # and no missing_scan
    assert (item.code, item.severity, item.state, item.step) == ("expired_material", CRITICAL, OPEN, "prime")
    assert "expired on 2026-10-27" in item.message
    assert f'OP-114 overruled the unit, with OP-115 as second person; reason given: "{WHY}"' in item.message
    assert places(report, "expired_material") == [[9, 10]]  # the refused scan and the override
    assert not report.conforming
    assert report.steps[0].missing == ()


def test_the_scan_shows_by_whom_its_refusal_was_overruled() -> None:
    scan = report_of(priming(EXPIRED, "expired")).scans[1]
    assert not scan.accepted
    assert scan.overruled is not None
    assert (scan.overruled.first, scan.overruled.second, scan.overruled.reason) == ("OP-114", "OP-115", WHY)
    assert scan.overruled.evidence.endswith("/10")


@pytest.mark.parametrize(
    ("text", "reason", "expected"),
    [
        (CARTRIDGE, "wrong_item", {"wrong_item": CRITICAL, "label_mismatch": MAJOR}),
        (BUFFER, "duplicate", {"duplicate_serial": CRITICAL}),
        (BUFFER, "clock_uncertain", {"clock_uncertain": MAJOR}),
        (BUFFER[:24], "missing_field", {"label_mismatch": MAJOR}),
        (BUFFER, "not_asked", {"unexpected_item": MAJOR}),
        (BUFFER, "ambiguous", {"scan_refused": MINOR}),
    ],
)
def test_the_refusal_keeps_its_code_at_full_severity(text: str, reason: str, expected: dict[str, str]) -> None:
    report = report_of(priming(text, reason))
    assert {item.code: item.severity for item in report.exceptions} == expected
    assert sum("overruled the unit" in item.message for item in report.exceptions) == 1
    assert report.steps[0].missing == ()


def test_one_person_does_not_stand_for_two() -> None:
    report = report_of(priming(EXPIRED, "expired", second="OP-114"))
    assert codes(report) == ["expired_material", "missing_scan", "same_person_verified"]
    assert found(report, "expired_material")[0].severity == MINOR  # it was not used, as far as the records say
    assert found(report, "same_person_verified")[0].severity == MAJOR
    assert report.steps[0].missing == ("buffer",)


@pytest.mark.parametrize("reason", ["truncated", "unreadable", "no_operator", "no_batch"])
def test_what_nobody_can_answer_for_is_not_overruled(reason: str) -> None:
    report = report_of(priming(BUFFER, reason))
    assert set(codes(report)) >= {"override_invalid", "missing_scan"}


def test_only_the_last_scan_can_be_overruled() -> None:
    report = report_of(priming(EXPIRED, "expired", between=CARTRIDGE))
    assert "is not the refused scan before it" in found(report, "override_invalid")[0].message
    assert "missing_scan" in codes(report)


def test_a_refusal_is_overruled_once() -> None:
    def prime(unit: Unit) -> None:
        unit.step("prime", StepAction.START)
        unit.scan("cartridge", CARTRIDGE)
        refused = unit.scan("buffer", EXPIRED, refused="expired")
        overrule(unit, refused, OverrideAction.ACCEPT_ITEM, "buffer")
        overrule(unit, refused, OverrideAction.ACCEPT_ITEM, "buffer")
        unit.step("prime", StepAction.DONE)

    assert codes(report_of(good_batch(prime=prime))) == ["expired_material", "override_invalid"]


def test_an_accepted_scan_cannot_be_overruled() -> None:
    def prime(unit: Unit) -> None:
        unit.step("prime", StepAction.START)
        unit.scan("cartridge", CARTRIDGE)
        overrule(unit, unit.scan("buffer", BUFFER), OverrideAction.ACCEPT_ITEM, "buffer")
        unit.step("prime", StepAction.DONE)

    assert codes(report_of(good_batch(prime=prime))) == ["override_invalid"]


def loading(*scans: tuple[str, str | None], overruled: bool = False) -> Unit:
    """A batch whose donor bag was scanned so: text and the unit's reason for refusing."""

    def load(unit: Unit) -> None:
        unit.step("load", StepAction.START)
        for text, reason in scans:
            scan = unit.scan("donor-bag", text, aim="]C0", refused=reason)
        if overruled:
            overrule(unit, scan, OverrideAction.ACCEPT_ITEM, "donor-bag")
        unit.step("load", StepAction.DONE)

    return good_batch(load=load)


def test_an_identity_is_never_overruled() -> None:
    report = report_of(loading((OTHER_DONOR, "identity_mismatch"), overruled=True))
    assert codes(report) == ["identity_mismatch", "identity_mismatch", "missing_scan"]
    assert {item.severity for item in found(report, "identity_mismatch")} == {CRITICAL}
    assert any("nobody may overrule" in item.message for item in report.exceptions)


def test_a_wrong_identity_stays_open_until_the_right_one_is_scanned() -> None:
    """R31: the unit stopped it, but nothing shows yet that the right bag was found."""
    report = report_of(loading((OTHER_DONOR, "identity_mismatch")))
    assert codes(report) == ["identity_mismatch", "missing_scan"]
    assert found(report, "identity_mismatch")[0].state == OPEN
    report = report_of(loading((OTHER_DONOR, "identity_mismatch"), (DONOR, None)))
    (item,) = report.exceptions
    assert (item.code, item.severity, item.state) == ("identity_mismatch", CRITICAL, RESOLVED)
    assert places(report, "identity_mismatch") == [[12, 13]]  # the wrong one and the right one
    assert report.conforming


def test_the_flags_of_a_donation_number_do_not_count() -> None:
    """R42, W44."""
    plan = replace(PLAN, exact={"donor-bag": DONOR[1:14]})
    assert report_of(loading((DONOR[:-2] + "17", None)), plan).exceptions == ()
    assert codes(report_of(loading((DONOR[:-3] + "700", None)), plan)) == ["identity_mismatch"]


def culture_first(unit: Unit, *, overruled: bool = True, between: bool = False) -> None:
    """Two people start the culture before the load."""
    refused = unit.scan("", "CT/STEP/START/culture", refused="wrong_step")
    if overruled:
        overrule(unit, refused, OverrideAction.START_STEP, "culture")
        if between:
            unit.restart(BootCause.POWER)
        else:
            unit.step("culture", StepAction.START, WHY)
            unit.measure(5)
            unit.step("culture", StepAction.DONE)


def test_a_step_forced_out_of_order_is_told_with_both_people() -> None:
    report = report_of(good_batch(load=culture_first, culture=load_late))
    assert codes(report) == ["forced_step", "step_out_of_order"]
    for code in codes(report):
        assert found(report, code)[0].message.endswith(
            f'; overruled by OP-114, with OP-115 as second person, reason given: "{WHY}".'
        )
        assert places(report, code) == [[11, 12, 13]]  # the refused command, the override, the step
    assert found(report, "step_out_of_order")[0].severity == MAJOR
    culture = next(step for step in report.steps if step.step == "culture")
    assert [(one.first, one.second) for one in culture.overruled] == [("OP-114", "OP-115")]
    command = next(scan for scan in report.scans if scan.text == "CT/STEP/START/culture")
    assert (command.step, command.findings, command.overruled) == ("culture", ("forced_step",), culture.overruled[0])


def load_late(unit: Unit) -> None:
    unit.step("load", StepAction.START)
    unit.scan("donor-bag", DONOR, aim="]C0")
    unit.step("load", StepAction.DONE)


def test_a_refused_step_that_nobody_forced_is_minor() -> None:
    def load(unit: Unit) -> None:
        culture_first(unit, overruled=False)
        load_late(unit)

    report = report_of(good_batch(load=load))
    assert [(item.code, item.severity) for item in report.exceptions] == [("step_out_of_order", MINOR)]
    assert "refused a command" in report.exceptions[0].message


def finish_without_scan(unit: Unit) -> None:
    unit.step("load", StepAction.START)
    refused = unit.scan("donor-bag", "CT/STEP/DONE", refused="not_asked")
    overrule(unit, refused, OverrideAction.FINISH_STEP, "load")
    unit.step("load", StepAction.DONE, WHY)


def test_a_step_finished_without_its_scans_is_told_with_both_people() -> None:
    report = report_of(good_batch(load=finish_without_scan))
    assert codes(report) == ["forced_step", "missing_scan"]
    missing = found(report, "missing_scan")[0]
    assert "finished by force, overruled by OP-114, with OP-115" in missing.message
    assert missing.severity == MAJOR
    assert places(report, "missing_scan") == [[11, 12, 13, 14]]


def test_an_override_whose_step_does_not_follow() -> None:
    def load(unit: Unit) -> None:
        refused = unit.scan("", "CT/STEP/START/culture", refused="wrong_step")
        overrule(unit, refused, OverrideAction.START_STEP, "culture")
        load_late(unit)

    report = report_of(good_batch(load=load))
    assert "no such record follows" in found(report, "override_invalid")[0].message
    assert found(report, "override_invalid")[0].severity == MAJOR


def start_cut(unit: Unit) -> None:
    """The power goes between the override and the start that it announced; then the step before is done as usual."""
    culture_first(unit, between=True)
    load_late(unit)


def finish_cut(unit: Unit) -> None:
    """The same between the override and the forced end of a step, whose scan is then made after all."""
    unit.step("load", StepAction.START)
    refused = unit.scan("donor-bag", "CT/STEP/DONE", refused="not_asked")
    overrule(unit, refused, OverrideAction.FINISH_STEP, "load")
    unit.restart(BootCause.POWER)
    unit.scan("donor-bag", DONOR, aim="]C0")
    unit.step("load", StepAction.DONE)


@pytest.mark.parametrize(
    ("load", "words", "shown"),
    [(start_cut, "start step 'culture'", [12, 13]), (finish_cut, "finish step 'load'", [13, 14])],
)
def test_a_power_cut_before_the_forced_step_leaves_nothing_done(
    load: Callable[[Unit], None], words: str, shown: list[int]
) -> None:
    """W28: whether or not the restart has arrived yet, nothing is overruled, and nobody is accused of forcing it."""
    unit = good_batch(load=load)
    for count in range(len(unit.records) + 1):
        report = fold_of(unit.records[:count]).report(0)
        assert not any(scan.overruled for scan in report.scans)
        assert not any(step.overruled for step in report.steps)
        assert "forced_step" not in codes(report)
        told = [item.severity for item in found(report, "override_invalid")]
        assert told == ([MINOR] if unit.records[:count] and unit.records[count - 1].seq >= shown[1] else [])
    report = report_of(unit)
    (item,) = found(report, "override_invalid")
    assert item.message == (
        f"OP-114 and OP-115 overruled the unit to {words}, but the unit restarted before it was done;"
        " it does not count."
    )
    assert places(report, "override_invalid") == [shown]
    assert {other.severity for other in report.exceptions} == {MINOR}, report.exceptions


def test_a_power_cut_after_an_accepted_item_takes_nothing_back() -> None:
    """No record need follow: the override itself is what counts as the scan."""

    def prime(unit: Unit) -> None:
        unit.step("prime", StepAction.START)
        unit.scan("cartridge", CARTRIDGE)
        overrule(unit, unit.scan("buffer", EXPIRED, refused="expired"), OverrideAction.ACCEPT_ITEM, "buffer")
        unit.restart(BootCause.POWER)
        unit.step("prime", StepAction.DONE)

    report = report_of(good_batch(prime=prime))
    assert not {"override_invalid", "missing_scan"} & set(codes(report))
    assert found(report, "expired_material")[0].severity == CRITICAL
    assert report.scans[1].overruled is not None


@pytest.mark.parametrize("lost", [9, 10])
def test_a_hole_accuses_nobody_of_an_invalid_override(lost: int) -> None:
    """The refused scan, or the override itself, has not arrived yet; when it has, the report is as if it always had."""
    unit = priming(EXPIRED, "expired")
    late = next(record for record in unit.records if record.seq == lost)
    fold = fold_of(record for record in unit.records if record is not late)
    assert "override_invalid" not in codes(fold.report(0))
    fold.add(entry_of(late))
    whole = report_of(unit)
    assert fold.report(0).to_bytes() == whole.to_bytes()


def test_the_order_of_arrival_changes_nothing() -> None:
    """Also with a report in between, which folds what lies behind a hole into a copy."""
    unit = good_batch(load=culture_first, culture=finish_without_scan)
    whole = report_of(unit).to_bytes()
    for seed in range(20):
        arriving = list(unit.records)
        random.Random(seed).shuffle(arriving)
        fold = fold_of([])
        for record in arriving:
            fold.add(entry_of(record))
            fold.report(0)
        assert fold.report(0).to_bytes() == whole


def test_nobody_overrules_an_identity_by_another_item_or_by_a_step() -> None:
    def load(unit: Unit) -> None:
        unit.step("load", StepAction.START)
        for action, subject in ((OverrideAction.ACCEPT_ITEM, "buffer"), (OverrideAction.FINISH_STEP, "load")):
            refused = unit.scan("buffer", OTHER_DONOR, aim="]C0", refused="identity_mismatch")
            overrule(unit, refused, action, subject)
        unit.scan("donor-bag", DONOR, aim="]C0")
        unit.step("load", StepAction.DONE)

    report = report_of(good_batch(load=load))
    assert codes(report) == ["identity_mismatch"] * 4  # each refusal and each override of it
    assert all(item.state == OPEN for item in report.exceptions)


_scans = st.tuples(
    st.sampled_from(["", "buffer", "cartridge", "donor-bag", "nothing-known"]),
    st.sampled_from([BUFFER, EXPIRED, CARTRIDGE, DONOR, OTHER_DONOR, "CT/STEP/DONE", "?"]),
    st.sampled_from([None, "expired", "wrong_item", "identity_mismatch", "wrong_step", "not_asked", "unreadable"]),
)
_overrides = st.tuples(
    st.integers(-3, 1),
    st.sampled_from(OverrideAction),
    st.sampled_from(["buffer", "donor-bag", "load", "culture", "nothing-known"]),
    st.sampled_from(["OP-114", "OP-115"]),
)
_steps = st.tuples(st.sampled_from(["prime", "load", "culture"]), st.sampled_from(StepAction))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(_scans, _overrides, _steps), max_size=14), st.sets(st.integers(0, 20)))
def test_whatever_a_unit_signs_there_is_a_report(events: list[tuple[Any, ...]], lost: set[int]) -> None:
    """Also of a unit that keeps to no rule, with any records missing; and the same once they have come."""
    unit = Unit()
    unit.describe()
    unit.open()
    for event in events:
        if len(event) == 2:
            unit.step(*event)
        elif len(event) == 3:
            unit.scan(*event[:2], aim="]C0", refused=event[2])
        else:
            back, action, subject, second = event
            unit.say(Override(min(max(unit.seq - 1 + back, 0), unit.seq - 1), action, subject, WHY, second))
    unit.close()
    fold = fold_of(record for record in unit.records if record.seq not in lost)
    fold.report(0)
    for record in unit.records:
        fold.add(entry_of(record))
    report = fold.report(0)
    assert report.to_bytes() == fold_of(unit.records).report(0).to_bytes()
    told = {reference for item in report.exceptions for reference in item.evidence}
    for record in unit.records:
        if isinstance(record.body, Override):
            assert any(reference.endswith(f"/{record.seq}") for reference in told), "an override that nobody is told of"


def test_a_report_comes_back_from_its_json() -> None:
    report = report_of(priming(EXPIRED, "expired"))
    assert Report.from_json(report.to_json()) == report
