"""From a settings file to an enrolled unit, as a person does it: make the UF2 file, flash it, read genesis, enrol."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from agent import cbor
from agent.drivers.bank import CHIPS, LID, QUANTITY_UNITS, Bank, SensorsWrong
from agent.scanner import setup_fault
from hypothesis import given
from hypothesis import strategies as st

from gateway.spool import Stream, open_spool
from hil_tests.bench import board_image
from hil_tests.bench.peer import CLOUD_KEY
from hil_tests.bench.rp2040_unit import BoardSensors, Rp2040Unit
from tools import flash_map, unit_settings
from wire import Genesis, decode_record

FIRST_BYTE, BLOCK_BYTES = 0x1000_0000, 4096
SETTINGS = """
unit = "U-31"
cloud_key = "{key}"
utc_offset = "+01:00"

[[channel]]
name = "temperature"
driver = "tmp117"
address = 0x48
quantity = "temperature"
unit = "Cel"
decimals = 2
low = -10
high = 80
certificate = "CAL-T-0412"
due = 2028-01-01

[[channel]]
name = "humidity"
driver = "sht4x"
address = 0x44
quantity = "humidity"
unit = "%"
decimals = 1
low = 0
high = 100
certificate = "CAL-H-0077"
due = 2028-01-01

[[channel]]
name = "pressure"
driver = "bmp280"
address = 0x76
quantity = "pressure"
unit = "mbar"
decimals = 1
low = 300
high = 1100
certificate = "CAL-B-0009"
due = 2028-01-01

[[channel]]
name = "lid"
driver = "lid"
"""


def cartrace(*arguments: str, **environment: str) -> str:
    """What a command prints; it must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", "tools", *arguments],
        env=os.environ | environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def boot_loader(flash: bytes, uf2: bytes) -> bytes:
    """The flash after the boot loader of the RP2040 has taken a file: it erases each block that it programs first."""
    after, erased = bytearray(flash), set()
    for at in range(0, len(uf2), 512):
        first, second, flags, addr, length, number, count, family = struct.unpack_from("<8I", uf2, at)
        assert (first, second, uf2[at + 508 : at + 512]) == (0x0A324655, 0x9E5D5157, b"\x30\x6f\xb1\x0a")
        assert (flags & 0x2000, family, length) == (0x2000, 0xE48BFF56, 256)
        assert (number, count) == (at // 512, len(uf2) // 512)
        place = addr - FIRST_BYTE
        if number // 16 not in erased:
            erased.add(number // 16)
            block = place - place % BLOCK_BYTES
            after[block : block + BLOCK_BYTES] = b"\xff" * BLOCK_BYTES
        for offset in range(length):
            after[place + offset] &= uf2[at + 32 + offset]  # programming only clears bits
    return bytes(after)


@pytest.mark.image
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_flashed_unit_is_enrolled_and_keeps_its_records_when_flashed_again(tmp_path: Path) -> None:
    image = board_image.image_path()
    assert image is not None
    (tmp_path / "unit.toml").write_text(SETTINGS.format(key=CLOUD_KEY.hex()))
    make = ["unit", "uf2", str(tmp_path / "unit.toml"), "--image", str(image), "--output", str(tmp_path / "unit.uf2")]
    cartrace(*make)
    blank = b"\xff" * flash_map.FLASH_BYTES
    (tmp_path / "flash.bin").write_bytes(boot_loader(blank, (tmp_path / "unit.uf2").read_bytes()))
    with Rp2040Unit(tmp_path, sensors=BoardSensors()) as unit:
        unit.power_on()
        unit.wait_ready()
        enrolled = enrol(unit, tmp_path)
        assert (enrolled["unit"], enrolled["epoch"]) == ("U-31", 1)
        unit.pass_ms(12_000)  # sensors are read, though nobody scans
        unit.power_cut()
        before = unit.journal()

    cartrace(*make, "--unit", "U-32")
    flashed = boot_loader((tmp_path / "flash.bin").read_bytes(), (tmp_path / "unit.uf2").read_bytes())
    (tmp_path / "flash.bin").write_bytes(flashed)
    with Rp2040Unit(tmp_path, sensors=BoardSensors(), seed=1) as unit:
        unit.power_on()
        unit.wait_ready()
        assert unit.journal()[: len(before)] == before
        boots = [decode_record(raw) for raw in unit.journal()[len(before) :]]
        assert {record.kid.hex() for record in boots} == {enrolled["kid"]}
        assert unit.misuse is None


def enrol(unit: Rp2040Unit, folder: Path) -> dict[str, object]:
    """What the unit says over its link goes into a gateway's spool, and from there by command into a real database."""
    peer = unit.connect(kid=bytes(8))
    peer.wait(lambda: 0 in peer.records, "the genesis record")
    record = decode_record(peer.records[0])
    assert isinstance(record.body, Genesis)
    (folder / "gateway.toml").write_text(
        f'gateway = "gw-1"\nsite = "site-a"\nstate_dir = "state"\ncloud_key = "{CLOUD_KEY.hex()}"\n'
        'ports = ["/dev/none"]\n[mqtt]\nhost = "localhost"\n'
    )
    spool = open_spool(folder / "state")
    with spool.transaction():
        spool.save_stream(Stream(record.kid, record.body.unit, record.body.epoch, 1, 1, record.digest))
        spool.keep(record.kid, 0, record.raw, 0)
    spool.close()
    genesis = str(folder / "genesis.cbor")
    config = str(folder / "gateway.toml")
    last = cartrace("gateway", "genesis", "--config", config, "U-31", "--output", genesis).splitlines()[-1]
    cloud = {"CARTRACE_CLOUD_STATE": str(folder / "cloud")}
    cartrace("cloud", "migrate", **cloud)
    assert last.startswith("cartrace cloud enrol ")
    enrolled: dict[str, object] = json.loads(cartrace(*last.split()[1:], "--json", **cloud))
    return enrolled


def test_the_tool_knows_the_firmwares_sensors() -> None:
    assert {name: set(chip.quantities) for name, chip in CHIPS.items()} == {
        name: set(quantities) for name, quantities in unit_settings.DRIVERS.items()
    }
    assert unit_settings.UNITS == QUANTITY_UNITS
    assert unit_settings.LID == LID


def test_the_firmware_follows_what_the_tool_lets_through() -> None:
    _unit, _epoch, letter = unit_settings.letter_of(SETTINGS.format(key=CLOUD_KEY.hex()).encode())
    fields = cbor.decode(letter)
    nothing: Any = object()  # neither bus nor pin is touched by making a bank
    Bank(nothing, nothing, fields[4], fields[9])
    fields[9][0][0] = "max31855"
    with pytest.raises(SensorsWrong):
        Bank(nothing, nothing, fields[4], fields[9])


FEW = st.lists(st.sampled_from(b"\r\n\x02\x1dA7~{@ "), max_size=10).map(bytes)


@given(FEW, FEW, FEW)
def test_a_scanner_is_refused_by_both_or_by_neither(prefix: bytes, suffix: bytes, gs: bytes) -> None:
    assert bool(unit_settings.scanner_fault(prefix, suffix, gs)) == bool(setup_fault(prefix, suffix, gs))


def test_every_byte_is_judged_alike_as_suffix() -> None:
    for byte in range(256):
        suffix = bytes([byte])
        assert bool(unit_settings.scanner_fault(b"", suffix, b"")) == bool(setup_fault(b"", suffix, b""))
