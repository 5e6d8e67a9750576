"""Curves for the chart: gaps stay gaps whatever made them, and nothing is drawn between their ends."""

from cloud.domain.report import ExcursionFact, LimitBand, SampleSeries
from cloud.web import chart


def series(
    times_ms: list[int], values: list[int | None], marks: list[int] | None = None, **more: object
) -> SampleSeries:
    fields: dict[str, object] = {"bands": (), "excursions": (), "thinned": False} | more
    chosen = tuple(marks or [0] * len(values))
    return SampleSeries("temperature", "Cel", -2, tuple(times_ms), tuple(values), chosen, **fields)  # type: ignore[arg-type]


def test_a_steady_curve_is_not_broken() -> None:
    curve = chart.curve(series([0, 1000, 2000], [3700, 3701, 3702]))
    assert curve["values"] == [37.0, 37.01, 37.02]
    assert curve["gaps"] == []
    assert curve["words"] == "no limit in the recipe; no excursion; no gap"


def test_missing_samples_break_the_line_from_the_last_value_to_the_next() -> None:
    curve = chart.curve(series([0, 1000, 2000, 3000, 4000], [3700, 3700, None, None, 3710], [0, 0, 1, 1, 0]))
    assert curve["gaps"] == [{"from_ms": 1000, "until_ms": 4000, "why": "missing"}]
    assert curve["times_ms"] == [0, 1000, 2000, 4000]
    assert curve["values"] == [37.0, 37.0, None, 37.1]


def test_a_jump_in_time_is_a_gap_though_no_sample_says_so() -> None:
    times_ms = [*range(0, 10_000, 1000), *range(60_000, 70_000, 1000)]
    curve = chart.curve(series(times_ms, [3700] * 20))
    assert curve["gaps"] == [{"from_ms": 9000, "until_ms": 60_000, "why": "no records"}]
    assert curve["values"].count(None) == 1
    assert curve["times_ms"] == sorted(curve["times_ms"])


def test_gaps_at_both_ends_are_named() -> None:
    curve = chart.curve(series([0, 1000, 2000, 3000], [None, 3700, None, None], [4, 0, 1, 4]))
    assert [gap["from_ms"] for gap in curve["gaps"]] == [0, 1000]
    assert [gap["until_ms"] for gap in curve["gaps"]] == [1000, 3000]
    assert curve["gaps"][1]["why"] == "missing, sensor fault"


def test_values_that_are_stuck_or_out_of_range_are_drawn() -> None:
    assert chart.curve(series([0, 1000], [3700, 9900], [2, 3]))["values"] == [37.0, 99.0]


def test_limits_and_excursions_come_along() -> None:
    excursion = ExcursionFact("temperature", "action", "high", "37.5", "Cel", "culture", 0, None, 5000, "38.0", "1", ())
    curve = chart.curve(
        series([0, 1000], [3700, 3800], bands=(LimitBand("action", None, "37.5"),), excursions=(excursion,))
    )
    assert curve["limits"] == [{"band": "action", "low": None, "high": 37.5}]
    assert curve["excursions"] == [{"from_ms": 0, "until_ms": None, "band": "action", "side": "high"}]
    assert curve["words"] == "action limits none to 37.5 °C; 1 excursion; no gap"


def test_a_thinned_curve_is_not_torn_where_points_were_left_out() -> None:
    times_ms = [position * 1000 * (1 + position % 2 * 0) + (position % 2) * 700 for position in range(200)]
    assert chart.curve(series(times_ms, [3700] * 200, thinned=True))["gaps"] == []


def test_channels_without_a_sample_are_left_out() -> None:
    assert chart.curves([series([], [])]) == {"channels": []}
