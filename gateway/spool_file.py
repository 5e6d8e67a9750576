"""The spool's file: opened, checked and made so that what SQLite says is committed is on the disk.

Decides whether a file can be trusted as a store. One that cannot is set aside under a new name, never deleted, and an
empty store takes its place: units are then asked for everything that no receipt covers. Turns SQLite's errors into
SpoolFullError and SpoolBrokenError, each with one sentence.
"""

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from gateway.errors import SpoolBrokenError, SpoolFullError

SQLITE_OLDEST = (3, 51, 3)  # older ones can corrupt a database at a WAL reset
BUSY_MS = 5_000  # the status command reads beside us

_SCHEMA = """
CREATE TABLE spool(row INTEGER PRIMARY KEY AUTOINCREMENT, kid BLOB NOT NULL, seq INTEGER NOT NULL,
    digest BLOB NOT NULL, record BLOB NOT NULL, arrival_ms INTEGER NOT NULL, UNIQUE(kid, seq, digest));
CREATE INDEX spool_by_kid ON spool(kid);
CREATE TABLE streams(kid BLOB PRIMARY KEY, unit TEXT NOT NULL, epoch INTEGER NOT NULL, unit_next INTEGER NOT NULL,
    next_seq INTEGER NOT NULL, head BLOB NOT NULL, receipt_seq INTEGER NOT NULL DEFAULT -1, receipt BLOB,
    archived_seq INTEGER NOT NULL DEFAULT -1, archived_digest BLOB, receipt_ms INTEGER) WITHOUT ROWID;
CREATE TABLE orders(kid BLOB PRIMARY KEY, number INTEGER NOT NULL, raw BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE set_aside(row INTEGER PRIMARY KEY, kid BLOB NOT NULL, seq INTEGER NOT NULL, digest BLOB NOT NULL,
    record BLOB NOT NULL, arrival_ms INTEGER NOT NULL, aside_ms INTEGER NOT NULL, reason TEXT NOT NULL);
"""


# What SQLite raises when the file, the disk or the rights are wrong; its other errors would be our own mistakes.
_FATAL = (
    apsw.IOError, apsw.CorruptError, apsw.NotADBError, apsw.CantOpenError, apsw.ReadOnlyError, apsw.BusyError,
    apsw.LockedError, apsw.PermissionsError, apsw.ProtocolError, apsw.NoMemError, apsw.SQLError, apsw.InternalError,
)  # fmt: skip


def open_file(state_dir: Path, vfs: str | None, now_s: Callable[[], float]) -> tuple[apsw.Connection, Path, str | None]:
    """A connection to state_dir's store, its path, and the sentence about a damaged file that it replaces."""
    version = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
    if version < SQLITE_OLDEST:
        raise SpoolBrokenError(f"SQLite {apsw.sqlite_lib_version()} can corrupt a store; install apsw >= 3.51.3")
    path = state_dir / "spool.db"
    with named_errors(path):
        state_dir.mkdir(parents=True, exist_ok=True)
        damaged = None
        if path.exists():
            problem = _check(path, vfs)
            if problem is not None:
                damaged = _move_damaged(path, problem, now_s)
        if not path.exists():
            _create(path, vfs)
        connection = _connect(path, vfs)
        # After a failed sync the page cache may show what the disk does not hold. Copying the whole WAL into the
        # file and syncing it makes all we can see durable before anything of it is acknowledged again.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return connection, path, damaged


def _connect(path: Path, vfs: str | None) -> apsw.Connection:
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    connection = apsw.Connection(str(path), flags=flags, vfs=vfs)
    connection.set_busy_timeout(BUSY_MS)
    journal = connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA mmap_size = 0")
    synchronous = connection.execute("PRAGMA synchronous").fetchall()
    if journal != [("wal",)] or synchronous != [(2,)]:
        raise SpoolBrokenError(f"{path}: SQLite gives no WAL with synchronous=FULL here; put state_dir on a local disk")
    return connection


def _create(path: Path, vfs: str | None) -> None:
    """A new store appears under its name only when it is whole and synced."""
    fresh = path.with_name("spool.db.new")
    for leftover in _family(fresh):
        leftover.unlink(missing_ok=True)
    connection = _connect(fresh, vfs)
    try:
        connection.execute(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()
    fresh.rename(path)
    sync_directory(path.parent)
    sync_directory(path.parent.parent)


def _check(path: Path, vfs: str | None) -> str | None:
    """Why this file cannot be trusted as a store, or None."""
    connection = None
    try:
        connection = _connect(path, vfs)
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        if not {"spool", "streams", "orders", "set_aside"} <= tables:
            return "its tables are missing"
        found = connection.execute("PRAGMA quick_check(1)").fetchall()
        return None if found == [("ok",)] else f"SQLite's check says: {found[0][0]}"
    except (apsw.CorruptError, apsw.NotADBError, apsw.SQLError) as error:
        return f"SQLite says: {error}"
    finally:
        if connection is not None:
            ignoring_errors(connection.close)


def _move_damaged(path: Path, problem: str, now_s: Callable[[], float]) -> str:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_s()))
    target = path.with_name(f"spool.db.damaged-{stamp}")
    number = 1
    while target.exists():
        number += 1
        target = path.with_name(f"spool.db.damaged-{stamp}-{number}")
    for old, new in zip(_family(path), _family(target), strict=True):
        if old.exists():
            old.rename(new)
    sync_directory(path.parent)
    return (
        f"the spool was damaged ({problem}); it was set aside as {target.name}, and the units are asked for "
        "every record without a receipt; keep that file until all streams are archived"
    )


def _family(path: Path) -> list[Path]:
    return [path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")]


def sync_directory(folder: Path) -> None:
    """Make a new or renamed name in folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def ignoring_errors(call: Callable[[], object]) -> None:
    """For clearing up after an error that is already being reported."""
    try:
        call()
    except apsw.Error:
        return


@contextmanager
def named_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except apsw.FullError as error:
        raise SpoolFullError(
            f"no room for {path}; records are not acknowledged until there is: free space on its disk"
        ) from error
    except _FATAL as error:
        raise SpoolBrokenError(
            f"{path}: {type(error).__name__}: {error}; check the disk and the rights on its folder"
        ) from error
    except OSError as error:
        text = f"{path}: {error.strerror or error}; check the disk and the rights on its folder"
        raise (SpoolFullError(text) if error.errno == errno.ENOSPC else SpoolBrokenError(text)) from error
