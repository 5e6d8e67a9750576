"""The `cartrace` command: it shows what there is, refuses what there is not, and hands over faithfully."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

from tools import cli

RUNNER = CliRunner()
CARTRACE = str(Path(sys.executable).with_name("cartrace"))  # as it is installed
SAFE = "PYTHONSAFEPATH"
# In a process of its own: nothing here imports the cloud.
COMMANDS_OF_THE_CLOUD = """
import json, os, django, typer.main
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cloud.settings")
django.setup()
from cloud.cli import app
shown = {name: each for name, each in typer.main.get_command(app).commands.items() if not each.hidden}
print(json.dumps({name: sorted(getattr(each, "commands", ())) for name, each in shown.items()}))
"""


def cartrace(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "tools", *arguments], capture_output=True, text=True, timeout=60)


def test_version_is_the_projects() -> None:
    shown = RUNNER.invoke(cli.app, ["--version"])
    assert shown.exit_code == 0
    assert shown.output.startswith("cartrace 0.")


@pytest.mark.parametrize("command", [[], ["gateway"], ["cloud"], ["unit"]])
def test_help_lists_the_commands(command: list[str]) -> None:
    shown = RUNNER.invoke(cli.app, [*command, "--help"])
    assert shown.exit_code == 0
    assert "Commands:" in shown.output


def test_shell_completion_can_be_installed() -> None:
    shown = RUNNER.invoke(cli.app, ["--help"])
    assert "--install-completion" in shown.output


@pytest.mark.parametrize(
    ("command", "program"),
    [
        (["gateway", "status", "--config", "x.toml", "--json"], ["gateway", "status", "--config", "x.toml", "--json"]),
        (["gateway", "run", "--help"], ["gateway", "run", "--help"]),
        (["cloud", "batch", "show", "B-1", "--json"], ["cloud", "batch", "show", "B-1", "--json"]),
        (["cloud", "badge", "--", "--odd"], ["cloud", "badge", "--", "--odd"]),
        (["unit", "run", "--speed", "60"], ["hil_tests.bench", "run", "--speed", "60"]),
        (["unit", "uf2", "u.toml", "--output", "u.uf2"], ["tools.unit_uf2", "u.toml", "--output", "u.uf2"]),
        (["demo", "--once", "--speed", "30"], ["hil_tests.story", "--once", "--speed", "30.0"]),
    ],
)
def test_arguments_reach_the_program_unchanged(
    command: list[str], program: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    became: list[tuple[list[str], str | None]] = []
    monkeypatch.setattr(os, "execve", lambda _, words, environment: became.append((words, environment.get(SAFE))))
    shown = RUNNER.invoke(cli.app, command)
    assert shown.exit_code == 0, shown.output
    assert became == [([sys.executable, "-m", *program], "1")]


@pytest.mark.parametrize(
    ("program", "command"), [("gateway", ["gateway", "run", "--help"]), ("wire", ["bench", "wire"])]
)
def test_a_namesake_in_the_folder_is_not_run(program: str, command: list[str], tmp_path: Path) -> None:
    (tmp_path / program).mkdir()
    for name in ("__init__", "__main__", "bench"):
        (tmp_path / program / f"{name}.py").write_text("raise SystemExit('a stranger ran')")
    done = subprocess.run([CARTRACE, *command], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "stranger" not in done.stdout + done.stderr


@pytest.mark.parametrize("house", ["unit", "image-cuts"])
def test_a_bench_of_the_image_says_what_it_lacks(house: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "OF_THE_IMAGE", ["no-such-package"])
    shown = RUNNER.invoke(cli.app, ["bench", house])
    assert shown.exit_code == 2
    assert "run 'make image', then this again" in shown.output


def test_the_list_of_the_clouds_commands_is_the_programs_own() -> None:
    asked = subprocess.run([sys.executable, "-c", COMMANDS_OF_THE_CLOUD], capture_output=True, text=True, timeout=60)
    assert asked.returncode == 0, asked.stderr
    own: dict[str, list[str]] = json.loads(asked.stdout)
    own.pop("bench")  # `cartrace bench` runs it
    listed = typer.main.get_command(cli.app).commands["cloud"].commands  # type: ignore[attr-defined]  # they are groups
    assert own == {name: sorted(getattr(command, "commands", ())) for name, command in listed.items()}


def test_an_unknown_command_is_refused_in_words() -> None:
    done = cartrace("frobnicate")
    assert done.returncode == 2
    assert "No such command 'frobnicate'" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_bench_is_refused_in_words() -> None:
    done = cartrace("bench", "moon")
    assert done.returncode == 2
    assert "there is no bench 'moon'" in done.stderr
    assert "Traceback" not in done.stderr


def test_bench_rows_are_passed_on_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "verify " * 20
    row = {"name": name, "value": 3.0, "unit": "records/s", "baseline": 2.0, "ratio": 1.5}
    answer = subprocess.CompletedProcess[bytes]([], 0, json.dumps([row]).encode())
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    assert json.loads(RUNNER.invoke(cli.app, ["bench", "wire", "--json"]).output) == [row]
    shown = RUNNER.invoke(cli.app, ["bench", "wire"]).output
    assert "1.5" in shown
    assert name in shown, "no terminal, so nothing is cut"


def test_a_bench_that_fails_fails_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess[bytes]([], 3, b""))
    shown = RUNNER.invoke(cli.app, ["bench", "wire", "--json"])
    assert shown.exit_code == 2
    assert "the bench of wire failed (exit code 3)" in shown.output
