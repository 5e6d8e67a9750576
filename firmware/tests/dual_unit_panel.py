"""What the panel shows with the longest of everything. Runs on CPython and MicroPython."""

from agent import alarms, panel
from agent.label_fields import ANOTHER
from tests.procedure_bench import DONOR, GTIN, WHY, Bench, kit, order_fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def long_names() -> "dict[int, Any]":
    """Everything as long as the contract allows, and alike but for the ends."""
    fields = order_fields()
    fields[3] = "B-2026-leukapheresis-centre-0017"
    step = "Wash and concentrate the cells, part %s"
    fields[7] = [
        {1: "ash-and-concentrate-the-cells-0" + end, 2: step % end, 3: ["kit" + "i" * 28 + item]}
        for end, item in (("1", "A"), ("2", "B"))
    ]
    name = "Tubing set with filter for cells, size %s"
    gtins = {"A": "09520000010010", "B": "09520000010027"}
    fields[8] = [{1: "kit" + "i" * 28 + end, 2: name % end, 3: gtins[end], 4: 7} for end in "AB"]
    return fields


def shown(bench: Bench, code: "str | bytes") -> "list[str]":
    answer = bench.scan(code)
    lines = bench.panel(answer.words[0], answer.words[1], answer.accepted)
    assert len(lines) == panel.LINES
    assert max([len(line) for line in lines]) <= panel.LINE_CHARS, lines
    return lines


def test_the_longest_names_can_be_told_apart_on_the_panel() -> None:
    bench = Bench(long_names())
    assert shown(bench, "CT/BADGE/" + "o" * 30 + "17")[3:5] == ["Welcome", "oooooo~oooooooooooo17"]
    lines = shown(bench, "CT/BATCH/OPEN")
    assert (lines[0][-6:], lines[4][-6:]) == ("e-0017", "e-0017")
    assert lines[1:3] == ["Wash a~ cells, part 1", "> START ash-~cells-01"]
    first, second = [step.step for step in bench.order.steps]
    lines = shown(bench, "CT/STEP/START/" + second)
    assert lines[3:5] == ["! WRONG STEP. Next:", "ash-an~e-the-cells-01"]
    assert shown(bench, WHY)[1:3] == ["Second badge:", "> ANOTHER person"]
    lines = shown(bench, "CT/BADGE/OP-2")
    assert lines[:3] == ["B-2~e-0017 ash~lls-02", "Scan this item:", "> Tubi~ cells, size B"]
    assert lines[3:5] == ["Override recorded:", "ash-an~e-the-cells-02"]
    lines = shown(bench, kit("S1"))
    assert lines[3:5] == ["! WRONG ITEM. Need:", "Tubing~ cells, size B"]
    lines = shown(bench, kit("S1").replace(b"010010", b"010027"))
    assert lines[:5] == [
        "B-2~e-0017 ash~lls-02", "Wash a~ cells, part 2", "> scan STEP DONE", "OK", "Tubing~ cells, size B",
    ]  # fmt: skip
    bench.alarm("limit_incubator-temp-2", alarms.RAISED)
    assert shown(bench, "CT/NOTE/x")[1:3] == ["ALARM ~cubator-temp-2", "> scan ALARM ACK"]


def test_the_prompt_says_the_name_of_a_step_and_the_id_in_its_code() -> None:
    fields = order_fields()
    fields[7][0] = {1: "load", 2: "Load the cartridge", 3: []}
    bench = Bench(fields)
    shown(bench, "CT/BADGE/OP-1")
    assert shown(bench, "CT/BATCH/OPEN")[1:3] == ["Load the cartridge", "> START load"]
    assert shown(bench, "CT/STEP/START/load")[1:3] == ["Load the cartridge", "> scan STEP DONE"]
    assert shown(bench, "CT/STEP/START/load")[3:5] == ["! A step is open:", "scan STEP DONE first"]


def test_an_expiry_without_day_is_said() -> None:
    bench = Bench().ready()
    shown(bench, DONOR)
    assert shown(bench, kit("S1", "271200"))[3:5] == ["OK Tubing set", "exp end of 2027-12"]
    assert shown(bench, kit("S2", "271231"))[3:5] == ["OK Tubing set", ""]


def test_an_expired_date_is_shown_as_people_write_it() -> None:
    for element, said in (("17251231", "! EXPIRED 2025-12-31:"), ("70032611180900\x1d", "!EXPIRED 11-18 09:00:")):
        bench = Bench().ready()
        shown(bench, DONOR)
        assert shown(bench, ("]d201" + GTIN + element + "10L1\x1d21S1").encode())[3:5] == [said, ANOTHER]


def test_what_the_oldest_record_waited_before_is_a_bound() -> None:
    assert panel.custody(48, 0, 0, 4000, at_least=True) == "saved, 48 wait >4s"
    assert panel.custody(2658, 2658, 0, 7200000, at_least=True) == "relayed,2658 wait >2h"
    assert panel.custody(48, 48, 0, 3540000, 94, at_least=True) == "94% FULL,relayed >59m"
    assert panel.custody(48, 0, 48, 4000, at_least=True) == "archived all"


def test_nothing_waits_in_an_archived_or_empty_journal() -> None:
    assert panel.custody(48, 48, 48, 4000, 83) == "83% FULL, archived"
    assert panel.custody(0, 0, 0, 4000, 100) == "99% FULL, no records"
    assert panel.custody(0, 0, 0, 4000) == "no records yet"


def test_the_custody_of_the_last_record_always_fits() -> None:
    day_ms = 86400000
    for waits in (1, 99, 5120, 81920):
        for age_ms in (0, 59000, 3599000, day_ms - 1, 99 * day_ms, 5000 * day_ms):
            for relayed_next, at_least in ((0, False), (waits, False), (0, True), (waits, True)):
                line = panel.custody(waits, relayed_next, 0, age_ms, 0, at_least)
                assert len(line) <= panel.LINE_CHARS, line
                assert line.startswith("relayed" if relayed_next else "saved")
                assert line.endswith(panel.age(age_ms))
                full = panel.custody(waits, relayed_next, 0, age_ms, 100, at_least)
                assert (full[:9], full.endswith((" >" if at_least else " ") + panel.age(age_ms))) == ("99% FULL,", True)
                assert len(full) <= panel.LINE_CHARS, full
