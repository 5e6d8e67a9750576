"""Commands on recipes, and what is printed from them: cards and badges."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from cloud.batches import orders
from cloud.batches.models import Recipe
from cloud.batches.orders import add_recipe, recipe_version
from cloud.cli.speech import AsJson, read, show, spoken, spoken_anywhere, write
from cloud.config import wall_clock
from cloud.domain import card
from cloud.errors import RefusalError
from cloud.web import symbols

recipe_app = typer.Typer(help="Recipes.", no_args_is_help=True, rich_markup_mode=None)


@recipe_app.command("add")
@spoken
def recipe_add(file: Path, as_json: AsJson = False) -> None:
    """Check a recipe file and keep it as a version for ever."""
    added = add_recipe(read(file), wall_clock().now_ms())
    digest = bytes(added.digest).hex()
    show(
        {"recipe": added.recipe, "version": added.version, "digest": digest},
        as_json,
        f"{added} is kept ({digest[:16]}).",
    )


@recipe_app.command("list")
@spoken
def recipe_list(as_json: AsJson = False) -> None:
    """List recipes and their versions."""
    rows = [
        {"recipe": row.recipe, "version": row.version, "digest": bytes(row.digest).hex(), "added_ms": row.added_ms}
        for row in Recipe.objects.order_by("recipe", "version")
    ]
    show(rows, as_json, "\n".join(f"{row['recipe']} version {row['version']} ({row['digest']})" for row in rows))


@recipe_app.command("show")
@spoken
def recipe_show(
    recipe: Annotated[str, typer.Argument(help="Recipe id.")],
    version: Annotated[int | None, typer.Option(help="Recipe version; the newest when left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show a recipe as it was added."""
    row = recipe_version(recipe, version)
    toml = bytes(row.toml).decode()
    show({"recipe": row.recipe, "version": row.version, "digest": bytes(row.digest).hex(), "toml": toml}, as_json, toml)


@recipe_app.command("card")
@spoken
def recipe_card(
    recipe: Annotated[str, typer.Argument(help="Recipe id.")],
    output: Annotated[Path, typer.Option(help="HTML file to write; a browser prints it.")],
    version: Annotated[int | None, typer.Option(help="Recipe version; the newest when left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write the technician's card of a recipe: every code to scan, for paper."""
    row = recipe_version(recipe, version)
    sheets = orders.recipe_card(row)
    write(output, symbols.card_file(row.recipe, symbols.version_words(row.version, row.digest), sheets))
    _show_card(f"the card of {row}", output, sheets, as_json)


@spoken_anywhere
def badge(
    operators: Annotated[list[str], typer.Argument(help="Badges, such as OP-114.")],
    output: Annotated[Path, typer.Option(help="HTML file to write; a browser prints it.")],
    as_json: AsJson = False,
) -> None:
    """Write badges to be printed: a code for each operator."""
    try:
        sheets = card.badges(operators)
    except card.CardError as error:
        raise RefusalError("badge_invalid", f"{error}.") from error
    write(output, symbols.card_file("Badges", f"{len(operators)} in all", sheets))
    _show_card("the badges", output, sheets, as_json)


def _show_card(what: str, path: Path, sheets: Sequence[card.Sheet], as_json: bool) -> None:
    codes = [symbol.code for sheet in sheets for symbol in sheet.symbols]
    papers = f"{len(sheets)} sheet" + "s" * (len(sheets) != 1)
    said = f"{path} holds {what}: {len(codes)} codes on {papers}. Print it on A4 at 100 %."
    show({"file": str(path), "sheets": len(sheets), "codes": codes}, as_json, said)
