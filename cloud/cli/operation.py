"""Commands that run the cloud: database, ingest, pages, key, bench."""

import socket
from typing import Annotated

import typer
import uvicorn
from django.contrib.auth.models import Group
from django.core.management import call_command

from cloud import logs
from cloud.bench import rows as bench_rows
from cloud.cli import users
from cloud.cli.speech import AsJson, config, show, spoken, spoken_anywhere
from cloud.config import cloud_seed, session_secret
from cloud.errors import RefusalError
from cloud.ingest.run import run_ingest
from wire import SHARDS, public_key_of

_SHARD_NAMES = {str(shard) for shard in range(SHARDS)}


@spoken_anywhere
def migrate() -> None:
    """Make the database, or bring it up to date, and the keys that are missing. Running it again is harmless."""
    session_secret(config())  # and with it the state directory
    call_command("migrate", interactive=False, verbosity=0)
    for role in users.ROLES:
        Group.objects.get_or_create(name=role)
    cloud_seed(config())
    typer.echo(f"The database {config().database} is up to date.")


@spoken
def ingest(
    shards: Annotated[str, typer.Option(help="Shards to take, such as 0-15 or 0,3,5-7.")] = f"0-{SHARDS - 1}",
) -> None:
    """Take records from the broker into the ledger until told to stop."""
    logs.configure()
    run_ingest(config(), _shards(shards))


@spoken
def web(
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen at.")] = 8000,
) -> None:
    """Serve the pages and the JSON API."""
    _check_port(host, port)
    session_secret(config())
    logs.configure()
    uvicorn.run("cloud.asgi:application", host=host, port=port, log_config=None, lifespan="off")


@spoken
def key(as_json: AsJson = False) -> None:
    """Show the public key that units and gateways verify receipts and orders with."""
    public_key = public_key_of(cloud_seed(config())).hex()
    show({"public_key": public_key}, as_json, public_key)


@spoken_anywhere
def bench(as_json: AsJson = False) -> None:
    """Measure ingest beside libsodium: compare ratios, not values."""
    state = config().cloud_state
    try:
        measured = bench_rows(state)
    except OSError as error:
        raise RefusalError(
            "state_unusable", f"The folder {state} cannot be used ({error.strerror}); check CARTRACE_CLOUD_STATE."
        ) from error
    lines = [f"{row['name']}: {row['value']} {row['unit']}, {row['ratio']} of libsodium alone" for row in measured]
    show(measured, as_json, "\n".join(lines))


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
