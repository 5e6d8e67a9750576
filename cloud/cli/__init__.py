"""The cloud's command line: thin over functions; how it speaks is speech.py's."""

import typer

from cloud.cli import batches, operation, recipes, units, users

app = typer.Typer(
    help="The cloud of cartrace: ledger, batches and pages.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for _command in (
    operation.migrate,
    operation.ingest,
    operation.web,
    operation.key,
    units.enrol,
    units.site,
    units.streams,
    recipes.badge,
    operation.bench,
):
    app.command()(_command)
for _name, _group in (
    ("unit", units.unit_app),
    ("recipe", recipes.recipe_app),
    ("batch", batches.batch_app),
    ("quarantine", batches.quarantine_app),
    ("user", users.user_app),
):
    app.add_typer(_group, name=_name)
