"""Runs the dual tests of the unit's own modules: on CPython, and compiled as on a board in MicroPython with 160 kB."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hil_tests.bench.image import on_firmware

FIRMWARE = Path(__file__).resolve().parents[1]
HEAP_BYTES = 160 * 1024
MODULES = [
    "dual_unit_inputs",
    "dual_unit_link",
    "dual_unit_procedure",
    "dual_unit_override",
    "dual_unit_panel",
    "dual_unit_time",
    "dual_whole_unit",
    "dual_unit_told",
    "dual_unit_ruined",
    "dual_unit_worn",
    "dual_unit_texts",
    "dual_unit_set_back",
    "dual_devices",
    "dual_scanner",
    "dual_scans_fuzz",
    "dual_labels",
]
RUN = """
import gc, sys
gc.threshold(4096)
sys.path.append({firmware!r})
module = __import__("tests.{module}", None, None, ("{module}",))
for name in sorted(dir(module)):
    if name.startswith("test_"):
        gc.collect()
        getattr(module, name)()
        print(name)
"""


def _functions(module: str) -> list[str]:
    return sorted(name for name in dir(importlib.import_module(f"tests.{module}")) if name.startswith("test_"))


@pytest.mark.parametrize(("module", "test"), [(module, test) for module in MODULES for test in _functions(module)])
def test_on_cpython(module: str, test: str) -> None:
    getattr(importlib.import_module(f"tests.{module}"), test)()


@pytest.mark.parametrize("module", MODULES)
def test_on_micropython(module: str) -> None:
    interpreter = os.environ.get("MICROPYTHON")
    program = on_firmware(RUN.format(firmware=str(FIRMWARE), module=module), HEAP_BYTES)
    command = [interpreter] if interpreter else [sys.executable, "-m", "micropython_unix"]
    run = subprocess.run([*command, *program], capture_output=True, text=True, timeout=100, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.split() == _functions(module)
