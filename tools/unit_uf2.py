"""`cartrace unit uf2`: the file that makes a board a unit, for the boot loader of its RP2040.

Writes code and enrolment letter, never the flash in which a unit keeps its key and its records. Flashes nothing itself.
Flash map and steps: firmware/boards/README.md. Settings file: unit_settings.py.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from tools import board_image, flash_map
from tools.unit_settings import SETTINGS_BYTES_MAX, SettingsError, letter_of

IMAGE_BYTES_MAX = flash_map.FLASH_BYTES
OWNER_ONLY = 0o600  # the letter's random bytes go into the unit's key

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def uf2(
    output: Annotated[Path, typer.Option(help="The file to write: .uf2, or .bin to be written from 0x10000000 on.")],
    settings: Annotated[Path | None, typer.Argument(help="TOML file with what the unit is told.")] = None,
    unit: Annotated[str | None, typer.Option(help="Unit id, in place of the file's.")] = None,
    epoch: Annotated[int | None, typer.Option(help="Epoch, in place of the file's.")] = None,
    code_only: Annotated[
        bool, typer.Option("--code-only", help="No letter: new firmware for an enrolled unit.")
    ] = False,
    image: Annotated[Path | None, typer.Option(help="firmware.bin (default: what `make image` built).")] = None,
) -> None:
    """Make the file that is flashed on a new unit, or with --code-only on an enrolled one."""
    if code_only == (settings is not None):
        _fail(
            "bad_request", "give either the unit's settings file or --code-only; firmware/boards/README.md shows both"
        )
    if output.suffix not in (".uf2", ".bin"):
        _fail("bad_request", f"{output} must end in .uf2, for the boot loader, or in .bin")
    path, code = _image(image)
    letter, words = None, "new firmware for a unit that is enrolled; it keeps its key and its records"
    if settings is not None:
        name, number, letter = _letter(settings, unit, epoch)
        words = f"unit {name}, epoch {number}; for one board only, and to be deleted when it is flashed"
    regions = flash_map.factory_regions(code, letter)
    _write(output, flash_map.uf2(regions) if output.suffix == ".uf2" else flash_map.joined(regions))
    typer.echo(f"{output}: {words}")
    typer.echo(f"firmware {path.name}, {len(code)} bytes, SHA-256 {hashlib.sha256(code).hexdigest()}")


def _image(path: Path | None) -> tuple[Path, bytes]:
    found = path or board_image.built(board_image.PRODUCTION)
    if found is None:
        _fail(
            "image_missing", "the image of these sources was not built yet; run `make image`, or name one with --image"
        )
    code = _read(found, IMAGE_BYTES_MAX)
    try:
        flash_map.check_image(code)
    except flash_map.ImageUnfitError as fault:
        _fail("image_invalid", f"{found} is no image of a unit: {fault}; `make image` builds one (firmware.bin)")
    return found, code


def _letter(settings: Path, unit: str | None, epoch: int | None) -> tuple[str, int, bytes]:
    try:
        return letter_of(_read(settings, SETTINGS_BYTES_MAX), unit, epoch)
    except SettingsError as fault:
        _fail("settings_invalid", f"{settings}: {fault}")


def _read(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(most + 1)
    except OSError as error:
        _fail("file_unreadable", f"{path} cannot be read ({error.strerror}); check its path and its permissions")


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, and for this user's eyes only."""
    draft = path.with_name(path.name + ".new")
    try:
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY), "wb") as file:
            file.write(content)
        draft.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        _fail(
            "file_unwritable", f"{path} cannot be written ({error.strerror}); check its folder and the room on the disk"
        )


def _fail(code: str, sentence: str) -> NoReturn:
    typer.echo(f"{code}: {sentence}", err=True)
    raise typer.Exit(2)


if __name__ == "__main__":
    app(prog_name="cartrace unit uf2")
