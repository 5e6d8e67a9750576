"""The demonstration as a command: harmless to run again, one sentence when it cannot, and Ctrl-C leaves nothing."""

import importlib.metadata
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hil_tests.programs import BenchError, python, wait_until
from hil_tests.stage import MARKER, take_folder

RISE_S = 90.0
ROOT = Path(__file__).parents[2]
LOCKS = [ROOT / "requirements.lock", ROOT / "requirements-assets.lock"]  # what `tools/setup.sh run` installs


def test_leftovers_of_a_former_run_are_cleared(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    take_folder(folder).close()
    (folder / "cloud").mkdir()
    (folder / "cloud" / "db.sqlite3").touch()
    take_folder(folder).close()
    assert [entry.name for entry in folder.iterdir()] == [MARKER]


def test_somebody_elses_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(BenchError, match="holds files that no demonstration made"):
        take_folder(tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_a_second_run_in_the_same_folder_is_told_so(tmp_path: Path) -> None:
    lock = take_folder(tmp_path / "demo")
    done = subprocess.run(
        python("hil_tests.story", "--once", "--state", str(tmp_path / "demo")),
        capture_output=True,
        text=True,
        timeout=60,
    )
    lock.close()
    assert done.returncode == 1
    assert done.stdout == ""
    assert "another demonstration is running" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("speed", ["0", "-1", "nan"])
@pytest.mark.parametrize("program", [["hil_tests.story", "--once"], ["hil_tests.bench", "run"]])
def test_a_speed_that_is_none_is_told_so(tmp_path: Path, program: list[str], speed: str) -> None:
    (tmp_path / "flash.bin").touch()
    folder = "--state" if "hil_tests.story" in program else "--directory"
    command = python(*program, folder, str(tmp_path), "--speed", speed)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("bad_request: ")
    assert "--speed takes a number above 0" in done.stderr


@pytest.mark.story
@pytest.mark.timeout(180)
def test_ctrl_c_ends_everything(tmp_path: Path) -> None:
    """Where an earlier run was, with nothing but what `make demo` installs. `.ci/run` plays it to its end."""
    folder, said = tmp_path / "demo", tmp_path / "said"
    take_folder(folder).close()
    (folder / "cloud").mkdir()
    (folder / "cloud" / "db.sqlite3").write_text("left by an earlier run")
    env = as_make_demo_installs(tmp_path / "fence")
    with said.open("w") as stderr:
        demo = subprocess.Popen(
            python("hil_tests.story", "--state", str(folder)), stderr=stderr, start_new_session=True, env=env
        )
    try:
        wait_until(lambda: "password" in said.read_text(), what="the address and the login", timeout_s=RISE_S)
        assert len(processes_of(folder)) > 3
        demo.send_signal(signal.SIGINT)
        assert demo.wait(60) == 0
    finally:
        demo.kill()
        demo.wait()
    assert "Traceback" not in said.read_text()
    wait_until(lambda: processes_of(folder) == [], what="every process of it to be gone", timeout_s=10)


def test_the_fence_hides_what_make_demo_does_not_install(tmp_path: Path) -> None:
    env = as_make_demo_installs(tmp_path / "fence")
    for module, importable in [("apsw", True), ("django", True), ("cryptography", False), ("hypothesis", False)]:
        done = subprocess.run(
            [sys.executable, "-c", f"import {module}"], env=env, capture_output=True, text=True, timeout=60
        )
        assert (done.returncode == 0) is importable, done.stderr


def as_make_demo_installs(folder: Path) -> dict[str, str]:
    """An environment in which no Python program can import what only `make test` installs."""
    locked = {name for lock in LOCKS for name in re.findall(r"^([a-zA-Z0-9._-]+)==", lock.read_text(), re.MULTILINE)}
    of_run = {"cartrace", "pip", *map(_plain, locked)}
    modules = importlib.metadata.packages_distributions()
    hidden = sorted(name for name, packages in modules.items() if not of_run & set(map(_plain, packages)))
    assert hidden
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({hidden!r}))\n")
    return {**os.environ, "PYTHONPATH": str(folder)}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def processes_of(folder: Path) -> list[str]:
    """Command lines of living processes that name the folder, or were started with it in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command, environment = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
        except OSError:
            continue
        if int(process.name) != os.getpid() and str(folder).encode() in command + environment:
            found.append(command.replace(b"\0", b" ").decode())
    return found
