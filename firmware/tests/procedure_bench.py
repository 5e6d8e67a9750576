"""A procedure in memory and what tests say to it: the fixtures of dual_unit_*.py. Runs on CPython and MicroPython."""

from agent import cbor, events, orders, panel
from agent.dialogue import Dialogue
from agent.procedure import Procedure
from agent.scanner import Read, split_aim
from agent.verdict import Answer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SEED = bytes(range(32))
KID = b"kid-0001"
NOW_MS = 1795000000000  # 2026-11-18T11:06:40Z
CLOCK = (NOW_MS, 100)
GTIN = "09520000010010"
DONOR = "=A99991234567800"  # of the donation A9999 12 345678; 00 are flag characters
OTHER_DONOR = "=A99991234567900"
WHY = "CT/OVERRIDE/the only one left"


def order_fields() -> "dict[int, Any]":
    steps: "list[Any]" = [{1: "load", 2: "Load", 3: ["donor", "kit", "kit"]}, {1: "wash", 2: "Wash", 3: []}]
    items: "list[Any]" = [
        {1: "donor", 2: "Donor bag", 3: "", 4: 0, 5: "A999912345678"},
        {1: "kit", 2: "Tubing set", 3: GTIN, 4: 7},
    ]
    return {1: 1, 2: KID, 3: "B-1", 4: "rec", 5: 1, 6: bytes(32), 7: steps, 8: items, 9: NOW_MS}


def order_of(fields: "dict[int, Any]") -> orders.Order:
    """An order as the unit's flash keeps it; nobody looks at its signature any more."""
    return orders.stored_order(b"\xd2" + cbor.encode([b"", {}, cbor.encode(fields), bytes(64)]))


class Bench:
    """A procedure whose records go through the journal's form and back, as in a unit."""

    def __init__(self, fields: "dict[int, Any] | None" = None) -> None:
        self.order = order_of(fields or order_fields())
        self.records: "list[Any]" = []
        self.procedure = Procedure()
        self.procedure.order = self.order
        self.dialogue = Dialogue(self.procedure)
        self.uptime_ms = 5000

    def scan(self, code: "str | bytes", clock: "tuple[int, int] | None" = CLOCK) -> Answer:
        aim, raw = split_aim(code if isinstance(code, bytes) else ("]d1" + code).encode())
        answer = self.dialogue.read(Read(aim, raw, "", 0), clock, self.uptime_ms)
        self.write(answer.records)
        return answer

    def write(self, records: "list[Any]") -> None:
        for kind, body, operator in records:
            if kind == events.BATCH_CLOSE:
                body = self.procedure.closing(body[3])
            batch = self.order.batch if kind == events.BATCH_OPEN else self.procedure.batch
            self.records.append((kind, batch, operator, cbor.decode(cbor.encode(body))))
            self.procedure.fold(len(self.records) - 1, *self.records[-1])

    def override(self) -> None:
        """Two people overrule what was refused last."""
        for code in (WHY, "CT/BADGE/OP-2"):
            answer = self.scan(code)
            assert answer.accepted, (code, answer.words)

    def last(self) -> "tuple[Any, ...]":
        """Type and body of the last record."""
        kind, _batch, _operator, body = self.records[-1]
        return kind, body

    def panel(self, first: str, second: str, accepted: bool = True) -> "list[str]":
        """The panel after an answer with these words."""
        return panel.working(self.procedure, self.dialogue.prompt(), [first, second], accepted, "archived all", False)

    def pass_ms(self, passed_ms: int) -> None:
        self.uptime_ms += passed_ms
        self.write(self.dialogue.expire(self.uptime_ms))

    def reason(self, code: "str | bytes", clock: "tuple[int, int] | None" = CLOCK) -> str:
        answer = self.scan(code, clock)
        assert not answer.accepted
        reason: str = self.records[-1][3][5]
        return reason

    def alarm(self, code: str, state: int) -> None:
        """The sensors' own record, as the unit journals it."""
        body = cbor.decode(cbor.encode(events.alarm(code, state, "words")))
        self.records.append((events.ALARM, self.procedure.batch, self.procedure.operator, body))
        self.procedure.fold(len(self.records) - 1, *self.records[-1])

    def rebooted(self, checkpoint_at: int) -> Procedure:
        """What a boot makes of a checkpoint written after so many records, and of the records after it."""
        before, again = Procedure(), Procedure()
        for seq, record in enumerate(self.records[:checkpoint_at]):
            before.fold(seq, *record)
        again.order = self.order
        again.resume(cbor.decode(cbor.encode(before.checkpoint())))
        for seq, record in enumerate(self.records[checkpoint_at:]):
            again.fold(checkpoint_at + seq, *record)
        return again

    def ready(self) -> "Bench":
        for code in ("CT/BADGE/OP-1", "CT/BATCH/OPEN", "CT/STEP/START/load"):
            assert self.scan(code).accepted, code
        return self


def kit(serial: str, expiry: str = "271231", lot: str = "L1") -> bytes:
    return ("]d201" + GTIN + "17" + expiry + "10" + lot + "\x1d21" + serial).encode()


def bottle(first13: str, rest: str = "10L7") -> bytes:
    """A label of another trade item, with its check digit."""
    total = sum([int(digit) * (3 if at % 2 == 0 else 1) for at, digit in enumerate(first13)])
    return ("]d201" + first13 + str(-total % 10) + rest).encode()
