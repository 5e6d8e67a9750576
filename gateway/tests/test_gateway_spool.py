"""The spool under kill -9, failing disks, damage and tampering: what was acknowledged is there, or named as missing."""

import hashlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from gateway.errors import SpoolBrokenError, SpoolFullError
from gateway.spool import Spool, Stream, open_spool
from gateway.tests.standins import CLOUD_KEY
from gateway.tests.standins import Stream as Records
from wire import FIRST_PREV, verify_receipt


def keep_all(spool: Spool, kid: bytes, raws: list[bytes], first: int = 0) -> None:
    with spool.transaction():
        for seq, raw in enumerate(raws, first):
            spool.keep(kid, seq, raw, 1000 + seq)


def held(spool: Spool, kid: bytes) -> list[bytes]:
    return [row.record for row in spool.rows_between(kid, 0, 2**62, 100_000)]


@pytest.fixture
def records() -> Records:
    stream = Records("spool")
    stream.write(30)
    return stream


def test_it_is_opened_so_that_a_commit_is_on_the_disk(tmp_path: Path) -> None:
    spool = open_spool(tmp_path / "state")
    assert spool._one("PRAGMA synchronous") == 2
    assert spool._all("PRAGMA journal_mode") == [("wal",)]
    assert spool._one("PRAGMA mmap_size") == 0


def test_an_old_sqlite_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.40.1")
    with pytest.raises(SpoolBrokenError, match=r"install apsw >= 3\.51\.3"):
        open_spool(tmp_path)


def test_the_same_bytes_are_stored_once_and_other_bytes_beside_them(tmp_path: Path, records: Records) -> None:
    spool = open_spool(tmp_path)
    other = records.sign(3, FIRST_PREV, "another record")
    keep_all(spool, records.kid, records.records)
    keep_all(spool, records.kid, records.records)
    keep_all(spool, records.kid, [other], first=3)
    assert sorted(held(spool, records.kid)) == sorted([*records.records, other])


KEEPER = """
import sys
from pathlib import Path
from gateway.spool import open_spool
from gateway.tests.standins import Stream
stream = Stream("killed")
spool = open_spool(Path(sys.argv[1]))
stream.write(int(sys.argv[2]))
seq = spool._one("SELECT coalesce(max(seq) + 1, 0) FROM spool")
while True:
    group = stream.write(seq % 7 + 1) if seq == len(stream.records) else stream.records[seq:seq + 3]
    with spool.transaction():
        for raw in group:
            spool.keep(stream.kid, seq, raw, 1)
            seq += 1
    print(seq, flush=True)
"""


@pytest.mark.slow
def test_kill_9_at_any_moment_loses_nothing_acknowledged(tmp_path: Path) -> None:
    acked = 0
    for turn in range(8):
        keeper = subprocess.Popen(
            [sys.executable, "-c", KEEPER, str(tmp_path / "state"), str(acked + 1)], stdout=subprocess.PIPE, text=True
        )
        assert keeper.stdout is not None
        assert keeper.stdout.readline()  # it works before it dies
        time.sleep(0.011 * turn)
        os.kill(keeper.pid, signal.SIGKILL)
        rest = keeper.stdout.read().split("\n")
        keeper.wait()
        acked = max([acked, *(int(line) for line in rest[:-1] if line)])
        spool = open_spool(tmp_path / "state")
        seqs = [seq for (seq,) in spool._all("SELECT seq FROM spool ORDER BY seq")]
        spool.close()
        assert len(seqs) >= acked
        assert seqs == list(range(len(seqs)))  # whole groups, in order


class FailingFile(apsw.VFSFile):
    """A file whose VFS fails at the N-th write, sync or truncation of the whole run."""

    def __init__(self, vfs: "FailingDisk", name: Any, flags: Any) -> None:
        super().__init__(vfs.base_name, name, flags)
        self._vfs = vfs

    def xWrite(self, content: bytes, offset: int) -> None:  # noqa: N802 - apsw's name
        self._vfs.operation()
        super().xWrite(content, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._vfs.operation()
        super().xSync(flags)

    def xTruncate(self, size: int) -> None:  # noqa: N802
        self._vfs.operation()
        super().xTruncate(size)


class FailingDisk(apsw.VFS):
    """The default VFS, failing once or from then on with an error of choice."""

    def __init__(self, name: str, error: type[Exception], *, for_ever: bool) -> None:
        self.base_name = ""
        self.fail_at: int | None = None
        self.operations = 0
        self._error, self._for_ever = error, for_ever
        super().__init__(name, "")

    def xOpen(self, name: Any, flags: Any) -> FailingFile:  # noqa: N802
        return FailingFile(self, name, flags)

    def operation(self) -> None:
        self.operations += 1
        if self.fail_at is None:
            return
        if self.operations == self.fail_at or (self._for_ever and self.operations > self.fail_at):
            raise self._error("injected")


def story(state: Path, vfs: str, records: Records, sentences: list[str]) -> list[bytes]:
    """Open, keep, let go, keep: the records that a caller would have acknowledged and that no receipt covers."""
    acked: list[bytes] = []
    spool = None
    try:
        spool = open_spool(state, vfs=vfs)
        for first in range(0, 30, 6):
            with spool.transaction():
                for seq in range(first, first + 6):
                    spool.keep(records.kid, seq, records.records[seq], seq)
            acked.extend(records.records[first : first + 6])
            if first == 12:
                spool.cover(verify_receipt(records.receipt(9), CLOUD_KEY), 1)
    except (SpoolFullError, SpoolBrokenError) as error:
        sentences.append(str(error))
    finally:
        if spool is not None:
            with_error_ignored(spool)
    return acked


def with_error_ignored(spool: Spool) -> None:
    try:
        spool.close()
    except (SpoolFullError, SpoolBrokenError):
        return


@pytest.fixture
def memory_path() -> Iterator[Path]:
    """A folder in memory where there is one: these tests count operations, and real syncs only make them slow."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@pytest.mark.parametrize("error", [apsw.FullError, apsw.IOError])
@pytest.mark.parametrize("for_ever", [False, True])
def test_a_disk_that_fails_at_any_operation_never_loses_what_was_acknowledged(
    memory_path: Path, records: Records, error: type[Exception], for_ever: bool
) -> None:
    disk = FailingDisk(f"failing-{error.__name__}-{for_ever}", error, for_ever=for_ever)
    name = f"failing-{error.__name__}-{for_ever}"
    everything = story(memory_path / "calm", name, records, [])
    assert len(everything) == 30
    operations = disk.operations
    assert operations > 40
    sentences: list[str] = []
    for fail_at in range(1, operations + 1):
        state = memory_path / f"state-{fail_at}"
        disk.operations, disk.fail_at = 0, fail_at
        acked = story(state, name, records, sentences)
        disk.fail_at = None
        spool = open_spool(state)
        there = held(spool, records.kid)
        stream = spool.stream(records.kid)
        covered = -1 if stream is None else stream.archived_seq
        assert covered in (-1, 9)
        assert set(acked) <= set(there) | set(records.records[: covered + 1])
        assert len(there) == len(set(there))
        assert spool.damaged is None
        spool.close()
        shutil.rmtree(state)
    assert len(sentences) > operations // 2, "most failures must have been noticed"
    assert all("; " in sentence for sentence in sentences), "each says what to do next"


def test_a_damaged_file_is_set_aside_and_never_deleted(tmp_path: Path, records: Records) -> None:
    spool = open_spool(tmp_path)
    keep_all(spool, records.kid, records.records)
    spool.close()
    whole = (tmp_path / "spool.db").read_bytes()
    pages = len(whole) // 4096
    for page in range(pages):
        for damage in (bytes(4096), bytes(byte ^ 0xFF for byte in whole[page * 4096 : page * 4096 + 4096])):
            for path in tmp_path.glob("spool.db*"):
                path.unlink()
            (tmp_path / "spool.db").write_bytes(whole[: page * 4096] + damage + whole[page * 4096 + 4096 :])
            spool = open_spool(tmp_path, now_s=lambda: 0.0)
            if spool.damaged is None:
                assert sum(raw in records.records for raw in held(spool, records.kid)) == 30, f"page {page}"
            else:
                assert "set aside as spool.db.damaged-19700101T000000Z" in spool.damaged
                assert (tmp_path / "spool.db.damaged-19700101T000000Z").stat().st_size == len(whole)
                assert spool.rows == 0
                keep_all(spool, records.kid, records.records[:1])
            spool.close()


@pytest.mark.parametrize("content", [b"", b"this is no database" * 400])
def test_a_file_that_is_no_store_is_set_aside(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "spool.db").write_bytes(content)
    spool = open_spool(tmp_path)
    assert spool.damaged is not None
    assert len(list(tmp_path.glob("spool.db.damaged-*"))) == 1
    assert spool.rows == 0


def receipt_of(records: Records, seq: int, **changes: Any) -> Any:
    return verify_receipt(records.receipt(seq, **changes), CLOUD_KEY)


def test_a_receipt_lets_go_of_what_it_covers_and_no_more(tmp_path: Path, records: Records) -> None:
    spool = open_spool(tmp_path)
    keep_all(spool, records.kid, records.records)
    assert spool.cover(receipt_of(records, 9), 5).gone == tuple(range(10, 0, -1))
    assert held(spool, records.kid) == records.records[10:]
    assert spool.cover(receipt_of(records, 9), 5).gone == ()
    assert spool.cover(receipt_of(records, 29), 5).matched
    assert held(spool, records.kid) == []
    assert spool.rows == 0


@pytest.mark.parametrize("seq", [12, 29])
def test_a_receipt_with_another_digest_lets_nothing_go(tmp_path: Path, records: Records, seq: int) -> None:
    spool = open_spool(tmp_path)
    keep_all(spool, records.kid, records.records)
    assert not spool.cover(receipt_of(records, seq, digest=b"\1" * 32), 5).matched
    assert held(spool, records.kid) == records.records


def test_what_came_again_after_its_receipt_goes_with_one_that_names_it(tmp_path: Path, records: Records) -> None:
    spool = open_spool(tmp_path)
    keep_all(spool, records.kid, records.records)
    spool.cover(receipt_of(records, 20), 5)
    keep_all(spool, records.kid, records.records[3:11], first=3)  # refilled: the cloud asked for them again
    assert not spool.cover(receipt_of(records, 15), 5).matched  # names nothing that is here
    assert spool.cover(receipt_of(records, 20), 5, published_thru=1000).gone == ()
    assert held(spool, records.kid) == [*records.records[3:11], *records.records[21:]]
    assert len(spool.cover(receipt_of(records, 10), 5).gone) == 8
    assert held(spool, records.kid) == records.records[21:]
    stream = spool.stream(records.kid)
    assert stream is not None
    assert stream.archived_seq == 20


def test_another_record_that_came_after_a_receipt_waits_for_one_of_its_own(tmp_path: Path, records: Records) -> None:
    """The unit was set back and wrote seq 8 again: the broker may have lost it, and it is for the cloud to judge."""
    spool = open_spool(tmp_path)
    keep_all(spool, records.kid, records.records[:10])
    spool.cover(receipt_of(records, 9), 5)
    anew = records.sign(8, hashlib.sha256(records.records[7]).digest(), "written anew")
    keep_all(spool, records.kid, [anew], first=8)
    assert spool.cover(receipt_of(records, 9), 5, published_thru=1000).gone == ()
    assert held(spool, records.kid) == [anew]
    assert not spool.cover(receipt_of(records, 8), 5).matched  # of the record that it was at first
    assert held(spool, records.kid) == [anew]
    of_its_own = receipt_of(records, 8, digest=hashlib.sha256(anew).digest())
    assert len(spool.cover(of_its_own, 5).gone) == 1
    assert held(spool, records.kid) == []


def test_a_receipt_of_another_stream_lets_nothing_go(tmp_path: Path, records: Records) -> None:
    other = Records("another unit")
    other.write(30)
    spool = open_spool(tmp_path)
    keep_all(spool, records.kid, records.records)
    assert not spool.cover(receipt_of(other, 29), 5).matched
    assert held(spool, records.kid) == records.records


def test_altered_and_second_copies_leave_only_by_being_set_aside(tmp_path: Path, records: Records) -> None:
    spool = open_spool(tmp_path)
    altered = records.sign(5, FIRST_PREV, "altered")
    keep_all(spool, records.kid, [*records.records[:5], altered, *records.records[6:10]])
    assert not spool.cover(receipt_of(records, 5), 5).matched  # the true record 5 is not here
    assert len(held(spool, records.kid)) == 10
    keep_all(spool, records.kid, [records.records[5]], first=5)
    covered = spool.cover(receipt_of(records, 9), 5)
    assert (len(covered.gone), covered.set_aside) == (11, 1)
    assert held(spool, records.kid) == []
    found = spool._all("SELECT record, reason FROM set_aside")
    assert found == [(altered, "the cloud archived another record at this position")]


def test_a_second_copy_that_the_cloud_never_saw_stays_until_it_was_sent(tmp_path: Path, records: Records) -> None:
    spool = open_spool(tmp_path)
    second = records.sign(5, FIRST_PREV, "equivocation")
    keep_all(spool, records.kid, records.records)
    keep_all(spool, records.kid, [second], first=5)
    assert spool.cover(receipt_of(records, 9), 5, published_thru=30).set_aside == 0
    assert held(spool, records.kid) == [second, *records.records[10:]]
    assert spool.cover(receipt_of(records, 12), 5, published_thru=30).matched
    assert held(spool, records.kid) == [second, *records.records[13:]]
    keep_all(spool, records.kid, [records.records[5]], first=5)  # sent again by the unit
    assert spool.cover(receipt_of(records, 14), 5, published_thru=32).set_aside == 2  # which is which cannot be said
    assert held(spool, records.kid) == records.records[15:]


def test_a_row_that_was_altered_in_place_does_not_pass_for_its_record(tmp_path: Path, records: Records) -> None:
    spool = open_spool(tmp_path)
    keep_all(spool, records.kid, records.records[:3])
    with spool.transaction():
        spool._run("UPDATE spool SET record = ? WHERE seq = 1", b"altered, with the digest of the true record")
    assert not spool.cover(receipt_of(records, 1), 5).matched
    keep_all(spool, records.kid, [records.records[1]], first=1)
    assert held(spool, records.kid) == records.records[:3]
    assert spool.set_aside_rows() == 1


def test_a_record_missing_in_the_spool_does_not_hold_up_the_rest(tmp_path: Path, records: Records) -> None:
    spool = open_spool(tmp_path)
    keep_all(spool, records.kid, records.records[:20])
    with spool.transaction():
        spool._run("DELETE FROM spool WHERE seq IN (4, 11)")
    assert spool.missing_between(records.kid, 2, 22, 9) == [(4, 4), (11, 11), (20, 22)]
    assert spool.missing_between(records.kid, 2, 22, 2) == [(4, 4), (11, 22)]
    spool.recount()
    assert len(spool.cover(receipt_of(records, 19), 5).gone) == 18
    assert (spool.rows, spool.set_aside_rows()) == (0, 0)


def test_a_long_backlog_is_let_go_in_several_transactions(tmp_path: Path) -> None:
    stream = Records("long")
    stream.write(2500)
    spool = open_spool(tmp_path)
    keep_all(spool, stream.kid, stream.records)
    assert len(spool.cover(receipt_of(stream, 2400), 5).gone) == 2401
    assert held(spool, stream.kid) == stream.records[2401:]


def test_counts_follow_commits_only(tmp_path: Path, records: Records) -> None:
    spool = open_spool(tmp_path)
    with pytest.raises(SpoolBrokenError), spool.transaction():
        _ = spool.keep(records.kid, 0, records.records[0], 1), spool._connection.execute("this is no SQL")
    assert (spool.rows, held(spool, records.kid)) == (0, [])
    keep_all(spool, records.kid, records.records[:4])
    assert (spool.rows, spool.stranger_rows(), spool.rows_of(records.kid)) == (4, 4, 0)
    with spool.transaction():
        spool.keep(records.kid, 4, records.records[4], 1)
        spool.save_stream(Stream(records.kid, "U-01", 1, 4, 0, b""))
    assert (spool.rows, spool.stranger_rows(), spool.rows_of(records.kid)) == (5, 0, 5)
    assert not spool.changed_by_others()
    with sqlite3.connect(tmp_path / "spool.db") as meddler:
        meddler.execute("DELETE FROM spool WHERE seq = 2")
    meddler.close()
    assert spool.changed_by_others()
    spool.recount()
    assert (spool.rows, spool.rows_of(records.kid)) == (4, 4)
