"""Runs the dual tests of the agent's cores: on CPython, and in MicroPython with 160 kB of heap."""

import hashlib
import importlib
import json
import os
import random
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cbor2
import nacl.signing
import pytest

TESTS = Path(__file__).resolve().parent
FIRMWARE = TESTS.parent
VECTORS = FIRMWARE.parent / "wire" / "vectors"
SHARED = Path(os.environ.get("CARTRACE_SHARED_DATA", FIRMWARE.parent.parent / "shared" / "data"))
MICROPYTHON = os.environ.get("MICROPYTHON", str(Path(sys.executable).parent / "micropython"))
MODULES = ["dual_crypto", "dual_encoding", "dual_stores"]
PEERS = 1000  # on both interpreters; about 25 ms each on a quiet machine's MicroPython
SLOW = "test_ed25519_agrees_with_pynacl"  # half a minute: left out of `make check`
RUN_LIMIT_S = 300


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


def _write_cases(folder: Path, peers: int, line_characters: int) -> None:
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


@pytest.fixture(scope="module", autouse=True)
def case_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {"cpython": tmp_path_factory.mktemp("cpython"), "micropython": tmp_path_factory.mktemp("micropython")}
    _write_cases(folders["cpython"], PEERS, line_characters=1_000_000)
    # The text of a case that is far too large on purpose would itself not fit a unit's heap beside the test.
    _write_cases(folders["micropython"], PEERS, line_characters=5000)
    return folders


def _functions() -> list[tuple[str, str]]:
    found = []
    for name in MODULES:
        module = importlib.import_module(f"tests.{name}")
        found += [(name, test) for test in dir(module) if test.startswith("test_")]
    return found


@pytest.mark.parametrize(("module", "test"), _functions())
def test_on_cpython(module: str, test: str, case_folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARTRACE_CASES", str(case_folders["cpython"]))
    getattr(importlib.import_module(f"tests.{module}"), test)()


@pytest.mark.timeout(RUN_LIMIT_S + 20)
@pytest.mark.parametrize(
    ("module", "test"),
    [pytest.param(*names, marks=pytest.mark.slow if names[1] == SLOW else ()) for names in _functions()],
)
def test_on_micropython(module: str, test: str, case_folders: dict[str, Path]) -> None:
    program = [MICROPYTHON, "-X", "heapsize=160k", str(TESTS / "run_on_micropython.py"), str(FIRMWARE), module, test]
    environment = os.environ | {"CARTRACE_CASES": str(case_folders["micropython"])}
    run = subprocess.run(program, capture_output=True, text=True, timeout=RUN_LIMIT_S, env=environment)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout == f"passed {test}\n"
