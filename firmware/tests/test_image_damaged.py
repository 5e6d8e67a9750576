"""The real image on a ring of noise: the longest of boots still ends at a lit panel, without its watchdog's help."""

import random
from pathlib import Path

import pytest

from hil_tests.bench import board_image as flash_map
from hil_tests.bench.peer import CLOUD_KEY
from hil_tests.bench.rp2040_unit import Rp2040Unit

pytestmark = [pytest.mark.image, pytest.mark.slow, pytest.mark.timeout(600)]

WATCHDOG_S = 8
PAGE_BYTES = 256


def test_a_ring_of_noise_that_looks_like_pages_is_booted_from(tmp_path: Path) -> None:
    if flash_map.image_path() is None:
        pytest.skip("NO IMAGE OF THESE SOURCES: run `make image`; a boot from a ring of noise was not tried")
    Rp2040Unit.provision(tmp_path, cloud_public_key=CLOUD_KEY)
    chance = random.Random(40)
    flash = bytearray((tmp_path / "flash.bin").read_bytes())
    for page in range(flash_map.JOURNAL_START, len(flash), PAGE_BYTES):
        flash[page : page + PAGE_BYTES] = chance.randbytes(PAGE_BYTES - 1) + b"\xa0"  # the last byte of a page
    (tmp_path / "flash.bin").write_bytes(flash)
    with Rp2040Unit(tmp_path) as unit:
        unit.power_on()
        assert unit.chip is not None
        while not any(unit.panel()):
            unit.pass_ms(50)
            assert unit.chip.resets == 0
            assert unit.now_ms < 60_000
        assert unit.now_ms > WATCHDOG_S * 1000, "a shorter boot would not show that the watchdog is fed"
        assert unit.panel()[:2] == ["OUT OF SERVICE", "Journal is ruined:"]
        assert unit.journal() == []
