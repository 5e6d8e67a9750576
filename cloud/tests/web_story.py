"""Batches for the page tests.

Units that sign, a carrier that may spoil, and the cloud's real ingest and reconciliation.

Every record is signed with wire.sign_record and comes in through cloud.ingest.commit, as from a broker. Nothing is
written to the database by hand. Times are milliseconds since 1970; START_MS is a fixed day, so that pages look the
same each time.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from cloud.batches.orders import add_recipe, new_batch
from cloud.batches.reports import Reconciler
from cloud.ingest.commit import Message, commit
from cloud.ledger.enrol import enrol
from cloud.ledger.models import Site
from wire import Clock, encode_records, kid_of, public_key_of, sign_record
from wire.bodies import (
    TYPE_OF,
    Alarm,
    AlarmState,
    BatchClose,
    BatchOpen,
    Body,
    Boot,
    BootCause,
    Channel,
    Channels,
    Comment,
    Entry,
    Genesis,
    Heartbeat,
    Operator,
    OperatorAction,
    Outcome,
    Override,
    OverrideAction,
    Quantity,
    QuantityKind,
    RecordType,
    Scan,
    ScanVerdict,
    Step,
    StepAction,
)
from wire.bodies import Clock as ClockSet
from wire.order import peek_order
from wire.record import body_map
from wire.samples import Mark, Samples
from wire.samples import Sample as Reading

START_MS = 1_795_341_600_000  # 2026-11-22 10:00 UTC
CLOUD_SEED = sha256(b"cloud of the page tests").digest()
MINUTE_MS = 60_000
SAMPLE_MS = 2_000
GS = b"\x1d"

RECIPE = b"""
[recipe]
id = "car-t-short"
version = 3
name = "CAR-T, shortened"

[[item]]
id = "donor-bag"
name = "Donor bag"
exact = true

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
id = "vector"
name = "Lentiviral vector"
gtin = "09520000010034"
needs = ["lot", "expiry"]

[[step]]
id = "receive"
name = "Receive donor cells"
scan = ["donor-bag"]

[[step]]
id = "prime"
name = "Prime cartridge"
scan = ["cartridge", "buffer"]

[[step]]
id = "load"
name = "Load cells and vector"
scan = ["vector"]

[[step]]
id = "culture"
name = "Culture"

[[step]]
id = "harvest"
name = "Harvest"

[[parameter]]
channel = "temperature"
name = "Incubator temperature"
unit = "Cel"
alert_low = 36.7
alert_high = 37.3
action_low = 36.5
action_high = 37.5
delay_s = 60
cadence_s = 2
max_gap_s = 120
steps = ["culture"]

[[parameter]]
channel = "co2"
name = "Carbon dioxide"
unit = "%"
action_low = 4.5
action_high = 5.5
delay_s = 60
cadence_s = 2
max_gap_s = 120
steps = ["culture"]

[[quantity]]
item = "buffer"
unit = "mL"
tolerance = 5

[rules]
late_record_s = 600
heartbeat_s = 300
"""

CHANNELS = Channels(
    (
        Channel("temperature", "Cel", -2, 0, 6000, "CAL-7731", START_MS + 90 * 86_400_000),
        Channel("co2", "%", -2, 0, 2000, None, None, "SCD41 0x8F21", START_MS - 40 * 86_400_000, -12),
    )
)
STEPS = ("receive", "prime", "load", "culture", "harvest")


@dataclass
class SigningUnit:
    """A unit of the tests: signs records into its own chain. sent: how many of raws have left for the gateway."""

    name: str
    site: str
    gateway: str
    seed: bytes = b""
    raws: list[bytes] = field(default_factory=list)
    counts: dict[int, int] = field(default_factory=dict)
    now_ms: int = START_MS
    boot: int = 1
    boot_ms: int = START_MS
    batch: str | None = None
    opened_seq: int = 0
    operator: str | None = None
    channels_seq: int = 0
    sent: int = 0

    def __post_init__(self) -> None:
        self.seed = self.seed or sha256(self.name.encode()).digest()
        public_key = public_key_of(self.seed)
        self.kid = kid_of(public_key)
        self.sign(Genesis(self.name, 1, public_key, "RP2040", "1.4.0", "pure"), timed=False)
        self.sign(Boot(BootCause.POWER, "1.4.0", 0), timed=False)
        self.sign(ClockSet("gateway", None))
        self.sign(CHANNELS)
        self.channels_seq = len(self.raws) - 1

    def sign(self, body: Body, *, timed: bool = True, after_ms: int = 400) -> int:
        """The next record of the stream; its seq."""
        self.now_ms += after_ms
        event: dict[int, object] = {
            1: len(self.raws),
            2: sha256(self.raws[-1]).digest() if self.raws else bytes(32),
            3: self.boot,
            4: self.now_ms - self.boot_ms,
            7: int(TYPE_OF[type(body)]),
            10: body_map(body),
        }
        if timed:
            event |= {5: self.now_ms, 6: 140}
        if self.batch is not None:
            event[8] = self.batch
        if self.operator is not None:
            event[9] = self.operator
        self.raws.append(sign_record(self.seed, event))
        kind = int(TYPE_OF[type(body)])
        self.counts[kind] = self.counts.get(kind, 0) + 1
        return len(self.raws) - 1

    def sign_in(self, operator: str = "OP-114") -> None:
        self.operator = operator
        self.sign(Operator(OperatorAction.IN))

    def open(self, batch: str, order: bytes) -> None:
        """Open a batch that was ordered; order: the signed order's bytes."""
        asked = peek_order(order)
        self.batch, self.opened_seq, self.counts = batch, len(self.raws), {}
        self.sign(BatchOpen(asked.recipe, asked.version, asked.recipe_digest, sha256(order).digest()))

    def close(self, outcome: Outcome = Outcome.COMPLETED) -> None:
        self.sign(BatchClose(self.opened_seq, dict(sorted(self.counts.items())), outcome))
        self.batch = None

    def start(self, step: str, reason: str | None = None) -> None:
        self.sign(Step(step, StepAction.START, reason), after_ms=20_000)

    def done(self, step: str, reason: str | None = None) -> None:
        self.sign(Step(step, StepAction.DONE, reason), after_ms=40_000)

    def scan(
        self, item: str, raw: bytes, *, aim: str = "]d2", refused: str | None = None, manual: bool = False
    ) -> None:
        verdict = ScanVerdict.REFUSED if refused else ScanVerdict.ACCEPTED
        entry = Entry.MANUAL if manual else Entry.SCANNER
        self.sign(Scan(raw, aim, item, verdict, refused, entry, 0), after_ms=15_000)

    def overrule(self, action: OverrideAction, subject: str, reason: str, second: str = "OP-901") -> None:
        """Two people overrule the refusal of the scan just signed."""
        self.sign(Override(len(self.raws) - 1, action, subject, reason, second), after_ms=12_000)

    def sense(self, temperatures: Sequence[Reading], co2: Sequence[Reading]) -> None:
        """A sensor batch that ends now."""
        self.now_ms += len(temperatures) * SAMPLE_MS
        begun_ms = self.now_ms - self.boot_ms - len(temperatures) * SAMPLE_MS
        series = (tuple(temperatures), tuple(co2))
        self.sign(Samples(self.channels_seq, begun_ms, SAMPLE_MS, len(temperatures), series), after_ms=1)

    def restart(self, *, torn: int = 0, after_ms: int = 90_000) -> None:
        """Power was lost and came back: the clock is unset until the gateway gives it."""
        self.now_ms += after_ms
        self.boot, self.boot_ms = self.boot + 1, self.now_ms
        self.sign(Boot(BootCause.POWER, "1.4.0", torn), timed=False)
        self.sign(ClockSet("gateway", None))
        self.channels_seq = self.sign(CHANNELS)

    def unsent(self) -> list[bytes]:
        fresh, self.sent = self.raws[self.sent :], len(self.raws)
        return fresh


def label(item: str, *, lot: str = "A1207", serial: str = "700451", expiry: str = "270630") -> bytes:
    """What a GS1 DataMatrix of an item says."""
    gtin = {"cartridge": "09520000010010", "buffer": "09520000010027", "vector": "09520000010034"}[item]
    tail = b"21" + serial.encode() if item == "cartridge" else b"10" + lot.encode()
    return b"01" + gtin.encode() + b"17" + expiry.encode() + tail


def steady(count: int = 60, *, at: int = 3700, minute: int = 0) -> list[Reading]:
    """Readings around a value, a little different every minute."""
    return [Reading(at + (minute * 7 + number * 3) % 11 - 5) for number in range(count)]


class Works:
    """The cloud with its units: takes what units signed through ingest, and reconciles."""

    def __init__(self) -> None:
        self.clock = _SetClock()
        self.reconciler = Reconciler(self.clock)
        self.messages = 0
        add_recipe(RECIPE, START_MS)

    def enrol(self, name: str, site: str, gateway: str) -> SigningUnit:
        unit = SigningUnit(name, site, gateway)
        enrol(unit.raws[0], site, gateway, START_MS)
        return unit

    def order(self, batch: str, unit: SigningUnit) -> bytes:
        """A signed order for the batch."""
        exact = {"donor-bag": f"DON-{batch[-4:]}"}
        self.clock.shown_ms = max(self.clock.shown_ms, unit.now_ms)
        made = new_batch(batch, "car-t-short", unit.name, CLOUD_SEED, unit.now_ms, exact=exact)
        return bytes(made.order)

    def carry(self, unit: SigningUnit, raws: Iterable[bytes] | None = None, *, delay_ms: int = 900) -> None:
        """Bring records to the cloud in messages of 100; by default all that the unit has not sent."""
        carried = list(unit.unsent() if raws is None else raws)
        for first in range(0, len(carried), 100):
            group = carried[first : first + 100]
            self.messages += 1
            arrival_ms = unit.now_ms + delay_ms
            self.clock.shown_ms = max(self.clock.shown_ms, arrival_ms + 350)
            payload = encode_records(self.messages, [(arrival_ms, raw) for raw in group])
            self.reconciler.follow(commit([Message(unit.site, unit.gateway, payload)], arrival_ms + 350))

    def reconcile(self) -> None:
        self.reconciler.evaluate(busy=False)


class _SetClock(Clock):
    """A wall clock that stands where the story has come to."""

    def __init__(self) -> None:
        super().__init__()
        self.shown_ms = START_MS

    def now_ms(self) -> int:
        return self.shown_ms


def opening(works: Works, unit: SigningUnit, batch: str) -> None:
    """Sign in, open, receive the donor bag, prime, load: the usual beginning."""
    order = works.order(batch, unit)
    unit.sign_in()
    unit.open(batch, order)
    unit.start("receive")
    unit.scan("donor-bag", f"DON-{batch[-4:]}".encode(), aim="]d1")
    unit.done("receive")
    unit.start("prime")
    unit.scan("cartridge", label("cartridge", serial=f"70{batch[-4:]}"))
    unit.scan("buffer", label("buffer"))
    unit.sign(Quantity("buffer", QuantityKind.ISSUED, 5000, -1, "mL", "A1207"))
    unit.done("prime")
    unit.start("load")
    unit.scan("vector", label("vector", lot="LV-33"))
    unit.done("load")


def ending(unit: SigningUnit, used: int = 4980) -> None:
    unit.start("harvest")
    unit.sign(Quantity("buffer", QuantityKind.USED, used, -1, "mL", "A1207"))
    unit.done("harvest")
    unit.close()


def culture(works: Works, unit: SigningUnit, minutes: int = 20, *, carried: bool = True) -> None:
    """A sensor batch every two minutes: steady temperature and carbon dioxide."""
    unit.start("culture")
    for minute in range(minutes // 2):
        unit.sense(steady(minute=minute), steady(at=500, minute=minute))
        if carried:
            works.carry(unit)
    unit.done("culture")


def good_batch(works: Works, unit: SigningUnit, batch: str) -> None:
    opening(works, unit, batch)
    works.carry(unit)
    culture(works, unit)
    ending(unit)
    works.carry(unit)


def faulty_batch(works: Works, unit: SigningUnit, batch: str) -> None:
    """Wrong item refused, an expired lot and a step out of order overruled, an item left out, an excursion, a gap."""
    order = works.order(batch, unit)
    unit.sign_in("OP-207")
    unit.open(batch, order)
    unit.start("receive")
    unit.scan("donor-bag", label("buffer"), refused="wrong_item")
    unit.scan("donor-bag", f"DON-{batch[-4:]}".encode(), aim="]d1", manual=True)
    unit.done("receive")
    unit.scan("", b"CT/STEP/START/load", aim="]d1", refused="wrong_step")
    unit.overrule(OverrideAction.START_STEP, "load", "vector thawed early")
    unit.start("load", "vector thawed early")
    unit.scan("vector", label("vector", lot="LV-31", expiry="261031"), refused="expired")
    unit.overrule(OverrideAction.ACCEPT_ITEM, "vector", "QA prolonged lot LV-31")
    unit.done("load")
    unit.start("prime")
    unit.scan("cartridge", label("cartridge", serial="709002"))
    unit.scan("buffer", b"01095200000100271727063010A12" + GS + b"XX", refused="ambiguous")
    unit.sign(Quantity("buffer", QuantityKind.ISSUED, 5000, -1, "mL", "A1207"))
    unit.scan("buffer", b"CT/STEP/DONE", aim="]d1", refused="not_asked")
    unit.overrule(OverrideAction.FINISH_STEP, "prime", "buffer label smeared")
    unit.done("prime", "buffer label smeared")
    unit.start("culture")
    for minute in range(4):
        unit.sense(steady(minute=minute), steady(at=500, minute=minute))
        works.carry(unit)
    unit.sign(Alarm("temperature_high", AlarmState.RAISED, "above 37.5 for one minute"))
    for minute in range(2):
        unit.sense(steady(at=3790 + 12 * minute, minute=minute), steady(at=500, minute=minute))
    unit.sign(Alarm("temperature_high", AlarmState.ACKNOWLEDGED, None))
    works.carry(unit)
    missing = [Reading(None, Mark.MISSING)] * 60
    unit.sense(missing, steady(at=505))
    unit.sense(missing[:40] + steady(20), steady(at=505))
    for minute in range(3):
        unit.sense(steady(minute=minute), steady(at=500, minute=minute))
    unit.sign(Alarm("temperature_high", AlarmState.CLEARED, None))
    unit.sign(Comment("Door was opened to check the bag, about two minutes."))
    unit.done("culture")
    ending(unit, used=4310)
    works.carry(unit)


def interrupted_batch(works: Works, unit: SigningUnit, batch: str) -> None:
    """Power is lost twice in the middle of a step and the uplink is away for a quarter of an hour."""
    opening(works, unit, batch)
    works.carry(unit)
    unit.start("culture")
    for minute in range(4):
        unit.sense(steady(minute=minute), steady(at=500, minute=minute))
    unit.restart(torn=1)
    for minute in range(3):
        unit.sense(steady(minute=minute), steady(at=500, minute=minute))
    unit.restart(after_ms=30_000)
    unit.sign_in()
    for minute in range(3):
        unit.sense(steady(minute=minute), steady(at=500, minute=minute))
    unit.done("culture")
    ending(unit)
    works.carry(unit, delay_ms=15 * MINUTE_MS)


def altered(raw: bytes) -> bytes:
    """raw with one bit of its signature turned: it decodes, and does not verify."""
    return raw[:-1] + bytes([raw[-1] ^ 1])


def forged(unit: SigningUnit, batch: str) -> bytes:
    """A record for a batch, signed with a key that nobody enrolled."""
    seed = sha256(b"somebody else").digest()
    event = {1: 40, 2: bytes(32), 3: 1, 4: 1, 5: unit.now_ms, 6: 140, 7: int(RecordType.COMMENT), 8: batch}
    return sign_record(seed, event | {10: {1: "all is well"}})


def spoiled_batch(works: Works, unit: SigningUnit, batch: str, *, refilled: bool) -> None:
    """The carrier withholds one record, alters another and forges a third; the true ones follow when refilled."""
    opening(works, unit, batch)
    works.carry(unit)
    culture(works, unit, 8, carried=False)
    ending(unit)
    raws = unit.unsent()
    lost, changed = len(raws) - 6, len(raws) - 9
    carried = [altered(raw) if place == changed else raw for place, raw in enumerate(raws) if place != lost]
    works.carry(unit, [*carried, forged(unit, batch)])
    if refilled:
        works.carry(unit, [raws[lost], raws[changed]], delay_ms=40_000)


def running_batch(works: Works, unit: SigningUnit, batch: str) -> None:
    opening(works, unit, batch)
    unit.start("culture")
    for minute in range(5):
        unit.sense(steady(minute=minute), steady(at=500, minute=minute))
        works.carry(unit)
    unit.sign(Heartbeat(300_000))
    works.carry(unit)


def hostile_batch(works: Works, unit: SigningUnit, batch: str, texts: Sequence[str]) -> None:
    """Texts that attack a page, through every way a unit has: scans, reasons, comments, lots, items."""
    order = works.order(batch, unit)
    unit.operator = texts[0][:32]
    unit.sign(Operator(OperatorAction.IN))
    unit.open(batch, order)
    unit.start("receive", texts[0][:64])
    for number, text in enumerate(texts):
        unit.scan("donor-bag", text.encode()[:400], aim="]d1", refused=text[:32] if number % 2 else "wrong_item")
        unit.overrule(OverrideAction.ACCEPT_ITEM, text[:32], text[:64], text[:32])
        unit.sign(Comment(text[:200]))
    unit.sign(Quantity("buffer", QuantityKind.ISSUED, 1, 0, texts[0][:16], texts[0][:20]))
    unit.sign(Alarm(texts[0][:32], AlarmState.RAISED, texts[0][:64]))
    unit.start(texts[0][:32])
    works.carry(unit)


def whole_story() -> Works:
    """Seven batches on four units of two sites, one of each kind."""
    works = Works()
    north1 = works.enrol("U-01", "NORTH", "G-NORTH")
    north2 = works.enrol("U-02", "NORTH", "G-NORTH")
    south3 = works.enrol("U-03", "SOUTH", "G-SOUTH")
    south4 = works.enrol("U-04", "SOUTH", "G-SOUTH")
    Site.objects.filter(name="SOUTH").update(utc_offset_min=120)
    good_batch(works, north1, "B-2026-0101")
    faulty_batch(works, north2, "B-2026-0102")
    interrupted_batch(works, south3, "B-2026-0103")
    spoiled_batch(works, south3, "B-2026-0104", refilled=True)
    spoiled_batch(works, south4, "B-2026-0105", refilled=False)
    running_batch(works, north1, "B-2026-0106")
    works.order("B-2026-0107", north2)
    works.reconcile()
    return works
