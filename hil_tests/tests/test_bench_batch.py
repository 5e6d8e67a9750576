"""One unit, the real firmware, from enrolment to a closed batch: what it journals is what the contract says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import wire
from hil_tests.bench.judged import judged
from hil_tests.bench.peer import CLOUD_KEY, CLOUD_SEED, Peer, provisioned
from hil_tests.bench.small_batch import (
    BATCH,
    BUFFER_GTIN,
    CARTRIDGE_GTIN,
    NOW_MS,
    cartridge,
    label,
    open_batch,
    order,
    plain,
    scan,
)
from hil_tests.bench.unix_unit import UnixUnit
from wire import RecordType, ScanVerdict, StepAction

SPEED = 20.0


@pytest.fixture
def unit(tmp_path: Path) -> Iterator[UnixUnit]:
    genesis, _kid = provisioned(tmp_path)
    with UnixUnit(tmp_path, speed=SPEED, settings={"debounce_ms": "50"}) as board:
        board.power_on()
        yield board
        assert board.console() == "", "the firmware printed something: it crashed"
        assert board.board.misuse is None
        assert board.journal()[0] == genesis


@pytest.fixture
def peer(unit: UnixUnit) -> Iterator[Peer]:
    with Peer(unit.link_port, kid=wire.decode_record(unit.journal()[0]).kid, now_ms=NOW_MS) as gateway:
        gateway.wait(lambda: bool(gateway.hellos), "a hello")
        yield gateway


def test_a_scan_becomes_a_record_that_the_host_verifies(unit: UnixUnit, peer: Peer) -> None:
    scan(unit, plain("CT/BADGE/OP-1"), "Welcome OP-1")
    peer.wait_types(RecordType.GENESIS, RecordType.BOOT, RecordType.CHANNELS, RecordType.OPERATOR)
    assert [record.raw for record in judged(unit.journal())][: len(peer.records)] == [
        peer.records[seq] for seq in sorted(peer.records)
    ]


def test_a_whole_batch(unit: UnixUnit, peer: Peer) -> None:
    open_batch(unit, peer)
    scan(unit, plain("CT/STEP/START/load"), "Step started", "Donor bag")
    scan(unit, plain("=A99991234567800"), "OK Donor bag", "> Cartridge")
    scan(unit, cartridge("C0001"), "OK Cartridge", "> scan STEP DONE")
    scan(unit, plain("CT/STEP/DONE"), "Step done")
    scan(unit, plain("CT/STEP/START/wash"), "Step started")
    scan(unit, label(BUFFER_GTIN, "1727123110WB-7"), "OK Wash buffer")
    scan(unit, plain("CT/QTY/buffer/used/12.50/mL"), "buffer used", "12.50 mL")
    scan(unit, plain("CT/STEP/DONE"), "Step done", "seal")
    scan(unit, plain("CT/STEP/SKIP/seal/no sealer here"), "Step skipped", "scan BATCH CLOSE")
    scan(unit, plain("CT/NOTE/all well"), "Note recorded")
    scan(unit, plain("CT/BATCH/CLOSE"), "Batch closed")
    records = judged(unit.journal())
    close = records[-1] if records[-1].type == RecordType.BATCH_CLOSE else records[-2]
    assert isinstance(close.body, wire.BatchClose)
    mine = records[close.body.first_seq : close.seq]
    assert mine[0].type == RecordType.BATCH_OPEN
    assert dict(close.body.counts) == dict(Counter(int(record.type) for record in mine))
    assert {record.batch for record in mine} == {BATCH} == {close.batch}
    assert all(record.operator == "OP-1" for record in mine)
    quantity = next(record.body for record in mine if isinstance(record.body, wire.Quantity))
    assert (quantity.mantissa, quantity.exponent, quantity.unit) == (1250, -2, "mL")
    scans = [record.body for record in mine if isinstance(record.body, wire.Scan)]
    assert [(found.asked, found.verdict) for found in scans] == [
        ("donor", ScanVerdict.ACCEPTED), ("cartridge", ScanVerdict.ACCEPTED), ("buffer", ScanVerdict.ACCEPTED),
    ]  # fmt: skip
    assert mine[-1].type == RecordType.SAMPLES, "the batch's last readings are not in the batch"
    assert mine[-1].time_ms is not None
    assert abs(mine[-1].time_ms - NOW_MS) < 600_000


def refusals(unit: UnixUnit) -> list[tuple[str, str | None]]:
    scans = [record.body for record in judged(unit.journal()) if isinstance(record.body, wire.Scan)]
    return [(found.asked, found.reason) for found in scans if found.verdict == ScanVerdict.REFUSED]


def test_what_is_wrong_is_refused_in_words_and_recorded(unit: UnixUnit, peer: Peer) -> None:
    scan(unit, cartridge("C0001"), "! Nobody signed in:")
    scan(unit, plain("CT/BATCH/OPEN"), "Scan your BADGE")
    open_batch(unit, peer)
    scan(unit, cartridge("C0001"), "! No step open. Next:", "START load")
    scan(unit, plain("CT/STEP/START/wash"), "! WRONG STEP. Next:", "load")
    scan(unit, plain("CT/STEP/START/load"), "Step started")
    scan(unit, label(BUFFER_GTIN, "1727123110WB-7"), "! WRONG ITEM. Need:", "Donor bag")
    scan(unit, plain("=A99991234567800"), "OK Donor bag")
    scan(unit, cartridge("C0009", "251231"), "! EXPIRED 2025-12-31:")
    scan(unit, label(CARTRIDGE_GTIN, "17271231"), "! No serial in code:")
    scan(unit, label(CARTRIDGE_GTIN, "21C000117271231"), "! Separator missing")  # after the serial
    scan(unit, plain("CT/STEP/DONE"), "! NOT DONE. Scan:", "Cartridge")
    scan(unit, cartridge("C0001"), "OK Cartridge")
    scan(unit, plain("CT/BATCH/CLOSE"), "! A step is open:", "scan STEP DONE first")
    assert refusals(unit) == [
        ("", "no_operator"), ("", "no_operator"), ("", "not_asked"), ("", "wrong_step"), ("donor", "identity_mismatch"),
        ("cartridge", "expired"), ("cartridge", "missing_field"), ("cartridge", "ambiguous"),
        ("cartridge", "not_asked"), ("", "not_asked"),
    ]  # fmt: skip


def test_two_people_override_what_the_unit_refused(unit: UnixUnit, peer: Peer) -> None:
    open_batch(unit, peer)
    unit.unplug_link()  # everything works from the stored order
    scan(unit, plain("CT/STEP/START/wash"), "! WRONG STEP. Next:")
    scan(unit, plain("CT/OVERRIDE/buffer first"), "Override:", "buffer first", "Second badge:", "> ANOTHER person")
    scan(unit, plain("CT/BADGE/OP-1"), "! Same badge: ANOTHER", "Second badge:")
    scan(unit, plain("CT/BADGE/OP-2"), "Override recorded:", f"{BATCH} wash")
    scan(unit, label(BUFFER_GTIN, "1725123110WB-7"), "! EXPIRED 2025-12-31:")
    scan(unit, plain("CT/OVERRIDE/stability extended"), "Second badge:")
    scan(unit, plain("CT/BADGE/OP-2"), "Override recorded:", "> scan STEP DONE")
    scan(unit, plain("CT/STEP/DONE"), "Step done")
    scan(unit, plain("CT/STEP/START/load"), "Step started")
    scan(unit, plain("=A99991234567900"), "! IDENTITY MISMATCH:", "STOP, call supervisor")
    scan(unit, plain("CT/OVERRIDE/looks like it"), "! Identity is final:", "STOP, call supervisor")
    records = judged(unit.journal())
    overrides = [record for record in records if isinstance(record.body, wire.Override)]
    assert [(record.operator, record.body.subject, record.body.second) for record in overrides] == [  # type: ignore[union-attr]
        ("OP-1", "wash", "OP-2"), ("OP-1", "buffer", "OP-2"),
    ]  # fmt: skip
    for record in overrides:
        assert isinstance(record.body, wire.Override)
        scans = [other for other in records[: record.seq] if isinstance(other.body, wire.Scan)]
        assert scans[-1].seq == record.body.refused
        assert scans[-1].body.verdict == ScanVerdict.REFUSED  # type: ignore[union-attr]
    started = records[overrides[0].seq + 1].body
    assert started == wire.Step("wash", StepAction.START, "buffer first")  # the very next record


def test_a_power_cut_ends_an_override_that_was_only_begun(unit: UnixUnit, peer: Peer) -> None:
    open_batch(unit, peer)
    scan(unit, plain("CT/STEP/START/wash"), "! WRONG STEP. Next:")
    scan(unit, plain("CT/OVERRIDE/buffer first"), "Second badge:")
    unit.power_cut()
    unit.power_on()
    unit.wait_panel("Restarted: resumed")
    unit.wait_panel("> START load")
    scan(unit, plain("CT/BADGE/OP-2"), "Welcome OP-2")  # a badge is a badge again
    scan(unit, plain("CT/OVERRIDE/buffer first"), "! Nothing to override")
    assert not any(isinstance(record.body, wire.Override) for record in judged(unit.journal()))


def test_a_cartridge_of_an_earlier_batch_is_refused_after_power_cuts(unit: UnixUnit, peer: Peer) -> None:
    for number, words in ((1, "OK Cartridge"), (2, "! Used in old batch:")):
        peer.order(order(peer.kid, number=number, batch=f"B-{number}"))
        if number == 1:
            scan(unit, plain("CT/BADGE/OP-1"), "Welcome OP-1")
        unit.wait_panel(f"> B-{number}")
        scan(unit, plain("CT/BATCH/OPEN"), "Batch open")
        scan(unit, plain("CT/STEP/START/load"), "Step started")
        scan(unit, plain("=A99991234567800"), "OK Donor bag")
        scan(unit, cartridge("C0001"), words)
        scan(unit, plain("CT/BATCH/ABORT/trial"), "Batch aborted")
        unit.power_cut()
        unit.power_on()
        unit.wait_panel("Restarted")
        peer.wait(lambda: len(peer.hellos) > 1, "the hello after the power cut")


def test_a_forged_or_foreign_order_is_not_taken(unit: UnixUnit, peer: Peer) -> None:
    scan(unit, plain("CT/BADGE/OP-1"), "Welcome OP-1")
    peer.order(order(peer.kid), seed=bytes(32))
    peer.order(order(b"elsewher"))
    scan(unit, plain("CT/BATCH/OPEN"), "! No order yet: wait", "or check the gateway")
    peer.order(order(peer.kid, number=3))
    lines = unit.wait_panel("Scan BATCH OPEN")
    assert lines[3:5] == ["", ""], "the refusal holds no longer"
    peer.order(order(peer.kid, number=2, batch="B-OLD"))
    scan(unit, plain("CT/BATCH/OPEN"), "Batch open", BATCH)
    opened = next(record for record in judged(unit.journal()) if record.type == RecordType.BATCH_OPEN)
    assert isinstance(opened.body, wire.BatchOpen)
    assert opened.batch == BATCH
    peer.order(order(peer.kid, number=9, batch="B-NEXT"))
    scan(unit, plain("CT/STEP/START/load"), "Step started")  # the order in force is still the batch's own
    assert wire.verify_order(wire.sign_order(CLOUD_SEED, order(peer.kid, number=3)), CLOUD_KEY).number == 3


def test_the_state_of_a_batch_survives_a_power_cut(unit: UnixUnit, peer: Peer) -> None:
    open_batch(unit, peer)
    scan(unit, plain("CT/STEP/START/load"), "Step started")
    scan(unit, plain("=A99991234567800"), "OK Donor bag")
    scan(unit, cartridge("C0001"), "OK Cartridge")
    unit.power_cut()
    unit.power_on()
    unit.wait_panel("Restarted: resumed")
    unit.wait_panel(f"{BATCH} load")
    unit.wait_panel("> scan STEP DONE")
    scan(unit, cartridge("C0001"), "! Already scanned:")
    scan(unit, plain("CT/STEP/DONE"), "Step done", "wash")
    steps = [record.body for record in judged(unit.journal()) if isinstance(record.body, wire.Step)]
    assert [(found.step, found.action) for found in steps] == [("load", StepAction.START), ("load", StepAction.DONE)]


def test_an_excursion_raises_an_alarm_and_its_end_clears_it(unit: UnixUnit, peer: Peer) -> None:
    open_batch(unit, peer)
    unit.sensors.excursion("temperature", 500)
    peer.wait_types(RecordType.ALARM)
    unit.sensors.well("temperature")
    peer.wait(lambda: sum(record.type == RecordType.ALARM for record in peer.decoded()) == 2, "the alarm's end")
    alarms = [record.body for record in peer.decoded() if isinstance(record.body, wire.Alarm)]
    assert [(found.code, int(found.state)) for found in alarms] == [("limit_temperature", 1), ("limit_temperature", 3)]


def test_an_alarm_stays_on_the_panel_across_a_power_cut_until_acknowledged(unit: UnixUnit, peer: Peer) -> None:
    open_batch(unit, peer)
    scan(unit, plain("CT/ALARM/ACK"), "! No alarm is waiting", "carry on as prompted")
    unit.sensors.excursion("temperature", 500)
    unit.wait_panel("ALARM temperature")
    unit.sensors.well("temperature")
    unit.power_cut()
    unit.power_on()
    unit.wait_panel("Restarted: resumed")
    unit.wait_panel("ALARM temperature")
    unit.wait_panel("> scan ALARM ACK")
    scan(unit, plain("CT/ALARM/ACK"), "Alarm acknowledged", "> START load")
    unit.power_cut()
    unit.power_on()
    unit.wait_panel("Restarted: resumed")
    unit.wait_panel("> START load")
    alarms = [record for record in judged(unit.journal()) if isinstance(record.body, wire.Alarm)]
    acknowledged = [
        record
        for record in alarms
        if record.body == wire.Alarm("limit_temperature", wire.AlarmState.ACKNOWLEDGED, None)
    ]
    assert [(record.operator, record.batch) for record in acknowledged] == [("OP-1", BATCH)]


def test_the_channels_record_says_what_measures_and_since_when(unit: UnixUnit, peer: Peer) -> None:
    peer.wait_types(RecordType.CHANNELS)
    channels = next(record.body for record in peer.decoded() if isinstance(record.body, wire.Channels))
    assert [(found.name, found.sensor, found.calibrated_ms, found.offset) for found in channels.channels] == [
        (given.name, given.sensor, given.calibrated_ms, given.offset) for given in unit.sensors.channels
    ]
    assert channels.channels[0].sensor == "TMP117 TEST-0412"


def test_what_is_wrong_with_a_sensor_stands_apart_from_its_values(unit: UnixUnit, peer: Peer) -> None:
    unit.sensors.missing("temperature")
    unit.sensors.fault("co2")
    unit.sensors.stuck("ph", 700)
    unit.sensors.stuck("pressure", 20001)

    def found() -> set[tuple[int, int | None, int]]:
        """Channel, value and mark of every sample that has a mark."""
        bodies = [record.body for record in peer.decoded() if isinstance(record.body, wire.Samples)]
        columns = [(at, sample) for body in bodies for at, column in enumerate(body.series) for sample in column]
        return {(at, sample.value, int(sample.mark)) for at, sample in columns if sample.mark}

    wanted = {(0, None, 1), (1, None, 4), (2, 700, 2), (3, 20001, 3)}  # missing, fault, stuck, out of range
    peer.wait(lambda: wanted <= found(), f"{wanted}", timeout_s=40)
