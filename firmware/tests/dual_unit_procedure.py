"""Batch, steps and scans against an order, in memory. Runs on CPython and MicroPython."""

import hashlib

from agent import alarms, cbor, cose, ed25519, events, orders
from agent.procedure import EARLIER_SERIALS, Procedure
from agent.scans import SERIAL_MARK_BYTES
from tests.procedure_bench import DONOR, GTIN, KID, OTHER_DONOR, SEED, Bench, bottle, kit, order_fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    pass


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


def test_the_largest_state_fits_its_slot() -> None:
    """40 steps with the longest ids, 12 scans each, all with serials; the last 64 of other batches; 8 alarms."""
    procedure = Procedure()
    procedure.earlier_marks = bytes(EARLIER_SERIALS * SERIAL_MARK_BYTES)
    procedure.fold((1 << 32) - 481, events.OPERATOR, "", "o" * 32, {1: 1})
    procedure.fold((1 << 32) - 480, events.BATCH_OPEN, "b" * 32, "o" * 32, {4: bytes(32)})
    for channel in range(8):
        procedure.fold(1, events.ALARM, "b" * 32, "", events.alarm("limit_" + "c" * 15 + str(channel), 1))
    for at in range(480):
        if at % 12 == 0:
            procedure.fold(1, events.STEP, "b" * 32, "", {1: "s" * 30 + "%02d" % (at // 12), 2: 1})
        body = events.scan(kit("S%d" % at)[3:], "]d2", "i" * 30 + "%02d" % (at % 12), events.ACCEPTED, None, 1, 0)
        procedure.fold((1 << 32) - 480 + at, events.SCAN, "b" * 32, "", body)
    for kind in range(16):
        procedure.counts[kind] = 1 << 16
    assert len(cbor.encode(procedure.checkpoint())) <= 3600  # of 4000; custody.py adds its own


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
    assert (answer.accepted, answer.words) == (False, ["No alarm is waiting", "carry on as prompted"])
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
    signer = cose.SeedSigner(ed25519, SEED)
    payload = cbor.encode(order_fields())
    raw = cose.sign1(signer, cose.ORDER, payload)
    assert (
        orders.open_order(raw, cose.PublicKey(ed25519, signer.public_key), KID).digest == hashlib.sha256(raw).digest()
    )

    def refused(raw: bytes, key: bytes, kid: bytes) -> str:
        try:
            orders.open_order(raw, cose.PublicKey(ed25519, key), kid)
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
