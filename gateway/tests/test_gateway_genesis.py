"""`gateway genesis`: a new unit's first record leaves the spool for enrolment, and nothing else does."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway import __main__ as program
from gateway.genesis import GenesisMissingError, GenesisUnclearError, read_genesis
from gateway.settings import Settings, load
from gateway.spool import Spool, open_spool
from gateway.spool import Stream as Heard
from gateway.tests.standins import GatewayProcess
from gateway.tests.standins import Stream as Records


@dataclass
class Site:
    config: Path
    settings: Settings
    spool: Spool

    def keep(self, records: Records, count: int = 2) -> Records:
        """The unit said hello and relayed its first records, which no receipt covers yet."""
        with self.spool.transaction():
            self.spool.save_stream(Heard(records.kid, "U-01", 1, count, count, b""))
            for seq, raw in enumerate(records.write(count)):
                self.spool.keep(records.kid, seq, raw, 0)
        return records

    def run(self, *arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(program.app, ["genesis", "--config", str(self.config), *arguments])
        return done.exit_code, done.output


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    config = GatewayProcess(tmp_path, ["/dev/none"], {"host": "127.0.0.1"}).config
    settings = load(config)
    spool = open_spool(settings.state_dir)
    yield Site(config, settings, spool)
    spool.close()


def test_the_first_record_is_written_as_it_came(site: Site, tmp_path: Path) -> None:
    unit = site.keep(Records("unit"))
    code, said = site.run("U-01", "--output", str(tmp_path / "genesis.cbor"))
    assert code == 0, said
    assert (tmp_path / "genesis.cbor").read_bytes() == unit.records[0]
    assert unit.kid.hex() in said
    assert f"--site {site.settings.site} --gateway {site.settings.gateway}" in said


def test_two_keys_of_one_name_need_a_person(site: Site) -> None:
    first, second = site.keep(Records("unit")), site.keep(Records("impostor"))
    with pytest.raises(GenesisUnclearError) as refused:
        read_genesis(site.settings, "U-01")
    assert first.kid.hex() in str(refused.value)
    assert second.kid.hex() in str(refused.value)
    assert read_genesis(site.settings, "U-01", second.kid.hex().upper()).raw == second.records[0]


def test_a_forged_genesis_is_none(site: Site) -> None:
    """Whoever enrolled it would trust a key that nobody showed to have."""
    forged = bytearray(Records("unit").write(1)[0])
    forged[-1] ^= 1  # of the signature
    with site.spool.transaction():
        site.spool.save_stream(Heard(Records("unit").kid, "U-01", 1, 1, 1, b""))
        site.spool.keep(Records("unit").kid, 0, bytes(forged), 0)
    with pytest.raises(GenesisMissingError, match="waits in the spool"):
        read_genesis(site.settings, "U-01")


def test_what_is_not_there_is_said_in_one_sentence(site: Site, tmp_path: Path) -> None:
    code, said = site.run("U-02", "--output", str(tmp_path / "x"))
    assert (code, said.splitlines()) == (
        1,
        [
            "genesis_missing: unit U-02 has not spoken here (units that have: none); "
            "check its id, its cable and the gateway's ports"
        ],
    )
    site.keep(Records("unit"))
    assert "units that have: U-01" in site.run("U-02", "--output", str(tmp_path / "x"))[1]
    assert not (tmp_path / "x").exists()
    code, said = site.run("U-01", "--output", str(tmp_path / "no" / "folder"))
    assert (code, said.split(":")[0], len(said.splitlines())) == (2, "state_unusable", 1)


def test_a_spool_that_cannot_be_read_is_said_so(site: Site, tmp_path: Path) -> None:
    site.spool.close()
    site.settings.spool_path.write_bytes(b"no database" * 1000)
    code, said = site.run("U-01", "--output", str(tmp_path / "x"))
    assert (code, said.split(":")[0], len(said.splitlines())) == (1, "gateway_error", 1)
