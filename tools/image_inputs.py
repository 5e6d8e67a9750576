"""The inputs of the unit's image: Debian packages of fixed versions, by SHA-256, out of the machine's own mirror.

Decides which bytes an image is made of: those that `firmware/boards/inputs.lock` names, and no others. Downloads what
is missing through a private apt view under `.cache/image/apt`, with Debian's signatures checked; never touches the
system's own sources, installs nothing and needs no root. Unpacks them, with
the edits written down here, each of which must fit exactly once; never compiles.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "firmware" / "boards" / "inputs.lock"
CACHE = ROOT / ".cache" / "image"
INPUTS = CACHE / "inputs"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
MIRROR = "$(ORIGIN)|$(LABEL)|$(CODENAME)|$(COMPONENT)|$(REPO_URI)"
NEWLIB = "libnewlib-arm-none-eabi"
# Of the C library only the chip's own variant is wanted: all of them are ten times as much.
NEWLIB_PARTS = ("*.specs", "*.o", "*.a", "thumb/v6-m")

# (unpacked file, what stands there exactly once, what shall stand there). No TLS, so no mbedtls; no C++, so no
# libstdc++ of 313 MB.
EDITS = (
    ("src/micropython/ports/rp2/CMakeLists.txt", "set(MICROPY_SSL_MBEDTLS ON)", "set(MICROPY_SSL_MBEDTLS OFF)"),
    ("src/micropython/ports/rp2/CMakeLists.txt", "list(APPEND GIT_SUBMODULES lib/mbedtls)", ""),
    ("src/micropython/ports/rp2/CMakeLists.txt", "target_link_libraries(${MICROPY_TARGET} micropy_lib_mbedtls)", ""),
    ("src/micropython/ports/rp2/CMakeLists.txt", "    mbedtls/mbedtls_port.c", ""),
    (
        "src/micropython/ports/rp2/mpconfigport.h",
        "#define MICROPY_SSL_MBEDTLS                     (1)",
        "#define MICROPY_SSL_MBEDTLS (0)",
    ),
    (
        "src/micropython/ports/rp2/mpconfigport.h",
        "#define MICROPY_PY_HASHLIB_SHA1                 (1)",
        "#define MICROPY_PY_HASHLIB_SHA1 (0)",
    ),
    (
        "src/micropython/ports/rp2/mpconfigport.h",
        "#define MICROPY_PY_CRYPTOLIB                    (1)",
        "#define MICROPY_PY_CRYPTOLIB (0)",
    ),
    (
        "root/usr/src/pico-sdk/src/rp2_common/pico_cxx_options/CMakeLists.txt",
        "${CMAKE_CURRENT_LIST_DIR}/new_delete.cpp",
        "",
    ),
)  # fmt: skip


class ImageFailed(Exception):  # noqa: N818  said to a person, in one sentence
    """The image cannot be made. The text says what is wrong, and what to do."""


@dataclass(frozen=True)
class Input:
    """One file of a Debian package. A source package has several; file is its name in the archive, with no epoch."""

    suite: str
    package: str
    version: str
    sha256: str
    file: str

    @property
    def is_source(self) -> bool:
        return ".tar." in self.file

    @property
    def path(self) -> Path:
        return INPUTS / self.file

    @property
    def is_here(self) -> bool:
        return self.path.is_file() and hashlib.sha256(self.path.read_bytes()).hexdigest() == self.sha256


def locked() -> list[Input]:
    """The inputs that the lock file names."""
    lines = [line.split() for line in LOCK.read_text().splitlines() if line.strip() and not line.startswith("#")]
    for line in lines:
        if len(line) != 5:
            raise ImageFailed(f"{LOCK}: a line has suite, package, version, SHA-256 and file, this one has not: {line}")
    return [Input(*line) for line in lines]


def fetch(inputs: list[Input]) -> None:
    """Make every input be in INPUTS with the right bytes."""
    INPUTS.mkdir(parents=True, exist_ok=True)
    missing = [wanted for wanted in inputs if not wanted.is_here]
    if not missing:
        return
    apt = Apt(sorted({wanted.suite for wanted in inputs}))
    for (package, version, is_source), files in _by_package(missing).items():
        draft = CACHE / "draft"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        apt.download(package, version, is_source, draft)
        for found in draft.iterdir():
            found.replace(INPUTS / _plain_name(found.name))
        draft.rmdir()
        for wanted in files:
            if not wanted.is_here:
                raise ImageFailed(
                    f"{wanted.file} of {package} {version} is not what firmware/boards/inputs.lock says (SHA-256 "
                    f"{wanted.sha256}): either this machine is of another kind than amd64, or the mirror is not to be "
                    "trusted."
                )


def _by_package(inputs: Iterable[Input]) -> dict[tuple[str, str, bool], list[Input]]:
    packages: dict[tuple[str, str, bool], list[Input]] = {}
    for wanted in inputs:
        packages.setdefault((wanted.package, wanted.version, wanted.is_source), []).append(wanted)
    return packages


def _plain_name(name: str) -> str:
    """apt writes an epoch into names of files (`15%3a12.2`); the archive itself does not."""
    start, epoch, end = name.partition("%3a")
    return start.rpartition("_")[0] + "_" + end if epoch else name


class Apt:
    """apt-get with lists and cache of its own, on the machine's own mirror, for the suites of the lock file."""

    def __init__(self, suites: list[str]) -> None:
        self._folder = CACHE / "apt"
        for name in ("lists/partial", "cache/archives/partial", "parts"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        signed = f"[signed-by={KEYRING}] " if KEYRING.exists() else ""
        mirror = self._mirror()
        lines = [f"{kind} {signed}{mirror} {suite} main\n" for suite in suites for kind in ("deb", "deb-src")]
        (self._folder / "sources.list").write_text("".join(lines))
        updated = self._run("update")
        if updated.returncode or "Failed to fetch" in updated.stderr:
            raise ImageFailed(
                "apt-get could not read the package lists of the machine's own Debian mirror; is it in reach? "
                "Its own words:\n" + updated.stderr.strip()
            )

    def _mirror(self) -> str:
        if shutil.which("apt-get") is None:
            raise ImageFailed(
                "the image is made of Debian packages, and this machine has no apt-get: use a Debian machine."
            )
        command = ["apt-get", "indextargets", "--format", MIRROR, "Created-By: Packages"]
        targets = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
        for origin, label, codename, component, uri in (line.split("|") for line in targets):
            if (origin, label, component) == ("Debian", "Debian", "main") and "-" not in codename:
                return uri
        raise ImageFailed(
            "no Debian mirror is configured on this machine, or its lists were never read: run 'apt-get update' as "
            "root, then the same command again."
        )

    def download(self, package: str, version: str, is_source: bool, folder: Path) -> None:
        """Put one package's files into folder. Raises ImageFailed when the mirror has not this version any more."""
        verb = ("source", "--download-only") if is_source else ("download",)
        done = self._run(*verb, f"{package}={version}", cwd=folder)
        if done.returncode:
            raise ImageFailed(
                f"the Debian mirror does not give {package} {version}: it was superseded, or the mirror is out of "
                f"reach. Put its files into {INPUTS} by hand (their SHA-256 are in firmware/boards/inputs.lock), or "
                f"lock a newer version there. apt-get's own words:\n{done.stderr.strip()}"
            )

    def _run(self, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        options = {
            "Dir::Etc::SourceList": self._folder / "sources.list",
            "Dir::Etc::SourceParts": self._folder / "parts",
            "Dir::State::Lists": self._folder / "lists",
            "Dir::Cache": self._folder / "cache",
            "APT::Sandbox::User": pwd.getpwuid(os.getuid()).pw_name,
            "APT::Update::Post-Invoke-Success::": "",
            "APT::Update::Post-Invoke::": "",
            "Acquire::Languages": "none",
            "Debug::NoLocking": "1",
        }
        command = ["apt-get", "-q", *(word for key, value in options.items() for word in ("-o", f"{key}={value}"))]
        return subprocess.run(
            [*command, *arguments],
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )


def unpack(inputs: list[Input], tree: Path) -> None:
    """Lay everything out under tree: `root/` holds what packages would install, `src/` sources, patched by Debian."""
    root, sources = tree / "root", tree / "src"
    for folder in (root, sources):
        folder.mkdir(parents=True)
    for wanted in inputs:
        if not wanted.is_source:
            _unpack_package(wanted, root)
            continue
        part = wanted.package + ("" if ".orig." in wanted.file else "-debian")
        into = ("-C", str(sources), f"--one-top-level={part}", "--strip-components=1")
        _run("tar", "xf", str(wanted.path), *into)
    for series in sorted(sources.glob("*-debian/patches/series")):
        package = series.parent.parent.name.removesuffix("-debian")
        for patch in series.read_text().split():
            _run("patch", "-s", "-p1", "-d", str(sources / package), "-i", str(series.with_name(patch)))
    _edit(tree)


def _unpack_package(package: Input, root: Path) -> None:
    if package.package != NEWLIB:
        _run("dpkg", "-x", str(package.path), str(root))
        return
    with subprocess.Popen(["dpkg", "--fsys-tarfile", str(package.path)], stdout=subprocess.PIPE) as archive:
        folder = "./usr/lib/arm-none-eabi/newlib/"
        wanted = [folder + part for part in NEWLIB_PARTS]
        command = ["tar", "x", "-C", str(root), "--wildcards", "--no-wildcards-match-slash", *wanted]
        if subprocess.run(command, stdin=archive.stdout, check=False).returncode:
            raise ImageFailed(f"{package.file} could not be unpacked.")
    machine = root / "usr" / "lib" / "arm-none-eabi"
    (machine / "lib").symlink_to("newlib")
    (machine / "include").symlink_to("../../include/newlib")


def _edit(tree: Path) -> None:
    for name, before, after in EDITS:
        path = tree / name
        text = path.read_text()
        if text.count(before) != 1:
            raise ImageFailed(
                f"{name} has '{before}' {text.count(before)} times, not once: tools/image_inputs.py must follow."
            )
        path.write_text(text.replace(before, after))
    micropython = tree / "src" / "micropython"
    for name in ("pico-sdk", "tinyusb"):
        (micropython / "lib" / name).rmdir()
        (micropython / "lib" / name).symlink_to(f"../../../root/usr/src/{name}")
    (micropython / "lib" / "micropython-lib" / "README.md").write_text("Nothing of it is used.\n")


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ImageFailed(f"'{' '.join(command[:2])}' failed: {done.stderr.strip()}")
