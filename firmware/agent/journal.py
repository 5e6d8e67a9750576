"""Journal: the unit's append-only store of records, a ring on raw flash. After a power cut it is the truth.

Decides where the next record goes, what may be erased, and after a reboot what was saved. Never erases what custody.py
did not free, never programs a page twice, never moves or rewrites a record. Knows only seq and digest of a record.

The page format is written down in firmware/README.md. How a power cut is survived:
- A page counts only when its CRC fits, a record only when all its pages do. So an append happened, or it did not.
- A block is erased whole before its first page is programmed, and only an erase that returned since this boot counts.
  The laps in the pages tell what an erase cut short left behind.
- A page that may have been started is left alone: writing goes on behind it.
- A block that an erase does not erase is left out for a lap; a record that a block does not keep goes to the next one.
- recover() only reads, so a cut during recovery is a cut during nothing.

One flipped bit in a page is put right when the page is read (pages.py).

Bound of recover() on B blocks, in reads of a page: 2 B + 100 when nothing is damaged (740 for 320 blocks; 420 when the
ring is full), 37 B + 114 whatever the flash holds (11,954), and at most 2 B + 576 pages put right (1,216). What each
block holds is looked up only when somebody asks for it: nine blocks of 320 for any record, when nothing is damaged.
Whatever takes long calls `still_alive` in between: a page put right takes some ms, and a watchdog has no patience.
"""

import hashlib
import struct

from agent import events, pages
from agent.events import FIRST_PREV
from agent.pages import BLANK, CONTINUED, FOLLOWING_BITS, KIND_BITS, LAPS, PAGE_BYTES, PAYLOAD_BYTES, RECORD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Flash(Protocol):
        """A raw NOR partition: erase() sets a block to 0xFF, program() writes one page of an erased block, once."""

        size: int  # bytes
        page: int
        block: int

        def read(self, address: int, size: int) -> bytes: ...
        def program(self, address: int, page: bytes) -> None: ...
        def erase(self, address: int) -> None: ...


BLOCK_BYTES = 4096
BLOCK_PAGES = BLOCK_BYTES // PAGE_BYTES
START = b"\xd2\x84\x4d\xa2\x01\x32\x04\x48"  # of every record (SPEC W10): not stored, so that a scan fits one page
SEQ_BYTES = 32  # of what follows, within which the seq stands
BLOCKS_MIN = 4  # one being written, one erased ahead, and something to keep
RESERVED_PAGES = 8  # kept from ordinary records: room to boot, and to say in a signed record what is given up
SURVEY_CORRECTIONS = 2  # pages of each block that the survey tries to put right: one of them tells the lap
BLOCKS_AHEAD = 4  # behind the newest block found: each of their pages is tried, as none of them may be free
CORRECTIONS = 512  # pages that the search for the last record tries to put right; one costs some ms
BLOCKS_TRIED = 4  # for one record
RUINED_BLOCKS = 2  # what cut boots leave behind, and what is torn of the first record, is less
BLANKS_AT_END = 2  # a boot leaves one page out, never two: behind so many nothing of the block is used
NONE = -1
UNKNOWN = -2


class JournalFull(Exception):  # noqa: N818  a state, and no mistake of anybody
    """No room that may be overwritten. Nothing was saved; the records held are safe; receipts make room."""


class Journal:
    """The records of one stream. Call recover() once, before anything else.

    next_seq, head: what the next record must carry as seq and prev. torn: records that a power cut left unfinished
    behind the last whole one. is_ruined: records were written here, and no whole one is left: which seqs were used,
    nobody knows. freed_next: every record before it may be overwritten.

    Pages and blocks are numbered for ever; number modulo the ring's size is the place in flash.
    """

    def __init__(self, flash: "Flash", still_alive: "Callable[[], None]" = lambda: None) -> None:
        assert (flash.page, flash.block, flash.size % BLOCK_BYTES) == (PAGE_BYTES, BLOCK_BYTES, 0)
        assert flash.size >= BLOCKS_MIN * BLOCK_BYTES
        self._flash = flash
        self._still_alive = still_alive
        self._blocks = flash.size // BLOCK_BYTES
        self._firsts = [NONE] * self._blocks  # by place: seq of the first record that starts in the block; see _first()
        self._next = 0  # page to program next
        self._erased_thru = 0  # pages before this one are erased or used
        self._oldest = 0  # oldest block not erased since
        self._tail = 0  # oldest block with something that may not be overwritten
        self._found = (NONE, 0)  # seq that read() found last, and the page after it
        self._corrections_left = CORRECTIONS
        self._worn = NONE  # the block that was last found not to be erased by an erase
        self.next_seq = 0
        self.head = FIRST_PREV
        self.freed_next = 0
        self.torn = 0
        self.is_ruined = False

    @property
    def first_seq(self) -> int:
        """The first seq that the flash may still hold: 0 until something was overwritten."""
        if self._oldest > 0:
            for block in range(self._oldest, self._erased_thru // BLOCK_PAGES):
                if self._first(block) != NONE:
                    return self._first(block)
        return 0 if self._oldest == 0 else self.next_seq

    @property
    def size_bytes(self) -> int:
        return self._flash.size

    @property
    def used_bytes(self) -> int:
        """Bytes, from the oldest block that is not free to the last page written."""
        return max(0, self._next - self._tail * BLOCK_PAGES) * PAGE_BYTES

    @property
    def free_pages(self) -> int:
        """Pages that can be programmed before something must be freed."""
        return min(self._tail + self._blocks, LAPS * self._blocks) * BLOCK_PAGES - self._next

    def recover(self) -> None:
        """Learn from flash what was saved. Writes nothing; may be repeated, and gives the same answer."""
        newest, untold = self._survey()
        newest = self._look_ahead(newest)
        self._erased_thru = (newest + 1) * BLOCK_PAGES
        self._next = self._end_of(newest)
        self.freed_next = 0
        self._corrections_left = CORRECTIONS
        self._find_head(newest)
        self.is_ruined = self.next_seq == 0 and self._next // BLOCK_PAGES + untold >= RUINED_BLOCKS

    def rejoin(self, next_seq: int, head: bytes) -> None:
        """Go on at next_seq, when somebody who remembers the digest knows of a later record than flash gives back."""
        if next_seq > self.next_seq:
            self.next_seq, self.head = next_seq, head

    def append(self, record: bytes, seq: int, spare: int = RESERVED_PAGES) -> None:
        """Save record and leave at least `spare` pages; it is saved when this returns.

        Raises JournalFull before anything is written.
        """
        assert seq == self.next_seq == events.seq_of(record)
        assert record[: len(START)] == START
        if not self.room(len(record), spare):
            raise JournalFull("the journal is full: %d bytes that no receipt covers" % self.used_bytes)
        block = self._write_somewhere(record) // BLOCK_PAGES
        if self._first(block) == NONE:
            self._firsts[block % self._blocks] = seq
        self.head = hashlib.sha256(record).digest()
        self.next_seq += 1

    def read(self, seq: int) -> "bytes | None":
        """The record, also one that may be overwritten while it is still there; None when it is not, or not whole."""
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

    def room(self, size: int, spare: int = RESERVED_PAGES) -> bool:
        """Whether a record of size bytes can be appended now with `spare` pages left."""
        return pages_of(size) + spare <= self.free_pages

    def trim(self, freed_next: int) -> None:
        """Every record before freed_next may be overwritten: the caller holds what allows it (W41), across reboots.

        Writes nothing. The last record is always kept: it says where the stream goes on.
        """
        assert freed_next <= self.next_seq
        self.freed_next = max(self.freed_next, freed_next)
        if self.next_seq:  # what starts in, or reaches into, a block before that of the first one to keep is free
            self._tail = max(self._tail, self._block_of(min(self.freed_next, self.next_seq - 1)))

    def oldest_block(self) -> "tuple[int, int]":
        """(first seq, seq after the last) of the records that must go before one more block is free."""
        for block in range(self._block_of(self.freed_next) + 1, (self._next - 1) // BLOCK_PAGES + 1):
            if self._first(block) != NONE:
                return self.freed_next, self._first(block)
        return self.freed_next, self.freed_next

    def erase_ahead(self) -> bool:
        """Erase one block, when the one being written is the last erased and the next is free. Whether it did.

        An append erases for itself when it must. Calling this while scanner and link are quiet keeps the 45 ms of an
        erase, in which a UART loses bytes, away from a scan.
        """
        if self._erased_thru - self._next >= BLOCK_PAGES or not self._is_next_block_free():
            return False
        if self._erased_thru // BLOCK_PAGES == self._worn:
            return False
        try:
            self._erase_next_block()
        except OSError:  # the next append leaves it out
            return False
        return True

    # Writing

    def _write_somewhere(self, record: bytes) -> int:
        """Program record, behind blocks that do not keep what they are told; the number of its first page.

        Raises OSError when so many blocks in a row do not: then it is not the blocks that are worn.
        """
        for _ in range(BLOCKS_TRIED - 1):
            try:
                return self._write(record)
            except OSError:  # what is in flash of it is no whole record: begin again in the next block
                self._still_alive()
                self._next = ((self._next - 1) // BLOCK_PAGES + 1) * BLOCK_PAGES
                if not self.room(len(record), 0):
                    raise JournalFull("no block keeps the record")  # noqa: B904  MicroPython keeps no cause
        return self._write(record)

    def _write(self, record: bytes) -> int:
        """Program record into the next pages; the number of the first."""
        start = self._next
        kind, following = RECORD, pages_of(len(record)) - 1
        for at in range(len(START), len(record), PAYLOAD_BYTES):
            if self._next == self._erased_thru:
                self._erase_next_block()
            number = self._next
            self._next += 1  # first: a page whose programming failed is not tried again
            page = pages.make(self._lap(number), kind + following, record[at : at + PAYLOAD_BYTES])
            self._flash.program(self._address(number), page)
            kind, following = CONTINUED, following - 1
        return start

    def _is_next_block_free(self) -> bool:
        return self._erased_thru // BLOCK_PAGES - self._blocks < self._tail

    def _erase_next_block(self) -> None:
        """Make the next block ready. Raises OSError when it is left out for this lap: it cannot be erased."""
        if not self._is_next_block_free():
            raise JournalFull("the block behind a worn one is not free")
        block = self._erased_thru // BLOCK_PAGES
        self._firsts[block % self._blocks] = NONE
        self._oldest = max(self._oldest, block - self._blocks + 1)
        try:
            if block == self._worn:
                raise OSError("a block was not erased")
            self._flash.erase(block % self._blocks * BLOCK_BYTES)
        except OSError:
            self._worn = block
            if self._next == self._erased_thru:  # nothing is left in front of it
                self._next = self._erased_thru = self._erased_thru + BLOCK_PAGES
            raise
        self._erased_thru += BLOCK_PAGES

    # Reading

    def _lap(self, number: int) -> int:
        return number // (self._blocks * BLOCK_PAGES)

    def _address(self, number: int) -> int:
        return number % (self._blocks * BLOCK_PAGES) * PAGE_BYTES

    def _checked(self, raw: bytes) -> "tuple[int, int, bytes] | None":
        """Lap, kind and payload of a page whose CRC fits, if need be with one bit put right; None for any other."""
        page = pages.parse(raw)
        if page is None and self._corrections_left and pages.may_be_put_right(raw):
            self._corrections_left -= 1
            self._still_alive()
            page = pages.parse(pages.put_right(raw))
        return page

    def _page(self, number: int) -> "tuple[int, bytes] | None":
        """Kind and payload of page `number`, None when it is blank, torn, damaged or of another lap."""
        page = self._checked(self._flash.read(self._address(number), PAGE_BYTES))
        if page is None or page[0] != self._lap(number):
            return None
        return page[1:]

    def _take(self, number: int, seq: int) -> "bytes | None":
        """The record seq, when it starts on that page and is whole."""
        self._corrections_left = CORRECTIONS
        page = self._page(number)
        if page is None or page[0] & KIND_BITS != RECORD or _seq_in(page[1]) != seq:
            return None
        kind, record = page[0], START + page[1]
        for following in range((kind & FOLLOWING_BITS) - 1, -1, -1):
            number += 1
            page = self._page(number)
            if page is None or page[0] != CONTINUED + following:
                return None
            record += page[1]
        self._found = (seq, number + 1)
        return record

    def _block_of(self, seq: int) -> int:
        """The only block in which the record seq can start, when it is held: the last one with a first seq up to it."""
        found = self._oldest
        low, high = self._oldest + 1, (self._next - 1) // BLOCK_PAGES
        while low <= high:
            middle = block = (low + high) // 2
            while block >= low and self._first(block) == NONE:
                block -= 1
            if block >= low and self._first(block) > seq:
                high = block - 1
            else:
                found = block if block >= low else found
                low = middle + 1
        return found

    def _first(self, block: int) -> int:
        """seq of the first record that starts in the block, NONE when there is none."""
        first = self._firsts[block % self._blocks]
        if first == UNKNOWN:
            self._corrections_left = CORRECTIONS
            first = NONE
            number = block * BLOCK_PAGES
            while first == NONE and number < (block + 1) * BLOCK_PAGES:
                page = self._page(number)
                if page is not None and page[0] & KIND_BITS == RECORD:
                    first = _seq_in(page[1])
                number += 1
            self._firsts[block % self._blocks] = first
        return first

    # Recovery

    def _survey(self) -> "tuple[int, int]":
        """Read the first page of each block; set _oldest, and _firsts to what is not known yet.

        The newest block, and how many blocks are full and tell nothing.
        """
        laps = bytearray(2 * self._blocks)  # packed: a list of the same is the largest piece of heap that a boot needs
        newest = NONE
        untold = 0
        for place in range(self._blocks):
            lap = self._lap_of_block(place)
            if lap == UNKNOWN:
                untold, lap = untold + 1, NONE
            struct.pack_into("<h", laps, 2 * place, lap)
            if lap != NONE:
                newest = max(newest, lap * self._blocks + place)
        oldest = newest
        for place in range(self._blocks):
            lap = struct.unpack_from("<h", laps, 2 * place)[0]
            number = NONE if lap == NONE else lap * self._blocks + place
            live = number != NONE and number > newest - self._blocks  # a lap too old: no erase of ours left this
            self._firsts[place] = UNKNOWN if live else NONE
            oldest = min(oldest, number) if live else oldest
        self._oldest = self._tail = oldest if newest >= self._blocks else 0  # in the first lap nothing was overwritten
        return newest, untold

    def _look_ahead(self, newest: int) -> int:
        """The newest block, when some of its pages were ruined and so it told the survey nothing."""
        found = newest
        for block in range(newest + 1, newest + 1 + min(BLOCKS_AHEAD, self._blocks - 1)):
            if self._lap_of_block(block % self._blocks, BLOCK_PAGES) == block // self._blocks:
                self._firsts[block % self._blocks] = UNKNOWN
                found = block
        return found

    def _lap_of_block(self, place: int, corrections: int = SURVEY_CORRECTIONS) -> int:
        """The lap that the first page of the block tells, or the next one when that is damaged.

        NONE when nothing stands there, or what an append cut short left behind; UNKNOWN when all is damaged.
        """
        self._corrections_left = corrections  # for each block: the newest must be found behind damaged ones
        self._still_alive()
        blank = 0
        for number in range(place * BLOCK_PAGES, (place + 1) * BLOCK_PAGES):
            raw = self._flash.read(number * PAGE_BYTES, PAGE_BYTES)
            blank = blank + 1 if raw == BLANK else 0
            page = self._checked(raw)
            if page is not None:
                return page[0]
            if blank == BLANKS_AT_END:
                return NONE
        return UNKNOWN

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
        """Set next_seq and head from the last whole record, torn from what lies behind it."""
        self.next_seq, self.head = 0, FIRST_PREV
        whole_thru = self._oldest * BLOCK_PAGES
        for block in range(newest, self._oldest - 1, -1):
            self._still_alive()
            last, whole_thru = self._last_record(block, whole_thru)
            if last:
                self.next_seq = events.seq_of(last) + 1
                self.head = hashlib.sha256(last).digest()
                break
        self.torn = self._count_torn(max(whole_thru, (newest - 1) * BLOCK_PAGES))

    def _last_record(self, block: int, whole_thru: int) -> "tuple[bytes, int]":
        """The last whole record that starts in block, and the page after it; each page is read once."""
        last, record, wanted = b"", b"", 0
        number, end = block * BLOCK_PAGES, (block + 1) * BLOCK_PAGES
        while number < end or wanted:  # what has begun may reach into the next block
            kind, payload = self._page(number) or (0, b"")
            number += 1
            if kind & KIND_BITS == RECORD and number <= end:
                record = START + payload
            elif wanted and kind == wanted:
                record += payload
            else:
                wanted = 0
                continue
            following = kind & FOLLOWING_BITS
            wanted = CONTINUED + following - 1 if following else 0
            if not following:
                last, whole_thru = record, number
        return last, whole_thru

    def _count_torn(self, number: int) -> int:
        """Records begun from that page on, none of them whole: pages neither blank nor left over from an old lap."""
        torn = 0
        inside = False
        while 0 <= number <= self._next:
            raw = self._flash.read(self._address(number), PAGE_BYTES)
            page = self._checked(raw)
            if raw == BLANK or (page is not None and page[0] != self._lap(number)):
                inside = False
            elif page is not None:
                starts = page[1] & KIND_BITS == RECORD
                torn += 1 if starts or not inside else 0
                inside = page[1] & FOLLOWING_BITS > 0
            else:
                torn += 0 if inside else 1
                inside = False
            number += 1
        return torn


def pages_of(size: int) -> int:
    """Pages that a record of so many bytes takes."""
    return max(1, -(-(size - len(START)) // PAYLOAD_BYTES))


def _seq_in(stored: bytes) -> int:
    """seq of a record without its START, from its first bytes alone."""
    return events.seq_of(START + stored[:SEQ_BYTES])
