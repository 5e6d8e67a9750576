"""What the running gateway says about itself: the retained state topic, and the live part of the status.

Decides nothing. Every reason in `why` concerns the whole gateway and is one sentence: what is wrong, where, what to do
next. Reasons of single streams are found where the status is read (reasons.py), from `resends` and the spool.
"""

from typing import TYPE_CHECKING, Any

from gateway.reasons import shown_age, shown_time
from wire import Status

if TYPE_CHECKING:
    from gateway.desk import Desk, PortState


def state_topic(desk: "Desk") -> dict[str, Any]:
    """The JSON object of SPEC section 9's state topic. next, relayed and archived count records of the stream."""
    spool, wall_ms = desk.spool, desk.clock.now_ms()
    oldest_ms = spool.oldest_arrival_ms()
    return {
        "online": True,
        "gateway": desk.settings.gateway,
        "site": desk.settings.site,
        "time_ms": wall_ms,
        "spooled": spool.rows,
        "oldest_age_ms": None if oldest_ms is None else max(0, wall_ms - oldest_ms),
        "set_aside": spool.set_aside_rows(),
        "streams": [
            {
                "kid": stream.kid.hex(),
                "unit": stream.unit,
                "epoch": stream.epoch,
                "next": max(stream.unit_next, stream.next_seq),
                "relayed": stream.next_seq,
                "archived": max(stream.receipt_seq, stream.archived_seq) + 1,
                "spooled": spool.rows_of(stream.kid),
                "connected": desk.unit_of(stream.kid) is not None,
            }
            for stream in spool.streams()
        ],
    }


def live_status(desk: "Desk", now_ms: int) -> dict[str, Any]:
    """What status.json holds: the state topic, and ports, broker, counters and reasons. Ages and `_ms` in ms."""
    return state_topic(desk) | {
        "broker": {
            "where": desk.broker.where,
            "up": desk.line.up,
            "problem": desk.line.problem,
            "since_ms": desk.line.since_ms,
        },
        "cloud_silent_ms": None if desk.heard_cloud_ms is None else now_ms - desk.heard_cloud_ms,
        "ports": [_port(state, now_ms) for state in desk.ports.values()],
        "counters": dict(desk.all_counters()),
        "disk_full": desk.full,
        "resends": {stream.kid.hex(): desk.uplink.lane(stream.kid).silent for stream in desk.spool.streams()},
        "why": _why(desk, now_ms),
    }


def _port(state: "PortState", now_ms: int) -> dict[str, Any]:
    session, unit_status = state.session, state.session.status
    return {
        "url": state.port.url,
        "open": state.open,
        "problem": state.problem,
        "age_ms": now_ms - state.since_ms,
        "unit": session.unit or None,
        "kid": session.kid.hex() if session.kid else None,
        "silent_ms": None if state.heard_ms is None else now_ms - state.heard_ms,
        "noise_frames": state.port.noise,
        "unsent_frames": state.port.unsent,
        "refused": dict(session.refused),
        "refusal": session.refusal or None,
        "unit_status": None
        if unit_status is None
        else {
            "used": unit_status.used,
            "size": unit_status.size,
            "uptime_ms": unit_status.uptime_ms,
            "archived_next": unit_status.archived_next,
            "counters": dict(unit_status.counters),
        },
    }


def _why(desk: "Desk", now_ms: int) -> list[str]:
    why = [] if desk.full is None else [f"disk_full: {desk.full}"]
    if not desk.line.up:
        age = shown_age(desk.clock.now_ms() - desk.line.since_ms)
        why.append(f"{desk.line.problem} (down since {shown_time(desk.line.since_ms)}, for {age})")
    for state in desk.ports.values():
        why.extend(_why_port(state, now_ms))
    return why


def _why_port(state: "PortState", now_ms: int) -> list[str]:
    why = []
    if state.problem is not None:
        why.append(f"{state.problem} (for {shown_age(now_ms - state.since_ms)})")
    elif state.session.kid is None:
        why.append(
            "unit_silent: "
            f"port {state.port.url} is open but no unit has said hello (for {shown_age(now_ms - state.since_ms)}); "
            "check that the unit has power and runs, and `baud` in the settings"
        )
    if state.session.status is not None:
        why += _why_unit(f"unit {state.session.unit} at port {state.port.url}", state.session.status)
    if state.session.refusal:
        why.append(f"hello_refused: {state.session.refusal}")
    return why


def _why_unit(unit: str, status: Status) -> list[str]:
    """What a unit says of itself that somebody must see to. It is no proof: a status is not signed."""
    counters = status.counters
    why = []
    if counters.get("set_back", 0):
        why.append(
            "unit_set_back: "
            f"{unit} has lost records that the cloud has, and records nothing more (SPEC W59); let what it still holds "
            "be archived, erase its flash, and enrol it anew with the next epoch"
        )
    elif not status.archived_next and counters.get("refused_receipts", 0):
        why.append(
            "unit_refuses_cloud: "
            f"{unit} refuses every receipt: the cloud's key in its "
            "enrolment letter is another one; compare it with what `cartrace cloud key` prints, and enrol the unit anew"
        )
    if counters.get("worn", 0):
        why.append(
            "unit_worn: "
            f"{unit} can no longer write down what is archived: its flash is worn, and its journal will fill up; "
            "replace the unit once its records are archived"
        )
    return why
