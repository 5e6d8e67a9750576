"""COSE_Sign1 as this contract uses it: one algorithm, one header, one layout (SPEC W10..W12, RFC 9052).

Only one byte sequence is right for a given kid, payload and signature, so a signed item is checked by
building that sequence again; nothing signed is ever re-encoded otherwise (W6).
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from wire import cbor, keys
from wire.errors import WireError
from wire.shape import wrong_shape

ALGORITHM = -19  # Ed25519, fully specified (RFC 9864)
_TAG = b"\xd2"  # tag 18
_PROTECTED = bytes.fromhex("a201320448")  # {1: -19, 4: h'<8 bytes>'}, the kid follows
_PROTECTED_BYTES = len(_PROTECTED) + keys.KID_BYTES
_SIGNATURE_HEAD = b"\x58\x40"
_HEAD = _TAG + b"\x84" + bytes((0x40 + _PROTECTED_BYTES,)) + _PROTECTED
_KID_AT = len(_HEAD)
_EMPTY_AT = _KID_AT + keys.KID_BYTES  # the empty unprotected header


class Purpose(StrEnum):
    """external_aad of each kind of signature (W12)."""

    RECORD = "cartrace/record/1"
    RECEIPT = "cartrace/receipt/1"
    ORDER = "cartrace/order/1"
    DISPOSITION = "cartrace/disposition/1"


@dataclass(frozen=True, slots=True)
class Sign1:
    """A signed item taken apart; nothing is verified yet."""

    kid: bytes
    payload: bytes
    signature: bytes


def sign1(seed: bytes, purpose: Purpose, payload: bytes) -> bytes:
    """payload signed for purpose by the key of seed, as tagged COSE_Sign1 bytes."""
    public_key, secret_key = keys.key_pair(seed)
    kid = keys.kid_of(public_key)
    return _layout(kid, payload, keys.sign_with(secret_key, _signed_bytes(purpose, kid, payload)))


def open1(raw: bytes, limit_bytes: int) -> Sign1:
    """Take raw apart. Does not verify the signature.

    Raises WireError: too_large, not_cbor, not_deterministic, wrong_shape, wrong_algorithm.
    """
    if len(raw) > limit_bytes:
        raise WireError("too_large", f"{len(raw)} bytes, at most {limit_bytes} are allowed (W4)")
    return _by_layout(raw) or _taken_apart(raw, limit_bytes)


def _by_layout(raw: bytes) -> Sign1 | None:
    """The parts of a good item, cut out where they must stand; None when it is not exactly _layout."""
    head, kid, wrapped, signature = raw[:_KID_AT], raw[_KID_AT:_EMPTY_AT], raw[_EMPTY_AT + 1 : -66], raw[-64:]
    if head != _HEAD or raw[_EMPTY_AT : _EMPTY_AT + 1] != b"\xa0" or raw[-66:-64] != _SIGNATURE_HEAD or not wrapped:
        return None
    payload = wrapped[{0x58: 2, 0x59: 3}.get(wrapped[0], 1) :]
    return Sign1(kid, payload, signature) if _octets(payload) == wrapped else None


def _taken_apart(raw: bytes, limit_bytes: int) -> Sign1:
    """The same by parsing, to say what is wrong."""
    if raw[:1] != _TAG:
        cbor.decode(raw, limit_bytes)
        raise wrong_shape("no COSE_Sign1 with tag 18 (W10)")
    parts = cbor.decode(raw[1:], limit_bytes)
    if type(parts) is not list or len(parts) != 4:
        raise wrong_shape("a COSE_Sign1 is an array of four (W10)")
    protected, unprotected, payload, signature = parts
    if type(protected) is not bytes or type(payload) is not bytes or type(signature) is not bytes:
        raise wrong_shape("protected header, payload and signature are byte strings (W10)")
    if not protected.startswith(_PROTECTED) or len(protected) != _PROTECTED_BYTES:
        raise _wrong_header(protected)
    if type(unprotected) is not dict or unprotected:
        raise wrong_shape("the unprotected header must be empty (W10)")
    if len(signature) != keys.SIGNATURE_BYTES:
        raise wrong_shape("a signature has 64 bytes (W10)")
    return Sign1(protected[len(_PROTECTED) :], payload, signature)


def verify1(item: Sign1, purpose: Purpose, public_key: bytes) -> None:
    """Return if public_key signed item for purpose.

    Raises WireError: wrong_key (another kid), key_refused, signature_invalid.
    """
    if keys.kid_of(public_key) != item.kid:
        raise WireError("wrong_key", f"signed under kid {item.kid.hex()}, not under {keys.kid_of(public_key).hex()}")
    keys.verify(public_key, _signed_bytes(purpose, item.kid, item.payload), item.signature)


def _signed_bytes(purpose: Purpose, kid: bytes, payload: bytes) -> bytes:
    """The Sig_structure of RFC 9052 section 4.4."""
    return b"".join(
        (b"\x84\x6aSignature1", _octets(_PROTECTED + kid), _octets(purpose.encode()), _octets(payload)),
    )


def _layout(kid: bytes, payload: bytes, signature: bytes) -> bytes:
    return b"".join(
        (_TAG, b"\x84", _octets(_PROTECTED + kid), b"\xa0", _octets(payload), _SIGNATURE_HEAD, signature),
    )


def _octets(content: bytes) -> bytes:
    """content as a CBOR byte string with the shortest head; at most 65535 bytes."""
    size = len(content)
    if size < 24:
        return bytes((0x40 + size,)) + content
    if size < 256:
        return bytes((0x58, size)) + content
    return b"\x59" + size.to_bytes(2, "big") + content


def _wrong_header(protected: bytes) -> WireError:
    """Which rule a protected header breaks; the algorithm is named first."""
    header: Any = cbor.decode(protected, len(protected))
    if type(header) is not dict or not set(map(type, header)) <= {int, str}:
        return wrong_shape("the protected header is a map with integer keys (W10)")
    algorithm = header.get(1)
    if type(algorithm) is not int or algorithm != ALGORITHM:
        return WireError("wrong_algorithm", f"algorithm {algorithm!r}, only {ALGORITHM} (Ed25519) is allowed (W10)")
    return wrong_shape("the protected header is exactly {1: -19, 4: kid of 8 bytes} (W10)")
