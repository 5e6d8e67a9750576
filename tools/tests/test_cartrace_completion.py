"""What a shell offers behind `cartrace`: each program is asked for its own options, and a silent one spoils no line."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tools import cli
from tools.handover import retold

CARTRACE = str(Path(sys.executable).with_name("cartrace"))  # as it is installed
SHELLS = ["bash", "zsh", "fish"]
# One option of each program: three that answer a shell themselves, and one that only has its help.
OFFERED = [
    ("cartrace gateway status --", "--json"),
    ("cartrace gateway status --con", "--config"),
    ("cartrace cloud batch new B-1 --recipe r --ver", "--version"),
    ("cartrace unit uf2 u.toml --code", "--code-only"),
    ("cartrace unit run --directory d --sc", "--scanner"),
    ("cartrace unit provision --site", "--site-offset-min"),
]


def complete(shell: str, line: str, **more: str) -> subprocess.CompletedProcess[str]:
    """The command, asked as typer's script of that shell asks it, with the cursor at the end of line."""
    asked = {"_CARTRACE_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": line} | more
    if shell == "bash":
        words = line.split(" ")
        asked |= {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)}
        del asked["_TYPER_COMPLETE_ARGS"]
    if shell == "fish":
        asked.setdefault("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    return subprocess.run([CARTRACE], env=os.environ | asked, capture_output=True, text=True, timeout=60)


def test_completion_knows_the_second_word() -> None:
    asked = {"_CARTRACE_COMPLETE": "complete_bash", "COMP_WORDS": "cartrace cloud batch ", "COMP_CWORD": "3"}
    shown = CliRunner().invoke(cli.app, [], env=asked, prog_name="cartrace")
    assert {"new", "list", "show"} <= set(shown.output.split())


@pytest.mark.slow
@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(("line", "option"), OFFERED)
def test_the_program_is_asked_for_its_options(shell: str, line: str, option: str) -> None:
    done = complete(shell, line)
    assert (done.returncode, done.stderr) == (0, "")
    assert option in done.stdout.replace('"', " ").split()


@pytest.mark.slow
def test_bash_itself_completes_a_line() -> None:
    script = """eval "$(cartrace --show-completion bash)"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        _cartrace_completion cartrace; printf '%s\n' "${COMPREPLY[@]}" """
    words = ["bash", "--norc", "-c", script, "-", "cartrace", "cloud", "user", "add", "ada", "--ro"]
    search = f"{Path(CARTRACE).parent}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": search, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("--role\n", "")


@pytest.mark.slow
@pytest.mark.parametrize("line", ["cartrace gateway status --config ", "cartrace unit run --sensor-csv "])
def test_a_path_is_left_to_the_shell(line: str) -> None:
    """bash falls back to files when nothing is offered, zsh is told to, fish is told that nothing is known."""
    bash, zsh = (complete(shell, line).stdout for shell in ("bash", "zsh"))
    assert (bash.strip(), zsh.strip()) == ("", "_files")
    assert complete("fish", line, _TYPER_COMPLETE_FISH_ACTION="is-args").returncode == 1


@pytest.mark.slow
@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("line", ["cartrace cloud batch show --", "cartrace unit run --"])
def test_a_program_in_trouble_is_silent(shell: str, line: str, tmp_path: Path) -> None:
    (tmp_path / "hil_tests").mkdir()
    (tmp_path / "hil_tests" / "__init__.py").write_text("raise RuntimeError('broken')")
    search = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = complete(shell, line, CARTRACE_CLOUD_CONFIG=str(tmp_path / "none.toml"), PYTHONPATH=search)
    assert (done.stdout.strip() or "_files", done.stderr) == ("_files", "")


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("cartrace cloud batch show --", "cartrace batch show --"),
        ("/opt/cartrace cloud  batch\nshow 'B 1' --config=/x", "cartrace batch show 'B 1' --config=/x"),
        ("cartrace cloud batch show cloud batch show --", "cartrace batch show cloud batch show --"),
        ("cartrace --version cloud batch show ", "cartrace batch show "),
    ],
)
def test_the_question_is_told_as_if_the_program_had_been_typed(typed: str, told: str) -> None:
    where = {"COMP_WORDS": typed, "COMP_CWORD": str(len(shlex.split(typed)) - 1), "_CARTRACE_COMPLETE": "complete_bash"}
    asked = retold(where, ["cartrace", "cloud", "batch", "show"], ("batch", "show"))
    assert asked == {
        "COMP_WORDS": told,
        "COMP_CWORD": str(len(shlex.split(told)) - 1),
        "_CARTRACE CLOUD_COMPLETE": "complete_bash",
    }
    assert retold({"COMP_WORDS": "another line"}, ["cartrace", "cloud", "batch", "show"], ("batch", "show")) is None


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--install-completion", "--show-completion"])
def test_completion_is_installed_for_cartrace_alone(option: str, tmp_path: Path) -> None:
    """A program behind it would install it for a command of three words, and break that of cartrace."""
    command = [CARTRACE, "unit", "uf2", option, "bash"]
    done = subprocess.run(
        command, env={**os.environ, "HOME": str(tmp_path)}, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr.partition(":")[0]) == (2, "bad_request")
    assert list(tmp_path.iterdir()) == []
