"""What is not yet safe at this gateway, how old it is, and why.

The running gateway writes `status.json` each second; this file reads it, counts the spool over a connection of its own
that can only read, and finds out whether the gateway runs by its lock. It changes nothing.
"""

import fcntl
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import apsw

from gateway.errors import AlreadyRunningError, StateUnusableError
from gateway.reasons import counted, shown_age, why_gateway, why_streams, why_waiting
from gateway.settings import Settings
from wire import Clock

LOCK_WAITS_S = (0.1, 0.2, 0.3)  # a status command holds the lock for an instant when it looks
STRANGERS_NAMED_MAX = 20  # keys that no unit said hello with are named one by one; anybody can make up thousands


class StateLock:
    """Holds a state directory for one process; the kernel lets go of it whatever way the process ends.

    Raises StateUnusableError and AlreadyRunningError.
    """

    def __init__(self, state_dir: Path) -> None:
        try:
            state_dir.mkdir(parents=True, exist_ok=True)
            self._file = (state_dir / "lock").open("a+")
        except OSError as error:
            raise StateUnusableError(
                f"state_dir {state_dir} cannot be used ({error.strerror}); name a folder in the settings that this "
                "user may write to"
            ) from error
        for wait_s in LOCK_WAITS_S:
            if _try_lock(self._file, fcntl.LOCK_EX):
                return
            time.sleep(wait_s)
        self._file.close()
        raise AlreadyRunningError(
            f"another gateway process already serves {state_dir}; stop it first, or give this one its own state_dir"
        )

    def release(self) -> None:
        self._file.close()


def is_running(state_dir: Path) -> bool:
    try:
        with (state_dir / "lock").open("r") as lock:
            return not _try_lock(lock, fcntl.LOCK_SH)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise StateUnusableError(
            f"state_dir {state_dir} cannot be read ({error.strerror}); ask as a user who may read it"
        ) from error


def _try_lock(lock: IO[str], how: int) -> bool:
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def write_live(state_dir: Path, live: Mapping[str, Any]) -> None:
    """Replace status.json at once; a reader sees the old or the new one. Raises OSError."""
    fresh = state_dir / "status.json.new"
    fresh.write_text(json.dumps(live, indent=1), encoding="utf-8")
    fresh.replace(state_dir / "status.json")


def read_status(settings: Settings, now_ms: int | None = None) -> dict[str, Any]:
    """Everything known about this gateway, running or not; what `status --json` prints.

    Ages are in milliseconds. `waiting` names every stream that has records here, with their number, age and reason;
    `not_relayed` counts what units said they saved and the gateway has not got, in all and in each of `streams`;
    `unwritten_s` says for how many seconds status.json has stood unchanged;
    `why` lists sentences, what concerns the whole gateway first, then each of these streams; empty when all is safe.
    """
    now_ms = Clock.from_environment().now_ms() if now_ms is None else now_ms
    running = is_running(settings.state_dir)
    live = _read_live(settings.state_dir)
    if live is not None:  # a demonstration's gateway may live by a faster clock than whoever asks
        now_ms = max(now_ms, live.get("time_ms", 0))
    status: dict[str, Any] = {"gateway": settings.gateway, "site": settings.site, "running": running, "time_ms": now_ms}
    status.update(_count_spool(settings.spool_path, now_ms))
    status["damaged_files"] = sorted(path.name for path in settings.state_dir.glob("spool.db.damaged-*[Z0-9]"))
    status["live"] = live
    status["unwritten_s"] = _unwritten_s(settings.state_dir)
    for stream in status["waiting"]:
        stream["why"] = why_waiting(stream, running, live)
    status["why"] = [*why_gateway(status, live, settings.state_dir), *why_streams(status)]
    status["safe"] = not status["not_safe"] and not status["not_relayed"] and not status["why"]
    return status


def _read_live(state_dir: Path) -> dict[str, Any] | None:
    try:
        live = json.loads((state_dir / "status.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return live if isinstance(live, dict) else None


def _count_spool(path: Path, now_ms: int) -> dict[str, Any]:
    empty: dict[str, Any] = {
        "not_safe": 0,
        "not_relayed": 0,
        "oldest_age_ms": None,
        "set_aside": 0,
        "strangers": 0,
        "streams": [],
        "waiting": [],
        "spool_problem": None,
    }
    if not path.exists():
        return empty | {
            "spool_problem": (
                f"no_spool: {path.parent} holds no spool, so nothing is known of what this gateway took over; correct"
                " state_dir, or start the gateway"
            )
        }
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        connection.set_busy_timeout(2_000)
        try:
            return empty | _counts(connection, now_ms)
        finally:
            connection.close()
    except apsw.Error as error:
        return empty | {
            "spool_problem": (
                f"spool_broken: the spool {path} cannot be read ({error}); start the gateway, which checks it"
            )
        }


def _counts(connection: apsw.Connection, now_ms: int) -> dict[str, Any]:
    def found(sql: str, *values: object) -> list[Any]:
        return list(connection.execute(sql, values))

    def age(arrival: list[Any]) -> int | None:
        return max(0, now_ms - arrival[0][0]) if arrival else None

    connection.execute("BEGIN")  # every figure of one moment
    known = found(
        "SELECT kid, unit, epoch, unit_next, next_seq, receipt_seq, archived_seq, receipt_ms FROM streams "
        "ORDER BY unit, epoch"
    )
    streams, waiting = [], []
    for kid, unit, epoch, unit_next, next_seq, receipt_seq, archived_seq, receipt_ms in known:
        stream = {
            "kid": kid.hex(),
            "unit": unit,
            "epoch": epoch,
            "next": max(unit_next, next_seq),
            "relayed": next_seq,
            "not_relayed": max(0, unit_next - next_seq),
            "archived": max(receipt_seq, archived_seq) + 1,
            "spooled": found("SELECT count(*) FROM spool WHERE kid = ?", kid)[0][0],
            "oldest_age_ms": age(found("SELECT arrival_ms FROM spool WHERE kid = ? ORDER BY row LIMIT 1", kid)),
        }
        streams.append(stream)
        if stream["spooled"]:
            waiting.append(
                _waiting(stream["kid"], unit, stream["spooled"], stream["oldest_age_ms"])
                | {"receipt_seq": receipt_seq, "archived_seq": archived_seq, "receipt_ms": receipt_ms}
            )
    strangers = found(
        "SELECT lower(hex(kid)), count(*), min(arrival_ms) FROM spool WHERE kid NOT IN (SELECT kid FROM streams) "
        "GROUP BY kid ORDER BY min(row)"
    )
    waiting.extend(
        _waiting(kid, None, count, max(0, now_ms - oldest_ms))
        for kid, count, oldest_ms in strangers[:STRANGERS_NAMED_MAX]
    )
    return {
        "not_safe": found("SELECT count(*) FROM spool")[0][0],
        "not_relayed": sum(stream["not_relayed"] for stream in streams),
        "oldest_age_ms": age(found("SELECT arrival_ms FROM spool ORDER BY row LIMIT 1")),
        "set_aside": found("SELECT count(*) FROM set_aside")[0][0],
        "strangers": sum(count for _, count, _ in strangers),
        "streams": streams,
        "waiting": waiting,
    }


def _waiting(kid: str, unit: str | None, records: int, oldest_age_ms: int | None) -> dict[str, Any]:
    """One stream with records that no receipt covers; unit is None when nobody ever said hello with this key."""
    return {"kid": kid, "unit": unit, "records": records, "oldest_age_ms": oldest_age_ms}


def _unwritten_s(state_dir: Path) -> int:
    """How long ago status.json was replaced, by the computer's own clock: the demonstration's runs faster."""
    try:
        return max(0, int(time.time() - (state_dir / "status.json").stat().st_mtime))
    except OSError:
        return 0


def render(status: Mapping[str, Any]) -> str:
    """The status for a person at a terminal."""
    state = "running" if status["running"] else "NOT RUNNING"
    lines = [f"gateway {status['gateway']} at site {status['site']}: {state}"]
    if status["not_safe"]:
        age = shown_age(status["oldest_age_ms"])
        lines.append(f"not yet safe: {counted(status['not_safe'], 'record')}, the oldest for {age}")
    elif status["spool_problem"]:
        lines.append("not yet safe: not known, since the store cannot be read")
    else:
        lines.append("not yet safe: nothing; every record that was relayed is archived")
    if status["not_relayed"]:
        lines.append(f"not yet relayed: {counted(status['not_relayed'], 'record')}, saved on the unit only")
    if status["streams"]:
        lines.append(f"{'unit':<12} {'kid':<16} {'saved':>8} {'relayed':>8} {'archived':>8} {'waiting':>8}  oldest")
    lines.extend(
        f"{stream['unit'] or '?':<12} {stream['kid']:<16} {stream['next']:>8} {stream['relayed']:>8} "
        f"{stream['archived']:>8} {stream['spooled']:>8}  {shown_age(stream['oldest_age_ms'])}"
        for stream in status["streams"]
    )
    lines.extend(f"why: {sentence}" for sentence in status["why"])
    return "\n".join(lines)
