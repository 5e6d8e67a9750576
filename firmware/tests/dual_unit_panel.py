"""What the panel shows with the longest of everything. Runs on CPython and MicroPython."""

from agent import alarms, panel
from tests.procedure_bench import WHY, Bench, kit, order_fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def long_names() -> "dict[int, Any]":
    """Everything as long as the contract allows, and alike but for the ends."""
    fields = order_fields()
    fields[3] = "B-2026-leukapheresis-centre-0017"
    steps = ("wash-and-concentrate-the-cells-01", "wash-and-concentrate-the-cells-02")
    fields[7] = [{1: step[1:], 2: "x" * 40, 3: ["kit" + "i" * 28 + end]} for step, end in zip(steps, "AB")]
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
    assert (lines[0][-6:], lines[2][-3:], lines[4][-6:]) == ("e-0017", "-01", "e-0017")
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
        "B-2~e-0017 ash~lls-02", "Scan STEP DONE", "> ash-~e-the-cells-02", "OK", "Tubing~ cells, size B",
    ]  # fmt: skip
    bench.alarm("limit_incubator-temp-2", alarms.RAISED)
    assert shown(bench, "CT/NOTE/x")[1:3] == ["ALARM ~cubator-temp-2", "> scan ALARM ACK"]


def test_the_custody_of_the_last_record_always_fits() -> None:
    day_ms = 86400000
    for waits in (1, 99, 5120, 81920):
        for age_ms in (0, 59000, 3599000, day_ms - 1, 99 * day_ms, 5000 * day_ms):
            for relayed_next in (0, waits):
                line = panel.custody(waits, relayed_next, 0, age_ms)
                assert len(line) <= panel.LINE_CHARS, line
                assert line.startswith("relayed" if relayed_next else "saved")
                assert line.endswith(panel.age(age_ms))
                full = panel.custody(waits, relayed_next, 0, age_ms, 100)
                assert (full[:9], full.endswith(" " + panel.age(age_ms))) == ("99% FULL,", True)
                assert len(full) <= panel.LINE_CHARS, full
