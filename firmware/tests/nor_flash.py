"""A simulated NOR flash in RAM, for both interpreters: what a journal may rely on, and what it must not do.

A page can be programmed once between two erases of its block; doing it twice is an assertion failure. Power can be cut
at a chosen operation: before it, after it, or within it, when only the first bytes have reached the cells.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE_BYTES = 256
BLOCK_BYTES = 4096
ERASED = b"\xff" * PAGE_BYTES
BEFORE = -1  # cut before the operation begins; any other number: after that many bytes of it


class PowerCut(Exception):  # noqa: N818  an event, and no mistake
    pass


class NorFlash:
    """cells: one bytes object per page, so that a snapshot is a short list. operations: names of all begun so far."""

    page = PAGE_BYTES
    block = BLOCK_BYTES

    def __init__(self, blocks: int, cells: "Sequence[bytes] | None" = None) -> None:
        self.size = blocks * BLOCK_BYTES
        self.cells = list(cells) if cells is not None else [ERASED] * (self.size // PAGE_BYTES)
        self.operations: "list[str]" = []
        self.reads = 0
        self._cut: "tuple[int, int] | None" = None

    def cut_at(self, operation: int, after_bytes: int) -> None:
        """Cut power at that operation (0: the next one), BEFORE it or after so many of its bytes."""
        self._cut = (len(self.operations) + operation, after_bytes)

    def read(self, address: int, size: int) -> bytes:
        assert 0 <= address <= address + size <= self.size
        self.reads += 1
        first, skip = address // PAGE_BYTES, address % PAGE_BYTES
        if skip + size <= PAGE_BYTES:
            return self.cells[first][skip : skip + size]
        pages = b"".join(self.cells[first : first + (skip + size + PAGE_BYTES - 1) // PAGE_BYTES])
        return pages[skip : skip + size]

    def program(self, address: int, page: bytes) -> None:
        assert address % PAGE_BYTES == 0
        assert len(page) == PAGE_BYTES
        assert self.cells[address // PAGE_BYTES] == ERASED, "a page was programmed twice at %d" % address
        self._apply("program", address, [page])

    def erase(self, address: int) -> None:
        assert address % BLOCK_BYTES == 0
        self._apply("erase", address, [ERASED] * (BLOCK_BYTES // PAGE_BYTES))

    def _apply(self, name: str, address: int, pages: "list[bytes]") -> None:
        assert 0 <= address < self.size
        reached = len(pages) * PAGE_BYTES
        cut = self._cut is not None and len(self.operations) == self._cut[0]
        if cut and self._cut is not None:
            reached = max(0, self._cut[1])
        self.operations.append(name)
        for i, page in enumerate(pages):
            kept = max(0, reached - i * PAGE_BYTES)
            number = address // PAGE_BYTES + i
            self.cells[number] = page if kept >= PAGE_BYTES else page[:kept] + self.cells[number][kept:]
        if cut:
            raise PowerCut
