"""Overrides by two people, serials of other batches, labels of every scheme. Runs on CPython and MicroPython."""

from agent import events, scans
from agent.dialogue import OVERRIDE_MS, Dialogue
from agent.procedure import Procedure
from agent.scanner import Read
from tests.procedure_bench import CLOCK, DONOR, GTIN, OTHER_DONOR, WHY, Bench, bottle, kit, order_fields, order_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


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
    assert refused_words(bench) == "No override. Need: START load"
    bench.scan("CT/STEP/START/load")
    for identity in (OTHER_DONOR, bottle("0952000001003"), "CT/STEP/DONE"):
        reason = bench.reason(identity)
        assert refused_words(bench).startswith(
            "Identity is final: STOP" if reason == "identity_mismatch" else "No override. Need: Donor bag"
        ), identity
    bench.scan(DONOR)
    bench.reason(b"]d201" + GTIN.encode()[:-1] + b"9")
    assert refused_words(bench) == "Code was damaged: scan the code again"
    bench.write(bench.dialogue.read(Read("]d2", kit("S1")[3:20], "truncated", 0), CLOCK, bench.uptime_ms).records)
    assert refused_words(bench) == "Code was damaged: scan the code again"
    bench.reason(kit("S1", "251231"))
    assert refused_words(bench, "CT/OVERRIDE/") == "Text is missing: use the printed card"
    assert refused_words(bench) == "No override. Need: use the printed card"  # the last scan was the faulty command
    assert events.OVERRIDE not in [record[0] for record in bench.records]


def test_an_identity_is_never_overridden_whatever_is_wrong_with_its_label() -> None:
    fields = order_fields()
    fields[8][0] = {1: "donor", 2: "Donor bag", 3: "", 4: 1, 5: "01" + GTIN + "17251231"}
    for fault, code in (("expired", "17251231"), ("ambiguous", "10L1\x1d10L2")):
        fields[8][0][4] = 0
        bench = Bench(fields).ready()
        assert bench.reason(("]d201" + GTIN + code).encode()) == fault
        assert refused_words(bench).startswith("No override. Need:"), fault
    fields[8][0][4] = 1
    bench = Bench(fields).ready()
    assert bench.reason(("]d201" + GTIN + "17251231").encode()) == "missing_field"
    assert refused_words(bench).startswith("No override. Need:")


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
    for checkpoint_at in (len(bench.records) // 2, len(bench.records)):
        bench.procedure = bench.rebooted(checkpoint_at)
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
        for _ in range(3):  # a plain code has no serial that a record would show; it takes one place of them all
            procedure.fold(2, events.SCAN, "B", "O", events.scan(b"TRAY-7", "]C0", "tray", events.ACCEPTED, None, 1, 0))
        procedure.fold(3, events.BATCH_CLOSE, "B", "O", {3: 1})
    assert len(procedure.earlier_marks) == 64 * scans.SERIAL_MARK_BYTES

    def is_known(serial: int) -> bool:
        return scans.is_among(scans.mark_of("]d2", kit("S%d" % serial)[3:]), procedure.earlier_marks)

    assert [is_known(serial) for serial in (79, 78, 18, 15, 0)] == [True, True, True, False, False]


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


def test_no_label_of_another_donor_or_patient_is_taken_for_anything() -> None:
    """Whatever else a compound code names beside them (R48)."""
    donor, coi, bag = "=A99991234567800", "&/CHA999926123456", "=<E0791V00"
    other_donor, other_coi = "=A99991234567900", "&/CHA999926123457"
    fields = schemes()
    fields[8].append({1: "donor", 2: "Donor bag", 3: "", 4: 0, 5: "A999912345678"})
    fields[7][0][3] = ["donor", "coi", "bag", "bag"]
    bench = Bench(fields).ready()
    for code in (donor + other_coi, other_donor + coi, other_donor + bag, bag + other_coi, other_coi + bag):
        assert bench.reason("=+02000" + code) == "identity_mismatch", code
        bench.scan(WHY)
        assert bench.procedure.missing_items() == ["donor", "coi", "bag", "bag"], code
    assert bench.scan("=+02000" + donor + coi).accepted
    assert bench.scan("=+02000" + donor + bag).accepted
    assert bench.scan("=+02000" + bag + coi).accepted


def test_a_control_code_inside_of_a_code_is_two_codes() -> None:
    bench = Bench().ready()
    for code in ("CT/BADGE/OP-1CT/BATCH/OPEN", "CT/NOTE/well CT/STEP/DONE", "=A99991234567800CT/STEP/DONE"):
        assert bench.reason(code) == "ambiguous", code
    assert bench.reason(kit("S1", lot="L1CT/STEP/DONE")) == "ambiguous"
    assert bench.scan("CT/NOTE/see CT/7 in the file").accepted


def test_another_reason_of_an_override_leaves_a_note_of_the_first() -> None:
    bench = Bench().ready()
    bench.scan(DONOR)
    bench.reason(kit("S1", "251231"))
    for reason in ("first", "second"):
        assert bench.scan("CT/OVERRIDE/" + reason).accepted
    assert bench.last() == (events.COMMENT, {1: "override not completed: first"})
    assert bench.scan("CT/BADGE/OP-2").accepted
    assert bench.last()[1][4] == "second"


def test_nobody_leaves_out_a_step_with_an_identity() -> None:
    bench = Bench()
    for code in ("CT/BADGE/OP-1", "CT/BATCH/OPEN"):
        bench.scan(code)
    assert bench.reason("CT/STEP/SKIP/load/no time") == "not_asked"
    assert bench.reason(WHY) == "not_asked"
    bench.scan("CT/STEP/START/load")
    for scan in (DONOR, kit("S1"), kit("S2"), "CT/STEP/DONE"):
        assert bench.scan(scan).accepted, scan
    assert bench.scan("CT/STEP/SKIP/wash/no time").accepted
