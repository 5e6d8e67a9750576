"""Units as their page shows them: who was heard when, what is archived, what runs on them (R9). Reads only."""

from collections.abc import Iterable
from dataclasses import dataclass

from cloud.batches.queries import StreamRow, UnitRow
from cloud.ledger.models import LedgerRecord
from cloud.web.verdicts import Mark
from cloud.web.words import duration
from wire import RecordType, decode_record
from wire.bodies import Boot, Genesis

QUIET_MS = 15 * 60_000  # three heartbeats of five minutes (DESIGN section 3)
HEARD = Mark("good", "good", "Heard lately")
QUIET = Mark("major", "late", "Not heard lately")
NEVER = Mark("calm", "waiting", "Never heard")


@dataclass(frozen=True)
class StreamLine:
    """One stream: silence is the time since the last record was received, to the minute."""

    row: StreamRow
    firmware: str
    silence: str
    tone: str


@dataclass(frozen=True)
class UnitLine:
    """One unit with its streams, the current one first."""

    row: UnitRow
    contact: Mark
    streams: tuple[StreamLine, ...]


def unit_lines(units: Iterable[UnitRow], now_ms: int) -> tuple[UnitLine, ...]:
    return tuple(
        UnitLine(unit, _contact(unit, now_ms), tuple(_stream(stream, now_ms) for stream in reversed(unit.streams)))
        for unit in units
    )


def _contact(unit: UnitRow, now_ms: int) -> Mark:
    heard_ms = max((stream.received_ms or 0 for stream in unit.streams), default=0)
    if not heard_ms:
        return NEVER
    return HEARD if now_ms - heard_ms <= QUIET_MS else QUIET


def _stream(stream: StreamRow, now_ms: int) -> StreamLine:
    silence = duration(max(0, now_ms - (stream.received_ms or now_ms)) // 60_000 * 60_000)
    faulty = stream.forked_at is not None or stream.broken_at is not None
    troubled = bool(stream.open_gaps) or stream.revoked_from_seq is not None
    return StreamLine(
        stream,
        firmware(stream.kid),
        "less than a minute" if silence == "0 ms" else silence,
        "critical" if faulty else "major" if troubled else "calm",
    )


def firmware(kid: str) -> str:
    """What the unit last said it runs: in its latest boot record, else in genesis."""
    starts = LedgerRecord.objects.filter(kid=bytes.fromhex(kid), type__in=(RecordType.BOOT, RecordType.GENESIS))
    latest = starts.order_by("-seq").first()
    if latest is None:
        return "not known"
    body = decode_record(bytes(latest.record)).body
    assert isinstance(body, Boot | Genesis)
    return body.firmware
