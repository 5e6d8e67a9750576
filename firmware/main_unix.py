"""The firmware on the simulated board: main_unix.py BUS_FD LINK_FD SCANNER_FD, as hil_tests/bench starts it."""

# MicroPython's gc has more than CPython's.
# mypy: disable-error-code="attr-defined"

import gc
import sys

gc.threshold(2048)  # while modules load: what lives on must not lie scattered between garbage

from agent.face import OutOfOrder  # noqa: E402  after the line above, on purpose
from agent.hal.unix import Hal  # noqa: E402
from agent.unit import OutOfService, Unit  # noqa: E402

COLLECT_BYTES = 12288  # a third of what is free: new things stay low, and the upper part in one piece


def main() -> None:
    gc.collect()
    gc.threshold(COLLECT_BYTES)
    hal = Hal(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    while True:
        try:
            work(hal)
            return
        except MemoryError as error:  # what is in RAM may be half done; what is in the journal is not
            gc.collect()
            sys.print_exception(error)
            hal.restart()


def work(hal: Hal) -> None:
    """One boot, to the end of power."""
    keep_on = "stop_after_boot" not in hal.settings
    try:
        unit = Unit(hal)
        unit.boot()
    except OutOfService as state:
        front = OutOfOrder(hal, state.lines)
        while keep_on:
            front.turn()
        return
    while keep_on:
        unit.turn()


main()
