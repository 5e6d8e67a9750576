"""What the scanner's bytes become: reads, and nothing by guess. Runs on CPython and MicroPython."""

from agent.scanner import (
    AMBIGUOUS,
    RAW_BYTES_MAX,
    READS_AT_ONCE_MAX,
    TRUNCATED,
    UNREADABLE,
    WHOLE,
    Scanner,
    setup_fault,
)

LABEL = b"]d20109520000010010\x1d21S1"
PANEL = (19, 21)  # a mark stands before the first line


def _flaws(scanner: Scanner, chunk: bytes, now_ms: int = 0) -> "list[str]":
    return [read.flaw for read in scanner.feed(chunk, now_ms)]


def test_splits_prefix_and_suffix() -> None:
    reads = Scanner().feed(b"]d2010\x1d21\r\n]C1x\r\rplain\n", 0)
    assert [(read.aim, read.raw, read.flaw) for read in reads] == [
        ("]d2", b"010\x1d21", WHOLE),
        ("]C1", b"x", WHOLE),
        ("", b"plain", WHOLE),
    ]


def test_keeps_a_code_in_pieces_and_any_byte() -> None:
    scanner = Scanner()
    whole = b"]d1" + bytes([byte for byte in range(256) if byte not in b"\r\n"])
    reads = []
    for byte in whole + b"\r\n":
        reads += scanner.feed(bytes((byte,)), 1000)
    assert [read.raw for read in reads] == [whole[3:]]


def test_bounds_a_flood_and_goes_on() -> None:
    scanner = Scanner()
    reads = scanner.feed(b"]d1" + b"A" * 5000 + b"\r\nok\r\n", 0)
    assert [(read.raw, read.flaw) for read in reads] == [(b"A" * 400, UNREADABLE), (b"ok", WHOLE)]
    assert _flaws(Scanner(), b"]d1" + b"A" * 400 + b"\r\n") == [WHOLE]
    assert _flaws(Scanner(), b"A" * 401 + b"\r\n") == [UNREADABLE]
    assert _flaws(Scanner(prefix=b"\x02"), b"\x02" + b"A" * 401 + b"\r\n") == [UNREADABLE]


def test_garbage_full_of_suffixes_is_one_flood() -> None:
    scanner = Scanner()
    reads = scanner.feed(b"A\rB\r" * 1000, 0)
    assert [read.flaw for read in reads] == [WHOLE] * READS_AT_ONCE_MAX + [UNREADABLE]
    assert len(reads[-1].raw) == RAW_BYTES_MAX
    assert not scanner.busy
    assert _flaws(scanner, b"ok\r", 9000) == [WHOLE]


def test_ends_a_code_at_silence_but_not_while_bytes_wait() -> None:
    scanner = Scanner(idle_ms=400)
    assert scanner.feed(b"half", 0) == []
    assert scanner.feed(b"", 399) == []
    assert scanner.feed(b" more", 9000) == []  # the unit was busy, the line was not silent
    reads = scanner.feed(b"", 9400)
    assert [(read.raw, read.flaw) for read in reads] == [(b"half more", TRUNCATED)]


def test_collapses_repeats_and_counts_them() -> None:
    scanner = Scanner(debounce_ms=800)
    reads = []
    for at_ms in (0, 300, 600, 1300):  # held on the label: each repeat opens the window anew
        reads += scanner.feed(b"A\r\n", at_ms)
    reads += scanner.feed(b"B\r\n", 1400)
    reads += scanner.feed(b"A\r\n", 1500)
    reads += scanner.feed(b"A\r\n", 2300)
    assert [(read.raw, read.repeats) for read in reads] == [(b"A", 0), (b"B", 3), (b"A", 0), (b"A", 0)]


def test_a_whole_read_is_no_repeat_of_a_flawed_one() -> None:
    scanner = Scanner()
    scanner.feed(b"]d1A", 0)
    assert [read.flaw for read in scanner.feed(b"", 400)] == [TRUNCATED]
    assert _flaws(scanner, b"]d1A\r", 500) == [WHOLE]


def test_a_tail_that_comes_late_is_no_code() -> None:
    """After a silence, and after a flood: only an AIM prefix shows that a code begins there."""
    scanner = Scanner()
    scanner.feed(b"]d1S-77", 0)
    assert [read.flaw for read in scanner.feed(b"", 400)] == [TRUNCATED]
    assert _flaws(scanner, b"12345\r\n", 500) == [TRUNCATED]
    assert _flaws(scanner, b"S-1\r\n", 2000) == [WHOLE]
    flood = b"".join([b"%03d\r\n" % number for number in range(READS_AT_ONCE_MAX)])
    scanner.feed(flood + b"]d1CT/NOTE/the lot is ", 3000)
    assert _flaws(scanner, b"LOT123456\r\n", 3020) == [TRUNCATED]
    prefixed = Scanner(prefix=b"\x02")
    prefixed.feed(b"\x02S-77", 0)
    assert [read.flaw for read in prefixed.feed(b"", 400)] == [TRUNCATED]
    assert _flaws(prefixed, b"\x02S-1\r\n", 500) == [WHOLE]
    scanner.feed(flood + b"]d1CT/NOTE/ended\r\n", 5000)
    assert _flaws(scanner, b"LOT123456\r\n", 5020) == [WHOLE]


def test_a_prefix_is_taken_off_and_its_lack_noticed() -> None:
    scanner = Scanner(prefix=b"\x02!")
    reads = scanner.feed(b"\x02!" + LABEL + b"\r", 0)
    assert [(read.aim, read.raw, read.flaw) for read in reads] == [("]d2", LABEL[3:], WHOLE)]
    for lost in range(1, len(LABEL)):  # the beginning of a code is missing, wherever it was cut
        reads = scanner.feed((b"\x02!" + LABEL)[lost:] + b"\r", 9000 * lost)
        assert [(read.aim, read.flaw) for read in reads] == [("", TRUNCATED)], lost
    assert _flaws(scanner, b"\x02!\r", 9000) == [TRUNCATED]  # nothing but the prefix
    assert _flaws(scanner, b"\x02!KIT-1\x02!KIT-2\r", 9999) == [AMBIGUOUS]


def test_two_codes_in_one_read_are_not_split() -> None:
    for aim in (b"]d2", b"]C0", b"]E0", b"]e0", b"]Q3", b"]J1"):
        reads = Scanner().feed(LABEL + aim + LABEL[3:] + b"\r\n", 0)
        assert [(read.aim, read.raw, read.flaw) for read in reads] == [("]d2", LABEL[3:] + aim + LABEL[3:], AMBIGUOUS)]
    assert _flaws(Scanner(), b"tail" + LABEL + b"\r") == [AMBIGUOUS]  # of the first one the beginning is lost
    assert _flaws(Scanner(), b"]d1a ]x1 ]dd ]d ]\r") == [WHOLE]  # no AIM prefix


def test_the_substitute_for_gs_is_mapped_back_and_nothing_else() -> None:
    scanner = Scanner(gs=b"|")
    assert scanner.feed(b"]d210A|21B~\r", 0)[0].raw == b"10A\x1d21B~"
    assert scanner.feed(b"]C110A\x1d21B\r", 0)[0].raw == b"10A\x1d21B"
    assert scanner.feed(b"0109520000010010|21B\r", 0)[0].raw == b"0109520000010010\x1d21B"
    assert scanner.feed(b"CT/NOTE/a|b\r", 0)[0].raw == b"CT/NOTE/a|b"
    assert scanner.feed(b"]d1a|b\r", 0)[0].raw == b"a|b"


def test_lost_bytes_spoil_the_read_in_progress_and_the_next_at_once() -> None:
    scanner = Scanner()
    scanner.feed(b"]d2010952", 0)
    scanner.disturbed(50)
    assert _flaws(scanner, b"0010010\r", 50) == [TRUNCATED]
    assert _flaws(scanner, b"next\r", 300) == [TRUNCATED]  # its bytes may have begun to wait right after the loss
    assert _flaws(scanner, b"next\r", 310) == [WHOLE]
    scanner.disturbed(1000)
    assert _flaws(scanner, b"tail\r", 1000) == [TRUNCATED]
    assert scanner.feed(b"", 1019) == []
    assert scanner.feed(b"begins", 1030) == []
    assert _flaws(scanner, b" in time\r", 1100) == [TRUNCATED]
    scanner.disturbed(2000)
    assert scanner.feed(b"", 2020) == []  # nothing came in time
    assert _flaws(scanner, b"later\r", 2021) == [WHOLE]


def test_every_loss_that_is_told_is_a_refused_read() -> None:
    """Whatever stretch of two labels is lost at whatever byte, no read that holds a gap is called whole."""
    line = LABEL + b"\r" + b"]d10123456789\r"
    good = (LABEL[3:], b"0123456789")
    for begin in range(len(line)):
        for lost in (1, 2, 5, 14, 40):
            scanner = Scanner()
            reads = scanner.feed(line[:begin], 0)
            scanner.disturbed(45)
            reads += scanner.feed(line[begin + lost :], 45)
            reads += scanner.feed(b"", 9000)
            assert [read.raw for read in reads if not read.flaw and read.raw not in good] == []


def test_a_scanner_that_plays_a_keyboard_is_told_from_its_prefix() -> None:
    for code in (b"]c1010", b"]D2010", b"]q3010", b"}C1010", b"}d2010"):
        read = Scanner().feed(code + b"\r", 0)[0]
        assert (read.flaw, read.words[1]) == (UNREADABLE, "fix scanner settings")


def test_words_fit_the_panel() -> None:
    for code in (b"A" * 500, b"]d1", LABEL + LABEL, b"]c1010", b"}C1010"):
        for words in [read.words for read in Scanner().feed(code + b"\r", 0)]:
            assert len(words) == 2
            assert len(words[0]) <= PANEL[0]
            assert len(words[1]) <= PANEL[1]


def test_a_setup_that_would_garble_labels_is_refused() -> None:
    assert setup_fault(b"\x02!", b"\r\n\t\x03", b"|") == ""
    assert setup_fault(b"", b"\n", b"") == ""
    for prefix, suffix, gs in (
        (b"", b"", b""), (b"", b"\r\n\t\x03\x04", b""), (b"x" * 9, b"\r", b""), (b"", b"\r", b"~~"),
        (b"\r", b"\r", b""), (b"", b"\r", b"\r"), (b"", b"A", b""), (b"", b"\x1d", b""), (b"", b"\r", b"/"),
    ):  # fmt: skip
        fault = setup_fault(prefix, suffix, gs)
        assert fault.endswith("."), (prefix, suffix, gs)
