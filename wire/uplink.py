"""MQTT payloads and topics between gateway and cloud (SPEC section 9).

Carries records, receipts and orders as opaque bytes and judges none of them.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wire import cbor
from wire.errors import WireError
from wire.frames import Want
from wire.order import MAX_ORDER_BYTES
from wire.receipt import MAX_RECEIPT_BYTES
from wire.record import MAX_RECORD_BYTES
from wire.shape import KID, UINT, Kind, array, octets, wrong_shape

DEFAULT_ROOT = "cartrace/v1"
MAX_MESSAGE_BYTES = 65_536  # SPEC W4
MAX_RECORDS = 256
SHARDS = 16  # SPEC W60
_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")
_ROOT = re.compile(r"[^/+#\x00-\x1f\x7f]+(?:/[^/+#\x00-\x1f\x7f]+)*")
_SHARD = re.compile(r"[0-9]|1[0-5]")


def _pair(value: Any) -> tuple[int, bytes]:
    if type(value) is not list or len(value) != 2:
        raise wrong_shape("an entry is [arrival_ms, record bytes]")
    return UINT.read(value[0]), _RECORD.read(value[1])


def _want(value: Any) -> Want:
    if type(value) is not list or len(value) != 3:
        raise wrong_shape("a want is [kid, from, thru]")
    want = Want(KID.read(value[0]), UINT.read(value[1]), UINT.read(value[2]))
    if want.first > want.thru:
        raise wrong_shape("a want ends before it begins")
    return want


_RECORD = octets(1, MAX_RECORD_BYTES)
_ENTRIES = array(Kind(_pair, list), 1, MAX_RECORDS)
_RECEIPTS = array(octets(1, MAX_RECEIPT_BYTES), 0, MAX_MESSAGE_BYTES)
_WANTS = array(Kind(_want, lambda want: [want.kid, want.first, want.thru]), 0, MAX_MESSAGE_BYTES)
_ORDERS = array(octets(1, MAX_ORDER_BYTES), 0, MAX_MESSAGE_BYTES)


def encode_records(number: int, entries: Sequence[tuple[int, bytes]]) -> bytes:
    """One records message: number is for diagnosis (W61), entries are (arrival_ms, record bytes).

    Raises WireError: too_large, wrong_shape.
    """
    return _bounded([number, _ENTRIES.write(entries)], decode_records)


def decode_records(payload: bytes) -> tuple[int, list[tuple[int, bytes]]]:
    """(number, [(arrival_ms, record bytes)]). Raises WireError."""
    message = cbor.decode(payload, MAX_MESSAGE_BYTES)
    if type(message) is not list or len(message) != 2:
        raise wrong_shape("a records message is [number, entries]")
    return UINT.read(message[0]), list(_ENTRIES.read(message[1]))


def encode_receipts(receipts: Sequence[bytes]) -> bytes:
    return _bounded(list(receipts), decode_receipts)


def decode_receipts(payload: bytes) -> list[bytes]:
    """The receipts as bytes, not verified. Raises WireError."""
    return list(_RECEIPTS.read(cbor.decode(payload, MAX_MESSAGE_BYTES)))


def encode_wants(wants: Sequence[Want]) -> bytes:
    return _bounded(_WANTS.write(wants), decode_wants)


def decode_wants(payload: bytes) -> list[Want]:
    """Raises WireError."""
    return list(_WANTS.read(cbor.decode(payload, MAX_MESSAGE_BYTES)))


def encode_orders(orders: Sequence[bytes]) -> bytes:
    return _bounded(list(orders), decode_orders)


def decode_orders(payload: bytes) -> list[bytes]:
    """The orders as bytes, not verified. Raises WireError."""
    return list(_ORDERS.read(cbor.decode(payload, MAX_MESSAGE_BYTES)))


def _bounded(message: list[Any], decode: Any) -> bytes:
    """message encoded, after the same checks that the receiver will make."""
    payload = cbor.encode(message)
    decode(payload)
    return payload


def shard_of(gateway: str) -> int:
    """0..15 (W60), so that ingest workers can take disjoint shares."""
    return hashlib.sha256(gateway.encode()).digest()[0] % SHARDS


@dataclass(frozen=True)
class Topics:
    """The topics of one gateway. Raises WireError('bad_topic') for names that W60 does not allow."""

    root: str
    site: str
    gateway: str

    def __post_init__(self) -> None:
        if not _ROOT.fullmatch(self.root):
            raise WireError("bad_topic", f"root {self.root!r} is empty, or has a wildcard or an empty level")
        for name in (self.site, self.gateway):
            if not _NAME.fullmatch(name):
                raise WireError("bad_topic", f"{name!r} is no site or gateway: use 1..32 of A-Z a-z 0-9 _ - (W60)")

    @property
    def records(self) -> str:
        return f"{self.root}/{self.site}/{shard_of(self.gateway)}/{self.gateway}/records"

    @property
    def state(self) -> str:
        return f"{self.root}/{self.site}/{self.gateway}/state"

    @property
    def receipts(self) -> str:
        return f"{self.root}/{self.site}/{self.gateway}/receipts"

    @property
    def wants(self) -> str:
        return f"{self.root}/{self.site}/{self.gateway}/wants"

    @property
    def orders(self) -> str:
        return f"{self.root}/{self.site}/{self.gateway}/orders"


@dataclass(frozen=True)
class ParsedTopic:
    """What a topic says: kind is records, state, receipts, wants or orders; shard only for records."""

    site: str
    gateway: str
    kind: str
    shard: int | None


def parse_topic(root: str, topic: str) -> ParsedTopic:
    """Whose topic it is, and for what. Raises WireError('bad_topic')."""
    levels = topic.removeprefix(root + "/").split("/") if topic.startswith(root + "/") else []
    if len(levels) == 4 and levels[3] == "records" and _SHARD.fullmatch(levels[1]):
        parsed = ParsedTopic(levels[0], levels[2], "records", int(levels[1]))
    elif len(levels) == 3 and levels[2] in ("state", "receipts", "wants", "orders"):
        parsed = ParsedTopic(levels[0], levels[1], levels[2], None)
    else:
        raise WireError("bad_topic", f"{topic!r} is none of the topics of SPEC section 9")
    if getattr(Topics(root, parsed.site, parsed.gateway), parsed.kind) != topic:
        raise WireError("bad_topic", f"{topic!r} names shard {parsed.shard}, its gateway has another (W60)")
    return parsed
