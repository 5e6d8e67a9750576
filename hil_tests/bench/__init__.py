"""Everything round a unit on a bench: its board, its chip, its flash, its gateway's end of the link."""

import sys
from pathlib import Path

FIRMWARE = str(Path(__file__).resolve().parents[2] / "firmware")
if FIRMWARE not in sys.path:  # the unit's program is no installed package; parts of it are used here as they are
    sys.path.insert(0, FIRMWARE)
