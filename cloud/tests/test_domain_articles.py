"""Items that are no GS1 articles, from the recipe to the report (W45)."""

from dataclasses import replace

import pytest

from cloud.domain.check_digits import hibc_check
from cloud.domain.plan import SerialUse
from cloud.domain.recipe import RecipeError
from cloud.domain.recipe_file import parse_recipe
from cloud.domain.report import CRITICAL, MAJOR, Report
from cloud.tests.domain_batch import BATCH, KID, PLAN, Unit, codes, fold_of, found, report_of
from wire import Scheme, StepAction, peek_order, sign_order

TOML = b"""
[recipe]
id = "articles"
version = 1
name = "Articles"

[[item]]
id = "kit"
name = "Wash kit"
hibc = "A99912345670"
needs = ["lot", "expiry"]

[[item]]
id = "plasma"
name = "Plasma"
isbt128 = "E7644"
needs = ["expiry"]

[[item]]
id = "tray"
name = "Tray"
pattern = "TRAY-(l%d%d)-(s%u%x)"
needs = ["serial", "lot"]
single_use = true

[[step]]
id = "only"
name = "Only step"
scan = ["kit", "plasma", "tray"]
"""
RECIPE = parse_recipe(TOML)
KIT, PLASMA, TRAY = "+A99912345670/$$3280131LOT7", "=+03000=A99992112345600=<E7644V00=>028060", "TRAY-07-A1"


def checked(text: str) -> str:
    return text + (hibc_check(text) or "")


def batch(kit: str = KIT, plasma: str = PLASMA, tray: str = TRAY) -> Unit:
    unit = Unit()
    unit.describe()
    unit.open(RECIPE)
    unit.step("only", StepAction.START)
    unit.scan("kit", checked(kit), aim="]C0")
    unit.scan("plasma", plasma, aim="]d1")
    unit.scan("tray", tray, aim="]d1")
    unit.step("only", StepAction.DONE)
    unit.close()
    return unit


def report(unit: Unit) -> Report:
    return report_of(unit, replace(PLAN, recipe=RECIPE, exact={}))


def test_an_order_says_scheme_and_code() -> None:
    order = RECIPE.to_order(number=1, kid=KID, batch="B-1", issued_ms=0)
    read = peek_order(sign_order(bytes(32), order))
    assert [(item.gtin, item.scheme, item.code, item.needs) for item in read.items] == [
        ("", Scheme.HIBC, "A99912345670", 6),
        ("", Scheme.ISBT_128, "E7644", 4),
        ("", Scheme.PATTERN, "TRAY-(l%d%d)-(s%u%x)", 3),
    ]


def test_the_right_labels_raise_nothing_and_are_shown_read() -> None:
    made = report(batch())
    assert made.exceptions == ()
    assert [(scan.article, scan.lot, scan.serial, scan.expiry) for scan in made.scans] == [
        ("HIBC A99912345670", "LOT7", None, "2028-01-31"),
        ("ISBT 128 product E7644V00", None, None, "2028-02-29"),
        ("site pattern TRAY-(l%d%d)-(s%u%x)", "07", "A1", None),
    ]


@pytest.mark.parametrize(
    ("labels", "code", "severity", "told"),
    [
        ({"kit": "+A99912345680/$$3280131LOT7"}, "wrong_item", CRITICAL, "HIBC A99912345680 was accepted as Wash kit"),
        ({"plasma": "=+02000=<E7645V00=>028060"}, "wrong_item", CRITICAL, "which is ISBT 128 product E7644"),
        ({"kit": "+A99912345670/$LOT7"}, "label_mismatch", MAJOR, "lacks expiry"),
        ({"kit": "+A99912345670/$$3261027LOT7"}, "expired_material", CRITICAL, "expired on 2026-10-27"),
        ({"plasma": "=+02000=<E7644V00&>0263010600"}, "expired_material", CRITICAL, "2026-10-28 06:00"),
        ({"plasma": "=+02000=<E7644V00=>028367"}, "label_mismatch", MAJOR, "no date"),
    ],
)
def test_wrong_labels_that_the_unit_accepted(labels: dict[str, str], code: str, severity: str, told: str) -> None:
    made = report(batch(**labels))
    assert codes(made) == [code]
    assert found(made, code)[0].severity == severity
    assert told in found(made, code)[0].message


def test_a_code_that_does_not_fit_the_pattern() -> None:
    made = report(batch(tray="TRAY-7-A1"))
    assert codes(made) == ["label_mismatch", "wrong_item"]
    assert "A code that names no article (TRAY-7-A1) was accepted as Tray" in found(made, "wrong_item")[0].message


def test_a_serial_by_a_pattern_is_used_once_in_all_batches() -> None:
    fold = fold_of(batch().records, replace(PLAN, recipe=RECIPE, exact={}))
    fold.report(0)
    (use,) = fold.serials()
    assert use == SerialUse("site pattern TRAY-(l%d%d)-(s%u%x)", "A1", BATCH)
    assert codes(fold.report(0, known_serials=[replace(use, batch="B-2026-0009")])) == ["duplicate_serial"]


@pytest.mark.parametrize(
    ("written", "place", "told"),
    [
        ('hibc = "+A99912345670"', "hibc", "without '+'"),
        ('hibc = "A9991234567X"', "hibc", "unit of measure"),
        ('isbt128 = "E764"', "isbt128", "8 characters"),
        ('pattern = "KIT%q"', "pattern", "after '%' comes d, u, x or %"),
        ('pattern = "KIT%d"\nneeds = ["lot"]', "pattern", "add (l...)"),
        ('hibc = "A99912345670"\ngtin = "09520000010010"', "gtin", "gtin and hibc say twice"),
        ('hibc = "A99912345670"\nexact = true', "hibc", "hibc and exact say twice"),
        ("hibc = 7", "hibc", "without '+'"),
        ("", "gtin", "give one of gtin, hibc, isbt128, pattern, or exact = true"),
    ],
)
def test_what_is_wrong_with_an_item_is_told_with_its_place(written: str, place: str, told: str) -> None:
    toml = f'[recipe]\nid = "r"\nversion = 1\nname = "R"\n[[item]]\nid = "a"\nname = "A"\n{written}\n'
    with pytest.raises(RecipeError) as caught:
        parse_recipe(f'{toml}[[step]]\nid = "s"\nname = "S"\nscan = ["a"]\n'.encode())
    assert caught.value.problems[0].place == f"[[item]] 1 ('a'), {place}"
    assert told in str(caught.value.problems[0])
