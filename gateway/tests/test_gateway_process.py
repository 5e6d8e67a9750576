"""The whole gateway as a process, between real ptys and a real broker: faults, refusals and what the status says."""

import contextlib
import json
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
import trustme
from paho.mqtt.enums import CallbackAPIVersion

from gateway.settings import load
from gateway.status import read_status, render
from gateway.tests.standins import (
    CLOUD_SEED,
    WAIT_S,
    Cloud,
    GatewayProcess,
    Mosquitto,
    Stream,
    Unit,
    free_port,
    stopping,
    wait_until,
)
from wire import (
    FIRST_PREV,
    Order,
    OrderStep,
    RecordFrame,
    Time,
    Want,
    encode_frame,
    encode_orders,
    encode_receipts,
    sign_order,
)


class Bench:
    """One unit, one broker, one cloud, one gateway."""

    def __init__(self, folder: Path, *, receipts: bool = True, start: bool = True, **settings: object) -> None:
        self.stream = Stream(folder.name)
        self.broker = Mosquitto(folder).start()
        self.unit = Unit(self.stream, folder / "unit").plug()
        self.cloud = Cloud(self.broker.port, receipts=receipts).enrol(self.stream)
        mqtt = {"host": "127.0.0.1", "port": self.broker.port}
        self.gateway = GatewayProcess(folder, [str(self.unit.link)], mqtt, **settings)
        if start:
            self.gateway.start()

    @property
    def parts(self) -> tuple[object, ...]:
        return (self.gateway, self.cloud, self.unit, self.broker)

    def all_archived(self) -> None:
        count = len(self.stream.records)
        wait_until(lambda: self.unit.archived_next == count, f"the unit knows {count} records archived")
        assert self.cloud.holds(self.stream)

    def spooled(self) -> list[bytes]:
        return spooled(self.gateway)


def spooled(gateway: GatewayProcess) -> list[bytes]:
    if not (gateway.state_dir / "spool.db").exists():
        return []
    with contextlib.closing(sqlite3.connect(gateway.state_dir / "spool.db")) as reader:
        return [record for (record,) in reader.execute("SELECT record FROM spool ORDER BY row")]


def status(gateway: GatewayProcess) -> tuple[dict[str, Any], str]:
    """What `status --json` says, and what `status` shows a person."""
    found = read_status(load(gateway.config))
    return found, render(found)


def status_commands(gateway: GatewayProcess) -> tuple[dict[str, Any], str]:
    """The same by the real commands."""
    command = [sys.executable, "-m", "gateway", "status", "--config", str(gateway.config)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return json.loads(subprocess.run([*command, "--json"], capture_output=True, check=True).stdout), shown


def test_records_reach_the_cloud_and_the_receipt_reaches_the_unit(tmp_path: Path) -> None:
    bench = Bench(tmp_path, time_every_s=1)
    with stopping(*bench.parts):
        bench.stream.write(40)
        bench.all_archived()
        wait_until(lambda: bench.gateway.live().get("spooled") == 0, "the spool is empty")
        streams = [
            {
                "kid": bench.stream.kid.hex(), "unit": "U-01", "epoch": 1, "next": 40, "relayed": 40, "archived": 40,
                "spooled": 0, "connected": True,
            }
        ]  # fmt: skip
        wait_until(
            lambda: bench.cloud.states and bench.cloud.states[-1]["streams"] == streams, "the state topic says so"
        )
        clocks = [message for message in bench.unit.got if isinstance(message, Time)]
        assert abs(clocks[0].time_ms - time.time() * 1000) < 60_000
        assert clocks[0].uncertainty_ms == 100
        found, shown = status(bench.gateway)
        assert (found["running"], found["not_safe"], found["why"], found["safe"]) == (True, 0, [], True)
        assert "every record that was relayed is archived" in shown
        assert bench.gateway.stop() == 0
        wait_until(lambda: bench.cloud.states[-1]["online"] is False, "the state says good-bye")
        found, shown = status_commands(bench.gateway)
        assert not found["running"]
        assert "NOT RUNNING" in shown
        assert found["streams"][0]["archived"] == 40


def test_gateway_and_broker_killed_at_random_moments(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    chance = random.Random(1)
    with stopping(*bench.parts):
        for _ in range(6):
            bench.stream.write(15)
            time.sleep(chance.uniform(0, 0.4))
            acked = bench.unit.acked
            bench.gateway.kill()
            held = [*spooled(bench.gateway), *bench.cloud.ledger.values()]
            assert set(bench.stream.records[:acked]) <= set(held)
            if chance.random() < 0.5:
                bench.broker.kill()
                bench.broker.start()
            bench.gateway.start()
        bench.all_archived()
        wait_until(lambda: bench.spooled() == [], "the spool is empty")


def test_a_broker_that_forgets_is_sent_everything_again(tmp_path: Path) -> None:
    """SPEC W62."""
    bench = Bench(tmp_path, receipts=False)
    with stopping(*bench.parts):
        bench.stream.write(20)
        wait_until(lambda: bench.cloud.heard >= 20, "the cloud heard all")
        assert sorted(bench.spooled()) == sorted(bench.stream.records)
        bench.cloud.ledger.clear()  # as if it had been lost on the way
        bench.broker.kill()
        wait_until(
            lambda: "the connection to broker" in bench.gateway.why() or "refused" in bench.gateway.why(), "it says why"
        )
        bench.stream.write(20)
        wait_until(lambda: bench.unit.acked == 40, "the units relay on")
        found, shown = status(bench.gateway)
        assert (found["running"], found["not_safe"]) == (True, 40)
        assert found["oldest_age_ms"] is not None
        assert "not yet safe: 40 records, the oldest for" in shown
        assert f"broker 127.0.0.1:{bench.broker.port}" in shown
        bench.cloud.receipts = True
        bench.broker.start()
        bench.all_archived()


def test_a_cloud_that_is_silent_is_named_and_a_retained_receipt_is_dropped(tmp_path: Path) -> None:
    """SPEC W64."""
    bench = Bench(tmp_path, receipts=False, start=False)
    with stopping(*bench.parts):
        bench.stream.write(3)
        bench.cloud.publish("receipts", encode_receipts([bench.stream.receipt(2)]), retain=True)
        bench.gateway.start()
        wait_until(lambda: "no receipt" in bench.gateway.why(), "the status says that no receipt came")
        assert bench.stream.kid.hex() in bench.gateway.why()
        assert counters(bench)["retained_dropped"] == 1
        assert sorted(bench.spooled()) == sorted(bench.stream.records)
        bench.cloud.publish("receipts", encode_receipts([bench.stream.receipt(2)]))
        wait_until(lambda: bench.spooled() == [], "the same receipt, not retained, lets them go")


def counters(bench: Bench) -> dict[str, int]:
    found: Any = bench.gateway.live().get("counters", {})
    return dict(found)


def test_wrong_receipts_are_counted(tmp_path: Path) -> None:
    bench = Bench(tmp_path, receipts=False)
    with stopping(*bench.parts):
        bench.stream.write(3)
        wait_until(lambda: bench.unit.acked == 3, "relayed")
        bench.cloud.publish("receipts", encode_receipts([bench.stream.receipt(2, seed=b"\7" * 32)]))
        bench.cloud.publish("receipts", encode_receipts([bench.stream.receipt(2, digest=b"\1" * 32)]))
        other = Stream("other")
        other.write(3)
        bench.cloud.publish("receipts", encode_receipts([other.receipt(2)]))
        bench.cloud.publish("receipts", b"\xff\xff no CBOR")
        wanted = {"receipts_refused": 1, "receipts_unmatched": 2, "messages_refused": 1}
        wait_until(lambda: wanted.items() <= counters(bench).items(), f"the counters say {wanted}")
        assert len(bench.spooled()) == 3


def test_a_removed_and_an_altered_row_are_refilled_by_the_unit(tmp_path: Path) -> None:
    bench = Bench(tmp_path, receipts=False)
    with stopping(*bench.parts):
        bench.stream.write(10)
        wait_until(lambda: bench.unit.acked == 10, "relayed")
        bench.gateway.kill()
        altered = bytearray(bench.stream.records[6])
        altered[-1] ^= 1
        with contextlib.closing(sqlite3.connect(bench.gateway.state_dir / "spool.db")) as carrier, carrier:
            carrier.execute("DELETE FROM spool WHERE seq = 3")
            carrier.execute("UPDATE spool SET record = ? WHERE seq = 6", (bytes(altered),))
        bench.cloud.ledger.clear()
        bench.cloud.receipts = True
        bench.gateway.start()
        wait_until(lambda: bytes(altered) in bench.cloud.refused, "the altered record is refused")
        bench.cloud.want(bench.stream.kid, 3, 3)
        wait_until(lambda: (bench.stream.kid, 3) in bench.cloud.ledger, "the unit refills what the spool lacks")
        bench.cloud.want(bench.stream.kid, 6, 6)  # the spool answers, with what it has
        wait_until(lambda: bench.cloud.refused.count(bytes(altered)) >= 2, "the spool's copy comes again")
        bench.cloud.want(bench.stream.kid, 6, 6)
        bench.all_archived()
        wait_until(lambda: bench.spooled() == [], "the spool is empty")
        found, shown = status(bench.gateway)
        assert found["set_aside"] == 1
        assert "1 altered or second copy of records was set aside" in shown


def test_wants_for_an_absent_unit_wait_for_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    with stopping(*bench.parts):
        bench.stream.write(6)
        bench.all_archived()
        wait_until(lambda: bench.spooled() == [], "the spool is empty")
        bench.unit.unplug()
        wait_until(lambda: "unplugged" in bench.gateway.why() or "does not exist" in bench.gateway.why(), "it says so")
        del bench.cloud.ledger[bench.stream.kid, 2]
        bench.cloud.want(bench.stream.kid, 2, 2)
        wait_until(lambda: counters(bench).get("wants"), "the gateway took the want")
        bench.unit.plug()
        wait_until(lambda: bench.cloud.holds(bench.stream), "the unit refills")
        assert Want(bench.stream.kid, 2, 2) in bench.unit.got


def test_a_forged_and_an_unknown_record_hold_up_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    with stopping(*bench.parts):
        stranger = Stream("nobody knows this key")
        bench.stream.write(5)
        bench.all_archived()
        bench.unit.send(RecordFrame(stranger.write()[0]))
        bench.unit.send(RecordFrame(stranger.sign(9, FIRST_PREV)))
        forged = bench.stream.sign(7, FIRST_PREV, "signed, but of another chain")
        bench.unit.send(RecordFrame(forged[:-1] + bytes([forged[-1] ^ 1])))
        wait_until(lambda: len(bench.cloud.refused) >= 3, "the cloud saw and refused all three")
        bench.stream.write(20)
        bench.all_archived()
        wait_until(lambda: len(bench.spooled()) == 2, "the forged copy has left the spool")
        found, shown = status(bench.gateway)
        assert (found["set_aside"], found["not_safe"]) == (1, 2)
        assert f"stream {stranger.kid.hex()} (no unit with this key has spoken here): 2 records, " in shown
        assert "the cloud has sent no receipt for this key" in found["waiting"][0]["why"]


def test_orders_survive_a_restart_and_reach_the_unit(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    with stopping(*bench.parts):
        steps = tuple(OrderStep(f"step-{number}", "a step with a name", ()) for number in range(30))
        order = Order(3, bench.stream.kid, "B-1", "recipe", 1, b"\1" * 32, steps, (), 1, ())
        raw, forged = sign_order(CLOUD_SEED, order), sign_order(b"\7" * 32, order)
        bench.stream.write(2)
        bench.all_archived()
        bench.cloud.publish("orders", encode_orders([forged]))
        bench.cloud.publish("orders", encode_orders([raw]))
        wait_until(lambda: bytes(bench.unit.order) == raw, "the unit has the order")
        wait_until(lambda: counters(bench).get("orders_refused") == 1, "the forged order is counted")
        bench.unit.order.clear()
        bench.gateway.kill()
        bench.gateway.start()
        wait_until(lambda: bytes(bench.unit.order) == raw, "the unit has it again at its welcome")


def test_a_cable_pulled_again_and_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    with stopping(*bench.parts):
        for _ in range(5):
            bench.stream.write(12)
            bench.unit.noise(b"\x00half a frame and some \xff\xfe noise")
            time.sleep(0.15)
            bench.unit.unplug()
            bench.unit.plug()
        bench.stream.write(1)  # over the new cable: what is sent before the gateway has opened it is gone
        bench.all_archived()
        bench.unit.noise(encode_frame(RecordFrame(b"\x01 no record")))
        wait_until(lambda: "cannot be read" in bench.gateway.why(), "the status says what was refused")
        bench.unit.noise(b"\x00" + b"\xaa" * 5000 + b"\x00")
        wait_until(lambda: bench.gateway.live()["ports"][0]["noise_frames"] > 0, "noise is counted")  # type: ignore[index]
        bench.stream.write(2)
        bench.all_archived()


def test_ports_that_do_not_exist_or_are_taken_are_named(tmp_path: Path) -> None:
    stream = Stream("port")
    unit = Unit(stream, tmp_path / "unit").plug()
    missing = tmp_path / "missing"
    broker = Mosquitto(tmp_path).start()
    ports = [str(missing), "gopher://nothing", str(tmp_path), str(unit.link)]
    gateway = GatewayProcess(tmp_path, ports, {"host": "127.0.0.1", "port": broker.port}).start()
    with stopping(gateway, unit, broker):
        wait_until(
            lambda: f"port_missing: port {missing} does not exist; plug the unit in" in gateway.why(),
            "the missing port is named",
        )
        wait_until(
            lambda: "port_unusable: port gopher://nothing cannot be opened" in gateway.why(), "the wrong URL is named"
        )
        assert f"port {tmp_path} cannot be opened" in gateway.why()
        stream.write(4)
        wait_until(lambda: unit.acked == 4, "the other port works")
        second = tmp_path / "second"
        second.mkdir()
        rival = GatewayProcess(second, [str(unit.link)], {"host": "127.0.0.1", "port": broker.port}).start()
        with stopping(rival):
            wait_until(lambda: "port_busy: " in rival.why(), "a port that is taken is named")
        late = Unit(Stream("late"), missing).plug()
        with stopping(late):
            late.stream.write(3)
            wait_until(lambda: late.acked == 3, "the port is used once it is there")


@pytest.mark.parametrize(
    ("mqtt", "sentence"),
    [
        ({"host": "127.0.0.1", "port": 0}, "nobody answers at broker 127.0.0.1"),
        ({"host": "no-such-host.invalid", "port": 1883}, "broker host of no-such-host.invalid:1883 is unknown"),
    ],
)
def test_a_broker_that_is_not_there_is_named(tmp_path: Path, mqtt: dict[str, object], sentence: str) -> None:
    stream = Stream("no broker")
    stream.write(4)
    unit = Unit(stream, tmp_path / "unit").plug()
    gateway = GatewayProcess(tmp_path, [str(unit.link)], mqtt | {"port": mqtt["port"] or free_port()}).start()
    with stopping(gateway, unit):
        wait_until(lambda: sentence in gateway.why(), "the status names it")
        wait_until(lambda: unit.acked == 4, "records are relayed all the same")
        assert status(gateway)[0]["not_safe"] == 4
        assert gateway.stop() == 0


def test_a_broker_that_refuses_is_named_and_then_obeyed(tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "gw-1", "right"], check=True, capture_output=True)
    broker = Mosquitto(tmp_path, f"allow_anonymous false\npassword_file {passwords}").start()
    secret = tmp_path / "secret"
    secret.write_text("wrong\n")
    mqtt = {"host": "127.0.0.1", "port": broker.port, "username": "gw-1", "password_file": "secret"}
    gateway = GatewayProcess(tmp_path, [str(tmp_path / "none")], mqtt).start()
    with stopping(gateway, broker):
        wait_until(lambda: "broker_refuses: " in gateway.why(), "the refusal is named")
        assert "check mqtt.username and mqtt.password_file" in gateway.why()
        assert gateway.stop() == 0
        secret.write_text("right\n")
        gateway.start()
        wait_until(lambda: gateway.live().get("broker", {}).get("up"), "it is let in")  # type: ignore[attr-defined]


def test_tls_with_a_client_certificate(tmp_path: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    stranger.cert_pem.write_to_path(tmp_path / "stranger.pem")
    server, client = authority.issue_cert("127.0.0.1"), authority.issue_cert("gw-1")
    server.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    client.private_key_pem.write_to_path(tmp_path / "client.key")
    client.cert_chain_pems[0].write_to_path(tmp_path / "client.pem")
    broker = Mosquitto(
        tmp_path,
        f"allow_anonymous true\nrequire_certificate true\ncafile {tmp_path}/ca.pem\n"
        f"certfile {tmp_path}/server.pem\nkeyfile {tmp_path}/server.pem",
    ).start()
    mqtt: dict[str, object] = {"host": "127.0.0.1", "port": broker.port, "ca_file": "ca.pem"}
    mqtt |= {"cert_file": "client.pem", "key_file": "client.key"}
    stream = Stream("tls")
    stream.write(6)
    unit = Unit(stream, tmp_path / "unit").plug()
    gateway = GatewayProcess(tmp_path, [str(unit.link)], mqtt | {"ca_file": "stranger.pem"}).start()
    heard: list[bytes] = []
    cloud = paho.Client(CallbackAPIVersion.VERSION2, client_id="cloud")
    cloud.tls_set(str(tmp_path / "ca.pem"), str(tmp_path / "client.pem"), str(tmp_path / "client.key"))
    cloud.on_connect = lambda client, *_: client.subscribe("cartrace/v1/site-a/+/gw-1/records", 1)
    cloud.on_message = lambda _client, _user, message: heard.append(bytes(message.payload))
    with stopping(gateway, unit, broker):
        wait_until(lambda: "broker_untrusted: " in gateway.why(), "the wrong authority is named")
        gateway.stop()
        gateway = GatewayProcess(tmp_path, [str(unit.link)], mqtt).start()
        with stopping(gateway):
            cloud.connect("127.0.0.1", broker.port)
            cloud.loop_start()
            wait_until(lambda: heard, "records arrive over TLS")
            cloud.disconnect()
            cloud.loop_stop()


def test_a_full_disk_is_named_not_acknowledged_and_left_by_itself(tmp_path: Path) -> None:
    bench = Bench(tmp_path, min_free_mb=1_000_000_000)
    with stopping(*bench.parts):
        bench.stream.write(5)
        wait_until(lambda: "disk_full: " in bench.gateway.why(), "it says full")
        time.sleep(1)
        assert bench.unit.acked == 0
        assert bench.spooled() == []
        bench.gateway.kill()
        text = bench.gateway.config.read_text().replace("1000000000", "1")
        bench.gateway.config.write_text(text)
        bench.gateway.start()
        bench.all_archived()


def test_a_damaged_spool_is_set_aside_and_the_unit_is_asked_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path, receipts=False)
    with stopping(*bench.parts):
        bench.stream.write(25)
        wait_until(lambda: bench.unit.acked == 25, "relayed")
        assert bench.gateway.stop() == 0
        path = bench.gateway.state_dir / "spool.db"
        path.write_bytes(b"\0" * 100 + path.read_bytes()[100:])
        bench.cloud.ledger.clear()
        bench.cloud.receipts = True
        bench.gateway.start()
        bench.all_archived()
        found, shown = status(bench.gateway)
        assert len(found["damaged_files"]) == 1
        assert "holds a damaged spool; keep it until every stream is archived" in shown
        assert "set aside as" in bench.gateway.log.read_text()


def test_a_disk_that_refuses_writes_is_named_and_left_by_itself(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    with stopping(*bench.parts):
        bench.stream.write(5)
        bench.all_archived()
        assert bench.gateway._process is not None
        pid = bench.gateway._process.pid
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (20_000, hard))  # a write beyond this is an I/O error
        bench.stream.write(40)
        wait_until(lambda: "spool_broken: " in bench.gateway.why(), "the status names the failing store")
        assert "the store is opened again in" in bench.gateway.log.read_text()
        assert set(bench.stream.records[: bench.unit.acked]) <= {*bench.spooled(), *bench.cloud.ledger.values()}
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
        bench.all_archived()
        assert bench.gateway.alive


def test_a_second_process_on_the_same_state_is_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    with stopping(*bench.parts):
        wait_until(lambda: bench.gateway.live(), "the first one works")
        done = subprocess.run(
            [sys.executable, "-m", "gateway", "run", "--config", str(bench.gateway.config)],
            capture_output=True, text=True, check=False, timeout=WAIT_S,
        )  # fmt: skip
        assert done.returncode == 3
        assert done.stderr.startswith("already_running: another gateway process already serves")
        bench.stream.write(2)
        bench.all_archived()
        assert bench.gateway.alive


def test_status_before_the_first_run(tmp_path: Path) -> None:
    gateway = GatewayProcess(tmp_path, ["/dev/none"], {"host": "127.0.0.1"})
    found, shown = status(gateway)
    assert (found["running"], found["not_safe"], found["streams"]) == (False, 0, [])
    assert "the gateway is not running" in shown
    assert not gateway.state_dir.exists(), "looking changes nothing"


def test_an_interrupt_stops_it_cleanly(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    with stopping(*bench.parts):
        wait_until(lambda: bench.gateway.live(), "it works")
        assert bench.gateway._process is not None
        bench.gateway._process.send_signal(signal.SIGINT)
        assert bench.gateway.wait_exit() == 0
