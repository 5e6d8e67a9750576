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

from gateway.errors import AlreadyRunningError
from gateway.settings import Settings
from wire import Clock

LOCK_WAITS_S = (0.1, 0.2, 0.3)  # a status command holds the lock for an instant when it looks


class StateLock:
    """Holds a state directory for one process; the kernel lets go of it whatever way the process ends."""

    def __init__(self, state_dir: Path) -> None:
        state_dir.mkdir(parents=True, exist_ok=True)
        self._file = (state_dir / "lock").open("a+")
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
    path = state_dir / "lock"
    if not path.exists():
        return False
    with path.open("r") as lock:
        return not _try_lock(lock, fcntl.LOCK_SH)


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

    Ages are in milliseconds. `why` lists sentences, the weightiest first; it is empty when all is safe.
    """
    now_ms = Clock.from_environment().now_ms() if now_ms is None else now_ms
    running = is_running(settings.state_dir)
    live = _read_live(settings.state_dir)
    status: dict[str, Any] = {"gateway": settings.gateway, "site": settings.site, "running": running, "time_ms": now_ms}
    status.update(_count_spool(settings.spool_path, now_ms))
    status["damaged_files"] = sorted(path.name for path in settings.state_dir.glob("spool.db.damaged-*[Z0-9]"))
    status["live"] = live
    status["why"] = _why(status, live, settings)
    status["safe"] = not status["not_safe"] and not status["why"]
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
        "oldest_age_ms": None,
        "set_aside": 0,
        "strangers": 0,
        "streams": [],
        "spool_problem": None,
    }
    if not path.exists():
        return empty
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        connection.set_busy_timeout(2_000)
        try:
            return empty | _counts(connection, now_ms)
        finally:
            connection.close()
    except apsw.Error as error:
        return empty | {
            "spool_problem": f"the spool {path} cannot be read ({error}); start the gateway, which checks it"
        }


def _counts(connection: apsw.Connection, now_ms: int) -> dict[str, Any]:
    def found(sql: str, *values: object) -> list[Any]:
        return list(connection.execute(sql, values))

    def age(arrival: list[Any]) -> int | None:
        return max(0, now_ms - arrival[0][0]) if arrival else None

    streams = [
        {
            "kid": kid.hex(),
            "unit": unit,
            "epoch": epoch,
            "next": max(unit_next, next_seq),
            "relayed": next_seq,
            "archived": max(receipt_seq, archived_seq) + 1,
            "spooled": found("SELECT count(*) FROM spool WHERE kid = ?", kid)[0][0],
            "oldest_age_ms": age(found("SELECT arrival_ms FROM spool WHERE kid = ? ORDER BY row LIMIT 1", kid)),
        }
        for kid, unit, epoch, unit_next, next_seq, receipt_seq, archived_seq in found(
            "SELECT kid, unit, epoch, unit_next, next_seq, receipt_seq, archived_seq FROM streams ORDER BY unit, epoch"
        )
    ]
    rows = found("SELECT count(*) FROM spool")[0][0]
    return {
        "not_safe": rows,
        "oldest_age_ms": age(found("SELECT arrival_ms FROM spool ORDER BY row LIMIT 1")),
        "set_aside": found("SELECT count(*) FROM set_aside")[0][0],
        "strangers": rows - sum(stream["spooled"] for stream in streams),
        "streams": streams,
    }


def _why(status: Mapping[str, Any], live: Mapping[str, Any] | None, settings: Settings) -> list[str]:
    why: list[str] = []
    if not status["running"]:
        since = "" if live is None else f" since {shown_time(live['time_ms'])}"
        why.append(f"the gateway is not running{since}; start it with `python -m gateway run --config …`")
    if status["spool_problem"]:
        why.append(status["spool_problem"])
    if live is not None and status["running"]:
        why.extend(live.get("why", []))
    if status["set_aside"]:
        why.append(
            f"{status['set_aside']} altered or second copies of records were set aside in {settings.spool_path} "
            "(table set_aside); the archive holds the true records; show them to QA"
        )
    why.extend(
        f"{name} holds a damaged spool; keep it until every stream is archived, then remove it"
        for name in status["damaged_files"]
    )
    return why


def shown_time(time_ms: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time_ms / 1000))


def shown_age(age_ms: int | None) -> str:
    if age_ms is None:
        return "-"
    seconds = age_ms // 1000
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 7200:
        return f"{seconds // 60} min"
    return f"{seconds // 3600} h" if seconds < 172_800 else f"{seconds // 86_400} d"


def render(status: Mapping[str, Any]) -> str:
    """The status for a person at a terminal."""
    state = "running" if status["running"] else "NOT RUNNING"
    lines = [f"gateway {status['gateway']} at site {status['site']}: {state}"]
    if status["not_safe"]:
        lines.append(f"not yet safe: {status['not_safe']} records, the oldest for {shown_age(status['oldest_age_ms'])}")
    else:
        lines.append("not yet safe: nothing; every record that was relayed is archived")
    if status["streams"]:
        lines.append(f"{'unit':<12} {'kid':<16} {'saved':>8} {'relayed':>8} {'archived':>8} {'waiting':>8}  oldest")
    lines.extend(
        f"{stream['unit'] or '?':<12} {stream['kid']:<16} {stream['next']:>8} {stream['relayed']:>8} "
        f"{stream['archived']:>8} {stream['spooled']:>8}  {shown_age(stream['oldest_age_ms'])}"
        for stream in status["streams"]
    )
    lines.extend(f"why: {sentence}" for sentence in status["why"])
    return "\n".join(lines)
