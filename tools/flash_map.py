"""What the 2 MiB of a board's flash hold when it leaves the factory, and the UF2 file that puts it there.

Knows the flash map (firmware/boards/README.md): code, configuration (a littlefs with the enrolment letter), slots,
journal. Slots and journal are the unit's own: no file made here ever covers them, so a unit that is flashed again
keeps its key and its records. UF2: the format that the boot loader of the RP2040 takes (datasheet 2.8.4.2).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from littlefs import LittleFS

FLASH_START = 0x1000_0000
FLASH_BYTES = 2 * 1024 * 1024
BLOCK_BYTES = 4096
PAGE_BYTES = 256
CODE_BYTES = 640 * 1024
CONFIGURATION_BYTES = 96 * 1024
SLOTS_START = CODE_BYTES + CONFIGURATION_BYTES
SLOTS_BYTES = 8 * BLOCK_BYTES
JOURNAL_START = SLOTS_START + SLOTS_BYTES
DISK_VERSION = 0x0002_0000  # of littlefs, as MicroPython 1.25 writes it
LETTER = "letter.cbor"
BLANK = b"\xff"

BOOT_BYTES = 252  # of the first page; the boot loader runs it when the four bytes behind are its CRC
UF2_MAGIC = (0x0A324655, 0x9E5D5157)
UF2_END = 0x0AB16F30
UF2_FAMILY_GIVEN = 0x2000
UF2_FAMILY = 0xE48BFF56  # RP2040
UF2_DATA_BYTES = 476  # of a block of 512


class ImageUnfitError(ValueError):
    """An image that cannot run on the board. The text says why."""


def check_image(image: bytes) -> None:
    """Raises ImageUnfitError for what the RP2040 would not start, or what would run into the flash behind the code."""
    if len(image) > CODE_BYTES:
        raise ImageUnfitError(f"it has {len(image)} bytes, and {CODE_BYTES} have room")
    first, crc = image[:BOOT_BYTES], image[BOOT_BYTES:PAGE_BYTES]
    if len(crc) < 4 or _crc32(first) != int.from_bytes(crc, "little"):
        raise ImageUnfitError("its first 256 bytes do not carry the checksum without which an RP2040 starts nothing")


def configuration(letter: bytes | None) -> bytes:
    """The file system with the enrolment letter; an empty one for None."""
    files = LittleFS(
        block_size=BLOCK_BYTES,
        block_count=CONFIGURATION_BYTES // BLOCK_BYTES,
        prog_size=PAGE_BYTES,
        disk_version=DISK_VERSION,
    )
    if letter is not None:
        with files.open(LETTER, "wb") as file:
            file.write(letter)
    return bytes(files.context.buffer)


def factory_regions(image: bytes, letter: bytes | None) -> dict[int, bytes]:
    """What is written, by its offset in flash: the code, and with a letter the configuration."""
    if len(image) > CODE_BYTES:
        raise ImageUnfitError(f"the image has {len(image)} bytes, and {CODE_BYTES} have room")
    return {0: image} if letter is None else {0: image, CODE_BYTES: configuration(letter)}


def blank_flash(image: bytes, letter: bytes | None) -> bytes:
    """2 MiB as they leave the factory: the image, and a configuration file system with the enrolment letter, if any."""
    regions = factory_regions(image, letter) | {CODE_BYTES: configuration(letter)}
    return joined(regions).ljust(FLASH_BYTES, BLANK)


def joined(regions: Mapping[int, bytes]) -> bytes:
    """The regions in one piece from the beginning of flash, blank between them."""
    flash = b""
    for start, content in sorted(regions.items()):
        flash = flash.ljust(start, BLANK) + content
    return flash


def uf2(regions: Mapping[int, bytes]) -> bytes:
    """A UF2 file that writes the regions and nothing else.

    Each erase block that is touched is written whole, with 16 UF2 blocks in a row: the boot loader tells by a block's
    number in the file, 16 to each, whether it has erased what it is about to program.
    """
    pages = []
    for start, content in sorted(regions.items()):
        whole = content.ljust(-(-len(content) // BLOCK_BYTES) * BLOCK_BYTES, BLANK)
        pages += [(start + at, whole[at : at + PAGE_BYTES]) for at in range(0, len(whole), PAGE_BYTES)]
    return b"".join(_uf2_block(FLASH_START + at, page, number, len(pages)) for number, (at, page) in enumerate(pages))


def _uf2_block(addr: int, page: bytes, number: int, count: int) -> bytes:
    head = struct.pack("<8I", *UF2_MAGIC, UF2_FAMILY_GIVEN, addr, len(page), number, count, UF2_FAMILY)
    return head + page.ljust(UF2_DATA_BYTES, b"\0") + struct.pack("<I", UF2_END)


def _crc32(content: bytes) -> int:
    """CRC-32 as the boot loader reckons it: highest bit first, nothing inverted at the end (datasheet 2.8.1.3.1)."""
    crc = 0xFFFF_FFFF
    for byte in content:
        crc ^= byte << 24
        for _bit in range(8):
            crc = (crc << 1 ^ 0x04C1_1DB7 if crc & 0x8000_0000 else crc << 1) & 0xFFFF_FFFF
    return crc
