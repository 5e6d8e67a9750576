"""Site patterns (W45): what fits, and what is taken out; which patterns cannot be used is in the reject vectors."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wire

MEDIUM = "100%%-(l%d%d%d%d)-(s%x%x%u)/(e%d%d%d%d%d%d)"


def test_a_code_that_fits_gives_its_parts() -> None:
    found = wire.compile_pattern(MEDIUM).fullmatch("100%-0042-A7Z/270131")
    assert found is not None
    assert found.groupdict() == {"lot": "0042", "serial": "A7Z", "expiry": "270131"}


@pytest.mark.parametrize(
    "code",
    [
        "",
        "100%-0042-A7Z/270131 ",
        " 100%-0042-A7Z/270131",
        "100%-0042-A77/270131",
        "100%-004A-A7Z/270131",
        "100%%-0042-A7Z/270131",
        "100%-0042-a7Z/270131",
        "100%-0042-A7Z/27013",
        "100%-٠٠٤٢-A7Z/270131",
    ],
)
def test_the_whole_code_must_fit(code: str) -> None:
    assert wire.compile_pattern(MEDIUM).fullmatch(code) is None


@given(st.text(alphabet=".*+?[]{}|^$\\A7 -", min_size=1, max_size=12))
def test_characters_without_a_meaning_stand_for_themselves(literal: str) -> None:
    compiled = wire.compile_pattern(literal)
    assert compiled.fullmatch(literal)
    assert not compiled.fullmatch(literal + literal)


@given(st.text(alphabet="%dux()sle7-", max_size=64))
def test_any_text_is_a_pattern_or_refused_by_name(text: str) -> None:
    try:
        compiled = wire.compile_pattern(text)
    except wire.PatternError:
        return
    assert isinstance(compiled, re.Pattern)
