"""The chart's series: true times, nothing invented, and thinning that hides no extreme and no mark."""

from cloud.domain.series import sample_series
from cloud.tests.domain_batch import PLAN, RECIPE, START_MS, Unit, good_batch, report_of
from wire import Mark, StepAction


def _batch() -> Unit:
    def culture(unit: Unit) -> None:
        unit.step("culture", StepAction.START)
        unit.measure(2)
        unit.wait(60)
        unit.samples([3700] * 17 + [3799] + [3700] * 42)
        unit.wait(60)
        unit.samples([3700] * 30 + [None] * 5 + [3790] + [3700] * 24, dict.fromkeys(range(30, 35), Mark.FAULT))
        unit.measure(3, 3760)
        unit.step("culture", StepAction.DONE)

    return good_batch(culture=culture)


def test_every_sample_has_its_time_value_and_mark() -> None:
    unit = _batch()
    report = report_of(unit)
    [series] = sample_series(unit.records, RECIPE, report)
    assert (series.channel, series.unit, series.exponent, series.thinned) == ("temperature", "Cel", -2, False)
    assert len(series.times_ms) == len(series.values) == len(series.marks) == 7 * 60
    assert series.times_ms[-1] == START_MS + unit.records[-5].uptime_ms
    assert set(series.marks[210:215]) == {int(Mark.FAULT)}
    assert set(series.values[210:215]) == {None}
    assert [(band.band, band.low, band.high) for band in series.bands] == [
        ("alert", None, "37.2"),
        ("action", "36.5", "37.5"),
    ]
    assert [one.band for one in series.excursions if one.band == "action"] == ["action"]
    assert series.to_json()["times_ms"][0] == series.times_ms[0]


def test_thinning_keeps_extremes_and_marks() -> None:
    unit = _batch()
    [series] = sample_series(unit.records, RECIPE, report_of(unit, PLAN), max_points=20)
    assert series.thinned
    assert len(series.values) < 60
    assert {3790, 3799} <= set(series.values)
    assert int(Mark.FAULT) in series.marks


def test_a_restart_keeps_wall_time() -> None:
    def culture(unit: Unit) -> None:
        unit.step("culture", StepAction.START)
        unit.measure(1)
        unit.restart()
        unit.measure(1)
        unit.step("culture", StepAction.DONE)

    unit = good_batch(culture=culture)
    [series] = sample_series(unit.records, RECIPE, report_of(unit))
    assert list(series.times_ms) == sorted(series.times_ms)


def test_samples_that_nothing_describes_are_left_out() -> None:
    unit = _batch()
    assert sample_series(unit.records[1:], RECIPE, report_of(unit)) == ()
