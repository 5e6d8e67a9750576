"""Bad days of one unit, on the real firmware: power, cable, noise, hostile scans, forged receipts, a full journal."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from agent import cbor
from agent.slots import Slots
from agent.unit import CONFIG_SEED

import wire
from hil_tests.bench import truth
from hil_tests.bench.judged import judged
from hil_tests.bench.memory_board import SLOTS_BYTES, MemoryBoard, MemoryPeer
from hil_tests.bench.nor import BLOCK_BYTES
from hil_tests.bench.peer import CLOUD_KEY, CLOUD_SEED, Peer, provisioned
from hil_tests.bench.powered import connect, powered
from hil_tests.bench.small_batch import BATCH, NOW_MS, cartridge, open_batch, order, plain, scan
from hil_tests.bench.unix_unit import UnixUnit
from tools import enrolment
from wire import RecordType

JOURNAL_BYTES = 8 * BLOCK_BYTES  # of a board in memory
CUTS = 54
TORN_BYTES = (0, None, 1, 7, 8, 100, 255)  # None: the operation completes, and then the power goes


def assert_truthful(unit: UnixUnit, peer: Peer) -> None:
    """What the gateway heard is what the flash holds: the unit never sends a record that it has not saved (W16)."""
    journal = unit.journal()
    for seq, raw in peer.records.items():
        assert journal[seq] == raw


def wait_ready_or_off(unit: UnixUnit) -> None:
    deadline_s = time.monotonic() + 10
    while unit.is_on and not any(unit.panel()):
        assert time.monotonic() < deadline_s, "the unit shows nothing"
        time.sleep(0.002)


def test_power_cuts_at_every_flash_operation_of_a_step(tmp_path: Path) -> None:
    began_s = time.monotonic()
    with powered(tmp_path) as unit, connect(unit) as peer:
        open_batch(unit, peer)
        scan(unit, plain("CT/STEP/START/load"), "Step started")
        saved = unit.journal()
        for cut in range(CUTS):
            unit.power_cut(at_flash_op=1 + cut % 6, torn_bytes=TORN_BYTES[cut % len(TORN_BYTES)])
            if not unit.is_on:
                unit.power_on()
            wait_ready_or_off(unit)
            for note in range(8):
                unit.scan(plain(f"CT/NOTE/cut {cut} note {note}"))
            unit.wait_off()
            now = unit.journal()
            assert now[: len(saved)] == saved, f"cut {cut} lost or changed a saved record"
            saved = now
        unit.power_on()
        unit.wait_panel(f"{BATCH} load")
        unit.wait_panel("> Donor bag")
        scan(unit, plain("=A99991234567800"), "OK Donor bag")
        records = judged(unit.journal())
        assert sum(record.type == RecordType.BOOT for record in records) > CUTS // 2
        assert [record.boot for record in records] == sorted(record.boot for record in records)
        peer.wait(lambda: peer.next_seq() >= len(records), "everything")
        assert_truthful(unit, peer)
    assert time.monotonic() - began_s < 600  # a hang, not a speed limit


def test_power_cuts_while_room_is_made(tmp_path: Path) -> None:
    """A ring of 128 pages goes round several times: erases, receipts and checkpoints are cut as well."""
    seen: dict[int, bytes] = {}
    with powered(tmp_path, journal_blocks=8) as unit, connect(unit) as peer:
        open_batch(unit, peer)
        scan(unit, plain("CT/STEP/START/load"), "Step started")
        scan(unit, plain("=A99991234567800"), "OK Donor bag")
        peer.archive_every = 6
        for cut in range(16):
            unit.power_cut(at_flash_op=24 + cut, torn_bytes=TORN_BYTES[cut % len(TORN_BYTES)])
            if not unit.is_on:
                unit.power_on()
            wait_ready_or_off(unit)
            for note in range(40):
                unit.scan(plain(f"CT/NOTE/{cut} {note} {'x' * 120}"))
            unit.wait_off(30)
            now = {wire.decode_record(raw).seq: raw for raw in unit.journal()}
            assert all(now.get(seq, raw) == raw for seq, raw in seen.items())
            assert {seq for seq in seen if seq >= peer.archived_next} <= set(now)
            seen |= now
        unit.power_on()
        unit.wait_panel(f"{BATCH} load")
        unit.wait_panel("> Cartridge")
        scan(unit, plain("CT/BATCH/ABORT/enough"), "Batch aborted")
        peer.wait_types(RecordType.BATCH_CLOSE)
        assert_truthful_records(peer)
        close = next(record for record in reversed(peer.decoded()) if record.type == RecordType.BATCH_CLOSE)
        assert isinstance(close.body, wire.BatchClose)
        assert sum(close.body.counts.values()) == close.seq - close.body.first_seq
        assert min(now) > 60, "the ring never went round"


def assert_truthful_records(peer: Peer) -> None:
    """Everything that the gateway ever heard is one stream, without a hole and without a second version."""
    records = peer.decoded()
    assert [record.seq for record in records] == list(range(len(records)))
    for before, after in pairwise(records):
        assert after.prev == before.digest


def test_lost_acks_cost_resends_and_nothing_else(tmp_path: Path) -> None:
    with powered(tmp_path) as unit, connect(unit) as peer:
        peer.wait(lambda: peer.next_seq() >= 3, "the first records")
        peer.acks = False
        scan(unit, plain("CT/BADGE/OP-1"), "Welcome OP-1")
        hellos = len(peer.hellos)
        peer.wait(lambda: len(peer.arrivals) > len(peer.records), "a resend")
        peer.wait(lambda: len(peer.hellos) > hellos, "a new hello after three silent resends")
        peer.acks = True
        unit.wait_panel("relayed")
        assert_truthful(unit, peer)


def test_noise_on_the_line_both_ways(tmp_path: Path) -> None:
    dice = random.Random(7)
    with powered(tmp_path) as unit, connect(unit) as peer:
        scan(unit, plain("CT/BADGE/OP-1"), "Welcome OP-1")
        unit.board.to_gateway = unit.board.to_unit = lambda chunk: _flip(chunk, dice)
        for note in range(12):
            unit.noise(dice.randbytes(dice.randrange(1, 300)))
            unit.noise(b"\xff" * 1500 + b"\0")  # longer than any frame
            unit.scan(plain(f"CT/NOTE/note {note}"))
        unit.board.to_gateway = unit.board.to_unit = None
        peer.wait(lambda: sum(record.type == RecordType.COMMENT for record in peer.decoded()) == 12, "all notes")
        assert_truthful(unit, peer)


def _flip(chunk: bytes, dice: random.Random) -> bytes:
    flipped = bytearray(chunk)
    if dice.random() < 0.3:
        flipped[dice.randrange(len(flipped))] ^= 1 << dice.randrange(8)
    return bytes(flipped)


def test_unplugging_hangs_up_and_plugging_brings_a_new_port(tmp_path: Path) -> None:
    with powered(tmp_path) as unit, connect(unit) as peer:
        before = Path(unit.link_port).resolve()
        unit.unplug_link()
        peer.wait(lambda: peer.hung_up, "the hang-up")
        assert not Path(unit.link_port).exists()
        scan(unit, plain("CT/BADGE/OP-1"), "Welcome OP-1", "saved")
        unit.plug_link()
        assert Path(unit.link_port).exists()
        with connect(unit) as again:
            again.wait_types(RecordType.GENESIS, RecordType.OPERATOR)
        assert before.name


def test_hostile_scans_do_nothing_but_be_recorded(tmp_path: Path) -> None:
    with powered(tmp_path) as unit:
        scan(unit, plain("CT/BADGE/OP-1"), "Welcome OP-1")
        hostile = [
            b"\x03\x03\x04", b"]d1CT/NOTE/\x03\x04\x1b[2J", b"\x00\x01\x02", b"\xff\xfe\xfd", b"]d1" + b"A" * 4096,
            b"]d2" + bytes(range(14, 256)), b"]d1CT/STEP/START/\x00", b"]d1CT/QTY/a/used/1e9/mL", b"]d1CT/", b"]",
        ]  # fmt: skip
        for code in hostile:
            unit.scan(code + b"\r\n")
        unit.scan(b"]d1half a code")  # and then silence
        unit.wait_until(lambda _lines: b"half a code" in unit.journal()[-1], "the half code's record")
        scan(unit, plain("CT/NOTE/still here"), "Note recorded")
        scans = [record.body for record in judged(unit.journal()) if isinstance(record.body, wire.Scan)]
        assert [bytes(found.raw) for found in scans][:3] == [
            b"\x03\x03\x04", b"CT/NOTE/\x03\x04\x1b[2J", b"\x00\x01\x02",
        ]  # fmt: skip
        assert scans[4].raw == b"A" * 400
        assert [scans[4].reason, scans[-1].reason] == ["unreadable", "truncated"]
        assert len(scans) == len(hostile) + 1


def test_only_a_true_receipt_moves_the_archive(tmp_path: Path) -> None:
    with powered(tmp_path) as unit, connect(unit) as peer:
        peer.wait(lambda: peer.next_seq() >= 3, "the first records")
        peer.receipt(1, seed=bytes(32))
        peer.send(wire.ReceiptFrame(wire.sign_receipt(CLOUD_SEED, b"elsewher", 1, bytes(32), 1)))
        peer.send(wire.ReceiptFrame(b"\xd2rubbish"))
        scan(unit, plain("CT/BADGE/OP-1"), "Welcome OP-1")
        peer.send(wire.Who())
        hellos = len(peer.hellos)
        peer.wait(lambda: len(peer.hellos) > hellos, "a hello")
        assert peer.hellos[-1].oldest == 0
        peer.receipt(1)
        peer.wait(lambda: _asked_oldest(peer) == 2, "the archive to move")
        peer.receipt(3, digest=bytes(32))  # W59: the cloud has another record, and which seqs were used is unknown
        unit.wait_panel("JOURNAL WAS SET BACK")
        assert _asked_oldest(peer) == 2


def _asked_oldest(peer: Peer) -> int:
    peer.send(wire.Who())
    time.sleep(0.05)
    return peer.hellos[-1].oldest


def test_a_full_journal_refuses_aloud_and_goes_on_after_a_receipt(tmp_path: Path) -> None:
    with powered(tmp_path, journal_blocks=8, speed=1.0) as unit, connect(unit) as peer:
        scan(unit, plain("CT/BADGE/OP-1"), "Welcome OP-1")
        for note in range(200):
            unit.scan(plain(f"CT/NOTE/{'x' * 150} {note}"))
            if unit.panel()[0] == "JOURNAL FULL":
                break
            time.sleep(0.02)
        unit.wait_panel("JOURNAL FULL")
        unit.scan(plain("CT/NOTE/lost"))
        before = unit.journal()
        peer.wait(lambda: peer.next_seq() == len(before), "everything")
        peer.receipt(len(before) - 1)
        unit.wait_until(lambda lines: lines[0] != "JOURNAL FULL", "room")
        scan(unit, plain("CT/NOTE/again"), "Note recorded")
        peer.wait_types(RecordType.LOSS)
        loss = next(record.body for record in peer.decoded() if isinstance(record.body, wire.Loss))
        assert loss.what == "scans"
        assert loss.count >= 1
        # The ring has been round: the state must outlive the records that it came from.
        unit.power_cut()
        unit.power_on()
        scan(unit, plain("CT/NOTE/signed in as before"), "Note recorded")
        assert peer.decoded()[-1].operator == "OP-1"


def _has(peer: Peer, seq: int) -> bool:
    return peer.next_seq() > seq


def test_three_hundred_records_in_160_kb(tmp_path: Path) -> None:
    with powered(tmp_path, speed=60.0, journal_blocks=40) as unit, connect(unit) as peer:
        open_batch(unit, peer)
        scan(unit, plain("CT/STEP/START/load"), "Step started")
        for turn in range(280):
            unit.scan(cartridge(f"C{turn:04d}", "251231") if turn % 2 else plain(f"CT/NOTE/turn {turn}"))
            if turn % 40 == 39:
                peer.wait(partial(_has, peer, turn), f"record {turn}")
                peer.receipt(peer.next_seq() - 1)
        peer.wait(lambda: peer.next_seq() >= 300, "300 records", timeout_s=60)
        scan(unit, plain("CT/BATCH/ABORT/soak"), "Batch aborted")
        peer.wait_types(RecordType.BATCH_CLOSE)
        close = peer.decoded()[-1].body
        assert isinstance(close, wire.BatchClose)
        assert sum(close.counts.values()) == peer.decoded()[-1].seq - close.first_seq
        peer.wait(lambda: bool(peer.statuses), "a status")
        assert peer.statuses[-1].counters["heap_free"] > 16_000
        assert sum(record.type == RecordType.BOOT for record in peer.decoded()) == 2, "the unit ran out of heap"


def test_a_record_that_rotted_in_flash_is_a_hole_and_no_obstacle(tmp_path: Path) -> None:
    with powered(tmp_path) as unit:
        scan(unit, plain("CT/BADGE/OP-1"), "Welcome OP-1")
        unit.power_cut()
        flash = bytearray((tmp_path / "flash.bin").read_bytes())
        rotten = unit.journal()[2]
        flash[flash.index(rotten[8:48]) + 20] ^= 3
        flash[flash.index(unit.journal()[1][8:48]) + 20] ^= 1  # one bit alone is put right
        (tmp_path / "flash.bin").write_bytes(flash)
        assert rotten not in unit.journal()
        unit.power_on()
        unit.wait_panel("Restarted")
        with connect(unit) as peer:
            peer.wait(lambda: any(record.type == RecordType.LOSS for record in peer.decoded()), "the loss record")
            assert 2 not in peer.records
            assert 1 in peer.records
            loss = next(record.body for record in peer.decoded() if isinstance(record.body, wire.Loss))
            assert (loss.what, loss.count, loss.text) == ("records unreadable", 1, "seq 2..2: flash damaged")
            assert peer.hellos[-1].oldest == 3


def test_a_unit_without_configuration_says_so(tmp_path: Path) -> None:
    with UnixUnit(tmp_path, journal_bytes=8 * BLOCK_BYTES) as unit:
        unit.power_on()
        unit.wait_panel("NOT ENROLLED")


@pytest.mark.parametrize("key", [bytes(32), b"\x01" + bytes(31)])
def test_a_wrong_cloud_key_stops_the_unit_aloud(tmp_path: Path, key: bytes) -> None:
    with pytest.raises(RuntimeError, match="no genesis"):
        UnixUnit.provision(tmp_path, cloud_public_key=key, journal_bytes=8 * BLOCK_BYTES)


class KeyBoard(MemoryBoard):
    """A board whose chip has this entropy. said: every byte that left on the link; shown: every line of the panel."""

    def __init__(self, folder: Path, letter: bytes, chip: bytes) -> None:
        folder.mkdir()
        super().__init__(folder / "flash.bin", {"enrol": letter.hex()}, journal_bytes=JOURNAL_BYTES)
        self._chip = chip
        self.said = b""
        self.shown = ""

    def entropy(self, length: int) -> bytes:
        return hashlib.shake_256(self._chip).digest(length)

    def link_write(self, frame: bytes) -> None:
        self.said += frame
        super().link_write(frame)

    def show(self, lines: Sequence[str]) -> None:
        self.shown += "\n".join(lines)
        super().show(lines)

    def first_record(self) -> wire.Genesis:
        body = wire.decode_record(truth.records(self.nor.read(SLOTS_BYTES, JOURNAL_BYTES))[0]).body
        assert isinstance(body, wire.Genesis)
        return body


def test_the_key_comes_of_the_chip_and_of_the_letter(tmp_path: Path) -> None:
    letter, other_letter = (enrolment.letter("U-01", 1, CLOUD_KEY, (), 0) for _ in range(2))
    keys: list[bytes] = []
    for each, chip in ((letter, b"chip"), (letter, b"other chip"), (other_letter, b"chip"), (letter, b"chip")):
        board = KeyBoard(tmp_path / str(len(keys)), each, chip)
        board.power_on()
        keys.append(board.first_record().public_key)
        board.nor.close()
    assert keys[0] == keys[3], "the same chip with the same letter: nothing else goes in"
    assert len(set(keys)) == 3


def test_the_private_key_never_leaves_the_unit(tmp_path: Path) -> None:
    board = KeyBoard(tmp_path / "unit", enrolment.letter("U-01", 1, CLOUD_KEY, (), 0), b"chip")
    board.power_on()
    config = Slots(board.slots_flash).load("config")
    assert config is not None
    seed = cbor.decode(config)[CONFIG_SEED]
    public = wire.public_key_of(seed)
    assert public == board.first_record().public_key
    peer = MemoryPeer(board, kid=wire.kid_of(public), now_ms=NOW_MS)
    board.run(2_000)
    peer.order(order(peer.kid))
    for code in (b"CT/BADGE/OP-114", b"CT/BATCH/OPEN", b"CT/STEP/START/load", b"CT/NOTE/all is well"):
        board.scan(code)
    board.power_on()
    board.run(2_000)
    peer.wait_types(RecordType.STEP, RecordType.COMMENT)
    journal = board.nor.read(SLOTS_BYTES, JOURNAL_BYTES)
    # A frame has its zero bytes taken out, which would hide a key with one of them.
    said = board.said + b"".join(wire.frames.cobs_decode(block) for block in board.said.split(b"\0") if block)
    assert public in said
    assert public in journal
    for told in (seed, hashlib.sha512(seed).digest()[:32]):  # the seed, and the scalar that signs
        assert told not in said
        assert told not in journal
        assert told not in b"".join(peer.records.values())
        assert told.hex() not in board.shown.lower()


def test_a_unit_keeps_its_key(tmp_path: Path) -> None:
    genesis, _ = provisioned(tmp_path, journal_bytes=8 * BLOCK_BYTES)
    with UnixUnit(tmp_path, journal_bytes=8 * BLOCK_BYTES) as unit:
        unit.power_on()
        unit.wait_panel("Scan your BADGE")
        assert unit.journal()[0] == genesis
