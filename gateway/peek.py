"""The little a gateway reads of a record: whose it is, where it stands, what it follows.

Checks the shape that every record of this and of later minor versions has (SPEC W10, section 4): types and bodies
that this gateway does not know are carried like any other, for the cloud to judge (W57). Verifies no signature.
"""

from dataclasses import dataclass

from wire import WireError, cbor, cose

RECORD_BYTES_MAX = 1024  # SPEC W4
STORE_INT_MAX = 2**63  # SQLite's integers end here; a stream never comes near
_SEQ, _PREV = 1, 2  # SPEC section 4


@dataclass(frozen=True, slots=True)
class Peeked:
    """Identity of a record but for its digest; prev links it to its predecessor (W14)."""

    kid: bytes
    seq: int
    prev: bytes


def peek(raw: bytes) -> Peeked:
    """kid, seq and prev of raw. Raises WireError when raw has not the shape of a record."""
    item = cose.open1(raw, RECORD_BYTES_MAX)
    event = cbor.decode(item.payload, RECORD_BYTES_MAX)
    if type(event) is not dict:
        raise WireError("wrong_shape", "an event is a map (SPEC section 4)")
    seq, prev = event.get(_SEQ), event.get(_PREV)
    if type(seq) is not int or not 0 <= seq < STORE_INT_MAX:
        raise WireError("wrong_shape", "seq is an unsigned integer that a store can hold (W14)")
    if type(prev) is not bytes or len(prev) != 32:
        raise WireError("wrong_shape", "prev is a digest of 32 bytes (W14)")
    return Peeked(item.kid, seq, prev)
