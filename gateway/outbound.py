"""Carries out what the uplink decides: reads rows from the spool, packs them into messages, hands them to the broker.

Never alters a record (W58) and never stores a message: what is lost on the way is read from the spool again.
"""

from collections import Counter
from collections.abc import Sequence

import structlog

from gateway.mqtt import Broker
from gateway.peek import RECORD_BYTES_MAX
from gateway.spool import Row, Spool
from gateway.uplink import ASK_ROWS, After, Ask, Range, Uplink
from wire import MAX_MESSAGE_BYTES, Clock, encode_records

ENTRY_BYTES = 16  # CBOR around one record in a message: array, arrival time, length

log = structlog.get_logger("gateway")


class Outbound:
    """The records topic of one gateway."""

    def __init__(self, topic: str, spool: Spool, uplink: Uplink, broker: Broker, clock: Clock) -> None:
        self._topic, self._spool, self._uplink, self._broker, self._clock = topic, spool, uplink, broker, clock
        self._number = 0  # SPEC W61
        self.counters: Counter[str] = Counter()

    def publish(self, now_ms: int) -> None:
        """Publish what is due, as far as the broker has room. now_ms: monotonic."""
        while self._broker.room() > 1:  # one is kept for the state
            ask = self._uplink.next(now_ms)
            if ask is None:
                return
            rows = self._sendable(self._rows_for(ask))
            if not rows:
                self._uplink.nothing(ask, self._spool.newest_row())
                continue
            self._number += 1
            payload = encode_records(self._number, [(row.arrival_ms, row.record) for row in rows])
            self._broker.publish(self._topic, payload)
            self.counters["records_published"] += len(rows)
            self._uplink.published(ask, [row.row for row in rows], rows[-1].seq, now_ms)

    def _rows_for(self, ask: Ask) -> list[Row]:
        if isinstance(ask, Range):
            return self._spool.rows_between(ask.kid, ask.first, ask.thru, ask.limit)
        if isinstance(ask, After):
            if ask.kid is None:
                return self._spool.strangers_after(ask.row, ask.limit)
            return self._spool.rows_after(ask.kid, ask.row, ask.limit)
        return self._spool.rows_numbered(ask.rows)

    def _sendable(self, rows: Sequence[Row]) -> list[Row]:
        """As many of rows, in order, as fit into one message. What no message can carry is set aside."""
        sendable: list[Row] = []
        room_bytes = MAX_MESSAGE_BYTES - 2 * ENTRY_BYTES
        for row in rows[:ASK_ROWS]:
            if not _is_sendable(row):
                self._spool.set_aside(row, self._clock.now_ms(), "the row was altered and is no record any more")
                log.warning(
                    "row_set_aside", row=row.row, text="a row of the spool is no record any more; it was set aside"
                )
                continue
            room_bytes -= len(row.record) + ENTRY_BYTES
            if room_bytes < 0:
                break
            sendable.append(row)
        return sendable


def _is_sendable(row: Row) -> bool:
    """Whether the columns still hold what keep() wrote; anybody with the disk can write others."""
    return (
        type(row.record) is bytes
        and 1 <= len(row.record) <= RECORD_BYTES_MAX
        and type(row.arrival_ms) is int
        and row.arrival_ms >= 0
        and type(row.seq) is int
    )
