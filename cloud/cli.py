"""The cloud's command line: thin over functions.

Answers are tables, or JSON with --json; an error is a stable code and one sentence on standard
error (with --json an object of both) and exit code 2.
"""

import dataclasses
import functools
import json
import re
import secrets
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn, ParamSpec, TypeVar

import typer
import uvicorn
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import Error as DatabaseError
from django.db import transaction
from rich.console import Console
from rich.table import Table

from cloud import logs
from cloud.batches import orders, queries
from cloud.batches.models import Recipe
from cloud.batches.orders import add_recipe, new_batch, recipe_version
from cloud.bench import rows as bench_rows
from cloud.config import Config, ConfigError, cloud_seed, wall_clock
from cloud.domain import card
from cloud.errors import RefusalError
from cloud.ingest.run import run_ingest
from cloud.ledger.enrol import enrol as enrol_genesis
from cloud.ledger.enrol import revoke as revoke_key
from cloud.ledger.models import Site
from cloud.web import symbols
from wire import SHARDS, public_key_of

ROLES = ("qa", "viewer")
_SHARD_NAMES = {str(shard) for shard in range(SHARDS)}
MAX_INPUT_BYTES = 1_000_000  # far above any recipe or genesis

P = ParamSpec("P")
R = TypeVar("R")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

app = typer.Typer(
    help="The cloud of cartrace: ledger, batches and pages.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
unit_app = typer.Typer(help="Units and their keys.", no_args_is_help=True, rich_markup_mode=None)
recipe_app = typer.Typer(help="Recipes.", no_args_is_help=True, rich_markup_mode=None)
batch_app = typer.Typer(help="Batches.", no_args_is_help=True, rich_markup_mode=None)
quarantine_app = typer.Typer(help="Refused copies.", no_args_is_help=True, rich_markup_mode=None)
user_app = typer.Typer(help="People who may log in.", no_args_is_help=True, rich_markup_mode=None)
for _name, _group in (
    ("unit", unit_app),
    ("recipe", recipe_app),
    ("batch", batch_app),
    ("quarantine", quarantine_app),
    ("user", user_app),
):
    app.add_typer(_group, name=_name)


@contextmanager
def _one_sentence(as_json: bool) -> Iterator[None]:
    try:
        yield
    except (RefusalError, ConfigError, queries.NotFoundError) as error:
        _fail(error.code, str(error), as_json)
    except ImproperlyConfigured as error:
        _fail(ConfigError.code, str(error), as_json)
    except DatabaseError as error:
        if "no such table" in str(error):
            _fail("database_empty", "The database has no tables yet; run `cartrace cloud migrate` first.", as_json)
        _fail(
            "database_unusable",
            f"The database at {_config().database} cannot be used ({error}); check the disk and CARTRACE_CLOUD_STATE.",
            as_json,
        )


def _spoken(command: Callable[P, R]) -> Callable[P, R]:
    """What goes wrong inside command is told in one sentence."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with _one_sentence(kwargs.get("as_json") is True):
            return command(*args, **kwargs)
        raise AssertionError("_one_sentence always leaves")

    return wrapped


def _fail(code: str, sentence: str, as_json: bool) -> NoReturn:
    said = json.dumps({"code": code, "message": sentence}) if as_json else f"{code}: {sentence}"
    sys.stderr.write(said + "\n")
    raise typer.Exit(2)


def _config() -> Config:
    config = settings.CONFIG
    assert isinstance(config, Config)
    return config


def _read(path: Path) -> bytes:
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


def _show(value: Any, as_json: bool, text: str) -> None:
    typer.echo(json.dumps(value, indent=2) if as_json else text)


def _show_rows(rows: Sequence[Any], as_json: bool, columns: Sequence[str]) -> None:
    """rows: dataclasses. JSON has every field, the table the columns named."""
    plain = [dataclasses.asdict(row) for row in rows]
    if as_json:
        typer.echo(json.dumps(plain, indent=2))
        return
    table = Table(*columns)
    for row in plain:
        table.add_row(*(_cell(row[column]) for column in columns))
    Console().print(table)


def _cell(value: Any) -> str:
    return "" if value is None else ("yes" if value else "no") if isinstance(value, bool) else str(value)


@app.command()
@_spoken
def migrate() -> None:
    """Make the database, or bring it up to date. Running it again is harmless."""
    call_command("migrate", interactive=False, verbosity=0)
    for role in ROLES:
        Group.objects.get_or_create(name=role)
    cloud_seed(_config())
    typer.echo(f"The database {_config().database} is up to date.")


@app.command()
@_spoken
def ingest(
    shards: Annotated[str, typer.Option(help="Shards to take, such as 0-15 or 0,3,5-7.")] = f"0-{SHARDS - 1}",
) -> None:
    """Take records from the broker into the ledger until told to stop."""
    logs.configure()
    run_ingest(_config(), _shards(shards))


@app.command()
@_spoken
def web(
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen at.")] = 8000,
) -> None:
    """Serve the pages and the JSON API."""
    _check_port(host, port)
    logs.configure()
    uvicorn.run("cloud.asgi:application", host=host, port=port, log_config=None, lifespan="off")


@app.command()
@_spoken
def key(as_json: AsJson = False) -> None:
    """Show the public key that units and gateways verify receipts and orders with."""
    public_key = public_key_of(cloud_seed(_config())).hex()
    _show({"public_key": public_key}, as_json, public_key)


@app.command()
@_spoken
def enrol(
    genesis_file: Annotated[Path, typer.Argument(help="The genesis record, as `cartrace gateway genesis` wrote it.")],
    site: Annotated[str, typer.Option(help="Site of the unit.")],
    gateway: Annotated[str, typer.Option(help="Gateway that the unit is plugged into.")],
    as_json: AsJson = False,
) -> None:
    """Enrol a unit's key: from then on the ledger accepts its records."""
    enrolled = enrol_genesis(_read(genesis_file), site, gateway, wall_clock().now_ms(), f"The file {genesis_file}")
    unit = enrolled.unit.name
    _show(
        {"unit": unit, "epoch": enrolled.epoch, "kid": str(enrolled)},
        as_json,
        f"Unit {unit}, epoch {enrolled.epoch}, is enrolled with key {enrolled}.",
    )


@app.command()
@_spoken
def site(
    name: Annotated[str, typer.Argument(help="The site; enrolling a unit there made it.")],
    utc_offset: Annotated[str, typer.Option(help="How far its wall clock is ahead of UTC, such as +02:00 or -03:30.")],
    as_json: AsJson = False,
) -> None:
    """Say which offset from UTC a site lives by: for the ends of expiry days, and shown beside UTC."""
    offset_min = _offset_min(utc_offset)
    if not Site.objects.filter(name=name).update(utc_offset_min=offset_min):
        raise RefusalError("site_unknown", f"There is no site {name}; enrol a unit there first.")
    _show({"site": name, "utc_offset_min": offset_min}, as_json, f"Site {name} lives by UTC{utc_offset}.")


@app.command()
@_spoken
def streams(as_json: AsJson = False) -> None:
    """Show how far each stream has come."""
    columns = ["unit", "epoch", "kid", "archived_thru", "highest_seq", "records", "quarantined", "revoked_from_seq"]
    _show_rows(queries.streams(), as_json, columns)


@unit_app.command("list")
@_spoken
def unit_list(as_json: AsJson = False) -> None:
    """List the enrolled units."""
    _show_rows(queries.units(), as_json, ["unit", "site", "gateway", "model"])


@unit_app.command("revoke")
@_spoken
def unit_revoke(
    unit: str,
    from_seq: Annotated[int, typer.Option(help="First position that no longer counts.")],
    reason: Annotated[str, typer.Option(help="Why the key is no longer trusted.")],
    kid: Annotated[str | None, typer.Option(help="The key, when it is not the unit's newest.")] = None,
    as_json: AsJson = False,
) -> None:
    """Stop trusting a unit's key from a position of its stream on. Records are kept and flagged."""
    revoked = revoke_key(unit, from_seq, reason, wall_clock().now_ms(), kid)
    _show(
        {"unit": unit, "kid": str(revoked), "revoked_from_seq": from_seq},
        as_json,
        f"Key {revoked} of unit {unit} does not count from seq {from_seq} on.",
    )


@recipe_app.command("add")
@_spoken
def recipe_add(file: Path, as_json: AsJson = False) -> None:
    """Check a recipe file and keep it as a version for ever."""
    added = add_recipe(_read(file), wall_clock().now_ms())
    digest = bytes(added.digest).hex()
    _show(
        {"recipe": added.recipe, "version": added.version, "digest": digest},
        as_json,
        f"{added} is kept ({digest[:16]}).",
    )


@recipe_app.command("list")
@_spoken
def recipe_list(as_json: AsJson = False) -> None:
    """List recipes and their versions."""
    rows = [
        {"recipe": row.recipe, "version": row.version, "digest": bytes(row.digest).hex(), "added_ms": row.added_ms}
        for row in Recipe.objects.order_by("recipe", "version")
    ]
    _show(rows, as_json, "\n".join(f"{row['recipe']} version {row['version']} ({row['digest']})" for row in rows))


@recipe_app.command("show")
@_spoken
def recipe_show(
    recipe: Annotated[str, typer.Argument(help="Recipe id.")],
    version: Annotated[int | None, typer.Option(help="Recipe version; the newest when left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show a recipe as it was added."""
    row = recipe_version(recipe, version)
    toml = bytes(row.toml).decode()
    _show(
        {"recipe": row.recipe, "version": row.version, "digest": bytes(row.digest).hex(), "toml": toml}, as_json, toml
    )


@recipe_app.command("card")
@_spoken
def recipe_card(
    recipe: Annotated[str, typer.Argument(help="Recipe id.")],
    output: Annotated[Path, typer.Option(help="HTML file to write; a browser prints it.")],
    version: Annotated[int | None, typer.Option(help="Recipe version; the newest when left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write the technician's card of a recipe: every code to scan, for paper."""
    row = recipe_version(recipe, version)
    sheets = orders.recipe_card(row)
    _write(output, symbols.card_file(row.recipe, symbols.version_words(row.version, row.digest), sheets))
    _show_card(f"the card of {row}", output, sheets, as_json)


@app.command("badge")
@_spoken
def badge(
    operators: Annotated[list[str], typer.Argument(help="Badges, such as OP-114.")],
    output: Annotated[Path, typer.Option(help="HTML file to write; a browser prints it.")],
    as_json: AsJson = False,
) -> None:
    """Write badges to be printed: a code for each operator."""
    try:
        sheets = card.badges(operators)
    except card.CardError as error:
        raise RefusalError("badge_invalid", f"{error}.") from error
    _write(output, symbols.card_file("Badges", f"{len(operators)} in all", sheets))
    _show_card("the badges", output, sheets, as_json)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RefusalError(
            "file_unwritable", f"The file {path} cannot be written ({error.strerror}); check its folder."
        ) from error


def _show_card(what: str, path: Path, sheets: Sequence[card.Sheet], as_json: bool) -> None:
    codes = [symbol.code for sheet in sheets for symbol in sheet.symbols]
    said = f"{path} holds {what}: {len(codes)} codes on {len(sheets)} sheets. Print it on A4 at 100 %."
    _show({"file": str(path), "sheets": len(sheets), "codes": codes}, as_json, said)


@batch_app.command("new")
@_spoken
def batch_new(
    batch: str,
    recipe: Annotated[str, typer.Option(help="Recipe id.")],
    unit: Annotated[str, typer.Option(help="The unit that makes it.")],
    version: Annotated[int | None, typer.Option(help="Recipe version; the newest when left out.")] = None,
    exact: Annotated[list[str] | None, typer.Option(help="item=code: the whole text that its label must have.")] = None,
    as_json: AsJson = False,
) -> None:
    """Order a batch: sign its work order, which ingest publishes until the unit has opened the batch."""
    now_ms = wall_clock().now_ms()
    ordered = new_batch(batch, recipe, unit, cloud_seed(_config()), now_ms, version, _codes(exact or []))
    _show(
        {
            "batch": batch,
            "unit": unit,
            "order_number": ordered.order_number,
            "order_digest": bytes(ordered.order_digest).hex(),
        },
        as_json,
        f"Batch {batch} is ordered from unit {unit} (order {ordered.order_number}).",
    )


@batch_app.command("list")
@_spoken
def batch_list(as_json: AsJson = False) -> None:
    """List batches, what needs attention first."""
    columns = ["batch", "unit", "state", "complete", "conforming", "authentic", "needs_attention"]
    _show_rows(queries.batch_list(), as_json, columns)


@batch_app.command("show")
@_spoken
def batch_show(batch: str, as_json: AsJson = False) -> None:
    """Show a batch's report."""
    try:
        report = queries.batch_report(batch)
    except queries.NotFoundError as error:
        raise RefusalError(error.code, f"There is no batch {batch}; `cartrace cloud batch list` shows them.") from error
    lines = [
        f"{report.batch}: {report.state}, unit {report.unit}, {report.records} records",
        f"complete {_cell(report.complete)}, conforming {_cell(report.conforming)}, "
        f"authentic {_cell(report.authentic)}",
    ]
    lines += [f"{item.severity:8} {item.state:8} {item.code}: {item.message}" for item in report.exceptions]
    _show(report.to_json(), as_json, "\n".join(lines))


@quarantine_app.command("list")
@_spoken
def quarantine_list(
    limit: Annotated[int, typer.Option(min=1, max=queries.MAX_PAGE_ROWS)] = queries.PAGE_ROWS, as_json: AsJson = False
) -> None:
    """List refused copies, the newest first."""
    _show_rows(queries.quarantine_list(limit=limit), as_json, ["reference", "reason", "kid", "seq", "batch", "gateway"])


@quarantine_app.command("show")
@_spoken
def quarantine_show(digest: str, as_json: AsJson = False) -> None:
    """Show one refused copy by the first characters of its digest."""
    try:
        entry = queries.quarantine_entry(digest)
    except queries.NotFoundError as error:
        raise RefusalError(error.code, f"{error} `cartrace cloud quarantine list` shows what there is.") from error
    lines = [entry.reference, f"{entry.reason}: {entry.sentence}", entry.content_hex]
    _show(dataclasses.asdict(entry), as_json, "\n".join(lines))


@user_app.command("add")
@_spoken
def user_add(
    name: str,
    role: Annotated[str, typer.Option(help=f"One of: {', '.join(ROLES)}.")] = "viewer",
    as_json: AsJson = False,
) -> None:
    """Let a person log in; prints a generated password once."""
    if role not in ROLES:
        raise RefusalError("role_unknown", f"There is no role {role!r}; use one of: {', '.join(ROLES)}.")
    if not name.isascii() or not name.replace("-", "").replace("_", "").replace(".", "").isalnum() or len(name) > 32:
        raise RefusalError("name_invalid", f"{name!r} cannot be a login name; use up to 32 letters, digits and . _ -")
    password = secrets.token_urlsafe(18)
    with transaction.atomic():
        if User.objects.filter(username=name).exists():
            raise RefusalError("user_known", f"{name} can log in already; choose another name.")
        User.objects.create_user(name, password=password).groups.add(Group.objects.get_or_create(name=role)[0])
    _show(
        {"name": name, "role": role, "password": password},
        as_json,
        f"{name} ({role}) can log in. Password, shown only now: {password}",
    )


@user_app.command("list")
@_spoken
def user_list(as_json: AsJson = False) -> None:
    """List the people who may log in, and their roles."""
    rows = [
        {"name": user.username, "role": ", ".join(sorted(group.name for group in user.groups.all()))}
        for user in User.objects.filter(is_active=True).order_by("username").prefetch_related("groups")
    ]
    _show(rows, as_json, "\n".join(f"{row['name']} ({row['role']})" for row in rows))


def _offset_min(text: str) -> int:
    found = re.fullmatch(r"([+-])(0\d|1[0-4]):([0-5]\d)", text)
    if found is None:
        raise RefusalError("offset_invalid", f"{text!r} is no offset from UTC; write it as +02:00 or -03:30.")
    minutes = int(found[2]) * 60 + int(found[3])
    return -minutes if found[1] == "-" else minutes


@app.command()
@_spoken
def bench(as_json: AsJson = False) -> None:
    """Measure ingest beside libsodium: compare ratios, not values."""
    measured = bench_rows(_config().cloud_state)
    lines = [f"{row['name']}: {row['value']} {row['unit']}, {row['ratio']} of libsodium alone" for row in measured]
    _show(measured, as_json, "\n".join(lines))


def _check_port(host: str, port: int) -> None:
    """Say what is wrong with the address before a server tries it in its own words."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise RefusalError(
            "port_unusable", f"Cannot listen at {host}:{port} ({error.strerror}); choose another --host or --port."
        ) from error


def _codes(pairs: Sequence[str]) -> dict[str, str]:
    codes = {}
    for pair in pairs:
        item, equals, code = pair.partition("=")
        if not equals or not item or not code:
            raise RefusalError("code_invalid", f"{pair!r} gives no code; write --exact item=code.")
        if item in codes:
            raise RefusalError("code_invalid", f"The item {item} is given two codes; write --exact once for each item.")
        codes[item] = code
    return codes


def _shards(text: str) -> list[int]:
    shards: set[int] = set()
    for part in text.split(","):
        low, _, high = part.partition("-")
        if low in _SHARD_NAMES and (high or low) in _SHARD_NAMES:
            shards.update(range(int(low), int(high or low) + 1))
        else:
            shards.clear()
            break
    if not shards:
        raise RefusalError(
            "shards_invalid", f"{text!r} names no shards; write numbers from 0 to {SHARDS - 1}, such as 0-7 or 0,3,5-7."
        )
    return sorted(shards)
