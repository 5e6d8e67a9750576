"""A journal on flash that wears out: blocks that cannot be erased, or keep no page. Runs on CPython and MicroPython."""

from agent import cbor, cose, events
from agent.journal import BLOCK_BYTES, BLOCK_PAGES, BLOCKS_TRIED, Journal
from tests.cases import raises
from tests.nor_flash import ERASED, NorFlash

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

BLOCKS = 6
RECORDS, NEW = 250, 20  # so many records in all, about five laps; the flash wears out after the first ones


class WornFlash(NorFlash):
    """A flash that says so, as the board's does, when a block was not erased or did not keep a page."""

    def __init__(self, unerasable: "Sequence[int]", forgetful: "Sequence[int]") -> None:
        super().__init__(BLOCKS)
        self._unerasable, self._forgetful = unerasable, forgetful
        self.is_worn = False

    def program(self, address: int, page: bytes) -> None:
        if address // BLOCK_BYTES in self._forgetful and self.is_worn:
            self.cells[address // self.page] = page[:100] + ERASED[100:]
            raise OSError("the flash did not keep a page")
        super().program(address, page)

    def erase(self, address: int) -> None:
        if address // BLOCK_BYTES in self._unerasable and self.is_worn:
            raise OSError("the flash did not erase a block")
        super().erase(address)


def record(seq: int, head: bytes) -> bytes:
    """A record as far as the journal looks at it; the lengths make one, two and three pages."""
    body = events.comment("x" * (seq * 97 % 500))
    event = events.event(seq, head, 1, seq, None, events.COMMENT, "", "OP-1", body)
    protected = cbor.encode({1: cose.ALGORITHM, 4: b"kid-0001"})
    return bytes((cose.SIGN1_TAG,)) + cbor.encode([protected, {}, cbor.encode(event), bytes(64)])


def live(flash: WornFlash) -> None:
    """Some laps of records, with nearly all of them archived, and a boot after every fifth."""
    journal = Journal(flash)
    journal.recover()
    kept: "list[bytes]" = []
    while journal.next_seq < RECORDS:
        flash.is_worn = journal.next_seq >= NEW
        raw = record(journal.next_seq, journal.head)
        journal.append(raw, journal.next_seq)
        kept = kept[-7:] + [raw]
        if journal.next_seq % 5 == 0:
            journal = Journal(flash)
            journal.recover()
        assert [journal.read(seq) for seq in range(journal.next_seq - len(kept), journal.next_seq)] == kept
        journal.trim(journal.next_seq - len(kept))
        journal.erase_ahead()
    assert journal._next > 4 * BLOCKS * BLOCK_PAGES


def test_a_block_that_cannot_be_erased_is_left_out() -> None:
    live(WornFlash(unerasable=(3,), forgetful=()))


def test_a_record_that_a_block_does_not_keep_goes_to_the_next() -> None:
    live(WornFlash(unerasable=(), forgetful=(2,)))


def test_two_worn_blocks_in_a_row_are_left_out() -> None:
    live(WornFlash(unerasable=(2,), forgetful=(3,)))


def test_a_flash_that_keeps_nothing_is_not_searched_to_its_end() -> None:
    flash = WornFlash(unerasable=(), forgetful=range(BLOCKS))
    flash.is_worn = True
    journal = Journal(flash)
    journal.recover()
    raises(OSError, journal.append, record(0, journal.head), 0)
    assert flash.operations.count("erase") == BLOCKS_TRIED
