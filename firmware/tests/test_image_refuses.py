"""The production image in the emulated chip: nothing typed or stored makes it do anything but its work."""

from pathlib import Path

import nacl.signing
import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection
from littlefs import LittleFS

from hil_tests.bench import board_image as flash_map
from hil_tests.bench.devices.world import BOARD_SENSORS
from hil_tests.bench.rp2040_chip import FlashOperation
from hil_tests.bench.rp2040_unit import BoardSensors, Rp2040Unit
from tools import enrolment
from wire.bodies import Boot, BootCause, Genesis, Scan
from wire.frames import FrameReader, Who, encode_frame
from wire.record import Record, decode_record, verify_record

pytestmark = [pytest.mark.image, pytest.mark.slow, pytest.mark.timeout(600)]

CLOUD_KEY = bytes(nacl.signing.SigningKey(bytes(32)).verify_key)
CTRL_C, CTRL_D = b"\x03", b"\x04"
PROMPTS = (b">>>", b"raw REPL", b"MicroPython", b"Traceback")
CODE = b"CT/NOTE/x"
OPERATOR = "anna-of-the-night-shift"
# 56 ms at 9600 baud. Of what comes in the 45 ms of an erase a UART keeps 32 bytes: the middle of the badge is lost, and
# what is left looks like the badge of somebody else.
BADGE = b"CT/BADGE/" + OPERATOR.encode() + b"\r\n"
LATE_BADGE = 10 * b"\r\n" + BADGE
UNUSED_PIN = 22
# What runs in place of the firmware: interrupts off, then waiting for one for ever.
HUNG = bytes.fromhex("72b630bffde7")  # cpsid i; wfi; b .-2
SRAM_START = 0x2000_0000
HUNG_AT = 0x2004_0F00  # the second core's stack: there is no second core in use
WATCHDOG_MS = 8000


@pytest.fixture(scope="module")
def image() -> bytes:
    path = flash_map.image_path()
    if path is None:
        pytest.skip("NO IMAGE OF THESE SOURCES: run `make image`; nothing of the production image was tested")
    return path.read_bytes()


def unit_of(image: bytes, folder: Path, files: dict[str, bytes] | None = None) -> Rp2040Unit:
    """A unit that was never on, with more files beside the letter."""
    sensors = BoardSensors()
    letter = enrolment.letter("U-01", 1, CLOUD_KEY, sensors.channels, 0, sensors=BOARD_SENSORS)
    disk = LittleFS(
        block_size=4096,
        block_count=flash_map.CONFIGURATION_BYTES // 4096,
        prog_size=256,
        disk_version=flash_map.DISK_VERSION,
    )
    for name, content in ({flash_map.LETTER: letter} | (files or {})).items():
        if "/" in name:
            disk.makedirs(name.rpartition("/")[0], exist_ok=True)
        with disk.open(name, "wb") as file:
            file.write(content)
    flash = bytearray(flash_map.blank_flash(image, letter))
    start = flash_map.CODE_BYTES
    flash[start : start + flash_map.CONFIGURATION_BYTES] = bytes(disk.context.buffer)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "flash.bin").write_bytes(flash)
    return Rp2040Unit(folder, sensors=sensors)


def records(unit: Rp2040Unit) -> list[Record]:
    """What the flash holds, each signature checked."""
    found = [decode_record(raw) for raw in unit.journal()]
    genesis = found[0].body
    assert isinstance(genesis, Genesis)
    for one in found:
        verify_record(one, genesis.public_key)
    return found


def boot_causes(unit: Rp2040Unit) -> list[BootCause]:
    return [one.body.cause for one in records(unit) if isinstance(one.body, Boot)]


def working(unit: Rp2040Unit) -> None:
    """The unit takes a badge, in the one boot it had."""
    unit.pass_ms(1000)  # what was on its way, and its refusals
    unit.scan(b"CT/BADGE/anna\r\n")
    unit.wait_panel("order", 10)
    assert unit.chip is not None
    assert unit.chip.resets == 0
    assert any(one.operator == "anna" for one in records(unit))


def test_it_signs_by_the_c_module(image: bytes, tmp_path: Path) -> None:
    with unit_of(image, tmp_path) as unit:
        unit.power_on()
        unit.wait_panel("BADGE")
        genesis, boot = [one.body for one in records(unit)][:2]
        assert isinstance(genesis, Genesis)
        assert (genesis.signer, genesis.model) == ("native", "rp2040")
        assert isinstance(boot, Boot)
        assert boot.cause == BootCause.POWER
        assert unit.misuse is None


def test_no_byte_on_a_serial_line_gives_a_prompt_or_stops_it(image: bytes, tmp_path: Path) -> None:
    frame = encode_frame(Who())
    with unit_of(image, tmp_path) as unit:
        heard, to_scanner = bytearray(), bytearray()
        unit.power_on()
        assert unit.chip is not None
        unit.chip.link.heard = heard.extend
        unit.chip.scanner.heard = to_scanner.extend
        unit.wait_panel("BADGE")
        for line in (unit.chip.link, unit.chip.scanner):
            line.send(bytes(range(256)) + 4 * CTRL_C + 4 * CTRL_D + b"\r\n\x00")
        for key in (CTRL_C, CTRL_D):
            for at in range(len(frame) + 1):
                unit.chip.link.send(frame[:at] + key + frame[at:])
            for at in range(len(CODE) + 1):
                unit.chip.scanner.send(CODE[:at] + key + CODE[at:] + b"\r\n")
        while not (unit.chip.link.idle and unit.chip.scanner.idle):
            unit.pass_ms(50)
        working(unit)
        reader = FrameReader()
        messages = reader.feed(bytes(heard).lstrip(b"\x00"))
        assert messages
        assert reader.noise == 0  # nothing but whole frames was ever said on the link
        for prompt in PROMPTS:
            assert prompt not in heard
        assert not to_scanner, "the unit has nothing to say to a scanner"
        assert unit.misuse is None


def linked(image: Path) -> set[str]:
    """Names of everything that is linked into the image."""
    with image.with_suffix(".elf").open("rb") as file:
        symbols = ELFFile(file).get_section_by_name(".symtab")
        assert isinstance(symbols, SymbolTableSection)
        return {symbol.name for symbol in symbols.iter_symbols()}


def test_no_compiler_and_no_usb_are_linked_into_it() -> None:
    path = flash_map.image_path()
    if path is None:
        pytest.skip("NO IMAGE OF THESE SOURCES: run `make image`; what is linked into it was not looked at")
    names = linked(path)
    assert "mp_execute_bytecode" in names
    assert not {"mp_parse", "mp_compile", "mp_lexer_new"} & names, "it could run source text"
    assert not [name for name in names if name.startswith(("tud_", "tusb_", "dcd_", "mp_usbd_"))], "it has a USB port"


def test_nothing_on_the_file_system_is_run(image: bytes, tmp_path: Path) -> None:
    intruder = b"import machine\nmachine.Pin(22, machine.Pin.OUT, value=1)\nwhile True:\n    pass\n"
    names = ("boot.py", "main.py", "main_rp2.py", "agent/__init__.py", "agent/unit.py", "lib/agent/unit.py", "gc.py")
    with unit_of(image, tmp_path, dict.fromkeys(names, intruder)) as unit:
        unit.power_on()
        unit.wait_panel("BADGE")
        assert unit.chip is not None
        assert unit.chip.mcu.gpio[UNUSED_PIN].value != 1
        working(unit)


def test_a_hung_unit_is_restarted_by_its_watchdog(image: bytes, tmp_path: Path) -> None:
    with unit_of(image, tmp_path) as unit:
        unit.power_on()
        unit.wait_panel("BADGE")
        assert unit.chip is not None
        mcu = unit.chip.mcu
        before = unit.journal()
        mcu.sram[HUNG_AT - SRAM_START : HUNG_AT - SRAM_START + len(HUNG)] = HUNG
        mcu.core.pc = HUNG_AT
        unit.pass_ms(WATCHDOG_MS / 2)
        assert unit.chip.resets == 0
        unit.pass_ms(WATCHDOG_MS / 2 + 1000)
        assert unit.chip.resets == 1
        unit.wait_until(lambda _lines: len(unit.journal()) > len(before), "a boot record", 20)
        assert unit.journal()[: len(before)] == before
        assert boot_causes(unit) == [BootCause.POWER, BootCause.WATCHDOG]


def test_an_error_restarts_the_unit_from_its_journal(image: bytes, tmp_path: Path) -> None:
    with unit_of(image, tmp_path) as unit:
        unit.power_on()
        unit.wait_panel("BADGE")
        chip = unit.chip
        assert chip is not None
        before = unit.journal()

        def wear_out(operation: FlashOperation) -> None:
            if not operation.erase and not chip.resets:
                chip.mcu.flash[operation.addr + 20] = 0  # the page does not keep what is programmed

        chip.before_operation = wear_out
        unit.scan(b"CT/BADGE/anna\r\n")
        unit.wait_until(lambda _lines: len(unit.journal()) > len(before), "a boot record", 20)
        assert chip.resets == 1
        assert unit.journal()[: len(before)] == before
        assert boot_causes(unit) == [BootCause.POWER, BootCause.SOFTWARE]
        unit.pass_ms(1000)
        unit.scan(b"CT/BADGE/anna\r\n")
        unit.wait_until(lambda _lines: any(one.operator == "anna" for one in records(unit)), "the badge", 10)
        assert chip.resets == 1


def test_a_unit_without_letter_says_so_and_waits(image: bytes, tmp_path: Path) -> None:
    tmp_path.joinpath("flash.bin").write_bytes(flash_map.blank_flash(image, None))
    with Rp2040Unit(tmp_path) as unit:
        unit.power_on()
        assert any("enrol" in line.lower() for line in unit.wait_ready())
        unit.pass_ms(WATCHDOG_MS + 1000)
        assert unit.chip is not None
        assert unit.chip.resets == 0
        assert unit.journal() == []


def scanned_while_erasing(unit: Rp2040Unit, sent: bytes, obeys: bool) -> list[Record]:
    """What is recorded when the scanner begins to send as the journal's second block is erased."""
    erases: list[FlashOperation] = []

    def scan_now(operation: FlashOperation) -> None:
        if operation.erase and operation.addr == flash_map.JOURNAL_START + 4096 and not erases:
            erases.append(operation)
            unit.scan(sent)

    unit.before_operation = scan_now
    unit.power_on()
    assert unit.chip is not None
    if not obeys:
        unit.chip.scanner._may_send = lambda: True  # three wires, or a scanner that was set up wrongly
    unit.wait_ready()
    unit.pass_ms(2000)
    assert erases
    return records(unit)


@pytest.mark.parametrize("ahead", [0, 4, 14, 19, 24])
def test_a_scan_at_any_moment_of_an_erase_is_taken_whole_or_refused(image: bytes, tmp_path: Path, ahead: int) -> None:
    """ahead: line ends of 2 ms that come before the badge, so that it begins there in the 45 ms of the erase."""
    with unit_of(image, tmp_path) as unit:
        found = scanned_while_erasing(unit, ahead * b"\r\n" + BADGE, obeys=False)
        badges = {one.operator for one in found if one.operator}
        refused = [one.body.reason for one in found if isinstance(one.body, Scan)]
        assert badges <= {OPERATOR}
        assert set(refused) <= {"truncated"}
        assert badges or refused


@pytest.mark.parametrize("obeys", [True, False])
def test_a_scan_while_flash_is_erased_is_taken_whole_or_refused(image: bytes, tmp_path: Path, obeys: bool) -> None:
    with unit_of(image, tmp_path) as unit:
        found = scanned_while_erasing(unit, LATE_BADGE, obeys)
        assert unit.chip is not None
        badges = {one.operator for one in found if one.operator}
        if obeys:
            assert badges == {OPERATOR}
            return
        assert unit.chip.mcu.uart[1].overruns > 0
        assert not badges
        refused = [one.body for one in found if isinstance(one.body, Scan)]
        assert refused
        assert {one.reason for one in refused} == {"truncated"}
        unit.scan(LATE_BADGE)
        unit.wait_until(lambda _lines: any(one.operator == OPERATOR for one in records(unit)), "the badge", 10)
