"""The stage of the story: a control site, two sites, three units, a broker, all as real processes in one folder.

Everything listens on loopback and on ports that were free; everything is ended by ``close``. The folder is emptied at
the start, but only if it is empty or a stage made it.
"""

import fcntl
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from hil_tests.bench.sensor_source import CsvSensors, SensorSource, SyntheticSensors
from hil_tests.bench.unix_unit import HEAP_BYTES, UnixUnit
from hil_tests.broker import Broker
from hil_tests.programs import BenchError
from hil_tests.signed import take_apart
from hil_tests.site import Cloud, Gateway, demo_clock
from hil_tests.witness import Witness

RECIPE = Path(__file__).parent / "recipes" / "car-t-demo.toml"
MARKER = "made-by-cartrace-demo"
SITES = {"gw-north": "north", "gw-south": "south"}
UTC_OFFSETS = {"north": "+02:00", "south": "-03:30"}
UNITS = {"U-01": "gw-north", "U-02": "gw-north", "U-03": "gw-south"}


@dataclass(frozen=True)
class Login:
    name: str
    password: str


class Stage:
    """Builds, starts and ends everything. speed: how many times faster than life; sensor_csv: measured values.

    heap_bytes: of each unit.
    """

    def __init__(
        self,
        folder: Path,
        *,
        speed: float,
        sensor_csv: Path | None = None,
        web: bool = False,
        heap_bytes: int = HEAP_BYTES,
    ) -> None:
        self.folder, self.speed = folder, speed
        self._heap_bytes, self._web = heap_bytes, web
        self._sensors: SensorSource = CsvSensors(sensor_csv) if sensor_csv else SyntheticSensors()
        self._lock = take_folder(folder)
        self.started_ms = time.time_ns() // 1_000_000
        self._env = demo_clock(speed, self.started_ms, self.started_ms)
        self.broker = Broker(folder / "broker")
        self.cloud = Cloud(folder / "cloud", self.broker.port, env=self._env)
        self.cloud_key = b""
        self.units: dict[str, UnixUnit] = {}
        self.kids: dict[str, bytes] = {}
        self.gateways: dict[str, Gateway] = {}
        self.witness = Witness(self.broker.port, self.cloud.database)
        self.login = Login("qa", "")

    def shown_ms(self) -> int:
        """What the clocks of the demonstration show now."""
        return self.started_ms + round((time.time_ns() // 1_000_000 - self.started_ms) * self.speed)

    def gateway_of(self, unit: str) -> Gateway:
        return self.gateways[UNITS[unit]]

    # --- rise -------------------------------------------------------------------------------------------------------

    def rise(self) -> None:
        """From an empty folder to units that wait for an order."""
        self.broker.start()
        self.cloud.command("migrate")
        self.cloud_key = bytes.fromhex(self.cloud.ask("key")["public_key"])
        with ThreadPoolExecutor() as together:
            genesis = dict(zip(UNITS, together.map(self._provision, UNITS), strict=True))
            recipe = together.submit(self.cloud.command, "recipe", "add", str(RECIPE))
            user = together.submit(self.cloud.ask, "user", "add", self.login.name, "--role", "qa")
            recipe.result()
            self.login = Login(self.login.name, user.result()["password"])
            for enrolled in [together.submit(self._enrol, unit, record) for unit, record in genesis.items()]:
                enrolled.result()
            for site, offset in UTC_OFFSETS.items():
                together.submit(self.cloud.command, "site", site, "--utc-offset", offset).result()
        self.witness.start()
        self.cloud.ingest.start()
        for name, site in SITES.items():
            ports = [self.units[unit].link_port for unit, gateway in UNITS.items() if gateway == name]
            self.gateways[name] = Gateway(
                name, site, self.folder / name, ports=ports, cloud_key=self.cloud_key.hex(),
                broker_port=self.broker.port, env=self._env,
            )  # fmt: skip
            self.gateways[name].start()
        for board in self.units.values():
            board.power_on()
        if self._web:
            self.cloud.start_web()

    def _provision(self, unit: str) -> bytes:
        folder, sensors = self.folder / unit, self._sensors
        genesis = UnixUnit.provision(folder, unit=unit, cloud_public_key=self.cloud_key, sensors=sensors)
        self.units[unit] = UnixUnit(folder, speed=self.speed, sensors=sensors, heap_bytes=self._heap_bytes)
        self.kids[unit] = take_apart(genesis).kid
        return genesis

    @property
    def sensor_label(self) -> str:
        """Where the sensor values come from, for people."""
        return self._sensors.label

    def _enrol(self, unit: str, genesis: bytes) -> None:
        path = self.folder / unit / "genesis.cbor"
        path.write_bytes(genesis)
        gateway = UNITS[unit]
        self.cloud.command("enrol", str(path), "--site", SITES[gateway], "--gateway", gateway)

    def order(self, batch: str, unit: str, donor_code: str) -> None:
        """Sign an order for the unit; the ingest publishes it until the unit opens the batch."""
        self.cloud.command(
            "batch", "new", batch, "--recipe", "car-t-demo", "--unit", unit, "--exact", f"donor-bag={donor_code}"
        )

    # --- faults that concern more than one program --------------------------------------------------------------------

    def broker_forgets(self) -> None:
        """Kill the broker with -9 while it holds messages that it acknowledged and the cloud has not seen."""
        self.broker.kill9()
        time.sleep(0.5)
        self.broker.start()

    # --- fall -------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End everything, whatever state it is in; what fails to end is ended the hard way."""
        endings = [unit.close for unit in self.units.values()]
        endings += [gateway.close for gateway in self.gateways.values()]
        endings += [self.cloud.stop, self.witness.stop, self.broker.stop]
        threads = [threading.Thread(target=ending, daemon=True) for ending in endings]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        self._lock.close()

    def __enter__(self) -> "Stage":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def take_folder(folder: Path) -> TextIO:
    """Lock and empty the folder; BenchError when another stage uses it or when it holds somebody else's files."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder.with_name(folder.name + ".lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise BenchError(
            f"another demonstration is running in {folder}: stop it with Ctrl-C, or give --state another folder"
        ) from None
    if any(folder.iterdir()) and not (folder / MARKER).exists():
        lock.close()
        raise BenchError(f"{folder} holds files that no demonstration made: give --state an empty or a new folder")
    for entry in folder.iterdir():
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    (folder / MARKER).touch()
    return lock
