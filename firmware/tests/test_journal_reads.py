"""How much a recovery reads: the bound that journal.py states, counted on images made to be as slow as can be."""

import random
import struct
import zlib

import pytest
from agent.journal import BLOCK_PAGES, BLOCKS_AHEAD, CORRECTIONS, SURVEY_CORRECTIONS, Journal, pages_of
from agent.pages import CONTINUED, RECORD, put_right
from tests.dual_stores import fill, flipped, record
from tests.nor_flash import ERASED, PAGE_BYTES, NorFlash

BLOCKS = 320
PAGES = BLOCKS * BLOCK_PAGES
UNDAMAGED_READS = 2 * BLOCKS + 100
READS = 37 * BLOCKS + 114
READS_UNFED = 92  # between two words to a watchdog


def recovered(cells: list[bytes]) -> tuple[Journal, int]:
    """A journal on those pages, and how many it read to recover."""
    flash = NorFlash(BLOCKS, cells)
    fed: list[int] = []
    journal = Journal(flash, lambda: fed.append(flash.reads))
    journal.recover()
    waits = [after - before for before, after in zip([0, *fed], [*fed, flash.reads], strict=True)]
    assert max(waits) <= READS_UNFED
    return journal, flash.reads


def page(kind: int, payload: bytes = b"x", lap: int = 0) -> bytes:
    checked = (struct.pack("<HB", lap, len(payload)) + payload).ljust(PAGE_BYTES - 5, b"\xff") + bytes((kind,))
    return struct.pack("<I", zlib.crc32(b"CTJ2" + checked)) + checked


def ring(size: int) -> list[bytes]:
    """A full ring of records of that size."""
    flash = NorFlash(BLOCKS)
    journal = Journal(flash)
    journal.recover()
    while journal.room(size):
        fill(journal, 1, size)
    return flash.cells


@pytest.mark.parametrize(("size", "reads_per_block"), [(240, 1), (440, 1), (1000, 1)])
def test_an_undamaged_ring_is_recovered_with_few_reads(size: int, reads_per_block: float) -> None:
    journal, reads = recovered(ring(size))
    assert journal.next_seq == (PAGES - 8) // pages_of(size)
    assert reads <= reads_per_block * BLOCKS + 100 <= UNDAMAGED_READS


def test_a_young_ring_is_recovered_with_few_reads() -> None:
    assert recovered([ERASED] * PAGES)[1] <= 2 * BLOCKS + 9
    cells = ring(440)
    cells[5 * BLOCK_PAGES :] = [ERASED] * (PAGES - 5 * BLOCK_PAGES)
    journal, reads = recovered(cells)
    assert journal.next_seq == 5 * BLOCK_PAGES // 2
    assert reads <= UNDAMAGED_READS


def worst_images() -> dict[str, list[bytes]]:
    chance = random.Random(11)
    first = record(7, 256)[8:]
    started = page(RECORD + 4, first)  # the first of five pages, and the others never came
    middle = page(CONTINUED + 1)
    images = {
        "noise": [chance.randbytes(256) for _ in range(PAGES)],
        "noise that ends like a page": [chance.randbytes(255) + b"\xa0" for _ in range(PAGES)],
        "nothing but middles": [middle] * PAGES,
        "nothing but beginnings": [started] * PAGES,
        "middles, and a beginning at the end of each block": ([middle] * 15 + [started]) * BLOCKS,
        "one flipped bit in every page": [flipped(cells, 999) for cells in ring(440)],
        "two flipped bits in every page": [flipped(flipped(cells, 99), 999) for cells in ring(440)],
        "laps at random": [page(RECORD, record(n % 99, 240)[8:], chance.randrange(1 << 14)) for n in range(PAGES)],
        "every second page rotten": [chance.randbytes(256) if n % 2 else cells for n, cells in enumerate(ring(440))],
    }
    almost = ring(1000)
    for block in range(BLOCKS):  # every record that starts in a block lacks a page, but its beginning is there
        for place in range(BLOCK_PAGES):
            if almost[block * BLOCK_PAGES + place][255] == CONTINUED:
                almost[block * BLOCK_PAGES + place] = bytes(256)
    return images | {"no record whole": almost}


IMAGES = worst_images()


@pytest.mark.parametrize("name", list(IMAGES))
def test_no_flash_makes_a_recovery_read_more_than_its_bound(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def counted(raw: bytes) -> bytes:
        tried.append(1)
        return put_right(raw)

    monkeypatch.setattr("agent.pages.put_right", counted)
    _journal, reads = recovered(IMAGES[name])
    assert reads <= READS
    assert len(tried) <= SURVEY_CORRECTIONS * BLOCKS + BLOCKS_AHEAD * BLOCK_PAGES + CORRECTIONS


def test_a_flipped_bit_in_every_page_costs_no_record_and_no_seq() -> None:
    """Nor does the ring then take its newest blocks for free ones."""
    cells = ring(440)[: 200 * BLOCK_PAGES]
    whole, _reads = recovered(cells + [ERASED] * (PAGES - len(cells)))
    rotten = [flipped(page, 999) for page in cells]
    journal, _reads = recovered(rotten + [ERASED] * (PAGES - len(cells)))
    assert (journal.next_seq, journal.head) == (whole.next_seq, whole.head) == (200 * BLOCK_PAGES // 2, whole.head)
    assert journal.used_bytes == whole.used_bytes
    journal.erase_ahead()
    for seq in range(0, journal.next_seq, 37):
        assert journal.read(seq) == whole.read(seq) is not None


@pytest.mark.parametrize("ruined_blocks", [0, 3])
def test_a_newest_block_of_ruined_pages_and_flipped_bits_is_found(ruined_blocks: int) -> None:
    chance = random.Random(5)
    cells = ring(440)[: 200 * BLOCK_PAGES]
    whole, _reads = recovered(cells + [ERASED] * (PAGES - len(cells)))
    last = len(cells) - BLOCK_PAGES
    cells[last:] = [flipped(page, 999) for page in cells[last:]]
    for number in (*range(last - ruined_blocks * BLOCK_PAGES, last), last, last + 1):
        cells[number] = chance.randbytes(255) + b"\xa0"
    journal, _reads = recovered(cells + [ERASED] * (PAGES - len(cells)))
    assert (journal.next_seq, journal.used_bytes) == (whole.next_seq, whole.used_bytes)
    assert journal.read(journal.next_seq - 2) == whole.read(whole.next_seq - 2) is not None


def test_what_follows_damage_is_found() -> None:
    """Up to the last page: a recovery that stopped at the first bad page would lose nearly all."""
    cells = ring(440)
    total = Journal(NorFlash(BLOCKS, cells))
    total.recover()
    rotten = [n for n in range(0, PAGES - BLOCK_PAGES) if n % 7 == 3]
    for number in rotten:
        cells[number] = bytes(256)
    journal, _reads = recovered(cells)
    assert (journal.next_seq, journal.head) == (total.next_seq, total.head)
    lost = {number // 2 for number in rotten}
    for seq in range(0, journal.next_seq, 37):
        assert (journal.read(seq) is None) == (seq in lost)
