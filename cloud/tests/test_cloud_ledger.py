"""Ledger, quarantine and recipes only grow; enrolment, revocation and orders follow their rules."""

import hashlib

import pytest
from django.db import DatabaseError, connection, transaction

from cloud.batches.models import Recipe
from cloud.batches.orders import add_recipe, new_batch, pending_orders
from cloud.errors import RefusalError
from cloud.ingest.commit import Message, commit
from cloud.ledger.apps import check_durability
from cloud.ledger.enrol import enrol, revoke
from cloud.ledger.models import LedgerRecord, Quarantine, Unit, UnitKey
from cloud.tests.cloud_bench import START_MS, FakeUnit, payload
from wire import RecordType, kid_of, public_key_of, sign_record, verify_order

pytestmark = pytest.mark.django_db
SEED = hashlib.sha256(b"cloud").digest()
RECIPE = b"""
[recipe]
id = "short"
version = 1
name = "Short"

[[step]]
id = "mix"
name = "Mix"
scan = []
"""


def enrolled(name: str = "U-1") -> FakeUnit:
    unit = FakeUnit(name)
    enrol(unit.genesis, "site-1", "gw-1", START_MS)
    return unit


def send(*records: bytes) -> None:
    commit([Message("site-1", "gw-1", payload(list(records)))], START_MS)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE ledger_ledgerrecord SET record = x'00'",
        "DELETE FROM ledger_ledgerrecord",
        "UPDATE ledger_quarantine SET reason = ''",
        "DELETE FROM ledger_quarantine",
        "UPDATE batches_recipe SET toml = x'00'",
        "DELETE FROM batches_recipe",
    ],
)
def test_what_must_only_grow_refuses_every_change(sql: str) -> None:
    unit = enrolled()
    send(*unit.records, FakeUnit("stranger").genesis)
    add_recipe(RECIPE, START_MS)
    before = (LedgerRecord.objects.count(), Quarantine.objects.count(), Recipe.objects.count())
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql)
    assert before == (2, 1, 1) == (LedgerRecord.objects.count(), Quarantine.objects.count(), Recipe.objects.count())


def test_a_connection_that_could_lose_commits_is_refused() -> None:
    check_durability(connection)

    class Careless:
        vendor = "sqlite"

        @staticmethod
        def cursor() -> "Careless":
            return Careless()

        def __enter__(self) -> "Careless":
            return self

        def __exit__(self, *_: object) -> None: ...
        def execute(self, sql: str) -> "Careless":
            self.answer = "wal" if "journal" in sql else 1
            return self

        def fetchone(self) -> tuple[object]:
            return (self.answer,)

    with pytest.raises(Exception, match="power cut could lose"):
        check_durability(Careless())


def test_enrolling_twice_changes_nothing_but_the_gateway() -> None:
    unit = enrolled()
    again = enrol(unit.genesis, "site-2", "gw-2", START_MS + 1)
    assert UnitKey.objects.count() == 1
    assert again.enrolled_ms == START_MS
    assert Unit.objects.get().gateway.name == "gw-2"


def test_epochs_are_enrolled_in_order() -> None:
    with pytest.raises(RefusalError, match="enrol epoch 1 next"):
        enrol(FakeUnit("U-9", epoch=2).genesis, "site-1", "gw-1", START_MS)
    enrol(FakeUnit("U-9").genesis, "site-1", "gw-1", START_MS)
    with pytest.raises(RefusalError, match="enrol epoch 2 next"):
        enrol(FakeUnit("U-9", epoch=3).genesis, "site-1", "gw-1", START_MS)
    enrol(FakeUnit("U-9", epoch=2).genesis, "site-1", "gw-1", START_MS)
    assert Unit.objects.get(name="U-9").keys.count() == 2


def test_a_key_belongs_to_one_unit_and_one_genesis() -> None:
    unit = enrolled()
    with pytest.raises(RefusalError, match="enrolled for unit U-1"):
        enrol(FakeUnit("U-2", seed=unit.seed).genesis, "site-1", "gw-1", START_MS)
    with pytest.raises(RefusalError, match="another genesis"):
        enrol(FakeUnit("U-1", epoch=7, seed=unit.seed).genesis, "site-1", "gw-1", START_MS)


def test_a_gateway_belongs_to_one_site_and_has_a_lawful_name() -> None:
    enrolled()
    with pytest.raises(RefusalError, match="belongs to site site-1"):
        enrol(FakeUnit("U-2").genesis, "site-9", "gw-1", START_MS)
    with pytest.raises(RefusalError, match="cannot name"):
        enrol(FakeUnit("U-2").genesis, "site/9", "gw-1", START_MS)


def test_enrolment_needs_proof_of_possession() -> None:
    unit, thief = FakeUnit("U-1"), FakeUnit("thief")
    event = {1: 0, 2: bytes(32), 3: 1, 4: 0, 7: 0}
    body = {1: "U-1", 2: 1, 3: unit.public_key, 4: "m", 5: "f", 6: "pure"}
    claimed = sign_record(unit.seed, {**event, 10: body})
    stolen = claimed[:-64] + sign_record(thief.seed, {**event, 10: body})[-64:]
    for genesis, sentence in (
        (stolen, "does not prove"),
        (unit.records[1], "needs record 0"),
        (b"junk", "not a genesis"),
    ):
        with pytest.raises(RefusalError, match=sentence):
            enrol(genesis, "site-1", "gw-1", START_MS)
    assert not Unit.objects.exists()


def test_a_small_order_key_is_refused() -> None:
    identity = b"\x01" + bytes(31)
    forged = (
        FakeUnit("U-1")
        .genesis.replace(FakeUnit("U-1").public_key, identity)
        .replace(FakeUnit("U-1").kid, kid_of(identity))
    )
    with pytest.raises(RefusalError, match="key_refused"):
        enrol(forged[:-64] + identity + bytes(32), "site-1", "gw-1", START_MS)


def test_records_after_a_revocation_are_kept_and_flagged() -> None:
    unit = enrolled()
    unit.heartbeats(4)
    revoke("U-1", 4, "stolen", START_MS)
    send(*unit.records)
    assert list(LedgerRecord.objects.order_by("seq").values_list("key_valid", flat=True)) == [True] * 4 + [False] * 2
    with pytest.raises(RefusalError, match="only move back"):
        revoke("U-1", 5, "on second thoughts", START_MS)
    with pytest.raises(RefusalError, match="needs a reason"):
        revoke("U-1", 2, " ", START_MS)
    with pytest.raises(RefusalError, match="no unit U-7"):
        revoke("U-7", 2, "lost", START_MS)
    assert revoke("U-1", 2, "earlier than thought", START_MS).revoked_from_seq == 2


def test_a_recipe_version_never_changes() -> None:
    first = add_recipe(RECIPE, START_MS)
    assert add_recipe(RECIPE, START_MS + 1).pk == first.pk
    with pytest.raises(RefusalError, match="raise its version"):
        add_recipe(RECIPE + b"# a comment\n", START_MS)
    with pytest.raises(RefusalError, match="not TOML"):
        add_recipe(b"[recipe", START_MS)


def test_orders_are_published_oldest_first_until_the_unit_opened_the_batch() -> None:
    unit = enrolled()
    add_recipe(RECIPE, START_MS)
    first = new_batch("B-1", "short", "U-1", SEED, START_MS)
    second = new_batch("B-2", "short", "U-1", SEED, START_MS)
    assert (first.order_number, second.order_number) == (1, 2)
    assert verify_order(bytes(first.order), public_key_of(SEED)).batch == "B-1"
    assert pending_orders() == {("site-1", "gw-1"): [bytes(first.order)]}
    unit.batch = "B-1"
    unit.say(RecordType.BATCH_OPEN, {1: "short", 2: 1, 3: hashlib.sha256(RECIPE).digest(), 4: bytes(32)})
    send(*unit.records)
    assert pending_orders() == {("site-1", "gw-1"): [bytes(first.order)]}, "another order's digest does not count"
    unit.say(
        RecordType.BATCH_OPEN, {1: "short", 2: 1, 3: hashlib.sha256(RECIPE).digest(), 4: bytes(first.order_digest)}
    )
    send(*unit.records)
    assert pending_orders() == {("site-1", "gw-1"): [bytes(second.order)]}


def test_what_cannot_be_ordered_is_told_in_a_sentence() -> None:
    with pytest.raises(RefusalError, match="no recipe short"):
        new_batch("B-1", "short", "U-1", SEED, START_MS)
    add_recipe(RECIPE, START_MS)
    with pytest.raises(RefusalError, match="no unit U-1"):
        new_batch("B-1", "short", "U-1", SEED, START_MS)
    enrolled()
    with pytest.raises(RefusalError, match="version 7"):
        new_batch("B-1", "short", "U-1", SEED, START_MS, version=7)
    with pytest.raises(RefusalError, match="bag"):
        new_batch("B-1", "short", "U-1", SEED, START_MS, exact={"bag": "X"})
    with pytest.raises(RefusalError, match="cannot name"):
        new_batch("B-1\n", "short", "U-1", SEED, START_MS)
    with pytest.raises(RefusalError, match="cannot name"):
        new_batch("B/1", "short", "U-1", SEED, START_MS)
    new_batch("B-1", "short", "U-1", SEED, START_MS)
    with pytest.raises(RefusalError, match="exists already"):
        new_batch("B-1", "short", "U-1", SEED, START_MS)
    revoke("U-1", 0, "stolen", START_MS)
    with pytest.raises(RefusalError, match="revoked"):
        new_batch("B-2", "short", "U-1", SEED, START_MS)
