"""The words that every bench understands, so that one scenario runs on all of them.

Two benches keep them: unix_unit.UnixUnit (fast, the firmware in MicroPython's unix port) and rp2040_unit.Rp2040Unit
(the real image on the emulated board). Time is the unit's own; on the second one it passes only in words that wait.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from hil_tests.bench.peer import GatewayEnd
from hil_tests.bench.sensor_source import SensorFaults


class BenchUnit(Protocol):
    """One unit on some bench."""

    sensors: SensorFaults

    @property
    def is_on(self) -> bool: ...

    def power_on(self) -> None:
        """A new boot on the flash as it is, with new RAM."""

    def power_cut(self, *, at_flash_op: int | None = None, torn_bytes: int | None = None) -> None:
        """Cut the power now, or at the at_flash_op-th program or erase from now (see nor.Cut)."""

    def wait_off(self, timeout_s: float = ...) -> None:
        """Wait until an armed cut has ended this boot."""

    def pass_ms(self, ms: float) -> None:
        """Let the unit's time pass."""

    def connect(self, kid: bytes, now_ms: int | None = None) -> GatewayEnd:
        """A gateway's end on the link."""

    def unplug_link(self) -> None: ...

    def plug_link(self) -> None: ...

    def noise(self, raw: bytes) -> None:
        """Bytes that nobody sent appear on the link, both ways."""

    def scan(self, raw: bytes) -> None:
        """Send raw as the scanner does: AIM prefix, code, CR LF."""

    def panel(self) -> list[str]:
        """The panel's six lines, without blanks at their ends."""

    def wait_panel(self, words: str, timeout_s: float = ...) -> list[str]:
        """Wait until some line of the panel contains words; raises TimeoutError with what it shows instead."""

    def wait_until(self, wanted: Callable[[list[str]], bool], what: str, timeout_s: float = ...) -> list[str]:
        """Wait until the panel is as wanted."""

    def journal(self) -> list[bytes]:
        """Every record that the flash holds, oldest first."""

    def slots(self) -> bytes:
        """The part of the flash beside the journal: key, order, state."""

    def console(self) -> str:
        """What the firmware printed: nothing, unless it crashed."""

    @property
    def misuse(self) -> str | None:
        """The first thing that the firmware did wrong to its flash."""

    @property
    def light(self) -> str:
        """off, green, amber or red."""

    @property
    def sounds(self) -> list[str]:
        """What the buzzer has said: ok, refused, alarm."""

    def close(self) -> None:
        """Power off; the flash stays."""
