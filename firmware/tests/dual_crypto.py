"""Signatures and their envelope, on both interpreters: our own cases, RFC 8032, Wycheproof, PyNaCl and wire/vectors."""

from binascii import hexlify, unhexlify

from agent import cose, ed25519
from agent.sha512 import sha512
from tests.cases import cases, raises

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
    assert not ed25519.verify(public, b"cartridge", signature[:32] + (s + ed25519.L).to_bytes(32, "little"))


def test_ed25519_refuses_forgeries_that_need_no_secret() -> None:
    # R = 7 B and S = 7 fit every message whose challenge a key of small order turns into nothing: one in eight or more.
    r = ed25519._encode(ed25519._times_base(7))
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


def test_cose_refuses_a_signature_for_another_purpose() -> None:
    signer = cose.PureSigner(SEED)
    raw = cose.sign1(signer, cose.RECORD, b"\xa0")
    assert cose.open1(raw, cose.RECORD, signer.public_key) == b"\xa0"
    assert raises(cose.CoseError, cose.open1, raw, cose.ORDER, signer.public_key).code == "signature_invalid"
    other = ed25519.public_key(bytes(32))
    assert raises(cose.CoseError, cose.open1, raw, cose.RECORD, other).code == "wrong_key"


def test_cose_refuses_every_flipped_bit_of_a_receipt() -> None:
    for case in cases("receipts"):
        assert case["kid"] == cose.open_receipt(case["receipt"], case["cloud_key"])[0]
    for bit in range(0, 8 * len(case["receipt"]), 7):
        flipped = bytearray(case["receipt"])
        flipped[bit >> 3] ^= 1 << (bit & 7)
        raises(cose.CoseError, cose.open_receipt, bytes(flipped), case["cloud_key"])


def test_cose_opens_receipts_of_the_vectors() -> None:
    for case in cases("receipts"):
        kid, seq, digest, time_ms = cose.open_receipt(case["receipt"], case["cloud_key"])
        assert (kid, seq, digest, time_ms) == (case["kid"], case["seq"], case["digest"], case["time_ms"])


def test_cose_refuses_what_the_vectors_refuse() -> None:
    for case in cases("reject_signed"):
        aad = {"receipt": cose.RECEIPT, "order": cose.ORDER}.get(case["kind"], cose.RECORD)
        if case["kind"] == "receipt":
            error = raises(cose.CoseError, cose.open_receipt, case["raw"], case["public_key"])
        else:
            error = raises(cose.CoseError, cose.open1, case["raw"], aad, case["public_key"])
        assert error.code == case["code"], (case["name"], error.code)
