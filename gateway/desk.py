"""The one thread that decides: takes what ports and broker report, commits, and only then answers.

Owns the spool and every session. All that waits is committed in one transaction (group commit), acknowledgements
follow the commit, and what the cloud receipted is let go. Owns no thread, no socket and no serial line: ports and
broker are given to it, and the loop in site.py says when to work.
"""

import json
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import structlog

from gateway.errors import SpoolFullError
from gateway.mqtt import Broker, BrokerDown, BrokerEvent, BrokerUp, FromCloud
from gateway.peek import RECORD_BYTES_MAX, STORE_INT_MAX
from gateway.ports import Port, PortClosed, PortEvent, PortHeard, PortOpened
from gateway.session import Session
from gateway.settings import Settings
from gateway.spool import Row, Spool
from gateway.status import shown_age
from gateway.uplink import ASK_ROWS, After, Ask, Range, Uplink
from gateway.wants import Wants
from wire import (
    MAX_MESSAGE_BYTES,
    Clock,
    Message,
    ReceiptFrame,
    Time,
    Topics,
    Want,
    Who,
    WireError,
    decode_orders,
    decode_receipts,
    decode_wants,
    encode_records,
    order_chunks,
    verify_order,
    verify_receipt,
)

Event = PortEvent | BrokerEvent

WHO_EVERY_MS = 5_000  # a line that talks without having said hello
STATE_EVERY_MS = 2_000  # the retained state, when it changed
STATE_REFRESH_MS = 60_000
FULL_RETRY_MS = 5_000
QUIET_CLOUD_MS = 30_000  # silence after which the cloud's next word means that it is back
ENTRY_BYTES = 16  # CBOR around one record in a message: array, arrival time, length
MISSING_RANGES_MAX = 64
ROOM_CHECK_MS = 1_000
BASE_UNCERTAINTY_MS = 100  # serial line, queue and group commit between our clock and the unit's

log = structlog.get_logger("gateway")


class PortState:
    """What is known of one port: its session, and what a person may need to know about it."""

    def __init__(self, port: Port, session: Session, now_ms: int) -> None:
        self.port, self.session = port, session
        self.open = port.is_open
        self.problem: str | None = None if port.is_open else f"port {port.url} is being opened"
        self.since_ms = now_ms
        self.heard_ms: int | None = None
        self.asked_ms = now_ms


class Desk:
    """Serves one opened spool. now_ms arguments are monotonic milliseconds; wall time comes from clock."""

    def __init__(
        self, settings: Settings, spool: Spool, ports: Sequence[Port], broker: Broker, clock: Clock, now_ms: int,
        jitter: Callable[[], float] = lambda: random.uniform(0.75, 1.25),  # noqa: S311 - jitter, no secret
    ) -> None:  # fmt: skip
        self._settings, self._spool, self._broker, self._clock = settings, spool, broker, clock
        self._topics = Topics(settings.mqtt.root, settings.site, settings.gateway)
        self._ports = {port: PortState(port, Session(settings.gateway, self._time), now_ms) for port in ports}
        self._uplink = Uplink(settings.resend_ms, settings.resend_max_ms, jitter)
        self._wants = Wants()
        self._number = 0  # SPEC W61
        self._full: str | None = None
        self._full_until_ms = 0
        self._room_checked_ms = now_ms - ROOM_CHECK_MS
        self._broker_up = broker.up
        self._broker_problem: str | None = None if broker.up else f"broker {broker.where} is being connected to"
        self._broker_since_ms = self._time().time_ms
        self._heard_cloud_ms: int | None = None  # monotonic
        self._started_ms = now_ms
        self._state_sent: tuple[int, str] = (now_ms - STATE_REFRESH_MS, "")
        self._time_sent_ms = now_ms
        self.counters: Counter[str] = Counter()
        self._begin_again()

    def _begin_again(self) -> None:
        self._uplink.restart()
        for stream in self._spool.streams():
            lane = self._uplink.lane(stream.kid)
            lane.at_end, lane.slow = False, stream.archived_seq < 0
        self._uplink.lane(None).at_end = False

    def _time(self) -> Time:
        return Time(self._clock.now_ms(), round(BASE_UNCERTAINTY_MS * max(1.0, self._clock.speed)))

    # -- events

    def take(self, events: Sequence[Event], now_ms: int) -> None:
        """Commit everything that these events bring, then answer. Raises SpoolBrokenError; a full disk only silences us."""
        from_ports = [event for event in events if isinstance(event, PortOpened | PortHeard | PortClosed)]
        try:
            self._take_from_ports(from_ports, now_ms)
        except SpoolFullError as full:
            self._disk_full(str(full), now_ms)
        for event in events:
            if isinstance(event, BrokerUp):
                self._set_broker(True, None)
                self._uplink.restart()
                self._state_sent = (now_ms - STATE_REFRESH_MS, "")
            elif isinstance(event, BrokerDown):
                self._set_broker(False, event.problem)
            elif isinstance(event, FromCloud):
                try:
                    self._take_from_cloud(event, now_ms)
                except SpoolFullError as full:  # not done: it comes again
                    self._disk_full(str(full), now_ms)
                else:
                    self._broker.done(event)

    def _take_from_ports(self, events: Sequence[PortEvent], now_ms: int) -> None:
        if not events:
            return
        heard: list[PortState] = []
        replies: list[tuple[Port, Message]] = []
        arrival_ms = self._clock.now_ms()
        for event in events:
            self._note_port(self._ports[event.port], event, now_ms)
        with self._spool.transaction():
            for event in events:
                state = self._ports[event.port]
                if isinstance(event, PortHeard):
                    replies.extend(
                        (event.port, reply) for reply in self._hear(state, event.messages, arrival_ms, now_ms)
                    )
                    heard.append(state)
                else:
                    state.session.reset()
            for state in dict.fromkeys(heard):
                ack = state.session.commit(self._spool)
                if ack is not None:
                    replies.append((state.port, ack))
        for port, reply in replies:
            port.send(reply)

    def _hear(self, state: PortState, messages: Iterable[Message], arrival_ms: int, now_ms: int) -> list[Message]:
        replies: list[Message] = []
        for message in messages:
            if self._full is not None and not isinstance(message, Who):
                self.counters["unanswered_disk_full"] += 1
                continue
            heard = state.session.heard(message, self._spool, arrival_ms)
            replies.extend(heard.replies)
            if heard.welcomed and state.session.kid is not None:
                self._uplink.added(state.session.kid)
                replies.extend(self._wants.take_for_unit(state.session.kid))
            if heard.stored is not None:
                self.counters["records_stored"] += 1
                stored = heard.stored
                known = self._spool.knows(stored.kid)
                self._uplink.added(stored.kid if known else None)
                if self._wants.is_asked(stored.kid, stored.seq):
                    self._uplink.refill(stored.row)
        if state.session.kid is None and self._full is None and now_ms - state.asked_ms >= WHO_EVERY_MS:
            state.asked_ms = now_ms
            replies.append(Who())
        return replies

    def _note_port(self, state: PortState, event: PortEvent, now_ms: int) -> None:
        if isinstance(event, PortHeard):
            state.heard_ms = now_ms
            return
        problem = event.problem if isinstance(event, PortClosed) else None
        if problem != state.problem or state.open != (problem is None):
            state.since_ms = now_ms
            if problem is None:
                log.info("port_open", port=state.port.url)
            else:
                log.warning("port_closed", port=state.port.url, text=problem)
        state.open, state.problem, state.asked_ms = problem is None, problem, now_ms

    def _set_broker(self, up: bool, problem: str | None) -> None:
        if (up, problem) != (self._broker_up, self._broker_problem):
            if up:
                log.info("broker_up", broker=self._broker.where)
            else:
                log.warning("broker_down", text=problem)
            if up != self._broker_up:
                self._broker_since_ms = self._clock.now_ms()
        self._broker_up, self._broker_problem = up, problem

    # -- from the cloud

    def _take_from_cloud(self, message: FromCloud, now_ms: int) -> None:
        try:
            if message.topic == self._topics.receipts:
                self._take_receipts(decode_receipts(message.payload), now_ms)
            elif message.topic == self._topics.wants:
                self._take_wants(decode_wants(message.payload))
            elif message.topic == self._topics.orders:
                self._take_orders(decode_orders(message.payload))
        except WireError as error:
            self.counters["messages_refused"] += 1
            log.warning("message_refused", topic=message.topic, code=error.code, text=f"{error}; it changes nothing")

    def _take_receipts(self, raws: Iterable[bytes], now_ms: int) -> None:
        for raw in raws:
            try:
                receipt = verify_receipt(raw, self._settings.cloud_key)
                if receipt.seq >= STORE_INT_MAX:
                    raise WireError("wrong_shape", "seq beyond what a store can hold")
            except WireError as error:
                self.counters["receipts_refused"] += 1
                log.warning("receipt_refused", code=error.code, text=f"{error}; nothing was deleted")
                continue
            covered = self._spool.cover(receipt, self._clock.now_ms())
            self._cloud_spoke(now_ms)
            if not covered.matched:
                self.counters["receipts_unmatched"] += 1
                continue
            self.counters["records_receipted"] += len(covered.gone) - covered.set_aside
            if covered.set_aside:
                log.warning("records_set_aside", kid=receipt.kid.hex(), count=covered.set_aside,
                            text="these copies are not the archived records; see table set_aside in the spool")  # fmt: skip
            self._wants.receipted(receipt.kid, receipt.seq)
            self._uplink.answered(receipt.kid, covered.gone, self._spool.rows_of(receipt.kid), now_ms)
            self._to_unit(receipt.kid, [ReceiptFrame(raw)])

    def _cloud_spoke(self, now_ms: int) -> None:
        if self._heard_cloud_ms is None or now_ms - self._heard_cloud_ms > QUIET_CLOUD_MS:
            self._uplink.cloud_woke(now_ms)
        self._heard_cloud_ms = now_ms

    def _take_wants(self, wants: Iterable[Want]) -> None:
        for asked in wants:
            if asked.first >= STORE_INT_MAX:
                self.counters["wants_refused"] += 1
                continue
            want = Want(asked.kid, asked.first, min(asked.thru, STORE_INT_MAX - 1))
            self.counters["wants"] += 1
            self._uplink.want(want)
            self._wants.asked(want, self._spool.missing_between(want.kid, want.first, want.thru, MISSING_RANGES_MAX))
            if self._unit_of(want.kid) is not None:
                self._to_unit(want.kid, self._wants.take_for_unit(want.kid))

    def _take_orders(self, raws: Iterable[bytes]) -> None:
        for raw in raws:
            try:
                order = verify_order(raw, self._settings.cloud_key)
                if order.number >= STORE_INT_MAX:
                    raise WireError("wrong_shape", "number beyond what a store can hold")
            except WireError as error:
                self.counters["orders_refused"] += 1
                log.warning("order_refused", code=error.code, text=f"{error}; it was not passed on")
                continue
            with self._spool.transaction():
                self._spool.keep_order(order)
            if self._spool.order(order.kid) == raw:
                self._to_unit(order.kid, order_chunks(raw))

    def _unit_of(self, kid: bytes) -> PortState | None:
        return next((state for state in self._ports.values() if state.open and state.session.kid == kid), None)

    def _to_unit(self, kid: bytes, messages: Iterable[Message]) -> None:
        state = self._unit_of(kid)
        if state is not None:
            for message in messages:
                state.port.send(message)

    # -- to the cloud

    def work(self, now_ms: int) -> None:
        """Everything that time asks for: room on the disk, rows to publish, time frames, the state topic."""
        self._check_room(now_ms)
        self._publish_rows(now_ms)
        self._publish_state(now_ms)
        if now_ms - self._time_sent_ms >= self._settings.time_every_s * 1000:
            self._time_sent_ms = now_ms
            for state in self._ports.values():
                if state.session.kid is not None:
                    state.port.send(self._time())

    def _publish_rows(self, now_ms: int) -> None:
        while self._broker.room() > 1:  # one is kept for the state
            ask = self._uplink.next(now_ms)
            if ask is None:
                return
            rows = self._sendable(self._rows_for(ask))
            if not rows:
                self._uplink.nothing(ask, self._spool.newest_row())
                continue
            self._number += 1
            payload = encode_records(self._number, [(row.arrival_ms, row.record) for row in rows])
            self._broker.publish(self._topics.records, payload)
            self.counters["records_published"] += len(rows)
            self._uplink.published(ask, [row.row for row in rows], rows[-1].seq, now_ms)

    def _rows_for(self, ask: Ask) -> list[Row]:
        if isinstance(ask, Range):
            return self._spool.rows_between(ask.kid, ask.first, ask.thru, ask.limit)
        if isinstance(ask, After):
            if ask.kid is None:
                return self._spool.strangers_after(ask.row, ask.limit)
            return self._spool.rows_after(ask.kid, ask.row, ask.limit)
        return self._spool.rows_numbered(ask.rows)

    def _sendable(self, rows: Sequence[Row]) -> list[Row]:
        """As many of rows, in order, as fit into one message. What no message can carry is set aside."""
        sendable: list[Row] = []
        room_bytes = MAX_MESSAGE_BYTES - 2 * ENTRY_BYTES
        for row in rows[:ASK_ROWS]:
            if not _is_sendable(row):
                self._spool.set_aside(row, self._clock.now_ms(), "the row was altered and is no record any more")
                log.warning(
                    "row_set_aside", row=row.row, text="a row of the spool is no record any more; it was set aside"
                )
                continue
            room_bytes -= len(row.record) + ENTRY_BYTES
            if room_bytes < 0:
                break
            sendable.append(row)
        return sendable

    def _publish_state(self, now_ms: int) -> None:
        sent_ms, sent = self._state_sent
        if self._broker.room() < 1 or now_ms - sent_ms < STATE_EVERY_MS:
            return
        state = self._state()
        comparable = json.dumps({key: value for key, value in state.items() if not key.endswith("_ms")})
        if comparable == sent and now_ms - sent_ms < STATE_REFRESH_MS:
            return
        self._broker.publish(self._topics.state, json.dumps(state).encode(), retain=True)
        self._state_sent = (now_ms, comparable)

    def last_state(self) -> bytes:
        """What stays on the broker when the gateway was stopped on purpose."""
        return json.dumps(self._state() | {"online": False}).encode()

    def _state(self) -> dict[str, Any]:
        wall_ms = self._clock.now_ms()
        streams = []
        for stream in self._spool.streams():
            streams.append(
                {
                    "kid": stream.kid.hex(), "unit": stream.unit, "epoch": stream.epoch,
                    "next": max(stream.unit_next, stream.next_seq), "relayed": stream.next_seq,
                    "archived": max(stream.receipt_seq, stream.archived_seq) + 1,
                    "spooled": self._spool.rows_of(stream.kid), "connected": self._unit_of(stream.kid) is not None,
                }
            )  # fmt: skip
        oldest_ms = self._spool.oldest_arrival_ms()
        return {
            "online": True, "gateway": self._settings.gateway, "site": self._settings.site, "time_ms": wall_ms,
            "spooled": self._spool.rows, "set_aside": self._spool.set_aside_rows(), "streams": streams,
            "oldest_age_ms": None if oldest_ms is None else max(0, wall_ms - oldest_ms),
        }  # fmt: skip

    # -- room on the disk

    def _check_room(self, now_ms: int) -> None:
        """Stop storing while deleting still has room to work in; go on by itself when there is room again."""
        if now_ms - self._room_checked_ms < ROOM_CHECK_MS or now_ms < self._full_until_ms:
            return
        self._room_checked_ms = now_ms
        least_bytes = self._settings.min_free_mb * 1_000_000
        free_bytes = shutil.disk_usage(self._settings.state_dir).free + self._spool.reusable_bytes()
        if free_bytes < least_bytes:
            self._disk_full(
                f"the disk of {self._settings.state_dir} has {free_bytes // 1_000_000} MB left, less than min_free_mb = "
                f"{self._settings.min_free_mb}; records are not acknowledged until there is room: free space on it", now_ms,
            )  # fmt: skip
        elif self._full is not None:
            self._full = None
            log.info("disk_has_room")
            for state in self._ports.values():
                state.port.send(Who())

    def _disk_full(self, sentence: str, now_ms: int) -> None:
        if self._full is None:
            log.error("disk_full", text=sentence)
        self._full = sentence
        self._full_until_ms = now_ms + FULL_RETRY_MS
        for state in self._ports.values():
            state.session.reset()

    def look_for_tampering(self) -> None:
        """Another writer upsets what we count; say so, count anew and publish from the beginning."""
        if self._spool.changed_by_others():
            self.counters["foreign_writes"] += 1
            log.warning("foreign_write", text=f"another program wrote to {self._spool.path}; only the gateway may")
            self._spool.recount()
            self._begin_again()

    # -- for people

    def live(self, now_ms: int) -> dict[str, Any]:
        """The live part of the status: ports, broker, counters and why something is not safe yet."""
        return self._state() | {
            "broker": {"where": self._broker.where, "up": self._broker_up, "since_ms": self._broker_since_ms, "problem": self._broker_problem},
            "cloud_silent_ms": None if self._heard_cloud_ms is None else now_ms - self._heard_cloud_ms,
            "ports": [self._port_live(state, now_ms) for state in self._ports.values()],
            "counters": dict(self.counters) | {"retained_dropped": self._broker.retained_dropped},
            "disk_full": self._full,
            "why": self._why(now_ms),
        }  # fmt: skip

    def _port_live(self, state: PortState, now_ms: int) -> dict[str, Any]:
        session = state.session
        return {
            "url": state.port.url, "open": state.open, "problem": state.problem, "since_ms": now_ms - state.since_ms,
            "unit": session.unit or None, "kid": session.kid.hex() if session.kid else None,
            "heard_ms": None if state.heard_ms is None else now_ms - state.heard_ms,
            "noise_frames": state.port.noise, "unsent_frames": state.port.unsent,
            "refused": dict(session.refused), "refusal": session.refusal or None,
            "unit_status": None if session.status is None else {
                "used": session.status.used, "size": session.status.size, "uptime_ms": session.status.uptime_ms,
                "archived_next": session.status.archived_next, "counters": dict(session.status.counters),
            },
        }  # fmt: skip

    def _why(self, now_ms: int) -> list[str]:
        why = [] if self._full is None else [self._full]
        if self._spool.damaged is not None:
            why.append(self._spool.damaged)
        if not self._broker_up:
            why.append(f"{self._broker_problem} (since {shown_age(self._clock.now_ms() - self._broker_since_ms)})")
        for state in self._ports.values():
            if state.problem is not None:
                why.append(f"{state.problem} (since {shown_age(now_ms - state.since_ms)})")
            elif state.session.kid is None:
                why.append(
                    f"port {state.port.url} is open but no unit has said hello; check that the unit runs and its baud rate"
                )
            if state.session.refusal:
                why.append(state.session.refusal)
        if self._broker_up:
            why.extend(self._why_unanswered(now_ms))
        return why

    def _why_unanswered(self, now_ms: int) -> list[str]:
        why = []
        for stream in self._spool.streams():
            lane = self._uplink.lane(stream.kid)
            if self._spool.rows_of(stream.kid) and lane.silent:
                name = f"stream {stream.kid.hex()} of unit {stream.unit or 'unknown'}"
                if stream.archived_seq < 0 and self._heard_cloud_ms is not None:
                    why.append(
                        f"{name} has no receipt yet though the cloud answers others; enrol the unit, or look for the stream in the cloud's quarantine"
                    )
                elif stream.archived_seq < 0:
                    why.append(
                        f"{name} has no receipt yet and the cloud is silent; check that the cloud's ingest runs and that the unit is enrolled"
                    )
                else:
                    why.append(
                        f"{name}: records were sent {lane.silent + 1} times and no receipt came; check the cloud's ingest and its exceptions for this unit"
                    )
        if self._spool.stranger_rows():
            why.append(
                f"{self._spool.stranger_rows()} records carry the key of no unit seen here; look for them in the cloud's quarantine"
            )
        return why


def _is_sendable(row: Row) -> bool:
    return (
        type(row.record) is bytes and 1 <= len(row.record) <= RECORD_BYTES_MAX
        and type(row.arrival_ms) is int and row.arrival_ms >= 0 and type(row.seq) is int
    )  # fmt: skip
