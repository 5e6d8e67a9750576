"""The gateway's command: run, status, genesis, bench.

Errors are one sentence on standard error with a code; with --json an object of both, as the cloud's are.
"""

import json
import signal
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import structlog
import typer

from gateway import bench as bench_rows
from gateway import site as gateway_site
from gateway.errors import AlreadyRunningError, ConfigError, GatewayError, StateUnusableError
from gateway.genesis import read_genesis
from gateway.settings import Settings, load
from gateway.status import read_status, render
from wire import Clock, WireError

EXIT_CODES = {ConfigError: 2, StateUnusableError: 2, AlreadyRunningError: 3}

app = typer.Typer(
    help="Relays signed records of units to the cloud, and keeps them until the cloud has them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
Config = Annotated[Path, typer.Option("--config", help="TOML file with the gateway's settings.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def run(config: Config) -> None:
    """Serve the units of one site until stopped (SIGTERM or Ctrl-C)."""
    log_to_standard_error()
    try:
        gateway_site.run(_settings(config), _clock(), _stop_on_signals)
    except GatewayError as error:
        _fail(error)


@app.command()
def status(config: Config, as_json: AsJson = False) -> None:
    """Say what is not yet safe, how old it is, and why. Works when the gateway is not running."""
    try:
        found = read_status(_settings(config), _clock().now_ms())
    except GatewayError as error:
        _fail(error, as_json)
    print(json.dumps(found, indent=1) if as_json else render(found))


@app.command()
def genesis(
    config: Config,
    unit: Annotated[str, typer.Argument(help="Unit id, as it was flashed.")],
    output: Annotated[Path, typer.Option(help="File to write it to.")],
    kid: Annotated[str | None, typer.Option(help="Key of the unit, when several say they are it.")] = None,
) -> None:
    """Write a new unit's genesis record to a file, for `cartrace cloud enrol`. Works beside a running gateway."""
    try:
        settings = _settings(config)
        record = read_genesis(settings, unit, kid)
        output.write_bytes(record.raw)
    except OSError as error:
        _fail(StateUnusableError(f"{output} cannot be written ({error.strerror}); name another file"))
    except GatewayError as error:
        _fail(error)
    print(f"{output}: genesis of unit {unit}, key {record.kid.hex()}. If this unit is yours, enrol it in the cloud:")
    print(f"cartrace cloud enrol {output} --site {settings.site} --gateway {settings.gateway}")


@app.command()
def bench(
    as_json: AsJson = False,
    directory: Annotated[Path | None, typer.Option(help="Where to write; the disk is what is measured.")] = None,
) -> None:
    """Measure how many records per second become durable and relayed, beside single commits on the same disk."""
    try:
        rows = bench_rows.measure(directory)
    except OSError as error:
        _fail(
            StateUnusableError(
                f"{directory or 'the temporary folder'} cannot be measured ({error.strerror}); name another"
            ),
            as_json,
        )
    except GatewayError as error:
        _fail(error, as_json)
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    for row in rows:
        print(f"{row['name']}: {row['value']} {row['unit']}; baseline {row['baseline']}, ratio {row['ratio']}")


def log_to_standard_error() -> None:
    """JSON lines for a collector, readable lines at a terminal."""
    readable = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer() if readable else structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _settings(config: Path) -> Settings:
    try:
        return load(config)
    except WireError as error:
        raise ConfigError(f"{config}: {error}") from error


def _clock() -> Clock:
    try:
        return Clock.from_environment()
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _stop_on_signals(site: gateway_site.Site) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: site.stop())


def _fail(error: GatewayError, as_json: bool = False) -> NoReturn:
    said = json.dumps({"code": error.code, "message": str(error)}) if as_json else f"{error.code}: {error}"
    print(said, file=sys.stderr)
    raise typer.Exit(EXIT_CODES.get(type(error), 1))


if __name__ == "__main__":
    app(prog_name="cartrace gateway")
