"""Deterministic CBOR: bytes become plain values, or are refused (SPEC section 2, RFC 8949 section 4.2.1).

cbor2 does the parsing; this file bounds what it may be given and refuses whatever does not
re-encode to the same bytes. It knows nothing about the meaning of a value: shape.py does.
"""

from typing import Any, NoReturn

import cbor2

from wire.errors import WireError

MAX_DEPTH = 6  # SPEC W4: containers inside containers

_CONTAINERS = (dict, list)


def _refuse_tag(*_: object) -> NoReturn:
    raise WireError("wrong_shape", "a CBOR tag where none is allowed (W2)")


class _EveryTag(dict[int, Any]):
    """Answers every tag with a refusal, those too that cbor2 would turn into dates, numbers or cycles."""

    def __missing__(self, tag: int) -> Any:
        return _refuse_tag

    def get(self, key: int, default: Any = None) -> Any:
        return _refuse_tag

    def __contains__(self, key: object) -> bool:
        return True


_EVERY_TAG = _EveryTag()


def encode(value: object) -> bytes:
    """value as deterministic CBOR (W1). Maps have keys of one kind only, as everywhere in the contract."""
    # cbor2 sorts keys by length first; for keys of one major type that is the bytewise order of RFC 8949.
    return cbor2.dumps(value, canonical=True)


def decode(raw: bytes, limit_bytes: int) -> Any:
    """The value in raw: int, bytes, str, list or dict, nested at most MAX_DEPTH deep.

    Floats and simple values pass here and are refused by the shape of what is read.
    Raises WireError: too_large, not_cbor, not_deterministic, wrong_shape (a tag).
    """
    if len(raw) > limit_bytes:
        raise WireError("too_large", f"{len(raw)} bytes, at most {limit_bytes} are allowed (W4)")
    try:
        value = _loads(raw, allow_indefinite=False, allow_duplicate_keys=False)
        if _in_order(value) and cbor2.dumps(value) == raw:
            return value
        again = cbor2.dumps(value, canonical=True)
    except (cbor2.CBORError, ValueError, TypeError) as error:
        raise _explained(raw, error) from None
    if again != raw:
        trailing = len(again) < len(raw) and raw.startswith(again)
        raise WireError("not_deterministic", "bytes follow the item (W5)" if trailing else "not the one encoding (W1)")
    return value


def _in_order(value: Any) -> bool:
    """Whether all maps have rising keys >= 0, as nearly all do: plain encoding is then canonical, and quicker."""
    if type(value) is list:
        return all(_in_order(item) for item in value if type(item) in _CONTAINERS)
    if type(value) is dict:
        last = -1  # -1 is encoded behind every key >= 0
        for key, item in value.items():
            if type(key) is not int or key <= last or (type(item) in _CONTAINERS and not _in_order(item)):
                return False
            last = key
    return True


def _loads(raw: bytes, *, allow_indefinite: bool, allow_duplicate_keys: bool) -> Any:
    return cbor2.loads(
        raw,
        max_depth=MAX_DEPTH,
        allow_indefinite=allow_indefinite,
        allow_duplicate_keys=allow_duplicate_keys,
        semantic_decoders=_EVERY_TAG,
        tag_hook=_refuse_tag,
    )


def _explained(raw: bytes, error: Exception) -> WireError:
    """Why cbor2 refused raw: a tag, a lawful but not deterministic encoding, or no CBOR at all."""
    if isinstance(error.__cause__, WireError):
        return error.__cause__
    try:
        _loads(raw, allow_indefinite=True, allow_duplicate_keys=True)
    except (cbor2.CBORError, ValueError, TypeError):
        return WireError("not_cbor", str(error))
    return WireError("not_deterministic", f"{error} (W1)")
