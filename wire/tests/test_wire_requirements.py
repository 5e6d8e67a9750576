"""Every MUST of SPEC.md that has a number is named by a test or a vector somewhere in the repository.

This asks that somebody looked, not that the test is good. A number that nobody names is printed.
"""

import re
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent.parent
HOUSES = ("wire", "firmware", "gateway", "cloud", "hil_tests")
NUMBER = re.compile(r"\bW\d{1,2}\b")
ITSELF = Path(__file__).resolve()


def specified() -> set[str]:
    text = (REPOSITORY / "wire" / "SPEC.md").read_text(encoding="utf-8")
    return set(re.findall(r"\*\*(W\d+)\*\*", text))


def naming_files() -> list[Path]:
    """Test files of every house, and the vectors."""
    tests = [path for house in HOUSES for path in (REPOSITORY / house).rglob("test_*.py")]
    return [path for path in tests if path.resolve() != ITSELF] + sorted((REPOSITORY / "wire/vectors").glob("*.json"))


def test_every_numbered_must_is_named() -> None:
    named: set[str] = set()
    for path in naming_files():
        named |= set(NUMBER.findall(path.read_text(encoding="utf-8")))
    missing = sorted(specified() - named, key=lambda number: int(number[1:]))
    assert not missing, f"no test or vector names {', '.join(missing)} of wire/SPEC.md"
    unknown = sorted(named - specified())
    assert not unknown, f"tests or vectors name {', '.join(unknown)}, which wire/SPEC.md does not have"
