"""Serial link to the gateway: what to send now, and what an incoming message means for the stream.

Window of 8 with go-back, so that a lost, flipped, doubled or reordered frame costs a resend and never a record. Never
frees anything (that takes a verified receipt, unit.py) and never trusts a message for having arrived. Does no I/O.
Spec: wire/SPEC.md section 8 (W50 to W56). Times are uptime in ms.
"""

from agent import frames

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Protocol

    class Store(Protocol):
        """The stream as the link sees it; `oldest` is the first seq without a receipt."""

        @property
        def oldest(self) -> int: ...
        @property
        def next_seq(self) -> int: ...
        @property
        def head(self) -> bytes: ...
        def read(self, seq: int) -> "bytes | None": ...


PROTOCOL = 1
WINDOW_RECORDS = 8  # W55
SILENT_RESENDS_MAX = 3  # W55: then the gateway may have restarted
WANTED_PER_TURN = 4  # refills must not crowd out fresh records
WANTS_MAX = 8


class Link:
    """One unit's side of the line. identity: kid, unit id, epoch, boot, firmware version."""

    def __init__(self, store: "Store", identity: "tuple[bytes, str, int, int, str]", resend_ms: int) -> None:
        self._store = store
        self._identity = identity
        self._resend_ms = resend_ms
        self._reader = frames.Reader()
        self._hello_due_ms = 0
        self._resend_due_ms = 0
        self._silent_resends = 0
        self._sent_next = 0
        self._skipped_next = 0  # records before this one are unreadable: the next hello begins after them
        self._wants: "list[list[int]]" = []  # [next, thru]
        self.welcomed = False
        self.gateway = ""
        self.relayed_next = 0  # everything below is committed by the gateway
        self.resends = 0
        self.unreadable: "list[int]" = []  # seqs that the journal could not give back; the unit takes them from here

    @property
    def noise(self) -> int:
        """Pieces of line noise dropped so far (W51)."""
        return self._reader.noise

    @property
    def oldest(self) -> int:
        """First seq that is still to be had here and has no receipt (W53)."""
        return min(max(self._store.oldest, self._skipped_next), self._store.next_seq)

    def receive(self, chunk: bytes, now_ms: int) -> "list[list[Any]]":
        """Follow the bytes of chunk; returns the messages that are not the link's own: receipt, time, order."""
        others = []
        for message in self._reader.feed(chunk):
            kind = message[0]
            if kind == frames.WELCOME:
                self._welcome(message[1], message[2], message[3])
            elif kind == frames.ACK:
                self._ack(message[1], message[2], now_ms)
            elif kind == frames.WANT:
                self._want(message[1], message[2], message[3])
            elif kind == frames.WHO:
                self.welcomed = False
                self._hello_due_ms = now_ms
            elif kind in (frames.RECEIPT, frames.TIME, frames.ORDER):
                others.append(message)
        return others

    def due(self, now_ms: int) -> "Iterator[bytes]":
        """Frames to send now, each made when it is asked for: a window of them would be a tenth of the heap."""
        if not self.welcomed:
            if now_ms >= self._hello_due_ms:
                self._hello_due_ms = now_ms + self._resend_ms
                yield self._hello()
            return
        yield from self._wanted()
        yield from self._window(now_ms)

    def idle_until(self, now_ms: int) -> int:
        """When something may be due although nothing arrives; now_ms when there is more to send at once."""
        if not self.welcomed:
            return self._hello_due_ms
        if self._wants or self._sent_next < min(self._store.next_seq, self.relayed_next + WINDOW_RECORDS):
            return now_ms
        if self.relayed_next < self._sent_next:
            return self._resend_due_ms
        return now_ms + self._resend_ms

    def status(self, used_bytes: int, size_bytes: int, uptime_ms: int, counters: "dict[str, int]") -> bytes:
        """A status frame; for diagnosis only."""
        return frames.encode([frames.STATUS, used_bytes, size_bytes, uptime_ms, self._store.oldest, counters])

    def _hello(self) -> bytes:
        kid, unit, epoch, boot, firmware = self._identity
        store = self._store
        return frames.encode(
            [frames.HELLO, PROTOCOL, kid, unit, epoch, self.oldest, store.next_seq, store.head, boot, firmware]
        )

    def _welcome(self, protocol: int, gateway: str, relayed_next: int) -> None:
        if protocol != PROTOCOL:
            return
        oldest = self.oldest
        self.welcomed = True
        self.gateway = gateway
        self.relayed_next = self._sent_next = (
            oldest if relayed_next > self._store.next_seq else max(oldest, relayed_next)
        )
        self._silent_resends = 0

    def _ack(self, kid: bytes, next_seq: int, now_ms: int) -> None:
        if kid != self._identity[0] or not self.relayed_next < next_seq <= self._sent_next:
            return
        self.relayed_next = next_seq
        self._silent_resends = 0
        self._resend_due_ms = now_ms + self._resend_ms

    def _want(self, kid: bytes, first: int, thru: int) -> None:
        thru = min(thru, self._store.next_seq - 1)
        if (
            kid == self._identity[0]
            and first <= thru
            and [first, thru] not in self._wants
            and len(self._wants) < WANTS_MAX
        ):
            self._wants.append([first, thru])

    def _wanted(self) -> "Iterator[bytes]":
        """Refills; they do not move the window (W56)."""
        answers = 0
        while self._wants and answers < WANTED_PER_TURN:
            want = self._wants[0]
            record = self._store.read(want[0])
            if record is not None:
                answers += 1
                yield frames.encode([frames.RECORD, record])
            want[0] += 1
            if want[0] > want[1]:
                self._wants.pop(0)
            elif record is None:
                break  # at most one miss per turn: a wide want must not hold up the unit

    def _window(self, now_ms: int) -> "Iterator[bytes]":
        if self.relayed_next < self._sent_next and now_ms >= self._resend_due_ms:
            self._silent_resends += 1
            if self._silent_resends >= SILENT_RESENDS_MAX:
                self.welcomed = False
                self._hello_due_ms = now_ms + self._resend_ms
                yield self._hello()
                return
            self.resends += self._sent_next - self.relayed_next
            self._sent_next = self.relayed_next
        while self._sent_next < min(self._store.next_seq, self.relayed_next + WINDOW_RECORDS):
            record = self._store.read(self._sent_next)
            if record is None:
                self._step_over()
                break
            if self._sent_next == self.relayed_next:
                self._resend_due_ms = now_ms + self._resend_ms
            self._sent_next += 1
            yield frames.encode([frames.RECORD, record])

    def _step_over(self) -> None:
        """The journal cannot give back the next record: once all before it are relayed, begin anew after it."""
        if self.relayed_next < self._sent_next:
            return
        if self._sent_next >= self._skipped_next:
            self.unreadable.append(self._sent_next)
            self._skipped_next = self._sent_next + 1
        self.welcomed = False
        self._hello_due_ms = 0
