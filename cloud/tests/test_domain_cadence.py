"""A required value that was hardly measured, or not at all, in a time too short for a gap (R56, DECISIONS 40)."""

import pytest

from cloud.domain.report import ExceptionItem
from cloud.tests.domain_batch import Unit, found, good_batch, report_of
from wire import StepAction


def gaps(cultured_s: float, samples: int, every_s: float) -> list[ExceptionItem]:
    """What is said of a culture that lasts cultured_s, with samples (one to a record) every so often."""

    def culture(unit: Unit) -> None:
        unit.step("culture", StepAction.START)
        for _ in range(samples):
            unit.wait(every_s)
            unit.samples([3700])
        unit.wait(cultured_s - samples * every_s)
        unit.step("culture", StepAction.DONE)

    return found(report_of(good_batch(culture=culture)), "sensor_gap")


@pytest.mark.parametrize("cultured_s", [2.0, 170.0, 1700.0])
def test_a_required_time_without_one_sample_is_a_gap_however_short(cultured_s: float) -> None:
    (gap,) = gaps(cultured_s, 0, 0)
    assert (gap.severity, gap.step, gap.spoils) == ("major", "culture", True)
    assert "no usable sample at all" in gap.message


def test_a_time_shorter_than_one_sample_s_interval_needs_none() -> None:
    assert gaps(0.9, 0, 0) == []


@pytest.mark.parametrize(("samples", "every_s"), [(9, 170.0), (15, 10.0)])
def test_far_fewer_samples_than_the_cadence_says_are_told_and_spoil_nothing(samples: int, every_s: float) -> None:
    (gap,) = gaps(samples * every_s, samples, every_s)
    assert (gap.severity, gap.spoils) == ("minor", False)
    assert f"{samples} usable samples" in gap.message
    assert "every 1 s" in gap.message


@pytest.mark.parametrize("every_s", [1.0, 1.9])
def test_half_of_what_the_cadence_says_is_enough(every_s: float) -> None:
    assert gaps(60 * every_s, 60, every_s) == []


def test_a_gap_that_is_too_long_is_said_once() -> None:
    (gap,) = gaps(400.0, 2, 1.0)
    assert gap.severity == "major"
    assert "at most 3 min are allowed" in gap.message
