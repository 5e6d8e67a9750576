"""Simulated NOR flash of one board: keeps its bytes in a file and can lose power at an exact operation.

It keeps what makes real NOR hard: an erase sets a whole 4096-byte block to 0xFF, a program turns ones into zeros
only, works within one 256-byte page, and either of them can be cut before, after or in the middle. A process killed
with -9 tears nothing, because the page cache survives it; this class does the tearing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

PAGE_BYTES = 256
BLOCK_BYTES = 4096
ERASED = 0xFF


class PowerLost(Exception):  # noqa: N818  an event, and no mistake
    """The armed operation was reached: the board has no power from this moment."""


class FlashMisuse(ValueError):  # noqa: N818  named after what was done
    """The firmware asked for something that a real chip would answer with silent damage."""


@dataclass(frozen=True)
class Cut:
    """Lose power at flash operation `at_op` (counted from 1), of which only the first `torn_bytes` take effect.

    torn_bytes None: the operation completes and the power goes before the answer. 0: the operation never begins.
    """

    at_op: int
    torn_bytes: int | None


class Nor:
    """A flash chip of `size` bytes in the file `path`, created erased."""

    def __init__(self, path: Path, size: int) -> None:
        assert size % BLOCK_BYTES == 0
        if not path.exists():
            path.write_bytes(bytes([ERASED]) * size)
        if path.stat().st_size != size:
            raise FlashMisuse(f"{path} holds {path.stat().st_size} bytes, the board has {size}: use another directory")
        self.size = size
        self.operations = 0  # programs and erases since the chip was made, for arming and for wear figures
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._cut: Cut | None = None

    @property
    def closed(self) -> bool:
        return self._fd < 0

    def close(self) -> None:
        """Let go of the file; the bytes stay."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def arm(self, cut: Cut | None) -> None:
        """Lose power at the at_op-th operation from now; None disarms."""
        if cut is not None:
            assert cut.at_op >= 1
            cut = Cut(self.operations + cut.at_op, cut.torn_bytes)
        self._cut = cut

    def read(self, addr: int, length: int) -> bytes:
        """length bytes from addr."""
        self._check_bounds(addr, length)
        return os.pread(self._fd, length, addr)

    def program(self, addr: int, content: bytes) -> None:
        """Turn ones into zeros, as the chip does; content stays within one page."""
        self._check_bounds(addr, len(content))
        if not content or addr // PAGE_BYTES != (addr + len(content) - 1) // PAGE_BYTES:
            raise FlashMisuse(f"a program of {len(content)} bytes at {addr} leaves its page")
        before = os.pread(self._fd, len(content), addr)
        after = bytes(old & new for old, new in zip(before, content, strict=True))
        self._operate(addr, after)

    def erase(self, addr: int) -> None:
        """Set the block at addr to 0xFF."""
        self._check_bounds(addr, BLOCK_BYTES)
        if addr % BLOCK_BYTES:
            raise FlashMisuse(f"an erase at {addr} is not at the start of a block")
        self._operate(addr, bytes([ERASED]) * BLOCK_BYTES)

    def _operate(self, addr: int, after: bytes) -> None:
        self.operations += 1
        if self._cut is None or self.operations < self._cut.at_op:
            os.pwrite(self._fd, after, addr)
            return
        torn_bytes = len(after) if self._cut.torn_bytes is None else self._cut.torn_bytes
        os.pwrite(self._fd, after[:torn_bytes], addr)
        self._cut = None
        raise PowerLost(f"power lost at flash operation {self.operations}")

    def _check_bounds(self, addr: int, length: int) -> None:
        if addr < 0 or length < 0 or addr + length > self.size:
            raise FlashMisuse(f"{length} bytes at {addr} are outside of a flash of {self.size}")
