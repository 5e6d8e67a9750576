"""Flash of the RP2040 behind the code: checked access to a part of it, and the enrolment letter on its file system.

Decides what is a legal operation: rp2.Flash itself checks nothing, programs past a short page and runs past its end.
Every program and erase is read back. Never writes to the file system, and never lets a module be imported from it.
Flash map: firmware/boards/README.md.
"""

# mypy: disable-error-code="import-not-found,attr-defined,no-any-return"

import rp2
import vfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from agent.hal.rp2 import ScannerLine

BLOCK_BYTES = 4096
PAGE_BYTES = 256
FILES_BYTES = 96 * 1024  # from the beginning of what rp2.Flash covers
SLOTS_BYTES = 32 * 1024
JOURNAL_BYTES = 1280 * 1024
LETTER = "letter.cbor"
LETTER_BYTES_MAX = 4000  # it must fit the slot `config`
BLANK = b"\xff" * PAGE_BYTES
ERASE = 6  # ioctl of a block device
COUNT, SIZE = 4, 5
REFUSED = -1


class Flash:
    """size bytes from start, counted from the end of the code. Raises ValueError for an illegal operation."""

    page = PAGE_BYTES
    block = BLOCK_BYTES

    def __init__(self, start: int, size: int, scanner: "ScannerLine") -> None:
        self.size = size
        self._device = rp2.Flash(start=start, len=size)
        self._view = memoryview(
            self._device
        )  # the flash itself, as the chip maps it: reading costs no copy but the result
        self._scanner = scanner
        self._ram = bytearray(PAGE_BYTES)  # what is programmed must not lie in flash, which cannot be read meanwhile

    def read(self, addr: int, length: int) -> bytes:
        if not 0 <= addr <= addr + length <= self.size:
            raise ValueError("read beyond the flash")
        found = self._view[addr : addr + length]
        if found == BLANK:  # most pages, when a boot looks through them: one constant is enough for all
            return BLANK
        return bytes(found)

    def program(self, addr: int, content: bytes) -> None:
        """Program one page, whole or its beginning; raises OSError when the flash does not hold it afterwards."""
        size = len(content)
        if addr % PAGE_BYTES or not 0 < size <= PAGE_BYTES or not 0 <= addr < self.size:
            raise ValueError("not a page of the flash")
        ram = self._ram
        ram[:size] = content
        for at in range(size, PAGE_BYTES):
            ram[at] = 0xFF
        self._scanner.keep(self._device.writeblocks, addr // BLOCK_BYTES, ram, addr % BLOCK_BYTES)
        if self._view[addr : addr + size] != content:
            raise OSError("the flash did not keep a page")

    def erase(self, addr: int) -> None:
        """Erase one block: 45 ms in which no byte is taken from a serial line, so the scanner is told to wait.

        Raises OSError when the block is not blank afterwards.
        """
        if addr % BLOCK_BYTES or not 0 <= addr < self.size:
            raise ValueError("not a block of the flash")
        self._scanner.hold()
        self._scanner.keep(self._device.ioctl, ERASE, addr // BLOCK_BYTES)
        self._scanner.release()
        for at in range(addr, addr + BLOCK_BYTES, PAGE_BYTES):
            if self._view[at : at + PAGE_BYTES] != BLANK:
                raise OSError("the flash did not erase a block")


class ReadOnly:
    """The part of flash with the file system, for VfsLfs2, which shall not write to it."""

    def __init__(self) -> None:
        self._device = rp2.Flash(start=0, len=FILES_BYTES)

    def readblocks(self, block: int, into: "Any", offset: int = 0) -> "Any":
        return self._device.readblocks(block, into, offset)

    def writeblocks(self, block: int, content: "Any", offset: int = 0) -> int:
        return REFUSED

    def ioctl(self, operation: int, argument: int) -> "int | None":
        if operation == COUNT:
            return FILES_BYTES // BLOCK_BYTES
        if operation == SIZE:
            return BLOCK_BYTES
        return REFUSED if operation == ERASE else 0


def letter() -> bytes:
    """The enrolment letter that the factory left on the file system; b"" when there is none that can be read.

    The file system is never mounted: nothing can be imported from it.
    """
    try:
        with vfs.VfsLfs2(ReadOnly()).open(LETTER, "rb") as file:
            return file.read(LETTER_BYTES_MAX + 1)
    except OSError:
        return b""
