"""Finds the chart library's script and stylesheet inside its installed wheel and serves them as our static files.

Nothing minified is committed and nothing comes from a CDN (plants block it, and the content policy forbids it). The
package itself is never imported: it would drag in a notebook shell; only two of its files are read.
"""

from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

from django.contrib.staticfiles.finders import BaseFinder
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import FileSystemStorage

CHART_WHEEL = "uplot-python"
PREFIX = "vendor"
SERVED = ("uPlot.iife.js", "uPlot.min.css")


@cache
def chart_directory() -> Path:
    """The folder of the installed chart library. Raises ImproperlyConfigured, with a sentence, when there is none."""
    try:
        installed = files(CHART_WHEEL) or []
    except PackageNotFoundError:
        installed = []
    for entry in installed:
        if entry.name == SERVED[0]:
            return Path(str(entry.locate())).parent
    raise ImproperlyConfigured(
        f"The chart library is missing: install the package {CHART_WHEEL} (without its dependencies)."
    )


class ChartFinder(BaseFinder):
    """Static files finder: `vendor/uPlot.iife.js` and `vendor/uPlot.min.css`, and no other file of the wheel."""

    def check(self, **kwargs: Any) -> list[Any]:
        return []

    def find(self, path: str, find_all: bool = False, **kwargs: Any) -> Any:
        """The absolute path of a served file, or nothing (Django's finder contract)."""
        folder, _, name = path.rpartition("/")
        if folder != PREFIX or name not in SERVED:
            return []
        found = str(chart_directory() / name)
        return [found] if find_all else found

    def list(self, ignore_patterns: Iterable[str] | None) -> Iterable[tuple[str, FileSystemStorage]]:
        storage = FileSystemStorage(location=chart_directory())
        storage.prefix = PREFIX  # type: ignore[attr-defined]  # how Django's own finders name the folder of a storage
        return [(name, storage) for name in SERVED]
