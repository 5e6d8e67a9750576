"""Ed25519 keys: names them, refuses bad ones, signs and verifies bytes (SPEC W11, W13; RFC 8032).

Never stores a key. libsodium does the arithmetic through PyNaCl.
"""

import hashlib
from functools import lru_cache

from nacl import bindings
from nacl.exceptions import BadSignatureError

from wire.errors import WireError

SEED_BYTES = 32
PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64
KID_BYTES = 8
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493  # L of RFC 8032 section 5.1


def kid_of(public_key: bytes) -> bytes:
    """The stream's name: the first 8 bytes of SHA-256 of the public key (W11)."""
    return hashlib.sha256(public_key).digest()[:KID_BYTES]


def key_pair(seed: bytes) -> tuple[bytes, bytes]:
    """The public key of a 32-byte seed, and the 64-byte secret key that sign_with takes."""
    assert len(seed) == SEED_BYTES
    public_key, secret_key = bindings.crypto_sign_seed_keypair(seed)
    return public_key, secret_key


def public_key_of(seed: bytes) -> bytes:
    """The public key that belongs to a 32-byte seed."""
    return key_pair(seed)[0]


def check_public_key(public_key: bytes) -> None:
    """Refuse a key that is no canonical point of the prime-order group (W13).

    Raises WireError('key_refused').
    """
    if len(public_key) != PUBLIC_KEY_BYTES:
        raise WireError("key_refused", f"a public key has {PUBLIC_KEY_BYTES} bytes, not {len(public_key)}")
    if not _is_good_point(bytes(public_key)):
        raise WireError("key_refused", "no canonical Ed25519 point of the prime-order group: signatures prove nothing")


@lru_cache(maxsize=4096)  # 100 us each; a control site has hundreds of units
def _is_good_point(public_key: bytes) -> bool:
    return bool(bindings.crypto_core_ed25519_is_valid_point(public_key))


def sign(seed: bytes, message: bytes) -> bytes:
    """The 64-byte signature over message."""
    return sign_with(key_pair(seed)[1], message)


def sign_with(secret_key: bytes, message: bytes) -> bytes:
    """As sign, for whoever has the key pair already: deriving it costs as much as signing."""
    return bindings.crypto_sign(message, secret_key)[:SIGNATURE_BYTES]


def verify(public_key: bytes, message: bytes, signature: bytes) -> None:
    """Return if signature is public_key's over message (W13).

    Raises WireError: key_refused, signature_invalid.
    """
    check_public_key(public_key)
    if len(signature) != SIGNATURE_BYTES:
        raise WireError("signature_invalid", f"a signature has {SIGNATURE_BYTES} bytes, not {len(signature)}")
    if int.from_bytes(signature[32:], "little") >= GROUP_ORDER:
        raise WireError("signature_invalid", "S is not below the group order")
    try:
        bindings.crypto_sign_open(signature + message, public_key)
    except BadSignatureError:
        raise WireError("signature_invalid", "the signature does not belong to these bytes and this key") from None
