"""Batch, steps and scans against an order, in memory. Runs on CPython and MicroPython."""

import hashlib

from agent import alarms, cbor, cose, events, orders, panel, scans
from agent.dialogue import OVERRIDE_MS, Dialogue
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


def test_nothing_without_badge_batch_and_step() -> None:
    bench = Bench()
    assert bench.reason("CT/BATCH/OPEN") == "no_operator"
    assert bench.scan("CT/BADGE/OP-1").accepted
    assert bench.reason(kit("S1")) == "no_batch"
    assert bench.scan("CT/BATCH/OPEN").accepted
    assert bench.reason(kit("S1")) == "not_asked"
    assert bench.reason("CT/BATCH/OPEN") == "not_asked"


def test_scans_are_judged_against_the_step() -> None:
    bench = Bench().ready()
    assert bench.reason(OTHER_DONOR) == "identity_mismatch"
    assert bench.records[-1][3][3] == "donor"
    assert bench.scan(DONOR).accepted
    assert bench.reason(DONOR) == "duplicate"
    assert bench.reason(OTHER_DONOR) == "identity_mismatch"  # and it never passes for what is asked now
    assert bench.reason(bottle("0952000001003")) == "wrong_item"
    assert bench.reason(("]d201" + GTIN + "21S1").encode()) == "missing_field"
    assert bench.scan(kit("S1")).accepted
    assert bench.reason(kit("S1")) == "duplicate"
    assert bench.scan(kit("S2")).accepted
    assert bench.reason(kit("S3")) == "duplicate"  # all that the step asked for are here
    assert bench.procedure.missing_items() == []
    assert bench.scan("CT/STEP/DONE").accepted


def test_expiry_and_the_clock() -> None:
    bench = Bench().ready()
    day_end_ms = 1795046400000  # the end of 2026-11-18
    assert bench.reason(kit("S1", "261117")) == "expired"
    assert bench.reason(kit("S1", "261118"), None) == "clock_uncertain"
    assert bench.reason(kit("S1", "261118"), (day_end_ms - 50, 100)) == "clock_uncertain"
    assert bench.reason(kit("S1", "261118"), (day_end_ms + 50, 100)) == "clock_uncertain"
    assert bench.reason(kit("S1", "261118"), (day_end_ms + 100, 100)) == "expired"
    assert bench.reason(kit("S1", "270230")) == "unreadable"
    bench.procedure.site_offset_ms = 3600000  # the site's day ends an hour before UTC's
    assert bench.reason(kit("S1", "261118"), (day_end_ms - 200, 100)) == "expired"
    bench.procedure.site_offset_ms = 0
    assert bench.scan(kit("S1", "261118"), (day_end_ms - 200, 100)).accepted


def test_order_of_steps_and_reasons() -> None:
    bench = Bench()
    bench.scan("CT/BADGE/OP-1")
    bench.scan("CT/BATCH/OPEN")
    for code in (
        "CT/STEP/START/none", "CT/STEP/SKIP/load", "CT/STEP/REPEAT/load/x", "CT/STEP/DONE",
        "CT/BATCH/CLOSE", "CT/STEP", "CT/", "CT/BATCH/ABORT/", "CT/STEP/START/load/" + "r" * 65,
    ):  # fmt: skip
        assert bench.reason(code) == "not_asked", code
    assert bench.reason("CT/STEP/START/wash/buffer first") == "wrong_step"  # a reason alone is not enough
    bench.override()
    assert bench.records[-1][3] == {1: "wash", 2: 1, 3: "the only one left"}
    assert bench.reason("CT/STEP/START/load") == "not_asked"  # one step at a time
    assert bench.scan("CT/STEP/DONE/early/but well").accepted
    assert bench.records[-1][3][3] == "early/but well"
    assert bench.scan("CT/STEP/START/load").accepted
    assert bench.scan(DONOR).accepted
    assert bench.reason("CT/STEP/DONE/labels torn") == "not_asked"
    bench.override()
    assert bench.records[-1][3] == {1: "load", 2: 2, 3: "the only one left"}
    assert bench.reason("CT/STEP/START/load") == "not_asked"
    assert bench.scan("CT/STEP/REPEAT/load/a better try").accepted
    for scanned in (DONOR, kit("S1"), kit("S2"), "CT/STEP/DONE"):
        assert bench.scan(scanned).accepted, scanned
    assert bench.scan("CT/BATCH/CLOSE").accepted
    assert bench.procedure.batch == ""
    assert bench.reason("CT/BATCH/OPEN") == "no_batch"  # an order is good for one batch


def test_the_close_counts_every_record_by_type() -> None:
    bench = Bench().ready()
    bench.reason("nonsense")
    bench.scan("CT/QTY/kit/used/12.50/mL")
    bench.scan("CT/BATCH/ABORT/spilled")
    kind, batch, operator, body = bench.records[-1]
    assert (kind, batch, operator, body[1], body[3]) == (events.BATCH_CLOSE, "B-1", "OP-1", 1, 2)
    counted: "dict[int, int]" = {}
    for other in bench.records[1:-1]:
        counted[other[0]] = counted.get(other[0], 0) + 1
    assert body[2] == counted


def test_repeat_frees_the_serials_of_its_step() -> None:
    bench = Bench().ready()
    for code in (DONOR, kit("S1"), kit("S2"), "CT/STEP/DONE", "CT/STEP/REPEAT/load/redo"):
        assert bench.scan(code).accepted, code
    assert bench.scan(kit("S1")).accepted


def test_badges_change_hands() -> None:
    bench = Bench()
    bench.scan("CT/BADGE/OP-1")
    bench.scan("CT/BADGE/OP-2")
    bench.scan("CT/BADGE/OP-2")
    assert [(operator, body[1]) for _kind, _batch, operator, body in bench.records] == [
        ("OP-1", 1), ("OP-1", 2), ("OP-2", 1), ("OP-2", 2),
    ]  # fmt: skip
    assert bench.procedure.operator == ""


def test_quantities_and_notes_are_checked() -> None:
    bench = Bench().ready()
    for code in (
        "CT/QTY/none/used/1/mL", "CT/QTY/kit/eaten/1/mL", "CT/QTY/kit/used/1e9/mL", "CT/QTY/kit/used/-1/mL",
        "CT/QTY/kit/used/.5/mL", "CT/QTY/kit/used/1/", "CT/QTY/kit/used/1234567890123456/mL", "CT/NOTE/",
    ):  # fmt: skip
        assert bench.reason(code) == "not_asked", code
    assert bench.reason("CT/NOTE/a\x03b") == "unreadable"
    assert bench.reason(b"]d1CT/NOTE/\xff") == "unreadable"
    assert bench.scan("CT/NOTE/caf\u00e9 1/2").accepted
    assert bench.scan("CT/QTY/kit/used/7/mg/mL").accepted
    assert bench.records[-1][3] == {1: "kit", 2: 2, 3: 7, 4: 0, 5: "mg/mL"}


def test_a_gs1_label_is_never_a_command() -> None:
    bench = Bench()
    answer = bench.scan(b"]d2CT/BADGE/OP-1")
    assert not answer.accepted
    assert bench.procedure.operator == ""


def test_records_alone_rebuild_the_state() -> None:
    bench = Bench().ready()
    bench.scan(DONOR)
    bench.scan(kit("S1"))
    for cut in range(len(bench.records) + 1):
        resumed = bench.rebooted(cut)
        assert resumed.checkpoint() == bench.procedure.checkpoint()
        assert resumed.missing_items() == ["kit"]


def test_an_alarm_is_shown_until_it_is_acknowledged() -> None:
    bench = Bench().ready()
    assert bench.reason("CT/ALARM/ACK") == "not_asked"
    bench.alarm("limit_temp", alarms.RAISED)
    bench.alarm("limit_co2", alarms.RAISED)
    bench.alarm("limit_temp", alarms.CLEARED)  # that it is over is no reason to hide it
    assert bench.panel("", "")[:3] == [
        "B-1 load",
        "ALARM temp",
        "> scan ALARM ACK",
    ]
    assert bench.scan("CT/ALARM/ACK").words[0] == "Alarm acknowledged"
    assert bench.records[-2:] == [
        (events.ALARM, "B-1", "OP-1", {1: "limit_temp", 2: 2}), (events.ALARM, "B-1", "OP-1", {1: "limit_co2", 2: 2}),
    ]  # fmt: skip
    assert bench.procedure.prompt() == ["Scan this item:", "Donor bag"]
    answer = bench.scan("CT/ALARM/ACK")
    assert (answer.accepted, answer.words) == (False, ["No alarm is waiting", "to be acknowledged"])
    assert bench.procedure.alarms.raised == ["limit_co2"]  # acknowledged is not over
    bench.alarm("limit_temp", alarms.RAISED)
    assert bench.procedure.prompt()[0] == "ALARM temp"  # once more, once more to be acknowledged


def test_an_alarm_is_acknowledged_only_by_somebody() -> None:
    bench = Bench().ready()
    bench.alarm("limit_temp", alarms.RAISED)
    bench.scan("CT/BADGE/OP-1")
    assert bench.procedure.prompt() == ["ALARM temp", "BADGE, ALARM ACK"]
    assert bench.reason("CT/ALARM/ACK") == "no_operator"
    assert bench.procedure.prompt()[0] == "ALARM temp"


def test_an_alarm_not_acknowledged_outlasts_a_reboot_but_not_its_batch() -> None:
    bench = Bench().ready()
    bench.alarm("limit_temp", alarms.RAISED)
    bench.alarm("limit_co2", alarms.RAISED)
    bench.alarm("limit_temp", alarms.CLEARED)
    for cut in range(len(bench.records) + 1):
        again = bench.rebooted(cut)
        assert again.prompt() == ["ALARM temp", "scan ALARM ACK"]
        assert again.alarms.raised == ["limit_co2"]
    bench.scan("CT/ALARM/ACK")
    for cut in range(len(bench.records) + 1):
        assert bench.rebooted(cut).prompt() == ["Scan this item:", "Donor bag"]
    bench.alarm("limit_temp", alarms.RAISED)
    bench.scan("CT/BATCH/ABORT/too warm")
    assert bench.reason("CT/ALARM/ACK") == "not_asked"


def test_a_lost_order_allows_only_an_abort() -> None:
    bench = Bench().ready()
    bench.procedure.order = None
    assert bench.reason(kit("S1")) == "not_asked"
    assert bench.procedure.prompt()[0].startswith("Order lost")
    assert bench.scan("CT/BATCH/ABORT/order lost").accepted


def test_orders_are_verified() -> None:
    signer = cose.PureSigner(SEED)
    payload = cbor.encode(order_fields())
    raw = cose.sign1(signer, cose.ORDER, payload)
    assert orders.open_order(raw, signer.public_key, KID).digest == hashlib.sha256(raw).digest()

    def refused(raw: bytes, key: bytes, kid: bytes) -> str:
        try:
            orders.open_order(raw, key, kid)
        except orders.OrderRefused as error:
            return error.code
        return "taken"

    assert refused(raw, signer.public_key, b"kid-0002") == "other_unit"
    assert refused(raw[:-1] + bytes((raw[-1] ^ 1,)), signer.public_key, KID) == "forged"
    assert refused(cose.sign1(signer, cose.RECORD, payload), signer.public_key, KID) == "forged"
    for key, wrong in ((1, -1), (3, ""), (7, []), (7, [{1: "a", 2: "b", 3: ["unknown"]}]), (8, 5), (6, b"")):
        fields = order_fields()
        fields[key] = wrong
        assert refused(cose.sign1(signer, cose.ORDER, cbor.encode(fields)), signer.public_key, KID) == "malformed", key


def test_chunks_of_an_order() -> None:
    raw = bytes([at & 0xFF for at in range(2000)])
    chunks = [(len(raw), at, raw[at : at + 900]) for at in range(0, len(raw), 900)]
    assembler = orders.Assembler()
    assert [assembler.feed(*chunk) for chunk in chunks] == [None, None, raw]
    assert [assembler.feed(*chunk) for chunk in (chunks[0], chunks[2], chunks[1], chunks[1], chunks[2])] == [
        None, None, None, None, raw,
    ]  # fmt: skip
    for hostile in ((0, 0, b""), (5000, 0, b"x"), (10, 9, b"xx"), (10, 0, b"")):
        assert assembler.feed(*hostile) is None


# --- overrides --------------------------------------------------------------------------------------------------------


def test_two_people_accept_an_item_that_was_refused() -> None:
    bench = Bench().ready()
    bench.scan(DONOR)
    assert bench.reason(kit("S1", "251231")) == "expired"
    refused_seq = len(bench.records) - 1
    assert bench.records[-1][3][3] == "kit"
    answer = bench.scan(WHY)
    assert (answer.accepted, answer.records) == (True, [])
    assert bench.panel("", "")[1:3] == ["Second badge:", "> ANOTHER person"]
    assert bench.scan("CT/BADGE/OP-2").accepted
    assert bench.last() == (
        events.OVERRIDE, {1: refused_seq, 2: 1, 3: "kit", 4: "the only one left", 5: "OP-2"}
    )  # fmt: skip
    assert bench.records[-1][1:3] == ("B-1", "OP-1")
    assert bench.procedure.operator == "OP-1"  # the first person goes on
    assert bench.procedure.missing_items() == ["kit"]
    assert bench.reason(kit("S1")) == "duplicate"  # what was overridden is used all the same
    assert bench.scan(kit("S2")).accepted
    assert bench.scan("CT/STEP/DONE").accepted


def test_every_flaw_of_an_item_that_is_no_identity_can_be_overridden() -> None:
    for code, clock, reason in (
        (bottle("0952000001003"), CLOCK, "wrong_item"),
        ("]d201" + GTIN + "21S1", CLOCK, "missing_field"),
        ("]d201" + GTIN + "10L1\x1d21S1" + "17271231", CLOCK, "ambiguous"),
        (kit("S1"), None, "clock_uncertain"),
        (kit("S0"), CLOCK, "duplicate"),
    ):
        bench = Bench().ready()
        bench.scan(DONOR)
        bench.scan(kit("S0"))
        assert bench.reason(code if isinstance(code, bytes) else code.encode(), clock) == reason
        bench.override()
        assert (bench.last()[0], bench.procedure.missing_items()) == (events.OVERRIDE, []), reason


def test_one_person_is_not_two() -> None:
    bench = Bench().ready()
    bench.scan(DONOR)
    bench.reason(kit("S1", "251231"))
    bench.scan(WHY)
    answer = bench.scan("CT/BADGE/OP-1")
    assert (answer.accepted, answer.words) == (False, ["Same badge: ANOTHER", "person must scan"])
    assert bench.last() == (events.COMMENT, {1: "override: OP-1 cannot be the second person too"})
    assert bench.procedure.operator == "OP-1"
    assert bench.panel(answer.words[0], answer.words[1], accepted=False)[1:5] == [
        "Second badge:", "> ANOTHER person", "! Same badge: ANOTHER", "person must scan",
    ]  # fmt: skip
    bench.scan("CT/BADGE/OP-2")
    kind, body = bench.last()
    assert kind == events.OVERRIDE
    assert bench.records[body[1]][3][5] == "expired"  # still the last scan record


def refused_words(bench: Bench, code: "str | bytes" = WHY) -> str:
    answer = bench.scan(code)
    assert not answer.accepted
    return " ".join(answer.words).strip()


def test_what_nobody_may_override_is_refused_in_words() -> None:
    bench = Bench()
    bench.reason(kit("S1"))
    assert refused_words(bench) == "Nobody signed in: scan your BADGE"
    bench.scan("CT/BADGE/OP-1")
    bench.reason(kit("S1"))
    assert refused_words(bench) == "No batch is open: scan BATCH OPEN"
    bench.scan("CT/BATCH/OPEN")
    assert refused_words(bench) == "Nothing to override scan that code first"
    bench.reason(kit("S1"))  # no step is open
    assert refused_words(bench) == "No override for: No step is open:"
    bench.scan("CT/STEP/START/load")
    for identity in (OTHER_DONOR, bottle("0952000001003"), "CT/STEP/DONE"):
        reason = bench.reason(identity)
        assert refused_words(bench).startswith(
            "IDENTITY: nobody overrides" if reason == "identity_mismatch" else "No override for: Identity"
        ), identity
    bench.scan(DONOR)
    bench.reason(b"]d201" + GTIN.encode()[:-1] + b"9")
    assert refused_words(bench) == "Unreadable code: no override. Scan again"
    bench.write(bench.dialogue.read(Read("]d2", kit("S1")[3:20], "truncated", 0), CLOCK, bench.uptime_ms).records)
    assert refused_words(bench) == "Unreadable code: no override. Scan again"
    bench.reason(kit("S1", "251231"))
    assert refused_words(bench, "CT/OVERRIDE/") == "Text is missing: check the code"
    assert refused_words(bench) == "No override for: Text is missing:"  # the last scan was the faulty command
    assert events.OVERRIDE not in [record[0] for record in bench.records]


def test_an_override_has_a_minute_for_each_of_its_parts() -> None:
    bench = Bench().ready()
    bench.scan(DONOR)
    bench.reason(kit("S1", "251231"))
    bench.pass_ms(OVERRIDE_MS - 1)
    assert bench.scan(WHY).accepted
    bench.pass_ms(OVERRIDE_MS - 1)
    assert bench.scan("CT/BADGE/OP-2").accepted
    assert bench.last()[0] == events.OVERRIDE
    bench.reason(kit("S1", "251231"))
    bench.pass_ms(OVERRIDE_MS)
    assert refused_words(bench) == "Nothing to override scan that code first"
    bench.reason(kit("S1", "251231"))
    bench.scan(WHY)
    bench.pass_ms(OVERRIDE_MS)
    assert bench.last() == (events.COMMENT, {1: "override not completed: the only one left"})
    assert bench.panel("", "")[1] == "Scan this item:"
    bench.scan("CT/BADGE/OP-2")  # too late: the badge changes hands
    assert bench.procedure.operator == "OP-2"


def test_anything_else_ends_an_override_and_leaves_a_note() -> None:
    for code in ("CT/NOTE/x", kit("S2"), "nonsense", "CT/STEP/DONE", "CT/BADGE/" + "x" * 33):
        bench = Bench().ready()
        bench.scan(DONOR)
        bench.reason(kit("S1", "251231"))
        bench.scan(WHY)
        bench.scan(code)
        assert bench.records[-2][0] == events.COMMENT
        assert bench.records[-2][3] == {1: "override not completed: the only one left"}, code
        bench.scan("CT/BADGE/OP-2")
        assert events.OVERRIDE not in [record[0] for record in bench.records]


def test_a_power_cut_within_an_override_leaves_no_half_state() -> None:
    bench = Bench().ready()
    bench.scan(DONOR)
    bench.reason(kit("S1", "251231"))
    bench.override()
    bench.reason("CT/STEP/DONE")
    bench.override()
    bench.scan("CT/STEP/START/wash")
    for kept in range(1, len(bench.records) + 1):  # the journal of a unit that lost its power after so many records
        cut = Bench()
        for seq, record in enumerate(bench.records[:kept]):
            cut.records.append(record)
            cut.procedure.fold(seq, *record)
        for checkpoint_at in range(kept + 1):
            assert cut.rebooted(checkpoint_at).checkpoint() == cut.procedure.checkpoint(), (kept, checkpoint_at)
        assert cut.dialogue.prompt()[0] != "Second badge:"


def test_an_override_whose_step_the_power_took_away_starts_nothing() -> None:
    bench = Bench()
    bench.scan("CT/BADGE/OP-1")
    bench.scan("CT/BATCH/OPEN")
    bench.reason("CT/STEP/START/wash")
    bench.scan(WHY)
    answer = bench.dialogue.read(Read("]d1", b"CT/BADGE/OP-2", "", 0), CLOCK, bench.uptime_ms)
    assert [record[0] for record in answer.records] == [events.OVERRIDE, events.STEP]
    bench.write(answer.records[:1])  # and here the power fails
    bench.procedure = bench.rebooted(0)
    bench.dialogue = Dialogue(bench.procedure)
    assert (bench.procedure.step, bench.procedure.next_step()) == ("", "load")
    assert bench.reason("CT/STEP/START/wash") == "wrong_step"  # two people say so again, or take the next step
    bench.override()
    assert (bench.last(), bench.procedure.step) == ((events.STEP, {1: "wash", 2: 1, 3: "the only one left"}), "wash")


# --- serials of other batches -----------------------------------------------------------------------------------------


def next_batch(bench: Bench, number: int) -> None:
    fields = order_fields()
    fields[1], fields[3] = number, "B-%d" % number
    bench.order = bench.procedure.order = order_of(fields)
    for code in ("CT/BATCH/OPEN", "CT/STEP/START/load", DONOR):
        assert bench.scan(code).accepted, code


def test_a_cartridge_of_an_earlier_batch_is_refused_after_any_number_of_boots() -> None:
    bench = Bench().ready()
    for code in (DONOR, kit("S1"), kit("S2"), "CT/STEP/DONE", "CT/STEP/REPEAT/load/redo", DONOR, kit("S3")):
        assert bench.scan(code).accepted, code
    assert bench.scan("CT/BATCH/ABORT/spilled").accepted  # an aborted batch has used them as well
    for _ in range(2):
        bench.procedure = bench.rebooted(len(bench.records) // 2)
        bench.dialogue = Dialogue(bench.procedure)
    next_batch(bench, 2)
    for serial in ("S1", "S2", "S3"):
        answer = bench.scan(kit(serial))
        assert answer.words == ["Used in old batch:", "take another one"], serial
        assert bench.records[-1][3][5] == "duplicate"
    assert bench.scan(kit("S4")).accepted
    assert bench.scan(kit("S5")).accepted


def test_the_last_64_serials_of_earlier_batches_are_remembered() -> None:
    procedure = Procedure()
    for number in range(40):  # two kits each
        procedure.fold(0, events.BATCH_OPEN, "B", "O", {4: bytes(32)})
        procedure.fold(1, events.STEP, "B", "O", {1: "load", 2: 1})
        for serial in (2 * number, 2 * number + 1):
            label = kit("S%d" % serial)
            body = events.scan(label[3:], "]d2", "kit", events.ACCEPTED, None, 1, 0)
            procedure.fold(2, events.SCAN, "B", "O", body)
        procedure.fold(3, events.BATCH_CLOSE, "B", "O", {3: 1})
    assert len(procedure.earlier_marks) == 64 * scans.SERIAL_MARK_BYTES

    def is_known(serial: int) -> bool:
        return scans.is_among(scans.mark_of("]d2", kit("S%d" % serial)[3:]), procedure.earlier_marks)

    assert [is_known(serial) for serial in (79, 78, 16, 15, 0)] == [True, True, True, False, False]


# --- labels of other schemes ------------------------------------------------------------------------------------------

PATTERN = "KIT-(l%d%d%d%d)-(s%x%x%x)-(e%d%d%d%d%d%d)"


def schemes() -> "dict[int, Any]":
    fields = order_fields()
    fields[7] = [{1: "load", 2: "Load", 3: ["coi", "gas", "bag", "own"]}, {1: "wash", 2: "Wash", 3: []}]
    fields[8] = [
        {1: "coi", 2: "Patient code", 3: "", 4: 0, 5: "CHA999926123456"},
        {1: "gas", 2: "Gas filter", 3: "", 4: 6, 6: 1, 7: "A123BJC5D6E71"},
        {1: "bag", 2: "Any blood bag", 3: "", 4: 0, 6: 2, 7: "E0791"},
        {1: "own", 2: "Own kit", 3: "", 4: 7, 6: 3, 7: PATTERN},
    ]
    return fields


def hibc(text: str) -> str:
    """With its check character."""
    alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-. $/+%"
    return text + alphabet[sum([alphabet.index(char) for char in text]) % 43]


def test_labels_of_every_scheme_satisfy_their_items() -> None:
    bench = Bench(schemes()).ready()
    assert bench.reason("&/CHA999926123457") == "identity_mismatch"
    assert bench.scan("&/CHA999926123456").accepted
    assert bench.reason(hibc("+A123BJC5D6E71")) == "missing_field"
    assert bench.reason(hibc("+A123BJC5D6E71/$$3251231LOT7")) == "expired"
    assert bench.reason(hibc("+A123BJC5D6E81/$$3271231LOT7")) == "wrong_item"
    assert bench.reason(hibc("+A123BJC5D6E71/$$3271231LOT7")[:-1] + "*") == "unreadable"
    assert bench.scan(hibc("+A123BJC5D6E71/$$3271231LOT7")).accepted
    assert bench.reason("=<E0792V00") == "wrong_item"
    assert bench.scan("=<E0791V00").accepted
    assert bench.reason("KIT-1234-A1B-261117") == "expired"
    assert bench.reason("KIT-1234-A1b-271231") == "wrong_item"  # the whole code must fit
    assert bench.scan("KIT-1234-A1B-271231").accepted
    assert bench.procedure.missing_items() == []
    assert [record[3][3] for record in bench.records if record[0] == events.SCAN and record[3][4] == 1] == [
        "coi", "gas", "bag", "own",
    ]  # fmt: skip


def test_a_serial_by_a_sites_pattern_is_used_once() -> None:
    fields = schemes()
    fields[7] = [{1: "load", 2: "Load", 3: ["own", "own"]}]
    bench = Bench(fields).ready()
    assert bench.scan("KIT-1234-A1B-271231").accepted
    assert bench.reason("KIT-1234-A1B-271231") == "duplicate"
    bench.scan("CT/BATCH/ABORT/next")
    fields[1], fields[3] = 2, "B-2"
    bench.order = bench.procedure.order = order_of(fields)
    bench.scan("CT/BATCH/OPEN")
    bench.scan("CT/STEP/START/load")
    assert bench.reason("KIT-1234-A1B-271231") == "duplicate"
    assert bench.scan("KIT-1234-A1C-271231").accepted


def test_an_expiry_with_a_time_of_day_is_judged_to_the_minute() -> None:
    minute_ms = 1795000020000  # 2026-11-18T11:07Z
    label = ("]d201" + GTIN + "10L1\x1d70032611181107\x1d21S1").encode()
    bench = Bench().ready()
    bench.scan(DONOR)
    assert bench.reason(label, (minute_ms, 0)) == "expired"
    assert bench.reason(label, (minute_ms - 100, 100)) == "clock_uncertain"
    bench.procedure.site_offset_ms = 3600000
    assert bench.reason(label, (minute_ms - 3600000, 0)) == "expired"
    assert bench.scan(label, (minute_ms - 3600000 - 101, 100)).accepted
