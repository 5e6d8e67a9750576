"""Commands on batches and on refused copies."""

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from cloud.batches import queries
from cloud.batches.orders import new_batch
from cloud.cli.speech import AsJson, config, show, show_rows, spoken
from cloud.config import cloud_seed, wall_clock
from cloud.errors import RefusalError
from cloud.web.verdicts import QUESTIONS, list_answer, verdicts
from cloud.web.words import visible

batch_app = typer.Typer(help="Batches.", no_args_is_help=True, rich_markup_mode=None)
quarantine_app = typer.Typer(help="Refused copies.", no_args_is_help=True, rich_markup_mode=None)


@batch_app.command("new")
@spoken
def batch_new(
    batch: str,
    recipe: Annotated[str, typer.Option(help="Recipe id.")],
    unit: Annotated[str, typer.Option(help="The unit that makes it.")],
    version: Annotated[int | None, typer.Option(help="Recipe version; the newest when left out.")] = None,
    exact: Annotated[list[str] | None, typer.Option(help="item=code: the whole text that its label must have.")] = None,
    as_json: AsJson = False,
) -> None:
    """Order a batch: sign its work order, which ingest publishes until the unit has opened the batch."""
    now_ms = wall_clock().now_ms()
    ordered = new_batch(batch, recipe, unit, cloud_seed(config()), now_ms, version, _codes(exact or []))
    show(
        {
            "batch": batch,
            "unit": unit,
            "order_number": ordered.order_number,
            "order_digest": bytes(ordered.order_digest).hex(),
        },
        as_json,
        f"Batch {batch} is ordered from unit {unit} (order {ordered.order_number}).",
    )


@batch_app.command("list")
@spoken
def batch_list(as_json: AsJson = False) -> None:
    """List batches, what needs attention first."""
    columns = ["batch", "unit", "state", "complete", "conforming", "authentic", "needs_attention", "refused_copies"]
    show_rows(queries.batch_list(), as_json, columns, _answers)


@batch_app.command("show")
@spoken
def batch_show(batch: str, as_json: AsJson = False) -> None:
    """Show a batch's report."""
    try:
        report = queries.batch_report(batch)
    except queries.NotFoundError as error:
        raise RefusalError(error.code, f"There is no batch {batch}; `cartrace cloud batch list` shows them.") from error
    lines = [
        f"{report.batch}: {report.state}, unit {report.unit}, {report.records} records",
        ", ".join(f"{verdict.name} {verdict.answer.word.lower()}" for verdict in verdicts(report)),
    ]
    lines += [f"{item.severity:8} {item.state:8} {item.code}: {visible(item.message)}" for item in report.exceptions]
    show(report.to_json(), as_json, "\n".join(lines))


@quarantine_app.command("list")
@spoken
def quarantine_list(
    limit: Annotated[int, typer.Option(min=1, max=queries.MAX_PAGE_ROWS)] = queries.PAGE_ROWS, as_json: AsJson = False
) -> None:
    """List refused copies, the newest first."""
    show_rows(queries.quarantine_list(limit=limit), as_json, ["reference", "reason", "kid", "seq", "batch", "gateway"])


@quarantine_app.command("show")
@spoken
def quarantine_show(digest: str, as_json: AsJson = False) -> None:
    """Show one refused copy by the first characters of its digest."""
    try:
        entry = queries.quarantine_entry(digest)
    except queries.NotFoundError as error:
        raise RefusalError(error.code, f"{error} `cartrace cloud quarantine list` shows what there is.") from error
    lines = [entry.reference, f"{entry.reason}: {visible(entry.sentence)}", entry.content_hex]
    show(dataclasses.asdict(entry), as_json, "\n".join(lines))


def _answers(row: dict[str, Any]) -> dict[str, Any]:
    """The three verdicts in the words of the pages: what nobody has begun is not yet conforming, but has not failed."""
    verdict = {name: list_answer(name, row[name], row["state"]) for name in QUESTIONS}
    return row | {name: mark.word.lower() for name, mark in verdict.items()}


def _codes(pairs: Sequence[str]) -> dict[str, str]:
    codes = {}
    for pair in pairs:
        item, equals, code = pair.partition("=")
        if not equals or not item or not code:
            raise RefusalError("code_invalid", f"{pair!r} gives no code; write --exact item=code.")
        if item in codes:
            raise RefusalError("code_invalid", f"The item {item} is given two codes; write --exact once for each item.")
        codes[item] = code
    return codes
