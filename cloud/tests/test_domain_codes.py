"""One test per exception code: the smallest fault that raises it, and that nothing else is accused."""

from dataclasses import replace

import pytest

from cloud.domain.codes import CODES, FLOORED
from cloud.domain.plan import BatchPlan, GapHistory, RefusedCopy, SerialUse
from cloud.domain.recipe import unplanned_recipe
from cloud.domain.recipe_file import parse_recipe
from cloud.domain.report import MAJOR, MINOR, OPEN, RESOLVED, Report
from cloud.tests.domain_batch import (
    BATCH,
    BUFFER,
    CARTRIDGE,
    DONOR,
    GS,
    KID,
    ORDER_DIGEST,
    PLAN,
    RECIPE,
    RECIPE_TOML,
    START_MS,
    Unit,
    codes,
    entry_of,
    fold_of,
    found,
    good_batch,
    part_culture,
    part_load,
    part_prime,
    part_quantities,
    report_of,
    signed,
)
from wire import (
    Alarm,
    AlarmState,
    Channel,
    Channels,
    Comment,
    Entry,
    Heartbeat,
    Loss,
    Mark,
    Outcome,
    QuantityKind,
    StepAction,
    kid_of,
    public_key_of,
)
from wire.bodies import Clock as ClockSet

LATER_MS = START_MS + 3_600_000


def only(report: Report, code: str, *, step: str | None = None, severity: str | None = None) -> str:
    """The message of the one exception, which must have this code."""
    assert codes(report) == [code], report.exceptions
    item = report.exceptions[0]
    assert item.severity == (severity or CODES[code].severity)
    assert item.verdict == CODES[code].verdict
    assert item.state == OPEN
    assert item.step == step
    assert item.evidence
    assert report.rules_checked[code].passed < report.rules_checked[code].checked
    return item.message


def test_a_good_batch_has_no_exception_and_says_what_was_checked() -> None:
    report = report_of(good_batch())
    assert (report.state, report.complete, report.conforming, report.authentic) == ("closed", True, True, True)
    assert report.exceptions == ()
    assert [step.state for step in report.steps] == ["done"] * 3
    applied = {code for code, count in report.rules_checked.items() if count.checked}
    assert {"chain_broken", "missing_step", "missing_scan", "wrong_item", "expired_material", "sensor_gap"} <= applied
    assert all(count.checked == count.passed for count in report.rules_checked.values())


# transport


def test_sequence_gap() -> None:
    unit = good_batch()
    lost = unit.records.pop(6)
    report = report_of(unit)
    [gap] = found(report, "sequence_gap")
    assert gap.evidence == (f"{KID.hex()}/{lost.seq}",)
    assert report.holes == ((lost.seq, lost.seq),)
    assert (report.complete, report.authentic) == (False, True)


def test_a_refilled_gap_is_shown_as_resolved() -> None:
    report = report_of(good_batch(), gaps=[GapHistory(9, 10, START_MS, LATER_MS)])
    [gap] = report.exceptions
    assert (gap.code, gap.state) == ("sequence_gap", RESOLVED)
    assert report.complete


def test_the_history_of_a_hole_that_is_open_again_is_not_called_resolved() -> None:
    unit = good_batch()
    unit.records.pop(5)  # seq 10
    report = report_of(unit, gaps=[GapHistory(9, 10, START_MS, LATER_MS)])
    assert [gap.state for gap in found(report, "sequence_gap")] == [OPEN]


def test_count_mismatch() -> None:
    def lie(unit: Unit) -> None:
        hidden = unit.say(Comment("not counted"))
        unit.records.remove(hidden)
        Unit.close(unit)
        unit.records.insert(-1, hidden)

    report = report_of(good_batch(end=lie))
    [item] = found(report, "count_mismatch")
    assert "comment" in item.message
    assert not report.complete


def test_chain_broken() -> None:
    def fork(unit: Unit) -> None:
        unit.prev = bytes(32)
        unit.close()

    report = report_of(good_batch(end=fork))
    only(report, "chain_broken")
    assert (report.complete, report.authentic) == (True, False)


def test_equivocation_keeps_both_and_blocks_the_batch() -> None:
    unit = good_batch()
    original = unit.records[3]
    twin = signed(unit.seed, original.body, _values(original) | {"uptime_ms": original.uptime_ms + 1})
    unit.records.append(twin)
    report = report_of(unit)
    assert "equivocation" in codes(report)
    assert set(codes(report)) <= {"equivocation", "clock_uncertain"}
    assert (report.complete, report.authentic) == (True, False)


def test_key_not_valid_for_a_record_in_the_ledger() -> None:
    fold = fold_of([])
    for record in good_batch().records:
        fold.add(entry_of(record, key_valid=record.seq < 20))
    message = only(fold.report(LATER_MS), "key_not_valid")
    assert "20 to 23" in message


def test_signature_invalid_while_only_the_altered_copy_is_there() -> None:
    unit = good_batch()
    lost = unit.records.pop(6)
    fold = fold_of(unit.records)
    fold.refused(RefusedCopy(bytes([9]) * 32, "altered", KID, lost.seq, BATCH, LATER_MS))
    report = fold.report(LATER_MS)
    [item] = found(report, "signature_invalid")
    assert (item.state, item.evidence) == (OPEN, ("quarantine/0909090909090909",))
    assert (report.complete, report.authentic) == (False, False)
    fold.add(entry_of(lost))
    report = fold.report(LATER_MS)
    [item] = report.exceptions
    assert (item.code, item.state) == ("signature_invalid", RESOLVED)
    assert item.evidence == (f"{KID.hex()}/{lost.seq}", "quarantine/0909090909090909")
    assert (report.complete, report.authentic) == (True, True)


def test_an_altered_copy_is_resolved_by_its_own_record_whatever_else_is_missing() -> None:
    unit = good_batch()
    unit.records.pop(6)
    fold = fold_of(unit.records)
    fold.refused(RefusedCopy(bytes([9]) * 32, "altered", KID, unit.records[3].seq, BATCH, LATER_MS))
    assert [item.state for item in found(fold.report(LATER_MS), "signature_invalid")] == [RESOLVED]


def test_a_copy_without_a_readable_position_is_open_until_the_batch_is_whole() -> None:
    unit = good_batch()
    lost = unit.records.pop(6)
    fold = fold_of(unit.records)
    fold.refused(RefusedCopy(bytes([9]) * 32, "malformed", None, None, BATCH, LATER_MS))
    assert not fold.report(LATER_MS).authentic
    fold.add(entry_of(lost))
    assert fold.report(LATER_MS).authentic


def test_a_forged_copy_of_an_unknown_key_is_shown_but_cannot_spoil_the_verdict() -> None:
    fold = fold_of(good_batch().records[:-4])
    fold.refused(RefusedCopy(bytes([9]) * 32, "unknown_key", bytes(8), 10, BATCH, LATER_MS))
    report = fold.report(START_MS + 700_000)
    [item] = report.exceptions
    assert (item.code, item.state) == ("key_not_valid", RESOLVED)
    assert report.authentic


def test_unknown_record_type() -> None:
    unit = good_batch()
    lost = unit.records.pop(6)
    fold = fold_of(unit.records)
    fold.refused(RefusedCopy(bytes([9]) * 32, "unknown_type", KID, lost.seq, BATCH, LATER_MS))
    report = fold.report(LATER_MS)
    assert found(report, "unknown_record_type")[0].state == OPEN
    assert report.authentic


def test_unit_restarted_is_an_interruption_and_spoils_nothing() -> None:
    def culture(unit: Unit) -> None:
        unit.step("culture", StepAction.START)
        unit.measure(2)
        unit.restart()
        unit.wait(2)
        unit.say(ClockSet("gateway", None))
        unit.measure(2)
        unit.step("culture", StepAction.DONE)

    report = report_of(good_batch(culture=culture))
    only(report, "unit_restarted")
    assert [(one.kind, one.last - one.first) for one in report.interruptions] == [("restart", 1)]
    assert (report.complete, report.conforming, report.authentic) == (True, True, True)


def test_a_new_boot_without_a_boot_record() -> None:
    def load(unit: Unit) -> None:
        unit.boot += 1
        part_load(unit)

    only(report_of(good_batch(load=load)), "unit_restarted")


def test_late_records_are_grouped() -> None:
    fold = fold_of([])
    for record in good_batch().records:
        late_ms = 700_000 if 10 <= record.seq <= 14 else 0
        entry = entry_of(record)
        fold.add(replace(entry, received_ms=entry.received_ms + late_ms))
    report = fold.report(LATER_MS)
    message = only(report, "late_record")
    assert "10 to 14" in message
    assert "between gateway and cloud" in message
    assert [one.kind for one in report.interruptions] == ["late"]
    assert report.conforming


def test_communication_loss_when_the_tail_does_not_come() -> None:
    unit = good_batch()
    fold = fold_of(unit.records[:-2])
    heard_ms = fold.report(0).last_contact_ms or 0
    assert codes(fold.report(heard_ms + 900_000)) == []
    report = fold.report(heard_ms + 900_001)
    only(report, "communication_loss")
    assert (report.state, report.complete) == ("running", False)


def test_communication_loss_when_the_unit_was_silent() -> None:
    def load(unit: Unit) -> None:
        unit.wait(500)
        unit.say(Heartbeat(300_000))
        unit.wait(901)
        unit.step("load", StepAction.START, None)
        unit.scan("donor-bag", DONOR)
        unit.step("load", StepAction.DONE)

    report = report_of(good_batch(load=load))
    assert [item.evidence for item in found(report, "communication_loss")] == [(f"{KID.hex()}/11", f"{KID.hex()}/12")]
    assert [one.kind for one in report.interruptions] == ["silence"]


# the run


@pytest.mark.parametrize(
    ("recipe", "order"),
    [
        (replace(RECIPE, version=4), ORDER_DIGEST),
        (replace(RECIPE, digest=bytes(32)), ORDER_DIGEST),
        (RECIPE, bytes(32)),
    ],
)
def test_recipe_version_mismatch(recipe: object, order: bytes) -> None:
    plan = replace(PLAN, recipe=recipe, order_digest=order)  # type: ignore[arg-type]
    only(report_of(good_batch(), plan), "recipe_version_mismatch")


def test_a_step_that_the_recipe_does_not_have() -> None:
    def load(unit: Unit) -> None:
        part_load(unit)
        unit.step("polish", StepAction.START)

    report = report_of(good_batch(load=load))
    assert codes(report) == ["missing_step", "recipe_version_mismatch"]


def test_a_batch_without_a_known_recipe_is_no_good_batch() -> None:
    report = report_of(good_batch(), BatchPlan(BATCH, "U-01", KID, unplanned_recipe()))
    assert not report.conforming
    assert found(report, "recipe_version_mismatch")


def test_unit_not_authorised() -> None:
    stranger = Unit(seed=bytes(32))
    stranger.open()
    fold = fold_of([*good_batch().records, *stranger.records])
    report = fold.report(LATER_MS)
    only(report, "unit_not_authorised")
    assert report.exceptions[0].evidence == (f"{kid_of(public_key_of(bytes(32))).hex()}/5",)


def test_record_outside_batch() -> None:
    def early(unit: Unit) -> None:
        Unit.close(unit)
        unit.say(Comment("too late"), batch=BATCH)

    assert "after it was closed" in only(report_of(good_batch(end=early)), "record_outside_batch")


def test_records_of_another_batch_inside() -> None:
    def load(unit: Unit) -> None:
        unit.say(Comment("whose?"), batch="B-OTHER")
        part_load(unit)

    assert "B-OTHER" in only(report_of(good_batch(load=load)), "record_outside_batch")


def test_aborted_run_says_it_once() -> None:
    unit = Unit()
    unit.describe()
    unit.open()
    unit.step("prime", StepAction.START)
    unit.close(Outcome.ABORTED)
    report = report_of(unit)
    assert codes(report) == ["aborted_run", "quantity_mismatch"]
    assert (report.state, report.complete, report.conforming) == ("aborted", True, False)


def test_a_batch_that_is_left_for_another_is_aborted() -> None:
    unit = good_batch(end=lambda unit: unit.open(batch="B-NEXT"))
    report = report_of(unit)
    assert codes(report) == ["aborted_run"]
    assert (report.state, report.complete) == ("aborted", False)


def test_a_close_lost_before_another_batch_accuses_nobody() -> None:
    unit = good_batch()
    close = unit.records.pop()
    unit.open(batch="B-NEXT")
    report = report_of(unit)
    assert codes(report) == ["sequence_gap"]
    assert report.holes == ((close.seq, close.seq),)
    assert report.state == "running"


def test_missing_step() -> None:
    def no_load(unit: Unit) -> None:
        unit.step("load", StepAction.SKIP, "no cells came")

    message = only(report_of(good_batch(load=no_load)), "missing_step", step="load")
    assert "no cells came" in message


def test_a_step_never_started_and_one_never_finished() -> None:
    report = report_of(good_batch(culture=lambda unit: None))
    only(report, "missing_step", step="culture")
    report = report_of(good_batch(culture=lambda unit: unit.step("culture", StepAction.START)))
    assert "never finished" in found(report, "missing_step")[0].message


def test_step_out_of_order() -> None:
    def culture_first(unit: Unit) -> None:
        part_culture(unit)
        part_load(unit)

    report = report_of(good_batch(load=culture_first, culture=lambda unit: None))
    message = only(report, "step_out_of_order", step="culture")
    assert "before Load had been finished" in message


def test_a_step_that_ends_without_a_start() -> None:
    def end_only(unit: Unit) -> None:
        unit.step("load", StepAction.DONE)

    report = report_of(good_batch(load=end_only))
    assert codes(report) == ["missing_scan", "step_out_of_order"]


def test_step_repeated() -> None:
    def twice(unit: Unit) -> None:
        part_prime(unit)
        unit.step("prime", StepAction.REPEAT, "bubble in the line")
        unit.scan("cartridge", CARTRIDGE)
        unit.scan("buffer", BUFFER)
        unit.step("prime", StepAction.DONE)

    report = report_of(good_batch(prime=twice))
    assert "bubble" in only(report, "step_repeated", step="prime")
    assert [step.run for step in report.steps if step.step == "prime"] == [1, 2]


def test_forced_step() -> None:
    def forced(unit: Unit) -> None:
        unit.step("load", StepAction.START, "supervisor said so")
        unit.scan("donor-bag", DONOR)
        unit.step("load", StepAction.DONE)

    assert "OP-114" in only(report_of(good_batch(load=forced)), "forced_step", step="load")


def test_step_aborted() -> None:
    def abort(unit: Unit) -> None:
        unit.step("load", StepAction.START)
        unit.step("load", StepAction.ABORT, "bag leaks")
        part_load(unit)

    assert codes(report_of(good_batch(load=abort))) == ["aborted_run", "step_repeated"]


def test_time_limit_of_a_step_and_of_a_wait() -> None:
    def slow(unit: Unit) -> None:
        unit.step("prime", StepAction.START)
        unit.scan("cartridge", CARTRIDGE)
        unit.wait(600)
        unit.scan("buffer", BUFFER)
        unit.wait(601)
        unit.step("prime", StepAction.DONE)

    assert "20 min 1 s" in only(report_of(good_batch(prime=slow)), "time_limit_exceeded", step="prime")

    def waited(unit: Unit) -> None:
        unit.wait(601)
        part_load(unit)

    assert "wait" in only(report_of(good_batch(load=waited)), "time_limit_exceeded", step="load")


def test_a_duration_across_a_restart_counts_the_doubt_of_the_clock() -> None:
    def interrupted(unit: Unit) -> None:
        unit.step("prime", StepAction.START)
        unit.scan("cartridge", CARTRIDGE)
        unit.scan("buffer", BUFFER)
        unit.wait(800)
        unit.say(Heartbeat(300_000))
        unit.restart()
        unit.wait(394.8)  # with 5 s without power: 0.2 s within the limit, but the clock may be wrong by 0.3 s
        unit.say(ClockSet("gateway", None))
        unit.step("prime", StepAction.DONE)

    report = report_of(good_batch(prime=interrupted))
    assert codes(report) == ["time_limit_exceeded", "unit_restarted"]
    assert "may have taken" in found(report, "time_limit_exceeded")[0].message


def test_nobody_signed_in() -> None:
    def nobody(unit: Unit) -> None:
        unit.operator = None
        unit.step("load", StepAction.START)
        unit.operator = "OP-1"
        unit.scan("donor-bag", DONOR)
        unit.step("load", StepAction.DONE)

    only(report_of(good_batch(load=nobody)), "operator_not_qualified", step="load")


def test_alarm_unacknowledged() -> None:
    def alarms(unit: Unit) -> None:
        unit.say(Alarm("lid", AlarmState.RAISED, "lid open"))
        unit.say(Alarm("lid", AlarmState.ACKNOWLEDGED, None))
        unit.say(Alarm("door", AlarmState.RAISED, "door open"))
        unit.say(Alarm("door", AlarmState.CLEARED, None))
        part_load(unit)

    assert "door" in only(report_of(good_batch(load=alarms)), "alarm_unacknowledged")


def test_record_lost() -> None:
    def lose(unit: Unit) -> None:
        unit.say(Loss("samples", 3, "journal full"))
        part_load(unit)

    assert "3 times: samples" in only(report_of(good_batch(load=lose)), "record_lost")


def test_operator_comment_is_only_shown() -> None:
    def note(unit: Unit) -> None:
        unit.say(Comment("foam in the bag"))
        part_load(unit)

    report = report_of(good_batch(load=note))
    assert "foam" in only(report, "operator_comment")
    assert report.conforming


def test_clock_uncertain_for_a_boot_without_a_clock() -> None:
    def timeless(unit: Unit) -> None:
        unit.offset_ms = None
        part_load(unit)
        unit.offset_ms = START_MS

    unit = good_batch(load=timeless)
    assert codes(report_of(unit)) == []  # the same boot has a clock before and after: uptime leads there

    def no_clock_any_more(unit: Unit) -> None:
        unit.restart()
        unit.offset_ms = None
        unit.uptime_ms = 1000
        part_culture(unit)

    report = report_of(good_batch(culture=no_clock_any_more))
    assert "clock_uncertain" in codes(report)
    assert found(report, "clock_uncertain")[0].severity == MAJOR


def test_clock_uncertain_for_a_wide_doubt_and_a_big_step() -> None:
    def doubt(unit: Unit) -> None:
        unit.uncertainty_ms = 60_001
        part_load(unit)
        unit.uncertainty_ms = 100

    assert "1 min" in only(report_of(good_batch(load=doubt)), "clock_uncertain")

    def step(unit: Unit) -> None:
        unit.say(ClockSet("gateway", -61_000))
        part_load(unit)

    assert "back by 1 min 1 s" in only(report_of(good_batch(load=step)), "clock_uncertain", severity=MINOR)


def test_running_time_that_goes_back() -> None:
    def back(unit: Unit) -> None:
        unit.say(Heartbeat(1), uptime_ms=unit.uptime_ms - 5)
        unit.say(Heartbeat(1), uptime_ms=unit.uptime_ms - 7)
        part_load(unit)

    report = report_of(good_batch(load=back))
    assert set(codes(report)) == {"clock_uncertain"}
    assert found(report, "clock_uncertain")[0].severity == MAJOR


# materials


def _loading(*scans: tuple[str, str]) -> Unit:
    """A good batch with these scans in step load, before the right one."""

    def load(unit: Unit) -> None:
        unit.step("load", StepAction.START)
        for item, text in scans:
            unit.scan(item, text)
        unit.scan("donor-bag", DONOR)
        unit.step("load", StepAction.DONE)

    return good_batch(load=load)


def _priming(cartridge: str | None = CARTRIDGE, buffer: str | None = BUFFER, **how: object) -> Unit:
    def prime(unit: Unit) -> None:
        unit.step("prime", StepAction.START)
        if cartridge is not None:
            unit.scan("cartridge", cartridge, **how)  # type: ignore[arg-type]
        if buffer is not None:
            unit.scan("buffer", buffer)
        unit.step("prime", StepAction.DONE)

    return good_batch(prime=prime)


def test_missing_scan() -> None:
    report = report_of(_priming(buffer=None))
    assert "Wash buffer" in only(report, "missing_scan", step="prime")
    assert report.steps[0].missing == ("buffer",)


def test_a_refused_scan_does_not_count_as_a_scan() -> None:
    def prime(unit: Unit) -> None:
        unit.step("prime", StepAction.START)
        unit.scan("cartridge", CARTRIDGE)
        unit.scan("buffer", CARTRIDGE, refused="wrong_item")
        unit.step("prime", StepAction.DONE, "no buffer left")

    report = report_of(good_batch(prime=prime))
    assert codes(report) == ["forced_step", "missing_scan", "wrong_item"]
    assert found(report, "wrong_item")[0].severity == MINOR
    assert "refused" in found(report, "wrong_item")[0].message


def test_unexpected_item() -> None:
    only(report_of(_loading(("buffer", BUFFER))), "unexpected_item", step="load")
    only(report_of(_loading(("gloves", "x"))), "unexpected_item", step="load")


def test_wrong_item_that_the_unit_accepted() -> None:
    report = report_of(_priming(buffer="010952000001003417270131" + "10LOT-7"))
    assert "09520000010034 was accepted as Wash buffer" in only(report, "wrong_item", step="prime")


def test_a_code_that_names_no_article_is_a_wrong_item() -> None:
    report = report_of(_priming(CARTRIDGE, aim="]C0"))  # the plain symbology: no GS1 grammar, whatever the text says
    assert set(codes(report)) == {"wrong_item", "label_mismatch"}


def test_identity_mismatch() -> None:
    report = report_of(_loading(("donor-bag", DONOR[:-1] + "1")))
    only(report, "identity_mismatch", step="load")
    assert not report.conforming


def test_an_item_of_another_donor_is_an_identity_mismatch() -> None:
    report = report_of(_priming(cartridge=DONOR[:-4] + "00" + DONOR[-2:], aim="]C0"))
    assert set(codes(report)) == {"identity_mismatch", "label_mismatch", "wrong_item"}
    assert not report.conforming


def test_duplicate_serial_within_the_batch() -> None:
    def prime(unit: Unit) -> None:
        unit.step("prime", StepAction.START)
        unit.scan("cartridge", CARTRIDGE)
        unit.scan("cartridge", CARTRIDGE)
        unit.scan("buffer", BUFFER)
        unit.step("prime", StepAction.DONE)

    only(report_of(good_batch(prime=prime)), "duplicate_serial", step="prime")


def test_duplicate_serial_across_batches() -> None:
    known = [
        SerialUse("article 09520000010010", "SN-1", "B-2026-0009"),
        SerialUse("article 09520000010010", "SN-1", BATCH),
    ]
    report = report_of(good_batch(), known=known)
    assert "batch B-2026-0009 used it too" in only(report, "duplicate_serial", step="prime")
    other = [SerialUse("article 09520000010010", "SN-2", "B-2026-0009")]
    assert report_of(good_batch(), known=other).exceptions == ()


def test_a_batch_names_its_serials_for_the_others() -> None:
    fold = fold_of(good_batch().records)
    fold.report(LATER_MS)
    assert fold.serials() == (SerialUse("article 09520000010010", "SN-1", BATCH),)


def test_expired_material() -> None:
    report = report_of(_priming(buffer="0109520000010027" + "17261027" + "10LOT-7"))  # used on 2026-10-28
    assert "lot LOT-7 expired on 2026-10-27" in only(report, "expired_material", step="prime")
    assert report_of(_priming(buffer="0109520000010027" + "17261028" + "10LOT-7")).exceptions == ()


def test_the_last_day_ends_at_the_site() -> None:
    unit = _priming(buffer="0109520000010027" + "17261028" + "10LOT-7")  # 07:01 UTC is 19:01 at the site
    assert report_of(unit, replace(PLAN, utc_offset_min=12 * 60)).exceptions == ()
    report = report_of(unit, replace(PLAN, utc_offset_min=17 * 60))  # 00:01 of the next day
    only(report, "expired_material", step="prime")


def test_an_uncertain_boundary_of_expiry_is_no_pass() -> None:
    def prime(unit: Unit) -> None:
        unit.offset_ms, unit.uncertainty_ms = START_MS + 17 * 3_600_000 - 90_000, 45_000  # 23:59:30, give or take 45 s
        unit.step("prime", StepAction.START)
        unit.scan("cartridge", CARTRIDGE)
        unit.scan("buffer", "0109520000010027" + "17261028" + "10LOT-7")
        unit.step("prime", StepAction.DONE)

    report = report_of(good_batch(prime=prime))
    assert "cannot show" in only(report, "clock_uncertain", step="prime")


@pytest.mark.parametrize(
    "buffer",
    [
        "0109520000010027" + "17270131",  # no lot
        "0109520000010028" + "17270131" + "10LOT-7",  # check digit
        "0109520000010027" + "17270231" + "10LOT-7",  # 31 February
        "0109520000010027" + "10LOT-7" + GS + "10LOT-8" + GS + "17270131",  # a lot twice
        "0109520000010027" + "17270131" + "10" + "L" * 20 + "21SN",  # a separator lost
    ],
)
def test_label_mismatch(buffer: str) -> None:
    only(report_of(_priming(buffer=buffer)), "label_mismatch", step="prime")


def test_a_label_without_a_day_of_expiry_is_flagged_and_read_as_the_end_of_the_month() -> None:
    report = report_of(_priming(buffer="0109520000010027" + "17261000" + "10LOT-7"))
    assert "2026-10-31" in only(report, "label_mismatch", step="prime", severity=MINOR)


def test_manual_entry_unverified() -> None:
    only(report_of(_priming(CARTRIDGE, entry=Entry.MANUAL)), "manual_entry_unverified", step="prime")


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("wrong_item", "wrong_item"),
        ("expired", "expired_material"),
        ("duplicate", "duplicate_serial"),
        ("not_asked", "unexpected_item"),
        ("clock_uncertain", "clock_uncertain"),
        ("unreadable", "scan_refused"),
        ("something_new", "scan_refused"),
    ],
)
def test_what_the_unit_refused_is_minor(reason: str, code: str) -> None:
    def load(unit: Unit) -> None:
        unit.step("load", StepAction.START)
        unit.scan("donor-bag", BUFFER, refused=reason)
        unit.scan("donor-bag", DONOR)
        unit.step("load", StepAction.DONE)

    report = report_of(good_batch(load=load))
    only(report, code, step="load", severity=MINOR)
    assert report.conforming


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ([(QuantityKind.ISSUED, 500, 0, "mL"), (QuantityKind.USED, 497, 0, "mL")], "difference of 3 mL"),
        ([(QuantityKind.ISSUED, 1, 0, "L")], "in L"),
        ([], "No quantity"),
    ],
)
def test_quantity_mismatch(entries: list[tuple[QuantityKind, int, int, str]], told: str) -> None:
    def quantities(unit: Unit) -> None:
        for kind, mantissa, exponent, measure in entries:
            unit.quantity(kind, mantissa, exponent, measure)

    assert told in only(report_of(good_batch(quantities=quantities)), "quantity_mismatch")


def test_a_negative_quantity_cannot_make_a_balance() -> None:
    def quantities(unit: Unit) -> None:
        part_quantities(unit)
        unit.quantity(QuantityKind.REJECTED, -100)
        unit.quantity(QuantityKind.DESTROYED, 100)

    assert "negative" in only(report_of(good_batch(quantities=quantities)), "quantity_mismatch")


# sensors


def _culturing(*minutes: list[int]) -> Unit:
    def culture(unit: Unit) -> None:
        unit.step("culture", StepAction.START)
        for values in minutes:
            unit.wait(60)
            unit.samples(values)
        unit.step("culture", StepAction.DONE)

    return good_batch(culture=culture)


GOOD = [3700] * 60


def test_parameter_excursion_has_start_end_peak_duration_and_area() -> None:
    unit = _culturing(GOOD, [3760] * 59 + [3790], [3760] * 10 + [3700] * 50, GOOD)
    report = report_of(unit)
    items = found(report, "parameter_excursion")
    assert [item.severity for item in items] == [MAJOR, MINOR]  # beyond action, and so beyond alert
    action = next(one for one in report.excursions if one.band == "action")
    assert (action.side, action.limit, action.peak, action.duration_ms) == ("high", "37.5", "37.90", 70_000)
    assert action.area == "0.122"  # 69 s at 0.10 and 1 s at 0.40 above, in Cel minutes
    assert action.end_ms is not None
    assert action.start_ms is not None
    assert action.end_ms - action.start_ms == 70_000
    assert "37.90 Cel" in items[0].message
    assert not report.conforming


def test_an_excursion_not_longer_than_the_delay_is_none() -> None:
    assert report_of(_culturing(GOOD, [3760] * 60, GOOD)).exceptions == ()


def test_an_excursion_below() -> None:
    report = report_of(_culturing(GOOD, [3649] * 60, [3640] + [3700] * 59))
    assert [one.side for one in report.excursions] == ["low"]


def test_limits_hold_only_in_their_steps() -> None:
    def load(unit: Unit) -> None:
        unit.step("load", StepAction.START)
        unit.scan("donor-bag", DONOR)
        unit.measure(5, 2000)
        unit.step("load", StepAction.DONE)

    assert report_of(good_batch(load=load)).exceptions == ()


def test_samples_recorded_after_a_step_began_are_cut_at_its_start() -> None:
    def culture(unit: Unit) -> None:
        unit.wait(30)
        unit.step("culture", StepAction.START)
        unit.wait(30)
        unit.samples([2000] * 29 + [3700] * 31)
        unit.measure(2)
        unit.wait(30)
        unit.step("culture", StepAction.DONE)
        unit.wait(30)
        unit.samples([3700] * 30 + [2000] * 30)

    plan = replace(PLAN, recipe=replace(RECIPE, parameters=(replace(RECIPE.parameters[0], delay_ms=0),)))
    assert report_of(good_batch(culture=culture), plan).exceptions == ()


def test_a_limit_between_two_values_of_a_coarse_channel() -> None:
    def culture(unit: Unit) -> None:
        unit.channels_seq = unit.say(Channels((Channel("temperature", "Cel", 0, 0, 60, None, None),))).seq
        unit.step("culture", StepAction.START)
        unit.measure(2, 37)
        unit.measure(2, 38)
        unit.measure(2, 36)
        unit.step("culture", StepAction.DONE)

    report = report_of(good_batch(culture=culture))
    assert [(one.side, one.peak) for one in report.excursions if one.band == "action"] == [
        ("high", "38"),
        ("low", "36"),
    ]


def test_sensor_gap_within_a_boot() -> None:
    def culture(unit: Unit) -> None:
        unit.step("culture", StepAction.START)
        unit.measure(1)
        unit.wait(240)
        unit.measure(2)
        unit.step("culture", StepAction.DONE)

    report = report_of(good_batch(culture=culture))
    assert "4 min 1 s" in only(report, "sensor_gap", step="culture")


def test_missing_samples_are_a_gap_and_not_bridged() -> None:
    marks = dict.fromkeys(range(60), Mark.MISSING)

    def culture(unit: Unit) -> None:
        unit.step("culture", StepAction.START)
        unit.measure(1)
        for _ in range(4):
            unit.wait(60)
            unit.samples([None] * 60, marks)
        unit.measure(1)
        unit.step("culture", StepAction.DONE)

    report = report_of(good_batch(culture=culture))
    assert "4 min 1 s" in only(report, "sensor_gap", step="culture")
    assert report.channels[0].faulty == 240


def test_no_samples_at_all_in_a_step_that_needs_them() -> None:
    def culture(unit: Unit) -> None:
        unit.step("culture", StepAction.START)
        unit.wait(300)
        unit.step("culture", StepAction.DONE)

    only(report_of(good_batch(culture=culture)), "sensor_gap", step="culture")


@pytest.mark.parametrize(("dark_s", "expected"), [(100, []), (179.8, ["sensor_gap"])])
def test_a_gap_across_a_restart_counts_the_doubt_of_the_clock(dark_s: float, expected: list[str]) -> None:
    def culture(unit: Unit) -> None:
        unit.step("culture", StepAction.START)
        unit.measure(1)
        last_ms = unit.records[-1].time_ms or 0
        unit.restart()
        unit.offset_ms = last_ms + int(dark_s * 1000) - 60_000 + 59_000
        unit.measure(2)
        unit.step("culture", StepAction.DONE)

    report = report_of(good_batch(culture=culture))
    assert codes(report) == sorted([*expected, "unit_restarted"])


@pytest.mark.parametrize("back_s", [125, 3600])
def test_clocks_that_contradict_the_chain_prove_no_time(back_s: int) -> None:
    """After the restart the clock shows less than before, by more than both uncertainties."""

    def culture(unit: Unit) -> None:
        unit.step("culture", StepAction.START)
        unit.measure(1)
        last_ms = unit.records[-1].time_ms or 0
        unit.restart()
        unit.offset_ms = last_ms - back_s * 1000
        unit.measure(2)
        unit.step("culture", StepAction.DONE)

    report = report_of(good_batch(culture=culture))
    assert "a time that no clock can show" in found(report, "sensor_gap")[0].message
    assert not report.conforming


def test_sensor_fault_is_not_a_missing_sample() -> None:
    values: list[int | None] = [3700] * 20 + [None] * 20 + [3700] * 20
    report = report_of(_faulty(values))
    assert "faulty for 20 s" in only(report, "sensor_fault", step="culture", severity=MINOR)


def _faulty(values: list[int | None], mark: Mark = Mark.FAULT, minutes: int = 1) -> Unit:
    def culture(unit: Unit) -> None:
        unit.step("culture", StepAction.START)
        unit.measure(1)
        for _ in range(minutes):
            unit.wait(60)
            marked = range(20, 40) if None in values else range(60)
            unit.samples(values, dict.fromkeys(marked, mark))
        unit.measure(1)
        unit.step("culture", StepAction.DONE)

    return good_batch(culture=culture)


def test_a_stuck_sensor_for_longer_than_the_allowed_gap_is_major() -> None:
    report = report_of(_faulty([3700] * 60, Mark.STUCK, 4))
    assert "stuck for 4 min" in only(report, "sensor_fault", step="culture")


def test_out_of_range_is_marked_and_still_judged() -> None:
    report = report_of(_faulty([9900] * 60, Mark.OUT_OF_RANGE, 2))
    assert codes(report) == ["parameter_excursion", "parameter_excursion", "sensor_fault"]


def test_samples_without_their_description() -> None:
    unit = good_batch()
    description = unit.records.pop(0)
    fold = fold_of(unit.records)
    report = fold.report(LATER_MS)
    assert {"sensor_fault", "sensor_gap"} == set(codes(report))
    assert fold.missing_channels == {description.seq}
    fold.add(entry_of(description))
    assert fold.report(LATER_MS).exceptions == ()
    assert fold.missing_channels == frozenset()


def test_a_channel_in_another_unit_is_not_judged_by_the_limits() -> None:
    def culture(unit: Unit) -> None:
        unit.channels_seq = unit.say(Channels((Channel("temperature", "K", -2, 0, 60_000, None, None),))).seq
        part_culture(unit)

    assert "sensor_fault" in codes(report_of(good_batch(culture=culture)))


def test_calibration_expired_once() -> None:
    def culture(unit: Unit) -> None:
        channel = Channel("temperature", "Cel", -2, 0, 6000, "CAL-9", START_MS)
        unit.channels_seq = unit.say(Channels((channel,))).seq
        part_culture(unit)

    assert "CAL-9" in only(report_of(good_batch(culture=culture)), "calibration_expired")


# severities


def test_a_recipe_overrides_severities_but_not_of_softened_findings() -> None:
    louder = RECIPE_TOML + b'\n[severity]\nmissing_step = "critical"\nwrong_item = "major"\n'
    recipe = parse_recipe(louder)
    plan = replace(PLAN, recipe=replace(recipe, digest=RECIPE.digest))

    def no_load(unit: Unit) -> None:
        unit.scan("donor-bag", BUFFER, refused="wrong_item")
        unit.step("load", StepAction.SKIP, "none")

    severities = {item.code: item.severity for item in report_of(good_batch(load=no_load), plan).exceptions}
    assert severities == {"missing_step": "critical", "wrong_item": "minor"}


def test_every_code_of_the_catalogue_has_a_floor_or_a_meaning() -> None:
    assert CODES.keys() >= FLOORED
    assert all(code.meaning for code in CODES.values())


def _values(record: object) -> dict[str, object]:
    names = ("seq", "prev", "boot", "uptime_ms", "time_ms", "uncertainty_ms", "batch", "operator")
    return {name: getattr(record, name) for name in names}
