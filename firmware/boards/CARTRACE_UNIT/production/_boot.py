"""First thing that runs on a production unit, and the last: the unit's program, which never returns.

Decides that the watchdog runs before anything else and that nothing is ever imported from the file system. Whatever
goes wrong ends in a restart; what is in the journal is safe.
"""

# mypy: disable-error-code="import-not-found"

import machine

machine.WDT(timeout=8000)

import sys  # noqa: E402  after the watchdog, on purpose

sys.path[:] = [".frozen"]

import micropython  # noqa: E402

micropython.kbd_intr(-1)

try:
    import main_rp2  # noqa: E402

    main_rp2.main()
finally:
    machine.reset()
