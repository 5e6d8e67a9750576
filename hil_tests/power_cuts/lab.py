"""One unit and everything that is done to it, with a record of what it announced: the truth that cuts are judged by.

A record counts as announced when the journal's append() has returned: from then on a panel may show it and a link may
send it. A receipt counts from the moment its first byte is at the unit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from agent.unit import Unit

import wire
from hil_tests import signed
from hil_tests.bench import truth
from hil_tests.power_cuts.board import ERASED, PAGE_BYTES, SLOT_PAGES, Chip, Hal
from wire import frames

CLOUD_SEED = hashlib.sha256(b"a cloud for cuts").digest()
CLOUD_KEY = wire.public_key_of(CLOUD_SEED)
NOW_MS = 1_795_000_000_000  # November 2026
QUIET_TURNS = 6


@dataclass
class Known:
    """What must be true of a flash: records announced by seq, those that may be gone, and those that were damaged.

    flipped: records with one flipped bit, which the unit must read as if nothing had happened.
    """

    saved: dict[int, bytes] = field(default_factory=dict)
    freed_next: int = 0
    damaged: frozenset[int] = frozenset()
    flipped: frozenset[int] = frozenset()


class Lab:
    """A unit on a board in memory. `moments` says after how many flash operations which word left the unit."""

    def __init__(self, chip: Chip, settings: dict[str, str]) -> None:
        self.chip = chip
        self.settings = settings
        self.moments: list[tuple[int, Callable[[Known], None]]] = []

    def power_on(self) -> None:
        """Boot in a fresh state: new objects all over, nothing but the flash is kept."""
        self.hal = Hal(self.chip, self.settings)
        self.unit = Unit(self.hal)  # type: ignore[arg-type]  # the hal of boards, by its shape
        journal = self.unit._journal
        append = journal.append

        def heard_append(record: bytes, seq: int, *spare: int) -> None:
            append(record, seq, *spare)
            self.note(lambda known: known.saved.__setitem__(seq, record))

        journal.append = heard_append  # type: ignore[method-assign,assignment]
        self.unit.boot()

    def note(self, happened: Callable[[Known], None]) -> None:
        self.moments.append((len(self.chip.log), happened))

    # --- what people and gateways do ----------------------------------------------------------------------------------

    def scan(self, text: str) -> None:
        self.hal.pass_ms(1000)  # nobody scans faster than the debounce
        self.hal.scanner_in += f"]d1{text}\r\n".encode()
        self.unit.turn()

    def turns(self, count: int = QUIET_TURNS) -> None:
        for _ in range(count):
            self.unit.turn()

    def pass_s(self, seconds: int) -> None:
        """Let time pass in turns of the unit."""
        end_ms = self.hal.uptime_ms() + 1000 * seconds
        while self.hal.uptime_ms() < end_ms:
            self.unit.turn()

    def send(self, message: frames.Message) -> None:
        self.hal.link_in += frames.encode_frame(message)

    def hear(self) -> None:
        while self.hal.link_in:
            self.unit.turn()

    def receipt(self, seq: int) -> None:
        """The cloud has everything up to seq."""
        record = next(raw for raw in self.records() if event_of(raw)[1] == seq)
        digest = hashlib.sha256(record).digest()
        raw = wire.sign_receipt(CLOUD_SEED, self.unit._signer.kid, seq, digest, NOW_MS)
        self.note(lambda known: setattr(known, "freed_next", max(known.freed_next, seq + 1)))
        self.send(frames.ReceiptFrame(raw))

    def order(self, number: int, batch: str = "B-2026-0017", high: int = 3705) -> None:
        """An order arrives. high: the temperature limit; the board's own waver about 37.05."""
        raw = wire.sign_order(CLOUD_SEED, order_of(self.unit._signer.kid, number, batch, high))
        for chunk in frames.order_chunks(raw):
            self.send(chunk)
        self.hear()

    # --- what the flash holds -----------------------------------------------------------------------------------------

    def records(self) -> list[bytes]:
        return truth.records(b"".join(self.chip.pages[SLOT_PAGES:]))

    @property
    def next_seq(self) -> int:
        return self.unit._journal.next_seq

    @property
    def page(self) -> int:
        """The next page to be programmed, counted from the start of the journal."""
        return self.unit._journal._next

    @property
    def is_full(self) -> bool:
        return self.hal.panel[0] == "JOURNAL FULL"

    def page_of(self, seq: int) -> int:
        """The page of the chip in which the record seq begins."""
        record = next(raw for raw in self.records() if event_of(raw)[1] == seq)
        return next(
            number for number in range(SLOT_PAGES, len(self.chip.pages)) if record[8:200] in self.chip.pages[number]
        )

    def flip(self, page: int, *bits: int) -> None:
        """Bits of a page rot."""
        cells = bytearray(self.chip.pages[page])
        for bit in bits:
            cells[bit >> 3] ^= 1 << (bit & 7)
        self.chip.pages[page] = bytes(cells)

    def flip_one(self, seq: int) -> None:
        """One bit of the record seq flips."""
        self.flip(self.page_of(seq), 777)
        self.note(lambda known: setattr(known, "flipped", known.flipped | {seq}))

    def rot(self, seq: int) -> None:
        """The record seq becomes unreadable."""
        self.flip(self.page_of(seq), 500, 900)
        self.note(lambda known: setattr(known, "damaged", known.damaged | {seq}))

    def cut(self, work: Callable[[Lab], None], operation: int, torn_bytes: int) -> None:
        """The power went in that operation of work, counted from 0, after so many of its bytes."""
        pages, began, moments = list(self.chip.pages), len(self.chip.log), len(self.moments)
        work(self)
        done = self.chip.log[began : began + operation]
        torn = self.chip.log[began + operation]
        self.moments[moments:] = [moment for moment in self.moments[moments:] if moment[0] <= began + operation]
        del self.chip.log[began:]
        self.chip.pages[:] = pages
        for each in done:
            self.chip.apply(each)
        before = b"".join(self.chip.pages[torn.first : torn.first + len(torn.after)])
        cells = b"".join(torn.after)[:torn_bytes] + before[torn_bytes:]
        split = tuple(cells[at : at + PAGE_BYTES] for at in range(0, len(cells), PAGE_BYTES))
        self.chip.apply(torn._replace(after=split))


def blank(blocks: int) -> Chip:
    """A chip as it comes from the factory, with so many blocks of journal."""
    return Chip([ERASED] * (SLOT_PAGES + blocks * 16))


@lru_cache(maxsize=4096)
def event_of(record: bytes) -> dict[int, Any]:
    """The event map of a record, read by the bench's own reader."""
    return signed.take_apart(record).event


def order_of(kid: bytes, number: int, batch: str, high: int) -> wire.Order:
    return wire.Order(
        number=number,
        kid=kid,
        batch=batch,
        recipe="car-t",
        version=2,
        recipe_digest=bytes(32),
        steps=(wire.OrderStep("load", "Load", ("donor", "bag")), wire.OrderStep("seal", "Seal", ())),
        items=(
            wire.OrderItem("donor", "Donor bag", "", 0, "=A99991234567800"),
            wire.OrderItem("bag", "Buffer bag", "09520000010017", 0, None),
        ),
        issued_ms=NOW_MS,
        limits=(wire.OrderLimit("temperature", 3600, high, -2, 0, ()),),
    )
