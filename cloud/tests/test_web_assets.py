"""The chart library comes out of its installed wheel: two files of it are served, and its absence is said."""

from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders
from django.core.exceptions import ImproperlyConfigured

from cloud.web import assets


def test_the_script_and_the_stylesheet_are_found() -> None:
    for name in assets.SERVED:
        found = finders.find(f"vendor/{name}")
        assert isinstance(found, str)
        assert Path(found).stat().st_size > 1000


@pytest.mark.parametrize(
    "path", ["vendor/__init__.py", "vendor/../plot.py", "uPlot.iife.js", "vendor/uPlot.mousewheel.js"]
)
def test_nothing_else_of_the_wheel_is_served(path: str) -> None:
    assert not assets.ChartFinder().find(path)
    assert {name for name, _ in assets.ChartFinder().list(None)} == set(assets.SERVED)


def test_a_missing_library_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(assets, "files", nothing)
    assets.chart_directory.cache_clear()
    with pytest.raises(ImproperlyConfigured, match="install the package uplot-python"):
        assets.chart_directory()
    assets.chart_directory.cache_clear()
