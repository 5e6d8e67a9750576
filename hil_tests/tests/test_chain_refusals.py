"""Bad input to the running chain: each time one clear sentence, nothing crashes, and in the end nothing is lost."""

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import wire
from gateway.settings import load
from gateway.status import read_status
from hil_tests.bench.small_batch import plain
from hil_tests.bench.unix_unit import UnixUnit
from hil_tests.broker import Broker
from hil_tests.carrier import spool_rows
from hil_tests.ledger import Ledger
from hil_tests.programs import Program, python, run, wait_until
from hil_tests.signed import take_apart
from hil_tests.site import Cloud, Gateway

pytestmark = [pytest.mark.story, pytest.mark.timeout(180)]
LIMIT_S = 60.0
UNIT, SITE, GATEWAY = "U-09", "west", "gw-west"
LATE, FOREIGN = "U-10", "U-11"  # of the site that several tests share
LOGIN, PASSWORD = "carrier", "a-long-password"
SPEED = 60.0
OTHER_CLOUD_KEY = wire.public_key_of(bytes(range(32)))


class Chain:
    """One unit, one gateway, one cloud, made and enrolled but not started."""

    def __init__(self, folder: Path, *, refusing: bool = False) -> None:
        self.folder = folder
        self.broker = Broker(folder / "broker", refusing=refusing, accounts={LOGIN: PASSWORD})
        self.broker.start()
        self.cloud = Cloud(folder / "cloud", self.broker.port, env={})
        self.unit = UnixUnit(folder / UNIT, speed=SPEED)
        self.cloud_key = (folder / "cloud-key").read_text()
        self._gateways: list[Gateway] = []

    def gateway(self, *, cloud_key: str = "", ports: tuple[str, ...] = (), extra: str = "", mqtt: str = "") -> Gateway:
        """A gateway of the same state folder, whatever its settings; the one before must be stopped."""
        gateway = Gateway(
            GATEWAY, SITE, self.folder / GATEWAY, ports=[*ports, self.unit.link_port],
            cloud_key=cloud_key or self.cloud_key, broker_port=self.broker.port, env={},
        )  # fmt: skip
        gateway.config.write_text(f"{extra}\n{gateway.config.read_text()}\n{mqtt}\n")
        self._gateways.append(gateway)
        return gateway

    def archived_all(self) -> bool:
        saved = self.unit.journal()
        return len(saved) > 2 and records_in(self.cloud, kid_of(self.unit))[: len(saved)] == saved

    def wait_archived(self) -> None:
        wait_until(self.archived_all, what="everything saved to be archived", timeout_s=LIMIT_S)

    def close(self) -> None:
        with ThreadPoolExecutor() as together:  # each takes a second for its goodbye
            for ending in (self.unit.close, self.cloud.stop, *(gateway.close for gateway in self._gateways)):
                together.submit(ending)
        self.broker.stop()


@pytest.fixture(scope="session")
def enrolled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cloud that knows one unit, and that unit's flash; to be copied."""
    folder = tmp_path_factory.mktemp("enrolled")
    cloud = Cloud(folder / "cloud", 1, env={})
    cloud.command("migrate")
    key = cloud.ask("key")["public_key"]
    (folder / "cloud-key").write_text(key)
    genesis = folder / "genesis.cbor"
    genesis.write_bytes(UnixUnit.provision(folder / UNIT, unit=UNIT, cloud_public_key=bytes.fromhex(key)))
    cloud.command("enrol", str(genesis), "--site", SITE, "--gateway", GATEWAY)
    return folder


@pytest.fixture
def make_chain(enrolled: Path, tmp_path: Path) -> Iterator[Callable[..., Chain]]:
    made: list[Chain] = []

    def make(*, refusing: bool = False) -> Chain:
        shutil.copytree(enrolled, tmp_path / "chain", symlinks=True)
        made.append(Chain(tmp_path / "chain", refusing=refusing))
        return made[-1]

    yield make
    for chain in made:
        chain.close()


@dataclasses.dataclass
class Site:
    """A chain that runs, with units that are switched off yet, and a port that leads nowhere."""

    chain: Chain
    gateway: Gateway
    units: dict[str, UnixUnit]
    missing: str

    def enrol(self, unit: str) -> None:
        genesis = self.chain.folder / f"{unit}.cbor"
        genesis.write_bytes(self.units[unit].journal()[0])
        self.chain.cloud.command("enrol", str(genesis), "--site", SITE, "--gateway", GATEWAY)

    def archived(self, unit: str) -> list[bytes]:
        return records_in(self.chain.cloud, kid_of(self.units[unit]))


@pytest.fixture(scope="module")
def site(enrolled: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Its tests only add to it, each with a unit of its own."""
    folder = shutil.copytree(enrolled, tmp_path_factory.mktemp("site") / "chain", symlinks=True)
    chain, units = Chain(folder), dict[str, UnixUnit]()
    try:
        for unit, key in ((LATE, bytes.fromhex(chain.cloud_key)), (FOREIGN, OTHER_CLOUD_KEY)):
            UnixUnit.provision(folder / unit, unit=unit, cloud_public_key=key)
            units[unit] = UnixUnit(folder / unit, speed=SPEED)
        missing = str(folder / "no-such-port")
        gateway = chain.gateway(ports=(missing, *(board.link_port for board in units.values())))
        chain.cloud.ingest.start()
        gateway.start()
        chain.unit.power_on()
        yield Site(chain, gateway, units, missing)
    finally:
        for board in units.values():
            board.close()
        chain.close()


def kid_of(unit: UnixUnit) -> bytes:
    return take_apart(unit.journal()[0]).kid


def records_in(cloud: Cloud, kid: bytes) -> list[bytes]:
    with Ledger(cloud.database) as ledger:
        return ledger.records_of(kid)


def rows_in(cloud: Cloud, query: str, *values: object) -> list[tuple[Any, ...]]:
    with Ledger(cloud.database) as ledger:
        return ledger.rows(query, *values)


def why(gateway: Gateway) -> str:
    """What `gateway status` says, without a process for each time that a test asks."""
    return "\n".join(read_status(load(gateway.config))["why"])


def said(program: Program, words: str) -> Callable[[], bool]:
    return lambda: words in program.log.read_text()


def test_a_port_that_does_not_exist_keeps_nobody_else_waiting(site: Site) -> None:
    site.chain.wait_archived()
    wait_until(lambda: site.missing in why(site.gateway), what="the status to name the port", timeout_s=LIMIT_S)
    assert site.gateway.program.running
    assert "Traceback" not in site.gateway.program.log.read_text()


def test_a_unit_that_trusts_another_cloud_keeps_everything_and_is_named(site: Site) -> None:
    """Its letter names the key of another cloud: it records and sends, and believes no receipt."""
    unit = site.units[FOREIGN]
    site.enrol(FOREIGN)
    unit.power_on()
    named = f"unit_refuses_cloud: unit {FOREIGN} at port {unit.link_port} refuses every receipt"
    wait_until(lambda: named in why(site.gateway), what="the status to name the unit", timeout_s=LIMIT_S)
    unit.scan(plain("CT/BADGE/OP-1"))
    unit.wait_panel("Welcome OP-1", LIMIT_S)
    saved = unit.journal()
    wait_until(
        lambda: site.archived(FOREIGN)[: len(saved)] == saved, what="all of it to be archived", timeout_s=LIMIT_S
    )
    wait_until(
        lambda: all(kid != kid_of(unit) for _, kid, _, _ in spool_rows(site.gateway.spool)),
        what="the gateway, which knows the right key, to let go of it", timeout_s=LIMIT_S,
    )  # fmt: skip
    unit.wait_until(lambda lines: any(line.startswith("relayed, ") for line in lines), "no word of an archive", LIMIT_S)
    status = site.gateway.status()
    (said,) = (port["unit_status"] for port in status["live"]["ports"] if port["unit"] == FOREIGN)
    assert said["archived_next"] == 0
    assert unit.journal()[: len(saved)] == saved, "nothing may be deleted"
    assert [line for line in status["why"] if line.startswith("unit_refuses_cloud") and FOREIGN not in line] == []
    assert unit.console() == ""


def test_a_broker_that_refuses_is_named_and_nothing_is_lost(make_chain: Callable[..., Chain]) -> None:
    chain = make_chain(refusing=True)
    gateway = chain.gateway()
    chain.cloud.ingest.start()
    gateway.start()
    chain.unit.power_on()
    wait_until(lambda: len(spool_rows(gateway.spool)) > 2, what="records in the spool", timeout_s=LIMIT_S)
    wait_until(lambda: "refuse" in why(gateway).lower(), what="the status to say refused", timeout_s=LIMIT_S)
    assert chain.cloud.ingest.running
    assert gateway.program.running
    for program in (chain.cloud.ingest, gateway.program):
        wait_until(said(program, "refuse"), what=f"{program.name} to say that it was refused", timeout_s=LIMIT_S)
        assert "Traceback" not in program.log.read_text()
    gateway.stop()
    chain.cloud.stop()
    password = chain.folder / "password"
    password.write_text(PASSWORD + "\n")
    env = {"CARTRACE_MQTT_USERNAME": LOGIN, "CARTRACE_MQTT_PASSWORD_FILE": str(password)}
    chain.cloud = Cloud(chain.folder / "cloud", chain.broker.port, env=env)
    chain.cloud.ingest.start()
    chain.gateway(mqtt=f'username = "{LOGIN}"\npassword_file = "{password}"').start()
    chain.wait_archived()


def test_a_gateway_with_another_clouds_key_lets_go_of_nothing(make_chain: Callable[..., Chain]) -> None:
    chain = make_chain()
    unit_key = take_apart(chain.unit.journal()[0]).event[10][3]  # a good key, but not the cloud's
    gateway = chain.gateway(cloud_key=unit_key.hex())
    chain.cloud.ingest.start()
    gateway.start()
    chain.unit.power_on()
    chain.wait_archived()
    wait_until(lambda: "wrong_cloud_key" in why(gateway), what="the status to name the key", timeout_s=LIMIT_S)
    kept = {record for _, _, _, record in spool_rows(gateway.spool)}
    assert set(chain.unit.journal()[:3]) <= kept
    gateway.stop()
    right = chain.gateway()
    right.start()
    wait_until(lambda: len(spool_rows(right.spool)) < 3, what="the spool to empty", timeout_s=LIMIT_S)
    chain.wait_archived()


@pytest.mark.parametrize("key", ["not hexadecimal", "00" * 31, "00" * 32])
def test_a_key_that_is_none_is_refused_at_once(make_chain: Callable[..., Chain], key: str) -> None:
    chain = make_chain()
    gateway = chain.gateway(cloud_key=key)
    gateway.start()
    wait_until(lambda: not gateway.program.running, what="the gateway to refuse its settings", timeout_s=LIMIT_S)
    words = gateway.program.log.read_text()
    assert gateway.program.exit_code == 2
    assert "bad_config" in words
    assert "cloud_key" in words
    assert "cartrace cloud key" in words  # what to do next
    assert "Traceback" not in words


def test_every_error_of_a_recipe_is_named(make_chain: Callable[..., Chain], tmp_path: Path) -> None:
    chain = make_chain()
    recipe = tmp_path / "wrong.toml"
    recipe.write_text(
        '[recipe]\nid = "wrong"\nversion = 0\nname = "Wrong"\n'
        '[[item]]\nid = "bag"\nname = "Bag"\ngtin = "09520000010011"\n'
        '[[step]]\nid = "mix"\nname = "Mix"\nscan = ["bottle"]\n'
    )
    done = chain.cloud.run("recipe", "add", str(recipe))
    assert done.returncode == 2
    for named in ("version", "check digit", "'bottle'"):
        assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert chain.cloud.ask("recipe", "list") == []


def test_a_gateway_without_room_acknowledges_nothing(make_chain: Callable[..., Chain]) -> None:
    chain = make_chain()
    tight = chain.gateway(extra="min_free_mb = 1000000000")
    chain.cloud.ingest.start()
    tight.start()
    chain.unit.power_on()
    wait_until(lambda: "disk" in why(tight).lower(), what="the status to speak of the disk", timeout_s=LIMIT_S)
    assert tight.program.running
    assert "Traceback" not in tight.program.log.read_text()
    tight.stop()
    assert len(chain.unit.journal()) > 2
    chain.gateway().start()
    chain.wait_archived()


def limited(program: Program, size_bytes: int) -> None:
    """No file of this program may grow beyond size_bytes: its writes fail in the middle, as on a full disk."""
    program.command = ["prlimit", f"--fsize={size_bytes}", *program.command]


def test_a_gateway_whose_writes_fail_loses_nothing(make_chain: Callable[..., Chain]) -> None:
    chain = make_chain()
    failing = chain.gateway()
    limited(failing.program, 65_536)  # enough to make the store, not to fill it
    chain.cloud.ingest.start()
    failing.start()
    chain.unit.power_on()
    wait_until(
        said(failing.program, "spool_broken"), what="the gateway to say that its store failed", timeout_s=LIMIT_S
    )
    assert "Traceback" not in failing.program.log.read_text()
    failing.stop()
    chain.gateway().start()
    chain.wait_archived()


def test_a_cloud_whose_writes_fail_loses_nothing(make_chain: Callable[..., Chain]) -> None:
    chain = make_chain()
    gateway = chain.gateway()
    limited(chain.cloud.ingest, chain.cloud.database.stat().st_size + 4096)
    chain.cloud.ingest.start()
    gateway.start()
    chain.unit.power_on()
    wait_until(said(chain.cloud.ingest, "database"), what="the ingest to say that it cannot write", timeout_s=LIMIT_S)
    assert "Traceback" not in chain.cloud.ingest.log.read_text()
    chain.cloud.stop()
    chain.cloud = Cloud(chain.folder / "cloud", chain.broker.port, env={})
    chain.cloud.ingest.start()
    chain.wait_archived()


def test_a_unit_that_is_enrolled_late_loses_nothing(site: Site, tmp_path: Path) -> None:
    """As a new unit comes to a site: it records and is refused until its genesis, out of the spool, is enrolled."""
    unit, cloud = site.units[LATE], site.chain.cloud
    unit.power_on()
    wait_until(
        lambda: bool(rows_in(cloud, "SELECT 1 FROM ledger_quarantine WHERE kid = ?", kid_of(unit))),
        what="the cloud to refuse the unit", timeout_s=LIMIT_S,
    )  # fmt: skip
    saved = unit.journal()
    genesis = ["genesis", "--config", str(site.gateway.config), LATE, "--output", str(tmp_path / "U-10.cbor")]
    written = run(python("gateway", *genesis), {}, LIMIT_S)
    enrol = written.stdout.splitlines()[-1]
    assert enrol.startswith("cartrace cloud enrol"), written
    cloud.command(*enrol.split()[2:])
    wait_until(
        lambda: site.archived(LATE)[: len(saved)] == saved,
        what="everything from the first record on to be archived", timeout_s=LIMIT_S,
    )  # fmt: skip
