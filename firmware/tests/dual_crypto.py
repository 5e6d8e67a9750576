"""Signatures and their envelope, on both interpreters: our own cases, RFC 8032, Wycheproof, PyNaCl and wire/vectors."""

import struct
from binascii import hexlify, unhexlify

from agent import cose
from agent import ed25519 as pure_ed25519
from agent import sha512 as sha512_constants
from agent.sha512 import sha512
from tests.cases import cases, ed25519, raises

SEED = bytes(range(32))
# RFC 8032 section 7.1: seed, public key, message, signature
RFC_8032 = (
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe2465"
        "5141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb0"
        "0d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc0"
        "27beceea1ec40a",
    ),
)


def test_sha512_of_known_messages() -> None:
    # FIPS 180 examples, and messages around the padding's edge
    assert hexlify(sha512(b"abc"))[:32] == b"ddaf35a193617abacc417349ae204131"
    for case in cases("sha512"):
        assert sha512(case["message"]) == case["digest"], len(case["message"])


def test_sha512_of_parts_is_that_of_the_whole() -> None:
    whole = bytes(range(256)) * 2
    for first in (0, 1, 64, 111, 127, 128, 129, 255, 300):
        for second in (0, 1, 63, 127, 128, 129, 200):
            for end in (0, 111, 112, 128, 240, 512):
                parts = whole[:first], whole[first : first + second], whole[first + second : end]
                assert sha512(*parts) == sha512(b"".join(parts)), (first, second, end)


def root_fraction(number: int, power: int) -> int:
    """The first 64 bits of the fraction of the power-th root of number (FIPS 180-4 sections 4.2.3 and 5.3.5)."""
    low, high = 0, 1 << 70  # roots of the primes used are below 2^6
    while high - low > 1:
        middle = (low + high) >> 1
        if middle**power <= number << 64 * power:
            low = middle
        else:
            high = middle
    return low & ((1 << 64) - 1)


def test_sha512_begins_with_the_roots_of_primes() -> None:
    primes = [number for number in range(2, 410) if all([number % divisor for divisor in range(2, number)])]
    constants = struct.unpack(">80Q", sha512_constants._K)
    assert len(primes) == len(constants)
    for prime, constant in zip(primes, constants):
        assert constant == root_fraction(prime, 3), prime
    for prime, constant in zip(primes, sha512_constants._START):
        assert constant == root_fraction(prime, 2), prime


def test_ed25519_rfc_8032() -> None:
    for seed_hex, public_hex, message_hex, signature_hex in RFC_8032:
        seed, public, message = unhexlify(seed_hex), unhexlify(public_hex), unhexlify(message_hex)
        assert ed25519.public_key(seed) == public
        assert hexlify(ed25519.sign(seed, public, message)).decode() == signature_hex
        assert ed25519.verify(public, message, unhexlify(signature_hex))


def test_ed25519_agrees_with_pynacl() -> None:
    for case in cases("peers"):
        public = ed25519.public_key(case["seed"])
        assert public == case["public_key"]
        assert ed25519.sign(case["seed"], public, case["message"]) == case["signature"]
        assert ed25519.verify(public, case["message"], case["signature"])
        altered = bytes((case["message"][0] ^ 1,)) + case["message"][1:]
        assert not ed25519.verify(public, altered, case["signature"])


def test_ed25519_judges_as_the_published_cases_say() -> None:
    for case in cases("verdicts"):
        assert ed25519.verify(case["public_key"], case["message"], case["signature"]) is case["valid"], case["name"]


def test_ed25519_refuses_every_flipped_bit() -> None:
    public = ed25519.public_key(SEED)
    signature = ed25519.sign(SEED, public, b"cartridge")
    for bit in range(0, 512, 5):
        flipped = bytearray(signature)
        flipped[bit >> 3] ^= 1 << (bit & 7)
        assert not ed25519.verify(public, b"cartridge", bytes(flipped)), bit


def test_ed25519_refuses_s_beyond_the_group_order() -> None:
    public = ed25519.public_key(SEED)
    signature = ed25519.sign(SEED, public, b"cartridge")
    s = int.from_bytes(signature[32:], "little")
    assert not ed25519.verify(public, b"cartridge", signature[:32] + (s + pure_ed25519.L).to_bytes(32, "little"))


def test_ed25519_refuses_forgeries_that_need_no_secret() -> None:
    # R = 7 B and S = 7 fit every message whose challenge a key of small order turns into nothing: one in eight or more.
    r = pure_ed25519._encode(pure_ed25519._times_base(7))
    for case in cases("weak_keys"):
        for message in range(24):
            assert not ed25519.verify(case["key"], bytes((message,)), r + bytes((7,)) + bytes(31)), case["name"]


def test_ed25519_refuses_keys_under_which_forging_is_easy() -> None:
    for case in cases("weak_keys"):
        assert not ed25519.key_is_sound(case["key"]), case["name"]
        # Under a key of small order S = 0 and R = a point of small order would fit some message in eight.
        for message in range(16):
            assert not ed25519.verify(case["key"], bytes((message,)), case["key"] + bytes(32))
    assert ed25519.key_is_sound(ed25519.public_key(SEED))
    assert not ed25519.key_is_sound(b"short")


def test_ed25519_signs_under_no_other_key() -> None:
    # Two signatures of one message under two public keys give the seed away.
    other = ed25519.public_key(bytes(32))
    for _ in range(2):
        raises(ValueError, ed25519.sign, SEED, other, b"cartridge")
        assert ed25519.verify(ed25519.public_key(SEED), b"m", ed25519.sign(SEED, ed25519.public_key(SEED), b"m"))
    raises(ValueError, ed25519.public_key, b"short")
    raises(ValueError, ed25519.sign, b"short", other, b"cartridge")
    raises(ValueError, ed25519.sign, bytes(32), b"short", b"cartridge")


def test_ed25519_takes_wrong_lengths_for_wrong_signatures() -> None:
    public = ed25519.public_key(SEED)
    signature = ed25519.sign(SEED, public, b"")
    assert ed25519.verify(public, b"", signature)
    for key, text in ((public, b""), (public, signature[:63]), (public, signature + b"x"), (public[:31], signature)):
        assert not ed25519.verify(key, b"", text)


def key(raw: bytes) -> cose.PublicKey:
    return cose.PublicKey(ed25519, raw)


def test_cose_signs_and_opens_with_the_same_engine() -> None:
    signer = cose.SeedSigner(ed25519, SEED)
    assert signer.kind == ed25519.kind
    assert signer.kid == cose.kid_of(signer.public_key) == key(signer.public_key).kid


def test_cose_refuses_a_signature_for_another_purpose() -> None:
    signer = cose.SeedSigner(ed25519, SEED)
    raw = cose.sign1(signer, cose.RECORD, b"\xa0")
    assert cose.open1(raw, cose.RECORD, key(signer.public_key)) == b"\xa0"
    assert raises(cose.CoseError, cose.open1, raw, cose.ORDER, key(signer.public_key)).code == "signature_invalid"
    other = ed25519.public_key(bytes(32))
    assert raises(cose.CoseError, cose.open1, raw, cose.RECORD, key(other)).code == "wrong_key"


def test_cose_refuses_every_flipped_bit_of_a_receipt() -> None:
    for case in cases("receipts"):
        assert case["kid"] == cose.open_receipt(case["receipt"], key(case["cloud_key"]))[0]
    for bit in range(0, 8 * len(case["receipt"]), 7):
        flipped = bytearray(case["receipt"])
        flipped[bit >> 3] ^= 1 << (bit & 7)
        raises(cose.CoseError, cose.open_receipt, bytes(flipped), key(case["cloud_key"]))


def test_cose_opens_receipts_of_the_vectors() -> None:
    for case in cases("receipts"):
        kid, seq, digest, time_ms = cose.open_receipt(case["receipt"], key(case["cloud_key"]))
        assert (kid, seq, digest, time_ms) == (case["kid"], case["seq"], case["digest"], case["time_ms"])


def test_cose_refuses_what_the_vectors_refuse() -> None:
    for case in cases("reject_signed"):
        aad = {"receipt": cose.RECEIPT, "order": cose.ORDER}.get(case["kind"], cose.RECORD)
        if case["kind"] == "receipt":
            error = raises(cose.CoseError, cose.open_receipt, case["raw"], key(case["public_key"]))
        else:
            error = raises(cose.CoseError, cose.open1, case["raw"], aad, key(case["public_key"]))
        assert error.code == case["code"], (case["name"], error.code)
