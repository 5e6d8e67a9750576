"""The chip models against their data sheets, and the unit's own drivers against the models."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from agent import font
from agent.drivers.bank import Bank
from agent.drivers.chip import Chip
from agent.drivers.ssd1306 import RETRY_TURNS, Ssd1306
from agent.screen import Screen

from hil_tests.bench.devices import bmp280, sht4x, tmp117
from hil_tests.bench.devices.glass import BRIGHT, SCALE, UNREADABLE, text_of
from hil_tests.bench.devices.i2c import Device, MemoryBus
from hil_tests.bench.devices.ssd1306 import Ssd1306Model
from hil_tests.bench.devices.world import BOARD_CHANNELS, BOARD_SENSORS, World
from hil_tests.bench.sensor_source import Reading, SensorFaults, SyntheticSensors

check_bus = importlib.import_module("tests.fake_bus").check_bus


class Bench:
    """A world of synthetic sensors, its time and the unit's bank of drivers over a bus in memory."""

    def __init__(self) -> None:
        self.now_us = 0
        self.sensors = SensorFaults(SyntheticSensors(BOARD_CHANNELS))
        self.world = World(self.sensors, BOARD_SENSORS, lambda: self.now_us)
        self.display = Ssd1306Model()
        self.bus = MemoryBus([*self.world.devices.values(), self.display])
        channels: list[dict[int, Any]] = [
            {1: spec.name, 2: spec.unit, 3: spec.exponent, 4: spec.low, 5: spec.high} for spec in BOARD_CHANNELS
        ]
        self.bank = Bank(self.bus, self, channels, [list(sensor) for sensor in BOARD_SENSORS])

    def value(self) -> int:
        """The lid's pin."""
        return int(self.world.lid_open())

    @property
    def now_ms(self) -> int:
        return self.now_us // 1000

    def reading(self) -> list[Reading]:
        """One reading a second, begun 150 ms before it is due."""
        self.now_us += 850_000
        self.bank.start(self.now_ms)
        self.now_us += 150_000
        self.bank.watch(self.now_ms - 50)
        return self.bank.read(self.now_ms)

    def truth(self) -> list[Reading]:
        return self.sensors.read(self.now_ms)


def registers(bus: MemoryBus, address: int, register: int, length: int) -> bytes:
    content = bytearray(length)
    bus.readfrom_mem_into(address, register, content)
    return bytes(content)


# --- the bus ---------------------------------------------------------------------------------------------------------


def test_the_bus_over_models_keeps_the_contract_of_the_drivers_tests() -> None:
    model = tmp117.Tmp117Model(0x48, lambda: 0, lambda quantity: 0)
    check_bus(MemoryBus([model]), (0x48, tmp117.HIGH_LIMIT), 0x11)


def test_faults_of_a_chip_reach_the_bus_as_errors() -> None:
    bench = Bench()
    chip: Device = bench.world.devices[0x48]
    chip.unplugged = True
    with pytest.raises(OSError, match="address 0x48 is not acknowledged"):
        registers(bench.bus, 0x48, 0x0F, 2)
    chip.unplugged, chip.deaf_after = False, 1
    assert registers(bench.bus, 0x48, 0x0F, 2) == b"\x01\x17"
    with pytest.raises(OSError, match="a byte to 0x48"):
        bench.bus.writeto_mem(0x48, 0x01, b"\x0c\x20")
    chip.deaf_after, chip.holds_bus = None, True
    with pytest.raises(OSError, match="the bus is held"):
        registers(bench.bus, 0x76, 0xD0, 1)  # one chip holds the bus of all


# --- the sensors -----------------------------------------------------------------------------------------------------


def test_the_drivers_measure_what_the_world_is() -> None:
    bench = Bench()
    for second in range(300):
        reading = bench.reading()
        assert reading == bench.truth(), second
        assert all(isinstance(value, int) for value in reading)
    assert bench.sensors.read(0) != bench.truth()  # and it moved


@pytest.mark.parametrize("fault", ["unplugged", "holds_bus", "wrong_crc", "deaf"])
def test_a_chip_that_fails_is_a_fault_and_comes_back(fault: str) -> None:
    bench = Bench()
    assert bench.reading() == bench.truth()
    chip = bench.world.devices[0x44]
    assert isinstance(chip, sht4x.Sht4xModel)
    chip.unplugged = fault == "unplugged"
    chip.holds_bus = fault == "holds_bus"
    chip.wrong_crc = fault == "wrong_crc"
    chip.deaf_after = 0 if fault == "deaf" else None
    for _ in range(3):
        temperature, humidity, pressure, lid = bench.reading()
        assert humidity == "fault"
        others = ["fault", "fault"] if fault == "holds_bus" else [bench.truth()[0], bench.truth()[2]]
        assert [temperature, pressure, lid] == [*others, 0]
    chip.unplugged = chip.holds_bus = chip.wrong_crc = False
    chip.deaf_after = None
    assert bench.reading() == bench.truth()


def test_a_source_without_a_value_is_a_chip_that_does_not_answer() -> None:
    bench = Bench()
    for bend in (bench.sensors.missing, bench.sensors.fault):
        bend("pressure")
        assert bench.reading()[2] == "fault"
        bench.sensors.well("pressure")
        assert bench.reading() == bench.truth()


def test_frozen_and_out_of_range_values_pass_as_values() -> None:
    bench = Bench()
    bench.reading()
    before = bench.reading()[0]
    bench.world.devices[0x48].frozen = True
    bench.sensors.excursion("temperature", 9000)
    assert bench.reading()[0] == before
    bench.world.devices[0x48].frozen = False
    assert bench.reading()[0] == bench.truth()[0]
    bench.sensors.excursion("humidity", 700)  # 115 %: the sensor gives that, and the channel's range marks it
    humidity = bench.reading()[1]
    assert isinstance(humidity, int)
    assert humidity == bench.truth()[1]
    assert humidity > BOARD_CHANNELS[1].high


def test_an_open_lid_is_read() -> None:
    bench = Bench()
    bench.sensors.stuck("lid", 1)
    bench.reading()
    assert bench.reading()[3] == 1
    bench.sensors.well("lid")
    bench.reading()
    assert bench.reading()[3] == 0


def test_a_chip_that_loses_power_for_a_moment_is_set_up_anew() -> None:
    bench = Bench()
    bench.reading()
    for address in (0x48, 0x76):
        bench.world.devices[address]._power_on()  # type: ignore[attr-defined]
    assert bench.reading() == bench.truth()


def test_tmp117_takes_its_time_and_says_when_it_is_ready() -> None:
    now_us = 0
    chip = tmp117.Tmp117Model(0x48, lambda: now_us, lambda quantity: -25_000)
    bus = MemoryBus([chip])
    assert registers(bus, 0x48, tmp117.DEVICE_ID, 2) == b"\x01\x17"
    assert registers(bus, 0x48, tmp117.RESULT, 2) == b"\x80\x00"
    bus.writeto_mem(0x48, tmp117.CONFIGURATION, b"\x0c\x20")
    now_us = 8 * 15_500 - 1
    assert registers(bus, 0x48, tmp117.CONFIGURATION, 2) == b"\x0c\x20"
    now_us += 1
    assert registers(bus, 0x48, tmp117.CONFIGURATION, 2) == b"\x24\x20"  # ready, and shut down again
    assert registers(bus, 0x48, tmp117.CONFIGURATION, 2) == b"\x04\x20"  # reading it clears the flag
    assert registers(bus, 0x48, tmp117.RESULT, 2) == b"\xf3\x80"


def test_sht4x_is_deaf_while_it_measures() -> None:
    now_us = 0
    bus = MemoryBus([sht4x.Sht4xModel(0x44, lambda: now_us, lambda quantity: 25_000)])
    answer = bytearray(6)
    with pytest.raises(OSError, match="not acknowledged"):
        bus.readfrom_into(0x44, answer)  # nothing was asked
    bus.writeto(0x44, b"\xfd")
    now_us = 8_299
    with pytest.raises(OSError, match="not acknowledged"):
        bus.readfrom_into(0x44, answer)
    now_us = 8_300
    bus.readfrom_into(0x44, answer)
    assert answer[:2] == b"\x66\x66"
    assert answer[2] == 0x93
    assert sht4x.crc8(b"\xbe\xef") == 0x92


def test_bmp280_is_busy_for_as_long_as_its_oversampling_says() -> None:
    now_us = 0
    values = {"temperature": 25_080, "pressure": 1_006_533}
    bus = MemoryBus([bmp280.Bmp280Model(0x76, lambda: now_us, values.__getitem__)])
    assert registers(bus, 0x76, bmp280.CHIP_ID, 1) == b"\x58"
    assert registers(bus, 0x76, bmp280.RESULT, 6) == b"\x80\x00\x00\x80\x00\x00"
    bus.writeto_mem(0x76, bmp280.CTRL_MEAS, b"\x55")
    now_us = 43_224
    assert registers(bus, 0x76, bmp280.STATUS, 1) == b"\x08"
    now_us = 43_225
    assert registers(bus, 0x76, bmp280.STATUS, 2) == b"\x00\x54"  # done, and asleep
    raw = registers(bus, 0x76, bmp280.RESULT, 6)
    assert abs((int.from_bytes(raw[:3], "big") >> 4) - 415148) <= 3  # the data sheet's example, backwards
    assert abs((int.from_bytes(raw[3:], "big") >> 4) - 519888) <= 35  # one hundredth of a degree
    bus.writeto_mem(0x76, bmp280.RESET, b"\xb6")
    assert registers(bus, 0x76, bmp280.RESULT, 3) == b"\x80\x00\x00"


@pytest.mark.parametrize("address", [0x44, 0x48, 0x76])
def test_no_moment_of_a_failing_bus_lets_an_error_out_of_a_driver(address: int) -> None:
    """Each of the first transfers to the chip fails once, at each of its bytes."""
    failed = 0
    for transfer in range(12):
        for byte in range(8):
            bench = Bench()
            chip = bench.world.devices[address]
            fails = _fail_at(bench.bus, chip, transfer, byte)
            for _ in range(6):
                bench.reading()
            assert bench.reading() == bench.truth()
            failed += fails.happened
    assert failed > 10


class _fail_at:  # noqa: N801  reads as a verb where it is used
    """Makes one byte of one transfer to the chip fail."""

    def __init__(self, bus: MemoryBus, chip: Device, transfer: int, byte: int) -> None:
        self.happened = 0
        self._left, self._byte = transfer, byte
        self._start, self._read, self._write = chip.start, chip.read, chip.write
        chip.start, chip.read, chip.write = self.start, self.read, self.write  # type: ignore[method-assign]

    def start(self, reading: bool) -> bool:
        self._left -= 1
        self._at = 0
        return self._start(reading) and not self._now()

    def read(self) -> int:
        if self._now():
            raise OSError(5, "the bus failed")
        return self._read()

    def write(self, byte: int) -> bool:
        return not self._now() and self._write(byte)

    def _now(self) -> bool:
        self._at += 1
        now = self._left == -1 and self._at - 1 == self._byte
        self.happened += now
        return now


def test_a_chip_class_says_what_it_measures() -> None:
    with pytest.raises(NotImplementedError):
        Chip(MemoryBus([]), 0x48).start(0)


# --- the display -----------------------------------------------------------------------------------------------------

LINES = [
    "B-2026-0042 culture",
    "Scan this item:",
    "> Medium (500 mL)",
    "! EXPIRED 2026-01-01:",
    "take another one",
    "saved 3m",
]


def shown(model: Ssd1306Model, lines: list[str]) -> Ssd1306:
    display = Ssd1306(MemoryBus([model]))
    display.show(Screen().draw(lines))
    for _ in range(20):
        display.turn()
    return display


def test_what_the_screen_draws_is_what_the_glass_says() -> None:
    model = Ssd1306Model()
    assert model.frame() == bytes(1024)  # dark, although its memory is full of noise
    assert model.memory != bytes(1024)
    shown(model, LINES)
    assert model.lines() == LINES
    assert model.frame() == bytes(Screen().draw(LINES))
    assert model.unknown == []
    assert model.contrast == 0xCF


def test_every_letter_is_read_back_and_every_damaged_one_is_not() -> None:
    letters = "".join(chr(code) for code in range(33, 127)) + font.MORE
    for first in range(0, len(letters), 21):
        part = letters[first : first + 21]
        assert text_of(bytes(Screen().draw([part] * 6))) == [part] * 6
    frame = Screen().draw(["A", "", "A", "", "", "A"])
    frame[1] ^= 0x40
    frame[2 * 128 + 1] ^= 0x40
    assert [text_of(bytes(frame))[line] for line in (0, 2)] == [UNREADABLE, UNREADABLE]


def test_a_display_that_lost_power_comes_back_whole() -> None:
    model = Ssd1306Model()
    display = shown(model, LINES)
    model.power_on()
    display.forget()
    lit = []
    while display.turn():
        lit.append(model.on)
    assert not any(lit)
    assert model.lines() == LINES


def test_a_transfer_that_breaks_off_leaves_no_wrong_picture() -> None:
    for breaks in range(0, 1100, 37):
        model = Ssd1306Model()
        bus = MemoryBus([model])
        display = Ssd1306(bus)
        display.show(Screen().draw(LINES))
        taken = model.takes
        model.takes = lambda byte, m=model, t=taken, n=breaks: m.bytes_taken < n and t(byte)  # type: ignore[method-assign,misc]
        for _ in range(12):
            display.turn()
        model.takes = taken  # type: ignore[method-assign]
        for _ in range(RETRY_TURNS + 20):
            display.turn()
        assert model.lines() == LINES, breaks


def test_the_addressing_modes_of_the_data_sheet() -> None:
    model = Ssd1306Model()
    bus = MemoryBus([model])
    bus.writeto(0x3C, bytes([0x00, 0xAE, 0xA1, 0xC8, 0x20, 0x00, 0x21, 10, 11, 0x22, 2, 3, 0xAF]))
    bus.writeto(0x3C, bytes([0x40, 1, 2, 3, 4, 5]))  # the fifth begins anew
    at = [2 * 128 + 10, 2 * 128 + 11, 3 * 128 + 10, 3 * 128 + 11]
    assert [model.frame()[place] for place in at] == [5, 2, 3, 4]
    bus.writeto(0x3C, bytes([0x80, 0x20, 0x80, 0x01, 0x80, 0x21, 0x80, 10, 0x80, 11, 0x80, 0x22, 0x80, 2, 0x80, 3]))
    bus.writeto(0x3C, bytes([0x40, 1, 2, 3, 4]))
    assert [model.frame()[place] for place in at] == [1, 3, 2, 4]
    bus.writeto(0x3C, b"\x00\xa7")
    assert model.frame()[at[0]] == 0xFE
    bus.writeto(0x3C, b"\x00\xa5")
    assert model.frame() == b"\xff" * 1024
    bus.writeto(0x3C, b"\x00\xa4\xa6\xc0")  # rows upside down
    assert model.frame()[5 * 128 + 10] == 0x80
    bus.writeto(0x3C, b"\x00\xf7")
    assert model.unknown == [0xF7]
    bus.writeto(0x3C, b"\x00\xae")
    assert model.frame() == bytes(1024)


def test_a_picture_shows_each_pixel() -> None:
    model = Ssd1306Model()
    shown(model, ["I", "", "", "", "", ""])
    picture = model.picture()
    assert picture.size == (128 * SCALE, 64 * SCALE)
    assert picture.getpixel((3 * SCALE, 3 * SCALE)) == BRIGHT
    assert picture.getpixel((5 * SCALE, 3 * SCALE)) != BRIGHT
