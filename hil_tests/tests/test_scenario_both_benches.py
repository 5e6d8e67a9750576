"""One day of one unit, told once and played on every bench: from enrolment to a closed batch, through a power cut.

On the RP2040 bench it is the real image, with real drivers, and what the panel says is read from the display's pixels.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from pathlib import Path

from agent import cbor
from agent.slots import Slots
from agent.unit import CONFIG_SEED

import wire
from hil_tests.bench.judged import judged
from hil_tests.bench.peer import GatewayEnd
from hil_tests.bench.small_batch import BATCH, BUFFER_GTIN, DONOR_CODE, NOW_MS, cartridge, label, order, plain, scan
from hil_tests.bench.words import BenchUnit
from hil_tests.conftest import Bench
from wire import RecordType, ScanVerdict, StepAction
from wire.frames import cobs_decode
from wire.samples import Mark

DONOR = plain(DONOR_CODE)
DEBOUNCE_MS = 900
NEAR = 20  # steps of the last digit: the generated waves and their noise, and what a sensor's own step rounds
MEASURED_MIN = 2
TORN_BYTES = 100  # of the page that was being programmed when the power went


def signalled(unit: BenchUnit, light: str, sound: str) -> None:
    """Light and buzzer say the same as the panel, at most a moment later."""
    wanted = f"{light} light and the sound {sound!r}, not {unit.light} and {unit.sounds}"
    unit.wait_until(lambda _lines: (unit.light, unit.sounds[-1:]) == (light, [sound]), wanted)


def morning(unit: BenchUnit, peer: GatewayEnd) -> None:
    """Badge, order, batch open, and a first step with scans right and wrong."""
    peer.order(order(peer.kid))
    scan(unit, plain("CT/BADGE/OP-1"), "Welcome OP-1")
    unit.wait_panel("Scan BATCH OPEN")
    unit.unplug_link()  # the unit judges by the order that it has stored
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


def plugged(unit: BenchUnit, kid: bytes, peers: list[GatewayEnd]) -> GatewayEnd:
    """The cable is back, and so is a gateway that has heard nothing yet; it joins peers."""
    unit.plug_link()
    peer = unit.connect(kid, NOW_MS)
    peers.append(peer)
    peer.wait(lambda: bool(peer.hellos), "a hello")
    return peer


def test_a_batch_with_a_power_cut_in_the_middle(bench: Bench, tmp_path: Path) -> None:
    genesis = bench.provision(tmp_path)
    unit = bench.unit(tmp_path)
    peers: list[GatewayEnd] = []
    try:
        unit.power_on()
        peer = plugged(unit, wire.decode_record(genesis).kid, peers)
        morning(unit, peer)
        before = unit.journal()
        cut_in_the_middle_of_the_step(unit)
        assert unit.journal()[: len(before)] == before, "the cut lost or changed a saved record"
        peer = plugged(unit, peer.kid, peers)  # a new boot learns the time from its gateway
        unit.wait_panel("relayed")
        unit.unplug_link()
        afternoon(unit)
        records = judged(unit.journal())
        peer = plugged(unit, peer.kid, peers)
        peer.archive_every = 1  # the hello made a clock record, and there may be samples
        peer.wait(lambda: peer.next_seq() >= len(records), "everything")
        unit.wait_panel("archived")
        assert (unit.console(), unit.misuse) == ("", None)
    finally:
        unit.close()
    check(records, peer)
    measured(records, unit)
    kept_its_key(unit, peers)


class Region:
    """Slots as they lie in a flash."""

    page, block = 256, 4096

    def __init__(self, content: bytes) -> None:
        self._content, self.size = content, len(content)

    def read(self, address: int, size: int) -> bytes:
        return self._content[address : address + size]


def kept_its_key(unit: BenchUnit, peers: list[GatewayEnd]) -> None:
    """The seed that its flash holds is the one of its key, and stands in nothing that it said or journaled."""
    config = Slots(Region(unit.slots())).load("config")  # type: ignore[arg-type]  # nothing is written
    assert config is not None
    seed = cbor.decode(config)[CONFIG_SEED]
    journal = b"".join(unit.journal())
    assert wire.public_key_of(seed) in journal
    said = b""
    for frame in b"".join(bytes(peer.said) for peer in peers).split(b"\0"):
        with contextlib.suppress(wire.WireError):  # noise
            said += cobs_decode(frame)
    assert wire.public_key_of(seed) in said
    for secret in (seed, hashlib.sha512(seed).digest()[:32]):  # and the scalar that signs
        assert secret not in journal + said
        assert secret not in b"".join(bytes(peer.said) for peer in peers)


def measured(records: list[wire.Record], unit: BenchUnit) -> None:
    """Values are near what the bench let the sensors measure, no sensor is told broken, and the calibration is told."""
    told = [record.body.channels for record in records if isinstance(record.body, wire.Channels)][-1]
    specs = unit.sensors.channels
    assert [(each.name, each.certificate, each.due_ms) for each in told] == [
        (spec.name, spec.certificate, spec.due_ms) for spec in specs
    ]
    assert told[0].certificate == "CAL-T-0412"
    begins = unit.sensors.read(0)  # a few minutes of generated curves: all stays near
    boots = sum(record.type == RecordType.BOOT for record in records)  # a sensor's first conversion takes a moment
    all_samples = [record.body for record in records if isinstance(record.body, wire.Samples)]
    for channel, begin in enumerate(begins):
        assert isinstance(begin, int)
        samples = [sample for each in all_samples for sample in each.series[channel]]
        values = [sample.value for sample in samples if sample.value is not None]
        assert {sample.mark for sample in samples} <= {None, Mark.MISSING}
        assert len(values) >= MEASURED_MIN, (channel, samples)
        assert len(samples) - len(values) <= boots, (channel, samples)
        assert all(abs(value - begin) <= NEAR for value in values), (begin, values)


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
