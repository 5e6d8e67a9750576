"""What the image is made of: locked, checked, fetched through a private apt view; and what is said when that fails."""

import hashlib
from pathlib import Path

import pytest

from tools import board_image, image_inputs
from tools.image_inputs import ImageFailed, Input

CONTENT = b"a package\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MIRROR = "Debian|Debian|bookworm|main|mirror:/the/machine's/own/"
# Stands for apt-get: notes how it was called, names a mirror, and gives what ANSWER holds.
APT = """#!/bin/sh
echo "$@" >>"{log}"
case "$*" in
    *indextargets*) printf '%s\\n' 'Debian|Debian-Security|bookworm-security|main|x' "{mirror}" ;;
    *update*) ;;
    *) cat "{answer}" >"{name}" || {{ echo "E: Version was not found" >&2; exit 100; }} ;;
esac
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with an apt-get of our own and an empty cache."""
    for name in ("CACHE", "INPUTS"):
        monkeypatch.setattr(image_inputs, name, tmp_path / name.lower())
    monkeypatch.setattr(image_inputs, "INPUTS", tmp_path / "cache" / "inputs")
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return tmp_path


def apt(machine: Path, *, mirror: str = MIRROR, content: bytes | None = CONTENT) -> Path:
    answer, log, program = machine / "answer", machine / "log", machine / "bin" / "apt-get"
    if content is not None:
        answer.write_bytes(content)
    text = APT.format(log=log, mirror=mirror, answer=answer, name="gcc-arm_15%3a12.2-1_amd64.deb")
    program.write_text(text)
    program.chmod(0o755)
    return log


def wanted() -> Input:
    return Input("bookworm", "gcc-arm", "15:12.2-1", SHA256, "gcc-arm_12.2-1_amd64.deb")


def test_the_lock_names_every_input_once() -> None:
    inputs = image_inputs.locked()
    assert {one.package for one in inputs} >= {"micropython", "pico-sdk-source", "libsodium", "gcc-arm-none-eabi"}
    assert len({one.file for one in inputs}) == len(inputs)
    for one in inputs:
        assert len(one.sha256) == 64
        int(one.sha256, 16)
        upstream = one.version.partition(":")[2] or one.version
        assert upstream.rpartition("-")[0] in one.file, one
        assert "/" not in one.file


def test_no_input_names_a_host() -> None:
    for path in (image_inputs.LOCK, Path(image_inputs.__file__), Path(board_image.__file__)):
        assert "://" not in path.read_text(), path


def test_a_lock_line_that_is_not_one_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "inputs.lock"
    lock.write_text("# comment\nbookworm gcc 12.2\n")
    monkeypatch.setattr(image_inputs, "LOCK", lock)
    with pytest.raises(ImageFailed, match=r"suite, package, version, SHA-256 and file.*gcc"):
        image_inputs.locked()


def test_a_package_comes_through_a_view_of_its_own(machine: Path) -> None:
    log = apt(machine)
    image_inputs.fetch([wanted()])
    assert wanted().path.read_bytes() == CONTENT
    own = machine / "cache" / "apt"
    update, download = [line for line in log.read_text().splitlines() if "indextargets" not in line]
    for line in (update, download):
        for option in ("Dir::Etc::SourceList", "Dir::Etc::SourceParts", "Dir::State::Lists", "Dir::Cache"):
            assert f"{option}={own}" in line
        assert "install" not in line.split()
    assert download.endswith("download gcc-arm=15:12.2-1")
    sources = (own / "sources.list").read_text()
    assert "mirror:/the/machine's/own/ bookworm main" in sources
    assert "trusted=yes" not in sources


def test_what_is_here_is_not_fetched_again(machine: Path) -> None:
    log = apt(machine)
    image_inputs.fetch([wanted()])
    log.unlink()
    image_inputs.fetch([wanted()])
    assert not log.exists()
    wanted().path.write_bytes(b"damaged")
    image_inputs.fetch([wanted()])
    assert wanted().path.read_bytes() == CONTENT


def test_a_superseded_version_is_told_with_what_to_do(machine: Path) -> None:
    apt(machine, content=None)
    with pytest.raises(ImageFailed, match=r"does not give gcc-arm 15:12\.2-1: it was superseded.*inputs\.lock"):
        image_inputs.fetch([wanted()])


def test_other_bytes_than_locked_are_refused(machine: Path) -> None:
    apt(machine, content=b"another package\n")
    with pytest.raises(ImageFailed, match=f"SHA-256 {SHA256}"):
        image_inputs.fetch([wanted()])


def test_a_machine_without_mirror_is_told_what_to_do(machine: Path) -> None:
    apt(machine, mirror="Somebody|Else|stable|main|mirror:/other/")
    with pytest.raises(ImageFailed, match="no Debian mirror is configured"):
        image_inputs.fetch([wanted()])


def test_a_machine_without_apt_is_told_what_to_do(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(machine / "bin"))
    with pytest.raises(ImageFailed, match="use a Debian machine"):
        image_inputs.fetch([wanted()])


@pytest.mark.parametrize("text", ["nothing of it", "twice twice"])
def test_an_edit_must_fit_exactly_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    (tmp_path / "source.c").write_text(text)
    monkeypatch.setattr(image_inputs, "EDITS", (("source.c", "twice", "once"),))
    with pytest.raises(ImageFailed, match=r"source\.c has 'twice' [02] times, not once"):
        image_inputs._edit(tmp_path)


def test_an_image_is_known_by_all_that_goes_in() -> None:
    frozen = board_image.sources(board_image.PRODUCTION)
    assert {"frozen/_boot.py", "frozen/main_rp2.py", "frozen/agent/unit.py", "frozen/agent/hal/rp2.py"} <= set(frozen)
    assert "frozen/agent/hal/unix.py" not in frozen
    assert "frozen/main.py" not in frozen
    assert "frozen/main.py" in board_image.sources(board_image.DEVELOPMENT)
    assert "usermod/ed25519_native/ed25519_native.c" in frozen
    variants = ("production", "development", "host")
    addresses = {board_image._product(variant, board_image.sources(variant)) for variant in variants}
    assert len(addresses) == 3
    other = frozen | {"frozen/agent/unit.py": b""}
    assert board_image._product(board_image.PRODUCTION, other) not in addresses


def test_what_is_missing_on_the_machine_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board_image, "NEEDED", {"cmake-of-nobody": "cmake", "sh": "dash"})
    with pytest.raises(ImageFailed, match="'apt-get install cmake' as root"):
        board_image._check_programs()
