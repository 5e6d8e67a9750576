"""The bench's broker forgets, refuses and comes back; its network cuts, swallows and heals: the faults are real."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from hil_tests.broker import Broker
from hil_tests.network import Network
from hil_tests.programs import wait_until

LIMIT_S = 20.0


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path / "broker")
    broker.start()
    yield broker
    broker.stop()


class Client:
    """A plain MQTT client that notes what it hears."""

    def __init__(self, port: int, name: str, *, topic: str = "", keep: bool = False, login: str = "") -> None:
        self.heard: list[bytes] = []
        self.connected = threading.Event()
        self.refused = threading.Event()
        self._topic = topic
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, clean_session=not keep)
        if login:
            self._client.username_pw_set(*login.split(":"))
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = lambda *_: self.connected.clear()
        self._client.on_message = lambda _c, _u, message: self.heard.append(bytes(message.payload))
        self._client.reconnect_delay_set(1, 1)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def _on_connect(self, _client: Any, _userdata: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self.refused.set()
            return
        if self._topic:
            self._client.subscribe(self._topic, qos=1)
        self.connected.set()

    def publish(self, payload: bytes, *, wait: bool = True) -> None:
        message = self._client.publish("t", payload, qos=1)
        if wait:
            message.wait_for_publish(LIMIT_S)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def test_the_forgetting_broker_forgets_what_it_acknowledged(broker: Broker) -> None:
    away = Client(broker.port, "away", topic="t", keep=True)
    assert away.connected.wait(LIMIT_S)
    wait_until(lambda: _echo(broker, away), what="the subscription", timeout_s=LIMIT_S)
    away.close()
    sender = Client(broker.port, "sender")
    sender.publish(b"acknowledged")  # returns after PUBACK
    broker.kill9()
    broker.start()
    back = Client(broker.port, "away", topic="t", keep=True)
    assert back.connected.wait(LIMIT_S)
    wait_until(lambda: _echo(broker, back), what="the subscription", timeout_s=LIMIT_S)
    assert b"acknowledged" not in back.heard
    sender.close()
    back.close()


def _echo(broker: Broker, client: Client) -> bool:
    before = len(client.heard)
    probe = Client(broker.port, "probe")
    probe.publish(b"echo")
    probe.close()
    return len(client.heard) > before


def test_the_refusing_broker_wants_a_password(tmp_path: Path) -> None:
    broker = Broker(tmp_path / "broker", refusing=True, accounts={"gateway": "right"})
    broker.start()
    try:
        stranger, known = Client(broker.port, "s"), Client(broker.port, "k", login="gateway:right")
        assert stranger.refused.wait(LIMIT_S)
        assert known.connected.wait(LIMIT_S)
        stranger.close()
        known.close()
    finally:
        broker.stop()


def test_a_cut_network_loses_the_connection_and_heals(broker: Broker) -> None:
    network = Network(broker.port)
    client = Client(network.port, "c", topic="t")
    assert client.connected.wait(LIMIT_S)
    network.cut()
    wait_until(lambda: not client.connected.is_set(), what="the connection to break", timeout_s=LIMIT_S)
    client.publish(b"during the cut", wait=False)
    network.restore()
    wait_until(lambda: b"during the cut" in client.heard, what="the message after the cut", timeout_s=LIMIT_S)
    client.close()
    network.close()


def test_a_black_hole_carries_nothing_and_breaks_nothing(broker: Broker) -> None:
    network = Network(broker.port)
    client = Client(network.port, "c", topic="t")
    assert client.connected.wait(LIMIT_S)
    wait_until(lambda: _heard_itself(client), what="the subscription", timeout_s=LIMIT_S)
    network.blackhole()
    client.publish(b"into the hole", wait=False)
    with pytest.raises(Exception, match="in vain"):
        wait_until(lambda: b"into the hole" in client.heard, what="a message out of the hole", timeout_s=1)
    assert client.connected.is_set()
    network.restore()
    wait_until(lambda: b"into the hole" in client.heard, what="the message afterwards", timeout_s=LIMIT_S)
    client.close()
    network.close()


def _heard_itself(client: Client) -> bool:
    client.publish(b"hello")
    return b"hello" in client.heard
