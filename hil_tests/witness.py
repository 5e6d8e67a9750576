"""A witness on the broker: keeps every receipt that the cloud publishes, and says when one came before its records.

It also notes the place of every record that the broker passes on: the broker has taken that one from its gateway.

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
RECEIPTS, RECORDS = "cartrace/v1/+/+/receipts", "cartrace/v1/+/+/+/records"


class Witness:
    """Listens from start() to stop(). receipts: their bytes; too_early: one sentence for each that was.

    taken: (kid, seq) of every record that the broker took, in the order heard.
    """

    def __init__(self, broker_port: int, database: Path) -> None:
        self.receipts: list[bytes] = []
        self.too_early: list[str] = []
        self.taken: list[tuple[bytes, int]] = []
        self._database = database
        self._lock = threading.Lock()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="witness")
        self._client.on_connect = lambda client, *_: client.subscribe([(RECEIPTS, 1), (RECORDS, 1)])
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
        if message.topic.endswith("/records"):
            self._note(bytes(message.payload))
            return
        try:
            receipts = [bytes(raw) for raw in read_cbor(bytes(message.payload))]
            for raw in receipts:
                self._look(raw)
        except (UnreadableError, TypeError, KeyError, ValueError) as error:
            self.too_early.append(f"a message on {message.topic} holds no receipts: {error!r}")

    def _note(self, payload: bytes) -> None:
        _number, entries = read_cbor(payload)
        for _arrival_ms, raw in entries:
            try:
                record = take_apart(raw)
                self.taken.append((record.kid, record.event[1]))
            except (UnreadableError, TypeError, KeyError, ValueError):
                continue  # a bad carrier's bytes; they are the cloud's to judge

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
