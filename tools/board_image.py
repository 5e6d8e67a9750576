"""Builds the unit's image for the RP2040, and MicroPython for the host with the same native signer.

    python -m tools.board_image production | development | host [--where]

Decides when something must be built (the digest of everything that goes into it is its address in `.cache/image`), and
that the code stays clear of the flash behind it. Same inputs give the same bytes, in whatever folder. Flashes
nothing.
Variants, flash map, pins: firmware/boards/README.md. Inputs, and what is edited in them: image_inputs.py.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tools.image_inputs import CACHE, LOCK, ROOT, ImageFailed, fetch, locked, unpack

FIRMWARE = ROOT / "firmware"
BOARDS = FIRMWARE / "boards"
BOARD = "CARTRACE_UNIT"
TREE_RULES = (LOCK, ROOT / "tools" / "image_inputs.py")  # what sources and toolchain are laid out by
KEPT = 4  # products of each variant
CODE = (".py", ".c", ".cmake", ".mk")
PRODUCTION, DEVELOPMENT, HOST = "production", "development", "host"
CODE_BYTES_MAX = 640 * 1024  # what lies behind it in flash is not code: firmware/boards/README.md
SOURCE_DATE = "1744675200"  # in place of the time of building: when MicroPython 1.25.0 was released
NEEDED = {
    "cmake": "cmake",
    "make": "make",
    "gcc": "gcc",
    "patch": "patch",
    "dpkg": "dpkg",
    "tar": "tar",
    "xz": "xz-utils",
}


Sources = dict[str, bytes]


def built(variant: str) -> Path | None:
    """The image (or, for HOST, the interpreter) of the sources as they are now; None when it was not built yet."""
    product = _product(variant, sources(variant))
    return product if product.exists() else None


def build(variant: str) -> Path:
    """Build it unless it is there; raises ImageFailed."""
    ours = sources(variant)
    product = _product(variant, ours)
    if product.exists():
        return product
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # somebody else may be building the same
        if not product.exists():
            _check_programs()
            tree = _tree()
            _build_host(tree, ours, product) if variant == HOST else _build_board(tree, variant, ours, product)
            _forget_old(variant)
    return product


def sources(variant: str) -> Sources:
    """Everything of ours that goes into it, by its name in the build: `frozen/`, `board/` and `usermod/`.

    Read once for a build: what somebody saves meanwhile belongs to the next one.
    """
    ours = _folder("usermod", BOARDS / "usermod")
    if variant == HOST:
        return ours
    board = BOARDS / BOARD
    ours |= {f"board/{path.name}": path.read_bytes() for path in sorted(board.iterdir()) if path.is_file()}
    ours |= _folder("frozen", board / variant) | _folder("frozen/agent", FIRMWARE / "agent")
    ours["frozen/main_rp2.py"] = (FIRMWARE / "main_rp2.py").read_bytes()
    del ours["frozen/agent/hal/unix.py"]
    return ours


def _folder(name: str, folder: Path) -> Sources:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in CODE)
    return {f"{name}/{path.relative_to(folder)}": path.read_bytes() for path in files}


def _product(variant: str, ours: Sources) -> Path:
    name = "micropython" if variant == HOST else "firmware.bin"
    return CACHE / f"{variant}-{_digest(_files(*TREE_RULES, Path(__file__)) | ours)}" / name


def _files(*paths: Path) -> Sources:
    return {path.name: path.read_bytes() for path in paths}


def _digest(contents: Sources) -> str:
    digest = hashlib.sha256()
    for name, content in contents.items():
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def _forget_old(variant: str) -> None:
    products = sorted(CACHE.glob(f"{variant}-*"), key=lambda folder: folder.stat().st_mtime)
    for old in products[:-KEPT]:
        shutil.rmtree(old)


def _check_programs() -> None:
    missing = [package for program, package in NEEDED.items() if shutil.which(program) is None]
    if missing:
        raise ImageFailed(f"the image needs {', '.join(missing)}: run 'apt-get install {' '.join(missing)}' as root.")


def _tree() -> Path:
    """Unpacked and edited sources and toolchain, with mpy-cross built; kept from one build to the next."""
    tree = CACHE / f"tree-{_digest(_files(*TREE_RULES))}"
    if tree.exists():
        return tree
    inputs = locked()
    _say("getting the sources and the toolchain (once; some 100 MB)")
    fetch(inputs)
    for old in CACHE.glob("tree-*"):
        shutil.rmtree(old)
    draft = CACHE / "draft-tree"
    shutil.rmtree(draft, ignore_errors=True)
    unpack(inputs, draft)
    _say("building the cross compiler for bytecode")
    _make(draft, draft / "mpy-cross.log", "-C", str(draft / "src" / "micropython" / "mpy-cross"))
    draft.rename(tree)
    return tree


def _build_board(tree: Path, variant: str, ours: Sources, product: Path) -> None:
    """cmake and make in a folder of its own; what was compiled for the same C sources is used again."""
    work = CACHE / f"work-{variant}"
    output, stamp = work / "build", work / "stamp"
    wanted = tree.name + _digest({name: content for name, content in ours.items() if not name.startswith("frozen/")})
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
    for folder in (work / "frozen", output / "frozen_mpy"):
        shutil.rmtree(folder, ignore_errors=True)
    if not stamp.exists():
        _lay_out(ours, work)
    else:
        _lay_out({name: content for name, content in ours.items() if name.startswith("frozen/")}, work)
    _say(f"building the {variant} image")
    if not stamp.exists():
        _configure(tree, work, variant)
        stamp.write_text(wanted)
    _make(tree, work / "freeze.log", "-C", str(output), "BUILD_FROZEN_CONTENT", work=work)
    _make(tree, work / "make.log", "-C", str(output), work=work)
    size = (output / "firmware.bin").stat().st_size
    if size > CODE_BYTES_MAX:
        raise ImageFailed(
            f"the {variant} image has {size} bytes and would run into what lies behind it at {CODE_BYTES_MAX}."
        )
    _keep(product, [output / "firmware.bin", output / "firmware.elf"])


def _lay_out(ours: Sources, work: Path) -> None:
    for name, content in ours.items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_bytes(content)


def _configure(tree: Path, work: Path, variant: str) -> None:
    definitions = {
        "PICO_NO_PICOTOOL": "1",
        "CMAKE_C_STANDARD_LIBRARIES": "-lm",  # the compiler for C++ would have added it
        "MICROPY_BOARD": BOARD,
        "MICROPY_BOARD_DIR": work / "board",
        "MICROPY_BOARD_VARIANT": variant.upper(),
        "USER_C_MODULES": work / "usermod" / "micropython.cmake",
        "LIBSODIUM": tree / "src" / "libsodium" / "src" / "libsodium",
    }
    port = tree / "src" / "micropython" / "ports" / "rp2"
    command = [
        "cmake",
        "-S",
        str(port),
        "-B",
        str(work / "build"),
        *(f"-D{key}={value}" for key, value in definitions.items()),
    ]
    _run(command, _environment(tree, work), work / "cmake.log")


def _build_host(tree: Path, ours: Sources, product: Path) -> None:
    _say("building MicroPython for this machine, with the native signer")
    work = CACHE / "work-host"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    _lay_out(ours, work)
    off = ("MICROPY_PY_BTREE=0", "MICROPY_PY_FFI=0", "MICROPY_PY_SSL=0", "MICROPY_STANDALONE=0")
    _make(
        tree,
        work / "make.log",
        "-C", str(tree / "src" / "micropython" / "ports" / "unix"),
        f"BUILD={work / 'build'}",
        f"USER_C_MODULES={work / 'usermod'}",
        f"LIBSODIUM={tree / 'src' / 'libsodium' / 'src' / 'libsodium'}",
        "FROZEN_MANIFEST=",
        *off,
    )  # fmt: skip
    _keep(product, [work / "build" / "micropython"])


def _environment(tree: Path, work: Path) -> dict[str, str]:
    """Nothing of this machine or this moment reaches the bytes: neither folders nor time, language or random order."""
    hidden = f"-ffile-prefix-map={work}=. -ffile-prefix-map={tree}=."
    programs = tree / "root" / "usr" / "bin"
    return os.environ | {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "CFLAGS": hidden,  # by environment: on cmake's command line they would replace the SDK's own
        "CXXFLAGS": hidden,
        "ASMFLAGS": hidden,
        "SOURCE_DATE_EPOCH": SOURCE_DATE,
        "MICROPY_GIT_TAG": "v1.25.0",
        "MICROPY_GIT_HASH": "debian",
        "CARTRACE_FROZEN": str(work / "frozen"),  # for manifest.py
        "PYTHONHASHSEED": "0",
        "PYTHONSAFEPATH": "",  # MicroPython's own scripts import what lies beside them
        "LC_ALL": "C",
        "TZ": "UTC",
    }


def _make(tree: Path, log: Path, *arguments: str, work: Path | None = None) -> None:
    environment = _environment(tree, work) if work is not None else os.environ | {"LC_ALL": "C", "PYTHONSAFEPATH": ""}
    _run(["make", f"-j{os.cpu_count() or 1}", *arguments], environment, log)


def _run(command: list[str], environment: dict[str, str], log: Path) -> None:
    with log.open("w") as written:
        done = subprocess.run(command, stdout=written, stderr=subprocess.STDOUT, env=environment, check=False)
    if done.returncode:
        lines = log.read_text(errors="replace").splitlines()
        telling = [line for line in lines if "rror" in line or "undefined" in line] or lines
        raise ImageFailed(f"'{command[0]}' failed; all it said is in {log}:\n" + "\n".join(telling[:20]))


def _keep(product: Path, files: list[Path]) -> None:
    draft = product.parent.with_suffix(".new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    for path in files:
        shutil.copy2(path, draft / path.name)
    draft.rename(product.parent)


def _say(what: str) -> None:
    print(f"image: {what}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="tools.board_image", description="Build the unit's image.")
    parser.add_argument("variant", choices=(PRODUCTION, DEVELOPMENT, HOST))
    parser.add_argument("--where", action="store_true", help="build nothing; print the path of the built one")
    arguments = parser.parse_args()
    began_s = time.monotonic()
    try:
        product = built(arguments.variant) if arguments.where else build(arguments.variant)
    except ImageFailed as failure:
        sys.exit(f"image: {failure}")
    if product is None:
        sys.exit(f"image: the {arguments.variant} image of these sources was not built yet.")
    if arguments.where:
        print(product)
        return
    content = product.read_bytes()
    room = "" if arguments.variant == HOST else f" of {CODE_BYTES_MAX}"
    print(f"{arguments.variant}: {product.relative_to(ROOT)} ({time.monotonic() - began_s:.1f} s)")
    print(f"{len(content)} bytes{room}, SHA-256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
