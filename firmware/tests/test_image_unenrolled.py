"""The production image in the emulated chip, out of service: seen, heard, and not restarted by its watchdog."""

from pathlib import Path

import pytest

from hil_tests.bench import board_image as flash_map
from hil_tests.bench.devices.world import BOARD_SENSORS
from hil_tests.bench.rp2040_unit import BoardSensors, Rp2040Unit
from tools import enrolment

pytestmark = [pytest.mark.image, pytest.mark.slow, pytest.mark.timeout(600)]

WRONG_KEY = bytes(32)  # a key that anybody can sign for
WATCHDOG_MS = 8000


def test_a_unit_with_a_wrong_key_blinks_sounds_and_refuses_scans(tmp_path: Path) -> None:
    path = flash_map.image_path()
    if path is None:
        pytest.skip("NO IMAGE OF THESE SOURCES: run `make image`; nothing of the production image was tested")
    sensors = BoardSensors()
    letter = enrolment.letter("U-01", 1, WRONG_KEY, sensors.channels, 0, sensors=BOARD_SENSORS)
    (tmp_path / "flash.bin").write_bytes(flash_map.blank_flash(path.read_bytes(), letter))
    with Rp2040Unit(tmp_path, sensors=sensors) as unit:
        unit.power_on()
        unit.wait_panel("Cloud key is missing")
        for colour in ("red", "off", "red"):
            unit.wait_until(lambda _lines, colour=colour: unit.light == colour, f"{colour} light")  # type: ignore[misc]
        assert unit.sounds == ["alarm"]
        unit.scan(b"]d1CT/BADGE/anna\r\n")
        unit.pass_ms(1500)
        assert unit.sounds == ["alarm", "refused"]
        unit.pass_ms(2 * WATCHDOG_MS)
        assert unit.chip is not None
        assert unit.chip.resets == 0
        assert unit.panel()[0] == "OUT OF SERVICE"
        assert unit.journal() == []
