"""Journal and slots on a simulated flash, on both interpreters. Cuts at every byte are in test_cores_power.py."""

from agent import cbor
from agent.journal import Journal, JournalFull
from agent.slots import Slots
from tests.cases import raises
from tests.nor_flash import NorFlash

RECEIPT = b"\xd2" + bytes(150)


def record(seq: int, size: int = 240) -> bytes:
    """Bytes that begin like a record of that seq."""
    body = cbor.encode({1: seq, 2: bytes(32)})
    envelope = b"\xd2\x84" + cbor.encode(b"p" * 13) + b"\xa0"
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
    assert (journal.next_seq, journal.oldest_seq, journal.torn, journal.used_bytes) == (0, 0, 0, 0)
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
    journal.append(record(0, 248), 0)
    assert flash.operations == ["erase", "program"]
    journal.append(record(1, 249), 1)
    journal.append(record(2, 496), 2)
    assert flash.operations[2:] == ["program"] * 4
    assert journal.used_bytes == 5 * 256


def test_journal_never_overwrites_what_no_receipt_covers() -> None:
    flash = NorFlash(4)
    journal = fresh(flash)
    full = raises(JournalFull, fill, journal, 1000)
    assert "no receipt covers" in str(full)
    assert journal.next_seq == 64
    assert not journal.room(1)
    operations = len(flash.operations)
    raises(JournalFull, fill, journal, 1)
    assert len(flash.operations) == operations
    journal.trim(15, RECEIPT)  # one short of a block
    raises(JournalFull, fill, journal, 1)
    journal.trim(16, RECEIPT)
    assert journal.oldest_seq == 16
    fill(journal, 15)  # the receipt itself took a page
    raises(JournalFull, fill, journal, 1)
    assert [journal.read(seq) == record(seq) for seq in range(16, 79)] == [True] * 63
    assert journal.read(15) is None


def test_journal_remembers_the_receipt_across_a_reboot() -> None:
    flash = NorFlash(4)
    journal = fresh(flash)
    fill(journal, 40)
    journal.trim(33, RECEIPT)
    again = fresh(flash)
    assert (again.oldest_seq, again.next_seq, again.head) == (33, 40, journal.head)
    assert again.used_bytes < journal.size_bytes
    assert again.read(3) == record(3)  # still there, so a want can be answered
    operations = len(flash.operations)
    again.trim(33, RECEIPT)
    again.trim(20, RECEIPT)  # an older receipt changes nothing
    assert (again.oldest_seq, len(flash.operations)) == (33, operations)


def test_journal_keeps_the_last_record_whatever_is_covered() -> None:
    flash = NorFlash(4)
    journal = fresh(flash)
    for _ in range(12):
        fill(journal, 9, 300)
        journal.trim(journal.next_seq, RECEIPT)
        head, next_seq = journal.head, journal.next_seq
        journal = fresh(flash)
        assert (journal.head, journal.next_seq) == (head, next_seq)
        assert journal.read(next_seq - 1) is not None


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
        journal.trim(journal.next_seq - 9, RECEIPT)
    fill(journal, 10)
    flash.reads = 0
    fresh(flash)
    assert flash.reads <= 3 * 6 + 5 * 16 + 6 * 16  # of blocks; of pages of the last blocks; of single bytes


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
