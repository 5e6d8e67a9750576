"""A whole unit on a board in memory: uptimes at their edges, and what is heard of a unit out of service.

Runs on CPython and MicroPython. The unit itself counts from zero at each boot; here it begins just below the powers of
two at which counters of other makes wrap, so that 50 days need not pass.
"""

import hashlib

from agent import cbor, cose, ed25519, events, frames
from agent.face import ONE_SCAN_MS, OutOfOrder
from agent.signals import BLINK_MS, REMIND_MS
from agent.unit import OutOfService, Unit
from tests.nor_flash import NorFlash

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NOW_MS = 1795000000000  # 2026-11-18
CHANNELS: "list[Any]" = [{1: "temp", 2: "Cel", 3: -2, 4: 0, 5: 8000}]
BEFORE_MS = 3000
HOUR_MS = 3600 * 1000
CLOUD = cose.SeedSigner(ed25519, bytes(32))
EDGES_MS = (1 << 30, 1 << 31, 1 << 32)  # MicroPython's ticks and small integers; signed and unsigned 32 bits


class Board:
    """The hal of a unit, with nothing but what these tests look at. Time passes while the unit waits."""

    model = "memory"
    cause = 0
    ed25519 = ed25519

    def __init__(self, uptime_ms: int = 0, letter: bytes = b"") -> None:
        self.settings = {"enrol": letter.hex()} if letter else {}
        self.slots_flash, self.journal_flash = NorFlash(8), NorFlash(8)
        self.now_ms = uptime_ms
        self.scanned = self.heard = b""
        self.lines: "list[str]" = []
        self.lights: "list[str]" = []
        self.sounds: "list[str]" = []

    def real_ms(self) -> int:
        return self.now_ms

    def uptime_ms(self) -> int:
        return self.now_ms

    def real_of(self, uptime_ms: int) -> int:
        return uptime_ms

    def entropy(self, length: int) -> bytes:
        return bytes(length)

    def wait(self, real_ms: int) -> None:
        if not self.scanned and not self.heard:
            self.now_ms += max(1, real_ms)

    def link_read(self) -> bytes:
        heard, self.heard = self.heard, b""
        return heard

    def link_write(self, frame: bytes) -> None:
        pass

    def scanner_read(self) -> bytes:
        scanned, self.scanned = self.scanned, b""
        return scanned

    def scanner_disturbed(self) -> bool:
        return False

    def readings(self, first_uptime_ms: int, interval_ms: int, count: int, channels: int) -> "list[list[Any]]":
        return [[3700] * channels for _ in range(count)]

    def show(self, lines: "list[str]") -> None:
        self.lines = lines

    def light(self, colour: str) -> None:
        self.lights.append(colour)

    def buzz(self, sound: str) -> None:
        self.sounds.append(sound)

    def feed_watchdog(self) -> None:
        pass

    def heap_free(self) -> int:
        return 0


def enrolled(uptime_ms: int) -> Board:
    letter = {1: "U-01", 2: 1, 3: CLOUD.public_key, 4: CHANNELS, 5: bytes(32), 6: 0}
    return Board(uptime_ms, cbor.encode(letter))


def run(unit: Unit, board: Board, until_ms: int) -> None:
    while board.now_ms < until_ms:
        unit.turn()


def scan(unit: Unit, board: Board, code: str) -> None:
    board.scanned = ("]d1" + code + "\r\n").encode()
    run(unit, board, board.now_ms + 10)


def events_of(unit: Unit) -> "list[Any]":
    return [cbor.decode(cbor.decode((unit.read(seq) or b"")[1:])[2]) for seq in range(unit.next_seq)]


def test_an_uptime_goes_on_over_the_edges_of_counters() -> None:
    for edge_ms in EDGES_MS:
        board = enrolled(edge_ms - BEFORE_MS)
        unit = Unit(board)  # type: ignore[arg-type]  # another board's Hal, with the same names
        unit.boot()
        board.heard = frames.encode([frames.TIME, NOW_MS, 10])
        scan(unit, board, "CT/BADGE/OP-1")
        assert board.lines[3] == "Welcome OP-1"
        run(unit, board, edge_ms + BEFORE_MS)
        scan(unit, board, "CT/NOTE/after the edge")
        assert board.lines[3] == "Note recorded"
        found = events_of(unit)
        assert [event[7] for event in found][:3] == [events.GENESIS, events.BOOT, events.CHANNELS]
        uptimes = [event[4] for event in found[1:]]
        assert uptimes == sorted(uptimes)
        assert edge_ms - BEFORE_MS <= uptimes[0] < edge_ms < uptimes[-1] < edge_ms + 2 * BEFORE_MS
        timed = [event for event in found if 5 in event]
        assert [event[7] for event in timed] == [events.CLOCK, events.OPERATOR, events.COMMENT]
        for event in timed:
            assert event[5] - NOW_MS == event[4] - timed[0][4]
        run(unit, board, edge_ms + 70 * 1000)  # a batch of readings is full
        samples = [event[10] for event in events_of(unit) if event[7] == events.SAMPLES]
        assert samples
        assert samples[0][2] < edge_ms < samples[0][2] + samples[0][3] * samples[0][4]  # no moment is missing


def receipt(unit: Unit, seq: int) -> bytes:
    """A frame with the cloud's receipt for every record up to seq."""
    fields = {1: unit._signer.kid, 2: seq, 3: hashlib.sha256(unit.read(seq) or b"").digest(), 4: NOW_MS}
    return frames.encode([frames.RECEIPT, cose.sign1(CLOUD, cose.RECEIPT, cbor.encode(fields))])


def test_the_age_of_the_oldest_record_survives_a_restart() -> None:
    board = enrolled(0)
    unit = Unit(board)  # type: ignore[arg-type]
    unit.boot()
    board.heard = frames.encode([frames.TIME, NOW_MS, 10])
    run(unit, board, 1000)
    board.heard = archived = receipt(unit, unit.next_seq - 1)
    run(unit, board, 2000)
    assert board.lines[5] == "archived all"
    scan(unit, board, "CT/BADGE/OP-1")
    run(unit, board, 130 * 1000)
    assert board.lines[5].endswith("wait 2m")
    board.now_ms = 0
    unit = Unit(board)  # type: ignore[arg-type]
    unit.boot()
    run(unit, board, 9500)
    assert board.lines[5].endswith("wait >9s"), board.lines  # no clock: that much is sure
    board.heard = archived + frames.encode([frames.TIME, NOW_MS + 4 * HOUR_MS, 10])
    run(unit, board, 10500)
    assert board.lines[5].endswith("wait 3h"), board.lines  # 4 h less the 2 s that it was saved after the first word


def test_a_unit_out_of_service_blinks_reminds_and_refuses() -> None:
    board = Board()
    try:
        Unit(board)  # type: ignore[arg-type]
        raise AssertionError("a unit without an identity works")
    except OutOfService as state:
        front = OutOfOrder(board, state.lines)  # type: ignore[arg-type]
    assert board.lines[0] == "NOT ENROLLED"
    while board.now_ms < 4 * BLINK_MS:
        front.turn()
    assert (board.sounds, board.lights[:3]) == (["alarm"], ["red", "off", "red"])
    for piece in (b"]d1CT/BA", b"DGE/OP-1\r\n"):  # one scan, one no
        board.scanned = piece
        front.turn()
    assert board.sounds == ["alarm", "refused"]
    board.now_ms += ONE_SCAN_MS
    board.scanned = b"]d1CT/BADGE/OP-1\r\n"
    front.turn()
    assert board.sounds == ["alarm", "refused", "refused"]
    while board.now_ms < REMIND_MS + 2 * BLINK_MS:
        front.turn()
    assert board.sounds == ["alarm", "refused", "refused", "alarm"]
