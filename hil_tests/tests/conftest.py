"""The story is played once for all tests of a session; what it left behind stays up until they are done."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hil_tests import figures
from hil_tests.bench.unix_unit import HEAP_BYTES
from hil_tests.checker import Truth
from hil_tests.stage import Stage
from hil_tests.story import DEFAULT_SPEED, Story

HEAP_RESERVE_BYTES = 4 * 1024  # the story does without these: a unit on a busy machine must not come near its end


@dataclass
class Told:
    """A story that has been told: the stage with its units switched off, and what came of it."""

    stage: Stage
    story: Story
    settled: bool
    log: list[str] = field(default_factory=list)

    @property
    def outcome(self) -> dict[str, Any]:
        return figures.outcome(self.stage)

    def report(self, number: int) -> dict[str, Any]:
        return figures.reports(self.stage)[self.story.batch_of(number)]

    def truth(self) -> Truth:
        tampering = self.story.tampering
        return Truth(
            journals={name: unit.journal() for name, unit in self.stage.units.items()},
            cloud_public_key=self.stage.cloud_key,
            removed=tuple(tampering.removed),
            refused=(*tampering.altered, *tampering.forged),
            receipts=tuple(self.stage.witness.receipts),
        )


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory, testrun_uid: str) -> Iterator[Told]:
    try:
        (tmp_path_factory.getbasetemp().parent / f"told-{testrun_uid}").touch(exist_ok=False)
    except FileExistsError:
        pytest.fail("another process tells the story already, which costs a minute: see GROUPS in conftest.py")
    log: list[str] = []
    folder, heap_bytes = tmp_path_factory.mktemp("story") / "state", HEAP_BYTES - HEAP_RESERVE_BYTES
    with Stage(folder, speed=DEFAULT_SPEED, web=True, heap_bytes=heap_bytes) as stage:
        stage.rise()
        story = Story(stage, log.append, threading.Event())
        story.play()
        settled = story.settle()
        yield Told(stage, story, settled, log)


@pytest.fixture(scope="session")
def report_folder() -> Path:
    """Where pictures for people go."""
    folder = Path(__file__).parents[2] / "test-report"
    folder.mkdir(exist_ok=True)
    return folder
