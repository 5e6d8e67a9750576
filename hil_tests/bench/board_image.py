"""The image that a real board runs, and what its 2 MiB of flash hold when it leaves the factory.

Knows the flash map (firmware/README.md): code, configuration (a littlefs with the enrolment letter), slots, journal.
It runs nothing.
"""

from __future__ import annotations

import os
from pathlib import Path

from littlefs import LittleFS

from hil_tests.bench import truth
from hil_tests.bench.nor import BLOCK_BYTES

FLASH_BYTES = 2 * 1024 * 1024
CODE_BYTES = 640 * 1024  # the flash map of firmware/boards: code, then configuration, slots and journal
CONFIGURATION_BYTES = 96 * 1024
SLOTS_START = CODE_BYTES + CONFIGURATION_BYTES
SLOTS_BYTES = 8 * BLOCK_BYTES
JOURNAL_START = SLOTS_START + SLOTS_BYTES
DISK_VERSION = 0x0002_0000  # of littlefs, as MicroPython 1.25 writes it
LETTER = "letter.cbor"


def image_path() -> Path | None:
    """The image to run: CARTRACE_IMAGE=/path, or what `make image` built of these sources; None when there is none."""
    chosen = os.environ.get("CARTRACE_IMAGE")
    if chosen:
        return Path(chosen)
    from tools import board_image

    return board_image.built(board_image.PRODUCTION)


def blank_flash(image: bytes, letter: bytes | None) -> bytes:
    """2 MiB as they leave the factory: the image, and a configuration file system with the enrolment letter."""
    if len(image) > CODE_BYTES:
        raise ValueError(f"the image has {len(image)} bytes, and {CODE_BYTES} have room")
    files = LittleFS(
        block_size=BLOCK_BYTES,
        block_count=CONFIGURATION_BYTES // BLOCK_BYTES,
        prog_size=256,
        disk_version=DISK_VERSION,
    )
    if letter is not None:
        with files.open(LETTER, "wb") as file:
            file.write(letter)
    configuration = bytes(files.context.buffer)
    return (image.ljust(CODE_BYTES, b"\xff") + configuration).ljust(FLASH_BYTES, b"\xff")


def journal_of(flash: bytes) -> list[bytes]:
    """Every record that a flash of 2 MiB holds, oldest first."""
    return truth.records(flash[JOURNAL_START:])
