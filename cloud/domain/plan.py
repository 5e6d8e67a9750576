"""What the cloud feeds into the fold: the plan of a batch, ledger entries, refused copies and what else it knows.

Plain immutable types without a decision; `fold.py` says what becomes of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cloud.domain.recipe import Recipe
from wire import Record


@dataclass(frozen=True)
class BatchPlan:
    """The batch as ordered. exact: item id to the whole text its code must have. utc_offset_min: the site's, for ends
    of days (R39).
    """

    batch: str
    unit: str
    kid: bytes  # of the stream that the order was signed for
    recipe: Recipe
    order_digest: bytes | None = None  # SHA-256 of the order's bytes; None: not checked
    exact: Mapping[str, str] = field(default_factory=dict)
    utc_offset_min: int = 0


@dataclass(frozen=True)
class LedgerEntry:
    """One authentic record as the ledger holds it. key_valid: the key was enrolled and not revoked at this position."""

    record: Record
    arrival_ms: int  # at the gateway, by the gateway's clock
    received_ms: int  # at the cloud
    gateway: str
    key_valid: bool = True


@dataclass(frozen=True)
class RefusedCopy:
    """Bytes in quarantine that name this batch or a position in it. kid, seq, batch: as they claim, None when
    unreadable.

    reason: a wire.Finding ("altered", "unknown_key", "malformed", "unknown_type") or a WireError code.
    """

    digest: bytes
    reason: str
    kid: bytes | None
    seq: int | None
    batch: str | None
    received_ms: int


@dataclass(frozen=True)
class GapHistory:
    """A hole in the batch's stream that was seen and later filled. Inclusive positions."""

    first: int
    last: int
    found_ms: int
    filled_ms: int


@dataclass(frozen=True)
class StreamFaults:
    """Where the batch's stream, as a whole, stopped proving who signed it. forked_at: the first position that holds
    more than one record; broken_at: the first one that is held and names no predecessor that is. None: nowhere.
    """

    forked_at: int | None = None
    broken_at: int | None = None


@dataclass(frozen=True)
class SerialUse:
    """A serial number that an accepted scan used. The caller keeps them per batch and hands in those of the other
    batches.
    """

    article: str  # recipe.Item.article
    serial: str
    batch: str
