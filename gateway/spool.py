"""The gateway's durable store: a row stays until a receipt of the cloud covers it.

Decides what is committed, what a verified receipt lets go, and what is set aside. Never alters a record's bytes,
never decides on time, and never drops bytes without a trace: a row leaves because the record it holds is provably
archived, or moves to `set_aside` with a reason. One connection, one thread, WAL with synchronous=FULL.

Every method may raise SpoolFullError or SpoolBrokenError; the transaction is then gone, and nothing in it may be
acknowledged.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import apsw

from gateway.peek import peek
from gateway.spool_file import ignoring_errors, named_errors, open_file
from wire import Order, Receipt, WireError

STREAMS_MAX = 256  # units that ever said hello here; a site has a few dozen
SET_ASIDE_ROWS_MAX = 10_000  # about 5 MB; beyond it such rows stay in the spool
NOT_ARCHIVED = "the cloud archived another record at this position"
COVER_ROWS = 1024  # rows let go per transaction: keeps the WAL small after a long outage

_STREAM_FIELDS = (
    "kid", "unit", "epoch", "unit_next", "next_seq", "head",
    "receipt_seq", "receipt", "archived_seq", "archived_digest", "receipt_ms",
)  # fmt: skip
# S608: built from the constants above, never from what came from outside.
_STREAMS = f"SELECT {', '.join(_STREAM_FIELDS)} FROM streams"  # noqa: S608
_SAVE_STREAM = (
    f"INSERT INTO streams({', '.join(_STREAM_FIELDS)}) VALUES ({', '.join('?' * len(_STREAM_FIELDS))}) "  # noqa: S608
    f"ON CONFLICT(kid) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _STREAM_FIELDS[1:])}"
)
_KEEP = (
    "INSERT INTO spool(kid, seq, digest, record, arrival_ms) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT(kid, seq, digest) DO NOTHING"
)
_HELD = "SELECT row, record FROM spool WHERE kid = ? AND seq = ? AND digest = ?"
_ROWS = "SELECT row, kid, seq, record, arrival_ms FROM spool "

_FATAL = (
    apsw.IOError, apsw.CorruptError, apsw.NotADBError, apsw.CantOpenError, apsw.ReadOnlyError, apsw.BusyError,
    apsw.LockedError, apsw.PermissionsError, apsw.ProtocolError, apsw.NoMemError, apsw.SQLError, apsw.InternalError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    row: int
    kid: bytes
    seq: int
    record: bytes
    arrival_ms: int


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream as this gateway knows it.

    next_seq: every record below it, down to the unit's oldest at its hello, is or was committed here.
    """

    kid: bytes
    unit: str
    epoch: int
    unit_next: int
    next_seq: int
    head: bytes  # digest of record next_seq - 1 as committed here; empty when unknown
    receipt_seq: int = -1
    receipt: bytes | None = None
    archived_seq: int = -1  # of the last receipt whose digest was that of our own row
    archived_digest: bytes | None = None
    receipt_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Covered:
    """What a receipt changed: matched says whether it agreed with our own record of that seq (W41)."""

    matched: bool
    gone: tuple[int, ...] = ()
    set_aside: int = 0


class Spool:
    """The store, open. Make it with open_spool."""

    def __init__(self, connection: apsw.Connection, path: Path, damaged: str | None) -> None:
        self.path = path
        self.damaged = damaged  # the sentence about a file that was set aside at this opening
        self._connection = connection
        self._changes: dict[bytes, int] = {}  # rows added or gone in the open transaction, by kid
        self.rows = 0
        self._rows_of: dict[bytes, int] = {}
        self._version = 0
        self.recount()

    def close(self) -> None:
        with named_errors(self.path):
            self._connection.close()

    def recount(self) -> None:
        """Count the rows anew: they are counted as they come and go, which a second writer would upset."""
        self.rows = self._one("SELECT count(*) FROM spool")
        self._rows_of = {
            kid: self._one("SELECT count(*) FROM spool WHERE kid = ?", kid)
            for (kid,) in self._all("SELECT kid FROM streams")
        }
        self._version = self._one("PRAGMA data_version")

    def changed_by_others(self) -> bool:
        """Whether another program wrote to the file since the last recount."""
        return self._one("PRAGMA data_version") != self._version

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing: whoever acknowledges does so after this block, never inside it."""
        with named_errors(self.path):
            self._changes.clear()
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    ignoring_errors(lambda: self._connection.execute("ROLLBACK"))
                raise
        for kid, change in self._changes.items():
            self.rows += change
            if kid in self._rows_of:
                self._rows_of[kid] += change

    # -- records

    def keep(self, kid: bytes, seq: int, raw: bytes, arrival_ms: int) -> int | None:
        """Store raw unless the very same bytes are here; the new row's number. Call it in a transaction."""
        digest = hashlib.sha256(raw).digest()
        values = (kid, seq, digest, raw, arrival_ms)
        self._connection.execute(_KEEP, values)  # every record comes here: errors are named around the transaction
        if self._connection.changes() == 0:  # never that alone: the row there must hold the very same bytes
            row, record = self._all(_HELD, kid, seq, digest)[0]
            if record == raw:
                return None
            # Damaged on disk or altered by hand: the row claims this digest and must not pass for the record.
            self._set_aside(row, kid, arrival_ms, "its bytes no longer match its digest", always=True)
            self._run(_KEEP, *values)
        self._changes[kid] = self._changes.get(kid, 0) + 1
        return self._connection.last_insert_rowid()

    def rows_after(self, kid: bytes, row: int, limit: int) -> list[Row]:
        """Rows of one stream in the order in which they came."""
        return self._rows("WHERE kid = ? AND row > ? ORDER BY row LIMIT ?", kid, row, limit)

    def strangers_after(self, row: int, limit: int) -> list[Row]:
        """Rows of kids that no unit ever said hello with, in the order in which they came."""
        if self.stranger_rows() == 0:
            return []
        return self._rows("WHERE row > ? AND kid NOT IN (SELECT kid FROM streams) ORDER BY row LIMIT ?", row, limit)

    def rows_between(self, kid: bytes, first: int, thru: int, limit: int) -> list[Row]:
        """Rows of one stream by seq, every copy of a seq."""
        return self._rows("WHERE kid = ? AND seq BETWEEN ? AND ? ORDER BY seq, row LIMIT ?", kid, first, thru, limit)

    def rows_numbered(self, numbers: Sequence[int]) -> list[Row]:
        return [found for number in numbers for found in self._rows("WHERE row = ?", number)]

    def missing_between(self, kid: bytes, first: int, thru: int, limit: int) -> list[tuple[int, int]]:
        """Ranges (first, thru) of seqs that no row holds; at most limit of them, the last one reaching to thru."""
        missing: list[tuple[int, int]] = []
        position = first
        held = "SELECT DISTINCT seq FROM spool WHERE kid = ? AND seq BETWEEN ? AND ? ORDER BY seq"
        for (seq,) in self._all(held, kid, first, thru):
            if seq > position:
                if len(missing) == limit - 1:
                    return [*missing, (position, thru)]
                missing.append((position, seq - 1))
            position = seq + 1
        return [*missing, (position, thru)] if position <= thru else missing

    def rows_of(self, kid: bytes) -> int:
        return self._rows_of.get(kid, 0)

    def knows(self, kid: bytes) -> bool:
        """Whether a unit said hello with this kid, or the cloud receipted it."""
        return kid in self._rows_of

    def stranger_rows(self) -> int:
        return self.rows - sum(self._rows_of.values())

    def oldest_arrival_ms(self, kid: bytes | None = None) -> int | None:
        if kid is None:
            found = self._first("SELECT arrival_ms FROM spool ORDER BY row LIMIT 1")
        else:
            found = self._first("SELECT arrival_ms FROM spool WHERE kid = ? ORDER BY row LIMIT 1", kid)
        return None if found is None else int(found[0])

    def set_aside_rows(self) -> int:
        return self._one("SELECT count(*) FROM set_aside")

    def reusable_bytes(self) -> int:
        """Room inside the file that rows let go have left."""
        return self._one("PRAGMA freelist_count") * self._one("PRAGMA page_size")

    # -- streams, receipts, orders

    def stream(self, kid: bytes) -> Stream | None:
        found = self._first(f"{_STREAMS} WHERE kid = ?", kid)
        return None if found is None else Stream(*found)

    def streams(self) -> list[Stream]:
        return [Stream(*found) for found in self._all(f"{_STREAMS} ORDER BY unit, epoch")]

    def save_stream(self, stream: Stream) -> bool:
        """Write what is known of a stream; False when this gateway knows too many already. In a transaction."""
        if stream.kid not in self._rows_of and len(self._rows_of) >= STREAMS_MAX:
            return False
        self._run(_SAVE_STREAM, *(getattr(stream, name) for name in _STREAM_FIELDS))
        if stream.kid not in self._rows_of:
            count = self._one("SELECT count(*) FROM spool WHERE kid = ?", stream.kid)
            self._rows_of[stream.kid] = count - self._changes.get(stream.kid, 0)  # the commit adds the changes
        return True

    def advance(self, kid: bytes, next_seq: int, head: bytes) -> None:
        """Every record of this stream below next_seq is in this or an earlier transaction. In a transaction."""
        self._run(
            "UPDATE streams SET next_seq = ?, head = ?, unit_next = max(unit_next, ?) WHERE kid = ?",
            next_seq,
            head,
            next_seq,
            kid,
        )

    def keep_order(self, order: Order) -> None:
        """Store a verified order unless a newer one for its unit is here. In a transaction."""
        self._run(
            "INSERT INTO orders(kid, number, raw) VALUES (?, ?, ?) ON CONFLICT(kid) "
            "DO UPDATE SET number = excluded.number, raw = excluded.raw WHERE excluded.number > orders.number",
            order.kid,
            order.number,
            order.raw,
        )

    def order(self, kid: bytes) -> bytes | None:
        found = self._first("SELECT raw FROM orders WHERE kid = ?", kid)
        return None if found is None else found[0]

    def cover(self, receipt: Receipt, now_ms: int, published_thru: int | None = None) -> Covered:
        """Let go of what a verified receipt covers (W41). Opens its own transactions.

        The digest of our own record at the receipt's seq must be the receipt's; from there each record names its
        predecessor's digest, so the walk downwards knows which copy of every seq is the archived one. Another
        copy is set aside, never deleted. Below a hole nothing can be compared; the receipt still covers a seq that
        has one copy only, unless an earlier receipt covered that seq: what came since may be another record, and
        waits until a receipt names it. published_thru: rows above it were never sent; those that are not provably
        the archived record stay until they were, because two records at one position are for the cloud to judge.
        """
        stream = self.stream(receipt.kid)
        covered_thru = -1 if stream is None else stream.archived_seq
        if receipt.seq < covered_thru:
            return self._prove(receipt)
        if not self._agrees(receipt, stream):
            if stream is not None and receipt.seq > stream.receipt_seq:  # the unit may still know that record
                with self.transaction():
                    self.save_stream(_with_receipt(stream, receipt, now_ms, matched=False))
            return Covered(matched=False)
        if stream is not None and receipt.seq == stream.archived_seq and not self._holds_upto(receipt.kid, receipt.seq):
            return Covered(matched=True)  # a repeat: nothing to write
        gone: list[int] = []
        set_aside, position, first = 0, receipt.seq, True
        expected: bytes | None = receipt.digest
        while True:
            groups, more = self._copies_downwards(receipt.kid, position)
            with self.transaction():
                if first:
                    known = stream or Stream(receipt.kid, "", 0, receipt.seq + 1, 0, b"")
                    self.save_stream(_with_receipt(known, receipt, now_ms, matched=True))
                    first = False
                for seq, copies in groups:
                    expected = expected if seq == position else None
                    genuine = _genuine(copies, expected)
                    if expected is None and seq <= covered_thru and len(copies) == 1:
                        genuine, copies = None, []  # it came since that receipt, and nothing proves which it is
                    for copy in copies:
                        sent = published_thru is None or copy.row <= published_thru
                        if copy is genuine and (sent or expected is not None):
                            self._delete(copy.row, receipt.kid)
                            gone.append(copy.row)
                        elif (
                            copy is not genuine
                            and sent
                            and self._set_aside(copy.row, receipt.kid, now_ms, NOT_ARCHIVED)
                        ):
                            gone.append(copy.row)
                            set_aside += 1
                    position, expected = seq - 1, _prev_of(genuine)
            if not more:
                return Covered(True, tuple(gone), set_aside)

    def _prove(self, receipt: Receipt) -> Covered:
        """A receipt behind the last one: lets go of the record that it names, and of those before that one."""
        gone: list[int] = []
        seq, expected = receipt.seq, receipt.digest
        with self.transaction():
            while row := _genuine(self._rows("WHERE kid = ? AND seq = ?", receipt.kid, seq), expected):
                self._delete(row.row, receipt.kid)
                gone.append(row.row)
                prev = _prev_of(row)
                if prev is None:
                    break
                seq, expected = seq - 1, prev
        return Covered(bool(gone), tuple(gone))

    def set_aside(self, row: Row, now_ms: int, reason: str) -> None:
        """Take a row that can never be sent out of the way, with its bytes and the reason."""
        with self.transaction():
            self._set_aside(row.row, row.kid, now_ms, reason, always=True)

    def newest_row(self) -> int:
        return self._one("SELECT coalesce(max(row), 0) FROM spool")

    def _holds_upto(self, kid: bytes, seq: int) -> bool:
        return self._first("SELECT 1 FROM spool WHERE kid = ? AND seq <= ? LIMIT 1", kid, seq) is not None

    def _agrees(self, receipt: Receipt, stream: Stream | None) -> bool:
        if stream is not None and (stream.archived_seq, stream.archived_digest) == (receipt.seq, receipt.digest):
            return True
        held = self._rows("WHERE kid = ? AND seq = ?", receipt.kid, receipt.seq)
        return any(hashlib.sha256(row.record).digest() == receipt.digest for row in held)

    def _copies_downwards(self, kid: bytes, seq: int) -> tuple[list[tuple[int, list[Row]]], bool]:
        """The next rows at or below seq, grouped by seq from high to low; whether there are more below."""
        found = self._rows("WHERE kid = ? AND seq <= ? ORDER BY seq DESC, row LIMIT ?", kid, seq, COVER_ROWS)
        more = len(found) == COVER_ROWS
        groups = [(seq, list(copies)) for seq, copies in groupby(found, key=lambda row: row.seq)]
        if more and len(groups) > 1:
            groups.pop()  # perhaps cut in the middle of its copies
        return groups, more

    def _set_aside(self, row: int, kid: bytes, now_ms: int, reason: str, *, always: bool = False) -> bool:
        if not always and self.set_aside_rows() >= SET_ASIDE_ROWS_MAX:
            return False
        self._run(
            "INSERT INTO set_aside(kid, seq, digest, record, arrival_ms, aside_ms, reason) "
            "SELECT kid, seq, digest, record, arrival_ms, ?, ? FROM spool WHERE row = ?", now_ms, reason, row,
        )  # fmt: skip
        self._delete(row, kid)
        return True

    def _delete(self, row: int, kid: bytes) -> None:
        self._run("DELETE FROM spool WHERE row = ?", row)
        self._changes[kid] = self._changes.get(kid, 0) - 1

    # -- SQLite

    def _run(self, sql: str, *values: Any) -> None:
        with named_errors(self.path):
            self._connection.execute(sql, values)

    def _all(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with named_errors(self.path):
            return list(self._connection.execute(sql, values))

    def _first(self, sql: str, *values: Any) -> tuple[Any, ...] | None:
        found = self._all(sql, *values)
        return found[0] if found else None

    def _one(self, sql: str, *values: Any) -> int:
        return int(self._all(sql, *values)[0][0])

    def _rows(self, where: str, *values: Any) -> list[Row]:
        return [Row(*found) for found in self._all(_ROWS + where, *values)]


def _with_receipt(stream: Stream, receipt: Receipt, now_ms: int, *, matched: bool) -> Stream:
    newer = receipt.seq >= stream.receipt_seq
    return Stream(
        stream.kid, stream.unit, stream.epoch, stream.unit_next, stream.next_seq, stream.head,
        receipt.seq if newer else stream.receipt_seq,
        receipt.raw if newer else stream.receipt,
        receipt.seq if matched else stream.archived_seq,
        receipt.digest if matched else stream.archived_digest,
        now_ms,
    )  # fmt: skip


def _genuine(copies: Sequence[Row], expected: bytes | None) -> Row | None:
    """Which copy the archive holds: the one with the digest its successor names; with none known, the only one."""
    if expected is None:
        return copies[0] if len(copies) == 1 else None
    return next((copy for copy in copies if hashlib.sha256(copy.record).digest() == expected), None)


def _prev_of(row: Row | None) -> bytes | None:
    if row is None:
        return None
    try:
        return peek(row.record).prev
    except WireError:
        return None


def open_spool(state_dir: Path, *, vfs: str | None = None, now_s: Callable[[], float] = time.time) -> Spool:
    """The store of state_dir, made if there is none, checked if there is one (spool_file.py).

    vfs: name of an apsw VFS (tests inject faults there). Raises SpoolFullError, SpoolBrokenError.
    """
    connection, path, damaged = open_file(state_dir, vfs, now_s)
    return Spool(connection, path, damaged)
