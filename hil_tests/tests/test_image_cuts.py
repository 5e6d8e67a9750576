"""What the power cuts of the real image would notice: the judge complains of a flash that really lost something."""

from __future__ import annotations

from pathlib import Path

import pytest

from hil_tests.bench.board_image import JOURNAL_START
from hil_tests.bench.nor import BLOCK_BYTES, PAGE_BYTES
from hil_tests.bench.peer import CLOUD_KEY
from hil_tests.bench.rp2040_chip import FlashOperation
from hil_tests.image_cuts import CutPoint, Life, Outcome, cut_points, judge

LIFE_OF_12 = Life(
    "made up", b"", tuple(FlashOperation(number, False, 0, bytes(PAGE_BYTES), 0.0) for number in range(12)), (),
    (0,) * 12, (0,) * 12,
)  # fmt: skip


def test_cut_points_are_spread_over_every_operation() -> None:
    points = cut_points([LIFE_OF_12, LIFE_OF_12], 60)
    assert len(points) == 60
    places = {(point.life, point.number) for point in points}
    assert places == {(life, number) for life in range(2) for number in range(12)}
    kinds = {None if point.torn_bytes is None else min(point.torn_bytes, 1) for point in points}
    assert kinds == {None, 0, 1}, "after, before and torn"
    assert any(point.again for point in points)
    assert cut_points([LIFE_OF_12], 5) == cut_points([LIFE_OF_12], 12), "every operation is torn once at least"


@pytest.mark.image
@pytest.mark.timeout(600)
def test_the_judge_sees_what_a_cut_must_not_do(tmp_path: Path) -> None:
    from hil_tests.bench.rp2040_unit import Rp2040Unit

    Rp2040Unit.provision(tmp_path / "unit", cloud_public_key=CLOUD_KEY)
    flash = (tmp_path / "unit" / "flash.bin").read_bytes()
    erased = FlashOperation(1, True, JOURNAL_START, b"\xff" * BLOCK_BYTES, 0.0)
    blank_page = JOURNAL_START + 8 * PAGE_BYTES
    torn = FlashOperation(1, False, blank_page, bytes(PAGE_BYTES), 0.0)

    def outcome(operation: FlashOperation, torn_bytes: int | None) -> Outcome:
        life = Life("made up", flash, (operation,), (), (0,), (0,))
        return judge(tmp_path / "judged", life, CutPoint(0, 0, torn_bytes, None))

    assert outcome(torn, 100) == Outcome(0, 0, False)
    bad = outcome(erased, None)  # the key makes the same genesis again, and another boot record
    assert (bad.lost, bad.reused > 0, bad.hung) == (2, True, False)
