"""A unit's board in memory, for cutting its power a hundred thousand times: flash as a list of pages, and a hal.

The flash has the rules of hil_tests/bench/nor.py (an erase sets a block, a program only clears bits and stays in its
page) and two more: it remembers every operation, and it refuses to be programmed twice or asked for ever. The hal is
the real interface of firmware/agent/hal/unix.py with a simulated clock, so a unit on it is a function of its flash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import nacl.bindings
import nacl.exceptions
from agent import ed25519

PAGE_BYTES = 256
BLOCK_PAGES = 16
BLOCK_BYTES = PAGE_BYTES * BLOCK_PAGES
ERASED = b"\xff" * PAGE_BYTES
SLOT_BLOCKS = 8
SLOT_PAGES = SLOT_BLOCKS * BLOCK_PAGES
NO_LIMIT = 1 << 60


class FlashMisuse(Exception):  # noqa: N818  named after what was done
    """The firmware asked for something that a real chip would answer with silent damage."""


class Hung(Exception):  # noqa: N818  a state
    """The firmware reads or writes without end."""


class Operation(NamedTuple):
    """One erase or program: the pages from `first` on become `after`."""

    first: int
    after: tuple[bytes, ...]


class Chip:
    """The cells of one flash chip, page by page, and what was done to them."""

    def __init__(self, pages: Sequence[bytes]) -> None:
        self.pages = list(pages)
        self.log: list[Operation] = []
        self.reads = 0
        self.reads_max = NO_LIMIT
        self.operations_max = NO_LIMIT

    def apply(self, operation: Operation) -> None:
        if len(self.log) >= self.operations_max:
            raise Hung(f"more than {self.operations_max} flash operations")
        self.log.append(operation)
        self.pages[operation.first : operation.first + len(operation.after)] = operation.after


class Flash:
    """The partition of `blocks` blocks that begins at page `first`."""

    page = PAGE_BYTES
    block = BLOCK_BYTES

    def __init__(self, chip: Chip, first: int, blocks: int) -> None:
        self._chip = chip
        self._first = first
        self.size = blocks * BLOCK_BYTES

    def read(self, address: int, size: int) -> bytes:
        self._check(address, size)
        chip = self._chip
        chip.reads += 1
        if chip.reads > chip.reads_max:
            raise Hung(f"more than {chip.reads_max} reads")
        number, skip = self._first + address // PAGE_BYTES, address % PAGE_BYTES
        if skip == 0 and size == PAGE_BYTES:
            return chip.pages[number]
        joined = b"".join(chip.pages[number : number + (skip + size + PAGE_BYTES - 1) // PAGE_BYTES])
        return joined[skip : skip + size]

    def program(self, address: int, content: bytes) -> None:
        self._check(address, len(content))
        if address % PAGE_BYTES or len(content) != PAGE_BYTES:
            raise FlashMisuse(f"a program of {len(content)} bytes at {address} is not a page")
        number = self._first + address // PAGE_BYTES
        if self._chip.pages[number] != ERASED:
            raise FlashMisuse(f"page {number} is programmed, and not erased")
        self._chip.apply(Operation(number, (bytes(content),)))

    def erase(self, address: int) -> None:
        self._check(address, BLOCK_BYTES)
        if address % BLOCK_BYTES:
            raise FlashMisuse(f"an erase at {address} is not at the start of a block")
        self._chip.apply(Operation(self._first + address // PAGE_BYTES, (ERASED,) * BLOCK_PAGES))

    def _check(self, address: int, size: int) -> None:
        if address < 0 or address + size > self.size:
            raise FlashMisuse(f"{size} bytes at {address} are outside of {self.size}")


class Sodium:
    """Ed25519 by libsodium, in the shape that boards give it to the unit."""

    kind = "native"

    @staticmethod
    def public_key(seed: bytes) -> bytes:
        return nacl.bindings.crypto_sign_seed_keypair(seed)[0]

    @staticmethod
    def sign(seed: bytes, public: bytes, message: bytes) -> bytes:
        return nacl.bindings.crypto_sign(message, seed + public)[:64]

    @staticmethod
    def verify(public: bytes, message: bytes, signature: bytes) -> bool:
        try:
            nacl.bindings.crypto_sign_open(signature + message, public)
        except nacl.exceptions.BadSignatureError:
            return False
        return True

    key_is_sound = staticmethod(lru_cache(maxsize=16)(ed25519.key_is_sound))


def sign_fast() -> None:
    """Let the unit's own Ed25519 be libsodium's for this process: same answers (tests hold that), a thousand times."""
    ed25519.public_key = Sodium.public_key
    ed25519.sign = Sodium.sign
    ed25519.verify = Sodium.verify
    ed25519.key_is_sound = lru_cache(maxsize=16)(ed25519.key_is_sound)


class Hal:
    """One boot of the board. Time passes only while the unit waits, so the same flash leads to the same bytes."""

    model = "power-cuts"
    cause = 0
    ed25519 = Sodium

    def __init__(self, chip: Chip, settings: Mapping[str, str]) -> None:
        blocks = len(chip.pages) // BLOCK_PAGES
        self.slots_flash = Flash(chip, 0, SLOT_BLOCKS)
        self.journal_flash = Flash(chip, SLOT_PAGES, blocks - SLOT_BLOCKS)
        self.settings = dict(settings)
        self.link_in = b""
        self.scanner_in = b""
        self.panel: list[str] = []
        self._now_ms = 0

    def restart(self) -> None:
        self._now_ms = 0

    def real_ms(self) -> int:
        return self._now_ms

    def uptime_ms(self) -> int:
        return self._now_ms

    def real_of(self, uptime_ms: int) -> int:
        return uptime_ms

    def entropy(self, length: int) -> bytes:
        return hashlib.shake_256(b"not random at all, so that a run can be repeated").digest(length)

    def pass_ms(self, ms: int) -> None:
        self._now_ms += ms

    def wait(self, real_ms: int) -> None:
        if not self.link_in and not self.scanner_in:
            self._now_ms += max(1, real_ms)

    def link_read(self) -> bytes:
        chunk, self.link_in = self.link_in[:512], self.link_in[512:]
        return chunk

    def link_write(self, frame: bytes) -> None:
        """Nobody is at the other end; what could have been said is taken from the journal."""

    def scanner_read(self) -> bytes:
        chunk, self.scanner_in = self.scanner_in, b""
        return chunk

    def scanner_disturbed(self) -> bool:
        return False

    def readings(self, first_uptime_ms: int, interval_ms: int, count: int, channels: int) -> list[list[Any]]:
        at_s = [(first_uptime_ms + slot * interval_ms) // 1000 for slot in range(count)]
        return [[3700 + 40 * channel + (second * 7 + channel) % 11 for channel in range(channels)] for second in at_s]

    def show(self, lines: list[str]) -> None:
        self.panel = lines

    def light(self, colour: str) -> None: ...

    def buzz(self, sound: str) -> None: ...

    def feed_watchdog(self) -> None: ...

    def heap_free(self) -> int:
        return 0
