"""Journal and slots on a simulated flash, on both interpreters. Cuts at every byte are in test_cores_power.py."""

from agent import cbor
from agent.journal import RESERVED_PAGES, Journal, JournalFull
from agent.slots import Slots
from tests.cases import raises
from tests.nor_flash import NorFlash


def record(seq: int, size: int = 240) -> bytes:
    """Bytes that begin like a record of that seq."""
    body = cbor.encode({1: seq, 2: bytes(32)})
    envelope = b"\xd2\x84" + cbor.encode(cbor.encode({1: -19, 4: b"kid-0001"})) + b"\xa0"
    filler = bytes((seq & 0xFF,)) * (size - len(envelope) - len(body) - 2)
    return (
        envelope + cbor.encode(body + filler)
        if size < 290
        else envelope + b"\x59" + (size - 20).to_bytes(2, "big") + body + filler[1:]
    )


def fresh(flash: NorFlash) -> Journal:
    journal = Journal(flash)
    journal.recover()
    return journal


def fill(journal: Journal, count: int, size: int = 240) -> None:
    for _ in range(count):
        journal.append(record(journal.next_seq, size), journal.next_seq)


def test_journal_keeps_records_across_a_reboot() -> None:
    flash = NorFlash(4)
    journal = fresh(flash)
    assert (journal.next_seq, journal.first_seq, journal.torn, journal.used_bytes) == (0, 0, 0, 0)
    fill(journal, 20)
    fill(journal, 3, 900)
    again = fresh(flash)
    assert (again.next_seq, again.head, again.torn) == (23, journal.head, 0)
    for seq in list(range(23)) + [0, 22, 7]:
        assert again.read(seq) == record(seq, 240 if seq < 20 else 900), seq
    assert again.read(23) is None


def test_journal_programs_one_page_for_a_scan_and_two_for_samples() -> None:
    flash = NorFlash(4)
    journal = fresh(flash)
    journal.append(record(0, 256), 0)
    assert flash.operations == ["erase", "program"]
    journal.append(record(1, 257), 1)
    journal.append(record(2, 504), 2)
    assert flash.operations[2:] == ["program"] * 4
    assert journal.used_bytes == 5 * 256


def test_journal_never_overwrites_what_is_not_freed() -> None:
    flash = NorFlash(4)
    journal = fresh(flash)
    full = raises(JournalFull, fill, journal, 1000)
    assert "no receipt covers" in str(full)
    assert journal.next_seq == 64 - RESERVED_PAGES
    assert not journal.room(1)
    operations = len(flash.operations)
    raises(JournalFull, fill, journal, 1)
    assert len(flash.operations) == operations
    journal.trim(15)  # one short of a block
    raises(JournalFull, fill, journal, 1)
    assert journal.oldest_block() == (15, 16)
    journal.trim(16)
    assert journal.oldest_block() == (16, 32)
    fill(journal, 16)
    raises(JournalFull, fill, journal, 1)
    assert [journal.read(seq) == record(seq) for seq in range(16, 72)] == [True] * 56
    for _ in range(RESERVED_PAGES):
        journal.append(record(journal.next_seq), journal.next_seq, 0)
    raises(JournalFull, journal.append, record(80), 80, 0)
    assert journal.read(15) is None
    assert journal.first_seq == 16


def test_journal_forgets_what_is_free_and_keeps_what_is_not() -> None:
    flash = NorFlash(4)
    journal = fresh(flash)
    fill(journal, 40)
    journal.trim(33)
    assert journal.used_bytes == 8 * 256
    again = fresh(flash)
    assert (again.first_seq, again.freed_next, again.next_seq, again.head) == (0, 0, 40, journal.head)
    assert again.used_bytes == 41 * 256  # until somebody who knows frees it again
    operations = len(flash.operations)
    again.trim(33)
    again.trim(20)  # an older word changes nothing
    assert (again.freed_next, again.used_bytes, len(flash.operations)) == (33, 9 * 256, operations)
    assert again.read(3) == record(3)  # still there, so a want can be answered


def test_journal_keeps_the_last_record_whatever_is_free() -> None:
    flash = NorFlash(4)
    journal = fresh(flash)
    for _ in range(12):
        fill(journal, 9, 300)
        journal.trim(journal.next_seq)
        head, next_seq = journal.head, journal.next_seq
        journal = fresh(flash)
        journal.trim(next_seq)
        assert (journal.head, journal.next_seq) == (head, next_seq)
        assert journal.read(next_seq - 1) is not None


def test_journal_goes_on_from_what_a_checkpoint_remembers() -> None:
    journal = fresh(NorFlash(4))
    fill(journal, 3)
    journal.rejoin(2, bytes(32))  # less than the flash knows
    assert journal.next_seq == 3
    journal.rejoin(7, b"h" * 32)
    assert (journal.next_seq, journal.head) == (7, b"h" * 32)
    assert [journal.read(seq) is None for seq in range(1, 7)] == [False, False, True, True, True, True]
    fill(journal, 2)
    assert [journal.read(seq) is None for seq in range(5, 9)] == [True, True, False, False]


def test_journal_puts_one_flipped_bit_of_a_page_right() -> None:
    flash = NorFlash(4)
    journal = fresh(flash)
    fill(journal, 2)
    fill(journal, 1, 440)
    whole = list(flash.cells)
    for bit in list(range(0, 2048, 37)) + [2047]:
        flash.cells = [flipped(page, bit) if page != whole[-1] else page for page in whole]
        again = fresh(flash)
        assert (again.next_seq, again.head) == (3, journal.head)
        assert [again.read(seq) for seq in range(3)] == [record(0), record(1), record(2, 440)]
        flash.cells = [flipped(page, bit - 1) if page != whole[-1] else page for page in flash.cells]
        assert [fresh(flash).read(seq) for seq in range(3)] == [None] * 3  # two bits are noticed, and no more


def flipped(page: bytes, bit: int) -> bytes:
    at = bit % 2048 >> 3
    return page[:at] + bytes((page[at] ^ 1 << (bit & 7),)) + page[at + 1 :]


def test_journal_erases_ahead_one_block_and_no_more() -> None:
    flash = NorFlash(4)
    journal = fresh(flash)
    assert journal.erase_ahead()
    fill(journal, 1)
    assert journal.erase_ahead()
    assert not journal.erase_ahead()
    operations = len(flash.operations)
    fill(journal, 31)
    assert flash.operations[operations:] == ["program"] * 31


def test_journal_recovers_in_bounded_reads() -> None:
    flash = NorFlash(6)
    journal = fresh(flash)
    for _ in range(2):
        while journal.room(700):
            fill(journal, 1, 700)
        journal.trim(journal.next_seq - 9)
    fill(journal, 10)
    flash.reads = 0
    fresh(flash)
    assert flash.reads <= 2 * 6 + 92


def test_slots_return_what_was_stored_last() -> None:
    flash = NorFlash(8)
    slots = Slots(flash)
    assert slots.load("config") is None
    for value in (b"one", b"", bytes(range(250)) * 16, b"four"):
        slots.store("config", value)
        assert Slots(flash).load("config") == value
    slots.store("order", b"o" * 4096)
    assert (slots.load("order"), slots.load("config")) == (b"o" * 4096, b"four")
    operations = len(flash.operations)
    slots.store("config", b"four")
    assert len(flash.operations) == operations
    assert "at most" in str(raises(ValueError, slots.store, "order", bytes(4097)))


def test_slots_mend_the_lost_copy() -> None:
    flash = NorFlash(8)
    slots = Slots(flash)
    slots.mend("config")
    assert flash.operations == []
    slots.store("config", b"key" * 100)
    slots.mend("config")
    operations = len(flash.operations)
    slots.mend("config")
    assert len(flash.operations) == operations
    for page in (0, 16):
        kept = flash.cells[page]
        flash.cells[page] = flipped(kept, 300)
        assert slots.load("config") == b"key" * 100
        slots.mend("config")
        assert flash.cells[page] == kept


def test_slots_keep_both_copies_of_what_nothing_may_lose() -> None:
    flash = NorFlash(8)
    slots = Slots(flash)
    for value in (b"first" * 300, b"second" * 300):
        slots.store("order", value, both=True)
        for block in (2, 4):
            kept = flash.cells[block * 16]
            flash.cells[block * 16] = flipped(kept, 300)
            assert slots.load("order") == value
            flash.cells[block * 16] = kept
