"""Columns of samples unpack to what was packed, by the quick way and the general one alike (W30)."""

from hypothesis import given
from hypothesis import strategies as st

from wire.samples import Mark, Sample, pack_column, plain_values, unpack_column

_SMALL_STEPS = st.lists(st.integers(3600, 3660), max_size=60)
_ANY_STEPS = st.lists(st.integers(-(2**50), 2**50), max_size=20)


@given(_SMALL_STEPS | _ANY_STEPS | st.tuples(_ANY_STEPS, _SMALL_STEPS).map(lambda parts: parts[0] + parts[1]))
def test_what_was_packed_is_unpacked(values: list[int]) -> None:
    assert unpack_column(pack_column(values)) == values


def test_plain_values_are_those_of_a_channel_without_marks() -> None:
    series = ((Sample(1), Sample(2)), (Sample(1), Sample(None, Mark.FAULT)), (Sample(1), Sample(2, Mark.STUCK)))
    assert [plain_values(series, index) for index in range(3)] == [[1, 2], None, None]
