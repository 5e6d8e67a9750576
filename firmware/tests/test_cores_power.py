"""Power cuts and damage: journal and slots on a simulated NOR flash, cut before, after and within every operation.

The oracle is the list of records whose append returned. After each cut a fresh journal must hold all of them that were
not freed, go on with the right seq and digest, and write nothing while it finds out. The whole unit is cut in
hil_tests/power_cuts.
"""

import copy
import hashlib
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import pytest
from agent.journal import Journal, JournalFull
from agent.pages import may_be_put_right, parse, put_right
from agent.slots import Slots
from tests.dual_stores import flipped, record
from tests.nor_flash import BEFORE, BLOCK_BYTES, ERASED, PAGE_BYTES, NorFlash, PowerCut

Action = tuple[str, int]  # ("append", bytes) | ("trim", records left uncovered) | ("erase_ahead", 0) | ("boot", 0)


@dataclass
class Bench:
    """A journal, its flash, and what must be true of them."""

    flash: NorFlash
    journal: Journal
    saved: list[bytes] = field(default_factory=list)
    archived_next: int = 0
    in_flight: bytes | None = None
    damaged: frozenset[int] = frozenset()

    @classmethod
    def fresh(cls, blocks: int) -> "Bench":
        flash = NorFlash(blocks)
        journal = Journal(flash)
        journal.recover()
        return cls(flash, journal)

    def snapshot(self) -> "Bench":
        """A second bench in the same state, RAM included, on its own flash."""
        flash = NorFlash(len(self.flash.cells) * PAGE_BYTES // BLOCK_BYTES, self.flash.cells)
        journal = copy.copy(self.journal)
        journal._flash = flash
        journal._firsts = list(journal._firsts)
        return Bench(flash, journal, list(self.saved), self.archived_next, self.in_flight, self.damaged)

    def act(self, action: Action) -> None:
        name, number = action
        if name == "append":
            self.in_flight = record(len(self.saved), number)
            try:
                self.journal.append(self.in_flight, len(self.saved))
                self.saved.append(self.in_flight)
            except JournalFull:
                pass
            self.in_flight = None
        elif name == "trim":
            self.archived_next = max(self.archived_next, len(self.saved) - number)
            self.journal.trim(self.archived_next)
        elif name == "erase_ahead":
            self.journal.erase_ahead()
        else:
            self.boot()

    def boot(self, thorough: bool = True) -> None:
        """Power on again; check every promise."""
        flash = NorFlash(len(self.flash.cells) * PAGE_BYTES // BLOCK_BYTES, self.flash.cells)
        journal = Journal(flash)
        journal.recover()
        if journal.next_seq == len(self.saved) + 1:  # the cut came after the last byte that matters
            assert self.in_flight is not None
            self.saved.append(self.in_flight)
        self.in_flight = None
        assert journal.next_seq == len(self.saved)
        assert journal.head == (hashlib.sha256(self.saved[-1]).digest() if self.saved else bytes(32))
        assert journal.first_seq <= self.archived_next
        for seq in range(
            self.archived_next if thorough else max(self.archived_next, len(self.saved) - 3), len(self.saved)
        ):
            assert journal.read(seq) == (self.saved[seq] if seq not in self.damaged else None), seq
        for seq in range(max(0, self.archived_next - 20) if thorough else self.archived_next, self.archived_next):
            assert journal.read(seq) in (self.saved[seq], None)  # covered: there or gone, never something else
        if thorough:
            known = learnt(journal)
            journal.recover()
            assert learnt(journal) == known
        assert flash.operations == []
        journal.trim(min(self.archived_next, journal.next_seq))  # as a checkpoint tells it
        self.flash, self.journal = flash, journal


def learnt(journal: Journal) -> dict[str, object]:
    """What recovery found out, without what reading leaves behind."""
    passing = ("_flash", "_found", "_corrections_left")
    return {name: value for name, value in vars(journal).items() if name not in passing}


def cut_everywhere(bench: Bench, actions: Iterable[Action], erase_stride: int = 61) -> int:
    """Carry out actions; before each, try every cut of its operations on copies. The number of cuts tried."""
    cuts = 0
    for action in actions:
        dry = bench.snapshot()
        dry.act(action)
        for operation, name in enumerate(dry.flash.operations if action[0] != "boot" else []):
            for after_bytes in _cut_points(name, erase_stride):
                trial = bench.snapshot()
                trial.flash.cut_at(operation, after_bytes)
                with pytest.raises(PowerCut):
                    trial.act(action)
                trial.boot(thorough=after_bytes % 64 == 63)
                trial.act(("append", 200 + after_bytes % 300))  # another record in the place of the torn one
                trial.boot(thorough=after_bytes % 64 == 63)
                cuts += 1
        bench.act(action)
        bench.snapshot().boot()
    return cuts


def _cut_points(operation: str, erase_stride: int) -> Iterator[int]:
    yield BEFORE
    if operation == "program":
        yield from range(PAGE_BYTES + 1)
    else:
        yield from range(0, BLOCK_BYTES, erase_stride)
        yield BLOCK_BYTES


def filled(blocks: int, pages: int, *, keep: int) -> Bench:
    """A ring that has been written for so many pages, with all but the last `keep` records covered by receipts."""
    bench = Bench.fresh(blocks)
    chance = random.Random(pages)
    while bench.journal._next < pages:
        bench.act(("append", chance.choice([130, 241, 256, 257, 440, 900])))
        if len(bench.saved) % 5 == 0:
            bench.act(("trim", keep))
    return bench


def test_cut_during_the_first_boot() -> None:
    actions = [("append", 150), ("append", 257), ("erase_ahead", 0), ("append", 1000)]
    assert cut_everywhere(Bench.fresh(4), actions) > 500  # each byte of an erase: hil_tests/power_cuts


def test_cut_at_page_and_block_boundaries() -> None:
    bench = Bench.fresh(4)
    for _ in range(13):
        bench.act(("append", 256))
    assert cut_everywhere(bench, [("append", size) for size in (256, 257, 504, 900)]) > 2000


def test_cut_at_the_wrap_with_receipts() -> None:
    bench = filled(4, 2 * 64 + 55, keep=9)
    actions = [
        ("append", 440),
        ("append", 241),
        ("trim", 3),
        ("erase_ahead", 0),
        ("append", 900),
        ("append", 900),
        ("trim", 1),
    ]
    assert cut_everywhere(bench, actions) > 2000


def test_cut_when_nearly_full() -> None:
    bench = Bench.fresh(4)
    while bench.journal.room(240):
        bench.act(("append", 240))
    # The journal is full; a receipt for one block, whose own entry needs the first page of that block.
    covered = len(bench.saved) - 17
    actions = [("append", 240), ("trim", covered), ("append", 240), ("trim", covered - 17), ("append", 700)]
    assert cut_everywhere(bench, actions) > 1000


def test_cut_and_cut_again_while_coming_back() -> None:
    """A second cut at the first append after a cut, and a third; each recovery itself only reads."""
    bench = filled(4, 64 + 30, keep=6)
    tried = 0
    for first in (BEFORE, 0, 5, 100, 255, 256):
        for second in (BEFORE, 0, 5, 100, 255, 256):
            for third in (BEFORE, 0, 9, 256):
                trial = bench.snapshot()
                for cut in (first, second, third):
                    trial.flash.cut_at(1 if cut == 5 else 0, cut)
                    with pytest.raises(PowerCut):
                        trial.act(("append", 440))
                    trial.boot()
                    tried += 1
                trial.act(("append", 440))
                trial.boot()
    assert tried == 6 * 6 * 4 * 3


def test_cut_with_a_damaged_page() -> None:
    bench = filled(4, 64 + 40, keep=12)
    seq = len(bench.saved) - 6
    page = next(i for i, cells in enumerate(bench.flash.cells) if cells[7:99] == bench.saved[seq][8:100])
    bench.flash.cells[page] = bench.flash.cells[page][:60] + b"rot" + bench.flash.cells[page][63:]
    bench.damaged = frozenset((seq,))
    bench.boot()
    assert cut_everywhere(bench, [("append", 440), ("append", 241), ("trim", 8), ("append", 440)]) > 1000


def test_every_flipped_bit_of_a_journal_is_put_right() -> None:
    bench = Bench.fresh(4)
    for size in (150, 440, 241, 258, 170):
        bench.act(("append", size))
    tried = 0
    for number, cells in enumerate(bench.flash.cells):
        for bit in range(0, 8 * PAGE_BYTES if cells != ERASED else 0, 5):  # hil_tests/power_cuts flips each
            damaged = [*bench.flash.cells[:number], flipped(cells, bit), *bench.flash.cells[number + 1 :]]
            journal = Journal(NorFlash(4, damaged))
            journal.recover()
            assert (journal.next_seq, journal.head) == (5, bench.journal.head)
            assert [journal.read(seq) for seq in range(5)] == bench.saved
            tried += 1
    assert tried == 7 * (8 * PAGE_BYTES // 5 + 1)


def test_a_page_cut_short_is_never_put_right() -> None:
    """Whatever its first bytes are: it ends in 0xFF, which no single bit makes the end of a page."""
    bench = Bench.fresh(4)
    bench.act(("append", 240))
    page = bench.flash.cells[0]
    for size in range(PAGE_BYTES):
        assert not may_be_put_right(page[:size] + ERASED[size:])
    assert may_be_put_right(flipped(page, 2047))
    assert parse(put_right(flipped(flipped(page, 1000), 77))) is None


@pytest.mark.parametrize(("boots_in_100", "most_apart"), [(0, 1), (15, 30)])
def test_erases_are_spread_evenly_over_the_ring(
    boots_in_100: int, most_apart: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """40 laps. A boot erases the next block once more, wherever that is: here one after every seventh record."""
    chance = random.Random(3)
    erases = [0] * 8
    erase = NorFlash.erase

    def counted(self: NorFlash, address: int) -> None:
        erases[address // BLOCK_BYTES] += 1
        erase(self, address)

    monkeypatch.setattr(NorFlash, "erase", counted)
    bench = Bench.fresh(8)
    while bench.journal._next < 40 * 8 * 16:
        for action in (("append", 440), ("trim", 3), ("erase_ahead", 0)):
            bench.act(action)
        if chance.randrange(100) < boots_in_100:
            bench.boot(thorough=False)
    assert min(erases) >= 39
    assert max(erases) - min(erases) <= most_apart


def test_torn_entries_are_counted_once() -> None:
    bench = Bench.fresh(4)
    bench.act(("append", 240))
    for _ in range(2):
        bench.flash.cut_at(1, 77)  # the second page of a record
        with pytest.raises(PowerCut):
            bench.act(("append", 440))
        bench.boot()
    assert bench.journal.torn == 2
    bench.act(("append", 240))
    bench.boot()
    assert bench.journal.torn == 0


def test_a_page_that_may_have_been_started_stays_alone() -> None:
    bench = Bench.fresh(4)
    bench.act(("append", 240))
    bench.flash.cut_at(0, 0)  # begun, and nothing shows
    with pytest.raises(PowerCut):
        bench.act(("append", 240))
    bench.boot()
    bench.act(("append", 240))
    assert bench.flash.cells[1] == ERASED
    assert bench.flash.cells[2] != ERASED


def test_random_life_of_a_journal() -> None:
    """Appends, receipts, idle erases and cuts in any order, over many laps."""
    chance = random.Random(5)
    for _ in range(25):
        bench = Bench.fresh(chance.choice([4, 5, 7]))
        for _ in range(150):
            bench.flash.cut_at(
                chance.randrange(12), chance.choice([BEFORE, chance.randrange(257), chance.randrange(4097)])
            )
            try:
                for _ in range(chance.randrange(1, 9)):
                    bench.act(
                        chance.choice(
                            [
                                ("append", chance.randrange(100, 1024)),
                                ("append", chance.randrange(100, 300)),
                                ("trim", chance.randrange(0, 9)),
                                ("erase_ahead", 0),
                            ]
                        )
                    )
            except PowerCut:
                pass
            bench.boot()
        assert len(bench.saved) > 100


def test_slots_cut_everywhere() -> None:
    flash = NorFlash(8)
    old, new = b"old" * 90, b"new" * 120
    Slots(flash).store("order", b"first")
    Slots(flash).store("order", old)
    cells = list(flash.cells)
    dry = NorFlash(8, cells)
    Slots(dry).store("order", new)
    tried = 0
    for operation, name in enumerate(dry.operations):
        for after_bytes in _cut_points(name, 1 if name == "program" else 7):
            trial = NorFlash(8, cells)
            trial.cut_at(operation, after_bytes)
            with pytest.raises(PowerCut):
                Slots(trial).store("order", new)
            assert Slots(trial).load("order") in (old, new)
            assert Slots(trial).load("config") is None
            Slots(NorFlash(8, trial.cells)).store("order", new)
            tried += 1
    assert tried > 1500
    assert Slots(dry).load("order") == new
