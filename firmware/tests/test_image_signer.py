"""The image's C module for Ed25519, in MicroPython for this machine; ten thousand random agreements for each signer.

The interpreter is built by `make image-host` from the image's own sources. The same dual tests that hold for
agent/ed25519.py must hold for the module: RFC 8032, Wycheproof, weak keys, and PyNaCl as the peer.
"""

import os
import subprocess
from pathlib import Path

import pytest
from tests import test_cores_dual as dual
from tests.case_writer import write_cases

from tools import board_image

pytestmark = [pytest.mark.image, pytest.mark.slow]

PEERS = 10_000
PARTS = 4  # of the pure signer's ten thousand, which take five minutes: two workers share them
NATIVE_LIMIT_S, PURE_LIMIT_S = 200, 600
NATIVE_TESTS = [test for module, test in dual.functions() if module == "dual_crypto" and "sha512" not in test]
AGREES = "test_ed25519_agrees_with_pynacl"


@pytest.fixture(scope="module")
def interpreter() -> Path:
    path = board_image.built(board_image.HOST)
    if path is None:
        pytest.skip("NO INTERPRETER OF THESE SOURCES: run `make image-host`; the C module's signatures were not tested")
    return path


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cases")
    write_cases(folder, PEERS, line_characters=5000)
    return folder


def run(interpreter: Path, signer: str, cases: Path, test: str, limit_s: int) -> None:
    program = [str(interpreter), "-X", "heapsize=160k", str(dual.TESTS / "run_on_micropython.py"), str(dual.FIRMWARE)]
    environment = os.environ | {"CARTRACE_CASES": str(cases), "CARTRACE_ED25519": signer}
    done = subprocess.run(
        [*program, "dual_crypto", test], capture_output=True, text=True, timeout=limit_s, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == f"passed {test}\n"


def test_the_module_says_what_it_is(interpreter: Path) -> None:
    program = "import ed25519_native as e; print(e.kind, [n for n in dir(e) if n[0] != '_'])"
    said = subprocess.run([interpreter, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.startswith("native ")
    for name in ("public_key", "sign", "verify", "key_is_sound"):
        assert f"'{name}'" in said


@pytest.mark.timeout(NATIVE_LIMIT_S + 20)
@pytest.mark.parametrize("test", NATIVE_TESTS)
def test_the_module_signs_and_judges_as_the_pure_signer(interpreter: Path, cases: Path, test: str) -> None:
    run(interpreter, "native", cases, test, NATIVE_LIMIT_S)


@pytest.mark.exhaustive
@pytest.mark.timeout(PURE_LIMIT_S + 20)
@pytest.mark.parametrize("part", range(PARTS))
def test_the_pure_signer_agrees_ten_thousand_times(interpreter: Path, cases: Path, tmp_path: Path, part: int) -> None:
    lines = (cases / "peers.jsonl").read_text().splitlines(keepends=True)
    assert len(lines) == PEERS
    (tmp_path / "peers.jsonl").write_text("".join(lines[part::PARTS]))
    run(interpreter, "pure", tmp_path, AGREES, PURE_LIMIT_S)
