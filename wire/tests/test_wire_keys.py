"""Ed25519 and COSE against other people's cases and other people's libraries (W10, W11, W13)."""

import hashlib
import json
import os
import warnings
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from scitt_cose import CoseError, sign_sign1, verify_sign1

import wire
from tools.reject_vectors import FIELD_PRIME, bad_keys
from wire import cbor, keys
from wire.cose import open1
from wire.tests.vector_files import load

REPOSITORY = Path(__file__).parent.parent.parent


def shared_file(name: str) -> Any | None:
    """A file that nobody of this project made; None, said aloud, when it is not there."""
    directory = Path(os.environ.get("CARTRACE_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (directory / name).is_file():
        warnings.warn(
            f"{name} is absent: set CARTRACE_SHARED_DATA to its directory. Only the project's own vectors were run.",
            stacklevel=2,
        )
        return None
    return json.loads((directory / name).read_text(encoding="utf-8"))


def accepted(public_key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        keys.verify(public_key, message, signature)
    except wire.WireError as error:
        if error.code not in ("signature_invalid", "key_refused"):
            raise
        return False
    return True


def test_own_ed25519_vectors() -> None:
    vectors = load("ed25519")
    public_key = bytes.fromhex(vectors["unit"]["public_key"])
    assert keys.public_key_of(bytes.fromhex(vectors["unit"]["seed"])) == public_key
    for case in vectors["cases"]:
        signed = (public_key, bytes.fromhex(case["message"]), bytes.fromhex(case["signature"]))
        assert accepted(*signed) == case["valid"], case["name"]


def test_all_wycheproof_cases() -> None:
    wycheproof = shared_file("wycheproof_ed25519_test.json")
    if wycheproof is None:
        return test_own_ed25519_vectors()
    tried = 0
    for group in wycheproof["testGroups"]:
        public_key = bytes.fromhex(group["publicKey"]["pk"])
        for case in group["tests"]:
            found = accepted(public_key, bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"]))
            assert found == (case["result"] == "valid"), case
            tried += 1
    assert tried == wycheproof["numberOfTests"] == 151


def test_the_published_cose_example_has_the_wrong_algorithm() -> None:
    """Its structure parses and its signature is good, and algorithm -8 is still refused (W10)."""
    example = shared_file("cose_eddsa_sig_01.json")
    if example is None:
        vectors = {case["name"]: case for case in load("records")["cases"]}
        raw = bytes.fromhex(vectors["comment"]["record"]).replace(b"\xa2\x01\x32", b"\xa2\x01\x27", 1)
    else:
        raw = bytes.fromhex(example["output"]["cbor"])
        protected, unprotected, payload, signature = cbor.decode(raw[1:], 1024)
        assert unprotected == {4: b"11"}
        structure = cbor.encode(["Signature1", protected, b"", payload])
        assert structure.hex() == example["intermediates"]["ToBeSign_hex"].lower()
        keys.verify(bytes.fromhex(example["input"]["sign0"]["key"]["x_hex"]), structure, signature)
    with pytest.raises(wire.WireError) as refused:
        open1(raw, 1024)
    assert refused.value.code == "wrong_algorithm"


def test_small_order_keys_are_the_eight_and_really_small() -> None:
    """Eight times each is the neutral element; every y of p or more is refused, whatever its sign bit."""
    small = {name: key for name, key in bad_keys().items() if not name.startswith("p-plus")}
    canonical = {key for name, key in small.items() if name not in ("one-negative", "minus-one-negative")}
    assert len(canonical) == 8
    for key in canonical:
        x, y = _point(key)
        for _ in range(3):
            x, y = _add((x, y), (x, y))
        assert (x, y) == (0, 1)
    above = [(FIELD_PRIME + more | sign << 255).to_bytes(32, "little") for more in range(19) for sign in (0, 1)]
    for key in [*small.values(), *above]:
        with pytest.raises(wire.WireError, match="key_refused"):
            wire.check_public_key(key)


P = FIELD_PRIME
D = -121665 * pow(121666, -1, P) % P


def _point(key: bytes) -> tuple[int, int]:
    """RFC 8032 section 5.1.3, by the book."""
    number = int.from_bytes(key, "little")
    y, sign = number & ((1 << 255) - 1), number >> 255
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    assert (x * x - square) % P == 0
    return (P - x) % P if x % 2 != sign else x, y


def _add(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    product = D * a[0] * b[0] * a[1] * b[1] % P
    x = (a[0] * b[1] + a[1] * b[0]) * pow(1 + product, -1, P) % P
    return x, (a[1] * b[1] + a[0] * b[0]) * pow(1 - product, -1, P) % P


def test_a_mixed_order_key_is_refused() -> None:
    """An honest key plus a point of order 2: on the curve, canonical, and not in the prime-order group."""
    honest = keys.public_key_of(bytes(32))
    x, y = _add(_point(honest), (0, P - 1))
    mixed = (y | (x & 1) << 255).to_bytes(32, "little")
    wire.check_public_key(honest)
    with pytest.raises(wire.WireError, match="key_refused"):
        wire.check_public_key(mixed)


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(33), b"\x02" + bytes(31)], ids=["empty", "31", "33", "no-point"])
def test_what_is_no_key(key: bytes) -> None:
    with pytest.raises(wire.WireError, match="key_refused"):
        wire.check_public_key(key)


def test_a_forgery_under_the_neutral_key_is_refused() -> None:
    """With y = 1 the equation holds for R = neutral and S = 0 over any message; the key is what must be refused."""
    neutral = (1).to_bytes(32, "little")
    with pytest.raises(wire.WireError, match="key_refused"):
        keys.verify(neutral, b"any", neutral + bytes(32))


@given(seed=st.binary(min_size=32, max_size=32), message=st.binary(max_size=300))
def test_agrees_with_another_library(seed: bytes, message: bytes) -> None:
    public_key = keys.public_key_of(seed)
    signature = keys.sign(seed, message)
    assert Ed25519PrivateKey.from_private_bytes(seed).sign(message) == signature
    Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    keys.verify(public_key, message, signature)
    assert wire.kid_of(public_key) == hashlib.sha256(public_key).digest()[:8]
    with pytest.raises(InvalidSignature):
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message + b"x")
    assert not accepted(public_key, message + b"x", signature)


def test_another_cose_library_builds_the_same_structure() -> None:
    """scitt-cose signs with -8 and no external_aad: its layout is ours but for the algorithm, which is refused."""
    seed, payload = bytes(range(32)), b"\xa1\x01\x02"
    private = Ed25519PrivateKey.from_private_bytes(seed)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public_pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    public_key = keys.public_key_of(seed)
    theirs = sign_sign1(payload, alg="EdDSA", private_key_pem=pem, protected={1: -8, 4: wire.kid_of(public_key)})
    protected, unprotected, carried, signature = cbor.decode(theirs[1:], 1024)
    assert (carried, unprotected) == (payload, {})
    keys.verify(public_key, cbor.encode(["Signature1", protected, b"", payload]), signature)
    with pytest.raises(wire.WireError, match="wrong_algorithm"):
        open1(theirs, 1024)
    ours = wire.sign_record(seed, {1: 2})
    assert (len(ours), ours[:3]) == (len(theirs), theirs[:3])
    assert verify_sign1(theirs, public_key_pem=public_pem).payload == open1(ours, 1024).payload == b"\xa1\x01\x02"
    with pytest.raises(CoseError, match="-19"):
        verify_sign1(ours, public_key_pem=public_pem)
