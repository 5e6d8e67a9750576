"""Runs one dual test inside MicroPython: run_on_micropython.py FIRMWARE_DIR MODULE TEST [GC_BYTES].

A failure is a traceback. GC_BYTES: how much is allocated between two collections.

One process per test: the garbage of one test would scatter the heap of the next, which is no bigger than a unit's.
"""

import gc
import sys

# As on a unit: what lives on must not lie scattered between garbage. (MicroPython's gc has more than CPython's.)
gc.threshold(int(sys.argv[4]) if len(sys.argv) > 4 else 4096)  # type: ignore[attr-defined]

firmware, module_name, test = sys.argv[1:4]
sys.path.insert(0, firmware)
module = __import__("tests." + module_name, None, None, (module_name,))
gc.collect()
getattr(module, test)()
print("passed", test)
