"""Receipts: the cloud's signed word that a stream is in the ledger through a record (SPEC section 7).

Checks signature and shape. Whether the digest agrees with the holder's own record (W41) is for the
holder to compare.
"""

from dataclasses import dataclass, replace

from wire import cbor
from wire.cose import Purpose, open1, sign1, verify1
from wire.shape import DIGEST, KID, UINT, Field, MapShape

MAX_RECEIPT_BYTES = 256  # SPEC W4


@dataclass(frozen=True)
class Receipt:
    """Stream kid is in the ledger through seq, whose record has digest, as of time_ms (since 1970)."""

    kid: bytes
    seq: int
    digest: bytes
    time_ms: int
    raw: bytes = b""


_RECEIPT = MapShape(
    Receipt,
    Field(1, "kid", KID),
    Field(2, "seq", UINT),
    Field(3, "digest", DIGEST),
    Field(4, "time_ms", UINT),
)


def sign_receipt(seed: bytes, kid: bytes, seq: int, digest: bytes, time_ms: int) -> bytes:
    """A receipt signed by the cloud's key of seed. Sign only what W40 allows."""
    return sign1(seed, Purpose.RECEIPT, cbor.encode(_RECEIPT.write(Receipt(kid, seq, digest, time_ms))))


def verify_receipt(raw: bytes, cloud_public_key: bytes) -> Receipt:
    """The receipt in raw if cloud_public_key signed it (W41). Raises WireError."""
    item = open1(raw, MAX_RECEIPT_BYTES)
    verify1(item, Purpose.RECEIPT, cloud_public_key)
    return replace(_RECEIPT.read(cbor.decode(item.payload, MAX_RECEIPT_BYTES)), raw=raw)
