"""The development image in the emulated chip: it has a prompt, and both of its signers are tried there on the chip.

A handful of cases: three of RFC 8032, three bent ones, and of each kind in Wycheproof's file (../shared/data) the first
where that file is present. The whole files run on the host's interpreters (test_cores_dual.py, test_image_signer.py).
"""

import json
from pathlib import Path

import pytest
from tests.dual_crypto import RFC_8032

from hil_tests.bench import board_image as flash_map
from hil_tests.bench.prompt import Prompt, PromptFailed
from tools import board_image

pytestmark = [pytest.mark.image, pytest.mark.slow, pytest.mark.timeout(600)]

WYCHEPROOF = Path(__file__).resolve().parents[3] / "shared" / "data" / "wycheproof_ed25519_test.json"
WYCHEPROOF_CASES = 6
SIGNERS = ("ed25519_native", "agent.ed25519")
STRIDES = {"ed25519_native": 1, "agent.ed25519": 4}  # the pure signer takes a second of the chip, many of the emulator
KNOWN = """
import {module}
from {module} import public_key, sign
from binascii import hexlify, unhexlify
seed, message = unhexlify({seed!r}), unhexlify({message!r})
key = public_key(seed)
print(hexlify(key).decode(), hexlify(sign(seed, key, message)).decode())
"""
JUDGED = """
from {module} import verify
from binascii import unhexlify
print(bool(verify(unhexlify({key!r}), unhexlify({message!r}), unhexlify({signature!r}))))
"""

Case = tuple[str, str, str]


@pytest.fixture(scope="module")
def prompt() -> Prompt:
    path = board_image.built(board_image.DEVELOPMENT)
    if path is None:
        pytest.skip("NO DEVELOPMENT IMAGE: run `make image-dev`; its prompt and the signers on the chip were not tried")
    return Prompt(flash_map.blank_flash(path.read_bytes(), None))


def bent() -> list[Case]:
    """Another message, another key, a signature with one bit flipped."""
    (_seed, key, message, signature), (_seed2, other, *_rest) = RFC_8032[1], RFC_8032[2]
    flipped = bytearray.fromhex(signature)
    flipped[40] ^= 1
    return [(key, message + "00", signature), (other, message, signature), (key, message, flipped.hex())]


def wycheproof() -> list[tuple[Case, bool]]:
    """The first case of each kind that the file names, up to six; none without the file."""
    if not WYCHEPROOF.exists():
        return []
    chosen: dict[str, tuple[Case, bool]] = {}
    for group in json.loads(WYCHEPROOF.read_text())["testGroups"]:
        key = group.get("publicKey", group.get("key"))["pk"]
        for test in group["tests"]:
            kind = test["result"] + "".join(test["flags"])
            chosen.setdefault(kind, ((key, test["msg"], test["sig"]), test["result"] == "valid"))
    return list(chosen.values())[:WYCHEPROOF_CASES]


def test_the_prompt_runs_what_is_typed_and_tells_errors(prompt: Prompt) -> None:
    assert prompt.run("print(6 * 7)") == "42\r\n"
    with pytest.raises(PromptFailed, match="ZeroDivisionError"):
        prompt.run("1 // 0")


@pytest.mark.parametrize("module", SIGNERS)
def test_the_chip_signs_as_rfc_8032_says(prompt: Prompt, module: str) -> None:
    for seed, key, message, signature in RFC_8032:
        said = prompt.run(KNOWN.format(module=module, seed=seed, message=message))
        assert said.split() == [key, signature]


@pytest.mark.parametrize("module", SIGNERS)
def test_the_chip_judges_signatures(prompt: Prompt, module: str) -> None:
    good = [((key, message, signature), True) for _seed, key, message, signature in RFC_8032]
    told = (good + [(case, False) for case in bent()] + wycheproof())[:: STRIDES[module]]
    for (key, message, signature), valid in told:
        said = prompt.run(JUDGED.format(module=module, key=key, message=message, signature=signature))
        assert said.strip() == str(valid), (key, message, signature)
