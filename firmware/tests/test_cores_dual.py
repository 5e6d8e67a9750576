"""Runs the dual tests of the agent's cores: on CPython, and in MicroPython with 160 kB of heap."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.case_writer import write_cases

TESTS = Path(__file__).resolve().parent
FIRMWARE = TESTS.parent
MICROPYTHON = os.environ.get("MICROPYTHON", str(Path(sys.executable).parent / "micropython"))
MODULES = ["dual_crypto", "dual_encoding", "dual_stores"]
PEERS = 1000  # on both interpreters; about 15 ms each on a quiet machine's MicroPython
SLOW = "test_ed25519_agrees_with_pynacl"  # a quarter of a minute
SLOW_GC_BYTES = "65536"  # it is about numbers; at the 4 kB of the others, half of its time would go to collections
RUN_LIMIT_S = 300


@pytest.fixture(scope="module", autouse=True)
def case_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {"cpython": tmp_path_factory.mktemp("cpython"), "micropython": tmp_path_factory.mktemp("micropython")}
    write_cases(folders["cpython"], PEERS, line_characters=1_000_000)
    # The text of a case that is far too large on purpose would itself not fit a unit's heap beside the test.
    write_cases(folders["micropython"], PEERS, line_characters=5000)
    return folders


def functions() -> list[tuple[str, str]]:
    """(module, test) of all of them."""
    found = []
    for name in MODULES:
        module = importlib.import_module(f"tests.{name}")
        found += [(name, test) for test in dir(module) if test.startswith("test_")]
    return found


MARKED = [pytest.param(*names, marks=pytest.mark.slow if names[1] == SLOW else ()) for names in functions()]


@pytest.mark.parametrize(("module", "test"), MARKED)
def test_on_cpython(module: str, test: str, case_folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARTRACE_CASES", str(case_folders["cpython"]))
    getattr(importlib.import_module(f"tests.{module}"), test)()


@pytest.mark.timeout(RUN_LIMIT_S + 20)
@pytest.mark.parametrize(("module", "test"), MARKED)
def test_on_micropython(module: str, test: str, case_folders: dict[str, Path]) -> None:
    program = [MICROPYTHON, "-X", "heapsize=160k", str(TESTS / "run_on_micropython.py"), str(FIRMWARE), module, test]
    if test == SLOW:
        program.append(SLOW_GC_BYTES)
    environment = os.environ | {"CARTRACE_CASES": str(case_folders["micropython"])}
    run = subprocess.run(program, capture_output=True, text=True, timeout=RUN_LIMIT_S, env=environment)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout == f"passed {test}\n"
