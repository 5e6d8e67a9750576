"""The broker's side of ingest: connects for ever, hands messages to the worker, publishes its answers (SPEC section 9).

Decides nothing about records. Callbacks run on paho's thread and never block: a full queue drops the message
unacknowledged and the session is renewed later, so that the broker delivers it again. A broker that is absent or
refuses costs one sentence, not the process.
"""

import json
import queue
import random
import ssl
import sys
import threading
from typing import Any

import paho.mqtt.client as mqtt
import structlog
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from cloud.config import Config, ConfigError
from cloud.ingest.commit import Message
from cloud.ingest.worker import Delivery, Worker
from wire import SHARDS, WireError, parse_topic

QUEUE_MESSAGES = 64  # a broker keeps about 20 in flight; more only means that it ignores its limit
KEEPALIVE_S = 30
FIRST_RETRY_S, LONGEST_RETRY_S = 1.0, 30.0
DRAIN_S = 1.0  # how often a full queue is looked at again

log = structlog.get_logger("cloud.ingest")


class Uplink:
    """One persistent MQTT session for a share of the shards."""

    def __init__(self, config: Config, shards: list[int]) -> None:
        self.deliveries: queue.Queue[Delivery] = queue.Queue(QUEUE_MESSAGES)
        self._config = config
        self._shards = shards
        self._connection = 0
        self._overflowed = False
        self._said = ""
        self._stopping = threading.Event()
        self._worker: Worker | None = None
        self._client = self._made_client()

    def run(self, worker: Worker) -> None:
        """Serve until stop(); the worker runs on the calling thread. Raises ConfigError for unusable credentials."""
        self._worker = worker
        self._client.connect_async(self._config.mqtt_host, self._config.mqtt_port, KEEPALIVE_S)
        self._client.loop_start()
        drainer = threading.Thread(target=self._renew_after_overflow, name="drain", daemon=True)
        drainer.start()
        try:
            worker.run()
        finally:
            self._stopping.set()
            self._client.disconnect()
            self._client.loop_stop()

    def publish(self, topic: str, payload: bytes) -> None:
        """Queue an answer; without a connection it is dropped, for every answer is repeated when asked again."""
        if self._client.is_connected():
            self._client.publish(topic, payload, qos=1)

    def acknowledge(self, delivery: Delivery) -> None:
        """Tell the broker that a message is committed; a message of an earlier connection comes again anyway."""
        if delivery.connection == self._connection:
            self._client.ack(delivery.mid, 1)

    def _made_client(self) -> mqtt.Client:
        config, shards = self._config, self._shards
        name = f"cartrace-ingest-{shards[0]}-{shards[-1]}"
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, clean_session=False, manual_ack=True)
        jitter = random.uniform(0.8, 1.2)  # noqa: S311 - so that several workers do not return in step
        client.reconnect_delay_set(FIRST_RETRY_S * jitter, LONGEST_RETRY_S * jitter)  # type: ignore[arg-type] # any number
        if config.mqtt_username is not None:
            client.username_pw_set(config.mqtt_username, config.mqtt_password)
        if config.mqtt_ca_file is not None:
            try:
                client.tls_set(
                    str(config.mqtt_ca_file),
                    str(config.mqtt_cert) if config.mqtt_cert else None,
                    str(config.mqtt_key) if config.mqtt_key else None,
                )
            except (OSError, ValueError) as error:
                raise ConfigError(
                    f"The certificates for the broker cannot be used: {error}. Check mqtt_ca_file."
                ) from error
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        return client

    @property
    def _where(self) -> str:
        return f"{self._config.mqtt_host}:{self._config.mqtt_port}"

    def _say(self, event: str, sentence: str) -> None:
        """One line per change: a broker that stays away says nothing new."""
        if sentence != self._said:
            self._said = sentence
            log.warning(event, message=sentence)

    def _on_connect(
        self, client: mqtt.Client, _: Any, flags: mqtt.ConnectFlags, reason: ReasonCode, __: Properties | None
    ) -> None:
        if reason.is_failure:
            self._say(
                "broker_refuses",
                f"The broker at {self._where} refuses the connection ({reason}); "
                "check user name, password and certificate. Trying again.",
            )
            return
        self._connection += 1
        root = self._config.mqtt_root
        shards = ["+"] if len(self._shards) == SHARDS else [str(shard) for shard in self._shards]
        topics = [f"{root}/+/{shard}/+/records" for shard in shards] + [f"{root}/+/+/state"]
        client.subscribe([(topic, 1) for topic in topics])
        self._said = ""
        log.info("broker_connected", broker=self._where, session_kept=flags.session_present)
        if self._worker is not None:
            self._worker.orders_wanted.set()

    def _on_subscribe(
        self, _client: mqtt.Client, _: Any, __: int, reasons: list[ReasonCode], ___: Properties | None
    ) -> None:
        if any(reason.is_failure for reason in reasons):
            self._say(
                "broker_forbids",
                f"The broker at {self._where} does not let us read the records; correct its access list for this user.",
            )

    def _on_connect_fail(self, _client: mqtt.Client, _: Any) -> None:
        error = sys.exception()  # paho calls this while it handles the error, and does not hand it over
        if isinstance(error, ssl.SSLCertVerificationError):
            self._say(
                "broker_untrusted",
                f"The broker at {self._where} shows a certificate that is not trusted ({error.verify_message}); "
                "correct mqtt_ca_file, or check the date of this computer. Trying again.",
            )
        elif isinstance(error, ssl.SSLError):
            self._say(
                "broker_tls",
                f"The broker at {self._where} and the cloud agree on no TLS ({error.reason or error}); "
                "check mqtt_port and the certificates. Trying again.",
            )
        else:
            self._say(
                "broker_absent", f"No broker answers at {self._where}; start it or correct mqtt_host. Trying again."
            )

    def _on_disconnect(
        self, _client: mqtt.Client, _: Any, __: mqtt.DisconnectFlags, reason: ReasonCode, ___: Properties | None
    ) -> None:
        if reason.is_failure:
            self._say("broker_lost", f"The connection to the broker at {self._where} ended ({reason}). Trying again.")

    def _on_message(self, client: mqtt.Client, _: Any, message: mqtt.MQTTMessage) -> None:
        try:
            topic = parse_topic(self._config.mqtt_root, message.topic)
        except (WireError, UnicodeDecodeError) as error:
            log.warning("topic_ignored", message=f"A message on a topic that nobody of ours uses was ignored: {error}.")
            client.ack(message.mid, message.qos)
            return
        if topic.kind == "records" and not message.retain:
            self._queue(
                Delivery(Message(topic.site, topic.gateway, bytes(message.payload)), message.mid, self._connection)
            )
            return
        client.ack(message.mid, message.qos)
        if topic.kind == "records":
            log.warning("retained_dropped", message=f"A retained message of {topic.gateway} was dropped (W64).")
        elif _online(bytes(message.payload)) and self._worker is not None:
            self._worker.orders_wanted.set()

    def _queue(self, delivery: Delivery) -> None:
        try:
            self.deliveries.put_nowait(delivery)
        except queue.Full:
            self._overflowed = True

    def _renew_after_overflow(self) -> None:
        """Once the queue is empty again, drop the connection: the broker then redelivers what was not acknowledged."""
        while not self._stopping.wait(DRAIN_S):
            if self._overflowed and self.deliveries.empty():
                self._overflowed = False
                log.warning("session_renewed", message="The broker sent more than fits; the rest is fetched again.")
                self._client.disconnect()
                self._client.loop_stop()
                self._client.connect_async(self._config.mqtt_host, self._config.mqtt_port, KEEPALIVE_S)
                self._client.loop_start()


def _online(payload: bytes) -> bool:
    """Whether a gateway's state message says that it is online; anything else is no news."""
    try:
        state = json.loads(payload)
    except (ValueError, RecursionError):
        return False
    return isinstance(state, dict) and state.get("online") is True
