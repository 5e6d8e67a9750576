"""COSE_Sign1 of the contract: signs the unit's records, and decides whether a receipt or an order is the cloud's.

One shape only: tag 18, protected header {1: -19, 4: kid}, empty unprotected header, attached payload, 64-byte
signature, a domain string as external_aad. Never accepts another algorithm, header or shape, whoever signed it.

Spec: wire/SPEC.md section 3 (W10..W13) and section 7; RFC 9052 sections 4.2 and 4.4; RFC 9864 (algorithm -19).
"""

import hashlib

from agent import cbor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    class Ed25519(Protocol):
        """An implementation of Ed25519: agent/ed25519.py, or the image's module ed25519_native. The hal says which.

        sign raises ValueError for a public key that is not the seed's; verify and key_is_sound are strict (W13).
        """

        kind: str  # "pure" or "native", as the genesis record says it

        def public_key(self, seed: bytes) -> bytes: ...
        def sign(self, seed: bytes, public_key: bytes, message: bytes) -> bytes: ...
        def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool: ...
        def key_is_sound(self, public_key: bytes) -> bool: ...

    class Signer(Protocol):
        """What signs a unit's records: SeedSigner here. A secure element takes its place behind the same four names:

        it makes its key itself and gives away public_key only, so that no flash holds a seed. kid is
        kid_of(public_key); sign returns the 64 bytes of RFC 8032 for the whole message (a digest will not do).
        """

        public_key: bytes
        kid: bytes
        kind: str

        def sign(self, message: bytes) -> bytes: ...


RECORD = b"cartrace/record/1"
RECEIPT = b"cartrace/receipt/1"
ORDER = b"cartrace/order/1"

RECORD_BYTES_MAX = 1024  # W4
RECEIPT_BYTES_MAX = 256  # W4
ORDER_BYTES_MAX = 4096  # W4
KID_BYTES = 8
SIGNATURE_BYTES = 64
SIGN1_TAG = 0xD2  # tag 18 as it stands in the bytes
ALGORITHM = -19  # Ed25519, fully specified
_LIMITS = {RECORD: RECORD_BYTES_MAX, RECEIPT: RECEIPT_BYTES_MAX, ORDER: ORDER_BYTES_MAX}


class CoseError(ValueError):
    """The one error of this module. code: one of SPEC section 10."""

    def __init__(self, code: str, what: str) -> None:
        super().__init__(code + ": " + what)
        self.code = code


class SeedSigner:
    """Signs with a seed of 32 bytes and its public key. The seed stays in this object; nothing prints it."""

    def __init__(self, engine: "Ed25519", seed: bytes) -> None:
        self._engine = engine
        self._seed = seed
        self.kind = engine.kind
        self.public_key = engine.public_key(seed)
        self.kid = kid_of(self.public_key)

    def sign(self, message: bytes) -> bytes:
        return self._engine.sign(self._seed, self.public_key, message)


class PublicKey:
    """A key of 32 bytes, and what verifies by it."""

    def __init__(self, engine: "Ed25519", raw: bytes) -> None:
        self._engine = engine
        self._raw = raw
        self.kid = kid_of(raw)

    @property
    def is_sound(self) -> bool:
        """Whether it is canonical and not of small order (W13)."""
        return self._engine.key_is_sound(self._raw)

    def has_signed(self, message: bytes, signature: bytes) -> bool:
        return self._engine.verify(self._raw, message, signature)


def kid_of(public_key: bytes) -> bytes:
    """The 8 bytes that name a key and its stream (W11)."""
    return hashlib.sha256(public_key).digest()[:KID_BYTES]


def sign1(signer: "Signer", aad: bytes, payload: bytes) -> bytes:
    """The COSE_Sign1 of payload under the domain aad: RECORD for all that a unit signs."""
    protected = _protected(signer.kid)
    signature = signer.sign(_signed_bytes(protected, aad, payload))
    return bytes((SIGN1_TAG,)) + cbor.encode([protected, {}, payload, signature])


def open1(raw: bytes, aad: bytes, key: PublicKey) -> bytes:
    """The payload of raw, when key signed it for the domain aad.

    Raises CoseError: too_large, not_cbor, not_deterministic, wrong_shape, wrong_algorithm, wrong_key (another kid),
    key_refused (W13) or signature_invalid.
    """
    if len(raw) > _LIMITS[aad]:
        raise CoseError("too_large", "%d bytes, at most %d" % (len(raw), _LIMITS[aad]))
    protected, unprotected, payload, signature = _parts(raw)
    _check_header(protected, key.kid)
    if unprotected != {}:
        raise CoseError("wrong_shape", "something stands in the unprotected header")
    if not key.has_signed(_signed_bytes(protected, aad, payload), signature):
        if not key.is_sound:
            raise CoseError("key_refused", "the public key is of small order or not canonical")
        raise CoseError("signature_invalid", "the signature does not fit these bytes")
    return payload


def open_receipt(raw: bytes, cloud_key: PublicKey) -> "tuple[bytes, int, bytes, int]":
    """(kid, seq, digest, time_ms) of a receipt that the cloud signed (SPEC section 7). Raises CoseError.

    Whether it is for this stream, and whether digest is that of our own record seq, is for the caller (W41).
    """
    receipt = _decode(open1(raw, RECEIPT, cloud_key))
    if not isinstance(receipt, dict) or set(receipt) != {1, 2, 3, 4}:
        raise CoseError("wrong_shape", "a receipt has the keys 1 to 4")
    kid, seq, digest, time_ms = receipt[1], receipt[2], receipt[3], receipt[4]
    if not (_is_bytes(kid, KID_BYTES) and _is_bytes(digest, 32)):
        raise CoseError("wrong_shape", "kid has 8 bytes and digest 32")
    if not (_is_uint(seq) and _is_uint(time_ms)):
        raise CoseError("wrong_shape", "seq and time are unsigned integers")
    return kid, seq, digest, time_ms


def _protected(kid: bytes) -> bytes:
    return cbor.encode({1: ALGORITHM, 4: kid})


def _signed_bytes(protected: bytes, aad: bytes, payload: bytes) -> bytes:
    """The Sig_structure of RFC 9052 section 4.4. Joined here because an order's would be beyond cbor's limit."""
    start = b"\x84" + cbor.encode("Signature1") + cbor.encode(protected) + cbor.encode(aad)
    return start + cbor.string_head(len(payload)) + payload


def _decode(raw: bytes) -> "Any":
    try:
        return cbor.decode(raw)
    except cbor.CborError as error:
        raise CoseError(error.code, str(error))  # noqa: B904  MicroPython keeps no cause


def _parts(raw: bytes) -> "tuple[bytes, Any, bytes, bytes]":
    """Protected header, unprotected header, payload and signature of a tagged COSE_Sign1 (W10)."""
    if raw[:1] != bytes((SIGN1_TAG,)):
        raise CoseError("wrong_shape", "no tag 18 at the start")
    parts = _decode(raw[1:])
    if not isinstance(parts, list) or len(parts) != 4:
        raise CoseError("wrong_shape", "not an array of four parts")
    protected, unprotected, payload, signature = parts
    if not (isinstance(protected, bytes) and isinstance(payload, bytes)):
        raise CoseError("wrong_shape", "protected header and payload are byte strings")
    if not _is_bytes(signature, SIGNATURE_BYTES):
        raise CoseError("wrong_shape", "the signature is not 64 bytes")
    return protected, unprotected, payload, signature


def _check_header(protected: bytes, kid: bytes) -> None:
    if protected == _protected(kid):
        return
    header = _decode(protected)
    if isinstance(header, dict) and header.get(1) != ALGORITHM:
        raise CoseError("wrong_algorithm", "not Ed25519 (-19)")
    if not isinstance(header, dict) or set(header) != {1, 4} or not _is_bytes(header[4], KID_BYTES):
        raise CoseError("wrong_shape", "the protected header is not {1: algorithm, 4: kid}")
    raise CoseError("wrong_key", "signed by another key")


def _is_bytes(value: "Any", size: int) -> bool:
    return isinstance(value, bytes) and len(value) == size


def _is_uint(value: "Any") -> bool:
    return isinstance(value, int) and value is not True and value is not False and value >= 0
