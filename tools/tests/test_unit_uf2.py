"""`cartrace unit uf2`: what is written to a board, and what is refused before it is."""

import struct
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tools import flash_map, unit_uf2
from tools.unit_settings import LETTER_BYTES_MAX, SettingsError, letter_of
from wire import cbor, public_key_of

CLOUD_KEY = public_key_of(bytes(32))
HEAD = f'unit = "U-01"\ncloud_key = "{CLOUD_KEY.hex()}"\nutc_offset = "-03:30"\n'
CHANNEL = """
[[channel]]
name = "temperature"
driver = "tmp117"
address = 0x48
quantity = "temperature"
unit = "Cel"
decimals = 2
low = -10
high = 80.0
"""
BOOT = bytes(range(252))
IMAGE = BOOT + flash_map._crc32(BOOT).to_bytes(4, "little") + b"code" * 2000


def letter(toml: str) -> dict[int, object]:
    fields = cbor.decode(letter_of(toml.encode())[2], LETTER_BYTES_MAX)
    assert isinstance(fields, dict)
    return fields


def refusal(toml: str) -> str:
    with pytest.raises(SettingsError) as refused:
        letter_of(toml.encode())
    return str(refused.value)


def test_a_letter_says_what_the_file_says() -> None:
    calibration = (
        'certificate = "CAL-1"\ndue = 2028-01-01\nsensor = "TMP117 7"\ncalibrated = 2025-12-01\noffset = -0.03\n'
    )
    lid = '[[channel]]\nname = "lid"\ndriver = "lid"\n'
    scanner = '[scanner]\nprefix = "\\u0002"\nsuffix = "\\r"\ngs = "~"\n'
    full = 'when_full = "give up the oldest"\n'
    fields = letter(HEAD + full + CHANNEL + calibration + lid + scanner)
    random = fields.pop(5)
    assert isinstance(random, bytes)
    assert len(random) == 32
    assert fields == {
        1: "U-01", 2: 1, 3: CLOUD_KEY, 6: -210, 8: {1: b"\x02", 2: b"\r", 3: b"~"}, 10: 1,
        4: [
            {1: "temperature", 2: "Cel", 3: -2, 4: -1000, 5: 8000, 6: "CAL-1", 7: 1830297600000, 8: "TMP117 7",
             9: 1764547200000, 10: -3},
            {1: "lid", 2: "1", 3: 0, 4: 0, 5: 1},
        ],
        9: [["tmp117", 0x48, "temperature"], ["lid", 0, ""]],
    }  # fmt: skip


def test_every_letter_has_random_bytes_of_its_own() -> None:
    assert letter(HEAD)[5] != letter(HEAD)[5]


def test_options_count_instead_of_the_file() -> None:
    assert letter_of(HEAD.encode(), "U-02", 3)[:2] == ("U-02", 3)


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("unit = ", "it is not TOML"),
        ("x = 1e999999999999999999999", "it is not TOML"),
        (HEAD.replace("U-01", "U 01"), "unit cannot be 'U 01'; use 1 to 32 of"),
        (HEAD.replace(CLOUD_KEY.hex(), "00" * 32), "cloud_key is refused"),
        (HEAD.replace(CLOUD_KEY.hex(), "key"), "cloud_key cannot be 'key'; copy the 64"),
        (HEAD.replace("-03:30", "3"), "utc_offset cannot be '3'"),
        (HEAD.replace("-03:30", "+15:00"), "utc_offset cannot be +15:00"),
        (HEAD + "epoch = 0", "epoch cannot be 0"),
        (HEAD + "epoch = true", "epoch cannot be True"),
        (HEAD + 'when_full = "forget"', "when_full cannot be 'forget'; use one of: refuse, give up the oldest"),
        (HEAD + "colour = 1", "colour is not known here"),
        (HEAD + "scanner = 1", "[scanner] is no table"),
        (HEAD + '[scanner]\nsuffix = "A"', "[scanner]: a byte that labels carry"),
        (HEAD + '[scanner]\nsuffix = ""', "[scanner]: the suffix must be 1 to 4 bytes"),
        (
            HEAD + CHANNEL.replace("tmp117", "max31855"),
            "[[channel]] 1, driver cannot be 'max31855'; use one of: tmp117",
        ),
        (HEAD + CHANNEL.replace('quantity = "temperature"', 'quantity = "humidity"'), "[[channel]] 1, quantity cannot"),
        (HEAD + CHANNEL.replace("Cel", "K"), "[[channel]] 1, unit cannot be 'K'; use one of: Cel"),
        (HEAD + CHANNEL.replace("80.0", "80.001"), "[[channel]] 1, high cannot be 80.001 with 2 decimals"),
        (HEAD + CHANNEL.replace("80.0", "nan"), "[[channel]] 1, high cannot be NaN; give a number"),
        (HEAD + CHANNEL.replace("80.0", "-10"), "[[channel]] 1, low is not below high"),
        (HEAD + CHANNEL.replace("0x48", "0x3C"), "[[channel]] 1, address cannot be 0x3c; the display has it"),
        (HEAD + CHANNEL.replace("address = 0x48", ""), "[[channel]] 1, address is missing"),
        (HEAD + CHANNEL + "due = 2028", "[[channel]] 1, due cannot be 2028; give a date such as"),
        (HEAD + CHANNEL + CHANNEL, "[[channel]] 2 is named temperature like one before"),
        (HEAD + "".join(CHANNEL.replace('"temperature"\nd', f'"t{n}"\nd') for n in range(9)), "channel cannot be"),
    ],
)
def test_what_a_unit_would_not_follow_is_refused_with_its_place(toml: str, said: str) -> None:
    assert said in refusal(toml)
    assert "\n" not in refusal(toml)


def test_a_uf2_file_is_what_the_boot_loader_takes() -> None:
    made = flash_map.uf2({0: b"a" * 5000, 655_360: b"b" * 4096})
    blocks = [made[at : at + 512] for at in range(0, len(made), 512)]
    fields = [struct.unpack("<8I", block[:32]) for block in blocks]
    assert all(field[:3] == (0x0A324655, 0x9E5D5157, 0x2000) and field[7] == 0xE48BFF56 for field in fields)
    assert all(block[-4:] == (0x0AB16F30).to_bytes(4, "little") for block in blocks)
    assert [field[5] for field in fields] == list(range(48))
    assert {field[6] for field in fields} == {48}
    assert {field[4] for field in fields} == {256}
    code, files = range(0x1000_0000, 0x1000_2000, 256), range(0x100A_0000, 0x100A_1000, 256)
    assert [field[3] for field in fields] == [*code, *files]
    assert b"".join(block[32:288] for block in blocks) == (b"a" * 5000).ljust(8192, b"\xff") + b"b" * 4096


@pytest.mark.parametrize("name", ["unit.uf2", "unit.bin"])
def test_no_file_touches_what_a_unit_keeps(tmp_path: Path, name: str) -> None:
    (tmp_path / "firmware.bin").write_bytes(IMAGE)
    (tmp_path / "unit.toml").write_text(HEAD + CHANNEL)
    code, said = run(tmp_path, "unit.toml", "--output", name)
    assert code == 0, said
    content = (tmp_path / name).read_bytes()
    if name.endswith(".bin"):
        assert len(content) == flash_map.SLOTS_START
        assert content.startswith(IMAGE)
    else:
        ends = [struct.unpack_from("<I", content, at + 12)[0] + 256 for at in range(0, len(content), 512)]
        assert max(ends) == flash_map.FLASH_START + flash_map.SLOTS_START
    assert (tmp_path / name).stat().st_mode & 0o077 == 0
    assert "unit U-01, epoch 1" in said


def test_new_firmware_brings_no_letter(tmp_path: Path) -> None:
    (tmp_path / "firmware.bin").write_bytes(IMAGE)
    code, said = run(tmp_path, "--code-only", "--output", "new.bin")
    assert (code, (tmp_path / "new.bin").read_bytes()) == (0, IMAGE), said


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--output", "u.uf2"], "bad_request"),
        (["unit.toml", "--code-only", "--output", "u.uf2"], "bad_request"),
        (["unit.toml", "--output", "u.hex"], "bad_request"),
        (["nowhere.toml", "--output", "u.uf2"], "file_unreadable"),
        (["unit.toml", "--unit", "", "--output", "u.uf2"], "settings_invalid"),
        (["unit.toml", "--output", "nowhere/u.uf2"], "file_unwritable"),
    ],
)
def test_a_refusal_is_one_sentence_with_a_code(tmp_path: Path, arguments: list[str], code: str) -> None:
    (tmp_path / "firmware.bin").write_bytes(IMAGE)
    (tmp_path / "unit.toml").write_text(HEAD)
    exit_code, said = run(tmp_path, *arguments)
    assert (exit_code, said.split(":")[0], len(said.splitlines())) == (2, code, 1)
    assert not list(tmp_path.glob("u.*"))


@pytest.mark.parametrize("image", [b"", IMAGE[:300].replace(b"\x07", b"\x08"), IMAGE.ljust(655_361, b"\xff")])
def test_what_the_chip_would_not_start_is_not_packed(tmp_path: Path, image: bytes) -> None:
    (tmp_path / "firmware.bin").write_bytes(image)
    exit_code, said = run(tmp_path, "--code-only", "--output", "u.uf2")
    assert (exit_code, said.split(":")[0], len(said.splitlines())) == (2, "image_invalid", 1)


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    """The command in folder, with the image there."""
    placed = [str(folder / part) if "." in part else part for part in arguments]
    done = CliRunner().invoke(unit_uf2.app, [*placed, "--image", str(folder / "firmware.bin")])
    return done.exit_code, done.output
