"""The image that a real board runs, and what its flash of 2 MiB holds.

The flash map, and how a factory fills it, are those of tools/flash_map.py; this file runs nothing.
"""

from __future__ import annotations

import os
from pathlib import Path

from hil_tests.bench import truth
from tools import board_image
from tools.flash_map import (
    CODE_BYTES,
    CONFIGURATION_BYTES,
    DISK_VERSION,
    FLASH_BYTES,
    JOURNAL_START,
    LETTER,
    SLOTS_START,
    blank_flash,
)

__all__ = [
    "CODE_BYTES",
    "CONFIGURATION_BYTES",
    "DISK_VERSION",
    "FLASH_BYTES",
    "JOURNAL_START",
    "LETTER",
    "SLOTS_START",
    "blank_flash",
    "image_path",
    "journal_of",
]


def image_path() -> Path | None:
    """The image to run: CARTRACE_IMAGE=/path, or what `make image` built of these sources; None when there is none."""
    chosen = os.environ.get("CARTRACE_IMAGE")
    return Path(chosen) if chosen else board_image.built(board_image.PRODUCTION)


def journal_of(flash: bytes) -> list[bytes]:
    """Every record that a flash of 2 MiB holds, oldest first."""
    return truth.records(flash[JOURNAL_START:])
