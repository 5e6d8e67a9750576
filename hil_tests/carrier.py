"""A bad carrier: what somebody with root on a gateway can do to its spool while nobody looks.

The gateway is stopped when this runs. Everything done here is written down (`Tampering`): the checker later asks
whether the cloud noticed each single act.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

from hil_tests.programs import BenchError
from hil_tests.signed import take_apart
from wire import sign_record

Row = tuple[int, bytes, int, bytes]  # row number, kid, seq, record
BUSY_MS = 2000
SCAN, SAMPLES = 7, 9  # record types, SPEC section 5


@dataclass
class Tampering:
    """removed: positions taken away; altered: bytes that took a record's place; forged: bytes no unit ever signed."""

    removed: list[tuple[bytes, int]] = field(default_factory=list)
    altered: list[bytes] = field(default_factory=list)
    forged: list[bytes] = field(default_factory=list)


def spool_rows(spool: Path) -> list[Row]:
    """Everything in a gateway's spool, oldest first; nothing while the gateway is still making it."""
    return _read(spool, "SELECT row, kid, seq, record FROM spool ORDER BY row")


def relayed_next(spool: Path, kid: bytes) -> int:
    """How far the gateway holds this stream as committed; 0 when it never heard of it."""
    found = _read(spool, "SELECT next_seq FROM streams WHERE kid = ?", kid)
    return int(found[0][0]) if found else 0


def _read(spool: Path, query: str, *values: bytes) -> list[tuple[Any, ...]]:
    if not spool.exists():
        return []
    connection = apsw.Connection(str(spool), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(BUSY_MS)
    try:
        return list(connection.execute(query, values))
    except apsw.SQLError:  # the gateway is just making its tables
        return []
    finally:
        connection.close()


def tamper(spool: Path, batch: str, lot: str) -> Tampering:
    """One sensor record removed, one letter of a scanned lot changed, one record forged with a key nobody knows."""
    done = Tampering()
    rows = spool_rows(spool)
    connection = apsw.Connection(str(spool))
    try:
        with connection:
            _alter_lot(connection, rows, lot, done)
            _remove_samples(connection, rows, done)
            _forge(connection, batch, rows, done)
    finally:
        connection.close()
    return done


def _alter_lot(connection: apsw.Connection, rows: list[Row], lot: str, done: Tampering) -> None:
    for row, _, _, record in rows:
        if take_apart(record).event[7] == SCAN and lot.encode() in record:
            at = record.index(lot.encode()) + len(lot) - 1
            altered = record[:at] + bytes([record[at] ^ 1]) + record[at + 1 :]
            connection.execute("UPDATE spool SET record = ? WHERE row = ?", (altered, row))
            done.altered.append(altered)
            return
    raise BenchError(f"the spool holds no scan of lot {lot}, so there is nothing to alter")


def _remove_samples(connection: apsw.Connection, rows: list[Row], done: Tampering) -> None:
    samples = [(row, kid, seq) for row, kid, seq, record in rows if take_apart(record).event[7] == SAMPLES]
    if len(samples) < 2:
        raise BenchError("the spool holds no sensor record between others, so there is nothing to remove")
    row, kid, seq = samples[len(samples) // 2]
    connection.execute("DELETE FROM spool WHERE row = ?", (row,))
    done.removed.append((kid, seq))


def _forge(connection: apsw.Connection, batch: str, rows: list[Row], done: Tampering) -> None:
    """A comment in the batch's name, signed properly, with a key that no unit has."""
    _, _, seq, record = rows[-1]
    event = take_apart(record).event | {1: seq + 1, 2: take_apart(record).digest, 7: 12, 8: batch}
    forged = sign_record(b"a key of somebody outside......!", event | {10: {1: "All samples were within limits"}})
    parts = take_apart(forged)
    connection.execute(
        "INSERT INTO spool(kid, seq, digest, record, arrival_ms) SELECT ?, ?, ?, ?, max(arrival_ms) FROM spool",
        (parts.kid, parts.event[1], parts.digest, forged),
    )
    done.forged.append(forged)
