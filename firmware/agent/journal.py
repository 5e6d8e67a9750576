"""Journal: the unit's append-only store of records, a ring on raw flash. After a power cut it is the truth.

Decides where the next record goes, what may be erased, and after a reboot what was saved. Never erases what no verified
receipt covers, never programs a page twice, never moves or rewrites an entry. Knows only seq and digest of a record.

The page format is written down in firmware/README.md. How a power cut is survived:
- A page counts only when its CRC fits, an entry only when all its pages do. So an append happened, or it did not.
- A block is erased whole before its first page is programmed, and only an erase that returned since this boot counts.
  The laps in the pages tell what an erase cut short left behind.
- A page that may have been started is left alone: writing goes on behind it.
- recover() only reads, so a cut during recovery is a cut during nothing.

Recovery reads the first page of each block (more only where that one continues a record or is damaged: at most every
page once), the pages of the last block or two, and one byte of each page back to the last receipt.
"""

import binascii
import hashlib
import struct

from agent import cbor, events
from agent.chain import FIRST_PREV

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Flash(Protocol):
        """A raw NOR partition: erase() sets a block to 0xFF, program() writes one page of an erased block, once."""

        size: int  # bytes
        page: int
        block: int

        def read(self, address: int, size: int) -> bytes: ...
        def program(self, address: int, page: bytes) -> None: ...
        def erase(self, address: int) -> None: ...


PAGE_BYTES = 256
BLOCK_BYTES = 4096
BLOCK_PAGES = BLOCK_BYTES // PAGE_BYTES
BLOCKS_MIN = 4  # one being written, one erased ahead, and something to keep
HEADER = "<IHBB"  # CRC-32, lap, kind, bytes of payload
HEADER_BYTES = 8
PAYLOAD_BYTES = PAGE_BYTES - HEADER_BYTES
MAGIC_CRC = binascii.crc32(b"CTJ1")  # the magic goes into the CRC, not into the page: a scan shall fit one page
LAPS = 1 << 16  # 65536 laps of 36 h; the flash wears out first
RECORD, CONTINUED, RECEIPT = 0xA0, 0xB0, 0xC0  # kind; its low 4 bits: how many pages of the entry follow
BLANK = b"\xff" * PAGE_BYTES
NONE = -1


class JournalFull(Exception):  # noqa: N818  a state, and no mistake of anybody
    """No room that a receipt covers. Nothing was written; the records held are safe; receipts make room."""


class Journal:
    """The records of one stream. Call recover() once, before anything else.

    next_seq, head: what the next record must carry as seq and prev. archived_next: the first seq without a receipt.
    torn: entries that the last power cut left unfinished.

    Pages and blocks are numbered for ever; number modulo the ring's size is the place in flash.
    """

    def __init__(self, flash: "Flash") -> None:
        assert (flash.page, flash.block, flash.size % BLOCK_BYTES) == (PAGE_BYTES, BLOCK_BYTES, 0)
        assert flash.size >= BLOCKS_MIN * BLOCK_BYTES
        self._flash = flash
        self._blocks = flash.size // BLOCK_BYTES
        self._firsts = [NONE] * self._blocks  # by place: seq of the first record that starts in the block
        self._next = 0  # page to program next
        self._erased_thru = 0  # pages before this one are erased or used
        self._oldest = 0  # oldest block not erased since
        self._tail = 0  # oldest block with something that no receipt covers
        self._found = (NONE, 0)  # seq that read() found last, and the page after it
        self.next_seq = 0
        self.head = FIRST_PREV
        self.archived_next = 0
        self.torn = 0

    @property
    def oldest_seq(self) -> int:
        """The first seq held without a receipt, next_seq when there is none (W53)."""
        return self.archived_next

    @property
    def size_bytes(self) -> int:
        return self._flash.size

    @property
    def used_bytes(self) -> int:
        """Bytes, from the oldest block that no receipt frees to the last page written."""
        return max(0, self._next - self._tail * BLOCK_PAGES) * PAGE_BYTES

    def recover(self) -> None:
        """Learn from flash what was saved. Writes nothing; may be repeated, and gives the same answer."""
        newest = self._survey()
        self._erased_thru = (newest + 1) * BLOCK_PAGES
        self._next = self._end_of(newest)
        self._find_head(newest)
        self._find_receipt(newest)
        self._free_covered()

    def append(self, record: bytes, seq: int) -> None:
        """Save record; it is saved when this returns. Raises JournalFull before anything is written."""
        assert seq == self.next_seq == events.seq_of(record)
        start = self._write(RECORD, record)
        place = start // BLOCK_PAGES % self._blocks
        if self._firsts[place] == NONE:
            self._firsts[place] = seq
        self.head = hashlib.sha256(record).digest()
        self.next_seq += 1

    def read(self, seq: int) -> "bytes | None":
        """The record, also one that a receipt covers while it is still there; None when it is not, or not whole."""
        if seq >= self.next_seq:
            return None
        found_seq, number = self._found
        record = self._take(number, seq) if found_seq + 1 == seq else None  # mostly they are read in order
        block = self._block_of(seq)
        number = block * BLOCK_PAGES
        while record is None and number < (block + 1) * BLOCK_PAGES:
            record = self._take(number, seq)  # not the first that starts there: that one may have been cut short
            number += 1
        return record

    def room(self, size: int) -> bool:
        """Whether an entry of size bytes can be appended now."""
        pages = -(-size // PAYLOAD_BYTES)
        if (self._next + pages) // BLOCK_PAGES >= LAPS * self._blocks:
            return False
        return self._erased_thru - self._next >= pages or self._is_next_block_free()

    def trim(self, archived_next: int, receipt: bytes) -> None:
        """Every record before archived_next may be overwritten: the caller verified receipt, and its digest (W41).

        The receipt is journaled when it frees a block and fits. A reboot may forget one that was not; that costs
        records sent twice and no more.
        """
        assert archived_next <= self.next_seq
        if archived_next <= self.archived_next:
            return
        self.archived_next = archived_next
        entry = archived_next.to_bytes(8, "big") + receipt
        if self._free_covered() and self.room(len(entry)):
            self._write(RECEIPT, entry)

    def erase_ahead(self) -> bool:
        """Erase one block, when the one being written is the last erased and the next is free. Whether it did.

        An append erases for itself when it must. Calling this while scanner and link are quiet keeps the 45 ms of an
        erase, in which a UART loses bytes, away from a scan.
        """
        if self._erased_thru - self._next >= BLOCK_PAGES or not self._is_next_block_free():
            return False
        self._erase_next_block()
        return True

    # Writing

    def _write(self, kind: int, entry: bytes) -> int:
        """Program entry into the next pages; the number of the first."""
        if not self.room(len(entry)):
            raise JournalFull("the journal is full: %d bytes that no receipt covers" % self.used_bytes)
        start = self._next
        following = (len(entry) - 1) // PAYLOAD_BYTES
        for at in range(0, len(entry), PAYLOAD_BYTES):
            if self._next == self._erased_thru:
                self._erase_next_block()
            number = self._next
            self._next += 1  # first: a page whose programming failed is not tried again
            page = self._make_page(number, kind + following, entry[at : at + PAYLOAD_BYTES])
            self._flash.program(self._address(number), page)
            kind, following = CONTINUED, following - 1
        return start

    def _make_page(self, number: int, kind: int, payload: bytes) -> bytes:
        lap = number // (self._blocks * BLOCK_PAGES)
        checked = struct.pack("<HBB", lap, kind, len(payload)) + payload
        crc = binascii.crc32(checked, MAGIC_CRC)
        return struct.pack("<I", crc) + checked + BLANK[: PAYLOAD_BYTES - len(payload)]

    def _is_next_block_free(self) -> bool:
        return self._erased_thru // BLOCK_PAGES - self._blocks < self._tail

    def _erase_next_block(self) -> None:
        assert self._is_next_block_free()
        block = self._erased_thru // BLOCK_PAGES
        self._firsts[block % self._blocks] = NONE
        self._oldest = max(self._oldest, block - self._blocks + 1)
        self._flash.erase(block % self._blocks * BLOCK_BYTES)
        self._erased_thru += BLOCK_PAGES

    def _free_covered(self) -> bool:
        """Move the tail over every block in which all is covered. Whether it moved.

        The last record is always kept: it says where the stream goes on.
        """
        tail = self._tail
        keep_from = min(self.archived_next, self.next_seq - 1)
        newest = (self._next - 1) // BLOCK_PAGES
        block = tail + 1
        while block <= newest:
            first = self._firsts[block % self._blocks]
            if first > keep_from:
                break
            if first != NONE:  # so what starts in, or reaches into, an earlier block is covered
                self._tail = block
            block += 1
        return self._tail > tail

    # Reading

    def _address(self, number: int) -> int:
        return number % (self._blocks * BLOCK_PAGES) * PAGE_BYTES

    def _page(self, number: int) -> "tuple[int, bytes] | None":
        """Kind and payload of page `number`, None when it is blank, torn, damaged or of another lap."""
        page = _check(self._flash.read(self._address(number), PAGE_BYTES))
        if page is None or page[0] != number // (self._blocks * BLOCK_PAGES):
            return None
        return page[1:]

    def _entry(self, number: int) -> "tuple[int, bytes, int] | None":
        """Kind (RECORD or RECEIPT), bytes and page count of the entry that starts there, None when it is not whole."""
        page = self._page(number)
        if page is None or page[0] & 0xF0 == CONTINUED:
            return None
        kind, entry = page
        following = kind & 0x0F
        pages = 1 + following
        while following:
            following -= 1
            page = self._page(number + pages - 1 - following)
            if page is None or page[0] != CONTINUED + following:
                return None
            entry += page[1]
        return kind & 0xF0, entry, pages

    def _take(self, number: int, seq: int) -> "bytes | None":
        """The record seq, when it starts on that page and is whole."""
        entry = self._entry(number)
        if entry is None or entry[0] != RECORD or events.seq_of(entry[1]) != seq:
            return None
        self._found = (seq, number + entry[2])
        return entry[1]

    def _block_of(self, seq: int) -> int:
        """The only block in which the record seq can start, when it is held: the last one with a first seq up to it."""
        block = (self._next - 1) // BLOCK_PAGES
        while block > self._oldest and not 0 <= self._firsts[block % self._blocks] <= seq:
            block -= 1
        return block

    # Recovery

    def _survey(self) -> int:
        """Read a page or two of each block; fill _firsts and _oldest; the newest block, NONE when there is none."""
        laps = bytearray(4 * self._blocks)  # packed: a list of the same is the largest piece of heap that a boot needs
        newest = NONE
        for place in range(self._blocks):
            lap, self._firsts[place] = self._survey_block(place)
            struct.pack_into("<i", laps, 4 * place, lap)
            if lap != NONE:
                newest = max(newest, lap * self._blocks + place)
        oldest = newest
        for place in range(self._blocks):
            lap = struct.unpack_from("<i", laps, 4 * place)[0]
            number = NONE if lap == NONE else lap * self._blocks + place
            if number == NONE or number <= newest - self._blocks:  # a lap too old: no erase of ours left this
                self._firsts[place] = NONE
            else:
                oldest = min(oldest, number)
        self._oldest = self._tail = max(0, oldest)
        return newest

    def _survey_block(self, place: int) -> "tuple[int, int]":
        """Lap of the block there and seq of the first record that starts in it; NONE for what cannot be told."""
        lap = NONE
        for number in range(place * BLOCK_PAGES, (place + 1) * BLOCK_PAGES):
            page = _check(self._flash.read(self._address(number), PAGE_BYTES))
            if page is not None:
                lap = page[0]
                if page[1] & 0xF0 == RECORD:
                    return lap, events.seq_of(page[2])
        return lap, NONE

    def _end_of(self, newest: int) -> int:
        """The page to program next: in the newest block, one page behind whatever is not blank.

        The page between may have been started by a program cut so early that nothing shows.
        """
        if newest == NONE:
            return 0
        end = (newest + 1) * BLOCK_PAGES
        last = end - 1
        while self._flash.read(self._address(last), PAGE_BYTES) == BLANK:
            last -= 1
        return min(last + 2, end)

    def _find_head(self, newest: int) -> None:
        """Set next_seq and head from the last whole record, torn from what lies behind the last whole entry."""
        self.next_seq, self.head = 0, FIRST_PREV
        whole_thru = self._oldest * BLOCK_PAGES
        block = newest
        while block >= self._oldest and self.next_seq == 0:
            for number in range(block * BLOCK_PAGES, (block + 1) * BLOCK_PAGES):
                entry = self._entry(number)
                if entry is not None:
                    whole_thru = max(whole_thru, number + entry[2])
                    if entry[0] == RECORD:
                        self.next_seq = events.seq_of(entry[1]) + 1
                        self.head = hashlib.sha256(entry[1]).digest()
            block -= 1
        self.torn = self._count_torn(whole_thru)

    def _count_torn(self, number: int) -> int:
        """Entries begun from that page on, none of them whole: pages neither blank nor left over from an old lap."""
        torn = 0
        inside = False
        while number <= self._next:
            raw = self._flash.read(self._address(number), PAGE_BYTES)
            page = _check(raw)
            if raw == BLANK or (page is not None and page[0] != number // (self._blocks * BLOCK_PAGES)):
                inside = False
            elif page is not None:
                starts = page[1] & 0xF0 != CONTINUED
                torn += 1 if starts or not inside else 0
                inside = page[1] & 0x0F > 0
            else:
                torn += 0 if inside else 1
                inside = False
            number += 1
        return torn

    def _find_receipt(self, newest: int) -> None:
        """Set archived_next: from the last receipt journaled, or from the oldest record held if that says more."""
        self.archived_next = 0
        for block in range(self._oldest, newest + 1):
            if self._firsts[block % self._blocks] != NONE:
                self.archived_next = self._firsts[block % self._blocks]
                break
        entry = self._last_receipt(newest)
        if entry is None:
            return
        self.archived_next = max(self.archived_next, int.from_bytes(entry[:8], "big"))
        if self.archived_next > self.next_seq:  # the last record rotted, but its receipt still knows its digest
            payload = cbor.decode(entry[9:])[2]
            self.next_seq, self.head = self.archived_next, cbor.decode(payload)[3]

    def _last_receipt(self, newest: int) -> "bytes | None":
        for number in range((newest + 1) * BLOCK_PAGES - 1, self._oldest * BLOCK_PAGES - 1, -1):
            if self._flash.read(self._address(number) + 6, 1)[0] & 0xF0 == RECEIPT:
                entry = self._entry(number)
                if entry is not None:
                    return entry[1]
        return None


def _check(raw: bytes) -> "tuple[int, int, bytes] | None":
    """Lap, kind and payload of a page whose CRC fits."""
    crc, lap, kind, size = struct.unpack_from(HEADER, raw, 0)
    if not RECORD <= kind <= RECEIPT | 0x0F or not 0 < size <= PAYLOAD_BYTES:
        return None
    if binascii.crc32(raw[4 : HEADER_BYTES + size], MAGIC_CRC) != crc:
        return None
    return lap, kind, raw[HEADER_BYTES : HEADER_BYTES + size]
