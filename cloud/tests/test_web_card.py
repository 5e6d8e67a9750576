"""The card as a page and as a file: linked from its batch, kept from strangers, whole without the server."""

import html
import json
import re
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client
from typer.testing import CliRunner

from cloud.batches.orders import add_recipe, recipe_card, recipe_version
from cloud.cli import app
from cloud.tests.domain_batch import RECIPE_TOML
from cloud.web.symbols import data_matrix

PATH = "/recipes/test-run/3/card/"


@pytest.fixture
def codes(db: None) -> list[str]:
    """Of a recipe that was added."""
    added = add_recipe(RECIPE_TOML, 0)
    assert f"/recipes/{added.recipe}/{added.version}/card/" == PATH
    return [
        symbol.code for sheet in recipe_card(recipe_version(added.recipe, added.version)) for symbol in sheet.symbols
    ]


@pytest.fixture
def qa(db: None) -> Client:
    client = Client()
    user = User.objects.create_user("qa", password="quiet-harbour-42")
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def drawn(page: str) -> list[str]:
    """The codes of a page's symbols, in order; the browser test reads the symbols themselves."""
    return [html.unescape(code) for code in re.findall(r'class="symbol"[^>]*aria-label="([^"]*)"', page)]


def test_the_page_shows_every_code_to_those_who_signed_in(qa: Client, codes: list[str]) -> None:
    assert drawn(qa.get(PATH).content.decode()) == codes
    stranger = Client().get(PATH)
    assert (stranger.status_code, stranger.headers["Location"]) == (302, f"/login/?next={PATH}")


@pytest.mark.parametrize(
    "path", ["/recipes/test-run/9/card/", "/recipes/none/1/card/", f"/recipes/test-run/{10**30}/card/"]
)
def test_a_card_that_is_not_there_is_said_so(qa: Client, codes: list[str], path: str) -> None:
    assert qa.get(path).status_code == 404


def test_the_file_needs_no_server(codes: list[str], tmp_path: Path) -> None:
    path = tmp_path / "card.html"
    done = CliRunner().invoke(app, ["recipe", "card", "test-run", "--output", str(path), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["codes"] == codes
    page = path.read_text()
    assert drawn(page) == codes
    assert ".sheet" in page, "the style sheet is not in it"
    assert not re.search(r"\b(?:src|href)=|@import|url\(", page), "it asks for another file"


def test_badges_are_written_to_a_file(tmp_path: Path) -> None:
    path = tmp_path / "badges.html"
    done = CliRunner().invoke(app, ["badge", "OP-114", "OP-115", "--output", str(path)])
    assert done.exit_code == 0, done.output
    assert drawn(path.read_text()) == ["CT/BADGE/OP-114", "CT/BADGE/OP-115"]


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["badge", "OP 1", "--output", "{}/x"], "badge_invalid"),
        (["badge", "OP-1", "--output", "{}/no/x"], "file_unwritable"),
        (["recipe", "card", "test-run", "--output", "{}"], "file_unwritable"),
        (["recipe", "card", "none", "--output", "{}/x"], "recipe_unknown"),
    ],
)
def test_what_cannot_be_printed_is_one_sentence(
    codes: list[str], tmp_path: Path, command: list[str], code: str
) -> None:
    done = CliRunner().invoke(app, [part.format(tmp_path) for part in command])
    assert (done.exit_code, done.stderr.split(":")[0], len(done.stderr.splitlines())) == (2, code, 1)
    assert not (tmp_path / "x").exists()


def test_a_name_in_a_recipe_stays_a_name() -> None:
    assert "<script>" not in data_matrix("CT/NOTE/<script>")
