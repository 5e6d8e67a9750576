"""One unit as the real thing: the RP2040 image on the emulated board, with the same words as unix_unit.UnixUnit.

Time is the chip's own, and it passes only while somebody waits: `wait_panel`, `wait_until`, `wait_off`, `pass_ms`, or
the gateway's end of the link (ChipPeer.wait). Every timeout counts that time. `panel()` is read from the pixels of the
display, so it is what a person sees. As on every bench, `journal()` reads the raw flash with code that shares nothing
with the firmware (truth.py).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from agent import signals

import wire
from hil_tests.bench.board_image import JOURNAL_START, SLOTS_START, blank_flash, image_path, journal_of
from hil_tests.bench.devices.ssd1306 import Ssd1306Model
from hil_tests.bench.devices.world import BOARD_CHANNELS, BOARD_SENSORS, LID, World
from hil_tests.bench.nor import Cut, PowerLost
from hil_tests.bench.peer import GatewayEnd
from hil_tests.bench.rp2040_chip import Chip, FlashOperation
from hil_tests.bench.sensor_source import Reading, SensorFaults, SensorSource, SyntheticSensors
from tools import enrolment

STEP_MS = 2.0  # how finely waiting looks at the panel
READY_MS = 20_000


class BoardSensors(SyntheticSensors):
    """Generated values for what the board measures; its lid is shut."""

    def __init__(self) -> None:
        super().__init__(BOARD_CHANNELS)

    def read(self, world_ms: int) -> list[Reading]:
        readings = super().read(world_ms)
        return [0 if spec.name == LID else reading for spec, reading in zip(self.channels, readings, strict=True)]


class Rp2040Unit:
    """A board with its flash in `directory`; off until power_on()."""

    def __init__(
        self,
        directory: Path,
        *,
        sensors: SensorSource | None = None,
        seed: int = 0,
    ) -> None:
        self.directory = directory
        self.sensors = SensorFaults(sensors or BoardSensors())
        self.display = Ssd1306Model()
        self._misuse: str | None = None
        self._restarts = 0  # in earlier boots
        self.chip: Chip | None = None
        self.peer: ChipPeer | None = None
        self.before_operation: Callable[[FlashOperation], None] = lambda _operation: None
        self._flash = (directory / "flash.bin").read_bytes()
        self._world: World | None = None
        self._passed_ms = 0.0  # in earlier boots
        self._seed = seed
        self._boots = 0
        self._linked = True
        self._seen: tuple[int, list[str]] = (-1, [])
        self._cut: Cut | None = None

    @classmethod
    def provision(
        cls,
        directory: Path,
        *,
        unit: str = "U-01",
        epoch: int = 1,
        cloud_public_key: bytes,
        image: bytes | None = None,
        prepared: Callable[[Rp2040Unit], None] = lambda _unit: None,
        sensors: SensorSource | None = None,
        site_offset_min: int = 0,
    ) -> bytes:
        """Enrol the unit at the factory: it makes its own key and this returns its genesis record.

        prepared: called with the board before it gets power for the first time.
        """
        if image is None:
            path = image_path()
            if path is None:
                raise RuntimeError("there is no image of the firmware: make image builds it")
            image = path.read_bytes()
        sensors = sensors or BoardSensors()
        letter = enrolment.letter(
            unit, epoch, cloud_public_key, sensors.channels, site_offset_min, sensors=BOARD_SENSORS
        )
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "flash.bin").write_bytes(blank_flash(image, letter))
        with cls(directory, sensors=sensors) as board:
            prepared(board)
            board.power_on()
            board.wait_ready()
            return board.journal()[0]

    # --- power -------------------------------------------------------------------------------------------------------

    @property
    def is_on(self) -> bool:
        return self.chip is not None

    def power_on(self) -> None:
        """A new chip on the flash as it is. RAM is new, as it must be, and so is everything on the same supply."""
        self.power_cut()
        self._boots += 1
        self._world = World(self.sensors, BOARD_SENSORS, lambda: int(self.now_ms * 1000))
        self.display = Ssd1306Model()
        devices = {**self._world.devices, self.display.address: self.display}
        self.chip = Chip(self._flash, devices=devices, seed=self._seed * 1000 + self._boots)
        self.chip.before_operation = self.before_operation
        self.chip.arm(self._cut)
        self._cut = None
        self._seen = (-1, [])
        self.chip.link.heard = self._heard
        if not self._linked:
            self.chip.link.unplug()

    def power_cut(self, *, at_flash_op: int | None = None, torn_bytes: int | None = None) -> None:
        """Cut the power now, or at the at_flash_op-th program or erase from now (see nor.Cut)."""
        if at_flash_op is None:
            self._switch_off()
        elif self.chip is not None:
            self.chip.arm(Cut(at_flash_op, torn_bytes))
        else:
            self._cut = Cut(at_flash_op, torn_bytes)

    def wait_off(self, timeout_s: float = 60.0) -> None:
        """Wait until an armed cut has ended this boot."""
        ends_ms = self.now_ms + timeout_s * 1000
        while self.is_on:
            if self.now_ms > ends_ms:
                raise TimeoutError(f"the power is still on; the panel shows {self.panel()}")
            self.pass_ms(STEP_MS)

    def _switch_off(self) -> None:
        if self.chip is None:
            return
        self._flash = self.chip.flash
        self._misuse = self._misuse or self.chip.misuse
        self._restarts += self.chip.resets
        self._passed_ms += self.chip.now_ms
        self.chip = None
        (self.directory / "flash.bin").write_bytes(self._flash)

    # --- time --------------------------------------------------------------------------------------------------------

    @property
    def now_ms(self) -> float:
        """The board's own time since it was made; it stands still while the power is off."""
        return self._passed_ms + (self.chip.now_ms if self.chip else 0.0)

    def pass_ms(self, ms: float) -> None:
        """Let time pass; an armed cut ends it."""
        if self.chip is None:
            self._passed_ms += ms
            return
        assert self._world is not None
        self.chip.open_lid(self._world.lid_open())
        try:
            self.chip.run_ms(ms)
        except PowerLost:
            self._switch_off()

    # --- cables, scanner, panel --------------------------------------------------------------------------------------

    def connect(self, kid: bytes, now_ms: int | None = None) -> ChipPeer:
        """A gateway's end on the link."""
        self.peer = ChipPeer(self, kid=kid, now_ms=now_ms)
        self.peer.send(wire.Who())
        return self.peer

    def _heard(self, chunk: bytes) -> None:
        if self.peer is not None:
            self.peer.hear(chunk)

    def unplug_link(self) -> None:
        self._linked = False
        if self.chip:
            self.chip.link.unplug()

    def plug_link(self) -> None:
        self._linked = True
        if self.chip:
            self.chip.link.plug()

    def noise(self, raw: bytes) -> None:
        """Bytes that nobody sent appear on the link, both ways."""
        if self.chip:
            self.chip.link.send(raw)
            self._heard(raw)

    def scan(self, raw: bytes) -> None:
        """Send raw as the scanner does: AIM prefix, code, CR LF."""
        if self.chip:
            self.chip.scanner.send(raw)

    def panel(self) -> list[str]:
        """The six lines as the pixels show them; all empty while the display is dark."""
        if self.chip is None:
            return []
        if self._seen[0] != self.display.bytes_taken:
            self._seen = (self.display.bytes_taken, self.display.lines())
        return list(self._seen[1])

    def picture(self, path: Path) -> None:
        """Save what a person sees as PNG."""
        self.display.picture().save(path)

    @property
    def light(self) -> str:
        """off, green, amber or red."""
        return self.chip.light if self.chip else "off"

    @property
    def sounds(self) -> list[str]:
        """What the buzzer has said since power-on, by the pitches that tell sounds apart."""
        if self.chip is None:
            return []
        first_note = {notes[0][0]: (sound, len(notes)) for sound, notes in signals.SOUNDS.items()}
        heard: list[str] = []
        skip = 0
        for _at_ns, pitch_hz in self.chip.tones:
            if skip:
                skip -= 1
                continue
            near = [known for known in first_note if abs(known - pitch_hz) <= known * 0.02]
            if near:
                sound, notes = first_note[near[0]]
                heard.append(sound)
                skip = notes - 1
        return heard

    def wait_panel(self, words: str, timeout_s: float = 20.0) -> list[str]:
        """Wait until some line of the panel contains words; raises TimeoutError with what it shows instead."""
        return self.wait_until(lambda lines: any(words in line for line in lines), f"{words!r}", timeout_s)

    def wait_until(self, wanted: Callable[[list[str]], bool], what: str, timeout_s: float = 20.0) -> list[str]:
        ends_ms = self.now_ms + timeout_s * 1000
        while True:
            lines = self.panel()
            if wanted(lines):
                return lines
            if self.now_ms > ends_ms:
                raise TimeoutError(f"waited for {what}; the panel shows {lines}")
            self.pass_ms(STEP_MS)

    def wait_ready(self) -> list[str]:
        """Wait until the panel says anything at all."""
        return self.wait_until(any, "the panel to light up", READY_MS / 1000)

    # --- evidence ----------------------------------------------------------------------------------------------------

    @property
    def flash(self) -> bytes:
        return self.chip.flash if self.chip else self._flash

    def journal(self) -> list[bytes]:
        """Every record that the flash holds, oldest first, whether archived or not."""
        return journal_of(self.flash)

    def slots(self) -> bytes:
        """The part of the flash beside the journal: key, order, state."""
        return self.flash[SLOTS_START:JOURNAL_START]

    @property
    def misuse(self) -> str | None:
        """The first thing that the firmware did wrong to its flash."""
        return self._misuse or (self.chip.misuse if self.chip else None)

    def console(self) -> str:
        """A production image has nowhere to print to; here stands how often it restarted by itself, if it did."""
        restarts = self._restarts + (self.chip.resets if self.chip else 0)
        return f"the unit restarted by itself, {restarts} times" if restarts else ""

    def close(self) -> None:
        """Power off; the flash stays. Harmless when repeated."""
        self._switch_off()

    def __enter__(self) -> Rp2040Unit:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ChipPeer(GatewayEnd):
    """The gateway's end of the emulated link, in the same thread: time passes while it waits."""

    def __init__(self, unit: Rp2040Unit, *, kid: bytes, now_ms: int | None = None) -> None:
        super().__init__(kid=kid, now_ms=now_ms)
        self._unit = unit

    def send_raw(self, raw: bytes) -> None:
        if self._unit.chip is not None:
            self._unit.chip.link.send(raw)

    def wait(self, holds: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
        ends_ms = self._unit.now_ms + timeout_s * 1000
        while not holds():
            if self._unit.now_ms > ends_ms:
                raise TimeoutError(f"waited for {what}; heard {len(self.hellos)} hellos, next seq {self.next_seq()}")
            self._unit.pass_ms(STEP_MS)
