"""Every screen that a technician meets, from a real unit in memory, as one picture in the test report.

The scenes follow one batch: scans go in at the scanner, words come out of the pixels on the glass.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from agent import panel, signals
from PIL import Image, ImageDraw

import wire
from hil_tests.bench.devices.glass import UNREADABLE, picture_of
from hil_tests.bench.memory_board import MemoryBoard, MemoryPeer
from hil_tests.bench.nor import BLOCK_BYTES
from hil_tests.bench.peer import CLOUD_KEY
from hil_tests.bench.sensor_source import DEFAULT_CHANNELS
from hil_tests.materials import BUFFER, CARTRIDGE, VECTOR, Materials
from tools import enrolment

NOW_MS = 1795000000000  # 2026-11-18
ON_THE_BENCH = Materials(42, NOW_MS)
DONOR = ON_THE_BENCH.donor_code.encode()
GS = b"\x1d"
REFUSED = "refused: "  # how the names of such scenes begin
REASONS = {  # wire/SPEC.md section 5
    "wrong_item", "expired", "duplicate", "not_asked", "no_operator", "no_batch", "ambiguous", "unreadable",
    "truncated", "missing_field", "clock_uncertain", "identity_mismatch", "wrong_step",
}  # fmt: skip
COLUMNS = 4
TILE = (560, 316)
LAMPS = {
    signals.OFF: (48, 48, 48),
    signals.GREEN: (40, 200, 70),
    signals.AMBER: (255, 180, 0),
    signals.RED: (230, 40, 40),
}


@dataclass(frozen=True)
class Scene:
    """What stands on the glass at one moment, the light, and the last sound (\"\" for none)."""

    name: str
    asked: list[str]  # the lines that the unit handed to its board
    shown: list[str]  # as read back from the pixels
    frame: bytes
    lamp: str
    sound: str
    reason: str  # of the scan record that a refusal left behind


class Gallery:
    """One unit and its gateway; scans and waits, and keeps a scene where told to."""

    def __init__(self, folder: Path, *, journal_bytes: int = 256 * BLOCK_BYTES) -> None:
        letter = enrolment.letter("U-07", 1, CLOUD_KEY, DEFAULT_CHANNELS, 60)
        self.board = MemoryBoard(folder / "flash.bin", {"enrol": letter.hex()}, journal_bytes=journal_bytes)
        self.scenes: list[Scene] = []
        self._sounds = 0

    def connect(self) -> MemoryPeer:
        genesis = wire.decode_record(self.board.unit.read(0) or b"")  # type: ignore[union-attr]
        peer = MemoryPeer(self.board, kid=genesis.kid, now_ms=NOW_MS)
        self.board.run(3000)
        return peer

    def scan(self, code: str | bytes, aim: str = "]d1", scene: str = "") -> None:
        self.board.sounds.clear()
        self.board.run(1000)  # a hand moves to the next code
        self.board.scan(code.encode() if isinstance(code, str) else code, aim)
        if scene:
            self.keep(scene)

    def label(self, elements: str, scene: str = "") -> None:
        """A GS1 DataMatrix of bracketed elements; all of these end with their only variable element."""
        self.scan(elements.replace("[", "").replace("]", ""), "]d2", scene)

    def keep(self, name: str) -> None:
        board = self.board
        sound = board.sounds[-1] if board.sounds else ""
        reason = self._reason() if name.startswith(REFUSED) else ""
        scene = Scene(name, board.lines, board.glass.lines(), board.glass.frame(), board.lamp, sound, reason)
        self.scenes.append(scene)

    def _reason(self) -> str:
        """Why the newest scan on record was refused."""
        unit = self.board.unit
        assert unit is not None
        for seq in range(unit.next_seq - 1, -1, -1):
            record = wire.decode_record(unit.read(seq) or b"")
            if isinstance(record.body, wire.Scan):
                return record.body.reason or ""
        return ""


def order(kid: bytes, number: int = 1) -> wire.Order:
    """The batch of the story, with a temperature limit and one item of each grammar."""
    return wire.Order(
        number=number, kid=kid, batch=ON_THE_BENCH.batch, recipe="car-t-demo", version=1, recipe_digest=bytes(32),
        steps=(
            wire.OrderStep("receive", "Receive donor cells", ("donor-bag",)),
            wire.OrderStep("prime", "Prime cartridge", ("cartridge", "buffer")),
            wire.OrderStep("load", "Load cells and vector", ("vector",)),
            wire.OrderStep("culture", "Culture", ()),
        ),
        items=(
            wire.OrderItem("donor-bag", "Donor bag", "", 0, exact=ON_THE_BENCH.donor_code),
            wire.OrderItem("cartridge", "Process cartridge", CARTRIDGE, wire.NEEDS_SERIAL + wire.NEEDS_EXPIRY),
            wire.OrderItem("buffer", "Wash buffer", BUFFER, wire.NEEDS_LOT + wire.NEEDS_EXPIRY),
            wire.OrderItem("vector", "Lentiviral vector", VECTOR, wire.NEEDS_LOT + wire.NEEDS_EXPIRY),
        ),
        issued_ms=NOW_MS,
        limits=(wire.OrderLimit("temperature", 3650, 3750, -2, 5000, ("culture",)),),
    )  # fmt: skip


def play(folder: Path) -> list[Scene]:
    g = Gallery(folder)
    board = g.board
    board.power_on()
    board.run(1000)
    g.keep("first switched on")
    board.run(40_000)
    g.keep("no gateway yet: saved, and for how long")
    g.label(ON_THE_BENCH.cartridge, "refused: nobody signed in")
    g.scan("CT/BADGE/A.Kowalska", "]C0", "badge scanned")
    g.scan("CT/BATCH/OPEN", scene="refused: no order yet")
    peer = g.connect()
    peer.wait(lambda: peer.next_seq() >= 6, "the records")
    peer.order(order(peer.kid))
    board.run(3000)
    g.keep("order here: relayed")
    g.label(ON_THE_BENCH.cartridge, "refused: no batch")
    g.scan("CT/BATCH/OPEN", scene="batch opened")
    peer.receipt(peer.next_seq() - 1)
    board.run(1000)
    g.keep("which step to start; all archived")
    g.scan("CT/STEP/START/load", scene="refused: wrong step")
    g.scan("CT/STEP/START/receive", scene="step started: what to scan")
    g.scan(b"=A99992600009900", "]C0", "refused: another donation")
    g.scan(DONOR, "]C0", "accepted")
    g.scan("CT/STEP/DONE", scene="step done")
    g.scan("CT/STEP/START/prime")
    g.label(ON_THE_BENCH.vector, "refused: wrong item")
    g.scan("CT/OVERRIDE/only kit left", scene="override: second badge")
    g.scan("CT/BADGE/A.Kowalska", "]C0", "override: same person")
    board.run(59_500)  # a minute after the override code, and some
    g.keep("override: nobody came")
    board.run(2_000)
    g.label(f"[01]{CARTRIDGE}[17]270601", "refused: no serial on the label")
    g.label(f"[01]{CARTRIDGE[:-1]}{(int(CARTRIDGE[-1]) + 1) % 10}[17]270601[21]C1", "refused: check digit")
    g.label(f"[01]{CARTRIDGE}[17]260101[21]C00007", "refused: expired")
    g.label(ON_THE_BENCH.cartridge)
    g.label(ON_THE_BENCH.cartridge, "refused: already scanned")
    g.label(f"[01]{BUFFER}[10]WB-0042[17]270601", "refused: separator lost")
    board.scanner_sends(b"]d201" + BUFFER.encode()[:9])
    g.keep("refused: read broke off")
    board.scanner_sends(b"\x1bx" * 300 + b"\r\n")
    g.keep("refused: rubbish")
    g.scan("CT/STEP/DONE", scene="refused: something not scanned")
    g.scan("CT/LUNCH", scene="refused: unknown command")
    g.label(f"[01]{BUFFER}[17]270600[10]WB-0042", "accepted: expiry without day")
    g.scan("CT/STEP/DONE")
    g.scan("CT/STEP/START/load")
    g.label(ON_THE_BENCH.vector)
    g.scan("CT/STEP/DONE")
    g.scan("CT/STEP/START/culture")
    board.run(3000)
    g.keep("a step without scans")
    board.sensors.excursion("temperature", 200)
    board.sounds.clear()
    board.run(9000)
    g.keep("alarm")
    board.sensors.well("temperature")
    g.scan("CT/ALARM/ACK", scene="alarm acknowledged")
    board.peer = None
    board.run(5000)
    board.skip(3 * 3_600_000)
    g.keep("gateway away for three hours")
    board.power_on()
    board.run(1000)
    g.keep("restarted in the middle of a step")
    g.scan("CT/STEP/DONE")
    g.label(ON_THE_BENCH.buffer, "refused: no step is open")
    return g.scenes


def play_expiry_without_clock(folder: Path) -> list[Scene]:
    """A unit that was restarted and has no time yet."""
    g = Gallery(folder)
    g.board.power_on()
    peer = g.connect()
    peer.order(order(peer.kid))
    for code in ("CT/BADGE/A.Kowalska", "CT/BATCH/OPEN", "CT/STEP/START/receive"):
        g.scan(code)
    g.scan(DONOR, "]C0")
    for code in ("CT/STEP/DONE", "CT/STEP/START/prime"):
        g.scan(code)
    g.board.peer = None
    g.board.power_on()
    g.label(ON_THE_BENCH.cartridge, "refused: clock not set")
    g.connect()
    g.keep("the gateway told the time")
    return g.scenes


def play_filling_up(folder: Path) -> list[Scene]:
    """A journal that fills while no gateway comes."""
    g = Gallery(folder, journal_bytes=16 * BLOCK_BYTES)
    g.board.power_on()
    g.scan("CT/BADGE/A.Kowalska", "]C0")
    scans = 0
    while "FULL" not in " ".join(g.board.lines):
        g.scan(f"CT/NOTE/{scans} " + "x" * 150)
        scans += 1
        assert scans < 200
    g.board.run(3000)
    g.keep("80 % full")
    while "JOURNAL FULL" not in " ".join(g.board.lines):
        g.scan(f"CT/NOTE/{scans} " + "x" * 150)
        scans += 1
        assert scans < 200
    g.board.run(3000)
    while g.board.lamp == signals.OFF:  # it blinks
        g.board.run(100)
    g.keep("journal full")
    g.scan("CT/STEP/DONE", scene="scan while full")
    assert g.board.unit is not None
    g.board.unit._custody.worn = True  # what becomes of it is tested with the firmware
    g.board.run(1000)
    g.keep("journal full, and flash worn")
    return g.scenes


def play_set_back(folder: Path) -> list[Scene]:
    """The cloud has another record than the unit."""
    g = Gallery(folder)
    g.board.power_on()
    peer = g.connect()
    peer.wait(lambda: peer.next_seq() >= 2, "the records")
    g.board.sounds.clear()
    peer.receipt(1, digest=bytes(32))
    g.board.run(1000)
    g.keep("the journal was set back")
    g.scan("CT/BADGE/A.Kowalska", scene="scan while set back")
    return g.scenes


def play_out_of_service(folder: Path) -> list[Scene]:
    g = Gallery(folder)
    g.board.settings = {}
    g.board.power_on()
    g.board.run(100)
    g.keep("not enrolled")
    g.scan("CT/BADGE/A.Kowalska", scene="scan while not enrolled")
    g.board.settings = {"enrol": "ff"}
    g.board.power_on()
    g.board.run(100)
    g.keep("out of service: configuration")
    g.board.settings = {"enrol": enrolment.letter("U-07", 1, bytes(32), DEFAULT_CHANNELS, 60).hex()}
    g.board.power_on()
    g.board.run(100)
    g.keep("out of service: cloud key")
    return g.scenes


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Scene]:
    played = [
        scene
        for play_part in (play, play_expiry_without_clock, play_filling_up, play_set_back, play_out_of_service)
        for scene in play_part(tmp_path_factory.mktemp("panel"))
    ]
    assert len({scene.name for scene in played}) == len(played)
    return {scene.name: scene for scene in played}


def test_the_contact_sheet(scenes: dict[str, Scene], report_folder: Path) -> None:
    rows = -(-len(scenes) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * TILE[0], rows * TILE[1]), (28, 30, 33))
    draw = ImageDraw.Draw(sheet)
    for number, scene in enumerate(scenes.values()):
        left, top = number % COLUMNS * TILE[0] + 24, number // COLUMNS * TILE[1] + 36
        draw.text((left, top - 24), f"{number + 1}  {scene.name}", fill=(220, 220, 220), font_size=16)
        sound = f"buzzer: {scene.sound}" if scene.sound else ""
        draw.text((left + 512 - 30, top - 22), sound, fill=(160, 160, 160), font_size=13, anchor="ra")
        draw.ellipse((left + 492, top - 26, left + 510, top - 8), fill=LAMPS[scene.lamp])
        sheet.paste(picture_of(scene.frame), (left, top))
    sheet.save(report_folder / "panel-screens.png")


def test_the_glass_says_what_the_unit_said(scenes: dict[str, Scene]) -> None:
    for scene in scenes.values():
        assert scene.shown == [line.rstrip() for line in scene.asked], scene.name
        assert UNREADABLE not in "".join(scene.shown)


def test_nothing_is_cut_out_of_a_line(scenes: dict[str, Scene]) -> None:
    cut = [(scene.name, line) for scene in scenes.values() for line in scene.asked if panel.CUT in line]
    assert cut == []


def test_every_reason_for_a_refusal_is_among_the_scenes(scenes: dict[str, Scene]) -> None:
    refused = [scene for scene in scenes.values() if scene.name.startswith(REFUSED)]
    assert {scene.reason for scene in refused} == REASONS
    assert all(scene.asked[3].startswith("!") for scene in refused)


def test_a_refusal_that_holds_no_longer_leaves_the_panel(scenes: dict[str, Scene]) -> None:
    for refused, over in (
        ("refused: no order yet", "order here: relayed"),
        ("refused: clock not set", "the gateway told the time"),
    ):
        assert scenes[refused].asked[3].startswith("!")
        assert scenes[over].asked[3:5] == ["", ""], over


def test_what_waited_before_a_restart_is_no_younger_for_it(scenes: dict[str, Scene]) -> None:
    assert scenes["gateway away for three hours"].asked[5].endswith(" 3h")
    assert " >" in scenes["restarted in the middle of a step"].asked[5]  # longer than that; the clock is not set


def test_light_and_buzzer_say_the_same_as_the_panel(scenes: dict[str, Scene]) -> None:
    for name, scene in scenes.items():
        if name.startswith(REFUSED):
            assert (scene.lamp, scene.sound) == (signals.RED, signals.REFUSED), name
    for name, lamp, sound in (
        ("accepted", signals.GREEN, signals.OK),
        ("step done", signals.GREEN, signals.OK),
        ("override: same person", signals.RED, signals.REFUSED),
        ("override: nobody came", signals.RED, signals.REFUSED),
        ("no gateway yet: saved, and for how long", signals.OFF, ""),
        ("alarm", signals.AMBER, signals.ALARM),
        ("scan while full", signals.RED, signals.REFUSED),
        ("scan while set back", signals.RED, signals.REFUSED),
        ("not enrolled", signals.RED, signals.ALARM),
        ("scan while not enrolled", signals.RED, signals.REFUSED),
        ("out of service: configuration", signals.RED, signals.ALARM),
    ):
        assert (scenes[name].lamp, scenes[name].sound) == (lamp, sound), name
    assert scenes["80 % full"].lamp == signals.AMBER  # its sound came when the journal reached it
