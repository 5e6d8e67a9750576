"""Heads and gaps of streams: what a set of new positions changes. Runs inside the transaction that wrote the records.

A receipt may cover a record only when the ledger holds it and all its predecessors (SPEC W40): the enrolled genesis at
seq 0, then at each position a record that names one of the position before. Where the chain breaks the receipts stop.
After an equivocation there is more than one such path, and each counts for those whose records lie on it.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby

from django.db import connection

from cloud.ledger.models import Gap, LedgerRecord, StreamHead, UnitKey

DIGEST_BYTES = 32


def runs_of(positions: Iterable[int]) -> list[tuple[int, int]]:
    """(first, last) of each run of consecutive numbers, ascending."""
    runs: list[tuple[int, int]] = []
    for position in sorted(positions):
        if runs and position == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], position)
        else:
            runs.append((position, position))
    return runs


def advance(key: UnitKey, new: set[int], doubled: set[int], now_ms: int) -> None:
    """Bring head and gaps of key's stream up to date after records were inserted.

    new: positions of which the ledger held nothing before. doubled: positions that now hold more than one record.
    """
    kid = bytes(key.kid)
    head, _ = StreamHead.objects.get_or_create(kid=kid)
    for first, last in runs_of(new):
        if first > head.highest_seq:
            if first > head.highest_seq + 1:
                Gap.objects.create(kid=kid, first=head.highest_seq + 1, last=first - 1, found_ms=now_ms)
            head.highest_seq = last
        else:
            _fill(kid, first, last, now_ms)
    if doubled:
        head.forked_at = min(doubled) if head.forked_at is None else min(head.forked_at, *doubled)
    for seq, linked in _path(head, bytes(key.genesis_digest)):
        head.archived_thru, head.archived_digests = seq, b"".join(sorted(linked))
    head.received_ms = now_ms
    head.save()


def receiptable(head: StreamHead, genesis_digest: bytes, seq: int, digest: bytes) -> bool:
    """Whether a receipt may name this held record: it lies on a path of the archived prefix."""
    if seq > head.archived_thru:
        return False
    if head.forked_at is None or seq < head.forked_at:
        return True
    return any(digest in linked for position, linked in _path(head, genesis_digest) if position == seq)


def digests_at_head(head: StreamHead) -> list[bytes]:
    """The digests that a receipt for archived_thru may name."""
    joined = bytes(head.archived_digests)
    return [joined[at : at + DIGEST_BYTES] for at in range(0, len(joined), DIGEST_BYTES)]


def _fill(kid: bytes, first: int, last: int, now_ms: int) -> None:
    """Close first..last of the open gap around them; what is left of it stays open with its own rows."""
    gap = Gap.objects.get(kid=kid, filled_ms=None, first__lte=first, last__gte=last)
    for left, right in ((gap.first, first - 1), (last + 1, gap.last)):
        if left <= right:
            Gap.objects.create(kid=kid, first=left, last=right, found_ms=gap.found_ms, asked=gap.asked)
    gap.first, gap.last, gap.filled_ms = first, last, now_ms
    gap.save()


def _path(head: StreamHead, genesis_digest: bytes) -> Iterator[tuple[int, set[bytes]]]:
    """(seq, digests on a path) from the archived end on, or from the first fork on when there is one."""
    kid, start = bytes(head.kid), head.archived_thru
    linked = set(digests_at_head(head))
    if head.forked_at is not None and head.forked_at <= start:
        start = head.forked_at - 1
        before = LedgerRecord.objects.filter(kid=kid, seq=start).values_list("digest", flat=True)
        linked = {bytes(digest) for digest in before}
    for seq, held in _positions_after(kid, start):
        linked = {digest for digest, prev in held if (digest == genesis_digest if seq == 0 else prev in linked)}
        if seq != start + 1 or not linked:
            return
        start = seq
        yield seq, linked


def _positions_after(kid: bytes, seq: int) -> Iterator[tuple[int, list[tuple[bytes, bytes]]]]:
    """(seq, [(digest, prev), ...]) for each held position above seq, ascending; read lazily."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT seq, digest, prev FROM ledger_ledgerrecord WHERE kid = %s AND seq > %s ORDER BY seq", [kid, seq]
        )
        for position, rows in groupby(cursor, key=lambda row: int(row[0])):
            yield position, [(bytes(digest), bytes(prev)) for _, digest, prev in rows]
