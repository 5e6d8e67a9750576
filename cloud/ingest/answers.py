"""What the cloud answers a gateway with: receipts, wants and orders, as payloads for its topics.

Reads the database and signs; publishes nothing. Every answer may be repeated or lost without harm (SPEC W42, W62).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from django.db import connection
from django.db.models import F

from cloud.batches.orders import pending_orders
from cloud.ingest.streams import digests_at_head, receiptable
from cloud.ingest.wants import Range
from cloud.ledger.models import LARGEST_NUMBER, Gap, StreamHead, UnitKey
from wire import Topics, Want, encode_orders, encode_receipts, encode_wants, sign_receipt

RECEIPTS_PER_MESSAGE = 200  # of at most 256 bytes: below the 65 536 bytes of a message
WANTS_PER_MESSAGE = 500
ORDERS_PER_MESSAGE = 15  # of at most 4096 bytes
REFUSED_AHEAD = 256  # a refused copy further ahead of its stream than this is no reason to ask for anything
TAIL_RECORDS = 256  # how far beyond the highest seq a silent stream is asked for

_REFUSED_AHEAD = (
    "SELECT refused.kid, refused.seq FROM ledger_unitkey AS enrolled"
    " JOIN ledger_quarantine AS refused ON refused.kid = enrolled.kid"
    " LEFT JOIN ledger_streamhead AS head ON head.kid = enrolled.kid"
    " WHERE refused.seq > coalesce(head.highest_seq, -1) AND refused.seq <= coalesce(head.highest_seq, -1) + %s"
)

Place = tuple[str, str]  # site, gateway
Item = TypeVar("Item")


@dataclass(frozen=True)
class Answer:
    """One message to publish."""

    topic: str
    payload: bytes


def receipts(
    root: str, seed: bytes, heard: Mapping[Place, Mapping[bytes, tuple[int, bytes]]], now_ms: int
) -> list[Answer]:
    """Receipts for what gateways just sent, new or not.

    heard: (site, gateway) to the last record (seq, digest) of each stream it sent. Besides the stream's head, that
    record itself is receipted when the head lies beyond it: a gateway whose unit has moved away holds no record at the
    head to compare.
    """
    kids = {kid for streams in heard.values() for kid in streams}
    heads = {bytes(head.kid): head for head in StreamHead.objects.filter(kid__in=kids)}
    genesis = {bytes(key.kid): bytes(key.genesis_digest) for key in UnitKey.objects.filter(kid__in=kids)}
    answers = []
    for (site, gateway), streams in heard.items():
        signed: list[bytes] = []
        for kid, (seq, digest) in streams.items():
            head = heads.get(kid)
            if head is None or head.archived_thru < 0:
                continue
            signed += [sign_receipt(seed, kid, head.archived_thru, end, now_ms) for end in digests_at_head(head)]
            if seq < head.archived_thru and receiptable(head, genesis[kid], seq, digest):
                signed.append(sign_receipt(seed, kid, seq, digest, now_ms))
        topic = Topics(root, site, gateway).receipts
        answers += [Answer(topic, encode_receipts(part)) for part in _parts(signed, RECEIPTS_PER_MESSAGE)]
    return answers


def orders(root: str) -> list[Answer]:
    """The orders that units have yet to take."""
    return [
        Answer(Topics(root, site, gateway).orders, encode_orders(part))
        for (site, gateway), raws in pending_orders().items()
        for part in _parts(raws, ORDERS_PER_MESSAGE)
    ]


def missing_ranges(silent: Sequence[bytes]) -> set[Range]:
    """What is worth asking for: holes, refused copies just ahead of their stream, and tails of silent streams."""
    wanted = {(bytes(gap.kid), gap.first, gap.last) for gap in Gap.objects.filter(filled_ms=None)}
    with connection.cursor() as cursor:
        cursor.execute(_REFUSED_AHEAD, [REFUSED_AHEAD])
        wanted |= {(bytes(kid), seq, seq) for kid, seq in cursor}
    ends = dict(StreamHead.objects.filter(kid__in=silent).values_list("kid", "highest_seq"))
    return wanted | {
        (bytes(kid), end + 1, end + TAIL_RECORDS) for kid, end in ends.items() if end + TAIL_RECORDS <= LARGEST_NUMBER
    }


def wants(root: str, due: Sequence[Range], places: Mapping[bytes, set[Place]]) -> list[Answer]:
    """Ask for the ranges that are due, where their streams were last heard and where their units belong."""
    asked: dict[Place, list[Want]] = {}
    for kid, first, last in due:
        Gap.objects.filter(kid=kid, first=first, last=last, filled_ms=None).update(asked=F("asked") + 1)
        for place in sorted(places.get(kid, set()) | home_of(kid)):
            asked.setdefault(place, []).append(Want(kid, first, last))
    return [
        Answer(Topics(root, site, gateway).wants, encode_wants(part))
        for (site, gateway), ranges in asked.items()
        for part in _parts(ranges, WANTS_PER_MESSAGE)
    ]


def home_of(kid: bytes) -> set[Place]:
    """The gateway that the stream's unit is enrolled at."""
    rows = UnitKey.objects.filter(kid=kid).values_list("unit__gateway__site__name", "unit__gateway__name")
    return set(rows)


def _parts(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))
