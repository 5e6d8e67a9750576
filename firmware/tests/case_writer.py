"""Writes the cases of the dual tests, for cases.py to read: wire/vectors, Wycheproof, PyNaCl, hostile bytes.

Each kind is a file of one JSON value per line.
"""

import hashlib
import json
import os
import random
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cbor2
import nacl.signing

FIRMWARE = Path(__file__).resolve().parents[1]
VECTORS = FIRMWARE.parent / "wire" / "vectors"
SHARED = Path(os.environ.get("CARTRACE_SHARED_DATA", FIRMWARE.parent.parent / "shared" / "data"))


def write_cases(folder: Path, peers: int, line_characters: int) -> None:
    """One file for each kind; peers: how many signatures of PyNaCl; lines longer than line_characters are left out."""

    def write(name: str, cases: Iterator[object]) -> None:
        lines = [json.dumps(case) + "\n" for case in cases]
        (folder / f"{name}.jsonl").write_text("".join(line for line in lines if len(line) <= line_characters))

    messages = [bytes(size % 251 for size in range(length)) for length in (0, 1, 55, 110, 111, 112, 127, 128, 129, 400)]
    write("sha512", ({"message": _hex(m), "digest": _hex(hashlib.sha512(m).digest())} for m in messages))
    write("peers", _peers(peers))
    write("verdicts", _verdicts())
    write("weak_keys", ({"name": case["name"], "key": case["raw"]} for case in _rejects({"public_key"})))
    write("receipts", _receipts())
    write("reject_signed", _signed_rejects())
    write("reject_frames", _rejects({"frame"}))
    write("orders", _orders())
    write("reject_orders", _rejects({"order"}))
    write("records", _records())
    write("chain", ({"record": _hex(record)} for record in _vectors("chain.json")["records"]))
    write("samples", iter(_vectors("samples.json")["cases"]))
    write("frames", _frames())
    write("cbor", _random_cbor(300))


def _vectors(name: str) -> dict[str, Any]:
    loaded = json.loads((VECTORS / name).read_text())
    assert isinstance(loaded, dict)
    return loaded


def _hex(value: str | bytes) -> dict[str, str]:
    return {"hex": value if isinstance(value, str) else value.hex()}


def _peers(count: int) -> Iterator[object]:
    chance = random.Random(20261122)
    for _ in range(count):
        key = nacl.signing.SigningKey(chance.randbytes(32))
        message = chance.randbytes(chance.randint(1, 300))
        signature = key.sign(message).signature
        public = key.verify_key.encode()
        yield {
            "seed": _hex(key.encode()),
            "public_key": _hex(public),
            "message": _hex(message),
            "signature": _hex(signature),
        }


def _verdicts() -> Iterator[object]:
    own = _vectors("ed25519.json")
    for case in own["cases"]:
        yield {
            "name": case["name"],
            "public_key": _hex(own["unit"]["public_key"]),
            "message": _hex(case["message"]),
            "signature": _hex(case["signature"]),
            "valid": case["valid"],
        }
    path = SHARED / "wycheproof_ed25519_test.json"
    if not path.is_file():
        text = "only the project's own verification cases run; CARTRACE_SHARED_DATA names the folder"
        warnings.warn(f"{path.name} is absent: {text}", stacklevel=1)
        return
    for group in json.loads(path.read_text())["testGroups"]:
        for case in group["tests"]:
            yield {
                "name": f"wycheproof {case['tcId']} {case['comment']}",
                "public_key": _hex(group["publicKey"]["pk"]),
                "message": _hex(case["msg"]),
                "signature": _hex(case["sig"]),
                "valid": case["result"] == "valid",
            }


def _rejects(kinds: set[str]) -> Iterator[dict[str, object]]:
    for path in sorted(VECTORS.glob("reject-*.json")):
        case = json.loads(path.read_text())
        if case["kind"] in kinds:
            yield {"name": case["name"], "kind": case["kind"], "code": case["code"], "raw": _hex(case["hex"])} | {
                "public_key": _hex(case.get("public_key", _vectors("records.json")["unit"]["public_key"]))
            }


def _signed_rejects() -> Iterator[object]:
    """What cose.py alone must refuse: the envelope. The shape of events is the host's, that of orders orders.py's."""
    for case in _rejects({"receipt", "order", "verify_record", "record"}):
        if case["kind"] in ("receipt", "verify_record") or case["code"] in ("wrong_algorithm", "too_large"):
            yield case
        elif case["kind"] == "order" and case["code"] in ("signature_invalid", "wrong_key"):
            yield case


def _receipts() -> Iterator[object]:
    vectors = _vectors("receipts.json")
    for case in vectors["cases"]:
        f = case["fields"]
        yield {
            "receipt": _hex(case["receipt"]),
            "cloud_key": _hex(vectors["cloud"]["public_key"]),
            "kid": f["1"],
            "seq": f["2"],
            "digest": f["3"],
            "time_ms": f["4"],
        }


def _orders() -> Iterator[object]:
    vectors = _vectors("orders.json")
    for case in vectors["cases"]:
        yield {"name": case["name"], "fields": case["fields"], "order": _hex(case["order"])} | {
            "cloud_key": _hex(vectors["cloud"]["public_key"]), "digest": _hex(case["digest"])
        }  # fmt: skip


def _records() -> Iterator[object]:
    vectors = _vectors("records.json")
    unit = vectors["unit"]
    for case in vectors["cases"]:
        yield {"name": case["name"], "fields": case["fields"], "record": _hex(case["record"])} | {
            "seed": _hex(unit["seed"]),
            "public_key": _hex(unit["public_key"]),
        }


def _random_cbor(count: int) -> Iterator[object]:
    chance = random.Random(7)

    def item(depth: int) -> object:
        kind = chance.randrange(7 if depth < 6 else 4)
        if kind < 2:
            number = chance.getrandbits(chance.randint(1, 63))
            return number if kind else -1 - number
        if kind == 2:
            return chance.randbytes(chance.choice([0, 1, 23, 24, 30]))
        if kind == 3:
            return "".join(chance.choice("aZ9 üß✓😀") for _ in range(chance.randint(0, 12)))
        if kind == 4:
            return [item(depth + 1) for _ in range(chance.randint(0, 4))]
        keys = [chance.choice([chance.randrange(30), f"k{chance.randrange(99)}"]) for _ in range(chance.randint(0, 5))]
        return {key: item(depth + 1) for key in keys}

    for _ in range(count):
        yield {"raw": _hex(cbor2.dumps(item(0), canonical=True))}


def _frames() -> Iterator[object]:
    for case in _vectors("frames.json")["cases"]:
        yield {"name": case["name"], "message": case["message"], "frame": _hex(case["frame"])}
