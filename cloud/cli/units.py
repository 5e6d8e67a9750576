"""Commands on units, their keys, their sites and their streams."""

import re
from pathlib import Path
from typing import Annotated

import typer

from cloud.batches import queries
from cloud.cli.speech import AsJson, read, show, show_rows, spoken
from cloud.config import wall_clock
from cloud.errors import RefusalError
from cloud.ledger.enrol import enrol as enrol_genesis
from cloud.ledger.enrol import revoke as revoke_key
from cloud.ledger.models import Site

unit_app = typer.Typer(help="Units and their keys.", no_args_is_help=True, rich_markup_mode=None)


@spoken
def enrol(
    genesis_file: Annotated[Path, typer.Argument(help="The genesis record, as `cartrace gateway genesis` wrote it.")],
    site: Annotated[str, typer.Option(help="Site of the unit.")],
    gateway: Annotated[str, typer.Option(help="Gateway that the unit is plugged into.")],
    as_json: AsJson = False,
) -> None:
    """Enrol a unit's key: from then on the ledger accepts its records."""
    enrolled = enrol_genesis(read(genesis_file), site, gateway, wall_clock().now_ms(), f"The file {genesis_file}")
    unit = enrolled.unit.name
    show(
        {"unit": unit, "epoch": enrolled.epoch, "kid": str(enrolled)},
        as_json,
        f"Unit {unit}, epoch {enrolled.epoch}, is enrolled with key {enrolled}.",
    )


@spoken
def site(
    name: Annotated[str, typer.Argument(help="The site; enrolling a unit there made it.")],
    utc_offset: Annotated[str, typer.Option(help="How far its wall clock is ahead of UTC, such as +02:00 or -03:30.")],
    as_json: AsJson = False,
) -> None:
    """Say which offset from UTC a site lives by: for the ends of expiry days, and shown beside UTC."""
    offset_min = _offset_min(utc_offset)
    if not Site.objects.filter(name=name).update(utc_offset_min=offset_min):
        raise RefusalError("site_unknown", f"There is no site {name}; enrol a unit there first.")
    show({"site": name, "utc_offset_min": offset_min}, as_json, f"Site {name} lives by UTC{utc_offset}.")


@spoken
def streams(as_json: AsJson = False) -> None:
    """Show how far each stream has come."""
    columns = ["unit", "epoch", "kid", "archived_thru", "highest_seq", "records", "quarantined", "revoked_from_seq"]
    show_rows(queries.streams(), as_json, [*columns, "forked_at", "broken_at"])


@unit_app.command("list")
@spoken
def unit_list(as_json: AsJson = False) -> None:
    """List the enrolled units."""
    show_rows(queries.units(), as_json, ["unit", "site", "gateway", "model"])


@unit_app.command("revoke")
@spoken
def unit_revoke(
    unit: str,
    from_seq: Annotated[int, typer.Option(help="First position that no longer counts.")],
    reason: Annotated[str, typer.Option(help="Why the key is no longer trusted.")],
    kid: Annotated[str | None, typer.Option(help="The key, when it is not the unit's newest.")] = None,
    as_json: AsJson = False,
) -> None:
    """Stop trusting a unit's key from a position of its stream on. Records are kept and flagged."""
    revoked = revoke_key(unit, from_seq, reason, wall_clock().now_ms(), kid)
    show(
        {"unit": unit, "kid": str(revoked), "revoked_from_seq": from_seq},
        as_json,
        f"Key {revoked} of unit {unit} does not count from seq {from_seq} on.",
    )


def _offset_min(text: str) -> int:
    found = re.fullmatch(r"([+-])(0\d|1[0-4]):([0-5]\d)", text)
    if found is None:
        raise RefusalError("offset_invalid", f"{text!r} is no offset from UTC; write it as +02:00 or -03:30.")
    minutes = int(found[2]) * 60 + int(found[3])
    return -minutes if found[1] == "-" else minutes
