"""How the domain says durations to QA."""

import pytest

from cloud.domain.words import duration, told_apart


@pytest.mark.parametrize(
    ("span_ms", "limit_ms", "expected"),
    [
        (240_000, 180_000, ("4 min", "3 min")),
        (180_001, 180_000, ("180.001 s", "180.000 s")),
        (7_205_000, 7_200_000, ("7205.000 s", "7200.000 s")),  # both are "2 h" in the two largest units
        (180_000, 180_000, ("3 min", "3 min")),
    ],
)
def test_a_span_beyond_its_limit_never_reads_like_the_limit(
    span_ms: int, limit_ms: int, expected: tuple[str, str]
) -> None:
    assert told_apart(span_ms, limit_ms) == expected
    assert duration(7_205_000) == "2 h"
