"""How a command of the cloud speaks, and what it reads.

Answers are tables, or JSON with --json; an error is a stable code and one sentence on standard
error (with --json an object of both) and exit code 2.
"""

import dataclasses
import functools
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn, ParamSpec, TypeVar

import typer
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError
from django.db import connection
from rich.console import Console
from rich.table import Table

from cloud.batches.queries import NotFoundError
from cloud.config import Config, ConfigError
from cloud.errors import RefusalError
from cloud.web.words import visible

MAX_INPUT_BYTES = 1_000_000  # far above any recipe or genesis
UNCUT_CHARACTERS = 10_000  # no terminal, no edge: a table in a pipe or a file is as wide as what it says

P = ParamSpec("P")
R = TypeVar("R")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@contextmanager
def _one_sentence(as_json: bool) -> Iterator[None]:
    try:
        yield
    except (RefusalError, ConfigError, NotFoundError) as error:
        fail(error.code, str(error), as_json)
    except ImproperlyConfigured as error:
        fail(ConfigError.code, str(error), as_json)
    except DatabaseError as error:
        if "no such table" in str(error):
            fail("database_empty", "The database has no tables yet; run `cartrace cloud migrate` first.", as_json)
        fail(
            "database_unusable",
            f"The database at {config().database} cannot be used ({error}); check the disk and CARTRACE_CLOUD_STATE.",
            as_json,
        )


def spoken(command: Callable[P, R]) -> Callable[P, R]:
    """What goes wrong inside command is told in one sentence. A question makes no database: SQLite would."""
    return _spoken(command, _require_database)


def spoken_anywhere(command: Callable[P, R]) -> Callable[P, R]:
    """The same for a command that works before `migrate`."""
    return _spoken(command, lambda: None)


def _spoken(command: Callable[P, R], check: Callable[[], None]) -> Callable[P, R]:
    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with _one_sentence(kwargs.get("as_json") is True):
            check()
            return command(*args, **kwargs)
        raise AssertionError("_one_sentence always leaves")

    return wrapped


def _require_database() -> None:
    path = Path(connection.settings_dict["NAME"])
    try:
        path.stat()
    except FileNotFoundError:
        sentence = (
            f"There is no database at {path}; run `cartrace cloud migrate` first, or correct CARTRACE_CLOUD_STATE."
        )
        raise RefusalError("database_empty", sentence) from None
    except OSError:
        return  # SQLite says what is wrong with it


def fail(code: str, sentence: str, as_json: bool) -> NoReturn:
    said = json.dumps({"code": code, "message": sentence}) if as_json else f"{code}: {sentence}"
    sys.stderr.write(said + "\n")
    raise typer.Exit(2)


def config() -> Config:
    found = settings.CONFIG
    assert isinstance(found, Config)
    return found


def read(path: Path) -> bytes:
    try:
        with path.open("rb") as handle:
            content = handle.read(MAX_INPUT_BYTES + 1)
    except OSError as error:
        raise RefusalError(
            "file_unreadable", f"The file {path} cannot be read ({error.strerror}); check its path and its permissions."
        ) from error
    if len(content) > MAX_INPUT_BYTES:
        raise RefusalError(
            "file_too_large", f"The file {path} is larger than {MAX_INPUT_BYTES} bytes; this cannot be the right one."
        )
    return content


def write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RefusalError(
            "file_unwritable", f"The file {path} cannot be written ({error.strerror}); check its folder."
        ) from error


def show(value: Any, as_json: bool, text: str) -> None:
    typer.echo(json.dumps(value, indent=2) if as_json else text)


def show_rows(
    rows: Sequence[Any],
    as_json: bool,
    columns: Sequence[str],
    worded: Callable[[dict[str, Any]], dict[str, Any]] = dict,
) -> None:
    """rows: dataclasses. JSON has every field, the table the columns named, with what a unit says made visible.

    worded: a row's fields as people are told them.
    """
    plain = [dataclasses.asdict(row) for row in rows]
    if as_json:
        typer.echo(json.dumps(plain, indent=2))
        return
    table = Table(*columns)
    for row in map(worded, plain):
        table.add_row(*(visible(cell(row[column])) for column in columns))
    width = None if sys.stdout.isatty() else UNCUT_CHARACTERS
    Console(width=width, markup=False, emoji=False, highlight=False).print(table)


def cell(value: Any) -> str:
    return "" if value is None else ("yes" if value else "no") if isinstance(value, bool) else str(value)
