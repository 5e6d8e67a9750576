"""Which tests one process runs under `pytest -n 2 --dist loadgroup`: those that share what takes long to make.

By our own rule: pytest-xdist 3.8 loses its marks of groups under pytest 9.2, says nothing, and makes everything twice.
"""

from pathlib import Path
from typing import Any

import pytest

GROUPS = {  # file: group. The tests of every other file are shared out one by one.
    "test_web_browser.py": "browser",
    "test_cloud_ingest.py": "ingest",
    "test_story.py": "story",
    "test_checker_complains.py": "story",
    "test_pages_of_the_story.py": "story",
    "test_chain_refusals.py": "chain",
    "test_card_read_back.py": "card",
}
MADE_ONCE = {"told": "story"}  # fixture: the only group that may ask for it


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A file that is forgotten in GROUPS would cost its minute in silence."""
    for item in items:
        arguments = getattr(getattr(item, "callspec", None), "params", ())  # which may have the same name
        for fixture in getattr(item, "fixturenames", ()):
            group = None if fixture in arguments else MADE_ONCE.get(fixture)
            if group not in (None, GROUPS.get(item.path.name)):
                raise pytest.UsageError(f"{item.nodeid} needs {fixture}, which is made once: add its file to GROUPS")


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    if config.getoption("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class Grouped(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return GROUPS.get(Path(nodeid.partition("::")[0]).name, nodeid)

    return Grouped(config, log)
