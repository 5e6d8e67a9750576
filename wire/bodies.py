"""What each type of record says: one dataclass per type and the table that reads it (SPEC section 5).

Checks one body alone; what spans several fields of the event stands in record.py, what spans
several records is for the ledger and the batch record to judge.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from wire.samples import MAX_CHANNELS, Samples, SamplesShape
from wire.shape import (
    DIGEST,
    INT,
    UINT,
    Field,
    MapShape,
    array,
    integer,
    octets,
    one_of,
    pattern,
    table,
    text,
    wrong_shape,
)

NAME = text(1, 32)
LABEL = text(0, 32)
REASON = text(1, 64)
UNIT = text(1, 16)  # UCUM code
EXPONENT = integer(-9, 9)
MAX_MAP_KEY = 23  # SPEC W3


class RecordType(IntEnum):
    GENESIS = 0
    BOOT = 1
    CLOCK = 2
    HEARTBEAT = 3
    OPERATOR = 4
    BATCH_OPEN = 5
    STEP = 6
    SCAN = 7
    CHANNELS = 8
    SAMPLES = 9
    ALARM = 10
    QUANTITY = 11
    COMMENT = 12
    LOSS = 13
    BATCH_CLOSE = 14
    OVERRIDE = 15


class BootCause(IntEnum):
    POWER = 0
    WATCHDOG = 1
    SOFTWARE = 2


class OperatorAction(IntEnum):
    IN = 1
    OUT = 2


class StepAction(IntEnum):
    START = 1
    DONE = 2
    REPEAT = 3
    SKIP = 4
    ABORT = 5


class ScanVerdict(IntEnum):
    ACCEPTED = 1
    REFUSED = 2


class Entry(IntEnum):
    SCANNER = 1
    MANUAL = 2


class AlarmState(IntEnum):
    RAISED = 1
    ACKNOWLEDGED = 2
    CLEARED = 3


class QuantityKind(IntEnum):
    ISSUED = 1
    USED = 2
    REJECTED = 3
    SAMPLED = 4
    RETURNED = 5
    DESTROYED = 6
    LOST = 7


class Outcome(IntEnum):
    COMPLETED = 1
    ABORTED = 2


class OverrideAction(IntEnum):
    ACCEPT_ITEM = 1
    START_STEP = 2
    FINISH_STEP = 3


@dataclass(frozen=True)
class Genesis:
    """Record 0: the unit, its epoch and the stream's public key; signer is "pure" or "native"."""

    unit: str
    epoch: int
    public_key: bytes
    model: str
    firmware: str
    signer: str


@dataclass(frozen=True)
class Boot:
    """The first record of a boot; torn counts journal entries found unreadable at recovery."""

    cause: BootCause
    firmware: str
    torn: int


@dataclass(frozen=True)
class Clock:
    """The clock was set; step_ms is new minus shown time, None at the first setting of a boot."""

    source: str
    step_ms: int | None


@dataclass(frozen=True)
class Heartbeat:
    """Nothing else happened for period_ms."""

    period_ms: int


@dataclass(frozen=True)
class Operator:
    """The badge named by the event came or went."""

    action: OperatorAction


@dataclass(frozen=True)
class BatchOpen:
    """A batch begins, following the order whose bytes have order_digest."""

    recipe: str
    version: int
    recipe_digest: bytes
    order_digest: bytes


@dataclass(frozen=True)
class Step:
    step: str
    action: StepAction
    reason: str | None


@dataclass(frozen=True)
class Scan:
    """A code as read: raw without AIM prefix and suffix, asked "" when nothing was asked for."""

    raw: bytes
    aim: str
    asked: str
    verdict: ScanVerdict
    reason: str | None
    entry: Entry
    repeats: int


@dataclass(frozen=True)
class Channel:
    """One sensor channel: values are integers times 10**exponent unit, measuring range low..high.

    sensor: what measures, type and serial number. offset: scaled, and contained in every value already.
    """

    name: str
    unit: str
    exponent: int
    low: int
    high: int
    certificate: str | None
    due_ms: int | None
    sensor: str | None = None
    calibrated_ms: int | None = None
    offset: int | None = None


@dataclass(frozen=True)
class Channels:
    channels: tuple[Channel, ...]


@dataclass(frozen=True)
class Alarm:
    code: str
    state: AlarmState
    text: str | None


@dataclass(frozen=True)
class Quantity:
    """mantissa times 10**exponent unit of item."""

    item: str
    kind: QuantityKind
    mantissa: int
    exponent: int
    unit: str
    lot: str | None


@dataclass(frozen=True)
class Comment:
    text: str


@dataclass(frozen=True)
class Loss:
    """count times something could not be recorded."""

    what: str
    count: int
    text: str | None


@dataclass(frozen=True)
class BatchClose:
    """The batch ends; counts by type the records from first_seq up to this one (W26)."""

    first_seq: int
    counts: Mapping[int, int]
    outcome: Outcome


@dataclass(frozen=True)
class Override:
    """Two people overrule the refused scan at seq refused: the event's operator, and second (W28).

    subject: the item that counts as scanned, or the step that is started or finished.
    """

    refused: int
    action: OverrideAction
    subject: str
    reason: str
    second: str


Body = (
    Genesis | Boot | Clock | Heartbeat | Operator | BatchOpen | Step | Scan | Channels | Samples | Alarm | Quantity
    | Comment | Loss | BatchClose | Override
)  # fmt: skip


class ScanShape(MapShape[Scan]):
    """A reason is present exactly when the scan was refused (W25)."""

    def read(self, value: Any) -> Scan:
        scan = super().read(value)
        if (scan.verdict is ScanVerdict.REFUSED) != (scan.reason is not None):
            raise wrong_shape("a reason is present exactly when the scan was refused (W25)")
        return scan


_CHANNEL = MapShape(
    Channel,
    Field(1, "name", text(1, 16)),
    Field(2, "unit", UNIT),
    Field(3, "exponent", EXPONENT),
    Field(4, "low", INT),
    Field(5, "high", INT),
    Field(6, "certificate", LABEL, required=False),
    Field(7, "due_ms", UINT, required=False),
    Field(8, "sensor", NAME, required=False),
    Field(9, "calibrated_ms", UINT, required=False),
    Field(10, "offset", INT, required=False),
)

SHAPES: dict[RecordType, MapShape[Any]] = {
    RecordType.GENESIS: MapShape(
        Genesis,
        Field(1, "unit", NAME),
        Field(2, "epoch", UINT),
        Field(3, "public_key", DIGEST),
        Field(4, "model", LABEL),
        Field(5, "firmware", LABEL),
        Field(6, "signer", pattern("pure|native", 'the text "pure" or "native"')),
    ),
    RecordType.BOOT: MapShape(
        Boot,
        Field(1, "cause", one_of(BootCause)),
        Field(2, "firmware", LABEL),
        Field(3, "torn", UINT),
    ),
    RecordType.CLOCK: MapShape(Clock, Field(1, "source", LABEL), Field(2, "step_ms", INT, required=False)),
    RecordType.HEARTBEAT: MapShape(Heartbeat, Field(1, "period_ms", UINT)),
    RecordType.OPERATOR: MapShape(Operator, Field(1, "action", one_of(OperatorAction))),
    RecordType.BATCH_OPEN: MapShape(
        BatchOpen,
        Field(1, "recipe", NAME),
        Field(2, "version", UINT),
        Field(3, "recipe_digest", DIGEST),
        Field(4, "order_digest", DIGEST),
    ),
    RecordType.STEP: MapShape(
        Step,
        Field(1, "step", NAME),
        Field(2, "action", one_of(StepAction)),
        Field(3, "reason", REASON, required=False),
    ),
    RecordType.SCAN: ScanShape(
        Scan,
        Field(1, "raw", octets(0, 400)),
        Field(2, "aim", text(0, 3)),
        Field(3, "asked", LABEL),
        Field(4, "verdict", one_of(ScanVerdict)),
        Field(5, "reason", NAME, required=False),
        Field(6, "entry", one_of(Entry)),
        Field(7, "repeats", UINT),
    ),
    RecordType.CHANNELS: MapShape(Channels, Field(1, "channels", array(_CHANNEL.kind, 1, MAX_CHANNELS))),
    RecordType.SAMPLES: SamplesShape(),
    RecordType.ALARM: MapShape(
        Alarm,
        Field(1, "code", NAME),
        Field(2, "state", one_of(AlarmState)),
        Field(3, "text", REASON, required=False),
    ),
    RecordType.QUANTITY: MapShape(
        Quantity,
        Field(1, "item", NAME),
        Field(2, "kind", one_of(QuantityKind)),
        Field(3, "mantissa", INT),
        Field(4, "exponent", EXPONENT),
        Field(5, "unit", UNIT),
        Field(6, "lot", text(1, 20), required=False),
    ),
    RecordType.COMMENT: MapShape(Comment, Field(1, "text", text(1, 200))),
    RecordType.LOSS: MapShape(
        Loss,
        Field(1, "what", NAME),
        Field(2, "count", UINT),
        Field(3, "text", REASON, required=False),
    ),
    RecordType.BATCH_CLOSE: MapShape(
        BatchClose,
        Field(1, "first_seq", UINT),
        Field(2, "counts", table(integer(0, MAX_MAP_KEY), UINT, MAX_MAP_KEY + 1)),
        Field(3, "outcome", one_of(Outcome)),
    ),
    RecordType.OVERRIDE: MapShape(
        Override,
        Field(1, "refused", UINT),
        Field(2, "action", one_of(OverrideAction)),
        Field(3, "subject", NAME),
        Field(4, "reason", REASON),
        Field(5, "second", NAME),
    ),
}

TYPE_OF: dict[type[Body], RecordType] = {
    Genesis: RecordType.GENESIS,
    Boot: RecordType.BOOT,
    Clock: RecordType.CLOCK,
    Heartbeat: RecordType.HEARTBEAT,
    Operator: RecordType.OPERATOR,
    BatchOpen: RecordType.BATCH_OPEN,
    Step: RecordType.STEP,
    Scan: RecordType.SCAN,
    Channels: RecordType.CHANNELS,
    Samples: RecordType.SAMPLES,
    Alarm: RecordType.ALARM,
    Quantity: RecordType.QUANTITY,
    Comment: RecordType.COMMENT,
    Loss: RecordType.LOSS,
    BatchClose: RecordType.BATCH_CLOSE,
    Override: RecordType.OVERRIDE,
}
