"""The wall clock, and the accelerated one of a demonstration."""

import time

import pytest

from wire.clock import VARIABLE, Clock


def test_real_time() -> None:
    clock = Clock.from_environment({})
    before = time.time_ns() // 1_000_000
    assert before <= clock.now_ms() <= time.time_ns() // 1_000_000
    assert (clock.demo, clock.speed) == (False, 1.0)


def test_demonstration_time_runs_faster_from_its_own_origin() -> None:
    shown = [5_000]
    clock = Clock(5_000, 1_000_000, 60.0, real_now_ms=lambda: shown[0])
    assert clock.now_ms() == 1_000_000
    shown[0] += 250
    assert clock.now_ms() == 1_015_000
    assert clock.demo


def test_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    now_ms = time.time_ns() // 1_000_000
    monkeypatch.setenv(VARIABLE, f"{now_ms},1793190000000,120")
    clock = Clock.from_environment()
    assert (clock.demo, clock.speed) == (True, 120.0)
    assert 1_793_190_000_000 <= clock.now_ms() < 1_793_190_000_000 + 120 * 60_000


@pytest.mark.parametrize("asked", ["1", "1,2", "1,2,0", "1,2,-3", "1,2,nan", "1,2,inf", "a,b,c", "1,2,3,4"])
def test_a_wrong_setting_says_what_to_write(asked: str) -> None:
    with pytest.raises(ValueError, match=r"write real_origin_ms,shown_origin_ms,speed"):
        Clock.from_environment({VARIABLE: asked})
