"""Stand-ins for what surrounds a gateway, speaking the contract through `wire`: a unit on a pty, a cloud on MQTT,
and a real mosquitto as a child on loopback. They keep their own books, which the tests compare.
"""

import contextlib
import hashlib
import json
import os
import pty
import select
import shutil
import socket
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from gateway.settings import load
from gateway.status import read_status
from wire import (
    FIRST_PREV,
    Ack,
    FrameReader,
    Hello,
    Message,
    OrderChunk,
    ReceiptFrame,
    RecordFrame,
    Topics,
    Want,
    Welcome,
    Who,
    WireError,
    decode_records,
    encode_frame,
    encode_receipts,
    encode_wants,
    kid_of,
    public_key_of,
    sign_receipt,
    sign_record,
    verify_receipt,
)
from wire.record import decode_record, verify_record

CLOUD_SEED = hashlib.sha256(b"the cloud of these tests").digest()
CLOUD_KEY = public_key_of(CLOUD_SEED)
WAIT_S = 20.0  # generous: a loaded machine is no failure
GENESIS, COMMENT = 0, 12  # SPEC section 5


def wait_until(what: Callable[[], object], words: str, wait_s: float = WAIT_S) -> None:
    """Poll until what() is true; words name it when it never is."""
    give_up_at = time.monotonic() + wait_s
    while not what():
        if time.monotonic() > give_up_at:
            raise AssertionError(f"waited in vain until {words}")
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Stream:
    """A chain of signed records, as a unit would write it."""

    def __init__(self, name: str) -> None:
        self.seed = hashlib.sha256(name.encode()).digest()
        self.public_key = public_key_of(self.seed)
        self.kid = kid_of(self.public_key)
        self.records: list[bytes] = []

    def write(self, count: int = 1) -> list[bytes]:
        for _ in range(count):
            self.records.append(self.sign(len(self.records), self.head))
        return self.records[-count:]

    def sign(self, seq: int, prev: bytes, text: str = "as it was") -> bytes:
        body: dict[int, object] = {1: f"{text} {seq}"}
        if seq == 0:
            body = {1: "U-01", 2: 1, 3: self.public_key, 4: "test", 5: "test", 6: "pure"}
        kind = COMMENT if seq else GENESIS
        return sign_record(self.seed, {1: seq, 2: prev, 3: 1, 4: seq * 1000, 7: kind, 10: body})

    @property
    def head(self) -> bytes:
        return hashlib.sha256(self.records[-1]).digest() if self.records else FIRST_PREV

    def receipt(self, seq: int, seed: bytes = CLOUD_SEED, digest: bytes | None = None) -> bytes:
        return sign_receipt(seed, self.kid, seq, digest or hashlib.sha256(self.records[seq]).digest(), 1)


class Unit:
    """The unit's half of SPEC section 8, on the master side of a pty; link is what the gateway opens."""

    WINDOW = 8
    RESEND_S = 0.3

    def __init__(self, stream: Stream, link: Path, name: str = "U-01") -> None:
        self.stream, self.link, self.name = stream, link, name
        self.archived_next = 0
        self.acked = 0
        self.got: list[Message] = []
        self.order = bytearray()
        self._master = -1
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def plug(self) -> "Unit":
        self._master, slave = pty.openpty()
        tty.setraw(slave)
        self.link.unlink(missing_ok=True)
        self.link.symlink_to(os.ttyname(slave))
        self._slave = slave
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def unplug(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self.link.unlink(missing_ok=True)
        os.close(self._slave)
        os.close(self._master)
        self._master = -1

    def noise(self, raw: bytes) -> None:
        os.write(self._master, raw)

    def send(self, message: Message) -> None:
        self.noise(encode_frame(message))

    def _run(self) -> None:
        reader = FrameReader()
        self._welcomed, self._sent, self._quiet, self._last = False, 0, 0, 0.0
        while not self._stop.is_set():
            if select.select([self._master], [], [], 0.02)[0]:
                with contextlib.suppress(OSError):
                    for message in reader.feed(os.read(self._master, 4096)):
                        self.got.append(message)
                        self._take(message)
            with contextlib.suppress(OSError):
                self._work()

    def _take(self, message: Message) -> None:
        if isinstance(message, Who):
            self._welcomed, self._last = False, 0.0
        elif isinstance(message, Welcome):
            start = self.archived_next if message.relayed_next > len(self.stream.records) else message.relayed_next
            self.acked = self._sent = max(self.archived_next, start)
            self._welcomed, self._quiet = True, 0
        elif isinstance(message, Ack) and message.kid == self.stream.kid and message.next <= len(self.stream.records):
            self.acked = max(self.acked, message.next)
            self._quiet, self._last = 0, time.monotonic()
        elif isinstance(message, ReceiptFrame):
            receipt = verify_receipt(message.raw, CLOUD_KEY)
            if receipt.digest == hashlib.sha256(self.stream.records[receipt.seq]).digest():
                self.archived_next = max(self.archived_next, receipt.seq + 1)
        elif isinstance(message, Want):
            for raw in self.stream.records[message.first : message.thru + 1]:
                self.send(RecordFrame(raw))
        elif isinstance(message, OrderChunk):
            self.order = bytearray(message.total) if message.offset == 0 else self.order
            self.order[message.offset : message.offset + len(message.chunk)] = message.chunk

    def _work(self) -> None:
        late = time.monotonic() - self._last > self.RESEND_S
        if not self._welcomed:
            if late:
                self._last = time.monotonic()
                self.send(self.hello())
            return
        if late and self._sent > self.acked:
            self._sent, self._quiet, self._last = self.acked, self._quiet + 1, time.monotonic()
            self._welcomed = self._quiet < 3
        while self._sent < min(len(self.stream.records), self.acked + self.WINDOW):
            self.send(RecordFrame(self.stream.records[self._sent]))
            self._sent += 1
            self._last = time.monotonic()

    def hello(self) -> Hello:
        return Hello(
            self.stream.kid, self.name, 1, self.archived_next, len(self.stream.records), self.stream.head, 1, "test"
        )


class Cloud:
    """Keeps a ledger of verified records, receipts what is contiguous, wants what is not."""

    def __init__(self, port: int, gateway: str = "gw-1", *, receipts: bool = True) -> None:
        self.receipts = receipts
        self.keys: dict[bytes, bytes] = {}
        self.ledger: dict[tuple[bytes, int], bytes] = {}
        self.refused: list[bytes] = []
        self.heard = 0
        self.states: list[dict[str, object]] = []
        self._topics = Topics("cartrace/v1", "site-a", gateway)
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="cloud", protocol=paho.MQTTv311)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe(
            [(self._topics.records, 1), (self._topics.state, 1)]
        )
        self._client.on_message = lambda _client, _user, message: self._take(message)
        self._client.connect_async("127.0.0.1", port)
        self._client.loop_start()

    def enrol(self, *streams: Stream) -> "Cloud":
        self.keys.update({stream.kid: stream.public_key for stream in streams})
        return self

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def holds(self, stream: Stream) -> bool:
        return [self.ledger.get((stream.kid, seq)) for seq in range(len(stream.records))] == stream.records

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        wait_until(self._client.is_connected, "the cloud is connected")
        self._client.publish(getattr(self._topics, topic), payload, qos=1, retain=retain).wait_for_publish(WAIT_S)

    def want(self, kid: bytes, first: int, thru: int) -> None:
        self.publish("wants", encode_wants([Want(kid, first, thru)]))

    def _take(self, message: paho.MQTTMessage) -> None:
        if message.topic == self._topics.state:
            self.states.append(json.loads(message.payload))
            return
        _, entries = decode_records(bytes(message.payload))
        last: dict[bytes, int] = {}
        self.heard += len(entries)
        for _, raw in entries:
            try:
                record = decode_record(raw)
                verify_record(record, self.keys[record.kid])
            except (WireError, KeyError):
                self.refused.append(raw)
                continue
            last[record.kid] = max(record.seq, last.get(record.kid, 0))
            self.ledger[record.kid, record.seq] = raw
        for kid, seq in last.items() if self.receipts else ():
            thru = next(seq for seq in range(len(self.ledger) + 1) if (kid, seq) not in self.ledger) - 1
            for end in {thru, min(seq, thru)} - {-1}:  # SPEC W42
                digest = hashlib.sha256(self.ledger[kid, end]).digest()
                receipt = sign_receipt(CLOUD_SEED, kid, end, digest, 1)
                self._client.publish(self._topics.receipts, encode_receipts([receipt]), qos=1)


class Mosquitto:
    """A real broker on loopback. Without further settings it forgets everything when it is killed."""

    def __init__(self, directory: Path, settings: str = "allow_anonymous true", port: int | None = None) -> None:
        self.port = port or free_port()
        self._config = directory / f"mosquitto-{self.port}.conf"
        self._config.write_text(f"listener {self.port} 127.0.0.1\npersistence false\nuser root\n{settings}\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Mosquitto":
        program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        self._process = subprocess.Popen(
            [program, "-c", str(self._config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(self._answers, "mosquitto listens")
        return self

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(0.5)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class GatewayProcess:
    """`python -m gateway run` with a settings file of its own."""

    def __init__(self, directory: Path, ports: list[str], mqtt: Mapping[str, object], **more: object) -> None:
        self.directory = directory
        self.state_dir = directory / "state"
        self.config = directory / "gateway.toml"
        lines: dict[str, object] = {
            "resend_ms": 400,
            "resend_max_ms": 1600,
            "min_free_mb": 1,
            "gateway": "gw-1",
            "site": "site-a",
            "state_dir": "state",
            "cloud_key": CLOUD_KEY.hex(),
            "ports": ports,
        }
        lines |= more
        text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in lines.items())
        text += "[mqtt]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in mqtt.items())
        self.config.write_text(text)
        self._process: subprocess.Popen[bytes] | None = None
        self.log = directory / "gateway.log"

    def start(self) -> "GatewayProcess":
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gateway", "run", "--config", str(self.config)], stderr=log, stdout=log
            )
        return self

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self._process is not None
        self._process.terminate()
        code = self._process.wait(WAIT_S)
        self._process = None
        return code

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def wait_exit(self) -> int:
        assert self._process is not None
        return self._process.wait(WAIT_S)

    def live(self) -> dict[str, object]:
        """The live status, or nothing yet."""
        try:
            live: dict[str, object] = json.loads((self.state_dir / "status.json").read_text())
        except (OSError, ValueError):
            return {}
        return live

    def why(self) -> str:
        """The reasons that `status` gives a person."""
        return " | ".join(read_status(load(self.config))["why"])


@contextlib.contextmanager
def stopping(*things: object) -> Iterator[None]:
    """End whatever was started, whatever happened."""
    try:
        yield
    finally:
        for thing in things:
            if isinstance(thing, Mosquitto) or (isinstance(thing, GatewayProcess) and thing.alive):
                thing.kill()
            elif isinstance(thing, Cloud):
                thing.close()
            elif isinstance(thing, Unit) and thing._master >= 0:
                thing.unplug()
