"""The story's promises, each asserted on its own; the truth comes out of raw flash."""

import re
from typing import Any

import pytest

from hil_tests.checker import check
from hil_tests.ledger import Ledger
from hil_tests.tests.conftest import Told

pytestmark = [pytest.mark.story, pytest.mark.timeout(300)]


def codes(report: dict[str, Any], state: str | None = None) -> set[str]:
    return {item["code"] for item in report["exceptions"] if state in (None, item["state"])}


def verdicts(report: dict[str, Any]) -> dict[str, bool]:
    return {name: report[name] for name in ("complete", "conforming", "authentic")}


def test_all_that_was_saved_is_archived(told: Told) -> None:
    assert told.settled
    for stream in told.outcome["streams"]:
        assert stream["saved"] == stream["relayed"] == stream["archived"] > 40


def test_the_ledger_is_what_the_units_journaled(told: Told) -> None:
    """SPEC W58: byte for byte, through gateways that were killed and brokers that forgot."""
    assert check(told.truth(), told.stage.cloud.database) == []


def test_no_record_was_forged_into_the_ledger(told: Told) -> None:
    assert [stream["forged"] for stream in told.outcome["streams"]] == [0, 0, 0]


def test_no_receipt_came_before_its_records(told: Told) -> None:
    """SPEC W40: the witness looked into the ledger at the moment each receipt passed."""
    assert len(told.stage.witness.receipts) > 10
    assert told.stage.witness.too_early == []


def test_a_batch_that_is_right_in_everything(told: Told) -> None:
    report = told.report(1)
    assert verdicts(report) == {"complete": True, "conforming": True, "authentic": True}
    assert [item for item in report["exceptions"] if item["severity"] != "minor"] == []


def test_process_faults_are_found(told: Told) -> None:
    report = told.report(2)
    assert verdicts(report) == {"complete": True, "conforming": False, "authentic": True}
    expected = {"wrong_item", "expired_material", "missing_scan", "step_out_of_order", "forced_step"}
    assert codes(report) >= expected | {"parameter_excursion", "sensor_gap"}
    assert not codes(report) & {"override_invalid", "same_person_verified"}


def test_what_two_people_overruled_is_told_with_both(told: Told) -> None:
    """SPEC W28: a step finished without its scan, one started out of order, an item of a wrong label."""
    report = told.report(2)
    overruled = [item for item in report["exceptions"] if "OP-207" in item["message"] and "OP-901" in item["message"]]
    assert {item["code"] for item in overruled} == {"missing_scan", "step_out_of_order", "forced_step", "wrong_item"}
    assert all(len(item["evidence"]) >= 2 for item in overruled)
    (wrong,) = [item for item in overruled if item["code"] == "wrong_item"]
    assert (wrong["severity"], wrong["state"]) == ("critical", "open")
    scans = [
        (scan["text"], scan["accepted"], scan["overruled"]["reason"]) for scan in report["scans"] if scan["overruled"]
    ]
    assert scans == [
        ("CT/STEP/DONE", False, "label unreadable"),
        ("CT/STEP/START/harvest", False, "changed plan"),
        ("HARVEST-0002", False, "old label, right bag"),
    ]
    assert not any(item["code"] == "missing_scan" and "bag" in item["message"].lower() for item in report["exceptions"])


def test_labels_of_every_scheme_are_read_by_unit_and_cloud(told: Told) -> None:
    """GS1, HIBC, ISBT 128 and a pattern of the site: drawn, scanned, judged by the unit, and read anew by the cloud."""
    scans = {scan["item"]: scan for scan in told.report(1)["scans"]}
    assert all(scan["accepted"] and not scan["findings"] for scan in scans.values())
    assert scans["filter"]["article"] == "HIBC A99912345670"
    assert scans["filter"]["lot"] == "WF0001"
    assert scans["bag"]["article"].startswith("site pattern HB-")
    assert scans["bag"]["serial"] == "0001"
    assert scans["cartridge"]["gtin"] == "09520000010010"
    assert scans["donor-bag"]["text"].startswith("=A9999")


def test_the_alarm_of_the_excursion_is_raised_and_acknowledged(told: Told) -> None:
    report = told.report(2)
    assert report["rules_checked"]["alarm_unacknowledged"]["checked"] > 0
    assert "alarm_unacknowledged" not in codes(report)


def test_trouble_leaves_a_complete_batch_with_its_interruptions(told: Told) -> None:
    """Whether it conforms depends on how long the unit was without power in the culture: a real gap in its samples."""
    report = told.report(3)
    assert report["complete"]
    assert report["authentic"]
    restarts = [item for item in report["exceptions"] if item["code"] == "unit_restarted"]
    assert len(restarts) >= 2  # one for each power cut
    assert "late_record" in codes(report)


def test_the_broker_forgot_records_that_it_had_taken(told: Told) -> None:
    """They were in the broker and not in the ledger when it was killed; all are in the ledger now."""
    assert told.story.forgotten
    with Ledger(told.stage.cloud.database) as ledger:
        held = {(bytes(kid), seq) for kid, seq in ledger.rows("SELECT kid, seq FROM ledger_ledgerrecord")}
    assert told.story.forgotten <= held


def test_a_bad_carrier_is_found_out_and_everything_refilled(told: Told) -> None:
    """SPEC W65, and W56: what the spool lacks comes out of the unit's journal."""
    report = told.report(4)
    assert verdicts(report) == {"complete": True, "conforming": True, "authentic": True}
    assert codes(report) >= {"signature_invalid", "key_not_valid", "sequence_gap"}
    assert told.outcome["quarantined"] == 2


def test_a_removed_record_is_flagged_as_a_gap_that_was_filled(told: Told) -> None:
    (kid, seq) = told.story.tampering.removed[0]
    gaps = [item for item in told.report(4)["exceptions"] if item["code"] == "sequence_gap"]
    assert any(f"{kid.hex()}/{seq}" in item["evidence"] for item in gaps)
    assert {item["state"] for item in gaps} == {"resolved"}


def test_the_other_batches_show_no_tampering(told: Told) -> None:
    for number in (1, 2, 3):
        assert not codes(told.report(number)) & {"signature_invalid", "key_not_valid", "equivocation", "chain_broken"}


def test_every_piece_of_evidence_can_be_opened(told: Told) -> None:
    with Ledger(told.stage.cloud.database) as ledger:
        held = {f"{kid.hex()}/{seq}" for kid, seq in ledger.rows("SELECT kid, seq FROM ledger_ledgerrecord")}
        refused = {f"quarantine/{row[0].hex()[:16]}" for row in ledger.rows("SELECT digest FROM ledger_quarantine")}
    for batch in told.outcome["batches"]:
        for item in batch["exceptions"]:
            assert item["evidence"], item
            assert set(item["evidence"]) <= held | refused, item


def test_the_outcome_has_the_shape_that_programs_rely_on(told: Told) -> None:
    outcome = told.outcome
    assert set(outcome) == {"batches", "streams", "quarantined"}
    for batch in outcome["batches"]:
        assert set(batch) == {"batch", "complete", "conforming", "authentic", "exceptions"}
        assert all(set(item) == {"code", "severity", "evidence"} for item in batch["exceptions"])
    for stream in outcome["streams"]:
        assert set(stream) == {"unit", "kid", "saved", "relayed", "archived", "forged"}
        assert re.fullmatch("[0-9a-f]{16}", stream["kid"])


def test_nothing_crashed_on_the_way(told: Told) -> None:
    for unit in told.stage.units.values():
        assert unit.console() == ""
    for program in (told.stage.cloud.ingest, told.stage.cloud.web, *(g.program for g in told.stage.gateways.values())):
        assert "Traceback" not in program.log.read_text()
