"""Why something is not safe yet: sentences for the IT of a site. Each begins with a stable code
and says what is wrong, where, what to do next.

Decides nothing and reads no file: the status (status.py) and the running gateway (live.py) give it what they found.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

STALE_S = 60  # the gateway writes status.json each second, and at least every 36 s while its store fails


def why_gateway(status: Mapping[str, Any], live: Mapping[str, Any] | None, state_dir: Path) -> list[str]:
    why: list[str] = []
    if not status["running"]:
        since = "" if live is None else f" since {shown_time(live['time_ms'])}"
        why.append(
            f"gateway_stopped: the gateway is not running{since}; start it with `cartrace gateway run --config …`"
        )
    if status["spool_problem"]:
        why.append(status["spool_problem"])
    if live is not None and status["running"]:
        silent_s = status["unwritten_s"]
        if silent_s > STALE_S:
            why.append(
                "gateway_stalled: "
                f"the gateway runs but has not written its status for {shown_age(silent_s * 1000)}: it hangs, or its "
                f"disk refuses writes; see its log, free space on the disk of {state_dir}, or restart it"
            )
        why.extend(live.get("why", []))
    if status["set_aside"]:
        were = "was" if status["set_aside"] == 1 else "were"
        why.append(
            "copies_set_aside: "
            f"{counted(status['set_aside'], 'altered or second copy', 'altered or second copies')} of records {were} "
            f"set aside in {state_dir / 'spool.db'} (table set_aside); the archive holds the true records; show QA"
        )
    why.extend(
        f"spool_damaged: {name} holds a damaged spool; keep it until every stream is archived, then remove it"
        for name in status["damaged_files"]
    )
    return why


def why_waiting(stream: Mapping[str, Any], running: bool, live: Mapping[str, Any] | None) -> str:
    """Why no receipt covers these records yet, and what to do about it."""
    if not running:
        return "gateway_stopped: the gateway is not running, so nothing is sent to the cloud; start it"
    if live is None or "broker" not in live:
        return (
            "store_failed: "
            "nothing is sent to the cloud until the gateway serves its store; see its reason, or look again soon"
        )
    if not live["broker"]["up"]:
        return (
            "broker_down: "
            "the broker is not connected, so nothing is sent to the cloud; see the reason given for the broker"
        )
    if stream["unit"] is None:
        records, rows = ("the record is", "row") if stream["records"] == 1 else ("the records are", "rows")
        return (
            "unknown_key: "
            f"the cloud has sent no receipt for this key; it is not enrolled or {records} forged. If you know the "
            f"unit, enrol it at the control site; otherwise have the spool's {rows} examined"
        )
    if stream["receipt_seq"] > stream["archived_seq"]:
        return (
            "archived_elsewhere: "
            f"the cloud archived this stream through record {stream['receipt_seq']}, which never came through this "
            "gateway, so what is here cannot be compared; connect the unit here, or see the stream in the cloud"
        )
    resends = live.get("resends", {}).get(stream["kid"], 0)
    if resends == 0:
        return "awaiting_receipt: the records are being sent and the cloud's receipt is awaited; nothing to do yet"
    if stream["archived_seq"] >= 0:
        return (
            f"no_receipt: sent {resends + 1} times, and no receipt since {shown_time(stream['receipt_ms'])}; "
            "check that the cloud's ingest runs, and its exceptions for this unit"
        )
    if live.get("cloud_silent_ms") is None and live.get("counters", {}).get("receipts_refused", 0):
        return (
            "wrong_cloud_key: "
            f"sent {resends + 1} times; the receipts that come are not signed with the key of these settings, and "
            "nothing is deleted; compare `cloud_key` with what `cartrace cloud key` prints at the control site"
        )
    if live.get("cloud_silent_ms") is not None:
        return (
            f"not_enrolled: sent {resends + 1} times, and no receipt though the cloud answers others; "
            "enrol the unit at the control site (`cartrace gateway genesis` writes what that needs), or look for the "
            "stream in the cloud's quarantine"
        )
    return (
        "cloud_silent: "
        f"sent {resends + 1} times, and no receipt: the cloud has answered nothing since the gateway started; "
        "check that the cloud's ingest runs and that the unit is enrolled"
    )


def why_streams(status: Mapping[str, Any]) -> list[str]:
    why = []
    for stream in status["waiting"]:
        unit = "no unit with this key has spoken here" if stream["unit"] is None else f"unit {stream['unit'] or '?'}"
        code, _, sentence = stream["why"].partition(": ")
        why.append(
            f"{code}: stream {stream['kid']} ({unit}): {counted(stream['records'], 'record')}, "
            f"{shown_age(stream['oldest_age_ms'])} old: {sentence}"
        )
    unnamed = status["strangers"] - sum(stream["records"] for stream in status["waiting"] if stream["unit"] is None)
    if unnamed:
        why.append(
            "unknown_key: "
            f"{counted(unnamed, 'record')} under still other keys that no unit has spoken with here: the same"
        )
    return why


def counted(number: int, one: str, many: str | None = None) -> str:
    """number with its noun: 1 record, 2 records."""
    return f"{number} {one if number == 1 else many or one + 's'}"


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
