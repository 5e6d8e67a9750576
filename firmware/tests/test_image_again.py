"""The same inputs give the same image, whatever the folder it is built in and however often."""

import shutil
from pathlib import Path

import pytest

from tools import board_image, image_inputs

BUILDS_LIMIT_S = 1200


@pytest.mark.image
@pytest.mark.exhaustive
@pytest.mark.timeout(BUILDS_LIMIT_S)
def test_two_folders_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = [one.file for one in image_inputs.locked() if not one.is_here]
    if missing:
        pytest.skip(f"NOT BUILT AGAIN: run `make image` first, which downloads {missing}")
    ours = board_image.sources(board_image.PRODUCTION)
    monkeypatch.setattr(board_image, "sources", lambda _variant: ours)  # also when somebody saves a file meanwhile
    here = board_image.build(board_image.PRODUCTION).read_bytes()
    elsewhere = tmp_path / "in-a" / "deeper-place"
    monkeypatch.setattr(board_image, "CACHE", elsewhere)  # all is unpacked and made anew
    monkeypatch.setenv("PYTHONSAFEPATH", "1")  # as `cartrace bench` runs its programs
    again = board_image.build(board_image.PRODUCTION).read_bytes()
    shutil.rmtree(elsewhere)
    assert again == here
    assert str(elsewhere).encode() not in again
    assert str(image_inputs.ROOT).encode() not in here
