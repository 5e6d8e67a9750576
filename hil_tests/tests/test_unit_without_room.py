"""A scan that leads to more records than the journal has room for: the unit goes on, and says that not all is saved."""

from __future__ import annotations

import contextlib
from pathlib import Path

from agent.custody import ROOM_BYTES
from agent.journal import RESERVED_PAGES, JournalFull

import wire
from hil_tests.bench import truth
from hil_tests.bench.memory_board import SLOTS_BYTES, MemoryBoard, MemoryPeer
from hil_tests.bench.nor import BLOCK_BYTES
from hil_tests.bench.peer import CLOUD_KEY
from hil_tests.bench.sensor_source import SensorFaults, SyntheticSensors
from hil_tests.bench.small_batch import DONOR_CODE, NOW_MS, cartridge, order
from tools import enrolment
from tools.enrolment import ChannelSpec
from wire import RecordType

JOURNAL_BYTES = 8 * BLOCK_BYTES
NOTE_BYTES = 496  # two pages
CHANNELS = tuple(ChannelSpec(f"channel-{at}-of-eight"[:16], "Cel", -2, -1000, 8000) for at in range(8))


def test_an_abort_that_the_journal_has_no_room_for_is_asked_for_again(tmp_path: Path) -> None:
    letter = enrolment.letter("U-01", 1, CLOUD_KEY, CHANNELS, 0)
    board = MemoryBoard(tmp_path / "flash", {"enrol": letter.hex()}, journal_bytes=JOURNAL_BYTES)
    board.sensors = SensorFaults(SyntheticSensors(CHANNELS))
    board.power_on()
    unit = board.unit
    assert unit is not None
    peer = MemoryPeer(board, kid=unit._signer.kid, now_ms=NOW_MS)
    board.run(2_000)
    peer.order(order(peer.kid, batch="B" * 32))
    board.run(1000)
    for code in (b"CT/BADGE/" + b"O" * 32, b"CT/BATCH/OPEN", b"CT/STEP/START/load"):
        board.scan(code)
    board.peer = None  # nobody takes the records away
    for channel in CHANNELS:
        unit._append(wire.RecordType.ALARM, {1: f"limit_{channel.name}", 2: 1})
    while unit._journal.room(ROOM_BYTES + NOTE_BYTES):
        board.scan(b"CT/NOTE/" + b"n" * 150)
    assert not unit._custody.full, "this scan is still taken"
    board.scan(b"CT/BATCH/ABORT/" + b"a" * 64)
    assert board.lines[0] == "JOURNAL FULL"
    records = [wire.decode_record(raw) for raw in truth.records(board.nor.read(SLOTS_BYTES, JOURNAL_BYTES))]
    types = [record.type for record in records]
    assert types.count(RecordType.ALARM) > len(CHANNELS), "the abort did not even begin"
    assert RecordType.BATCH_CLOSE not in types, "the abort found room after all: this test tries nothing"
    assert [record.seq for record in records] == list(range(len(records)))
    board.peer = peer
    peer.send(wire.Who())
    board.run(4_000)
    peer.receipt(peer.next_seq() - 1)
    board.run(4_000)
    assert board.lines[3:5] == ["! Not all is saved:", "scan it again later"]
    board.scan(b"CT/BATCH/ABORT/" + b"a" * 64)
    assert board.lines[3] == "Batch aborted"
    board.run(2_000)
    closed = [record.body for record in peer.decoded() if record.type == RecordType.BATCH_CLOSE]
    assert [close.outcome for close in closed] == [wire.Outcome.ABORTED]  # type: ignore[union-attr]


def test_an_alarm_of_a_full_journal_is_recorded_when_there_is_room(tmp_path: Path) -> None:
    channels = (ChannelSpec("temperature", "Cel", -2, -1000, 8000),)
    letter = enrolment.letter("U-01", 1, CLOUD_KEY, channels, 0)
    board = MemoryBoard(tmp_path / "flash", {"enrol": letter.hex()}, journal_bytes=JOURNAL_BYTES)
    board.sensors = SensorFaults(SyntheticSensors(channels))
    board.power_on()
    assert board.unit is not None
    peer = MemoryPeer(board, kid=board.unit._signer.kid, now_ms=NOW_MS)
    board.run(2_000)
    peer.order(order(peer.kid))
    board.run(1_000)
    for code in (b"CT/BADGE/OP-1", b"CT/BATCH/OPEN", b"CT/STEP/START/load"):
        board.scan(code)
    board.peer = None
    while board.unit._journal.free_pages > RESERVED_PAGES:
        board.scan(b"CT/NOTE/" + b"n" * 150)
        board.run(60_000)
    board.sensors.excursion("temperature", 500)
    board.run(120_000)
    assert board.lines[0] == "JOURNAL FULL"
    board.peer = peer
    peer.send(wire.Who())
    board.run(4_000)
    assert RecordType.ALARM not in {record.type for record in peer.decoded()}, "there was room: this test tries nothing"
    peer.receipt(peer.next_seq() - 1)
    board.run(8_000)
    alarms = [record.body for record in peer.decoded() if isinstance(record.body, wire.Alarm)]
    assert [(alarm.code, alarm.state) for alarm in alarms] == [("limit_temperature", wire.AlarmState.RAISED)]


def test_an_override_that_lapsed_in_a_full_journal_is_recorded_when_there_is_room(tmp_path: Path) -> None:
    letter = enrolment.letter("U-01", 1, CLOUD_KEY, (), 0)
    board = MemoryBoard(tmp_path / "flash", {"enrol": letter.hex()}, journal_bytes=JOURNAL_BYTES)
    board.power_on()
    assert board.unit is not None
    peer = MemoryPeer(board, kid=board.unit._signer.kid, now_ms=NOW_MS)
    board.run(2_000)
    peer.order(order(peer.kid))
    board.run(1_000)
    for code in (b"CT/BADGE/OP-1", b"CT/BATCH/OPEN", b"CT/STEP/START/load", DONOR_CODE.encode()):
        board.scan(code)
    board.scanner_sends(cartridge("X1", "251231"))
    board.run(1_000)
    board.scan(b"CT/OVERRIDE/the only one left")
    assert board.lines[1] == "Second badge:"
    board.peer = None
    with contextlib.suppress(JournalFull):
        while True:
            board.unit._append(RecordType.COMMENT, {1: "n" * 150})
    board.run(120_000)
    board.peer = peer
    peer.send(wire.Who())
    board.run(4_000)
    peer.receipt(peer.next_seq() - 1)
    board.run(8_000)
    notes = [record.body.text for record in peer.decoded() if isinstance(record.body, wire.Comment)]
    assert [note for note in notes if "override" in note] == ["override not completed: the only one left"]
