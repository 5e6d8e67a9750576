"""How the `cartrace` command hands over: to run a program, and to let it complete its own options in a shell.

Decides nothing about a program's arguments. A program runs with Python's safe path, and so does what it starts: a
folder that happens to hold a `gateway/__main__.py` must not be run in place of ours.

A shell asks by typer's variables: `_<PROGRAM>_COMPLETE` says what is wanted, COMP_WORDS and COMP_CWORD (bash) or
_TYPER_COMPLETE_ARGS (zsh, fish) what was typed. The program is asked by the same variables, as if it had been typed.
"""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

from typer.core import TyperCommand

TYPED = ("COMP_WORDS", "_TYPER_COMPLETE_ARGS")
COMPLETION = ("--install-completion", "--show-completion")
HELP_LIMIT_S = 10  # a shell waits meanwhile


def become(module: str, *arguments: str, environment: Mapping[str, str] | None = None) -> NoReturn:
    """Replaces this process, so that a signal reaches the program itself."""
    sys.stdout.flush()
    os.execve(  # noqa: S606 - our own program, no shell
        sys.executable, [sys.executable, "-m", module, *arguments], safe(environment)
    )


def safe(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """environment, by default our own, in which Python imports nothing from the folder it was started in."""
    return {**(os.environ if environment is None else environment), "PYTHONSAFEPATH": "1"}


class PassesOn(TyperCommand):
    """A command whose words, options included, all go to `python -m module WORDS ...`, which also completes them."""

    module = ""
    words: tuple[str, ...] = ()  # of the program; it is called by all words of the command but these

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Nothing is ours, not even a `--`."""
        ctx.args = list(args)
        return []

    def invoke(self, ctx: Any) -> NoReturn:
        if ctx.args and ctx.args[0] in COMPLETION:  # the program would install it for a command of two words
            print(f"bad_request: {ctx.args[0]} belongs to cartrace: type `cartrace {ctx.args[0]}`", file=sys.stderr)
            sys.exit(2)
        become(self.module, *self.words, *ctx.args)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Becomes the program, which answers the shell; what it has to complain of would only spoil the line typed."""
        asked = retold(os.environ, ctx.command_path.split(), self.words)
        if asked is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            become(self.module, environment=asked)
        return []


class PassesOnToArgparse(PassesOn):
    """The same for a program that cannot answer a shell: its help is read for the names of its options."""

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Names of options; anything else is left to the shell, which offers files."""
        return [Offer(name) for name in self._options() if name.startswith(incomplete)] if incomplete[:1] == "-" else []

    def _options(self) -> list[str]:
        command = [sys.executable, "-m", self.module, *self.words, "--help"]
        try:
            helped = subprocess.run(
                command, env=safe(), capture_output=True, text=True, timeout=HELP_LIMIT_S, check=False
            )
        except subprocess.TimeoutExpired:
            return []
        return re.findall(r"^  (?:-\w, )?(--[a-z-]+)", helped.stdout, re.MULTILINE)


class Offer(NamedTuple):
    """What typer asks of a completion."""

    value: str
    help: str = ""


def passes_on(module: str, words: str = "", command: type[PassesOn] = PassesOn) -> type[PassesOn]:
    """The command that hands everything to `python -m module words`; for typer's cls=."""
    return type(command.__name__, (command,), {"module": module, "words": tuple(words.split())})


def retold(environment: Mapping[str, str], path: list[str], words: tuple[str, ...]) -> dict[str, str] | None:
    """The shell's question, as it would be asked of the program itself; None when it cannot be told apart.

    path: the words of our command, `cartrace` first; words: those of its end that are the program's own.
    """
    program = path[: len(path) - len(words)]
    asked = dict(environment)
    asked[_instruction(program)] = asked.pop(_instruction(path[:1]), "")
    # Between two words of the path only options of ours can stand, which take no value.
    ours = re.compile(r"\s*\S+" + "".join(rf"(?:\s+\S+)*?\s+{re.escape(word)}(?!\S)" for word in path[1:]))
    for name in TYPED:
        if name not in asked:
            continue
        found = ours.match(asked[name])
        if found is None:
            return None
        asked[name] = " ".join([path[0], *words]) + asked[name][found.end() :]
        if name == "COMP_WORDS":
            asked["COMP_CWORD"] = str(int(asked["COMP_CWORD"]) - len(found[0].split()) + 1 + len(words))
    return asked


def _instruction(program: list[str]) -> str:
    """typer's name for the variable of a program that is called by these words."""
    return f"_{' '.join(program)}_COMPLETE".replace("-", "_").upper()
