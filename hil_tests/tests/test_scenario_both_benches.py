"""One day of one unit, told once and played on every bench: from enrolment to a closed batch, through a power cut.

On the RP2040 bench it is the real image, with real drivers, and what the panel says is read from the display's pixels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import wire
from hil_tests.bench.peer import GatewayEnd
from hil_tests.bench.words import BenchUnit
from hil_tests.conftest import Bench
from hil_tests.tests.test_bench_batch import BATCH, BUFFER_GTIN, NOW_MS, cartridge, label, order, plain
from wire import RecordType, ScanVerdict, StepAction

DONOR = plain("=A99991234567800")
DEBOUNCE_MS = 900
TORN_BYTES = 100  # of the page that was being programmed when the power went


def scan(unit: BenchUnit, raw: bytes, *words: str) -> None:
    unit.scan(raw)
    for word in words:
        unit.wait_panel(word)


def signalled(unit: BenchUnit, light: str, sound: str) -> None:
    """Light and buzzer say the same as the panel, at most a moment later."""
    wanted = f"{light} light and the sound {sound!r}, not {unit.light} and {unit.sounds}"
    unit.wait_until(lambda _lines: (unit.light, unit.sounds[-1:]) == (light, [sound]), wanted)


def judged(raws: Sequence[bytes]) -> list[wire.Record]:
    """The records, once the host's own code has found the chain whole and every signature good."""
    records = [wire.decode_record(raw) for raw in raws]
    genesis = records[0]
    assert isinstance(genesis.body, wire.Genesis)
    key = genesis.body.public_key
    found = wire.judge_run(
        raws, key_for=lambda kid: key if kid == genesis.kid else None, digests_of=lambda _kid, _seq: frozenset()
    )
    assert {verdict.finding for verdict in found} == {wire.Finding.CONTIGUOUS}
    assert [record.seq for record in records] == list(range(len(records)))
    for record in records:
        wire.verify_record(record, key)
    return records


def morning(unit: BenchUnit, peer: GatewayEnd) -> None:
    """Badge, order, batch open, and a first step with scans right and wrong."""
    peer.order(order(peer.kid))
    scan(unit, plain("CT/BADGE/OP-1"), "Welcome OP-1")
    unit.wait_panel("Scan BATCH OPEN")
    scan(unit, plain("CT/BATCH/OPEN"), "Batch open", BATCH)
    scan(unit, plain("CT/STEP/START/load"), "Step started", "> Donor bag")
    signalled(unit, "green", "ok")
    scan(unit, label(BUFFER_GTIN, "1727123110WB-7"), "! ", "Donor bag")
    signalled(unit, "red", "refused")
    scan(unit, DONOR, "OK Donor bag", "> Cartridge")
    signalled(unit, "green", "ok")
    scan(unit, label(BUFFER_GTIN, "1727123110WB-8"), "! ", "Cartridge")
    scan(unit, cartridge("C0009", "251231"), "! EXPIRED")
    unit.pass_ms(2500)  # so that there is something to flush


def cut_in_the_middle_of_the_step(unit: BenchUnit) -> None:
    unit.power_cut(at_flash_op=1, torn_bytes=TORN_BYTES)
    unit.scan(cartridge("C0001"))
    unit.wait_off()
    unit.power_on()
    unit.wait_panel("Restarted: resumed")
    unit.wait_panel(f"{BATCH} load")
    unit.wait_panel("> Cartridge")


def afternoon(unit: BenchUnit) -> None:
    scan(unit, cartridge("C0001"), "OK Cartridge", "> scan STEP DONE")
    unit.pass_ms(DEBOUNCE_MS)
    scan(unit, cartridge("C0001"), "! ")
    scan(unit, plain("CT/STEP/DONE"), "Step done")
    scan(unit, plain("CT/STEP/START/wash"), "Step started", "> Wash buffer")
    scan(unit, label(BUFFER_GTIN, "1727123110WB-7"), "OK Wash buffer")
    unit.pass_ms(1500)
    scan(unit, plain("CT/STEP/DONE"), "Step done", "seal")
    scan(unit, plain("CT/STEP/SKIP/seal/no sealer here"), "Step skipped", "scan BATCH CLOSE")
    scan(unit, plain("CT/BATCH/CLOSE"), "Batch closed")


def test_a_batch_with_a_power_cut_in_the_middle(bench: Bench, tmp_path: Path) -> None:
    genesis = bench.provision(tmp_path)
    unit = bench.unit(tmp_path)
    try:
        unit.power_on()
        peer = unit.connect(wire.decode_record(genesis).kid, NOW_MS)
        peer.wait(lambda: bool(peer.hellos), "a hello")
        morning(unit, peer)
        before = unit.journal()
        cut_in_the_middle_of_the_step(unit)
        assert unit.journal()[: len(before)] == before, "the cut lost or changed a saved record"
        peer.wait(lambda: len(peer.hellos) > 1, "a hello after the cut")
        unit.wait_panel("relayed")
        afternoon(unit)
        records = judged(unit.journal())
        peer.wait(lambda: peer.next_seq() >= len(records), "everything")
        peer.receipt(peer.next_seq() - 1)
        unit.wait_panel("archived")
        assert (unit.console(), unit.misuse) == ("", None)
    finally:
        unit.close()
    check(records, peer)


def check(records: list[wire.Record], peer: GatewayEnd) -> None:
    """The stream is what the day was: nothing is missing, nothing appears twice, and nothing else is in it."""
    assert [peer.records[record.seq] for record in records] == [record.raw for record in records]
    told = [record.type for record in records if record.type not in (RecordType.SAMPLES, RecordType.CLOCK)]
    once = [RecordType.BOOT, RecordType.CHANNELS]
    assert told == [
        RecordType.GENESIS, *once, *once,
        RecordType.OPERATOR, RecordType.BATCH_OPEN, RecordType.CHANNELS, RecordType.STEP,
        RecordType.SCAN, RecordType.SCAN, RecordType.SCAN, RecordType.SCAN,
        *once,
        RecordType.SCAN, RecordType.SCAN, RecordType.STEP, RecordType.STEP, RecordType.SCAN,
        RecordType.STEP, RecordType.STEP, RecordType.BATCH_CLOSE,
    ]  # fmt: skip
    scans = [record.body for record in records if isinstance(record.body, wire.Scan)]
    assert [(found.asked, found.verdict, found.reason) for found in scans] == [
        ("donor", ScanVerdict.REFUSED, "identity_mismatch"),
        ("donor", ScanVerdict.ACCEPTED, None),
        ("cartridge", ScanVerdict.REFUSED, "wrong_item"),
        ("cartridge", ScanVerdict.REFUSED, "expired"),
        ("cartridge", ScanVerdict.ACCEPTED, None),
        ("", ScanVerdict.REFUSED, "duplicate"),
        ("buffer", ScanVerdict.ACCEPTED, None),
    ]
    steps = [(record.body.step, record.body.action) for record in records if isinstance(record.body, wire.Step)]
    assert steps == [
        ("load", StepAction.START), ("load", StepAction.DONE),
        ("wash", StepAction.START), ("wash", StepAction.DONE), ("seal", StepAction.SKIP),
    ]  # fmt: skip
    boots = [record for record in records if record.type == RecordType.BOOT]
    assert [record.boot for record in boots] == [1, 2, 3]
    close = next(record for record in records if isinstance(record.body, wire.BatchClose))
    assert isinstance(close.body, wire.BatchClose)
    mine = records[close.body.first_seq : close.seq]
    assert dict(close.body.counts) == dict(Counter(int(record.type) for record in mine))
    assert sum(record.type == RecordType.SAMPLES for record in mine) >= 2
