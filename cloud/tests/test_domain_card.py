"""What stands on a technician's card: a code for all that a recipe's work needs, and a word about what has none."""

from decimal import Decimal

import pytest

from cloud.domain.card import PER_SHEET, CardError, Sheet, badges, recipe_card
from cloud.domain.recipe import REASONS, RecipeError
from cloud.domain.recipe_file import parse_recipe

HEAD = """
[recipe]
id = "r"
version = 1
name = "R"
[[item]]
id = "buffer"
name = "Wash buffer"
gtin = "09520000010027"
[[step]]
id = "wash"
name = "Wash"
"""
QUANTITY = '[[quantity]]\nitem = "buffer"\nunit = "mL"\n'


def card(toml: str) -> tuple[Sheet, ...]:
    return recipe_card(parse_recipe(toml.encode()))


def codes(sheets: tuple[Sheet, ...]) -> list[str]:
    return [symbol.code for sheet in sheets for symbol in sheet.symbols]


def test_a_card_has_every_code_once() -> None:
    usual = "usual = { issued = [500], used = [450.50, 7] }\n"
    made = codes(card(HEAD + QUANTITY + usual + '[card]\nreasons = ["Spill", "As told"]\n'))
    assert made == [
        "CT/BATCH/OPEN", "CT/STEP/DONE", "CT/ALARM/ACK", "CT/BATCH/CLOSE", "CT/STEP/START/wash",
        "CT/QTY/buffer/issued/500/mL", "CT/QTY/buffer/used/450.5/mL", "CT/QTY/buffer/used/7/mL",
        "CT/OVERRIDE/Spill", "CT/OVERRIDE/As told", "CT/STEP/SKIP/wash/Spill", "CT/STEP/REPEAT/wash/Spill",
        "CT/NOTE/Spill", "CT/NOTE/As told", "CT/BATCH/ABORT/Spill", "CT/BATCH/ABORT/As told",
    ]  # fmt: skip


def test_a_recipe_without_reasons_has_general_ones() -> None:
    assert [code for code in codes(card(HEAD)) if "OVERRIDE" in code] == [f"CT/OVERRIDE/{reason}" for reason in REASONS]
    assert not any(sheet.title == "Amounts" for sheet in card(HEAD))


def test_amounts_that_are_not_printed_are_named() -> None:
    [amounts] = [sheet for sheet in card(HEAD + QUANTITY) if sheet.title == "Amounts"]
    assert amounts.symbols == ()
    assert amounts.hint.startswith("No amount is printed for buffer:")


def test_no_sheet_is_longer_than_a_page() -> None:
    many = "".join(f'[[step]]\nid = "s{number}"\nname = "S"\n' for number in range(24))
    sheets = card(HEAD + many)
    assert max(len(sheet.symbols) for sheet in sheets) == PER_SHEET
    assert [len(sheet.symbols) for sheet in sheets if sheet.title == "Start a step"] == [8, 8, 8, 1]


def test_what_a_scanner_would_change_is_not_printed() -> None:
    with pytest.raises(CardError, match="ASCII"):
        card(HEAD + QUANTITY.replace("mL", "µL") + "usual = { used = [1] }")
    with pytest.raises(CardError, match="'OP 1' cannot be a badge"):
        badges(["OP-1", "OP 1"])


def test_a_badge_is_a_code() -> None:
    assert codes(badges(["OP-114", "anna.b"])) == ["CT/BADGE/OP-114", "CT/BADGE/anna.b"]


@pytest.mark.parametrize(
    ("lines", "place"),
    [
        (QUANTITY + "usual = { used = [0] }", "[[quantity]] 1 ('buffer'), usual, used"),
        (QUANTITY + "usual = { used = [-1] }", "[[quantity]] 1 ('buffer'), usual, used"),
        (QUANTITY + 'usual = { used = ["5"] }', "[[quantity]] 1 ('buffer'), usual, used"),
        (QUANTITY + "usual = { used = [[5], [5]] }", "[[quantity]] 1 ('buffer'), usual, used"),
        (QUANTITY + "usual = { used = [5, 5.0] }", "[[quantity]] 1 ('buffer'), usual, used"),
        (QUANTITY + "usual = { used = [123456789.1234567] }", "[[quantity]] 1 ('buffer'), usual, used"),
        (QUANTITY + "usual = { used = [1, 2, 3, 4, 5, 6, 7] }", "[[quantity]] 1 ('buffer'), usual, used"),
        (QUANTITY + "usual = { drunk = [5] }", "[[quantity]] 1 ('buffer'), usual, drunk"),
        (QUANTITY + "usual = 5", "[[quantity]] 1 ('buffer'), usual"),
        ("[card]\nreasons = []", "[card], reasons"),
        ('[card]\nreasons = "x"', "[card], reasons"),
        ('[card]\nreasons = ["x", "x"]', "[card], reasons"),
        ('[card]\nreasons = ["Störung"]', "[card], reasons"),
        ("[card]\nreasons = [{}, {}]", "[card], reasons"),
        (f'[card]\nreasons = ["{65 * "x"}"]', "[card], reasons"),
        ('[card]\ncolour = "red"', "[card], colour"),
    ],
)
def test_what_no_card_can_have_is_refused_with_the_recipe(lines: str, place: str) -> None:
    with pytest.raises(RecipeError) as refused:
        parse_recipe((HEAD + lines).encode())
    assert [problem.place for problem in refused.value.problems] == [place]


def test_amounts_are_exact() -> None:
    [rule] = parse_recipe((HEAD + QUANTITY + "usual = { used = [0.1] }").encode()).quantities
    assert rule.usual == (("used", Decimal("0.1")),)
