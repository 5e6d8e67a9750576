"""Frames of the serial link: bytes become messages, noise is dropped and counted (SPEC section 8).

Trusts nothing for having arrived: the CRC guards against noise only (W52), and record, receipt and order
bytes are passed on unread. Does no I/O.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wire import cbor
from wire.bodies import LABEL, NAME
from wire.errors import WireError
from wire.order import MAX_ORDER_BYTES
from wire.receipt import MAX_RECEIPT_BYTES
from wire.record import MAX_RECORD_BYTES
from wire.shape import DIGEST, KID, UINT, Kind, integer, octets, table, wrong_shape

MAX_FRAME_BYTES = 1200  # SPEC W50, the closing zero included
MAX_CHUNK_BYTES = 900
PROTOCOL = 1
_CRC_BYTES = 4
_MAX_COUNTERS = 32  # a status stays far below one frame


@dataclass(frozen=True)
class Hello:
    """Who the unit is and where its stream stands (W53)."""

    kid: bytes
    unit: str
    epoch: int
    oldest: int
    next: int
    head: bytes
    boot: int
    firmware: str


@dataclass(frozen=True)
class RecordFrame:
    raw: bytes


@dataclass(frozen=True)
class Status:
    """Journal bytes used and in all, uptime, and counters for diagnosis only."""

    used: int
    size: int
    uptime_ms: int
    archived_next: int
    counters: Mapping[str, int]


@dataclass(frozen=True)
class Welcome:
    gateway: str
    relayed_next: int


@dataclass(frozen=True)
class Ack:
    """Every record of this session's hello below next is committed and synced (W54)."""

    kid: bytes
    next: int


@dataclass(frozen=True)
class ReceiptFrame:
    raw: bytes


@dataclass(frozen=True)
class Want:
    """Please send records first..thru of stream kid again."""

    kid: bytes
    first: int
    thru: int


@dataclass(frozen=True)
class Time:
    time_ms: int
    uncertainty_ms: int


@dataclass(frozen=True)
class OrderChunk:
    """chunk stands at offset of an order of total bytes."""

    total: int
    offset: int
    chunk: bytes


@dataclass(frozen=True)
class Who:
    """Please say hello."""


Message = Hello | RecordFrame | Status | Welcome | Ack | ReceiptFrame | Want | Time | OrderChunk | Who


@dataclass(frozen=True)
class _Layout:
    """A message's kind number (and protocol), then its fields in order."""

    message: type[Message]
    head: tuple[int, ...]
    fields: Mapping[str, Kind]


_LAYOUTS = (
    _Layout(
        Hello,
        (1, PROTOCOL),
        {
            "kid": KID,
            "unit": NAME,
            "epoch": UINT,
            "oldest": UINT,
            "next": UINT,
            "head": DIGEST,
            "boot": UINT,
            "firmware": LABEL,
        },
    ),
    _Layout(RecordFrame, (2,), {"raw": octets(1, MAX_RECORD_BYTES)}),
    _Layout(
        Status,
        (3,),
        {
            "used": UINT,
            "size": UINT,
            "uptime_ms": UINT,
            "archived_next": UINT,
            "counters": table(NAME, UINT, _MAX_COUNTERS),
        },
    ),
    _Layout(Welcome, (16, PROTOCOL), {"gateway": NAME, "relayed_next": UINT}),
    _Layout(Ack, (17,), {"kid": KID, "next": UINT}),
    _Layout(ReceiptFrame, (18,), {"raw": octets(1, MAX_RECEIPT_BYTES)}),
    _Layout(Want, (19,), {"kid": KID, "first": UINT, "thru": UINT}),
    _Layout(Time, (20,), {"time_ms": UINT, "uncertainty_ms": UINT}),
    _Layout(
        OrderChunk,
        (21,),
        {
            "total": integer(1, MAX_ORDER_BYTES),
            "offset": integer(0, MAX_ORDER_BYTES - 1),
            "chunk": octets(1, MAX_CHUNK_BYTES),
        },
    ),
    _Layout(Who, (22,), {}),
)
_BY_KIND = {layout.head[0]: layout for layout in _LAYOUTS}
_BY_MESSAGE = {layout.message: layout for layout in _LAYOUTS}


def message_body(message: Message) -> list[Any]:
    """message as the CBOR array of a frame."""
    layout = _BY_MESSAGE[type(message)]
    return [*layout.head, *(kind.write(getattr(message, name)) for name, kind in layout.fields.items())]


def read_message(body: Any) -> Message:
    """The message of a frame's CBOR array. Raises WireError('wrong_shape')."""
    layout = _BY_KIND.get(body[0]) if type(body) is list and body and type(body[0]) is int else None
    if layout is None:
        raise wrong_shape("no kind of message that this version knows")
    head, fields = body[: len(layout.head)], body[len(layout.head) :]
    if [type(part) for part in head] != [int] * len(layout.head) or tuple(head) != layout.head:
        raise wrong_shape(f"a {layout.message.__name__} begins with {list(layout.head)}")
    if len(fields) != len(layout.fields):
        raise wrong_shape(f"a {layout.message.__name__} has {len(layout.fields)} fields, not {len(fields)}")
    message = layout.message(*(kind.read(part) for kind, part in zip(layout.fields.values(), fields, strict=True)))
    if isinstance(message, Want) and message.first > message.thru:
        raise wrong_shape("a want ends before it begins")
    if isinstance(message, OrderChunk) and message.offset + len(message.chunk) > message.total:
        raise wrong_shape("a chunk lies beyond the end of its order")
    return message


def encode_frame(message: Message) -> bytes:
    """message as COBS(body + CRC-32) and the closing zero (W50).

    Raises WireError: wrong_shape (a field out of bounds), too_large.
    """
    body = cbor.encode(message_body(message))
    read_message(cbor.decode(body, MAX_FRAME_BYTES))
    frame = cobs_encode(body + zlib.crc32(body).to_bytes(_CRC_BYTES, "little")) + b"\x00"
    if len(frame) > MAX_FRAME_BYTES:
        raise WireError("too_large", f"a frame of {len(frame)} bytes, at most {MAX_FRAME_BYTES} are allowed (W50)")
    return frame


def decode_frame(block: bytes) -> Message:
    """The message between two zeros. Raises WireError (bad_frame, or what cbor and shape say)."""
    content = cobs_decode(block)
    body, crc = content[:-_CRC_BYTES], content[-_CRC_BYTES:]
    if not body or zlib.crc32(body).to_bytes(_CRC_BYTES, "little") != crc:
        raise WireError("bad_frame", "the CRC-32 does not agree")
    return read_message(cbor.decode(body, MAX_FRAME_BYTES))


def cobs_encode(content: bytes) -> bytes:
    """content without zero bytes (consistent overhead byte stuffing)."""
    stuffed = bytearray()
    for block in content.split(b"\x00"):
        while len(block) >= 254:
            stuffed += b"\xff" + block[:254]
            block = block[254:]
        stuffed += bytes((len(block) + 1,)) + block
    return bytes(stuffed)


def cobs_decode(stuffed: bytes) -> bytes:
    """The inverse of cobs_encode. Raises WireError('bad_frame')."""
    content = bytearray()
    position = 0
    while position < len(stuffed):
        code = stuffed[position]
        block = stuffed[position + 1 : position + code]
        if code == 0 or len(block) != code - 1 or 0 in block:
            raise WireError("bad_frame", "no COBS block")
        content += block
        position += code
        if code != 0xFF and position < len(stuffed):
            content.append(0)
    return bytes(content)


class FrameReader:
    """Turns a byte stream, cut and damaged anywhere, into messages (W51).

    noise: frames dropped; noise_bytes: their bytes. Empty frames (two zeros) are idle, not noise.
    """

    def __init__(self) -> None:
        self.noise = 0
        self.noise_bytes = 0
        self._pending = bytearray()
        self._overlong = False  # dropping until the next zero

    def feed(self, chunk: bytes) -> list[Message]:
        """The messages that chunk completes, in order."""
        messages: list[Message] = []
        *ends, rest = chunk.split(b"\x00")
        for end in ends:
            self._collect(end)
            message = self._close()
            if message is not None:
                messages.append(message)
        self._collect(rest)
        return messages

    def _collect(self, part: bytes) -> None:
        """Keep part, or drop the frame as soon as it is too long to be one."""
        if self._overlong:
            self.noise_bytes += len(part)
        elif len(self._pending) + len(part) >= MAX_FRAME_BYTES:
            self._overlong = True
            self.noise += 1
            self.noise_bytes += len(self._pending) + len(part)
            self._pending.clear()
        else:
            self._pending += part

    def _close(self) -> Message | None:
        block, self._pending = bytes(self._pending), bytearray()
        if self._overlong:
            self._overlong = False
            return None
        if not block:
            return None
        try:
            return decode_frame(block)
        except WireError:
            self.noise += 1
            self.noise_bytes += len(block)
            return None


def order_chunks(raw: bytes) -> list[OrderChunk]:
    """The frames that carry the order raw, in order."""
    return [
        OrderChunk(len(raw), offset, raw[offset : offset + MAX_CHUNK_BYTES])
        for offset in range(0, len(raw), MAX_CHUNK_BYTES)
    ]
