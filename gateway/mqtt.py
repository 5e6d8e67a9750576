"""The line to the broker: MQTT 3.1.1 over paho, on a thread of its own (SPEC section 9).

Decides when to connect again, and says in one sentence why it is not connected. Stores nothing: what the broker has
not acknowledged is in the spool, and at most 20 messages are in paho's memory at a time. Callbacks only note and
return.
"""

import random
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from gateway.errors import ConfigError
from gateway.settings import Mqtt
from wire import Topics

IN_FLIGHT_MAX = 20  # larger windows double paho's work and only fill the broker's memory
RETRY_S = (0.5, 30.0)  # first and longest wait before the next attempt
LOOP_S = 0.5  # how long the loop waits before it looks whether to stop
CONNECT_S = 5.0
GOODBYE_S = 2.0
QOS = 1


@dataclass(frozen=True, slots=True)
class BrokerUp:
    """Connected and subscribed."""


@dataclass(frozen=True, slots=True)
class BrokerDown:
    problem: str


@dataclass(frozen=True, slots=True)
class FromCloud:
    """A message that was not retained. Call Broker.done(message) once its effect is committed."""

    topic: str
    payload: bytes
    mid: int
    connection: int


BrokerEvent = BrokerUp | BrokerDown | FromCloud


class Broker:
    """One persistent session under a fixed client id. report must not block."""

    def __init__(self, settings: Mqtt, topics: Topics, report: Callable[[BrokerEvent], None]) -> None:
        self.retained_dropped = 0
        self._settings, self._topics, self._report = settings, topics, report
        self._stop = threading.Event()
        self._bounce = threading.Event()
        self._up = False
        self._connection = 0  # counts connections: an acknowledgement of an older one would name another message
        self._published = 0
        self._confirmed = 0  # paho sends unconfirmed messages again by itself, so the difference outlives a connection
        self._refusal: str | None = None
        self._client = self._make_client()
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)

    @property
    def where(self) -> str:
        return f"{self._settings.host}:{self._settings.port}"

    @property
    def up(self) -> bool:
        """Connected and subscribed."""
        return self._up

    def start(self) -> None:
        self._thread.start()

    def stop(self, last_state: bytes) -> None:
        """Say good-bye with a last state, so that the will need not speak for us; returns within seconds."""
        if self._up:
            self.publish(self._topics.state, last_state, retain=True)
            give_up_at = time.monotonic() + GOODBYE_S
            while self._up and self._published > self._confirmed and time.monotonic() < give_up_at:
                time.sleep(0.02)
        self._stop.set()
        self._thread.join(CONNECT_S + 2 * LOOP_S)

    def bounce(self) -> None:
        """Connect anew, so that the broker sends again what was not acknowledged."""
        self._bounce.set()

    def room(self) -> int:
        """How many messages may be published now; 0 while not connected."""
        return max(0, IN_FLIGHT_MAX - (self._published - self._confirmed)) if self._up else 0

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Hand a message to the broker. Never blocks; only within room(), and from one thread."""
        self._published += 1
        self._client.publish(topic, payload, qos=QOS, retain=retain)

    def done(self, message: FromCloud) -> None:
        """Acknowledge a message whose effect is committed."""
        if self._up and message.connection == self._connection:
            self._client.ack(message.mid, QOS)

    def _make_client(self) -> paho.Client:
        settings = self._settings
        client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=f"cartrace-{self._topics.gateway}", clean_session=False,
            protocol=paho.MQTTv311, manual_ack=True, reconnect_on_failure=False,
        )  # fmt: skip
        client.connect_timeout = CONNECT_S
        client.max_inflight_messages_set(IN_FLIGHT_MAX)
        client.will_set(self._topics.state, b'{"online": false}', qos=QOS, retain=True)
        if settings.username is not None:
            client.username_pw_set(settings.username, _password(settings))
        if settings.tls:
            try:
                client.tls_set(_text(settings.ca_file), _text(settings.cert_file), _text(settings.key_file))
            except (OSError, ValueError) as error:
                raise ConfigError(
                    f"mqtt.ca_file, cert_file or key_file cannot be used ({error}); check that they are PEM files"
                ) from error
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        # Tells paho that publish() must only queue and wake the loop: the socket belongs to our thread.
        client.on_socket_register_write = lambda *_: None
        return client

    def _run(self) -> None:
        wait_s = RETRY_S[0]
        while not self._stop.is_set():
            problem, was_up = self._connect_once()
            self._up = False
            if self._stop.is_set():
                return
            self._report(BrokerDown(problem))
            wait_s = RETRY_S[0] if was_up else min(wait_s * 2, RETRY_S[1])
            self._stop.wait(wait_s * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, no secret

    def _connect_once(self) -> tuple[str, bool]:
        """Stay with one connection until it ends: why it ended, and whether it had been up."""
        self._refusal = None
        self._bounce.clear()
        self._connection += 1
        try:
            self._client.connect(self._settings.host, self._settings.port, self._settings.keepalive_s)
        except (OSError, ValueError) as error:
            return _why_not_connected(self.where, error), False
        reason = MQTTErrorCode.MQTT_ERR_SUCCESS
        while reason == MQTTErrorCode.MQTT_ERR_SUCCESS and not self._stop.is_set() and not self._bounce.is_set():
            reason = self._client.loop(LOOP_S)
            if self._refusal is not None and not self._up:
                break
        was_up = self._up
        self._client.disconnect()
        self._client.loop(0)
        return (
            self._refusal
            or f"broker_lost: the connection to broker {self.where} was lost; check the broker and the network",
            was_up,
        )

    # -- callbacks, on the loop's thread

    def _on_connect(self, client: paho.Client, _user: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:
        if reason.is_failure:
            self._refusal = _why_refused(self.where, reason)
            return
        client.subscribe([(topic, QOS) for topic in (self._topics.receipts, self._topics.wants, self._topics.orders)])

    def _on_subscribe(
        self, _client: paho.Client, _user: Any, _mid: int, reasons: list[ReasonCode], _properties: Any
    ) -> None:
        if any(reason.is_failure for reason in reasons):
            self._refusal = (
                f"broker_refuses: broker {self.where} refuses the subscriptions of gateway {self._topics.gateway}; "
                f"allow it to read {self._topics.receipts}, /wants and /orders in the broker's access list"
            )
            return
        self._up = True
        self._report(BrokerUp())

    def _on_message(self, client: paho.Client, _user: Any, message: paho.MQTTMessage) -> None:
        if message.retain:  # SPEC W64
            self.retained_dropped += 1
            client.ack(message.mid, message.qos)
            return
        self._report(FromCloud(message.topic, bytes(message.payload), message.mid, self._connection))

    def _on_publish(self, _client: paho.Client, _user: Any, _mid: int, _reason: Any, _properties: Any) -> None:
        self._confirmed += 1


def _text(path: object) -> str | None:
    return None if path is None else str(path)


def _password(settings: Mqtt) -> str | None:
    if settings.password_file is None:
        return None
    return settings.password_file.read_text(encoding="utf-8").strip()


def _why_refused(where: str, reason: ReasonCode) -> str:
    words = str(reason)
    if "uthor" in words or "password" in words.lower():
        return (
            "broker_refuses: "
            f"broker {where} refuses this gateway ({words}); check mqtt.username and mqtt.password_file, "
            "or that its client certificate is known to the broker"
        )
    return f"broker_refuses: broker {where} refuses this gateway ({words}); check the broker's log"


def _why_not_connected(where: str, error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        return f"broker_unknown: broker host of {where} is unknown; correct mqtt.host or the name service"
    if isinstance(error, ConnectionRefusedError):
        return (
            "broker_down: "
            f"nobody answers at broker {where} (connection refused); start it or correct mqtt.host and mqtt.port"
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"broker_untrusted: broker {where} shows a certificate that is not trusted ({error.verify_message}); "
            "correct mqtt.ca_file, or check the date of this computer"
        )
    if isinstance(error, ssl.SSLError):
        return (
            f"broker_tls: broker {where} and this gateway agree on no TLS ({error.reason or error}); "
            "check mqtt.port and the certificates"
        )
    if isinstance(error, TimeoutError):
        return f"broker_silent: broker {where} does not answer; check the network and the firewall"
    return f"broker_unreachable: broker {where} cannot be reached ({error}); check the network"
