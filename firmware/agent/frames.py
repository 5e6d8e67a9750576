"""Frames on the serial line: turns message lists into bytes and back, and drops whatever is no frame.

A message is the list [kind, field, ..] of SPEC section 8. The reader checks kind, number and type of the fields, and
never raises: noise is counted and forgotten. Nothing is trusted for having arrived (W52); the CRC guards against noise.

Pure: no port. Spec: wire/SPEC.md section 8 (W50..W52). COBS: Cheshire and Baker, 1999.
"""

import binascii

from agent import cbor, cose

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PROTOCOL = 1
FRAME_BYTES_MAX = 1200  # W50, the closing zero included
CHUNK_BYTES_MAX = 900  # of an order in one frame
CRC_BYTES = 4

HELLO, RECORD, STATUS = 1, 2, 3  # from the unit
WELCOME, ACK, RECEIPT, WANT, TIME, ORDER, WHO = range(16, 23)  # from the gateway

# One letter per field after the kind: u uint, t text of 1..32 bytes, b bytes, k kid, d digest, c counters {text: uint}.
_FIELDS = {
    HELLO: "uktuuudut",
    RECORD: "b",
    STATUS: "uuuuc",
    WELCOME: "utu",
    ACK: "ku",
    RECEIPT: "b",
    WANT: "kuu",
    TIME: "uu",
    ORDER: "uub",
    WHO: "",
}


def encode(message: "list[Any]") -> bytes:
    """The frame of message, its 0x00 included. A message that does not fit FRAME_BYTES_MAX is our own mistake."""
    body = cbor.encode(message)
    stuffed = _stuff(body + binascii.crc32(body).to_bytes(CRC_BYTES, "little"))
    assert len(stuffed) < FRAME_BYTES_MAX
    stuffed.append(0)
    return bytes(stuffed)


class Reader:
    """Collects bytes as they arrive and gives back whole messages. Never holds more than one frame.

    noise: pieces between zeros that were no frame of the contract; noise_bytes: how many bytes these had.
    """

    def __init__(self) -> None:
        self.noise = 0
        self.noise_bytes = 0
        self._piece = bytearray()
        self._overlong_bytes = 0  # thrown away of a piece too long for a frame, until the next zero

    def feed(self, chunk: bytes) -> "list[list[Any]]":
        """The messages that chunk completes, in order. chunk may end anywhere."""
        messages = []
        pieces = bytes(chunk).split(b"\0")
        for piece in pieces[:-1]:
            self._take(piece)
            message = self._close()
            if message is not None:
                messages.append(message)
        self._take(pieces[-1])
        return messages

    def _take(self, piece: bytes) -> None:
        if self._overlong_bytes or len(self._piece) + len(piece) >= FRAME_BYTES_MAX:
            self._overlong_bytes += len(self._piece) + len(piece)
            self._piece = bytearray()
        else:
            self._piece.extend(piece)

    def _close(self) -> "list[Any] | None":
        stuffed = bytes(self._piece)
        size = len(stuffed) + self._overlong_bytes
        self._piece = bytearray()
        self._overlong_bytes = 0
        if size == 0:
            return None  # zeros in a row: somebody makes sure that the line is idle
        message = _message(stuffed)
        if message is None:
            self.noise += 1
            self.noise_bytes += size
        return message


def _message(stuffed: bytes) -> "list[Any] | None":
    body = _unstuff(stuffed)
    if body is None or len(body) <= CRC_BYTES:
        return None
    body, crc = body[:-CRC_BYTES], body[-CRC_BYTES:]
    if binascii.crc32(body).to_bytes(CRC_BYTES, "little") != crc:
        return None
    try:
        message = cbor.decode(body)
    except cbor.CborError:
        return None
    return message if isinstance(message, list) and _is_message(message) else None


def _is_message(message: "list[Any]") -> bool:
    if not message or not _fits("u", message[0]) or message[0] not in _FIELDS:
        return False
    fields = _FIELDS[message[0]]
    if len(fields) != len(message) - 1:
        return False
    for letter, field in zip(fields, message[1:]):
        if not _fits(letter, field):
            return False
    return _is_within_limits(message[0], message[1:])


def _is_within_limits(kind: int, fields: "list[Any]") -> bool:
    if kind == RECORD or kind == RECEIPT:
        return len(fields[0]) <= (cose.RECORD_BYTES_MAX if kind == RECORD else cose.RECEIPT_BYTES_MAX)
    if kind == WANT:
        return bool(fields[1] <= fields[2])
    if kind == ORDER:
        total, offset, chunk = fields
        return 0 < len(chunk) <= CHUNK_BYTES_MAX and offset + len(chunk) <= total <= cose.ORDER_BYTES_MAX
    return fields[0] == PROTOCOL if kind == HELLO or kind == WELCOME else True


def _fits(letter: str, field: "Any") -> bool:
    if letter == "u":
        return isinstance(field, int) and field is not True and field is not False and field >= 0
    if letter == "t":
        return isinstance(field, str) and 1 <= len(field.encode()) <= 32
    if letter == "c":
        if not isinstance(field, dict):
            return False
        for name in field:
            if not isinstance(name, str) or not _fits("u", field[name]):
                return False
        return True
    size = {"b": 0, "k": 8, "d": 32}[letter]
    return isinstance(field, bytes) and (not size or len(field) == size)


def _stuff(raw: bytes) -> bytearray:
    """COBS: raw without its zeros, each replaced by the distance to the next."""
    out = bytearray()
    start = 0
    while True:
        zero = raw.find(b"\0", start, start + 254)
        end = zero if zero >= 0 else min(start + 254, len(raw))
        out.append(end - start + 1)
        out.extend(raw[start:end])
        start = end
        if zero >= 0:
            start += 1
        elif end == len(raw):
            return out


def _unstuff(stuffed: bytes) -> "bytes | None":
    """What _stuff() was given, or None when stuffed is not its answer. Holds no zero: the reader split there."""
    out = bytearray()
    at = 0
    while at < len(stuffed):
        code = stuffed[at]
        if at + code > len(stuffed):
            return None
        out.extend(stuffed[at + 1 : at + code])
        at += code
        if code < 0xFF and at < len(stuffed):
            out.append(0)
    return bytes(out)
