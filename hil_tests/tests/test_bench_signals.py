"""What a technician hears and sees beside the panel's words, and a scanner set up as the enrolment letter says."""

from __future__ import annotations

from pathlib import Path

from hil_tests.bench.judged import judged
from hil_tests.bench.nor import BLOCK_BYTES
from hil_tests.bench.peer import CLOUD_KEY
from hil_tests.bench.powered import connect, powered
from hil_tests.bench.sensor_source import SyntheticSensors
from hil_tests.bench.small_batch import CARTRIDGE_GTIN, NOW_MS, open_batch, plain, scan
from hil_tests.bench.unix_unit import UnixUnit
from tools import enrolment
from wire import RecordType

JOURNAL_BYTES = 16 * BLOCK_BYTES


def wait_light(unit: UnixUnit, colour: str) -> None:
    unit.wait_until(lambda _lines: unit.light == colour, f"the light to be {colour}, not {unit.light}")


def test_light_and_buzzer_say_what_a_scan_came_to(tmp_path: Path) -> None:
    with powered(tmp_path) as unit, connect(unit) as peer:
        assert unit.sounds == []
        scan(unit, plain("CT/BATCH/OPEN"), "! Nobody signed in:")
        wait_light(unit, "red")
        open_batch(unit, peer)
        unit.wait_until(lambda _lines: len(unit.sounds) == 3, "three sounds")  # they follow the words
        assert unit.sounds == ["refused", "ok", "ok"]
        wait_light(unit, "green")
        wait_light(unit, "off")
        unit.sensors.excursion("temperature", 500)
        unit.wait_panel("ALARM temperature")
        wait_light(unit, "amber")
        assert unit.sounds[3:] == ["alarm"]
        scan(unit, plain("CT/ALARM/ACK"), "Alarm acknowledged")
        wait_light(unit, "green")
        wait_light(unit, "off")


def test_a_full_journal_blinks_red_and_sounds(tmp_path: Path) -> None:
    with powered(tmp_path, journal_blocks=8, speed=1.0) as unit:
        scan(unit, plain("CT/BADGE/OP-1"), "Welcome OP-1")
        notes = 0
        while unit.panel()[0] != "JOURNAL FULL":
            notes += 1
            heard = len(unit.sounds)
            unit.scan(plain(f"CT/NOTE/{'x' * 150} {notes}"))
            unit.wait_until(lambda _lines, heard=heard: len(unit.sounds) > heard, "an answer")  # type: ignore[misc]
            percent = [line for line in unit.panel() if "% FULL" in line]
            if percent:
                assert percent == [unit.panel()[5]]
        for colour in ("red", "off", "red"):
            wait_light(unit, colour)
        assert "alarm" in unit.sounds


def test_a_scanner_with_settings_of_its_own(tmp_path: Path) -> None:
    sensors = SyntheticSensors()
    options = {1: b"\x02", 2: b"\x03", 3: b"~"}
    letter = enrolment.letter("U-01", 1, CLOUD_KEY, sensors.channels, 0, scanner=options)
    settings = {"enrol": letter.hex()}
    with UnixUnit(tmp_path, speed=20.0, sensors=sensors, journal_bytes=JOURNAL_BYTES, settings=settings) as unit:
        unit.power_on()
        unit.wait_panel("Scan your BADGE")
        with connect(unit, NOW_MS) as peer:
            peer.wait_types(RecordType.CLOCK)
            unit.scan(b"\x02]d1CT/BADGE/OP-1\x03")
            unit.wait_panel("Welcome OP-1")
            unit.scan(b"]d1CT/NOTE/without its prefix\x03")
            unit.wait_panel("scan it again")
            unit.scan(f"\x02]d201{CARTRIDGE_GTIN}10L1~21S1\x03".encode())
            unit.wait_panel("No batch is open:")
        scans = [record.body for record in judged(unit.journal()) if record.type == RecordType.SCAN]
        assert [(scan.raw, scan.reason) for scan in scans] == [  # type: ignore[union-attr]
            (b"]d1CT/NOTE/without its prefix", "truncated"),
            (f"01{CARTRIDGE_GTIN}10L1\x1d21S1".encode(), "no_batch"),
        ]


def test_wrong_scanner_settings_stop_the_unit_aloud(tmp_path: Path) -> None:
    for options in ({2: b""}, {2: b"A"}, {1: b"\r", 2: b"\r"}):
        letter = enrolment.letter("U-01", 1, CLOUD_KEY, (), 0, scanner=options)
        directory = tmp_path / options[2].hex()
        with UnixUnit(directory, journal_bytes=JOURNAL_BYTES, settings={"enrol": letter.hex()}) as unit:
            unit.power_on()
            unit.wait_panel("OUT OF SERVICE")
            assert unit.panel()[1:4] == ["Scanner settings are", "wrong.", "Call the supervisor."]
            for colour in ("red", "off", "red"):  # it blinks
                wait_light(unit, colour)
            assert unit.sounds == ["alarm"]
            unit.scan(plain("CT/BADGE/OP-1"))
            unit.wait_until(lambda _lines, unit=unit: "refused" in unit.sounds, "a no to the scan")  # type: ignore[misc]
