"""What a decoder must accept: inputs and the bytes they must become, for both implementations of the contract.

Each function gives the contents of one file of wire/vectors/. Shares no code with either implementation
(vector_signing.py). What must be refused: reject_vectors.py. Written by make_vectors.py.
"""

import hashlib
from typing import Any

from tools.vector_signing import GROUP_ORDER, Signer, as_json, cbor, cobs, column, frame, sig_structure

UNIT = Signer("unit")
CLOUD = Signer("cloud")
TIME_MS = 1_793_190_000_000
BATCH = "B-2026-0017"
DIGEST_A = hashlib.sha256(b"recipe").digest()
DIGEST_B = hashlib.sha256(b"order").digest()
GS1 = b"010950600013435221A17\x1d10LOT-7\x1d17270131"

Case = dict[str, Any]


def key_json(signer: Signer) -> dict[str, str]:
    return {
        "warning": "test key, worthless on purpose",
        "seed_is_sha256_of": signer.sentence,
        "seed": signer.seed.hex(),
        "public_key": signer.public_key.hex(),
        "kid": signer.kid.hex(),
    }


def event(type_number: int, body: Any, **changes: Any) -> dict[int, Any]:
    """An event of section 4 in the middle of a batch; changes: name=value, None to leave out."""
    keys = {"seq": 1, "prev": 2, "boot": 3, "uptime": 4, "time": 5, "uncertainty": 6, "type": 7, "batch": 8}
    keys |= {"operator": 9, "body": 10}
    fields = {"seq": 41, "prev": DIGEST_A, "boot": 3, "uptime": 184_220, "time": TIME_MS, "uncertainty": 140}
    fields |= {"type": type_number, "batch": BATCH, "operator": "OP-114", "body": body} | changes
    return {keys[name]: value for name, value in fields.items() if value is not None}


def bare(type_number: int, body: Any, **changes: Any) -> dict[int, Any]:
    """An event outside any batch, before the clock was ever set."""
    return event(type_number, body, **({"time": None, "uncertainty": None, "batch": None, "operator": None} | changes))


GENESIS = bare(
    0,
    {1: "U-01", 2: 1, 3: UNIT.public_key, 4: "CT-100", 5: "1.0.0", 6: "pure"},
    seq=0,
    prev=bytes(32),
    boot=1,
    uptime=0,
)

EVENTS: dict[str, dict[int, Any]] = {
    "genesis": GENESIS,
    "boot": bare(1, {1: 0, 2: "1.0.0", 3: 0}, seq=1, boot=1, uptime=12),
    "boot-watchdog-torn": bare(1, {1: 1, 2: "1.0.0", 3: 2}, boot=2**32),
    "clock-first": event(2, {1: "gateway"}, batch=None, operator=None),
    "clock-step-back": event(2, {1: "gateway", 2: -86_400_000}),
    "heartbeat": event(3, {1: 300_000}, operator=None),
    "operator-in": event(4, {1: 1}, batch=None),
    "operator-out": event(4, {1: 2}),
    "batch-open": event(5, {1: "CART-A", 2: 3, 3: DIGEST_A, 4: DIGEST_B}),
    "step-start": event(6, {1: "wash", 2: 1}),
    "step-skip": event(6, {1: "wash", 2: 4, 3: "kit without wash buffer"}),
    "scan-accepted": event(7, {1: GS1, 2: "]d2", 3: "cartridge", 4: 1, 6: 1, 7: 0}),
    "scan-refused": event(7, {1: b"\xff\x00CT", 2: "", 3: "", 4: 2, 5: "not_asked", 6: 2, 7: 18}),
    "scan-longest": event(7, {1: bytes(range(200)) * 2, 2: "]Q1", 3: "i" * 32, 4: 1, 6: 1, 7: 0}),
    "channels": event(
        8,
        {
            1: [
                {1: "temperature", 2: "Cel", 3: -2, 4: -4000, 5: 12500, 6: "CAL-88", 7: TIME_MS + 10**10},
                {1: "pressure", 2: "mbar", 3: 0, 4: 0, 5: 2000},
            ]
        },
    ),
    "channels-of-sensors": event(
        8,
        {
            1: [
                {1: "temperature", 2: "Cel", 3: -2, 4: -4000, 5: 12500, 8: "SHT40 0F3A91C2", 9: TIME_MS, 10: -15},
                {1: "lid", 2: "1", 3: 0, 4: 0, 5: 1, 6: "CAL-89", 7: TIME_MS + 10**10, 8: "s" * 32, 9: 0, 10: 2**62},
            ]
        },
    ),
    "samples": event(9, {1: 40, 2: 124_220, 3: 1000, 4: 3, 5: [column([3715, 3716, 3714])]}),
    "alarm-raised": event(10, {1: "temperature_high", 2: 1, 3: "38.2 Cel, limit 38.0"}),
    "alarm-cleared": event(10, {1: "temperature_high", 2: 3}),
    "quantity": event(11, {1: "buffer", 2: 2, 3: 1250, 4: -2, 5: "mL", 6: "LOT-7"}),
    "quantity-extremes": event(11, {1: "b", 2: 7, 3: -(2**63), 4: 9, 5: "mL"}),
    "comment": event(12, {1: "Schaum im Beutel, 37 °C ✓"}),
    "loss": event(13, {1: "scan", 2: 2**63 - 1, 3: "journal full"}),
    "batch-close": event(14, {1: 12, 2: {5: 1, 6: 8, 7: 9, 9: 11}, 3: 1}),
    "override-item": event(15, {1: 40, 2: 1, 3: "cartridge", 4: "lot released by QA today", 5: "OP-115"}),
    "override-start": event(15, {1: 0, 2: 2, 3: "wash", 4: "r" * 64, 5: "O" * 32}),
    "override-finish": event(
        15, {1: 39, 2: 3, 3: "s" * 32, 4: "Etikett zerstört", 5: "OP-115"}, time=None, uncertainty=None
    ),
}


def signed_case(name: str, purpose: str, signer: Signer, fields: dict[int, Any], wrapped: str) -> Case:
    payload = cbor(fields)
    raw = signer.sign1(payload, purpose)
    return {
        "name": name,
        "fields": as_json(fields),
        "payload": payload.hex(),
        "signed_bytes": sig_structure(signer.protected(), purpose, payload).hex(),
        wrapped: raw.hex(),
        "digest": hashlib.sha256(raw).hexdigest(),
    }


def records() -> Any:
    return {
        "about": "One record per case: fields (the event), payload, bytes signed, record, SHA-256 of the record.",
        "spec": ["W1", "W6", "W10", "W11", "W12", "W20", "W23", "W24", "W25", "W28"],
        "unit": key_json(UNIT),
        "cases": [signed_case(name, "record", UNIT, fields, "record") for name, fields in EVENTS.items()],
    }


def stream(bodies: list[tuple[int, Any, dict[str, Any]]]) -> list[bytes]:
    """Records of one stream, each naming the digest of the one before."""
    raws: list[bytes] = []
    for seq, (type_number, body, changes) in enumerate(bodies):
        prev = hashlib.sha256(raws[-1]).digest() if raws else bytes(32)
        place = {"seq": seq, "prev": prev, "boot": 1, "uptime": 1000 * seq}
        raws.append(UNIT.sign1(cbor(event(type_number, body, **(place | changes)))))
    return raws


def batch_stream() -> list[bytes]:
    """A short whole batch: genesis, boot, badge, open, step, scan, step, close."""
    outside: dict[str, Any] = {"batch": None, "operator": None}
    counts = {5: 1, 6: 2, 7: 1}
    return stream(
        [
            (0, GENESIS[10], outside | {"time": None, "uncertainty": None}),
            (1, {1: 0, 2: "1.0.0", 3: 0}, outside | {"time": None, "uncertainty": None}),
            (2, {1: "gateway"}, outside),
            (4, {1: 1}, {"batch": None}),
            (5, {1: "CART-A", 2: 3, 3: DIGEST_A, 4: DIGEST_B}, {}),
            (6, {1: "load", 2: 1}, {}),
            (7, {1: GS1, 2: "]d2", 3: "cartridge", 4: 1, 6: 1, 7: 0}, {}),
            (6, {1: "load", 2: 2}, {}),
            (14, {1: 4, 2: counts, 3: 1}, {}),
        ]
    )


def chain() -> Any:
    raws = batch_stream()
    return {
        "about": "One stream, record by record; judged: what a receiver that holds some of them finds about others.",
        "spec": ["W14", "W15", "W17", "W18", "W21", "W22", "W26"],
        "unit": key_json(UNIT),
        "records": [raw.hex() for raw in raws],
        "digests": [hashlib.sha256(raw).hexdigest() for raw in raws],
        "judged": [
            {"name": "all", "held": [], "given": [0, 1, 2, 3], "found": ["contiguous"] * 4},
            {"name": "backwards", "held": [], "given": [3, 2, 1, 0], "found": ["contiguous"] * 4},
            {"name": "hole", "held": [0, 1], "given": [4, 5], "found": ["gap", "contiguous"]},
            {"name": "again", "held": [0, 1], "given": [1, 2, 2], "found": ["duplicate", "contiguous", "duplicate"]},
            {"name": "refill", "held": [0, 1, 4], "given": [2, 3], "found": ["contiguous", "contiguous"]},
        ],
    }


SAMPLE_CASES: dict[str, tuple[list[list[int | None]], list[list[int]]]] = {
    "one": ([[0]], []),
    "zigzag": ([[0, -1, 0, 1, -1, 63, -64, 64, -65]], []),
    "two-channels": ([[3715, 3716, 3714, 3714], [1013, 1013, 1012, 2000]], []),
    "missing-and-fault": ([[10, None, None, 13, None], [1, 2, 3, 4, 5]], [[0, 1, 2, 1], [0, 4, 1, 4]]),
    "stuck-and-out-of-range": ([[5, 5, 5, 9000]], [[0, 1, 2, 2], [0, 3, 1, 3]]),
    "all-missing": ([[None, None, None]], [[0, 0, 3, 1]]),
    "full": ([[3700 + (7 * i) % 23 - c for i in range(60)] for c in range(8)], []),
    "extremes": ([[2**53, -(2**53), 2**53, 0]], []),
}


def samples() -> Any:
    cases = []
    for name, (channels, marks) in SAMPLE_CASES.items():
        columns = [column([value for value in channel if value is not None]) for channel in channels]
        body: dict[int, Any] = {1: 40, 2: 124_220, 3: 1000, 4: len(channels[0]), 5: columns}
        if marks:
            body[6] = marks
        raw = UNIT.sign1(cbor(event(9, body)))
        cases.append({"name": name, "values": channels, "marks": marks, "body": as_json(body)})
        cases[-1] |= {"payload": cbor(event(9, body)).hex(), "record": raw.hex()}
    return {
        "about": "values per channel (null: none), marks [channel, first, count, mark], the body and a record of it.",
        "spec": ["W30", "W31", "W32", "W33"],
        "unit": key_json(UNIT),
        "cases": cases,
    }


RECEIPT = {1: UNIT.kid, 2: 41, 3: DIGEST_A, 4: TIME_MS}
ORDER: dict[int, Any] = {
    1: 7,
    2: UNIT.kid,
    3: BATCH,
    4: "CART-A",
    5: 3,
    6: DIGEST_A,
    7: [{1: "load", 2: "Load cartridge", 3: ["cartridge", "donor"]}, {1: "wash", 2: "Wash", 3: []}],
    8: [
        {1: "cartridge", 2: "Cartridge", 3: "09506000134352", 4: 7},
        {1: "donor", 2: "Donation code", 3: "", 4: 0, 5: "=W12342612345600"},
    ],
    9: TIME_MS,
}
SCHEMES: list[dict[int, Any]] = [
    {1: "kit", 2: "Wash kit", 3: "", 4: 6, 6: 1, 7: "A99912345670"},
    {1: "bag", 2: "Blood bag", 3: "", 4: 0, 6: 2, 7: "E0791V00"},
    {1: "any-bag", 2: "Blood bag of any kind", 3: "", 4: 4, 6: 2, 7: "E0791"},
    {1: "media", 2: "Medium of our own", 3: "", 4: 7, 6: 3, 7: "100%%-(l%d%d%d%d)-(s%x%x%u)/(e%d%d%d%d%d%d)"},
]
LIMITS = [{1: "temperature", 2: 3600, 3: 3800, 4: -2, 5: 30_000, 6: ["wash"]}, {1: "p", 2: -1, 3: 1, 4: 0, 5: 0, 6: []}]


def receipts() -> Any:
    cases = {"receipt": RECEIPT, "genesis-only": RECEIPT | {2: 0}, "far": RECEIPT | {2: 2**40}}
    return {
        "about": "Receipts: fields, payload, bytes signed by the cloud's key, receipt.",
        "spec": ["W10", "W12", "W41", "W42"],
        "cloud": key_json(CLOUD),
        "cases": [signed_case(name, "receipt", CLOUD, fields, "receipt") for name, fields in cases.items()],
    }


def orders() -> Any:
    long = [{1: f"step-{i:02}", 2: f"Step number {i} of the long procedure", 3: ["cartridge"]} for i in range(40)]
    cases = {"order": ORDER, "with-limits": ORDER | {10: LIMITS}, "in-chunks": ORDER | {7: long}}
    cases["with-schemes"] = ORDER | {8: [*ORDER[8], *SCHEMES]}
    return {
        "about": "Work orders: fields, payload, bytes signed by the cloud's key, order.",
        "spec": ["W10", "W12", "W43", "W44", "W45"],
        "cloud": key_json(CLOUD),
        "cases": [signed_case(name, "order", CLOUD, fields, "order") for name, fields in cases.items()],
    }


def messages() -> dict[str, list[Any]]:
    record = UNIT.sign1(cbor(EVENTS["scan-accepted"]))
    order = CLOUD.sign1(cbor(ORDER), "order")
    counters = {"a": 1, "scans": 18, "frames_dropped": 2**40}
    return {
        "hello": [1, 1, UNIT.kid, "U-01", 1, 0, 42, DIGEST_A, 3, "1.0.0"],
        "record": [2, record],
        "status": [3, 4096, 1_310_720, 184_220, 40, counters],
        "status-no-counters": [3, 0, 1_310_720, 0, 0, {}],
        "welcome": [16, 1, "gw-1", 42],
        "ack": [17, UNIT.kid, 42],
        "receipt": [18, CLOUD.sign1(cbor(RECEIPT), "receipt")],
        "want": [19, UNIT.kid, 7, 9],
        "time": [20, TIME_MS, 140],
        "order": [21, len(order), 0, order[:900]],
        "who": [22],
    }


def frames() -> Any:
    blobs = [b"", b"\x00", b"\x00\x00", b"\x11\x22\x00\x33", b"\x11\x00", bytes(range(1, 255)), bytes(range(1, 256))]
    return {
        "about": "Messages as CBOR array, body and frame; cobs: content and its stuffing (closing zero not included).",
        "spec": ["W50"],
        "cases": [
            {
                "name": name,
                "message": as_json(message),
                "body": cbor(message).hex(),
                "frame": frame(cbor(message)).hex(),
            }
            for name, message in messages().items()
        ],
        "cobs": [{"content": blob.hex(), "stuffed": cobs(blob).hex()} for blob in [*blobs, bytes(range(256)) * 2]],
    }


def uplink() -> Any:
    raws = batch_stream()
    payloads: dict[str, Any] = {
        "records": [5, [[TIME_MS, raws[0]], [TIME_MS + 3, raws[1]]]],
        "receipts": [CLOUD.sign1(cbor(RECEIPT), "receipt")],
        "wants": [[UNIT.kid, 7, 9], [UNIT.kid, 11, 11]],
        "orders": [CLOUD.sign1(cbor(ORDER), "order")],
    }
    names = ["gw-1", "gw-2", "ward_7", "Z" * 32]
    return {
        "about": "MQTT payloads by topic kind, and the shard of some gateways.",
        "spec": ["W60", "W61"],
        "cases": [{"name": k, "message": as_json(v), "payload": cbor(v).hex()} for k, v in payloads.items()],
        "shards": {name: hashlib.sha256(name.encode()).digest()[0] % 16 for name in names},
    }


def ed25519() -> Any:
    message = b"cartrace"
    good = UNIT.sign(message)
    high_s = good[:32] + (int.from_bytes(good[32:], "little") + GROUP_ORDER).to_bytes(32, "little")
    cases: list[tuple[str, bytes, bytes, bool]] = [
        ("valid", message, good, True),
        ("empty-message", b"", UNIT.sign(b""), True),
        ("other-message", message + b"!", good, False),
        ("s-plus-order", message, high_s, False),
        ("s-zero", message, good[:32] + bytes(32), False),
        ("r-flipped", message, bytes([good[0] ^ 1]) + good[1:], False),
        ("s-flipped", message, good[:32] + bytes([good[32] ^ 1]) + good[33:], False),
        ("short", message, good[:63], False),
        ("long", message, good + b"\x00", False),
        ("empty", message, b"", False),
        ("r-and-s-swapped", message, good[32:] + good[:32], False),
    ]
    return {
        "about": "Ed25519: which signatures of the unit's key a verifier accepts.",
        "spec": ["W13"],
        "unit": key_json(UNIT),
        "cases": [
            {"name": name, "message": text.hex(), "signature": signature.hex(), "valid": valid}
            for name, text, signature, valid in cases
        ],
    }


def accepted() -> dict[str, Any]:
    """Name of a vector file, without ending, to its contents."""
    return {
        "records": records(),
        "chain": chain(),
        "samples": samples(),
        "receipts": receipts(),
        "orders": orders(),
        "frames": frames(),
        "uplink": uplink(),
        "ed25519": ed25519(),
    }
