"""The ingest worker: commit, receipts, the broker's acknowledgement, reconciliation, and what falls due meanwhile.

One thread takes deliveries from a bounded queue; the network thread only fills it. Nothing is acknowledged before its
commit, whatever fails: a database that is locked or full is tried again, a message that can never be handled goes to
quarantine whole.
"""

import queue
import random
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import structlog
from django.db import OperationalError, close_old_connections, connection

from cloud.batches.reports import Reconciler
from cloud.ingest import answers
from cloud.ingest.commit import Committed, Message, commit, quarantine_payload
from cloud.ingest.wants import WantSchedule
from wire import Clock

GROUP_MESSAGES = 16  # in one transaction: one sync for up to 4096 records
IDLE_S = 0.25
UPKEEP_S = 0.5
ORDERS_S = 10.0
SILENCE_S = 30.0  # a stream in a batch that says nothing for so long is asked for its tail
FIRST_RETRY_S, LONGEST_RETRY_S = 0.5, 30.0

log = structlog.get_logger("cloud.ingest")


@dataclass(frozen=True)
class Delivery:
    """A message of the broker, with what its acknowledgement needs: packet id and number of the connection."""

    message: Message
    mid: int
    connection: int


class Broker(Protocol):
    """What the worker needs of the MQTT client. Neither call may raise or block."""

    def publish(self, topic: str, payload: bytes) -> None: ...
    def acknowledge(self, delivery: Delivery) -> None: ...


class Worker:
    """Handles deliveries and upkeep until stopped. Owns the database connection of its thread."""

    def __init__(
        self, deliveries: "queue.Queue[Delivery]", broker: Broker, clock: Clock, seed: bytes, root: str
    ) -> None:
        self._deliveries = deliveries
        self._broker = broker
        self._clock = clock
        self._seed = seed
        self._root = root
        self._wants = WantSchedule(random.Random())  # noqa: S311 - spreads load, guards nothing
        self._places: dict[bytes, set[answers.Place]] = {}
        self._last_new_s: dict[bytes, float] = {}
        self._reconciler = Reconciler(clock)
        self._started_s = time.monotonic()
        self._upkeep_at_s = self._orders_at_s = 0.0
        self.orders_wanted = threading.Event()  # set by the network thread: a gateway came online
        self.stopping = threading.Event()

    def run(self) -> None:
        """Work until stopping is set."""
        while not self.stopping.is_set():
            group = self._take()
            try:
                if group:
                    self.handle(group)
                self._upkeep(busy=not self._deliveries.empty())
            except Exception as error:  # what was committed stays; what was not answered is sent again
                if isinstance(error, OperationalError):
                    self._say_database(error)
                else:
                    log.exception("worker_failed")
                self._reconciler = Reconciler(self._clock)  # it may have missed records: start over from the ledger
                self.stopping.wait(FIRST_RETRY_S)
        connection.close()

    def handle(self, group: list[Delivery]) -> None:
        """Commit a group and answer it; returns early, with nothing acknowledged, only when stopping."""
        committed = self._commit([delivery.message for delivery in group])
        if committed is None:
            return
        self._publish(answers.receipts(self._root, self._seed, committed.heard, self._clock.now_ms()))
        for delivery in group:
            self._broker.acknowledge(delivery)
        self._note(committed)
        self._reconciler.follow(committed)

    def _take(self) -> list[Delivery]:
        group: list[Delivery] = []
        try:
            group.append(self._deliveries.get(timeout=IDLE_S))
            while len(group) < GROUP_MESSAGES:
                group.append(self._deliveries.get_nowait())
        except queue.Empty:
            pass
        return group

    def _commit(self, messages: list[Message]) -> Committed | None:
        """The committed group; None when stopping came first. Retries while the database refuses."""
        retry_s = FIRST_RETRY_S
        while not self.stopping.is_set():
            try:
                return self._commit_once(messages)
            except OperationalError as error:
                self._say_database(error)
                self.stopping.wait(retry_s * random.uniform(0.8, 1.2))  # noqa: S311
                retry_s = min(2 * retry_s, LONGEST_RETRY_S)
        return None

    def _commit_once(self, messages: list[Message]) -> Committed:
        try:
            return commit(messages, self._clock.now_ms())
        except OperationalError:
            raise
        except Exception as error:
            if len(messages) > 1:  # find the one that cannot be handled; the others are fine
                return _joined(self._commit_once([message]) for message in messages)
            log.exception("message_set_aside", gateway=messages[0].gateway)
            sentence = f"Ingest failed on this message ({type(error).__name__}). Keep it and report the fault with it."
            quarantine_payload(messages[0], "not_handled", sentence, self._clock.now_ms())
            return Committed()

    def _say_database(self, error: OperationalError) -> None:
        close_old_connections()
        log.error(
            "database_refuses",
            message=f"The database refuses ({error}); nothing is acknowledged. Free disk space or end what locks it.",
        )

    def _note(self, committed: Committed) -> None:
        now_s = time.monotonic()
        for place, streams in committed.heard.items():
            for kid in streams:
                self._places.setdefault(kid, set()).add(place)
        for arrived in committed.arrived:
            self._last_new_s[arrived.record.kid] = now_s
        for refused in committed.refused:
            log.warning("quarantined", reason=refused.reason, digest=refused.digest.hex()[:16])

    def _upkeep(self, busy: bool) -> None:
        now_s = time.monotonic()
        if self.orders_wanted.is_set() or now_s >= self._orders_at_s:
            self.orders_wanted.clear()
            self._orders_at_s = now_s + ORDERS_S
            self._publish(answers.orders(self._root))
        if now_s >= self._upkeep_at_s:
            self._upkeep_at_s = now_s + UPKEEP_S
            self._wants.update(answers.missing_ranges(self._silent(now_s)), now_s)
            self._publish(answers.wants(self._root, self._wants.due(now_s), self._places))
            self._reconciler.evaluate(busy=busy)

    def _silent(self, now_s: float) -> list[bytes]:
        """Streams in the middle of a batch that have sent nothing new for SILENCE_S."""
        return [
            kid
            for kid in self._reconciler.running_streams()
            if now_s - self._last_new_s.get(kid, self._started_s) >= SILENCE_S
        ]

    def _publish(self, messages: Iterable[answers.Answer]) -> None:
        for message in messages:
            self._broker.publish(message.topic, message.payload)


def _joined(parts: Iterable[Committed]) -> Committed:
    whole = Committed()
    for part in parts:
        whole.arrived += part.arrived
        whole.refused += part.refused
        for place, streams in part.heard.items():
            whole.heard.setdefault(place, {}).update(streams)
    return whole
