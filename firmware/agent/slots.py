"""Slots: small named values on raw flash that survive a power cut at any point, the newest whole one or the one before.

Decides which of two copies counts. Never touches the copy that counts: a new value goes into the other one.
The format is written down in firmware/README.md.
"""

import binascii
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.journal import Flash

MAGIC = b"CTS1"
HEADER = "<4sIHI"  # magic, generation, length, CRC-32
HEADER_BYTES = 16  # with two bytes 0xFF
PAGE_BYTES = 256
BLOCK_BYTES = 4096
REGION_BLOCKS = 8
# name: first block of copy A, blocks of a copy (B follows A), most bytes of a value
_PLACES = {"config": (0, 1, 4000), "order": (2, 2, 4096), "state": (6, 1, 4000)}


class Slots:
    """The values in a region of 8 blocks. Keeps nothing in RAM: each load reads the flash."""

    def __init__(self, flash: "Flash") -> None:
        assert flash.size >= REGION_BLOCKS * BLOCK_BYTES
        assert (flash.page, flash.block) == (PAGE_BYTES, BLOCK_BYTES)
        self._flash = flash

    def load(self, name: str) -> "bytes | None":
        """The value stored last under name ("config", "order" or "state"), None when none was."""
        newest = self._newest(name)
        return newest[2] if newest is not None else None

    def store(self, name: str, value: bytes, both: bool = False) -> None:
        """Keep value under name; it is kept when this returns. The same value again costs no flash operation.

        both: in both copies, so that a flipped bit in one loses nothing; else the other one keeps what was before.
        Raises ValueError when value is longer than the slot, OSError when the flash does not keep it.
        """
        most_bytes = _PLACES[name][2]
        if len(value) > most_bytes:
            raise ValueError("%s has %d bytes, at most %d fit its slot" % (name, len(value), most_bytes))
        newest = self._newest(name)
        if newest is not None and newest[2] == value:
            return
        generation, copy = (1, 0) if newest is None else (newest[0] + 1, 1 - newest[1])
        del newest
        self._write(name, generation, copy, value)
        if both:
            self._write_if_it_can(name, generation, 1 - copy, value)

    def mend(self, name: str) -> None:
        """Make both copies hold the newest value again, so that losing one of them loses nothing."""
        whole = [self._copy(name, copy) is not None for copy in (0, 1)]
        if all(whole) and self._generation(name, 0) == self._generation(name, 1):
            return
        newest = self._newest(name)
        if newest is not None:
            self._write_if_it_can(name, newest[0], 1 - newest[1], newest[2])

    def _write_if_it_can(self, name: str, generation: int, copy: int, value: bytes) -> None:
        """A copy that is worn stays as it is: the other one is whole."""
        try:
            self._write(name, generation, copy, value)
        except OSError:
            pass

    def _write(self, name: str, generation: int, copy: int, value: bytes) -> None:
        block, blocks, _most_bytes = _PLACES[name]
        start = (block + copy * blocks) * BLOCK_BYTES
        for address in range(start, start + blocks * BLOCK_BYTES, BLOCK_BYTES):
            self._flash.erase(address)
        crc = _crc(name, generation, value)
        raw = struct.pack(HEADER, MAGIC, generation, len(value), crc) + b"\xff\xff" + value
        for at in range(0, len(raw), PAGE_BYTES):
            page = raw[at : at + PAGE_BYTES]
            self._flash.program(start + at, page + b"\xff" * (PAGE_BYTES - len(page)))

    def _newest(self, name: str) -> "tuple[int, int, bytes] | None":
        """Generation, copy (0 or 1) and value of the copy that counts; the other one is not read when it is older."""
        first = 0 if self._generation(name, 0) >= self._generation(name, 1) else 1
        return self._copy(name, first) or self._copy(name, 1 - first)

    def _generation(self, name: str, copy: int) -> int:
        """What the copy says its generation is, -1 when it says nothing."""
        magic, generation, _size, _crc = self._header(name, copy)
        return generation if magic == MAGIC else -1

    def _header(self, name: str, copy: int) -> "tuple[bytes, int, int, int]":
        block, blocks, _most_bytes = _PLACES[name]
        raw = self._flash.read((block + copy * blocks) * BLOCK_BYTES, HEADER_BYTES)
        magic, generation, size, crc = struct.unpack_from(HEADER, raw, 0)
        return magic, generation, size, crc

    def _copy(self, name: str, copy: int) -> "tuple[int, int, bytes] | None":
        """The copy, when it is whole."""
        block, blocks, most_bytes = _PLACES[name]
        magic, generation, size, crc = self._header(name, copy)
        if magic != MAGIC or size > most_bytes:
            return None
        value = self._flash.read((block + copy * blocks) * BLOCK_BYTES + HEADER_BYTES, size)
        return (generation, copy, value) if crc == _crc(name, generation, value) else None


def _crc(name: str, generation: int, value: bytes) -> int:
    return binascii.crc32(value, binascii.crc32(name.encode() + struct.pack("<IH", generation, len(value))))
