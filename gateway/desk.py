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
from dataclasses import dataclass

import structlog

from gateway.errors import SpoolFullError
from gateway.live import state_topic
from gateway.mqtt import Broker, BrokerDown, BrokerEvent, BrokerUp, FromCloud
from gateway.outbound import Outbound
from gateway.peek import STORE_INT_MAX
from gateway.ports import Outgoing, Port, PortClosed, PortEvent, PortHeard, PortOpened
from gateway.session import Session
from gateway.settings import Settings
from gateway.spool import Spool
from gateway.uplink import Uplink
from gateway.wants import Wants
from wire import (
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
MISSING_RANGES_MAX = 64
ROOM_CHECK_MS = 1_000
BASE_UNCERTAINTY_MS = 100  # serial line, queue and group commit between our clock and the unit's

log = structlog.get_logger("gateway")


class PortState:
    """What is known of one port: its session, and what a person may need to know about it."""

    def __init__(self, port: Port, session: Session, now_ms: int) -> None:
        self.port, self.session = port, session
        self.open = port.is_open
        self.problem: str | None = None if port.is_open else f"port_opening: port {port.url} is being opened"
        self.since_ms = now_ms
        self.heard_ms: int | None = None
        self.asked_ms = now_ms


@dataclass(frozen=True)
class Line:
    """The connection to the broker, and since when (wall ms) it is as it is."""

    up: bool
    problem: str | None
    since_ms: int


class Desk:
    """Serves one opened spool. now_ms arguments are monotonic milliseconds; wall time comes from clock."""

    def __init__(
        self, settings: Settings, spool: Spool, ports: Sequence[Port], broker: Broker, clock: Clock, now_ms: int,
        jitter: Callable[[], float] = lambda: random.uniform(0.75, 1.25),  # noqa: S311 - jitter, no secret
    ) -> None:  # fmt: skip
        self.settings, self.spool, self.broker, self.clock = settings, spool, broker, clock
        self._topics = Topics(settings.mqtt.root, settings.site, settings.gateway)
        self.ports = {port: PortState(port, Session(settings.gateway, self._time), now_ms) for port in ports}
        self.uplink = Uplink(settings.resend_ms, settings.resend_max_ms, jitter)
        self._wants = Wants()
        self._outbound = Outbound(self._topics.records, spool, self.uplink, broker, clock)
        self.full: str | None = None
        self._full_until_ms = 0
        self._room_checked_ms = now_ms - ROOM_CHECK_MS
        problem = None if broker.up else f"broker_connecting: broker {broker.where} is being connected to"
        self.line = Line(broker.up, problem, clock.now_ms())
        self.heard_cloud_ms: int | None = None  # monotonic
        self._state_sent: tuple[int, str] = (now_ms - STATE_REFRESH_MS, "")
        self._time_sent_ms = now_ms
        self.counters: Counter[str] = Counter()
        self._begin_again()

    def _begin_again(self) -> None:
        self.uplink.restart()
        for stream in self.spool.streams():
            lane = self.uplink.lane(stream.kid)
            lane.at_end, lane.slow = False, stream.archived_seq < 0
        self.uplink.lane(None).at_end = False

    def _time(self) -> Time:
        return Time(self.clock.now_ms(), round(BASE_UNCERTAINTY_MS * max(1.0, self.clock.speed)))

    # -- events

    def take(self, events: Sequence[Event], now_ms: int) -> None:
        """Commit everything that these events bring, then answer.

        Raises SpoolBrokenError; a full disk only silences us.
        """
        from_ports = [event for event in events if isinstance(event, PortOpened | PortHeard | PortClosed)]
        try:
            self._take_from_ports(from_ports, now_ms)
        except SpoolFullError as full:
            self._disk_full(str(full), now_ms)
        for event in events:
            if isinstance(event, BrokerUp):
                self._set_line(True, None)
                self.uplink.restart()
                self._state_sent = (now_ms - STATE_REFRESH_MS, "")
            elif isinstance(event, BrokerDown):
                self._set_line(False, event.problem)
            elif isinstance(event, FromCloud):
                try:
                    self._take_from_cloud(event, now_ms)
                except SpoolFullError as full:  # not done: it comes again
                    self._disk_full(str(full), now_ms)
                else:
                    self.broker.done(event)

    def _take_from_ports(self, events: Sequence[PortEvent], now_ms: int) -> None:
        if not events:
            return
        heard: list[PortState] = []
        replies: list[tuple[Port, Outgoing]] = []
        arrival_ms = self.clock.now_ms()
        for event in events:
            self._note_port(self.ports[event.port], event, now_ms)
        with self.spool.transaction():
            for event in events:
                state = self.ports[event.port]
                if isinstance(event, PortHeard):
                    replies.extend(
                        (event.port, reply) for reply in self._hear(state, event.messages, arrival_ms, now_ms)
                    )
                    heard.append(state)
                else:
                    state.session.reset()
            for state in dict.fromkeys(heard):
                ack = state.session.commit(self.spool)
                if ack is not None:
                    replies.append((state.port, ack))
        for port, reply in replies:
            port.send(reply)

    def _hear(self, state: PortState, messages: Iterable[Message], arrival_ms: int, now_ms: int) -> list[Outgoing]:
        replies: list[Outgoing] = []
        for message in messages:
            if self.full is not None and not isinstance(message, Who):
                self.counters["unanswered_disk_full"] += 1
                continue
            heard = state.session.heard(message, self.spool, arrival_ms)
            replies.extend(heard.replies)
            if heard.welcomed and state.session.kid is not None:
                self.uplink.added(state.session.kid)
                replies.extend(self._wants.take_for_unit(state.session.kid))
            if heard.stored is not None:
                self.counters["records_stored"] += 1
                stored = heard.stored
                known = self.spool.knows(stored.kid)
                self.uplink.added(stored.kid if known else None)
                if self._wants.is_asked(stored.kid, stored.seq):
                    self.uplink.refill(stored.row)
        if state.session.kid is None and self.full is None and now_ms - state.asked_ms >= WHO_EVERY_MS:
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
            if problem is not None:
                log.warning("port_closed", port=state.port.url, text=problem)
        if problem is None:
            log.info("port_open", port=state.port.url)
        state.open, state.problem, state.asked_ms = problem is None, problem, now_ms

    def _set_line(self, up: bool, problem: str | None) -> None:
        if (up, problem) == (self.line.up, self.line.problem):
            return
        if up:
            log.info("broker_up", broker=self.broker.where)
        else:
            log.warning("broker_down", text=problem)
        since_ms = self.line.since_ms if up == self.line.up else self.clock.now_ms()
        self.line = Line(up, problem, since_ms)

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
                receipt = verify_receipt(raw, self.settings.cloud_key)
                if receipt.seq >= STORE_INT_MAX:
                    raise WireError("wrong_shape", "seq beyond what a store can hold")
            except WireError as error:
                self.counters["receipts_refused"] += 1
                log.warning("receipt_refused", code=error.code, text=f"{error}; nothing was deleted")
                continue
            published_thru = self.uplink.lane(receipt.kid).published_thru if self.spool.knows(receipt.kid) else None
            covered = self.spool.cover(receipt, self.clock.now_ms(), published_thru)
            self._cloud_spoke(now_ms)
            if not covered.matched:
                self.counters["receipts_unmatched"] += 1
                continue
            self.counters["records_receipted"] += len(covered.gone) - covered.set_aside
            if covered.set_aside:
                text = f"{covered.set_aside} copies are not the archived records; see table set_aside in the spool"
                log.warning("records_set_aside", kid=receipt.kid.hex(), text=text)
            self._wants.receipted(receipt.kid, receipt.seq)
            self.uplink.answered(receipt.kid, covered.gone, self.spool.rows_of(receipt.kid), now_ms)
            self._to_unit(receipt.kid, [ReceiptFrame(raw)])

    def _cloud_spoke(self, now_ms: int) -> None:
        if self.heard_cloud_ms is None or now_ms - self.heard_cloud_ms > QUIET_CLOUD_MS:
            self.uplink.cloud_woke(now_ms)
        self.heard_cloud_ms = now_ms

    def _take_wants(self, wants: Iterable[Want]) -> None:
        for asked in wants:
            if asked.first >= STORE_INT_MAX:
                self.counters["wants_refused"] += 1
                continue
            want = Want(asked.kid, asked.first, min(asked.thru, STORE_INT_MAX - 1))
            self.counters["wants"] += 1
            self.uplink.want(want)
            self._wants.asked(want, self.spool.missing_between(want.kid, want.first, want.thru, MISSING_RANGES_MAX))
            if self.unit_of(want.kid) is not None:
                self._to_unit(want.kid, self._wants.take_for_unit(want.kid))

    def _take_orders(self, raws: Iterable[bytes]) -> None:
        for raw in raws:
            try:
                order = verify_order(raw, self.settings.cloud_key)
                if order.number >= STORE_INT_MAX:
                    raise WireError("wrong_shape", "number beyond what a store can hold")
            except WireError as error:
                self.counters["orders_refused"] += 1
                log.warning("order_refused", code=error.code, text=f"{error}; it was not passed on")
                continue
            with self.spool.transaction():
                self.spool.keep_order(order)
            if self.spool.order(order.kid) == raw:
                self._to_unit(order.kid, order_chunks(raw))

    def unit_of(self, kid: bytes) -> PortState | None:
        return next((state for state in self.ports.values() if state.open and state.session.kid == kid), None)

    def _to_unit(self, kid: bytes, messages: Iterable[Message]) -> None:
        state = self.unit_of(kid)
        if state is not None:
            for message in messages:
                state.port.send(message)

    # -- to the cloud

    def work(self, now_ms: int) -> None:
        """Everything that time asks for: room on the disk, rows to publish, time frames, the state topic."""
        self._check_room(now_ms)
        self._outbound.publish(now_ms)
        self._publish_state(now_ms)
        if now_ms - self._time_sent_ms >= self.settings.time_every_s * 1000:
            self._time_sent_ms = now_ms
            for state in self.ports.values():
                if state.session.kid is not None:
                    state.port.send(self._time)

    def _publish_state(self, now_ms: int) -> None:
        sent_ms, sent = self._state_sent
        if self.broker.room() < 1 or now_ms - sent_ms < STATE_EVERY_MS:
            return
        state = state_topic(self)
        comparable = json.dumps({key: value for key, value in state.items() if not key.endswith("_ms")})
        if comparable == sent and now_ms - sent_ms < STATE_REFRESH_MS:
            return
        self.broker.publish(self._topics.state, json.dumps(state).encode(), retain=True)
        self._state_sent = (now_ms, comparable)

    def last_state(self) -> bytes:
        """What stays on the broker when the gateway was stopped on purpose."""
        return json.dumps(state_topic(self) | {"online": False}).encode()

    # -- room on the disk

    def _check_room(self, now_ms: int) -> None:
        """Stop storing while deleting still has room to work in; go on by itself when there is room again."""
        if now_ms - self._room_checked_ms < ROOM_CHECK_MS or now_ms < self._full_until_ms:
            return
        self._room_checked_ms = now_ms
        least_bytes = self.settings.min_free_mb * 1_000_000
        free_bytes = shutil.disk_usage(self.settings.state_dir).free + self.spool.reusable_bytes()
        if free_bytes < least_bytes:
            sentence = (
                f"the disk of {self.settings.state_dir} has {free_bytes // 1_000_000} MB left, less than "
                f"min_free_mb = {self.settings.min_free_mb}; records are not acknowledged until space is freed"
            )
            self._disk_full(sentence, now_ms)
        elif self.full is not None:
            self.full = None
            log.info("disk_has_room")
            self.broker.bounce()  # what the cloud said meanwhile was not done, and comes again
            for state in self.ports.values():
                state.port.send(Who())

    def _disk_full(self, sentence: str, now_ms: int) -> None:
        if self.full is None:
            log.error("disk_full", text=sentence)
        self.full = sentence
        self._full_until_ms = now_ms + FULL_RETRY_MS
        for state in self.ports.values():
            state.session.reset()

    def all_counters(self) -> Counter[str]:
        """Since this desk was set up."""
        dropped = Counter({"retained_dropped": self.broker.retained_dropped})
        return self.counters + self._outbound.counters + dropped

    def look_for_tampering(self) -> None:
        """Another writer upsets what we count; say so, count anew and publish from the beginning."""
        if self.spool.changed_by_others():
            self.counters["foreign_writes"] += 1
            log.warning("foreign_write", text=f"another program wrote to {self.spool.path}; only the gateway may")
            self.spool.recount()
            self._begin_again()
