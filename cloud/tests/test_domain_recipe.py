"""Recipes: the documented example works, every error is told at once with its place, an order says what they say."""

import re
import time
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.domain.check_digits import gtin_problem
from cloud.domain.codes import CODES
from cloud.domain.recipe import RecipeError
from cloud.domain.recipe_file import parse_recipe
from cloud.tests.domain_batch import KID, RECIPE, RECIPE_TOML
from wire import OrderLimit, peek_order, public_key_of, sign_order, verify_order

ROOT = Path(__file__).resolve().parents[2]


def test_the_documented_example_is_a_recipe() -> None:
    text = (ROOT / "cloud/RECIPES.md").read_text()
    example = re.search(r"```toml\n(.*?)```", text, re.DOTALL)
    assert example
    recipe = parse_recipe(example[1].encode())
    assert recipe.parameters[0].action_high == Decimal("37.5")
    for code in CODES:
        assert f"`{code}`" in text, f"RECIPES.md does not explain {code}"


def test_the_demonstration_recipe_makes_an_order_that_a_unit_can_verify() -> None:
    recipe = parse_recipe((ROOT / "hil_tests/recipes/car-t-demo.toml").read_bytes())
    order = recipe.to_order(number=4, kid=KID, batch="B-1", issued_ms=1, exact={"donor-bag": "=A9999"})
    seed = bytes(range(32))
    read = verify_order(sign_order(seed, order), public_key_of(seed))
    assert replace(read, raw=b"") == order
    assert [step.step for step in read.steps] == ["receive", "prime", "load", "culture", "harvest", "close"]
    assert read.limits == (OrderLimit("temperature", 365, 375, -1, 60_000, ("culture",)),)
    assert {item.item: item.needs for item in read.items} == {
        "donor-bag": 0,
        "cartridge": 5,
        "buffer": 6,
        "vector": 6,
        "filter": 6,
        "bag": 1,
    }


@pytest.mark.parametrize(
    ("toml", "sentence"),
    [
        ("x = " + "[" * 20_000 + "]" * 20_000, "line 1: longer than 2000 bytes"),
        ("x = " + "[\n" * 20_000 + "]" * 1_000, "file: lists or tables lie too deep in one another; write it as"),
        ("x = " + "{a = " * 390 + "1" + "}" * 40, "file: "),
        ("[recipe]\nid." + ".".join("a" * 30_000) + " = 1", "line 2: longer than 2000 bytes"),
        ("[recipe]\nid." + ".".join("a" * 990) + " = 1", "[recipe], id: nested lists or tables cannot be used"),
        ("[recipe]\nversion = 0x" + "f" * 60_000, "line 2: longer than 2000 bytes"),
        ("[recipe]\nversion = 0x" + "f" * 1_900, "...' cannot be used; give a whole number"),
        ("[card]\n" + '"\\u001b[2J" = 1', r"'\x1b[2J': this key is not known"),
        ("\n".join(f"a{number} = 1" for number in range(5_000)), "\nfile: 4902 more errors; correct these first"),
    ],
)
def test_a_hostile_file_costs_a_sentence(toml: str, sentence: str) -> None:
    begun_s = time.process_time()
    with pytest.raises(RecipeError) as told:
        parse_recipe(toml.encode())
    assert sentence in str(told.value)
    assert len(str(told.value)) < 15_000
    assert time.process_time() - begun_s < 5


def test_a_changed_byte_is_another_recipe() -> None:
    assert parse_recipe(RECIPE_TOML + b"\n").digest != RECIPE.digest


def test_every_error_is_told_at_once_with_place_and_remedy() -> None:
    broken = b"""
[recipe]
id = "Test Run"
version = 0
name = "x"
colour = "red"
[[item]]
id = "a"
name = "A"
gtin = "09520000010011"
needs = ["weight"]
single_use = true
[[item]]
id = "a"
name = "B"
[[step]]
id = "s"
name = "S"
scan = ["a", "b"]
max_duration_s = 1.5
[[parameter]]
channel = "t"
unit = "Cel"
action_low = 37.5
action_high = 36.5
cadence_s = 60
max_gap_s = 10
steps = ["t"]
[[parameter]]
channel = "u"
unit = "Cel"
action_high = 3.7e1
cadence_s = 1
max_gap_s = 1
[[quantity]]
item = "c"
unit = "mL"
tolerance = -1
[severity]
equivocation = "minor"
missing_step = "awful"
weather = "minor"
"""
    with pytest.raises(RecipeError) as caught:
        parse_recipe(broken)
    told = str(caught.value)
    for place, wrong in [
        ("[recipe], id", "'Test Run'"),
        ("[recipe], version", "'0'"),
        ("[recipe], colour", "not known"),
        ("[[item]] 1 ('a'), gtin", "check digit is 1, but the other digits give 0"),
        ("[[item]] 1 ('a'), needs", "'weight'"),
        ("[[item]] 1 ('a'), single_use", "serial"),
        ("[[item]] 2 ('a'), gtin", "nothing says"),
        ("[[item]]", "'a' stands there twice"),
        ("[[step]] 1 ('s'), scan", "no item 'b'"),
        ("[[step]] 1 ('s'), max_duration_s", "'1.5'"),
        ("[[parameter]] 1 ('t'), action_low", "37.5 is not below action_high 36.5"),
        ("[[parameter]] 1 ('t'), max_gap_s", "shorter than cadence_s"),
        ("[[parameter]] 1 ('t'), steps", "no step 't'"),
        ("[[parameter]] 2 ('u'), action_high", "'3.7e1'"),
        ("[[quantity]] 1 ('c'), item", "no item 'c'"),
        ("[[quantity]] 1 ('c'), tolerance", "-1 is negative"),
        ("[severity], equivocation", "always critical"),
        ("[severity], missing_step", "'awful' is no severity"),
        ("[severity], weather", "no such exception code"),
    ]:
        assert any(problem.place == place and wrong in problem.wrong for problem in caught.value.problems), (
            place,
            told,
        )
    assert all(problem.remedy for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("toml", "told"),
    [
        (b"\xff", "UTF-8"),
        (b"a = ", "not TOML"),
        (b"x" * 70_000, "larger"),
        (b"", "[recipe]"),
        (b"item = 3", "brackets"),
    ],
)
def test_a_file_that_is_no_recipe(toml: bytes, told: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(told)):
        parse_recipe(toml)


def test_decimals_are_exact() -> None:
    assert RECIPE.parameters[0].action_low == Decimal("36.5")
    assert str(RECIPE.quantities[0].tolerance) == "2.5"


def test_an_order_needs_the_codes_of_exact_items_and_no_others() -> None:
    with pytest.raises(RecipeError) as caught:
        RECIPE.to_order(number=1, kid=KID, batch="B-1", issued_ms=0, exact={"buffer": "X"})
    assert [problem.place for problem in caught.value.problems] == [
        "batch B-1, item donor-bag",
        "batch B-1, item buffer",
    ]


def test_an_order_too_large_says_so() -> None:
    steps = "".join(
        f'[[step]]\nid = "step-number-{number:04}-with-a-long-id"\nname = "{"long name " * 4}"\n'
        'scan = ["donor-bag", "buffer", "cartridge"]\n'
        for number in range(40)
    )
    recipe = parse_recipe(RECIPE_TOML.split(b"[[step]]")[0] + steps.encode())
    with pytest.raises(RecipeError, match="4096"):
        recipe.to_order(number=1, kid=KID, batch="B-1", issued_ms=0, exact={"donor-bag": "X"})


def test_a_one_sided_limit_leaves_the_other_side_open() -> None:
    recipe = parse_recipe(RECIPE_TOML.replace(b"action_low = 36.5\n", b""))
    order = recipe.to_order(number=1, kid=KID, batch="B-1", issued_ms=0, exact={"donor-bag": "X"})
    assert (order.limits[0].low, order.limits[0].high, order.limits[0].exponent) == (-(10**9), 375, -1)
    assert peek_order(sign_order(bytes(32), order)).limits == order.limits


@pytest.mark.parametrize("gtin", ["09520000010010", "04012345123456", "00012345600012"])
def test_check_digits(gtin: str) -> None:
    assert gtin_problem(gtin) is None
    for place in range(14):
        changed = gtin[:place] + str((int(gtin[place]) + 1) % 10) + gtin[place + 1 :]
        assert gtin_problem(changed)
    assert gtin_problem(gtin[1:])


_values = st.recursive(
    st.none().map(lambda _: "''")
    | st.integers().map(str)
    | st.floats().map(str)
    | st.sampled_from(["true", '"a"', "{}"]),
    lambda inner: st.lists(inner, max_size=3).map(lambda values: f"[{', '.join(values)}]"),
    max_leaves=4,
)
_keys = st.sampled_from(
    ["id", "version", "name", "gtin", "needs", "scan", "channel", "item", "action_low", "max_gap_s", "steps", "exact"]
)
_tables = st.sampled_from(
    ["[recipe]", "[[item]]", "[[step]]", "[[parameter]]", "[[quantity]]", "[rules]", "[severity]", "[item]"]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(_tables, st.dictionaries(_keys, _values, max_size=4)), max_size=6))
def test_whatever_stands_in_a_file_only_recipe_errors_come_out(tables: list[tuple[str, dict[str, str]]]) -> None:
    lines = [line for head, keys in tables for line in (head, *(f"{key} = {value}" for key, value in keys.items()))]
    with pytest.raises(RecipeError):
        parse_recipe("\n".join(lines).encode())
