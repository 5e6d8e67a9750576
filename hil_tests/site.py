"""What stands at the control site and at a site, as real processes: the cloud's two programs and a gateway.

They are started exactly as an operator would start them, from their command lines, with a state folder and a log file
each. Nothing here looks inside the product; whoever wants facts asks ``--json`` or reads the files.
"""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hil_tests.network import Network
from hil_tests.programs import BenchError, Program, answers, free_port, python, run, wait_until

COMMAND_LIMIT_S = 60.0
WEB_START_S = 30.0


def demo_clock(speed: float, shown_origin_ms: int, real_origin_ms: int) -> dict[str, str]:
    """The environment that makes gateway and cloud show accelerated time (wire.Clock)."""
    return {"CARTRACE_DEMO_CLOCK": f"{real_origin_ms},{shown_origin_ms},{speed:g}"} if speed != 1 else {}


class Cloud:
    """The control site: database, ingest and pages, all in `state`."""

    def __init__(self, state: Path, broker_port: int, *, env: Mapping[str, str]) -> None:
        self.state = state
        self.web_port = free_port()
        state.mkdir(parents=True, exist_ok=True)
        self._env = {**os.environ, **env, "CARTRACE_CLOUD_STATE": str(state), "CARTRACE_MQTT_HOST": "127.0.0.1"}
        self._env["CARTRACE_MQTT_PORT"] = str(broker_port)
        self.ingest = Program("ingest", python("cloud", "ingest"), log=state / "ingest.log", env=self._env)
        web = python("cloud", "web", "--port", str(self.web_port))
        self.web = Program("web", web, log=state / "web.log", env=self._env)

    @property
    def database(self) -> Path:
        return self.state / "db.sqlite3"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.web_port}/"

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """One `python -m cloud ...` to its end, whatever its exit code."""
        return run(python("cloud", *arguments), self._env, COMMAND_LIMIT_S)

    def command(self, *arguments: str) -> str:
        """What a `python -m cloud ...` prints; BenchError with its own words when it fails."""
        done = self.run(*arguments)
        if done.returncode != 0:
            raise BenchError(f"cloud {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def ask(self, *arguments: str) -> Any:
        """The same with --json, read."""
        return json.loads(self.command(*arguments, "--json"))

    def start_web(self) -> None:
        self.web.start()
        wait_until(lambda: answers(self.web_port) or not self.web.running, what="the web page", timeout_s=WEB_START_S)
        if not self.web.running:
            raise BenchError(f"the web page ended at once; its last words: {self.web.last_words()}")

    def stop(self) -> None:
        self.ingest.stop()
        self.web.stop()


class Gateway:
    """One gateway, its serial ports, and the network between it and the broker."""

    def __init__(
        self,
        name: str,
        site: str,
        state: Path,
        *,
        ports: list[str],
        cloud_key: str,
        broker_port: int,
        env: Mapping[str, str],
    ) -> None:
        self.name, self.site, self.state = name, site, state
        state.mkdir(parents=True, exist_ok=True)
        self.network = Network(broker_port)
        self.config = state / "gateway.toml"
        self.config.write_text(_gateway_toml(name, site, ports, cloud_key, self.network.port))
        self._env = {**os.environ, **env}
        command = python("gateway", "run", "--config", str(self.config))
        self.program = Program(name, command, log=state / "gateway.log", env=self._env)

    @property
    def spool(self) -> Path:
        return self.state / "state" / "spool.db"

    def start(self) -> None:
        self.program.start()

    def kill9(self) -> None:
        self.program.kill9()

    def stop(self) -> None:
        self.program.stop()

    def close(self) -> None:
        self.program.stop()
        self.network.close()

    def status(self) -> dict[str, Any]:
        """What `python -m gateway status --json` says now."""
        done = run(python("gateway", "status", "--config", str(self.config), "--json"), self._env, COMMAND_LIMIT_S)
        if not done.stdout.strip():
            raise BenchError(f"gateway status of {self.name}: {done.stderr.strip()}")
        status: dict[str, Any] = json.loads(done.stdout)
        return status


def _gateway_toml(name: str, site: str, ports: list[str], cloud_key: str, broker_port: int) -> str:
    """Short waiting times, so that a demonstration does not wait minutes for a resend."""
    return f"""\
gateway = "{name}"
site = "{site}"
state_dir = "state"
cloud_key = "{cloud_key}"
ports = {json.dumps(ports)}
resend_ms = 1000
resend_max_ms = 3000
time_every_s = 5

[mqtt]
host = "127.0.0.1"
port = {broker_port}
keepalive_s = 5
"""
