"""What bytes that are no good record claim to be: kid, seq and batch, as far as they can be read at all.

Proves nothing and accepts nothing. A claim tells people where a refused copy belongs and lets the cloud ask for the
true record.
"""

from dataclasses import dataclass
from typing import Any

import cbor2

from cloud.ledger.models import LARGEST_NUMBER
from wire import MAX_RECORD_BYTES, Record

KID_BYTES = 8
MAX_BATCH = 32  # characters, SPEC section 4


@dataclass(frozen=True)
class Claim:
    """Any of the three is None when the bytes do not say it."""

    kid: bytes | None = None
    seq: int | None = None
    batch: str | None = None


def claim_of(raw: bytes, record: Record | None) -> Claim:
    """The claim of a record that decoded but was refused, or of bytes that did not decode."""
    if record is not None:
        return Claim(record.kid, record.seq, record.batch)
    if len(raw) > MAX_RECORD_BYTES:
        return Claim()
    try:
        protected, _, payload, _ = _item(raw)
        return _checked(_item(protected).get(4), _item(payload))
    except Exception:  # hostile bytes fail in many ways, and none of them matters here
        return Claim()


def _item(raw: bytes) -> Any:
    item = cbor2.loads(raw)
    return item.value if isinstance(item, cbor2.CBORTag) else item


def _checked(kid: Any, event: Any) -> Claim:
    seq, batch = event.get(1), event.get(8)
    return Claim(
        kid if type(kid) is bytes and len(kid) == KID_BYTES else None,
        seq if type(seq) is int and 0 <= seq <= LARGEST_NUMBER else None,
        batch if type(batch) is str and 0 < len(batch) <= MAX_BATCH and batch.isprintable() else None,
    )
