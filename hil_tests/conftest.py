"""Which benches the tests that ask for `bench` run on: `pytest --bench unix|rp2040|both`.

Without the option they run on the unix bench, and on the RP2040 bench too when there is an image of the firmware.
When there is none, the end of the run says aloud that this tier was left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from hil_tests.bench.peer import CLOUD_KEY
from hil_tests.bench.words import BenchUnit

BENCHES = {"unix": ("unix",), "rp2040": ("rp2040",), "both": ("unix", "rp2040")}
EMULATOR_LIMIT_S = 900  # a hang, not a speed limit: the emulated chip is ten times slower than the real one
NOT_RUN = "RP2040 tier not run: no image (make image builds it)"


@dataclass(frozen=True)
class Bench:
    """One kind of bench: provision(directory) gives the genesis record, unit(directory) a unit that is off."""

    name: str
    provision: Callable[[Path], bytes]
    unit: Callable[[Path], BenchUnit]


def _unix() -> Bench:
    from hil_tests.bench.unix_unit import UnixUnit

    return Bench("unix", lambda directory: UnixUnit.provision(directory, cloud_public_key=CLOUD_KEY), UnixUnit)


def _rp2040() -> Bench:
    from hil_tests.bench.rp2040_unit import Rp2040Unit

    return Bench("rp2040", lambda directory: Rp2040Unit.provision(directory, cloud_public_key=CLOUD_KEY), Rp2040Unit)


def _has_image() -> bool:
    from hil_tests.bench.board_image import image_path

    return image_path() is not None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bench", choices=sorted(BENCHES), help="benches to run on (default: unix, rp2040 with an image)")


def _chosen(config: pytest.Config) -> tuple[str, ...]:
    option = config.getoption("--bench")
    if option is None:
        return BENCHES["both" if _has_image() else "unix"]
    if "rp2040" in BENCHES[option] and not _has_image():
        raise pytest.UsageError(f"--bench {option}: no image of the firmware (make image builds it)")
    return BENCHES[option]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "bench" in metafunc.fixturenames:
        marks = {"unix": (), "rp2040": (pytest.mark.image, pytest.mark.timeout(EMULATOR_LIMIT_S))}
        names = _chosen(metafunc.config)
        metafunc.parametrize("bench", [pytest.param(name, marks=marks[name]) for name in names], indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests of the image itself have nothing to run on without one: left out, and said at the end."""
    if _has_image():
        return
    here = Path(__file__).parent
    left_out = [item for item in items if item.get_closest_marker("image") and here in item.path.parents]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if not _has_image() and config.getoption("--bench") != "unix":
        terminalreporter.section(NOT_RUN, red=True, bold=True)


@pytest.fixture
def bench(request: pytest.FixtureRequest) -> Bench:
    return {"unix": _unix, "rp2040": _rp2040}[request.param]()
