"""Makes a new simulated board in a folder, with its flash and its genesis record, or leaves everything as it was.

Decides what may be asked; whatever goes wrong is one sentence. All is made in a folder within the board's own and then
moved to its place, the flash last: a folder that holds `flash.bin` holds a whole unit, and one that can be enrolled.
"""

from __future__ import annotations

import contextlib
import errno
import shutil
import subprocess
from pathlib import Path

from hil_tests.bench.image import firmware_image
from hil_tests.bench.request import RequestError
from hil_tests.bench.unix_unit import UnixUnit
from tools.unit_settings import EPOCH_MAX, NAME, OFFSET_MIN_MAX
from wire import WireError, check_public_key

FLASH, GENESIS, DRAFT = "flash.bin", "genesis.cbor", "being-made"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
NO_FOLDER = (errno.EEXIST, errno.ENOTDIR)


def make(
    directory: Path, *, unit: str, epoch: int, cloud_key: str, site_offset_min: int, genesis: Path | None = None
) -> Path:
    """The path of the new unit's genesis record: `genesis`, or a file in directory.

    cloud_key: 64 hexadecimal digits. Raises RequestError.
    """
    _check(unit, epoch, site_offset_min)
    key, genesis = _key(cloud_key), genesis or directory / GENESIS
    draft, missing = directory / DRAFT, list[Path]()
    firmware_image()  # made when missing, in a folder of the bench: from here on a full disk is the board's
    try:
        if (directory / FLASH).exists():
            raise RequestError(
                "board_exists", f"{directory} holds a provisioned board already; choose another directory"
            )
        missing = [folder for folder in (directory, *directory.parents) if not folder.exists()]  # innermost first
        directory.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(draft, ignore_errors=True)  # of one that was killed
        record = UnixUnit.provision(
            draft, unit=unit, epoch=epoch, cloud_public_key=key, site_offset_min=site_offset_min
        )
        _write(genesis, record)
        (draft / FLASH).replace(directory / FLASH)
    except OSError as error:
        raise _unwritable(directory, error) from error
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(
            "the unit was not ready in time; let the machine finish what else it does, and try again"
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        with contextlib.suppress(OSError):  # one that holds something stays
            for folder in missing:
                folder.rmdir()
    return genesis


def _check(unit: str, epoch: int, site_offset_min: int) -> None:
    if not NAME.fullmatch(unit):
        raise RequestError("bad_request", f"--unit cannot be {unit!r}; use 1 to 32 of A-Z a-z 0-9 _ and -")
    for option, number, least, most in (
        ("--epoch", epoch, 1, EPOCH_MAX),
        ("--site-offset-min", site_offset_min, -OFFSET_MIN_MAX, OFFSET_MIN_MAX),
    ):
        if not least <= number <= most:
            raise RequestError(
                "bad_request", f"{option} cannot be {number}; give a whole number from {least} to {most}"
            )


def _key(digits: str) -> bytes:
    try:
        key = bytes.fromhex(digits)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise RequestError(
            "bad_cloud_key",
            "--cloud-key takes the cloud's public key itself, 64 hexadecimal digits, and no file; "
            "`cartrace cloud key` prints it",
        )
    try:
        check_public_key(key)
    except WireError as error:
        raise RequestError(
            "bad_cloud_key", f"--cloud-key is refused ({error}); copy it again from `cartrace cloud key`"
        ) from error
    return key


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all; a pipe or a device takes it as it comes."""
    draft = path.with_name(path.name + ".new")
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(content)
            return
        draft.write_bytes(content)
        draft.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> RequestError:
    if error.errno in NO_ROOM:
        return RequestError("disk_full", f"{path} cannot be written: its disk is full; free some room, or name another")
    why = "something in its path is no folder" if error.errno in NO_FOLDER else error.strerror
    return RequestError(
        "file_unwritable", f"{path} cannot be written ({why}); name another, or correct its permissions"
    )
