"""What the cloud's tests stand on: a unit that signs, a broker, and cloud programs as real processes."""

import getpass
import hashlib
import json
import os
import queue
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from wire import FIRST_PREV, RecordType, Topics, encode_records, kid_of, public_key_of, sign_record

ROOT = "cartrace/v1"
REPOSITORY = Path(__file__).resolve().parents[2]
START_MS = 1_790_000_000_000


class FakeUnit:
    """One stream, signed on the host: record 0 is its genesis, each call of say() adds one."""

    def __init__(self, name: str, *, epoch: int = 1, seed: bytes | None = None) -> None:
        self.name = name
        self.seed = seed or hashlib.sha256(f"{name}/{epoch}".encode()).digest()
        self.public_key = public_key_of(self.seed)
        self.kid = kid_of(self.public_key)
        self.records: list[bytes] = []
        self.batch: str | None = None
        self.say(RecordType.GENESIS, {1: name, 2: epoch, 3: self.public_key, 4: "bench", 5: "0.1", 6: "pure"})
        self.say(RecordType.BOOT, {1: 0, 2: "0.1", 3: 0})

    @property
    def genesis(self) -> bytes:
        return self.records[0]

    def say(self, kind: int, body: Mapping[int, object], **fields: Any) -> bytes:
        """Append one signed record; fields: seq, prev, uptime, operator to say something else than the next."""
        record = self.sign(kind, body, **fields)
        self.records.append(record)
        return record

    def sign(self, kind: int, body: Mapping[int, object], **fields: Any) -> bytes:
        seq = fields.get("seq", len(self.records))
        prev = hashlib.sha256(self.records[seq - 1]).digest() if 0 < seq <= len(self.records) else FIRST_PREV
        event: dict[int, object] = {
            1: seq,
            2: fields.get("prev", prev),
            3: 1,
            4: fields.get("uptime", seq * 1000),
            5: START_MS + seq * 1000,
            6: 50,
            7: int(kind),
            10: dict(body),
        }
        if self.batch is not None:
            event[8] = self.batch
        if "operator" in fields:
            event[9] = fields["operator"]
        return sign_record(self.seed, event)

    def heartbeats(self, count: int) -> list[bytes]:
        return [self.say(RecordType.HEARTBEAT, {1: 300_000}) for _ in range(count)]

    def comment(self, text: str, **fields: Any) -> bytes:
        return self.say(RecordType.COMMENT, {1: text}, **fields)

    def fork(self, seq: int, text: str = "another story") -> bytes:
        """A validly signed record at a position that has one already."""
        return self.sign(RecordType.COMMENT, {1: text}, seq=seq)


def payload(records: list[bytes], number: int = 1, arrival_ms: int = START_MS) -> bytes:
    """An uplink message."""
    return encode_records(number, [(arrival_ms, record) for record in records])


def altered(record: bytes, at: int = -1) -> bytes:
    """The record with one bit flipped; the last byte belongs to its signature."""
    copy = bytearray(record)
    copy[at] ^= 1
    return bytes(copy)


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[[], Any], what: str, timeout_s: float = 20) -> Any:
    """The first true answer of condition; fails the test with what was waited for."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        if answer := condition():
            return answer
        time.sleep(0.05)
    raise AssertionError(f"waited {timeout_s} s for {what}")


class Mosquitto:
    """The broker as a child on loopback, forgetful as it comes out of the box."""

    def __init__(self, directory: Path, password: tuple[str, str] | None = None, extra: str = "") -> None:
        program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        assert program, "mosquitto is not installed"
        self.port = free_port()
        self._command = [program, "-c", str(directory / "mosquitto.conf")]
        lines = [f"user {getpass.getuser()}", f"listener {self.port} 127.0.0.1", "persistence false"]
        if password is None:
            lines.append("allow_anonymous true")
        else:
            passwords = directory / "passwords"
            passwords.touch(mode=0o600)
            subprocess.run(["mosquitto_passwd", "-b", str(passwords), *password], check=True)
            lines += ["allow_anonymous false", f"password_file {passwords}"]
        (directory / "mosquitto.conf").write_text("\n".join([*lines, extra]) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self._answers, "mosquitto to listen")

    def _answers(self) -> bool:
        with closing(socket.socket()) as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class FakeGateway:
    """Publishes messages and collects what the cloud answers."""

    def __init__(self, port: int, site: str = "site-1", gateway: str = "gw-1") -> None:
        self.topics = Topics(ROOT, site, gateway)
        self.heard: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self.client.on_connect = lambda client, *_: client.subscribe([(t, 1) for t in self._down()])
        self.client.on_message = lambda _c, _u, message: self.heard.put((message.topic, bytes(message.payload)))
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        until(self.client.is_connected, "the gateway to connect")

    def _down(self) -> list[str]:
        return [self.topics.receipts, self.topics.wants, self.topics.orders]

    def send(self, records: list[bytes], retain: bool = False) -> None:
        self.send_raw(payload(records), retain)

    def send_raw(self, message: bytes, retain: bool = False) -> None:
        self.client.publish(self.topics.records, message, qos=1, retain=retain).wait_for_publish(10)

    def answers(self, topic: str, timeout_s: float = 20) -> Iterator[bytes]:
        """Payloads heard on a topic, for as long as they come in time."""
        deadline_s = time.monotonic() + timeout_s
        while (left_s := deadline_s - time.monotonic()) > 0:
            try:
                heard, message = self.heard.get(timeout=left_s)
            except queue.Empty:
                return
            if heard == topic:
                yield message

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


class CloudProcess:
    """`python -m cloud ...` with a state directory of its own."""

    def __init__(self, state: Path, broker_port: int = 1, **environment: str) -> None:
        self.state = state
        self._environment = {
            **os.environ,
            "CARTRACE_CLOUD_STATE": str(state),
            "CARTRACE_MQTT_PORT": str(broker_port),
            **environment,
        }
        self._ingest: subprocess.Popen[bytes] | None = None
        self.log = state / "ingest.log"

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "cloud", *arguments]
        return subprocess.run(
            command, cwd=REPOSITORY, env=self._environment, capture_output=True, text=True, timeout=60, check=False
        )

    def ask(self, *arguments: str) -> Any:
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def start_ingest(self) -> None:
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "cloud", "ingest"]
            self._ingest = subprocess.Popen(command, cwd=REPOSITORY, env=self._environment, stderr=log)

    def kill_ingest(self) -> None:
        """kill -9; harmless when it does not run."""
        if self._ingest is not None:
            self._ingest.kill()
            self._ingest.wait()
            self._ingest = None

    @property
    def key(self) -> bytes:
        """The public key of receipts and orders."""
        return public_key_of(bytes.fromhex((self.state / "cloud.key").read_text()))

    @property
    def running(self) -> bool:
        return self._ingest is not None and self._ingest.poll() is None

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Read the database beside the programs."""
        with closing(sqlite3.connect(f"file:{self.state / 'db.sqlite3'}?mode=ro", uri=True, timeout=20)) as connection:
            return connection.execute(sql, values).fetchall()
