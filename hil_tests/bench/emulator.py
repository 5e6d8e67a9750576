"""Which build of the chip's emulator runs: the wheel's own, or the same sources compiled for this very interpreter.

The wheel of rp2040py is compiled for any Python ("limited API") and spends most of its time on that promise. It carries
its C sources; compiled without the promise they run three to four times faster, instruction for instruction the same.
So this module compiles them once into `.cache/` when a C compiler and Python's headers are there, and uses the wheel
as it is when they are not. It changes no source. Everything of rp2040py is taken from here, so that nobody gets
the other one.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PACKAGE = "rp2040py"
CACHE = Path(__file__).resolve().parents[2] / ".cache" / "emulator"
FLAGS = ("-O3", "-std=gnu99", "-fPIC", "-shared", "-w")
COMPILE_TIMEOUT_S = 300


def _load() -> str:
    """Make `import rp2040py` find the fastest build that this machine can have; says which: "compiled" or "wheel"."""
    if PACKAGE in sys.modules:
        return "compiled" if str(CACHE) in str(sys.modules[PACKAGE].__file__) else "wheel"
    compiled = _compiled()
    if compiled is None:
        return "wheel"
    sys.path.insert(0, str(compiled))
    return "compiled"


def _compiled() -> Path | None:
    """Folder with the compiled package; None when there is no compiler, or it fails, or CARTRACE_EMULATOR=wheel."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if compiler is None or not headers.exists() or os.environ.get("CARTRACE_EMULATOR") == "wheel":
        return None
    version = importlib.metadata.version(PACKAGE)
    key = hashlib.sha256(f"{version} {sys.version} {FLAGS}".encode()).hexdigest()[:16]
    folder = CACHE / key
    if not folder.exists() and not _compile(compiler, folder):
        return None
    return folder


def _compile(compiler: str, folder: Path) -> bool:
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None
    assert spec.origin is not None
    CACHE.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=CACHE))
    try:
        package = draft / PACKAGE
        ignore = shutil.ignore_patterns("*.so", "__pycache__")
        shutil.copytree(Path(spec.origin).parent, package, ignore=ignore)
        sources = sorted((package / "native").glob("*.c"))
        with ThreadPoolExecutor(2) as hands:
            done = list(hands.map(lambda source: _compile_one(compiler, source), sources))
        if not sources or not all(done):
            return False
        for source in sources:
            source.unlink()
        try:
            draft.rename(folder)
        except OSError:
            return folder.exists()  # somebody else was faster, with the same sources
        return True
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _compile_one(compiler: str, source: Path) -> bool:
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    include = sysconfig.get_paths()["include"]
    command = [compiler, *FLAGS, f"-I{include}", str(source), "-o", str(source.with_name(source.stem + suffix))]
    try:
        return subprocess.run(command, capture_output=True, timeout=COMPILE_TIMEOUT_S, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


BUILD = _load()

from rp2040py import sio  # noqa: E402
from rp2040py.device.bootrom import BOOTROM_B1  # noqa: E402  after _load(), on purpose
from rp2040py.execute_batch import execute_batch  # noqa: E402
from rp2040py.peripherals import uart as pl011  # noqa: E402
from rp2040py.peripherals.i2c import I2CMode, I2CState  # noqa: E402
from rp2040py.peripherals.peripheral import BasePeripheral  # noqa: E402
from rp2040py.rp2040 import RP2040  # noqa: E402
from rp2040py.usb.cdc import USBCDC  # noqa: E402
from rp2040py.utils.logging import ConsoleLogger, LogLevel  # noqa: E402

__all__ = (
    "BOOTROM_B1",
    "BUILD",
    "RP2040",
    "USBCDC",
    "BasePeripheral",
    "ConsoleLogger",
    "I2CMode",
    "I2CState",
    "LogLevel",
    "execute_batch",
    "pl011",
    "sio",
)
