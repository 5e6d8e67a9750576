"""The technician's card as it is printed: each symbol is read from the page, and a unit with that recipe obeys it."""

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from agent import cbor, events, orders
from agent.dialogue import Dialogue
from agent.procedure import Procedure
from agent.scanner import Read, split_aim
from PIL import Image
from playwright.sync_api import Locator, Page, sync_playwright

from cloud.domain.recipe import Recipe
from cloud.domain.recipe_file import parse_recipe
from hil_tests import labels
from hil_tests.bench.peer import CLOUD_SEED
from wire import sign_order

pytestmark = pytest.mark.browser

CHROMIUM = "/usr/bin/chromium"
DEMO = Path(__file__).parent.parent / "recipes" / "car-t-demo.toml"
REPORT = Path("test-report")
DOTS_PER_PIXEL = 3  # 288 dpi: what an office printer and a hand scanner make of it
MM = 25.4 / 96  # of a pixel of the style sheet
PAGE_MM = (190, 277)  # A4 without its margins
SIDE_MM, APART_MM = 20, 20  # symbols as large as fingers in gloves, and as far apart as they are wide
LONG_NAME = "Wash the filtered cells and seal the bag"  # 40 characters
LONG_REASON = "The supervisor has decided so after the deviation was assessed!!"  # 64
Box = tuple[float, float, float, float]


@dataclass
class Printed:
    """The card as the printer gets it: per sheet where the symbols are black, in mm, and what a scanner sends."""

    sheets: list[list[tuple[Box, bytes]]]
    heights_mm: list[float]
    pages: int
    listed: list[str]

    @property
    def codes(self) -> list[bytes]:
        return [code for sheet in self.sheets for _place, code in sheet]


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return parse_recipe(DEMO.read_bytes())


def _cloud(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "cloud", *arguments],
        env=os.environ | {"CARTRACE_CLOUD_STATE": str(folder / "state")},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def paper() -> Iterator[Page]:
    if not Path(CHROMIUM).exists():
        pytest.fail(f"The browser tests need {CHROMIUM}: install Debian's package chromium.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        context = browser.new_context(
            viewport={"width": round(PAGE_MM[0] / MM), "height": round(PAGE_MM[1] / MM)},
            device_scale_factor=DOTS_PER_PIXEL,
            color_scheme="dark",  # must not reach the paper
        )
        sheet = context.new_page()
        sheet.emulate_media(media="print")
        yield sheet
        browser.close()


@pytest.fixture(scope="module")
def printed(paper: Page, tmp_path_factory: pytest.TempPathFactory) -> Printed:
    folder = tmp_path_factory.mktemp("card")
    _cloud(folder, "migrate")
    _cloud(folder, "recipe", "add", str(DEMO))
    said = json.loads(_cloud(folder, "recipe", "card", "car-t-demo", "--output", str(folder / "card.html"), "--json"))
    paper.goto((folder / "card.html").as_uri())
    picture = _picture(paper)
    sheets = paper.locator(".sheet").all()
    REPORT.mkdir(exist_ok=True)
    _cut(picture, _box(sheets[1])).save(REPORT / "card-sheet-printed.png")
    pdf = paper.pdf(prefer_css_page_size=True)
    return Printed(
        [[(_black_mm(cell), _read(picture, cell)) for cell in sheet.locator("li").all()] for sheet in sheets],
        [(_box(sheet)[3] - _box(sheet)[1]) * MM for sheet in sheets],
        len(re.findall(rb"/Type\s*/Page\b", pdf)),
        said["codes"],
    )


def _picture(paper: Page) -> Image.Image:
    return Image.open(io.BytesIO(paper.screenshot(full_page=True))).convert("RGB")


def _box(part: Locator) -> Box:
    """Left, top, right and bottom in pixels of the style sheet, from the beginning of the document."""
    sides = part.evaluate(
        "it => { const box = it.getBoundingClientRect(); return [box.x, box.y, box.right, box.bottom] }"
    )
    left, top, right, bottom = map(float, sides)
    return left, top, right, bottom


def _cut(picture: Image.Image, box: Box) -> Image.Image:
    left, top, right, bottom = (round(side * DOTS_PER_PIXEL) for side in box)
    return picture.crop((left, top, right, bottom))


def _black_mm(cell: Locator) -> Box:
    """Where a cell's symbol is black."""
    left, top, right, bottom = (side * MM for side in _box(cell.locator("svg path")))
    return left, top, right, bottom


def _read(picture: Image.Image, cell: Locator) -> bytes:
    """What a serial scanner sends for the one symbol of a cell."""
    return labels.read_label(_cut(picture, _box(cell))).as_sent().removesuffix(labels.LINE_SUFFIX)


def test_every_symbol_reads_back_as_the_code_beside_it(printed: Printed) -> None:
    assert printed.codes == [b"]d1" + code.encode() for code in printed.listed]
    assert len(set(printed.codes)) == len(printed.codes) > 30


def test_symbols_are_large_and_apart(printed: Printed) -> None:
    for sheet in printed.sheets:
        for (left, top, right, bottom), _code in sheet:
            assert min(right - left, bottom - top) >= SIDE_MM
        for (one, _), (other, _) in combinations(sheet, 2):
            assert max(_gap(one, other, 0), _gap(one, other, 1)) >= APART_MM, (one, other)


def _gap(one: Box, other: Box, axis: int) -> float:
    return max(one[axis] - other[axis + 2], other[axis] - one[axis + 2])


def test_each_sheet_is_one_page_of_paper(printed: Printed) -> None:
    assert max(printed.heights_mm) <= PAGE_MM[1]
    assert printed.pages == len(printed.sheets)


# --- what a unit makes of them ----------------------------------------------------------------------------------------


class Dry:
    """A unit's procedure with the recipe's order; records go through the journal's form and back."""

    def __init__(self, recipe: Recipe) -> None:
        order = recipe.to_order(number=1, kid=bytes(8), batch="B-1", issued_ms=1, exact={"donor-bag": "A999912345678"})
        self.procedure = Procedure()
        self.procedure.order = orders.stored_order(sign_order(CLOUD_SEED, order))
        self.dialogue = Dialogue(self.procedure)
        self.records = 0

    def scan(self, code: bytes) -> bool:
        aim, raw = split_aim(code)
        answer = self.dialogue.read(Read(aim, raw, "", 0), (1_795_000_000_000, 100), 5000)
        for kind, body, operator in answer.records:
            self.fold(kind, self.procedure.closing(body[3]) if kind == events.BATCH_CLOSE else body, operator)
        return bool(answer.accepted)

    def fold(self, kind: int, body: dict[int, Any], operator: str) -> None:
        batch = "B-1" if kind == events.BATCH_OPEN else self.procedure.batch
        self.procedure.fold(self.records, kind, batch, operator, cbor.decode(cbor.encode(body)))
        self.records += 1


class Day:
    """Does with printed codes what must have been done before one of them can be scanned."""

    def __init__(self, recipe: Recipe, codes: list[bytes]) -> None:
        self.unit = Dry(recipe)
        self._recipe = recipe
        self._codes = codes
        self.do(b"]d1CT/BADGE/OP-1")

    def do(self, code: bytes) -> None:
        assert self.unit.scan(code), code

    def card(self, beginning: str) -> bytes:
        """The printed code that begins so."""
        return next(code for code in self._codes if code.startswith(b"]d1CT/" + beginning.encode()))

    def open(self) -> None:
        self.do(self.card("BATCH/OPEN"))

    def settle(self, *steps: str) -> None:
        """Leave these steps out, or do them where an identity is asked for: that is never left out."""
        for step in steps:
            if step == "receive":
                self.do(self.card("STEP/START/receive"))
                self.do(b"]C0=A99991234567800")
                self.do(self.card("STEP/DONE"))
            else:
                self.do(self.card(f"STEP/SKIP/{step}/"))

    def prepare(self, words: list[str]) -> None:
        """Everything before the code of these words, as the recipe has its steps."""
        steps = [step.step for step in self._recipe.steps]
        action = "/".join(words[:2])
        if words[0] not in ("NOTE",) and action != "BATCH/OPEN":
            self.open()
        if action in ("STEP/START", "STEP/SKIP"):
            self.settle(*steps[: steps.index(words[2])])
        elif action == "STEP/REPEAT":
            self.settle(*steps[: steps.index(words[2]) + 1])
        elif action == "STEP/DONE":
            free = next(step.step for step in self._recipe.steps if not step.items)
            self.settle(*steps[: steps.index(free)])
            self.do(self.card(f"STEP/START/{free}"))
        elif action == "BATCH/CLOSE":
            self.settle(*steps)
        elif action == "ALARM/ACK":
            self.unit.fold(events.ALARM, events.alarm("temperature", 1, "too warm"), "OP-1")
        elif words[0] == "OVERRIDE":
            assert not self.unit.scan(self.card(f"STEP/START/{steps[1]}")), "a wrong step"


def test_a_unit_with_this_recipe_obeys_every_printed_code(recipe: Recipe, printed: Printed) -> None:
    for code in printed.codes:
        day = Day(recipe, printed.codes)
        words = code.decode().removeprefix("]d1CT/").split("/")
        day.prepare(words)
        day.do(code)
        if words[0] == "OVERRIDE":
            day.do(b"]d1CT/BADGE/OP-2")


def test_a_unit_refuses_what_the_card_of_another_recipe_says(recipe: Recipe, printed: Printed) -> None:
    """Or the test above would show nothing."""
    day = Day(recipe, printed.codes)
    day.open()
    for code in (
        "STEP/START/freeze",
        "STEP/SKIP/freeze/why",
        "QTY/ice/used/1/g",
        "QTY/buffer/drunk/1/mL",
        "OVERRIDE/x",
    ):
        assert not day.unit.scan(b"]d1CT/" + code.encode()), code


def test_the_longest_names_fit_the_page(paper: Page, tmp_path: Path) -> None:
    steps = [f'[[step]]\nid = "step-with-the-longest-name-id-{n:02}"\nname = "{LONG_NAME}"\n' for n in range(8)]
    head = f'[recipe]\nid = "long"\nversion = 1\nname = "Long"\n[card]\nreasons = ["{LONG_REASON}"]\n'
    (tmp_path / "long.toml").write_text(head + "".join(steps))
    _cloud(tmp_path, "migrate")
    _cloud(tmp_path, "recipe", "add", str(tmp_path / "long.toml"))
    _cloud(tmp_path, "recipe", "card", "long", "--output", str(tmp_path / "card.html"))
    paper.goto((tmp_path / "card.html").as_uri())
    heights_mm = [(_box(sheet)[3] - _box(sheet)[1]) * MM for sheet in paper.locator(".sheet").all()]
    assert len(heights_mm) == 7
    assert max(heights_mm) <= PAGE_MM[1]


def test_badges_read_back(paper: Page, tmp_path: Path) -> None:
    _cloud(tmp_path, "badge", "OP-114", "anna.b", "--output", str(tmp_path / "badges.html"))
    paper.goto((tmp_path / "badges.html").as_uri())
    picture = _picture(paper)
    assert [_read(picture, cell) for cell in paper.locator("li").all()] == [
        b"]d1CT/BADGE/OP-114",
        b"]d1CT/BADGE/anna.b",
    ]
