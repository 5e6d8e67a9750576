"""Power cuts at every byte of every flash operation of a unit: `python -m hil_tests.power_cuts`."""

import sys
from pathlib import Path

FIRMWARE = str(Path(__file__).resolve().parents[2] / "firmware")
if FIRMWARE not in sys.path:  # the unit's program is no installed package; it runs here as it does on a board
    sys.path.insert(0, FIRMWARE)
