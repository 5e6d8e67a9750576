"""One record: takes signed bytes apart, checks their shape, and verifies their signature (SPEC sections 3 to 5).

Judges one record alone. Whether it fits its stream is for judge.py, what it means for a batch is
for the cloud.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wire import cbor
from wire.bodies import NAME, SHAPES, TYPE_OF, Body, Genesis, Override, RecordType
from wire.cose import Purpose, open1, sign1, verify1
from wire.errors import WireError
from wire.keys import kid_of
from wire.shape import DIGEST, UINT, Field, Kind, MapShape, integer, wrong_shape

MAX_RECORD_BYTES = 1024  # SPEC W4
FIRST_PREV = bytes(32)  # SPEC W14: prev at seq 0
_CARRIES_BATCH = (RecordType.BATCH_OPEN, RecordType.BATCH_CLOSE)  # SPEC W21
_CARRIES_BADGE = (RecordType.OPERATOR, RecordType.OVERRIDE)  # SPEC W24, W28


@dataclass(frozen=True, slots=True)
class Record:
    """A decoded record; authentic only after verify_record or judge_run.

    raw: the bytes as received; digest: SHA-256 of raw; kid: 8 bytes; prev: digest of the predecessor;
    uptime_ms since boot; time_ms since 1970 with its uncertainty_ms, both None while never set.
    """

    raw: bytes
    digest: bytes
    kid: bytes
    seq: int
    prev: bytes
    boot: int
    uptime_ms: int
    time_ms: int | None
    uncertainty_ms: int | None
    type: RecordType
    batch: str | None
    operator: str | None
    body: Body


def _body_map(value: Any) -> dict[Any, Any]:
    if type(value) is dict:
        return value
    raise wrong_shape("needs a map")


_EVENT: MapShape[Any] = MapShape(
    tuple,
    Field(1, "seq", UINT),
    Field(2, "prev", DIGEST),
    Field(3, "boot", integer(1)),
    Field(4, "uptime", UINT),
    Field(5, "time", UINT, required=False),
    Field(6, "uncertainty", UINT, required=False),
    Field(7, "type", UINT),
    Field(8, "batch", NAME, required=False),
    Field(9, "operator", NAME, required=False),
    Field(10, "body", Kind(_body_map)),
)


def decode_record(raw: bytes) -> Record:
    """The record in raw, its shape checked strictly; the signature is not verified.

    Raises WireError: too_large, not_cbor, not_deterministic, wrong_shape, wrong_algorithm, unknown_type.
    """
    item = open1(raw, MAX_RECORD_BYTES)
    seq, prev, boot, uptime_ms, time_ms, uncertainty_ms, type_number, batch, operator, body = _EVENT.values(
        cbor.decode(item.payload, MAX_RECORD_BYTES)
    )
    if (time_ms is None) != (uncertainty_ms is None):
        raise wrong_shape("time and uncertainty come together or not at all (W20)")
    shape = SHAPES.get(type_number)
    if shape is None:
        raise WireError("unknown_type", f"record type {type_number} is not known to this version (W27)")
    record = Record(
        raw=raw,
        digest=hashlib.sha256(raw).digest(),
        kid=item.kid,
        seq=seq,
        prev=prev,
        boot=boot,
        uptime_ms=uptime_ms,
        time_ms=time_ms,
        uncertainty_ms=uncertainty_ms,
        type=RecordType(type_number),
        batch=batch,
        operator=operator,
        body=shape.read(body),
    )
    _check_place(record)
    return record


def _check_place(record: Record) -> None:
    """What type, seq and the other fields demand of each other (W14, W15, W21, W22, W24, W28)."""
    if (record.type is RecordType.GENESIS) != (record.seq == 0):
        raise wrong_shape("record 0 is genesis, and no other (W15)")
    if isinstance(record.body, Genesis):
        if record.prev != FIRST_PREV or record.boot != 1:
            raise wrong_shape("genesis has prev zero and belongs to boot 1 (W14, W22)")
        if kid_of(record.body.public_key) != record.kid:
            raise wrong_shape("the key in genesis does not hash to the kid (W15)")
    if record.type in _CARRIES_BATCH and record.batch is None:
        raise wrong_shape("a batch open or close names its batch (W21)")
    if record.type in _CARRIES_BADGE and record.operator is None:
        raise wrong_shape("an operator record and an override name the badge (W24, W28)")
    if isinstance(record.body, Override) and record.body.refused >= record.seq:
        raise wrong_shape("an override names a scan before it (W28)")


def verify_record(record: Record, public_key: bytes) -> None:
    """Return if public_key signed exactly record.raw as a record.

    Raises WireError: wrong_key, key_refused, signature_invalid.
    """
    verify1(open1(record.raw, MAX_RECORD_BYTES), Purpose.RECORD, public_key)


def sign_record(seed: bytes, event: Mapping[int, object]) -> bytes:
    """event (keys of SPEC section 4, body as a map) signed by the key of seed.

    Checks nothing, so that tests can sign what a decoder must refuse; see body_map for bodies.
    """
    return sign1(seed, Purpose.RECORD, cbor.encode(dict(event)))


def body_map(body: Body) -> dict[int, Any]:
    """body as the map that key 10 of an event holds."""
    return SHAPES[TYPE_OF[type(body)]].write(body)
