"""Wants are asked for soon, then ever more rarely, in the same words, for as long as something is missing."""

import itertools
import random

from cloud.ingest.wants import FIRST_DELAY_S, JITTER, LONGEST_PAUSE_S, WantSchedule

KID = bytes(8)
HOLE = (KID, 3, 7)


def test_a_hole_is_given_a_moment_then_asked_for_with_back_off() -> None:
    """SPEC W65."""
    schedule, asked = WantSchedule(random.Random(1)), []
    for tick in range(4 * 3600):
        schedule.update([HOLE], float(tick))
        asked += [tick for wanted in schedule.due(float(tick)) if wanted == HOLE]
    pauses = [later - earlier for earlier, later in itertools.pairwise(asked)]
    assert asked[0] >= FIRST_DELAY_S
    assert pauses[0] < pauses[2] < pauses[4]
    assert max(pauses) <= LONGEST_PAUSE_S * (1 + JITTER) + 1
    assert pauses[-1] >= LONGEST_PAUSE_S * (1 - JITTER) - 1, "it never gives up"


def test_what_was_filled_is_not_asked_for_and_what_is_left_is() -> None:
    schedule = WantSchedule(random.Random(1))
    schedule.update([HOLE], 0.0)
    assert schedule.due(FIRST_DELAY_S) == [HOLE]
    schedule.update([(KID, 3, 4), (KID, 6, 7)], 2.0)
    assert schedule.due(2.0) == [], "the rest is new and gets its moment too"
    assert schedule.due(2.0 + FIRST_DELAY_S) == [(KID, 3, 4), (KID, 6, 7)]
    schedule.update([], 100.0)
    assert schedule.due(1e9) == []
