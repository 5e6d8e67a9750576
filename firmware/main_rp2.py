"""The firmware on the real board: frozen into the image, started by its _boot.py (firmware/boards).

Decides nothing but what to do without a place to record: say so on the panel and wait. An error ends in a restart from
the journal (_boot.py), because RAM may be half done.
"""

import gc

from agent.face import OutOfOrder
from agent.hal.rp2 import Hal
from agent.unit import OutOfService, Unit

COLLECT_BYTES = 65536  # garbage at most before it is collected, also while there is much to do (a scan makes less)
BOOT_COLLECT_BYTES = 98304  # recovery makes half a megabyte of garbage: in small pieces that costs half a second


def main(watchdog: bool = True) -> None:
    """One boot, to the end of power."""
    gc.collect()
    gc.threshold(BOOT_COLLECT_BYTES)  # type: ignore[attr-defined]
    hal = Hal(watchdog)
    try:
        unit = Unit(hal)  # type: ignore[arg-type]  # another board's Hal, with the same names
        unit.boot()
    except OutOfService as state:
        front = OutOfOrder(hal, state.lines)  # type: ignore[arg-type]
        while True:
            front.turn()
    gc.collect()
    gc.threshold(COLLECT_BYTES)  # type: ignore[attr-defined]
    while True:
        unit.turn()
