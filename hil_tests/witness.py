"""A witness on the broker: keeps every receipt that the cloud publishes, and says when one came before its records.

It looks into the ledger at the moment a receipt passes: what the receipt covers must be committed by then (SPEC W40).
"""

import sqlite3
import threading
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from hil_tests.signed import UnreadableError, read_cbor, take_apart

RECONNECT_S = 1


class Witness:
    """Listens from start() to stop(). receipts: their bytes; too_early: one sentence for each that was."""

    def __init__(self, broker_port: int, database: Path) -> None:
        self.receipts: list[bytes] = []
        self.too_early: list[str] = []
        self._database = database
        self._lock = threading.Lock()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="witness")
        self._client.on_connect = lambda client, *_: client.subscribe("cartrace/v1/+/+/receipts", qos=1)
        self._client.on_message = self._heard
        self._client.reconnect_delay_set(RECONNECT_S, RECONNECT_S)
        self._broker_port = broker_port

    def start(self) -> None:
        self._client.connect("127.0.0.1", self._broker_port)
        self._client.loop_start()

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _heard(self, _client: Any, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        try:
            receipts = [bytes(raw) for raw in read_cbor(bytes(message.payload))]
            for raw in receipts:
                self._look(raw)
        except (UnreadableError, TypeError, KeyError, ValueError) as error:
            self.too_early.append(f"a message on {message.topic} holds no receipts: {error!r}")

    def _look(self, raw: bytes) -> None:
        event = take_apart(raw).event
        kid, seq = event[1], event[2]
        database = sqlite3.connect(f"file:{self._database}?mode=ro", uri=True, timeout=20)
        try:
            count = "SELECT count(DISTINCT seq) FROM ledger_ledgerrecord WHERE kid = ? AND seq <= ?"
            held = database.execute(count, (kid, seq)).fetchone()[0]
        finally:
            database.close()
        with self._lock:
            self.receipts.append(raw)
            if held != seq + 1:
                self.too_early.append(
                    f"a receipt for {kid.hex()} through {seq} was sent while the ledger held {held} of them"
                )
