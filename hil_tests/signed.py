"""The bench's own reader of signed records: CBOR, as little of it as they need, and COSE_Sign1 taken apart.

Shares no code with the product, so that a mistake there cannot hide itself here. Verifies nothing; checker.py does.
Formats: wire/SPEC.md sections 2 to 4.
"""

import hashlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Tagged:
    tag: int
    item: Any


class UnreadableError(ValueError):
    """These bytes are no CBOR of the kind that a record is made of."""


def read_cbor(raw: bytes) -> Any:
    """The one item in raw: int, bytes, str, list, dict or Tagged."""
    item, end = _item(raw, 0)
    if end != len(raw):
        raise UnreadableError(f"{len(raw) - end} bytes after the item")
    return item


def _item(raw: bytes, at: int) -> tuple[Any, int]:
    if at >= len(raw):
        raise UnreadableError("ends in the middle of an item")
    major, short = raw[at] >> 5, raw[at] & 31
    at += 1
    if short < 24:
        number = short
    elif short < 28:
        width = 1 << (short - 24)
        number, at = int.from_bytes(raw[at : at + width], "big"), at + width
    else:
        raise UnreadableError("indefinite length")
    if major == 0:
        return number, at
    if major == 1:
        return -1 - number, at
    if major in (2, 3):
        chunk, at = raw[at : at + number], at + number
        if len(chunk) != number:
            raise UnreadableError("a string is cut short")
        return (chunk if major == 2 else chunk.decode()), at
    if major == 4:
        items = []
        for _ in range(number):
            item, at = _item(raw, at)
            items.append(item)
        return items, at
    if major == 5:
        pairs = {}
        for _ in range(number):
            key, at = _item(raw, at)
            pairs[key], at = _item(raw, at)
        return pairs, at
    if major == 6:
        item, at = _item(raw, at)
        return Tagged(number, item), at
    raise UnreadableError("a float or a simple value")


@dataclass(frozen=True)
class Signed:
    """A COSE_Sign1 taken apart, nothing verified."""

    raw: bytes
    protected: bytes
    payload: bytes
    signature: bytes

    @property
    def kid(self) -> bytes:
        kid: bytes = read_cbor(self.protected)[4]
        return kid

    @property
    def event(self) -> dict[int, Any]:
        event: dict[int, Any] = read_cbor(self.payload)
        return event

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.raw).digest()


def take_apart(raw: bytes) -> Signed:
    """The parts of a record, receipt or order; UnreadableError when it is no COSE_Sign1."""
    whole = read_cbor(raw)
    if not isinstance(whole, Tagged) or whole.tag != 18 or len(whole.item) != 4:
        raise UnreadableError("no COSE_Sign1")
    protected, _, payload, signature = whole.item
    return Signed(raw, protected, payload, signature)
