"""The worker's order of things: commit, receipts, acknowledgement, reports; and what it does when one of them fails."""

import queue
from collections.abc import Sequence
from typing import Any

import pytest
from django.db import OperationalError

from cloud.batches.models import BatchReport
from cloud.batches.orders import add_recipe, new_batch
from cloud.ingest import worker as worker_module
from cloud.ingest.commit import Committed, Message, commit
from cloud.ingest.worker import Delivery, Worker
from cloud.ledger.enrol import enrol
from cloud.ledger.models import LedgerRecord, Quarantine
from cloud.tests.cloud_bench import ROOT, START_MS, FakeUnit, payload
from cloud.tests.test_cloud_ledger import RECIPE, SEED
from wire import Clock, RecordType

pytestmark = pytest.mark.django_db


class Broker:
    """Notes what it is asked to do, and what the ledger held at that moment."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, int]] = []

    def publish(self, topic: str, payload: bytes) -> None:
        self.heard.append((topic.rpartition("/")[2], LedgerRecord.objects.count()))

    def acknowledge(self, delivery: Delivery) -> None:
        self.heard.append((f"ack {delivery.mid}", LedgerRecord.objects.count()))


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def worker(broker: Broker) -> Worker:
    return Worker(queue.Queue(), broker, Clock(), SEED, ROOT)


def deliveries(*payloads: bytes) -> list[Delivery]:
    return [Delivery(Message("site-1", "gw-1", one), mid, 1) for mid, one in enumerate(payloads, 1)]


def enrolled() -> FakeUnit:
    unit = FakeUnit("U-1")
    enrol(unit.genesis, "site-1", "gw-1", START_MS)
    return unit


def test_receipts_and_acknowledgements_follow_the_commit(worker: Worker, broker: Broker) -> None:
    """SPEC W40, W63."""
    unit = enrolled()
    worker.handle(deliveries(payload(unit.records[:1]), payload(unit.records[1:])))
    assert broker.heard == [("receipts", 2), ("ack 1", 2), ("ack 2", 2)]


def test_a_message_that_can_never_be_handled_is_set_aside_and_the_others_are_not(
    worker: Worker, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = enrolled()
    poison = payload(unit.records[1:])

    def brittle(messages: Sequence[Message], now_ms: int) -> Committed:
        if any(message.payload == poison for message in messages):
            raise ZeroDivisionError
        return commit(messages, now_ms)

    monkeypatch.setattr(worker_module, "commit", brittle)
    worker.handle(deliveries(payload(unit.records[:1]), poison, b"junk"))
    assert [what for what, _ in broker.heard] == ["receipts", "ack 1", "ack 2", "ack 3"]
    assert LedgerRecord.objects.count() == 1
    assert bytes(Quarantine.objects.get(reason="not_handled").content) == poison
    assert Quarantine.objects.filter(reason="unreadable_message").count() == 1


def test_a_database_that_refuses_is_tried_again_without_an_acknowledgement(
    worker: Worker, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = enrolled()
    refusals = ["database or disk is full", "database is locked"]

    def full(messages: Sequence[Message], now_ms: int) -> Committed:
        assert not broker.heard
        if refusals:
            raise OperationalError(refusals.pop())
        return commit(messages, now_ms)

    monkeypatch.setattr(worker_module, "commit", full)
    monkeypatch.setattr(worker_module, "FIRST_RETRY_S", 0.01)
    monkeypatch.setattr(worker_module, "close_old_connections", lambda: None)  # the test's transaction lives in it
    worker.handle(deliveries(payload(unit.records)))
    assert [what for what, _ in broker.heard] == ["receipts", "ack 1"]


def test_a_stop_while_the_database_refuses_acknowledges_nothing(
    worker: Worker, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(_: Any, __: int) -> Committed:
        worker.stopping.set()
        raise OperationalError("database is locked")

    monkeypatch.setattr(worker_module, "commit", locked)
    monkeypatch.setattr(worker_module, "close_old_connections", lambda: None)
    worker.handle(deliveries(payload(enrolled().records)))
    assert broker.heard == []


def test_a_fault_in_the_rules_stops_no_record(worker: Worker, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    unit = enrolled()
    add_recipe(RECIPE, START_MS)
    order = new_batch("B-1", "short", "U-1", SEED, START_MS)
    unit.batch = "B-1"
    unit.say(RecordType.BATCH_OPEN, {1: "short", 2: 1, 3: bytes(32), 4: bytes(order.order_digest)})
    monkeypatch.setattr("cloud.domain.fold.BatchFold.report", lambda *_, **__: 1 / 0)
    worker.handle(deliveries(payload(unit.records)))
    worker._upkeep(busy=False)
    assert LedgerRecord.objects.count() == 3
    assert not BatchReport.objects.exists()
    monkeypatch.undo()
    unit.comment("and on it goes")
    worker.handle(deliveries(payload(unit.records)))
    worker._reconciler.evaluate(busy=False)
    assert BatchReport.objects.get().state == "running"
