"""One unit on one serial port: what it says goes into the spool, what it must hear comes back (SPEC section 8).

Does no I/O but through the spool that it is given, inside the caller's transaction. The caller sends the replies
after the commit, never before (W54); when the transaction fails it drops them and calls reset().
"""

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from gateway.peek import STORE_INT_MAX, peek
from gateway.spool import Spool, Stream
from wire import Ack, Hello, OrderChunk, ReceiptFrame, RecordFrame, Status, Time, Welcome, Who, WireError, order_chunks

Reply = Welcome | Ack | ReceiptFrame | OrderChunk | Who | Callable[[], Time]


@dataclass(frozen=True, slots=True)
class Stored:
    """A record that became a row just now."""

    kid: bytes
    seq: int
    row: int


@dataclass
class Heard:
    """What one message led to."""

    replies: list[Reply] = field(default_factory=list)
    stored: Stored | None = None
    welcomed: bool = False


class Session:
    """The conversation on one port, from one hello to the next."""

    def __init__(self, gateway: str, time_now: Callable[[], Time]) -> None:
        self.kid: bytes | None = None
        self.unit = ""
        self.next_seq = 0
        self.head = b""
        self.status: Status | None = None
        self.refused: Counter[str] = Counter()  # WireError code -> frames that were no record
        self.refusal = ""  # the last of them, for a person
        self._gateway = gateway
        self._time_now = time_now
        self._ack_due = False
        self._moved = False
        self._start_over_at: int | None = None  # the unit's oldest; None once this session began again there

    def reset(self) -> None:
        """Forget what was not committed: the unit is asked who it is and both start from the spool again."""
        self.kid, self._ack_due, self._moved = None, False, False

    def heard(self, message: object, spool: Spool, arrival_ms: int) -> Heard:
        """Take one frame. Messages that only a gateway sends are noise here."""
        if isinstance(message, RecordFrame):
            return self._record(message.raw, spool, arrival_ms)
        if isinstance(message, Hello):
            return self._hello(message, spool)
        if isinstance(message, Status):
            self.status = message
        return Heard()

    def commit(self, spool: Spool) -> Ack | None:
        """Write how far the stream has come; the ack to send once the transaction is durable."""
        if self.kid is None or not self._ack_due:
            return None
        if self._moved:
            spool.advance(self.kid, self.next_seq, self.head)
        self._ack_due = self._moved = False
        return Ack(self.kid, self.next_seq)

    def _hello(self, hello: Hello, spool: Spool) -> Heard:
        if max(hello.oldest, hello.next, hello.epoch) >= STORE_INT_MAX:
            self.refused["wrong_shape"] += 1
            self.refusal = f"a hello of unit {hello.unit} counts beyond what a store can hold; it was not answered"
            return Heard()
        known = spool.stream(hello.kid)
        stream = known or Stream(hello.kid, hello.unit, hello.epoch, hello.next, hello.oldest, b"")
        relayed = _relayed_next(hello, stream)
        head = stream.head if relayed == stream.next_seq else b""
        stream = replace(stream, unit=hello.unit, epoch=hello.epoch, unit_next=hello.next, next_seq=relayed, head=head)
        if stream != known and not spool.save_stream(stream):
            self.refusal = (
                f"unit {hello.unit} is one stream too many for this gateway's store; clear out old state directories"
            )
            self.refused["too_many_streams"] += 1
            return Heard()
        self.kid, self.unit = hello.kid, hello.unit
        self.next_seq, self.head = relayed, stream.head
        self._start_over_at = hello.oldest if hello.oldest < relayed else None
        self._ack_due = self._moved = False
        replies: list[Reply] = [Welcome(self._gateway, relayed), self._time_now]
        if stream.receipt is not None:
            replies.append(ReceiptFrame(stream.receipt))
        order = spool.order(hello.kid)
        if order is not None:
            replies.extend(order_chunks(order))
        return Heard(replies, welcomed=True)

    def _record(self, raw: bytes, spool: Spool, arrival_ms: int) -> Heard:
        try:
            record = peek(raw)
        except WireError as error:
            self.refused[error.code] += 1
            self.refusal = (
                f"{len(raw)} bytes that unit {self.unit or 'unknown'} sent as a record cannot be read ({error}); "
                "they were not acknowledged; check the unit's firmware version"
            )
            return Heard()
        row = spool.keep(record.kid, record.seq, raw, arrival_ms)
        stored = None if row is None else Stored(record.kid, record.seq, row)
        if record.kid == self.kid:
            if record.seq == self.next_seq and self.head not in (b"", record.prev) and self._start_over_at is not None:
                return Heard([self._start_over(self.kid, self._start_over_at, spool)], stored=stored)
            self._ack_due = True  # also for a repeat: the ack before it may be lost
            if record.seq == self.next_seq:
                self.next_seq += 1
                self.head = hashlib.sha256(raw).digest()
                self._moved = True
        return Heard(stored=stored)

    def _start_over(self, kid: bytes, oldest: int, spool: Spool) -> Welcome:
        """The unit follows another record than the one held here: it was set back and has written on since (W54).

        Once in a session, all that it holds is asked for again, its other record among it, for the cloud to judge.
        """
        self.next_seq, self.head, self._start_over_at = oldest, b"", None
        self._ack_due = self._moved = False
        spool.advance(kid, oldest, b"")
        return Welcome(self._gateway, oldest)


def _relayed_next(hello: Hello, stream: Stream) -> int:
    """Where this session starts: nothing between the unit's oldest and here is unknown to the spool (W54).

    A unit that stands before what it once sent, or that holds another record where we hold its last one, was
    set back: everything it still holds is asked for again, for the cloud to judge.
    """
    set_back = stream.next_seq > hello.next
    other_head = stream.next_seq == hello.next and stream.head not in (b"", hello.head)
    if set_back or other_head:
        return hello.oldest
    return max(hello.oldest, stream.next_seq)
