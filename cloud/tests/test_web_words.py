"""Words of the pages: hostile text made visible, numbers with the digits that were measured, a sentence per type."""

import pytest

from cloud.web import words
from cloud.web.verdicts import QUESTIONS, list_answer
from wire import RecordType
from wire.bodies import (
    Alarm,
    AlarmState,
    BatchClose,
    BatchOpen,
    Body,
    Boot,
    BootCause,
    Channel,
    Channels,
    Clock,
    Comment,
    Entry,
    Genesis,
    Heartbeat,
    Loss,
    Operator,
    OperatorAction,
    Outcome,
    Override,
    OverrideAction,
    Quantity,
    QuantityKind,
    Scan,
    ScanVerdict,
    Step,
    StepAction,
)
from wire.samples import Mark, Sample, Samples

BODIES: list[tuple[Body, str]] = [
    (Genesis("U-01", 2, bytes(32), "RP2040", "1.4.0", "pure"), "Unit U-01 began its stream, epoch 2."),
    (
        Boot(BootCause.WATCHDOG, "1.4.0", 3),
        "The unit started by its watchdog. 3 unreadable journal entries were found.",
    ),
    (Clock("gateway", None), "The clock was set for the first time since the start, from gateway."),
    (Clock("gateway", -1500), "The clock was set back by 1.5 s, from gateway."),
    (Heartbeat(300_000), "Nothing else to record for 5 min."),
    (Operator(OperatorAction.OUT), "Operator OP-1 signed out."),
    (BatchOpen("car-t", 3, bytes(32), bytes(32)), "The batch was opened for recipe car-t, version 3."),
    (Step("prime", StepAction.SKIP, "no buffer"), "Step prime skipped: no buffer."),
    (
        Scan(b"x", "]d2", "buffer", ScanVerdict.REFUSED, "expired", Entry.MANUAL, 0),
        "Code x was typed in by hand when buffer was asked for: refused, expired.",
    ),
    (
        Scan(b"x", "", "", ScanVerdict.REFUSED, "new_reason", Entry.SCANNER, 0),
        "Code x was scanned when nothing was asked for: refused, new_reason.",
    ),
    (Channels((Channel("temperature", "Cel", -2, 0, 6000, None, None),)), "Sensor channels in force: temperature."),
    (
        Samples(3, 0, 1000, 1, ((Sample(1),), (Sample(None, Mark.FAULT),))),
        "1 sensor values on each of 2 channels, every 1 s.",
    ),
    (Alarm("door", AlarmState.RAISED, "open"), "Alarm door raised: open."),
    (Quantity("buffer", QuantityKind.USED, 4980, -1, "mL", "A1"), "buffer: 498.0 mL used, lot A1."),
    (Comment("all well"), "Comment: all well"),
    (Loss("scan", 2, None), "Lost 2 × scan."),
    (
        Override(40, OverrideAction.ACCEPT_ITEM, "buffer", "released by QA", "OP-2"),
        "OP-1, with OP-2 as second person, overruled the refusal of record 40 so that item buffer counts as scanned:"
        " released by QA",
    ),
    (
        Override(40, OverrideAction.START_STEP, "load", "late", "OP-2"),
        "OP-1, with OP-2 as second person, overruled the refusal of record 40 to start step load: late",
    ),
    (BatchClose(5, {7: 2, 9: 3}, Outcome.ABORTED), "The batch was closed as aborted after 5 records."),
]


@pytest.mark.parametrize(("body", "expected"), BODIES, ids=[str(number) for number in range(len(BODIES))])
def test_every_type_of_record_has_a_sentence(body: Body, expected: str) -> None:
    assert words.sentence(body, "OP-1") == expected


def test_the_sentences_cover_every_type() -> None:
    assert {type(body).__name__ for body, _ in BODIES} == {
        "".join(part.capitalize() for part in each.name.split("_")) for each in RecordType
    }


@pytest.mark.parametrize("body", [body for body, _ in BODIES if not isinstance(body, Samples)])
def test_every_field_is_listed(body: Body) -> None:
    texts = [text for _, text in words.fields(body)]
    assert texts
    assert all(texts)


def test_a_channel_says_what_measures_and_how_it_was_adjusted() -> None:
    lid = Channel("lid", "1", 0, 0, 1, "CAL-9", 1_795_341_600_000, "reed switch 7", 1_763_805_600_000, -2)
    assert words.fields(Channels((lid,))) == [
        (
            "lid",
            "measuring range 0 to 1; certificate CAL-9, calibrated 2025-11-22, due 2026-11-22; adjusted by −2;"
            " sensor reed switch 7",
        )
    ]


def test_control_and_direction_characters_are_named() -> None:
    assert words.visible("A\x1dB\r\n\x7f") == "A⟨GS⟩B⟨CR⟩⟨LF⟩⟨DEL⟩"
    assert words.visible("safe\u202eflipped\u200b\u2066\ufeff") == "safe⟨U+202E⟩flipped⟨U+200B⟩⟨U+2066⟩⟨U+FEFF⟩"
    assert words.visible("Größe 37 °C, 测试") == "Größe 37 °C, 测试"


def test_bytes_that_are_no_text_are_named() -> None:
    assert words.visible_bytes(b"01\x1d\xff\xc3\xa9") == "01⟨GS⟩⟨0xFF⟩é"


@pytest.mark.parametrize(
    ("ms", "expected"),
    [
        (0, "0 ms"),
        (140, "140 ms"),
        (1500, "1.5 s"),
        (60_000, "1 min"),
        (200_000, "3 min 20 s"),
        (7_500_000, "2 h 5 min"),
        (356_400_000, "4 d 3 h"),
        (-1500, "−1.5 s"),
        (None, "–"),
    ],
)
def test_durations_are_read_in_two_units(ms: int | None, expected: str) -> None:
    assert words.duration(ms) == expected


def test_numbers_keep_the_digits_that_were_measured() -> None:
    assert words.scaled(3700, -2) == "37.00"
    assert words.scaled(-5, 2) == "−500"
    assert words.amount(500, -2, "Cel") == "5.00 °C"


def test_a_time_beyond_the_calendar_is_not_known() -> None:
    assert words.instant(2**63) is None
    assert words.instant(None) is None
    assert str(words.instant(1_795_341_600_123)) == "2026-11-22 10:00:00.123000+00:00"


def test_bytes_are_shown_sixteen_a_row() -> None:
    rows = words.hex_rows(bytes(range(0x3A, 0x4C))).splitlines()
    assert rows[0] == "0000  3a 3b 3c 3d 3e 3f 40 41  42 43 44 45 46 47 48 49  :;<=>?@ABCDEFGHI"
    assert rows[1].startswith("0010  4a 4b ")
    assert rows[1].endswith("  JK")


@pytest.mark.parametrize(
    ("state", "good", "complete", "others"),
    [
        ("waiting", False, "Not yet", "Not yet"),
        ("running", False, "Not yet", "No"),
        ("running", True, "So far", "So far"),
        ("closed", False, "No", "No"),
        ("aborted", True, "Yes", "Yes"),
    ],
)
def test_the_list_says_no_only_where_something_was_recorded(state: str, good: bool, complete: str, others: str) -> None:
    answers = [list_answer(name, good, state).word for name in QUESTIONS]
    assert answers == [complete, others, others]
