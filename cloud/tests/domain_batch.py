"""Builds signed records of one batch for the tests of cloud/domain: a small unit with a true chain and a clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from cloud.domain.fold import BatchFold
from cloud.domain.plan import BatchPlan, GapHistory, LedgerEntry, SerialUse
from cloud.domain.recipe import Recipe
from cloud.domain.recipe_file import parse_recipe
from cloud.domain.report import ExceptionItem, Report
from wire import (
    BatchClose,
    BatchOpen,
    Body,
    Boot,
    BootCause,
    Channel,
    Channels,
    Entry,
    Mark,
    Outcome,
    Quantity,
    QuantityKind,
    Record,
    Sample,
    Samples,
    Scan,
    ScanVerdict,
    Step,
    StepAction,
    body_map,
    decode_record,
    kid_of,
    public_key_of,
    sign_record,
)
from wire.bodies import TYPE_OF

SEED = bytes(range(32))
KID = kid_of(public_key_of(SEED))
BATCH = "B-2026-0017"
ORDER_DIGEST = bytes([7]) * 32
START_MS = 1_793_170_800_000  # 2026-10-28 07:00 UTC
GS = "\x1d"

RECIPE_TOML = b"""
[recipe]
id = "test-run"
version = 3
name = "Test run"

[[item]]
id = "cartridge"
name = "Process cartridge"
gtin = "09520000010010"
needs = ["serial", "expiry"]
single_use = true

[[item]]
id = "buffer"
name = "Wash buffer"
gtin = "09520000010027"
needs = ["lot", "expiry"]

[[item]]
id = "donor-bag"
name = "Donor bag"
exact = true

[[step]]
id = "prime"
name = "Prime"
scan = ["cartridge", "buffer"]
max_duration_s = 1200

[[step]]
id = "load"
name = "Load"
scan = ["donor-bag"]
max_hold_s = 600

[[step]]
id = "culture"
name = "Culture"

[[parameter]]
channel = "temperature"
name = "Incubator temperature"
unit = "Cel"
alert_high = 37.2
action_low = 36.5
action_high = 37.5
delay_s = 60
cadence_s = 1
max_gap_s = 180
steps = ["culture"]

[[quantity]]
item = "buffer"
unit = "mL"
tolerance = 2.5

[rules]
late_record_s = 600
clock_uncertainty_s = 60
heartbeat_s = 300
"""

RECIPE = parse_recipe(RECIPE_TOML)
DONOR = "=A99992112345600"
CARTRIDGE = "010952000001001017270131" + "21SN-1"
BUFFER = "010952000001002717270131" + "10LOT-7"


@dataclass
class Unit:
    """Signs records one after another. uptime_ms, time_ms and operator are the unit's state; tests change them."""

    seed: bytes = SEED
    records: list[Record] = field(default_factory=list)
    seq: int = 5
    prev: bytes = bytes([1]) * 32
    boot: int = 1
    uptime_ms: int = 60_000
    offset_ms: int | None = START_MS
    uncertainty_ms: int = 150
    batch: str | None = None
    operator: str | None = "OP-114"
    first_seq: int = 0
    channels_seq: int = 0

    def say(self, body: Body, **changed: object) -> Record:
        """Sign and keep a record with this body. changed: other values for fields of Record."""
        timed = self.offset_ms is not None
        values: dict[str, object] = {
            "seq": self.seq,
            "prev": self.prev,
            "boot": self.boot,
            "uptime_ms": self.uptime_ms,
            "time_ms": self.offset_ms + self.uptime_ms if self.offset_ms is not None else None,
            "uncertainty_ms": self.uncertainty_ms if timed else None,
            "batch": self.batch,
            "operator": self.operator,
        } | changed
        record = signed(self.seed, body, values)
        self.records.append(record)
        self.prev, self.seq = record.digest, record.seq + 1
        return record

    def wait(self, seconds: float) -> None:
        self.uptime_ms += int(seconds * 1000)

    def describe(self) -> None:
        temperature = Channel("temperature", "Cel", -2, 0, 6000, "CAL-9", START_MS + 10**10)
        self.channels_seq = self.say(Channels((temperature,))).seq

    def open(self, recipe: Recipe = RECIPE, order_digest: bytes = ORDER_DIGEST, batch: str = BATCH) -> None:
        self.batch, self.first_seq = batch, self.seq
        self.say(BatchOpen(recipe.recipe, recipe.version, recipe.digest, order_digest))

    def step(self, step: str, action: StepAction, reason: str | None = None) -> Record:
        return self.say(Step(step, action, reason))

    def scan(
        self, asked: str, text: str, *, aim: str = "]d2", refused: str | None = None, entry: Entry = Entry.SCANNER
    ) -> Record:
        verdict = ScanVerdict.REFUSED if refused else ScanVerdict.ACCEPTED
        return self.say(Scan(text.encode(), aim, asked, verdict, refused, entry, 0))

    def samples(self, values: Sequence[int | None], marks: Mapping[int, Mark] | None = None) -> Record:
        """One sample per second, of which the last is now."""
        series = tuple(Sample(value, (marks or {}).get(at)) for at, value in enumerate(values))
        start_ms = self.uptime_ms - 1000 * (len(values) - 1)
        return self.say(Samples(self.channels_seq, start_ms, 1000, len(values), (series,)))

    def measure(self, minutes: int, value: int = 3700) -> None:
        """Sensor batches of one minute each."""
        for _ in range(minutes):
            self.wait(60)
            self.samples([value] * 60)

    def quantity(self, kind: QuantityKind, mantissa: int, exponent: int = 0, unit: str = "mL") -> Record:
        return self.say(Quantity("buffer", kind, mantissa, exponent, unit, "LOT-7"))

    def restart(self, cause: BootCause = BootCause.POWER) -> None:
        self.boot, self.uptime_ms = self.boot + 1, 0
        self.say(Boot(cause, "1.0", 0), time_ms=None, uncertainty_ms=None)
        self.offset_ms = None if self.offset_ms is None else self.records[-2].time_ms + 5_000  # type: ignore[operator]

    def close(self, outcome: Outcome = Outcome.COMPLETED) -> None:
        counted = Counter(int(record.type) for record in self.records if record.seq >= self.first_seq)
        self.say(BatchClose(self.first_seq, dict(counted), outcome))
        self.batch = None


def signed(seed: bytes, body: Body, values: Mapping[str, object]) -> Record:
    """A decoded record with these values."""
    keys = {
        "seq": 1,
        "prev": 2,
        "boot": 3,
        "uptime_ms": 4,
        "time_ms": 5,
        "uncertainty_ms": 6,
        "batch": 8,
        "operator": 9,
    }
    event = {keys[name]: value for name, value in values.items() if value is not None}
    return decode_record(sign_record(seed, event | {7: int(TYPE_OF[type(body)]), 10: body_map(body)}))


def part_prime(unit: Unit) -> None:
    unit.step("prime", StepAction.START)
    unit.wait(10)
    unit.scan("cartridge", CARTRIDGE)
    unit.scan("buffer", BUFFER)
    unit.wait(10)
    unit.step("prime", StepAction.DONE)


def part_load(unit: Unit) -> None:
    unit.step("load", StepAction.START)
    unit.scan("donor-bag", DONOR, aim="]C0")
    unit.wait(20)
    unit.step("load", StepAction.DONE)


def part_culture(unit: Unit) -> None:
    unit.step("culture", StepAction.START)
    unit.measure(5)
    unit.step("culture", StepAction.DONE)


def part_quantities(unit: Unit) -> None:
    unit.quantity(QuantityKind.ISSUED, 500)
    unit.quantity(QuantityKind.USED, 4985, -1)


def good_batch(**parts: Callable[[Unit], object]) -> Unit:
    """A batch without any exception; parts replaces prime, load, culture, quantities or end."""
    unit = Unit()
    unit.describe()
    unit.open()
    usual: dict[str, Callable[[Unit], object]] = {
        "prime": part_prime,
        "load": part_load,
        "culture": part_culture,
        "quantities": part_quantities,
        "end": Unit.close,
    }
    for name, part in usual.items():
        parts.get(name, part)(unit)
    return unit


PLAN = BatchPlan(BATCH, "U-01", KID, RECIPE, ORDER_DIGEST, {"donor-bag": DONOR})


def entry_of(record: Record, **changed: object) -> LedgerEntry:
    """As it reaches the ledger: two seconds after it was recorded."""
    known_ms = record.time_ms if record.time_ms is not None else START_MS
    entry = LedgerEntry(record, known_ms + 500, known_ms + 2_000, "GW-1")
    return replace(entry, **changed)  # type: ignore[arg-type]


def fold_of(records: Iterable[Record], plan: BatchPlan = PLAN) -> BatchFold:
    fold = BatchFold(plan)
    for record in records:
        fold.add(entry_of(record))
    return fold


def report_of(
    unit: Unit, plan: BatchPlan = PLAN, *, known: Iterable[SerialUse] = (), gaps: Iterable[GapHistory] = ()
) -> Report:
    """The report just after the unit's last record."""
    return fold_of(unit.records, plan).report(START_MS + unit.uptime_ms + 10_000, known_serials=known, gaps=gaps)


def found(report: Report, code: str) -> list[ExceptionItem]:
    return [item for item in report.exceptions if item.code == code]


def codes(report: Report) -> list[str]:
    return sorted(item.code for item in report.exceptions)
