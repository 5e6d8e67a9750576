"""What a decoder must refuse: one vector per attack or mistake, with the rule it breaks and the code.

Each case is one file wire/vectors/reject-<name>.json: kind (how to give `hex` to the code), spec (the
W-numbers of wire/SPEC.md it breaks), code (section 10), why. Written by make_vectors.py.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

from tools.accepted_vectors import (
    BATCH,
    CLOUD,
    EVENTS,
    GENESIS,
    LIMITS,
    ORDER,
    RECEIPT,
    TIME_MS,
    UNIT,
    event,
    messages,
)
from tools.vector_signing import GROUP_ORDER, Pairs, Raw, Signer, cbor, cobs, column, frame, leb128

Case = dict[str, Any]
FIELD_PRIME = 2**255 - 19
SCAN = EVENTS["scan-accepted"]
SCAN_BODY = SCAN[10]
STRANGER = Signer("stranger")


def case(name: str, kind: str, must: str, code: str, raw: bytes, why: str) -> Case:
    """must: W-numbers, separated by blanks."""
    return {"name": name, "kind": kind, "spec": must.split(), "code": code, "why": why, "hex": raw.hex()}


def refused_event(name: str, must: str, fields: Any, why: str, code: str = "wrong_shape") -> Case:
    """A correctly signed record whose event breaks a rule."""
    payload = fields if isinstance(fields, bytes) else cbor(fields)
    return case(name, "record", must, code, UNIT.sign1(payload), why)


def encodings() -> Iterator[Case]:
    """Section 2: signed by the unit's key, and still not one deterministic CBOR map."""
    good = cbor(SCAN)
    entries = list(SCAN.items())

    def encoded(name: str, must: str, payload: bytes, why: str, code: str = "not_deterministic") -> Case:
        return refused_event(name, must, payload, why, code)

    def with_seq(raw: bytes) -> bytes:
        return cbor(SCAN | {1: Raw(raw)})

    yield encoded("long-integer", "W1", with_seq(b"\x19\x00\x29"), "seq 41 in two bytes instead of one")
    yield encoded("long-zero", "W1", with_seq(b"\x18\x00"), "seq 0 in one byte instead of none")
    yield encoded("long-length", "W1", cbor(SCAN | {9: Raw(b"\x78\x06OP-114")}), "the length of a text is not shortest")
    yield encoded("indefinite-map", "W1", b"\xbf" + good[1:] + b"\xff", "a map of indefinite length")
    yield encoded("indefinite-text", "W1", cbor(SCAN | {9: Raw(b"\x7f\x66OP-114\xff")}), "a text of indefinite length")
    yield encoded(
        "indefinite-bytes", "W1", cbor(SCAN | {2: Raw(b"\x5f\x58\x20" + bytes(32) + b"\xff")}), "prev in chunks"
    )
    yield encoded("duplicate-key", "W1", cbor(Pairs([entries[0], *entries])), "seq stands twice")
    yield encoded("unsorted-keys", "W1", cbor(Pairs(entries[::-1])), "keys from high to low")
    yield encoded("trailing-in-payload", "W5", good + b"\x00", "one byte follows the event")
    yield encoded("truncated-payload", "W7", good[:-1], "the event ends early", "not_cbor")
    yield encoded("empty-payload", "W7", b"", "no event at all", "not_cbor")
    yield encoded("reserved-length", "W7", with_seq(b"\x1c"), "additional information 28", "not_cbor")
    yield encoded("not-utf8", "W23", cbor(SCAN | {9: Raw(b"\x62\xff\xfe")}), "operator is no UTF-8", "not_cbor")
    yield encoded("surrogate", "W23", cbor(SCAN | {9: Raw(b"\x63\xed\xa0\x80")}), "a lone surrogate", "not_cbor")
    yield encoded("huge-length", "W7", b"\xbb" + b"\xff" * 8, "a map that says it has 2^64-1 entries", "not_cbor")
    for name, raw, why in (
        ("float", b"\xfb\x40\x44\x8c\xcc\xcc\xcc\xcc\xcd", "seq is 41.1"),
        ("half-float", b"\xf9\x51\x20", "seq is 41.0 as float16"),
        ("nan", b"\xf9\x7e\x00", "seq is not a number"),
        ("null", b"\xf6", "seq is null"),
        ("undefined", b"\xf7", "seq is undefined"),
        ("true", b"\xf5", "seq is true, which some languages take for 1"),
        ("simple-value", b"\xf0", "seq is simple value 16"),
    ):
        yield refused_event(name, "W2", with_seq(raw), why)
    yield refused_event("null-operator", "W2", cbor(SCAN | {9: Raw(b"\xf6")}), "null is not the same as absent")
    for name, raw, why in (
        ("tag-date", b"\xc1\x18\x29", "seq with tag 1"),
        ("tag-bignum", b"\xc2\x41\x29", "seq as a big number, tag 2"),
        ("tag-shared", b"\xd8\x1c\x81\xd8\x1d\x00", "an array that contains itself, tags 28 and 29"),
        ("tag-bigfloat", b"\xc5\x82\x1a\x3b\x9a\xca\x00\x01", "2 to the power of 10^9, tag 5"),
        ("tag-self-described", b"\xd9\xd9\xf7\x18\x29", "seq with tag 55799"),
    ):
        yield refused_event(name, "W2", with_seq(raw), why)
    yield refused_event(
        "too-large-integer", "W8 W2", with_seq(b"\xc2\x49\x01" + bytes(8)), "seq is 2^64, as tag 2 must"
    )
    too_low = EVENTS["quantity"][10] | {3: Raw(b"\x3b" + b"\xff" * 8)}
    yield refused_event("too-low-integer", "W8", event(11, too_low), "mantissa is -2^64")
    yield refused_event("unsigned-64-bit", "W8", SCAN | {4: 2**63}, "uptime is 2^63, beyond a signed 64-bit number")
    yield refused_event("int-64-bit", "W8", event(11, EVENTS["quantity"][10] | {3: 2**63}), "mantissa is 2^63")
    nested: Any = 0
    for _ in range(7):
        nested = [nested]
    yield refused_event("too-deep", "W4", SCAN | {9: nested}, "seven arrays inside the event", "not_cbor")
    yield refused_event("far-too-deep", "W4 W7", b"\x81" * 700 + b"\x00", "700 arrays inside each other", "not_cbor")
    yield refused_event("no-map", "W3", cbor([1, 2]), "the event is an array")
    yield refused_event("unknown-event-key", "W3", SCAN | {11: 0}, "key 11 is not defined")
    yield refused_event("unknown-body-key", "W3", SCAN | {10: SCAN_BODY | {8: 0}}, "a scan has no key 8")
    yield refused_event("text-key", "W3", cbor(SCAN | {"a": 0}), "a key is a text")
    yield refused_event("negative-key", "W3", cbor(SCAN | {-1: 0}), "a key is negative")
    true_key = Pairs([*entries[1:], (Raw(b"\xf5"), SCAN[1])])
    yield refused_event("true-as-key", "W3", cbor(true_key), "true stands where key 1 belongs")


def envelopes() -> Iterator[Case]:
    """Section 3: what is wrong outside the event."""
    good, payload = UNIT.sign1(cbor(SCAN)), cbor(SCAN)

    def outer(name: str, must: str, raw: bytes, why: str, code: str = "wrong_shape") -> Case:
        return case(name, "record", must, code, raw, why)

    def protected(name: str, must: str, header: bytes, why: str, code: str, unprotected: Any = None) -> Case:
        return outer(name, must, UNIT.sign1(payload, protected=header, unprotected=unprotected), why, code)

    kid = UNIT.kid
    yield outer("trailing-bytes", "W5", good + b"\x00", "one byte follows the record", "not_deterministic")
    yield outer("two-records", "W5", good + good, "a second record follows", "not_deterministic")
    yield outer("truncated", "W7", good[:-1], "the last byte is missing", "not_cbor")
    yield outer("nothing", "W7", b"", "no bytes at all", "not_cbor")
    yield outer("no-tag", "W10", good[1:], "tag 18 is missing")
    yield outer("other-tag", "W10", b"\xd1" + good[1:], "tag 17 (COSE_Mac0)")
    yield outer("tag-twice", "W10", b"\xd2" + good, "tag 18 inside tag 18")
    yield outer("long-tag", "W1", b"\xd8\x12" + good[1:], "tag 18 in two bytes")
    large = UNIT.sign1(cbor(SCAN | {10: SCAN_BODY | {1: bytes(1025 - len(good) + len(SCAN_BODY[1]) - 2)}}))
    yield outer("too-large", "W4", large, f"{len(large)} bytes", "too_large")
    parts = [UNIT.protected(), {}, payload, UNIT.sign(b"")]
    yield outer("three-parts", "W10", b"\xd2" + cbor(parts[:3]), "the signature is missing")
    yield outer("five-parts", "W10", b"\xd2" + cbor([*parts, b""]), "a fifth part")
    yield outer("detached", "W10", b"\xd2" + cbor([*parts[:2], Raw(b"\xf6"), parts[3]]), "the payload is null")
    yield outer("short-signature", "W10", b"\xd2" + cbor([*parts[:3], bytes(63)]), "63 bytes of signature")
    yield outer("long-signature", "W10", b"\xd2" + cbor([*parts[:3], bytes(65)]), "65 bytes of signature")
    long_head = b"\xd2\x84\x58\x0d" + good[3:]
    yield outer("long-header-length", "W1", long_head, "the length of the header is not shortest", "not_deterministic")
    wrong = "wrong_algorithm"
    yield protected("algorithm-eddsa", "W10", cbor({1: -8, 4: kid}), "algorithm -8, deprecated by RFC 9864", wrong)
    yield protected("algorithm-es256", "W10", cbor({1: -7, 4: kid}), "algorithm -7", wrong)
    yield protected("algorithm-missing", "W10", cbor({4: kid}), "no algorithm", wrong)
    yield protected("algorithm-unprotected", "W10", cbor({4: kid}), "the algorithm is unprotected", wrong, {1: -19})
    yield protected("algorithm-text", "W10", cbor({1: "EdDSA", 4: kid}), "the algorithm is a text", wrong)
    shape = "wrong_shape"
    yield protected("unprotected-header", "W10", UNIT.protected(), "an unprotected header", shape, {4: kid})
    yield protected("extra-header", "W10", cbor({1: -19, 3: 0, 4: kid}), "a content type in the header", shape)
    yield protected("critical-header", "W10", cbor({1: -19, 2: [4], 4: kid}), "crit in the header", shape)
    yield protected("no-kid", "W10", cbor({1: -19}), "no kid", shape)
    yield protected("short-kid", "W10 W11", cbor({1: -19, 4: kid[:7]}), "kid of 7 bytes", shape)
    yield protected("long-kid", "W10 W11", cbor({1: -19, 4: kid + b"\x00"}), "kid of 9 bytes", shape)
    unsorted = cbor(Pairs([(4, kid), (1, -19)]))
    yield protected("unsorted-header", "W1", unsorted, "kid stands before the algorithm", "not_deterministic")


def signatures() -> Iterator[Case]:
    """Well-formed records whose signature proves nothing; verified with the unit's key."""
    payload = cbor(SCAN)
    good = UNIT.sign1(payload)

    def forged(name: str, must: str, raw: bytes, why: str, code: str = "signature_invalid") -> Case:
        return case(name, "verify_record", must, code, raw, why) | {"public_key": UNIT.public_key.hex()}

    for purpose in ("receipt", "order", "disposition"):
        yield forged(f"signed-as-{purpose}", "W12", UNIT.sign1(payload, purpose), f"signed for cartrace/{purpose}/1")
    high = (int.from_bytes(good[-32:], "little") + GROUP_ORDER).to_bytes(32, "little")
    yield forged("high-s", "W13", good[:-32] + high, "S + L instead of S")
    yield forged("zero-signature", "W13", good[:-64] + bytes(64), "64 zero bytes")
    altered = good.replace(b"OP-114", b"OP-115")
    yield forged("altered-operator", "W6", altered, "one byte of the payload is another")
    stranger = STRANGER.sign1(payload, protected=UNIT.protected())
    yield forged("forged-kid", "W11", stranger, "signed by a stranger under the unit's kid")
    yield forged("other-kid", "W11", STRANGER.sign1(payload), "signed by a stranger under its own kid", "wrong_key")
    for name, public_key in bad_keys().items():
        yield case(f"key-{name}", "public_key", "W13", "key_refused", public_key, "a key under which forging is easy")


def bad_keys() -> dict[str, bytes]:
    """The eight points of small order, and encodings that are not canonical (y of p or more, minus zero)."""
    ys = {"zero": 0, "one": 1, "minus-one": FIELD_PRIME - 1}
    ys |= {f"order8-{index}": y for index, y in enumerate(_order_8_ys())}
    ys |= {f"p-plus-{more}": FIELD_PRIME + more for more in (0, 1, 18)}
    keys = {name: y.to_bytes(32, "little") for name, y in ys.items()}
    return keys | {f"{name}-negative": key[:31] + bytes([key[31] | 0x80]) for name, key in keys.items()}


def _order_8_ys() -> list[int]:
    """y of the points of order 8 on -x^2 + y^2 = 1 + d x^2 y^2: twice such a point has y = 0."""
    p = FIELD_PRIME
    d = -121665 * pow(121666, -1, p) % p
    # Doubling gives y^2 + x^2 over something, so x^2 = -y^2, and with the curve d y^4 + 2 y^2 - 1 = 0.
    root = _sqrt((1 + d) % p)
    squares = [(-1 + sign * root) * pow(d, -1, p) % p for sign in (1, -1)]
    ys = [_sqrt(square) for square in squares if pow(square, (p - 1) // 2, p) == 1]
    return sorted(y for found in ys for y in (found, p - found))


def _sqrt(number: int) -> int:
    p = FIELD_PRIME
    root = pow(number, (p + 3) // 8, p)
    if root * root % p != number:
        root = root * pow(2, (p - 1) // 4, p) % p
    if root * root % p != number:
        raise ValueError("no square")
    return root


def events() -> Iterator[Case]:
    """Sections 3 to 5: one rule of the event or of a body broken."""
    scan, genesis_body = SCAN_BODY, GENESIS[10]

    def without(fields: dict[int, Any], *keys: int) -> dict[int, Any]:
        return {key: value for key, value in fields.items() if key not in keys}

    yield refused_event("unknown-type", "W27", event(16, {}), "type 16 is of a later version", "unknown_type")
    yield refused_event("time-alone", "W20", without(SCAN, 6), "time without its uncertainty")
    yield refused_event("uncertainty-alone", "W20", without(SCAN, 5), "uncertainty without a time")
    yield refused_event("seq-missing", "W14", without(SCAN, 1), "no seq")
    yield refused_event("prev-missing", "W14", without(SCAN, 2), "no prev")
    yield refused_event("short-prev", "W14", SCAN | {2: bytes(31)}, "prev of 31 bytes")
    yield refused_event("genesis-later", "W15", GENESIS | {1: 5}, "genesis at seq 5")
    yield refused_event("no-genesis", "W15", SCAN | {1: 0, 2: bytes(32)}, "seq 0 is no genesis")
    yield refused_event("genesis-prev", "W14", GENESIS | {2: b"\x01" * 32}, "genesis names a predecessor")
    yield refused_event("genesis-boot", "W22", GENESIS | {3: 2}, "genesis in boot 2")
    yield refused_event("genesis-key", "W15 W11", GENESIS | {10: genesis_body | {3: CLOUD.public_key}}, "another's key")
    yield refused_event("genesis-signer", "W3", GENESIS | {10: genesis_body | {6: "tpm"}}, "signer is unknown")
    yield refused_event("boot-zero", "W22", SCAN | {3: 0}, "boots are counted from 1")
    yield refused_event("open-without-batch", "W21", without(EVENTS["batch-open"], 8), "a batch open names no batch")
    yield refused_event("close-without-batch", "W21", without(EVENTS["batch-close"], 8), "a batch close names no batch")
    yield refused_event("badge-missing", "W24", without(EVENTS["operator-in"], 9), "an operator record without a badge")
    refused = EVENTS["scan-refused"][10]
    yield refused_event("refused-without-reason", "W25", event(7, without(refused, 5)), "refused, and no reason")
    yield refused_event("accepted-with-reason", "W25", event(7, scan | {5: "expired"}), "accepted, and a reason")
    yield refused_event("scan-verdict", "W3", event(7, scan | {4: 3}), "verdict 3")
    yield refused_event("scan-too-long", "W4", event(7, scan | {1: bytes(401)}), "401 bytes scanned")
    yield refused_event("scan-raw-text", "W23", event(7, scan | {1: "text"}), "raw is a text")
    yield refused_event("scan-without-entry", "W3", event(7, without(scan, 6)), "entry is missing")
    yield refused_event("control-character", "W23", SCAN | {9: "OP\n114"}, "a line feed in the badge")
    yield refused_event("delete-character", "W23", SCAN | {9: "OP\x7f"}, "U+007F in the badge")
    yield refused_event("empty-batch", "W3", SCAN | {8: ""}, "batch is empty")
    yield refused_event("long-batch", "W3", SCAN | {8: "B" * 33}, "batch of 33 bytes")
    yield refused_event("long-batch-in-bytes", "W3", SCAN | {8: "ä" * 17}, "batch of 17 characters and 34 bytes")
    yield refused_event("step-action", "W3", event(6, {1: "wash", 2: 6}), "step action 6")
    yield refused_event("exponent", "W3", event(11, EVENTS["quantity"][10] | {4: 10}), "exponent 10")
    yield refused_event("no-channels", "W3", event(8, {1: []}), "no channel")
    yield refused_event("nine-channels", "W3", event(8, {1: EVENTS["channels"][10][1][1:] * 9}), "nine channels")
    yield refused_event("counts-key", "W26", event(14, {1: 12, 2: {24: 1}, 3: 1}), "type 24 in the counts")
    overrule = EVENTS["override-item"]
    yield refused_event("override-badge", "W28", without(overrule, 9), "an override names no first person")
    yield refused_event("override-second", "W28", event(15, without(overrule[10], 5)), "nor a second person")
    yield refused_event("override-itself", "W28 W14", overrule | {10: overrule[10] | {1: 41}}, "overrules itself")
    yield refused_event("override-action", "W3", overrule | {10: overrule[10] | {2: 4}}, "override action 4")
    yield refused_event("override-reason", "W28", overrule | {10: overrule[10] | {4: ""}}, "no reason given")
    yield refused_event("override-subject", "W3", overrule | {10: overrule[10] | {3: ""}}, "of no item and no step")
    sensor = EVENTS["channels-of-sensors"][10][1][0]
    yield refused_event("channel-sensor", "W3", event(8, {1: [sensor | {8: "s" * 33}]}), "the sensor has 33 bytes")
    yield refused_event("channel-calibrated", "W3", event(8, {1: [sensor | {9: -1}]}), "calibrated before 1970")
    yield refused_event("channel-offset", "W3", event(8, {1: [sensor | {10: "0"}]}), "the offset is a text")
    yield refused_event("channel-key", "W3", event(8, {1: [sensor | {11: 0}]}), "a channel has no key 11")
    yield refused_event("body-no-map", "W3", SCAN | {10: []}, "the body is an array")


def sample_bodies() -> Iterator[Case]:
    """Section 6."""

    def refused(name: str, must: str, columns: list[bytes], count: int, why: str, marks: Any = None) -> Case:
        body: dict[int, Any] = {1: 40, 2: 0, 3: 1000, 4: count, 5: columns}
        return refused_event(f"samples-{name}", must, event(9, body | ({} if marks is None else {6: marks})), why)

    three = column([1, 2, 3])
    yield refused("too-few", "W32", [three], 4, "three values, count 4")
    yield refused("too-many", "W32", [three], 2, "three values, count 2")
    yield refused("value-for-missing", "W32", [three], 3, "a missing sample has a value", [[0, 1, 1, 1]])
    yield refused("no-value-for-stuck", "W32", [three], 4, "a stuck sample has none", [[0, 1, 1, 2]])
    yield refused("not-shortest", "W30", [b"\x82\x00" + three[1:]], 3, "a number ends in a zero byte")
    yield refused("cut", "W30", [three[:2] + b"\x82"], 3, "the last number has no end")
    yield refused("too-long", "W30", [leb128(2**56)], 1, "a number of nine bytes")
    yield refused("overlap", "W31", [b""], 3, "marks overlap", [[0, 0, 2, 1], [0, 1, 2, 1]])
    yield refused("unsorted-marks", "W31", [b"\x02"], 3, "marks are not sorted", [[0, 2, 1, 1], [0, 0, 1, 1]])
    yield refused("mark-outside", "W31", [three[:2]], 3, "a mark goes beyond the count", [[0, 2, 2, 1]])
    yield refused("mark-other-channel", "W31", [three], 3, "a mark of channel 1 of 1", [[1, 0, 1, 2]])
    yield refused("mark-unknown", "W31", [three], 3, "mark 5", [[0, 0, 1, 5]])
    yield refused("mark-empty", "W31", [three], 3, "a mark of no sample", [[0, 0, 0, 2]])
    yield refused("mark-short", "W31", [three], 3, "a mark of three numbers", [[0, 0, 1]])
    yield refused("no-marks", "W31", [three], 3, "an empty array of marks", [])
    yield refused("count-61", "W33", [column([0] * 61)], 61, "61 samples")
    yield refused("count-zero", "W33", [b""], 0, "no sample")


def from_the_cloud() -> Iterator[Case]:
    """Section 7; verified with the cloud's key."""

    def refused(name: str, kind: str, must: str, code: str, raw: bytes, why: str) -> Case:
        return case(name, kind, must, code, raw, why) | {"public_key": CLOUD.public_key.hex()}

    receipt, order = cbor(RECEIPT), cbor(ORDER)
    shape, invalid = "wrong_shape", "signature_invalid"
    yield refused("receipt-as-record", "receipt", "W12 W41", invalid, CLOUD.sign1(receipt), "signed as a record")
    by_unit = UNIT.sign1(receipt, "receipt")
    yield refused("receipt-by-unit", "receipt", "W41", "wrong_key", by_unit, "signed by the unit")
    altered = bytearray(CLOUD.sign1(receipt, "receipt"))
    altered[30] ^= 1
    yield refused("receipt-altered", "receipt", "W41", invalid, bytes(altered), "one bit is another")
    large = CLOUD.sign1(cbor(RECEIPT | {3: bytes(200)}), "receipt")
    yield refused("receipt-too-large", "receipt", "W4", "too_large", large, f"{len(large)} bytes")
    no_digest = CLOUD.sign1(cbor({1: UNIT.kid, 2: 41, 4: TIME_MS}), "receipt")
    yield refused("receipt-no-digest", "receipt", "W41", shape, no_digest, "the digest is missing")

    def refused_order(name: str, must: str, changes: dict[int, Any], why: str) -> Case:
        return refused(f"order-{name}", "order", must, shape, CLOUD.sign1(cbor(ORDER | changes), "order"), why)

    yield refused("order-as-receipt", "order", "W12 W43", invalid, CLOUD.sign1(order, "receipt"), "signed as a receipt")
    by_unit = UNIT.sign1(order, "order")
    yield refused("order-by-unit", "order", "W43", "wrong_key", by_unit, "signed by the unit")
    large = CLOUD.sign1(cbor(ORDER | {7: [ORDER[7][0] | {2: "x" * 40, 3: ["i" * 32] * 12}] * 12}), "order")
    yield refused("order-too-large", "order", "W4", "too_large", large, f"{len(large)} bytes")
    item = ORDER[8][0]
    yield refused_order("gtin-13", "W44", {8: [item | {3: "9506000134352"}]}, "a GTIN of 13 digits")
    yield refused_order("gtin-letters", "W44", {8: [item | {3: "0950600013435X"}]}, "a GTIN with a letter")
    yield refused_order("needs-8", "W44", {8: [item | {4: 8}]}, "needs is a sum of 1, 2 and 4")
    for name, changes, why in (
        ("scheme-alone", {6: 1}, "a scheme without a code"),
        ("code-alone", {7: "A99912345670"}, "a code without its scheme"),
        ("scheme-and-gtin", {3: "09506000134352", 6: 1, 7: "A99912345670"}, "a GTIN beside a HIBC code"),
        ("scheme-4", {6: 4, 7: "A99912345670"}, "scheme 4"),
        ("hibc-plus", {6: 1, 7: "+A99912345670"}, "a HIBC code with its plus sign"),
        ("hibc-unit", {6: 1, 7: "A9991234567X"}, "a HIBC code whose unit of measure is no digit"),
        ("isbt-short", {6: 2, 7: "E079"}, "an ISBT 128 product code of 4 characters"),
        ("isbt-six", {6: 2, 7: "E0791V"}, "an ISBT 128 product code of 6 characters"),
        ("pattern-percent", {6: 3, 7: "KIT%q"}, "an unknown class"),
        ("pattern-end", {6: 3, 7: "KIT%"}, "a percent sign at the end"),
        ("pattern-open", {6: 3, 7: "KIT(l%d"}, "a bracket that is not closed"),
        ("pattern-close", {6: 3, 7: "KIT%d)"}, "a bracket that was not opened"),
        ("pattern-group", {6: 3, 7: "KIT(q%d)"}, "a bracket of an unknown kind"),
        ("pattern-inside", {6: 3, 7: "KIT(l%d(s%d))"}, "a bracket inside another"),
        ("pattern-twice", {6: 3, 7: "(s%d)(s%d)"}, "two serials"),
        ("pattern-empty", {6: 3, 7: "KIT(s)"}, "a serial of no character"),
        ("pattern-expiry", {6: 3, 7: "(e%d%d%d%d)"}, "an expiry of four places"),
        ("pattern-umlaut", {6: 3, 7: "KÜHL%d"}, "a character that is no ASCII"),
    ):
        yield refused_order(name, "W45", {8: [item | {3: ""} | changes]}, why)
    yield refused_order("no-steps", "W3", {7: []}, "no step")
    yield refused_order("41-steps", "W3", {7: [{1: "s", 2: "S", 3: []}] * 41}, "41 steps")
    yield refused_order("13-items-in-step", "W3", {7: [ORDER[7][0] | {3: ["i"] * 13}]}, "13 items in one step")
    yield refused_order("empty-limits", "W3", {10: []}, "an empty array of limits")
    yield refused_order("limit-channel", "W3", {10: [LIMITS[0] | {1: ""}]}, "a limit for no channel")
    yield refused_order("batch-33", "W3", {3: BATCH + "x" * 30}, "the batch's name is too long")


def frames() -> Iterator[Case]:
    """Section 8: kind frame is one frame with its closing zero."""
    sent = messages()

    def refused(name: str, must: str, raw: bytes, why: str, code: str = "wrong_shape") -> Case:
        return case(f"frame-{name}", "frame", must, code, raw, why)

    good = frame(cbor(sent["ack"]))
    noisy = bytearray(good)
    noisy[4] ^= 0x10
    yield refused("noise", "W51", bytes(noisy), "one bit is another", "bad_frame")
    yield refused("cut", "W51", good[:-3] + b"\x00", "two bytes are missing", "bad_frame")
    yield refused("no-body", "W50", cobs(bytes(4)) + b"\x00", "a CRC of nothing", "bad_frame")
    yield refused("overlong", "W50", b"\x01" * 1200 + b"\x00", "1201 bytes", "too_large")
    yield refused("unknown-kind", "W51", frame(cbor([23])), "kind 23")
    yield refused("no-array", "W50", frame(cbor({1: 2})), "a map instead of an array")
    yield refused("empty-array", "W50", frame(cbor([])), "no kind")
    yield refused("true-as-kind", "W2", frame(b"\x81\xf5"), "kind true")
    yield refused("not-shortest", "W1", frame(b"\x81\x18\x16"), "kind 22 in two bytes", "not_deterministic")
    yield refused("protocol", "W3", frame(cbor([1, 2, *sent["hello"][2:]])), "hello of protocol 2")
    yield refused("missing-field", "W3", frame(cbor(sent["ack"][:2])), "an ack without next")
    yield refused("extra-field", "W3", frame(cbor([*sent["ack"], 0])), "an ack with three fields")
    yield refused("record-1025", "W4", frame(cbor([2, bytes(1025)])), "a record of 1025 bytes")
    yield refused("chunk-901", "W3", frame(cbor([21, 4096, 0, bytes(901)])), "a chunk of 901 bytes")
    yield refused("chunk-beyond", "W3", frame(cbor([21, 100, 99, bytes(2)])), "a chunk beyond its order's end")
    yield refused("want-backwards", "W3", frame(cbor([19, UNIT.kid, 9, 7])), "a want from 9 to 7")


def uplink() -> Iterator[Case]:
    """Section 9."""
    raw = UNIT.sign1(cbor(SCAN))

    def refused(name: str, kind: str, must: str, message: Any, why: str, code: str = "wrong_shape") -> Case:
        return case(f"uplink-{name}", kind, must, code, cbor(message), why)

    yield refused("no-records", "records_message", "W3", [1, []], "no entry")
    yield refused("257-records", "records_message", "W4", [1, [[0, b"r"]] * 257], "257 entries")
    yield refused(
        "too-large", "records_message", "W4", [1, [[0, bytes(1024)]] * 64], "more than 65536 bytes", "too_large"
    )
    yield refused("record-1025", "records_message", "W4", [1, [[0, bytes(1025)]]], "a record of 1025 bytes")
    yield refused("entry", "records_message", "W3", [1, [[0, raw, 0]]], "an entry of three")
    yield refused("number", "records_message", "W61", [-1, [[0, raw]]], "number is negative")
    yield refused("want", "wants_message", "W3", [[UNIT.kid, 9, 7]], "a want from 9 to 7")
    yield refused("want-kid", "wants_message", "W11", [[UNIT.kid[:7], 7, 9]], "kid of 7 bytes")
    yield refused("receipt", "receipts_message", "W4", [bytes(257)], "a receipt of 257 bytes")
    yield refused("order", "orders_message", "W4", [bytes(4097)], "an order of 4097 bytes")
    for name, topic, why in (
        ("kind", "cartrace/v1/s/gw-1/status", "no such kind"),
        ("root", "other/v1/s/gw-1/state", "another root"),
        ("shard", "cartrace/v1/s/16/gw-1/records", "shard 16"),
        ("other-shard", "cartrace/v1/s/{shard}/gw-1/records", "the shard of another gateway"),
        ("wildcard", "cartrace/v1/+/gw-1/state", "a wildcard as site"),
        ("empty", "cartrace/v1//gw-1/state", "an empty site"),
        ("long", "cartrace/v1/" + "s" * 33 + "/gw-1/state", "a site of 33 characters"),
    ):
        raw_topic = topic.format(shard=(hashlib.sha256(b"gw-1").digest()[0] + 1) % 16).encode()
        yield case(f"topic-{name}", "topic", "W60", "bad_topic", raw_topic, why)


def rejects() -> list[Case]:
    """Every rejected case; the keys that made them stand in records.json and receipts.json."""
    groups = (encodings, envelopes, signatures, events, sample_bodies, from_the_cloud, frames, uplink)
    return [made for group in groups for made in group()]
