"""Uptime on both boards, over the wraps of MicroPython's ticks, with the boards' modules replaced by empty ones."""

import importlib
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest

TICKS = 1 << 30  # time.ticks_ms() of both ports counts so far
HOUR_MS = 3_600_000
MODULES = ("machine", "rp2", "vfs", "micropython")


class Ticks:
    """MicroPython's ticks_ms and ticks_diff, and a way to let time pass."""

    def __init__(self, passed_ms: int) -> None:
        self.passed_ms = passed_ms

    def ticks_ms(self) -> int:
        return self.passed_ms % TICKS

    def ticks_diff(self, later: int, earlier: int) -> int:
        return (later - earlier + TICKS // 2) % TICKS - TICKS // 2


@pytest.fixture(params=["agent.hal.rp2", "agent.hal.unix"])
def hal_module(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in MODULES:
        stub = types.ModuleType(name)
        stub.Flash = object  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, stub)
    loaded = (request.param, "agent.hal.rp2_flash")
    for name in loaded:
        sys.modules.pop(name, None)
    yield importlib.import_module(request.param)
    for name in loaded:
        sys.modules.pop(name, None)


def test_uptime_never_wraps(hal_module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = Ticks(TICKS - HOUR_MS // 2)  # the first wrap comes soon after the boot
    monkeypatch.setattr(hal_module, "time", ticks)
    hal = object.__new__(hal_module.Hal)
    hal._ticks, hal._real_ms = ticks.ticks_ms(), 0
    for hours in range(1, 60 * 24):  # past 2**32 ms, and four wraps
        ticks.passed_ms += HOUR_MS
        assert hal.real_ms() == hours * HOUR_MS
