"""`python -m hil_tests.bench provision|run`: one simulated unit as a program of its own.

provision makes a board in a directory and writes its genesis record, which the cloud enrols (factory.py). run powers
the board until Ctrl-C or the end of standard input, and prints the panel whenever it changes. While it runs, standard
input takes one word per line: `scan CODE` (with \\x1d for GS and \\r for CR), `cut`, `on`, `unplug`, `plug`,
`noise HEX`, `panel`, `quit`.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hil_tests.bench import factory
from hil_tests.bench.nor import FlashMisuse
from hil_tests.bench.request import RequestError
from hil_tests.bench.sensor_source import CsvSensors, SensorSource, SyntheticSensors
from hil_tests.bench.unix_unit import UnixUnit

PANEL_POLL_S = 0.1
SUFFIX = b"\r\n"


def main() -> int:
    """2: what was asked cannot be done, and nothing was changed; 1: the bench itself failed."""
    arguments = _parser().parse_args()
    try:
        return int(arguments.act(arguments))
    except OSError as error:
        print(f"system_error: {error}", file=sys.stderr)
        return 1
    except ValueError as error:
        print(f"{error.code if isinstance(error, RequestError) else 'bad_request'}: {error}", file=sys.stderr)
        return 2
    except RuntimeError as error:
        print(f"bench_error: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cartrace unit", description="One simulated unit.")
    acts = parser.add_subparsers(required=True)
    provision = acts.add_parser("provision", help="make a board and write its genesis record for enrolment")
    provision.set_defaults(act=_provision)
    provision.add_argument("--unit", default="U-01", help="unit id, 1 to 32 bytes")
    provision.add_argument("--epoch", type=int, default=1)
    provision.add_argument("--cloud-key", required=True, help="the cloud's public key, 64 hexadecimal digits")
    provision.add_argument("--site-offset-min", type=int, default=0, help="site time minus UTC, in minutes")
    provision.add_argument("--genesis", type=Path, help="where to write it (default: DIRECTORY/genesis.cbor)")
    run = acts.add_parser("run", help="power the board until Ctrl-C")
    run.set_defaults(act=_run)
    run.add_argument("--speed", type=float, default=1.0, help="how many times faster than life")
    run.add_argument("--sensor-csv", type=Path, help="recorded values, columns timestamp,value (default: synthetic)")
    run.add_argument("--link", type=Path, help="path for the gateway's serial port (default: DIRECTORY/link)")
    run.add_argument("--scanner", type=Path, help="path to write scans to (default: DIRECTORY/scanner)")
    run.add_argument("--json", action="store_true", help="print panels as JSON lines")
    for act in (provision, run):
        act.add_argument("--directory", type=Path, required=True, help="where the board keeps its flash")
    return parser


def _provision(arguments: argparse.Namespace) -> int:
    path = factory.make(
        arguments.directory,
        unit=arguments.unit,
        epoch=arguments.epoch,
        cloud_key=arguments.cloud_key,
        site_offset_min=arguments.site_offset_min,
        genesis=arguments.genesis,
    )
    print(f"{arguments.unit} is provisioned; enrol {path} in the cloud")
    return 0


def _run(arguments: argparse.Namespace) -> int:
    if not (arguments.directory / "flash.bin").exists():
        raise ValueError(f"{arguments.directory} holds no board; make one with `provision` first")
    if not 0 < arguments.speed < float("inf"):
        raise ValueError("--speed takes a number above 0; 1 is as fast as life")
    sensors: SensorSource = CsvSensors(arguments.sensor_csv) if arguments.sensor_csv else SyntheticSensors()
    with (
        _alone(arguments.directory),
        UnixUnit(
            arguments.directory, speed=arguments.speed, sensors=sensors, link=arguments.link, scanner=arguments.scanner
        ) as unit,
    ):
        unit.power_on()
        print(f"link {unit.link_port}  scanner {unit.scanner_port}  sensors {sensors.label}", file=sys.stderr)
        try:
            _converse(unit, as_json=arguments.json)
        except KeyboardInterrupt:
            return 0
    return 0


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """One flash has one chip: a second one on it would write where the first one does."""
    with (directory / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RequestError(
                "already_running", f"the board in {directory} has power already; stop it first, or use another folder"
            ) from None
        yield


def _converse(unit: UnixUnit, *, as_json: bool) -> None:
    shown: list[str] = []
    pending = b""
    listening = True
    while True:
        lines = unit.panel() if unit.is_on else ["no power"]
        if lines and lines != shown:
            shown = lines
            print(json.dumps(lines) if as_json else "\n".join(["-" * 21, *lines]), flush=True)
        ready = select.select([sys.stdin] if listening else [], [], [], PANEL_POLL_S)[0]
        if not ready:
            continue
        chunk = os.read(sys.stdin.fileno(), 4096)
        listening = bool(chunk)
        *words, pending = (pending + chunk).split(b"\n")
        for word in words:
            if word.strip() == b"quit":
                return
            _obey(unit, word)


def _obey(unit: UnixUnit, line: bytes) -> None:
    word, _space, rest = line.strip().partition(b" ")
    acts: dict[bytes, Callable[[], None]] = {
        b"cut": unit.power_cut, b"on": unit.power_on, b"unplug": unit.unplug_link, b"plug": unit.plug_link,
        b"panel": lambda: print("\n".join(unit.panel()), flush=True),
    }  # fmt: skip
    try:
        if word == b"scan":
            unit.scan(rest.decode().encode("latin-1", "strict").decode("unicode_escape").encode("latin-1") + SUFFIX)
        elif word == b"noise":
            unit.noise(bytes.fromhex(rest.decode()))
        elif word in acts:
            acts[word]()
        elif word:
            print(f"no such word: {word.decode(errors='replace')}; see --help", file=sys.stderr)
    except (ValueError, FlashMisuse) as error:
        print(f"{word.decode(errors='replace')}: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
