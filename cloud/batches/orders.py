"""Recipes in, batches ordered: checks a recipe, signs a work order, knows which orders a unit has yet to take.

Publishing is the ingest process's work; an order counts as taken when the unit's batch open in the ledger names its
digest.
"""

import hashlib
from collections.abc import Mapping

from django.db import transaction
from django.db.models import Max

from cloud.batches.models import Batch, Recipe
from cloud.domain import card
from cloud.domain.recipe import RecipeError
from cloud.domain.recipe_file import parse_recipe
from cloud.errors import RefusalError
from cloud.ledger.models import LedgerRecord, Unit, UnitKey
from wire import BatchOpen, RecordType, WireError, decode_record, sign_order

BATCH_CHARACTERS = 32  # SPEC section 4


def add_recipe(toml: bytes, now_ms: int) -> Recipe:
    """Keep a recipe version for ever; the same bytes again change nothing. Raises RefusalError with every problem."""
    try:
        parsed = parse_recipe(toml)
    except RecipeError as error:
        raise RefusalError("recipe_invalid", str(error)) from error
    with transaction.atomic():
        known = Recipe.objects.filter(recipe=parsed.recipe, version=parsed.version).first()
        if known is None:
            return Recipe.objects.create(
                recipe=parsed.recipe, version=parsed.version, digest=parsed.digest, toml=toml, added_ms=now_ms
            )
    if bytes(known.digest) != parsed.digest:
        raise RefusalError(
            "recipe_changed", f"{known} exists with another content; a recipe never changes, so raise its version."
        )
    return known


def new_batch(
    batch: str,
    recipe: str,
    unit: str,
    seed: bytes,
    now_ms: int,
    version: int | None = None,
    exact: Mapping[str, str] | None = None,
) -> Batch:
    """Order a batch from a unit: sign and store the order. version None: the newest. Raises RefusalError."""
    unfit = not batch.isprintable() or "/" in batch or batch != batch.strip() or not batch.strip(".")
    if not 1 <= len(batch) <= BATCH_CHARACTERS or unfit:
        raise RefusalError(
            "name_invalid",
            f"{batch!r} cannot name a batch; use 1 to {BATCH_CHARACTERS} printable characters but '/', not dots alone,"
            " and no space at either end.",
        )
    with transaction.atomic():
        if Batch.objects.filter(batch=batch).exists():
            raise RefusalError("batch_known", f"Batch {batch} exists already; choose another name.")
        version_row = recipe_version(recipe, version)
        key = _current_key(unit)
        last = Batch.objects.filter(key=key).aggregate(last=Max("order_number"))["last"] or 0
        try:
            order = parse_recipe(bytes(version_row.toml)).to_order(
                number=last + 1, kid=bytes(key.kid), batch=batch, issued_ms=now_ms, exact=exact
            )
            raw = sign_order(seed, order)
        except (RecipeError, WireError) as error:
            raise RefusalError("order_invalid", str(error)) from error
        return Batch.objects.create(
            batch=batch,
            unit=key.unit,
            key=key,
            recipe=version_row,
            order_number=order.number,
            order=raw,
            order_digest=hashlib.sha256(raw).digest(),
            created_ms=now_ms,
        )


def pending_orders() -> dict[tuple[str, str], list[bytes]]:
    """(site, gateway) to the oldest order of each of its streams that no batch open has named yet.

    One order per stream: a unit that took a later one would have to refuse the earlier (SPEC W43).
    """
    pending: dict[tuple[str, str], list[bytes]] = {}
    waiting: set[int] = set()
    rows = Batch.objects.select_related("unit__gateway__site", "key").order_by("key_id", "order_number")
    for batch in rows:
        if batch.key_id in waiting or batch.key.revoked_from_seq is not None or is_opened(batch):
            continue
        waiting.add(batch.key_id)
        place = (batch.unit.gateway.site.name, batch.unit.gateway.name)
        pending.setdefault(place, []).append(bytes(batch.order))
    return pending


def is_opened(batch: Batch) -> bool:
    """Whether the ledger holds a batch open of the batch's stream that names its order."""
    rows = LedgerRecord.objects.filter(kid=batch.key.kid, type=RecordType.BATCH_OPEN, batch=batch.batch)
    bodies = (decode_record(bytes(record)).body for record in rows.values_list("record", flat=True))
    digest = bytes(batch.order_digest)
    return any(isinstance(body, BatchOpen) and body.order_digest == digest for body in bodies)


def recipe_version(recipe: str, version: int | None) -> Recipe:
    """A recipe's version. version None: the newest. Raises RefusalError."""
    rows = Recipe.objects.filter(recipe=recipe)
    found = rows.order_by("-version").first() if version is None else rows.filter(version=version).first()
    if found is None:
        wanted = recipe if version is None else f"{recipe} version {version}"
        raise RefusalError("recipe_unknown", f"There is no recipe {wanted}; add it with `recipe add FILE`.")
    return found


def recipe_card(row: Recipe) -> tuple[card.Sheet, ...]:
    """The technician's card of a version. Raises RefusalError."""
    try:
        return card.recipe_card(parse_recipe(bytes(row.toml)))
    except card.CardError as error:
        raise RefusalError("card_impossible", f"{row} gives no card: {error}.") from error


def _current_key(unit: str) -> UnitKey:
    row = Unit.objects.filter(name=unit).first()
    key = row.keys.order_by("-epoch").first() if row else None
    if key is None:
        raise RefusalError("unit_unknown", f"There is no unit {unit}; enrol it with its genesis record first.")
    if key.revoked_from_seq is not None:
        raise RefusalError("key_revoked", f"The key of unit {unit} is revoked; enrol its next epoch first.")
    return key
