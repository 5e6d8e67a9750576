"""Drivers, screen and signals on both interpreters: arithmetic against the data sheets, states of a reading, pixels."""

from agent import font, signals
from agent.drivers import ssd1306
from agent.drivers.bank import Bank, SensorsWrong
from agent.drivers.bmp280 import Bmp280, fine_temperature, hundredths, pressure_q8
from agent.drivers.lid import BOUNCE_MS, Lid
from agent.drivers.sht4x import Sht4x, crc8
from agent.drivers.tmp117 import Tmp117
from agent.screen import Screen
from agent.sensors import Sensors
from tests.cases import raises
from tests.fake_bus import FakeBus, FakePin, check_bus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# The worked example of the BMP280's data sheet, section 3.12. Its 64-bit integer formula gives 25767233; the figure
# shows the 25767236 of the floating-point one, 0.01 Pa more.
TRIM = (27504, 26435, -1000, 36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000)
RAW_TEMPERATURE, RAW_PRESSURE, PRESSURE_Q8 = 519888, 415148, 25767233


def test_the_fake_bus_keeps_the_contract() -> None:
    check_bus(FakeBus({0x48: bytearray(256)}), (0x48, 0x20), 0x11)


class WordBus(FakeBus):
    """A bus with one TMP117: registers are words."""

    def __init__(self, words: "dict[int, int]") -> None:
        super().__init__({0x48: []})
        self.words = words

    def readfrom_mem_into(self, addr: int, memaddr: int, buf: bytearray) -> None:
        self._chip(addr)
        word = self.words[memaddr]
        buf[0], buf[1] = word >> 8, word & 0xFF


def test_tmp117_counts_128ths() -> None:
    for word, thousandths in ((0x0C80, 25000), (0xF380, -25000), (0x0001, 8), (0xFFFF, -8), (0x1280, 37000)):
        bus = WordBus({0x0F: 0x1117, 0x01: 0x2C20, 0x00: word})  # a later revision of the chip
        chip = Tmp117(bus, 0x48)
        assert chip.read(0) is None  # nothing was started
        chip.start(1000)
        assert bus.writes == [(0x48, b"\x01\x0c\x20")]
        assert chip.read(1139) is None
        assert chip.read(1140) == {"temperature": thousandths}
        assert chip.read(1141) is None  # each measurement is given once


def test_tmp117_that_is_none_or_never_ready_or_restarted_is_a_fault() -> None:
    good = {0x0F: 0x0117, 0x01: 0x2C20, 0x00: 0x1280}
    for register, word in ((0x0F, 0x0116), (0x01, 0x0C20), (0x00, 0x8000)):
        bus = WordBus(dict(good))
        bus.words[register] = word
        chip = Tmp117(bus, 0x48)
        chip.start(0)
        assert chip.read(500) == "fault", hex(register)
        assert chip.read(501) == "fault"  # until a measurement can be started
        bus.words = dict(good)
        chip.start(1000)
        assert chip.read(1500) == {"temperature": 37000}


def test_a_bus_error_is_a_fault_and_the_chip_is_set_up_anew() -> None:
    bus = WordBus({0x0F: 0x0117, 0x01: 0x2C20, 0x00: 0x1280})
    chip = Tmp117(bus, 0x48)
    chip.start(0)
    bus.stuck = True
    assert chip.read(500) == "fault"
    chip.start(1000)
    assert chip.read(1500) == "fault"
    bus.stuck, bus.words[0x0F] = False, 0x0000  # another chip came instead: it is looked at again
    chip.start(2000)
    assert chip.read(2500) == "fault"
    bus.words[0x0F] = 0x0117
    chip.start(3000)
    assert chip.read(3500) == {"temperature": 37000}


def test_a_measurement_under_way_is_not_begun_again() -> None:
    bus = FakeBus({0x44: []})
    chip = Sht4x(bus, 0x44)
    chip.start(0)
    chip.start(9)
    assert len(bus.writes) == 1
    chip.start(10)  # complete and never read
    assert len(bus.writes) == 2


def word(value: int) -> bytes:
    return bytes([value >> 8, value & 255, crc8(value >> 8, value & 255)])


def test_sht4x_words() -> None:
    assert crc8(0xBE, 0xEF) == 0x92  # the data sheet's example
    for temperature, humidity, expected in (
        (0x0000, 0x0000, (-45000, -6000)),
        (0xFFFF, 0xFFFF, (130000, 119000)),
        (0x6666, 0x8000, (25000, 56501)),
    ):
        bus = FakeBus({0x44: [word(temperature) + word(humidity)]})
        chip = Sht4x(bus, 0x44)
        chip.start(0)
        assert bus.writes == [(0x44, b"\xfd")]
        assert chip.read(9) is None
        assert chip.read(10) == {"temperature": expected[0], "humidity": expected[1]}


def test_sht4x_refuses_every_single_bit_flip() -> None:
    good = word(0x6666) + word(0x8000)
    for bit in range(48):
        answer = bytearray(good)
        answer[bit // 8] ^= 1 << bit % 8
        chip = Sht4x(FakeBus({0x44: [bytes(answer)]}), 0x44)
        chip.start(0)
        assert chip.read(10) == "fault", bit


def test_sht4x_that_does_not_answer_is_a_fault() -> None:
    chip = Sht4x(FakeBus({0x44: []}), 0x44)
    chip.start(0)
    assert chip.read(10) == "fault"


def test_bmp280_compensation_is_the_data_sheets() -> None:
    fine = fine_temperature(TRIM, RAW_TEMPERATURE)
    assert (fine, hundredths(fine)) == (128422, 2508)
    assert pressure_q8(TRIM, RAW_PRESSURE, fine) == PRESSURE_Q8
    assert pressure_q8(TRIM[:3] + (0,) + TRIM[4:], RAW_PRESSURE, fine) == 0
    assert pressure_q8(TRIM, (1 << 20) - 1, fine) < pressure_q8(TRIM, RAW_PRESSURE, fine)


def bmp280_registers() -> bytearray:
    registers = bytearray(256)
    for at, value in enumerate(TRIM):
        registers[0x88 + 2 * at], registers[0x89 + 2 * at] = value & 255, value >> 8 & 255
    registers[0xD0] = 0x58
    for at, raw in ((0xF7, RAW_PRESSURE), (0xFA, RAW_TEMPERATURE)):
        registers[at], registers[at + 1], registers[at + 2] = raw >> 12, raw >> 4 & 255, raw << 4 & 255
    return registers


def test_bmp280_reads_the_example() -> None:
    bus = FakeBus({0x76: bmp280_registers()})
    chip = Bmp280(bus, 0x76)
    chip.start(0)
    assert bus.writes == [(0x76, b"\xf5\x00"), (0x76, b"\xf4\x55")]
    assert chip.read(43) is None
    assert chip.read(44) == {"pressure": 1006533, "temperature": 25080}
    chip.start(1000)
    assert len(bus.writes) == 3  # it is set up once


def test_bmp280_in_disorder_is_a_fault() -> None:
    for at, value in ((0xD0, 0x60), (0x88, 0x00), (0xF3, 0x08), (0xF7, 0x80), (0xFA, 0x80)):
        registers = bmp280_registers()
        registers[at] = value
        if at == 0x88:
            registers[0x89] = 0x00
        if at in (0xF7, 0xFA):
            registers[at + 1] = registers[at + 2] = 0
        chip = Bmp280(FakeBus({0x76: registers}), 0x76)
        chip.start(0)
        assert chip.read(44) == "fault", hex(at)


def test_a_lid_bounces_and_forgets_no_opening() -> None:
    pin = FakePin(0)
    lid = Lid(pin)
    assert lid.read(0) is None
    assert lid.read(BOUNCE_MS) == 0
    for at_ms in range(100, 120):  # bouncing for longer than one look
        pin.level = at_ms % 2
        lid.watch(at_ms)
    pin.level = 0
    lid.watch(121)
    assert lid.read(1000) == 0
    pin.level = 1
    lid.watch(1100)
    lid.watch(1100 + BOUNCE_MS)
    pin.level = 0
    lid.watch(1500)
    lid.watch(1500 + BOUNCE_MS)
    assert lid.read(2000) == 1  # it was open in between
    assert lid.read(3000) == 0
    pin.level = 1
    lid.watch(3100)
    assert [lid.read(4000), lid.read(5000)] == [1, 1]


def channel(name: str, unit: str, exponent: int, offset: "int | None" = None) -> "dict[int, Any]":
    fields: "dict[int, Any]" = {1: name, 2: unit, 3: exponent, 4: -100000, 5: 2000000}
    if offset is not None:
        fields[10] = offset
    return fields


def bank_bus() -> FakeBus:
    return FakeBus({0x44: [word(0x6666) + word(0x8000)], 0x76: bmp280_registers()})


def test_a_bank_reads_all_channels_and_two_of_one_chip_share_it() -> None:
    bus = bank_bus()
    channels = [
        channel("air", "Cel", -2, -15),
        channel("humidity", "%", 0),
        channel("pressure", "kPa", -2),
        channel("lid", "1", 0),
        channel("same", "mbar", -4),
    ]
    sensors = [
        ["sht4x", 0x44, "temperature"],
        ["sht4x", 0x44, "humidity"],
        ["bmp280", 0x76, "pressure"],
        ["lid", 0, ""],
        ["bmp280", 0x76, "pressure"],
    ]
    bank = Bank(bus, FakePin(1), channels, sensors)
    assert bank.read(0) == [None] * 5
    bank.start(100)
    bank.watch(200)
    assert bank.read(300) == [2485, 57, 10065, 1, 10065330]
    assert [written for address, written in bus.writes if address == 0x44] == [b"\xfd"]


def test_a_bank_keeps_faults_of_one_chip_to_itself() -> None:
    bus = bank_bus()
    del bus.chips[0x76]
    channels = [channel("humidity", "%", -1), channel("pressure", "mbar", -1)]
    bank = Bank(bus, None, channels, [["sht4x", 0x44, "humidity"], ["bmp280", 0x76, "pressure"]])
    bank.start(0)
    assert bank.read(100) == [565, "fault"]


def test_a_bank_rounds_below_zero_as_above() -> None:
    bus = FakeBus({0x44: [word(0x0000) + word(0x0001)]})  # -45.000 degrees, -5.998 %
    bank = Bank(bus, None, [channel("humidity", "%", -2)], [["sht4x", 0x44, "humidity"]])
    bank.start(0)
    assert bank.read(100) == [-600]


def test_a_letter_that_names_no_readable_sensor_is_refused_in_words() -> None:
    good = channel("air", "Cel", -2)
    for channels, sensors, words in (
        ([good], [], "1 channels, but 0 sensors"),
        ([good], [["dht22", 1, "temperature"]], "channel air: no driver reads temperature from dht22"),
        ([good], [["tmp117", 72, "humidity"]], "channel air: no driver reads humidity from tmp117"),
        ([channel("air", "K", -2)], [["tmp117", 72, "temperature"]], "channel air: temperature is not given in K"),
        ([good], [["lid", 0, ""]], "channel air: a lid needs a pin, unit 1 and exponent 0"),
    ):
        error = raises(SensorsWrong, Bank, FakeBus({}), FakePin(0), channels, sensors)
        assert str(error) == words


def test_a_lid_that_stays_shut_is_not_stuck_but_a_temperature_is() -> None:
    sensors = Sensors([channel("lid", "1", 0), channel("air", "Cel", -2)])
    sensors.begin(2, 0)
    bodies = [sensors.take([0, 3700]) for _ in range(180)]
    marks = [body.get(6) for body in bodies if body]
    assert marks == [None, [[1, 59, 1, 2]], [[1, 0, 60, 2]]]


# --- display ---------------------------------------------------------------------------------------------------------


def sent_until_quiet(display: ssd1306.Ssd1306, bus: FakeBus) -> "list[bytes]":
    del bus.writes[:]
    for _ in range(20):
        if not display.turn():
            break
    return [written for _address, written in bus.writes]


def test_the_display_gets_all_pages_before_it_lights_up() -> None:
    bus = FakeBus({0x3C: []})
    display = ssd1306.Ssd1306(bus)
    display.show(bytes(range(256)) * 4)
    sent = sent_until_quiet(display, bus)
    assert sent[0][:2] == b"\x00\xae"
    assert sent[-1] == b"\x00\xaf"
    assert sent[1:-1:2] == [bytes([0x00, 0xB0 | page, 0x00, 0x10]) for page in range(8)]
    assert b"".join([page[1:] for page in sent[2:-1:2]]) == bytes(range(256)) * 4
    assert sent_until_quiet(display, bus) == []


def test_only_a_page_that_changed_is_sent() -> None:
    bus = FakeBus({0x3C: []})
    display = ssd1306.Ssd1306(bus)
    sent_until_quiet(display, bus)
    frame = bytearray(1024)
    frame[3 * 128 + 5] = 0x80
    display.show(frame)
    sent = sent_until_quiet(display, bus)
    assert sent == [b"\x00\xb3\x00\x10", b"\x40" + bytes(5) + b"\x80" + bytes(122)]
    frame[0] = 1  # the frame is the caller's own
    assert sent_until_quiet(display, bus) == []
    display.forget()
    assert len(sent_until_quiet(display, bus)) == 18


def test_a_display_that_went_away_is_set_up_again() -> None:
    bus = FakeBus({0x3C: []})
    display = ssd1306.Ssd1306(bus)
    sent_until_quiet(display, bus)
    display.show(b"\x01" * 1024)
    bus.stuck = True
    assert not display.turn()
    assert display.faults == 1
    for _ in range(ssd1306.RETRY_TURNS):
        assert not display.turn()
    assert display.faults == 1  # it rests, and does not take the bus's timeout at every turn
    bus.stuck = False
    sent = sent_until_quiet(display, bus)
    assert (sent[0][:2], len(sent), sent[-1]) == (b"\x00\xae", 18, b"\x00\xaf")


# --- screen ----------------------------------------------------------------------------------------------------------


def test_letters_have_their_places() -> None:
    assert [font.place(text) for text in " ~°ñ\n€"] == [0, 94, 95, font.BOX - 1, font.BOX, font.BOX]
    assert len(font.CELLS) == font.BOX + 1
    assert len(set(font.CELLS)) == len(font.CELLS)  # no two look alike
    assert all([len(cell) == font.CELL and cell[-1] == 0 for cell in font.CELLS])
    for text in ("Az~", "µ: 5 °C €", "\n\x7f"):
        assert font.columns(text) == b"".join([font.CELLS[font.place(letter)] for letter in text])


def test_lines_are_drawn_where_the_layout_says() -> None:
    frame = Screen().draw(["I", "I", "I", "", "", "I"])
    letter = b"\x00\x41\x7f\x41\x00"
    assert len(frame) == 1024
    assert bytes(frame[1:6]) == letter
    assert bytes(frame[2 * 128 + 1 : 2 * 128 + 6]) == b"\x00\x03\xff\x03\x00"
    assert bytes(frame[3 * 128 + 1 : 3 * 128 + 6]) == b"\x00\x30\x3f\x30\x00"
    assert bytes(frame[6 * 128 : 7 * 128]) == b"\x08" * 128
    assert bytes(frame[7 * 128 + 1 : 7 * 128 + 6]) == letter
    assert bytes(frame[128 + 1 : 128 + 6]) == letter
    assert bytes(frame[4 * 128 : 6 * 128]) == bytes(256)


def test_a_refusal_comes_first_and_tall_until_it_is_none() -> None:
    screen = Screen()
    working = bytes(screen.draw(["I"] * 6))
    frame = bytes(screen.draw(["I", "I", "I", "! I", "I", "I"]))
    letter = b"\x00\x41\x7f\x41\x00"
    assert frame[128 + 13 : 128 + 18] == b"\x00\x03\xff\x03\x00"
    assert frame[2 * 128 + 13 : 2 * 128 + 18] == b"\x00\x30\x3f\x30\x00"
    for row in (0, 3, 5, 6, 7):
        assert frame[row * 128 + 1 : row * 128 + 6] == letter
    assert frame[4 * 128 : 5 * 128] == b"\x08" * 128
    assert bytes(screen.draw(["I"] * 6)) == working


def test_a_refusal_makes_room_when_something_else_is_to_be_scanned() -> None:
    screen = Screen()
    refused = ["B", "Scan this item:", "> Bag", "! WRONG", "", "C"]
    alarm = ["B", "ALARM temperature", "> scan ALARM ACK", "! WRONG", "", "C"]
    first = bytes(screen.draw(refused))
    assert bytes(screen.draw(refused)) == first
    after = bytes(screen.draw(alarm))
    assert after[2 * 128 :][:256] == bytes(Screen().draw(["", "", alarm[2], "", "", "C"]))[2 * 128 :][:256]
    assert bytes(screen.draw(alarm[:3] + ["! EXPIRED", "", "C"])) != after
    assert bytes(screen.draw(refused)) == first


def test_a_prompt_that_says_it_all_is_tall() -> None:
    screen = Screen()
    working = bytes(screen.draw(["I"] * 6))
    frame = bytes(screen.draw(["I", "I", "", "I", "I", "I"]))
    assert frame[128 + 1 : 128 + 6] == b"\x00\x03\xff\x03\x00"
    assert frame[2 * 128 + 1 : 2 * 128 + 6] == b"\x00\x30\x3f\x30\x00"
    assert frame[3 * 128 : 4 * 128] == bytes(128)
    assert frame[4 * 128 :] == working[4 * 128 :]
    assert bytes(screen.draw(["I"] * 6)) == working


def test_what_stops_a_unit_is_tall() -> None:
    screen = Screen()
    working = bytes(screen.draw(["I"] * 6))
    frame = bytes(screen.draw(["I", "I", "I", "I", "I", ""]))
    assert frame[1:6] == b"\x00\x03\xff\x03\x00"
    assert frame[128 + 1 : 128 + 6] == b"\x00\x30\x3f\x30\x00"
    for row in (2, 3, 4, 5):
        assert frame[row * 128 + 1 : row * 128 + 6] == b"\x00\x41\x7f\x41\x00"
    assert frame[7 * 128 :] == bytes(128)
    assert bytes(screen.draw(["I"] * 6)) == working


def test_a_line_is_erased_by_a_shorter_one_and_cut_at_the_edge() -> None:
    screen = Screen()
    whole = bytes(screen.draw(["W" * 40] * 6))
    assert whole == bytes(Screen().draw(["W" * 21] * 6))
    assert bytes(screen.draw([""] * 6)) == bytes(Screen().draw([""] * 6))


# --- signals ---------------------------------------------------------------------------------------------------------


def test_a_scan_is_answered_by_colour_and_sound() -> None:
    lamp = signals.Signals()
    assert lamp.colour(0) == "off"
    assert lamp.after_scan(True, 1000) == "ok"
    assert [lamp.colour(at_ms) for at_ms in (1000, 1999, 2000)] == ["green", "green", "off"]
    assert lamp.after_scan(False, 3000) == "refused"
    assert [lamp.colour(at_ms) for at_ms in (3000, 4999, 5000)] == ["red", "red", "off"]


def test_what_stands_is_lit_and_sounds_when_it_begins_and_again() -> None:
    lamp = signals.Signals()
    assert lamp.standing(0, False, False, 0) == ""
    assert lamp.standing(1, False, False, 1000) == "alarm"
    assert lamp.colour(1000) == "amber"
    assert lamp.standing(1, False, False, 1500) == ""
    assert lamp.standing(2, False, False, 2000) == "alarm"  # another one
    assert lamp.standing(1, False, False, 3000) == ""  # one was acknowledged
    assert lamp.standing(1, False, False, 62000) == "alarm"  # nobody came
    assert lamp.standing(0, False, False, 63000) == ""
    assert lamp.colour(63000) == "off"
    assert lamp.standing(0, True, False, 64000) == "alarm"
    assert lamp.standing(0, True, False, 300000) == ""  # a warning does not nag
    assert lamp.colour(300000) == "amber"
    assert lamp.after_scan(True, 300000) == "ok"
    assert lamp.colour(300100) == "green"


def test_a_unit_that_takes_no_scans_blinks_red() -> None:
    lamp = signals.Signals()
    assert lamp.standing(1, True, True, 0) == "alarm"
    assert [lamp.colour(at_ms) for at_ms in (0, 499, 500, 999, 1000)] == ["red", "red", "off", "off", "red"]
    assert lamp.standing(1, True, True, signals.REMIND_MS) == "alarm"


def test_a_tune_plays_its_notes_and_ends() -> None:
    tune = signals.Tune()
    assert tune.pitch(0) == 0
    tune.begin("alarm", 1000)
    assert [tune.pitch(at_ms) for at_ms in (1000, 1149, 1150, 1250, 1400, 1500, 1649, 1650)] == [
        1500, 1500, 0, 1500, 0, 1500, 1500, 0,
    ]  # fmt: skip
    tune.begin("refused", 2000)
    assert (tune.pitch(2000), tune.pitch(2799), tune.pitch(2800)) == (440, 440, 0)
    assert len(set(signals.SOUNDS.values())) == 3
