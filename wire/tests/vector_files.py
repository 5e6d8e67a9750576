"""The golden vectors as tests read them: plain JSON back to CBOR values, and which code reads each kind."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import wire
from wire.frames import MAX_FRAME_BYTES, FrameReader, decode_frame
from wire.record import decode_record, verify_record

VECTORS = Path(__file__).parent.parent / "vectors"


def load(name: str) -> Any:
    return json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))


def rejects() -> list[dict[str, Any]]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(VECTORS.glob("reject-*.json"))]


def from_json(value: Any) -> Any:
    """{"hex": ...} is a byte string, a decimal key an integer key."""
    if isinstance(value, dict):
        if set(value) == {"hex"}:
            return bytes.fromhex(value["hex"])
        return {int(key) if key.isdecimal() else key: from_json(held) for key, held in value.items()}
    return [from_json(item) for item in value] if isinstance(value, list) else value


def one_frame(raw: bytes) -> object:
    """A whole frame with its closing zero; too_large when a reader drops it for its length."""
    if len(raw) > MAX_FRAME_BYTES:
        reader = FrameReader()
        assert reader.feed(raw) == []
        assert reader.noise == 1
        raise wire.WireError("too_large", "longer than a frame may be")
    return decode_frame(raw[:-1])


def verified(raw: bytes, public_key: bytes) -> object:
    record = decode_record(raw)
    verify_record(record, public_key)
    return record


READERS: dict[str, Callable[..., object]] = {
    "record": decode_record,
    "verify_record": verified,
    "receipt": wire.verify_receipt,
    "order": wire.verify_order,
    "public_key": wire.check_public_key,
    "frame": one_frame,
    "records_message": wire.decode_records,
    "receipts_message": wire.decode_receipts,
    "wants_message": wire.decode_wants,
    "orders_message": wire.decode_orders,
    "topic": lambda raw: wire.parse_topic(wire.DEFAULT_ROOT, raw.decode()),
}


def read(kind: str, raw: bytes, public_key: str | None = None) -> object:
    """raw given to the code as its kind says. Raises WireError."""
    keys = [] if public_key is None else [bytes.fromhex(public_key)]
    return READERS[kind](raw, *keys)
