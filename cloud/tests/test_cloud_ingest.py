"""The ingest process against a real broker and a real database file: killed, lied to, locked out, and still exact."""

import hashlib
import json
import random
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import trustme

from cloud.tests.cloud_bench import CloudProcess, FakeGateway, FakeUnit, Mosquitto, altered, until
from cloud.tests.test_cloud_ledger import RECIPE
from wire import RecordType, decode_orders, decode_receipts, decode_wants, verify_order, verify_receipt

KILLS = 4
HELD = "SELECT seq, record FROM ledger_ledgerrecord WHERE kid = ? ORDER BY seq, id"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    mosquitto = Mosquitto(tmp_path)
    mosquitto.start()
    yield mosquitto
    mosquitto.stop()


@pytest.fixture(scope="module")
def fresh_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated state directory, to be copied: migrating takes longer than most tests."""
    state = tmp_path_factory.mktemp("fresh") / "cloud"
    state.mkdir()
    assert CloudProcess(state).run("migrate").returncode == 0
    return state


@pytest.fixture
def cloud(tmp_path: Path, fresh_state: Path, broker: Mosquitto) -> Iterator[CloudProcess]:
    process = CloudProcess(shutil.copytree(fresh_state, tmp_path / "cloud"), broker.port)
    yield process
    process.kill_ingest()


@pytest.fixture
def gateway(broker: Mosquitto) -> Iterator[FakeGateway]:
    fake = FakeGateway(broker.port)
    yield fake
    fake.close()


def enrolled(cloud: CloudProcess, name: str, length: int = 2) -> FakeUnit:
    unit = FakeUnit(name)
    unit.heartbeats(length - 2)
    path = cloud.state / f"{name}.genesis"
    path.write_bytes(unit.genesis)
    cloud.ask("enrol", str(path), "--site", "site-1", "--gateway", "gw-1")
    return unit


def state_of(cloud: CloudProcess) -> str | None:
    """What the stored report of the only batch says."""
    rows = cloud.rows("SELECT state FROM batches_batchreport")
    return str(rows[0][0]) if rows else None


def connected(cloud: CloudProcess, times: int = 1) -> bool:
    return cloud.log.read_text().count("broker_connected") >= times


def started(cloud: CloudProcess, times: int = 1) -> None:
    cloud.start_ingest()
    until(lambda: connected(cloud, times), "ingest to reach the broker")


def receipted_thru(gateway: FakeGateway, unit: FakeUnit, key: bytes, seq: int) -> bool:
    """Wait for the receipt of this very record."""
    digest = hashlib.sha256(unit.records[seq]).digest()
    for message in gateway.answers(gateway.topics.receipts):
        for raw in decode_receipts(message):
            receipt = verify_receipt(raw, key)
            if (receipt.kid, receipt.seq, receipt.digest) == (unit.kid, seq, digest):
                return True
    return False


def test_kill_9_at_any_instant_loses_and_doubles_nothing(cloud: CloudProcess, gateway: FakeGateway) -> None:
    rng = random.Random(20)
    unit = enrolled(cloud, "U-1", 900)
    sent = 0
    for kill in range(KILLS):
        started(cloud, kill + 1)
        ends_s = time.monotonic() + rng.uniform(0.02, 0.5)
        while time.monotonic() < ends_s:
            start = rng.randrange(0, 900, 15)
            gateway.send(unit.records[start : start + 30])
            sent += 1
        cloud.kill_ingest()
    started(cloud, KILLS + 1)
    for start in range(0, 900, 30):
        gateway.send(unit.records[start : start + 30])
    assert receipted_thru(gateway, unit, cloud.key, 899)
    assert cloud.rows(HELD, unit.kid) == list(enumerate(unit.records)), "each record exactly once"
    assert cloud.rows("PRAGMA integrity_check") == [("ok",)]
    assert sent > KILLS, "the kills must have met traffic"


def test_a_hostile_state_message_stops_nothing(cloud: CloudProcess, gateway: FakeGateway) -> None:
    """Lists within lists, deeper than Python reads, kept by the broker for every start."""
    unit = enrolled(cloud, "U-1", 4)
    gateway.client.publish(gateway.topics.state, b"[" * 60_000, qos=1, retain=True).wait_for_publish(10)
    for start in (1, 2):
        started(cloud, start)
        gateway.send(unit.records[: 2 * start])
        assert receipted_thru(gateway, unit, cloud.key, 2 * start - 1)
        cloud.kill_ingest()


def test_a_bad_carrier_is_noticed_asked_and_survived(cloud: CloudProcess, gateway: FakeGateway) -> None:
    unit = enrolled(cloud, "U-1", 12)
    gateway.send(unit.records[:2], retain=True)  # from before we came, and kept by the broker for ever
    started(cloud)
    until(lambda: "retained_dropped" in cloud.log.read_text(), "the retained message to be dropped")
    assert cloud.rows(HELD, unit.kid) == []
    gateway.send_raw(b"this is no message")
    gateway.send([*unit.records[:4], altered(unit.records[4]), *unit.records[6:]])
    gateway.send(FakeUnit("stranger").records)
    wanted = next(
        want for message in gateway.answers(gateway.topics.wants) for want in decode_wants(message) if want.first == 4
    )
    assert (wanted.kid, wanted.thru) == (unit.kid, 5)
    gateway.send(unit.records[4:6])
    assert receipted_thru(gateway, unit, cloud.key, 11)
    assert cloud.rows(HELD, unit.kid) == list(enumerate(unit.records))
    refused = {row["reason"] for row in cloud.ask("quarantine", "list")}
    assert refused == {"unreadable_message", "signature_invalid", "key_not_valid"}
    (gap,) = cloud.rows("SELECT first, last, asked FROM ledger_gap WHERE filled_ms IS NOT NULL")
    assert gap[:2] == (4, 5)
    assert gap[2] >= 1


def test_an_order_is_repeated_until_the_batch_is_open_and_the_report_follows(
    cloud: CloudProcess, gateway: FakeGateway
) -> None:
    unit = enrolled(cloud, "U-1")
    (cloud.state / "recipe.toml").write_bytes(RECIPE)
    cloud.ask("recipe", "add", str(cloud.state / "recipe.toml"))
    started(cloud)
    cloud.ask("batch", "new", "B-1", "--recipe", "short", "--unit", "U-1")
    gateway.client.publish(gateway.topics.state, json.dumps({"online": True}), qos=1, retain=True)
    raw = next(raw for message in gateway.answers(gateway.topics.orders) for raw in decode_orders(message))
    order = verify_order(raw, cloud.key)
    assert (order.batch, order.kid) == ("B-1", unit.kid)
    until(lambda: state_of(cloud) == "waiting", "the first report")
    unit.batch = "B-1"
    opened = {1: "short", 2: 1, 3: hashlib.sha256(RECIPE).digest(), 4: hashlib.sha256(raw).digest()}
    unit.say(RecordType.BATCH_OPEN, opened)
    unit.say(RecordType.STEP, {1: "mix", 2: 1}, operator="OP-1")
    gateway.send(unit.records)
    until(lambda: state_of(cloud) == "running", "the report to say running")
    gateway.heard.queue.clear()
    gateway.client.publish(gateway.topics.state, json.dumps({"online": True}), qos=1)
    assert list(gateway.answers(gateway.topics.orders, timeout_s=1.5)) == [], "a batch that is open is ordered no more"
    unit.say(RecordType.STEP, {1: "mix", 2: 2}, operator="OP-1")
    unit.say(RecordType.BATCH_CLOSE, {1: 2, 2: {5: 1, 6: 2}, 3: 1})
    gateway.send([*unit.records[4:5], altered(unit.records[3]), unit.records[5]])
    until(lambda: state_of(cloud) == "closed", "the report to say closed")
    (row,) = cloud.ask("batch", "list")
    assert (row["complete"], row["authentic"], row["state"]) == (True, True, "closed")
    cloud.kill_ingest()
    before = cloud.rows("SELECT report FROM batches_batchreport")
    with closing(sqlite3.connect(cloud.state / "db.sqlite3")) as connection, connection:
        connection.execute("DELETE FROM batches_batchreport")
    started(cloud, 2)
    until(lambda: cloud.rows("SELECT 1 FROM batches_batchreport"), "the report to be made again from the ledger")
    assert cloud.rows("SELECT report FROM batches_batchreport") == before


def test_what_was_not_committed_is_not_acknowledged_and_comes_again(cloud: CloudProcess, gateway: FakeGateway) -> None:
    unit = enrolled(cloud, "U-1", 40)
    started(cloud)
    with closing(sqlite3.connect(cloud.state / "db.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        gateway.send(unit.records)
        until(lambda: "database_refuses" in cloud.log.read_text(), "a word about the lock", timeout_s=40)
        cloud.kill_ingest()
        other.execute("ROLLBACK")
    started(cloud, 2)  # nobody sends again: the broker still holds what was never acknowledged
    assert receipted_thru(gateway, unit, cloud.key, 39)
    assert cloud.rows(HELD, unit.kid) == list(enumerate(unit.records))


def test_a_broker_that_is_absent_or_refuses_costs_a_sentence(tmp_path: Path, fresh_state: Path) -> None:
    guarded = Mosquitto(tmp_path, password=("cloud", "right"))
    secret = tmp_path / "password"
    secret.write_text("wrong\n")
    state = shutil.copytree(fresh_state, tmp_path / "cloud")
    login = {"CARTRACE_MQTT_USERNAME": "cloud", "CARTRACE_MQTT_PASSWORD_FILE": str(secret)}
    cloud = CloudProcess(state, guarded.port, **login)
    cloud.start_ingest()
    try:
        until(lambda: "No broker answers" in cloud.log.read_text(), "a word about the absent broker")
        guarded.start()
        until(lambda: "check user name, password" in cloud.log.read_text(), "a word about the refusal")
        assert cloud.running
        assert cloud.log.read_text().count("No broker answers") == 1, "said once, not at every try"
        assert "wrong" not in cloud.log.read_text(), "never a password in a log"
    finally:
        cloud.kill_ingest()
        guarded.stop()


def test_ingest_reaches_a_broker_over_tls_with_its_certificate(tmp_path: Path, fresh_state: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    stranger.cert_pem.write_to_path(tmp_path / "stranger.pem")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    client = authority.issue_cert("ingest")
    client.private_key_pem.write_to_path(tmp_path / "client.key")
    client.cert_chain_pems[0].write_to_path(tmp_path / "client.pem")
    certificates = f"cafile {tmp_path}/ca.pem\ncertfile {tmp_path}/server.pem\nkeyfile {tmp_path}/server.pem"
    guarded = Mosquitto(tmp_path, extra=f"require_certificate true\n{certificates}")
    state = shutil.copytree(fresh_state, tmp_path / "cloud")
    own = {"CARTRACE_MQTT_CERT": f"{tmp_path}/client.pem", "CARTRACE_MQTT_KEY": f"{tmp_path}/client.key"}
    deceived = CloudProcess(state, guarded.port, CARTRACE_MQTT_CA_FILE=f"{tmp_path}/stranger.pem", **own)
    cloud = CloudProcess(state, guarded.port, CARTRACE_MQTT_CA_FILE=f"{tmp_path}/ca.pem", **own)
    guarded.start()
    try:
        deceived.start_ingest()
        until(lambda: "correct mqtt_ca_file" in deceived.log.read_text(), "the wrong authority to be named")
        deceived.kill_ingest()
        assert not connected(deceived)
        started(cloud)
    finally:
        deceived.kill_ingest()
        cloud.kill_ingest()
        guarded.stop()
