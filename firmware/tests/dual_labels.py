"""What labels say in each grammar, and what is refused. Runs on CPython and MicroPython."""

from agent import gs1, hibc, isbt128, label, plain_code
from agent.label import GS1, GUESSED, HIBC, ISBT128, MONTH_ONLY, PATTERN, Label, LabelError

NOW_MS = 1795000000000  # 2026-11-18T11:06:40Z
ITEM = b"0109520000010010"
KIT = "KIT-(l%d%d%d%d)-(s%x%x%x)"
DIN = b"=A999921123456"


def _read(aim: str, raw: bytes) -> Label:
    read = label.read_label(aim, raw)
    assert read is not None, raw
    return read


def _refused(aim: str, raw: bytes, patterns: "tuple[str, ...]" = ()) -> str:
    try:
        label.read_label(aim, raw, patterns)
    except LabelError as error:
        refused = error
    else:
        return "taken"
    first, second = refused.words
    assert len(first) <= 19, refused.words  # a mark stands before it on the panel
    assert len(second) <= 21, refused.words
    return refused.reason


# --- GS1 ------------------------------------------------------------------------------------------------------------


def test_gs1_reads_elements() -> None:
    read = _read("]d2", ITEM + b"10172712311021\x1d21S1"[2:])
    assert (read.kind, read.gtin, read.expiry, read.lot, read.serial) == (GS1, "09520000010010", "271231", "21", "S1")
    assert _read("]C1", b"\x1d" + ITEM + b"10LOT").lot == "LOT"
    assert _read("]E0", b"4006381333931").gtin == "04006381333931"
    assert _read("]E4", b"96385074").gtin == "00000096385074"
    assert _read("]d2", b"00106141411234567897").gtin == ""
    timed = _read("]Q3", ITEM + b"172712317003" + b"2712310830\x1d10A")
    assert (timed.expiry, timed.lot) == ("2712310830", "A")
    assert timed.notes == 0


def test_gs1_reads_every_field_a_unit_meets() -> None:
    for raw in (
        ITEM + b"3103001250", ITEM + b"3300000012", b"4149520123456788" + b"254SHED-1", b"4169520123456788",
        b"4179520123456788", b"80030952012345678812AB", b"8004952012AB", ITEM + b"800826111807",
        ITEM + b"8008261118073059", ITEM + b"3012", b"8010952012-A#/\x1d80111", b"80131987654Ad4X4bL5ttr2310c2K",
        b"8017" + b"952012345678901233", ITEM + b"7240P-1", b"0309520000010010" + b"21S1",
        b"8006" + b"09520000010010" + b"0102" + b"\x1d21S1", b"90ANY\x1d91thing\x1d99else",
        ITEM + b"11260101" + b"13260102" + b"15260103" + b"16260104" + b"2001",
        ITEM + b"715PZN-123\x1d7230EM123\x1d8012V1.2", b"253" + b"9520123456788" + b"DOC-1",
        b"402" + b"95201234567890122", ITEM + b"422276\x1d242123",
    ):  # fmt: skip
        assert _refused("]d2", raw) == "taken", raw


def test_gs1_leaves_plain_symbologies_alone() -> None:
    for aim in ("]d1", "]C0", "]Q1"):
        assert label.read_label(aim, ITEM) is None
    guessed = _read("", ITEM)
    assert (guessed.gtin, guessed.notes) == ("09520000010010", GUESSED)
    assert label.read_label("", b"0109520000010014") is None  # wrong check digit: no label, then


def test_gs1_refuses_what_it_would_have_to_guess() -> None:
    for raw in (
        ITEM + b"21ABC17271231",
        b"21ABC" + ITEM,
        ITEM + b"10" + b"A" * 21,
        ITEM + b"10LOT1727123121SER",
        ITEM + b"10LOT17271231\x1d21SER",
        ITEM + b"10LOT70032712310830",
        ITEM + b"10LOT4149520123456788",
        ITEM + b"21S1" + ITEM + b"21S2",  # two labels, no separator between them
        ITEM + ITEM,
        ITEM + b"21S1\x1d" + ITEM + b"21S2",
        ITEM + b"0209520000010010" + b"3705",
    ):  # fmt: skip
        assert _refused("]d2", raw) == "ambiguous", raw
    assert _refused("]d2", ITEM + b"1727123121ABC") == "taken"
    assert _refused("]d2", ITEM + b"21LOT1710") == "taken"  # no date: an honest serial
    assert _refused("]d2", ITEM + b"1727123121000017260101") == "taken"  # the expiry stands elsewhere: no lost one


def test_gs1_refuses_what_is_damaged() -> None:
    for raw in (
        b"0109520000010014", b"010952000001001", b"17271331", b"17271232", ITEM + b"17260230", b"", b"\x1d\x1d", b"9",
        ITEM + b"10\xff", ITEM + b"10A\x00", ITEM + b"10A\x03B", b"zz123", b"88123", ITEM + b"\x1d\x1d10A",
        ITEM + b"10A#", b"80131987654Ad4X4bL5ttr2310c2L", ITEM + b"70032712312400", ITEM + b"70032712310060",
        b"8006" + b"09520000010010" + b"0301", ITEM + b"3106001250", ITEM + b"3179001250", b"4189520123456788",
        b"8003195201234567881", ITEM + b"80082611180", ITEM + b"800826111824",
        ITEM + b"17271231" + b"70032712300830",
    ):  # fmt: skip
        assert _refused("]d2", raw) == "unreadable", raw


def test_gs1_asks_for_the_code_that_names_the_item() -> None:
    for raw in (b"10LOT", b"17271231" + b"10LOT", b"21S1", b"0209520000010010" + b"21S1", b"254SHED", b"80111"):
        assert _refused("]d2", raw) == "missing_field", raw


def test_gs1_day_00_is_the_months_last_and_noted() -> None:
    for given, meant in (("280200", "280229"), ("270200", "270228"), ("271200", "271231")):
        read = _read("]d2", ITEM + b"17" + given.encode())
        assert (read.expiry, read.notes) == (meant, MONTH_ONLY)
    assert _refused("]d2", ITEM + b"70032702000830") == "unreadable"


def test_gs1_digital_link() -> None:
    for scheme in (b"https", b"HTTPS", b"http", b"HTTP"):
        read = _read("]Q1", scheme + b"://id.gs1.org/01/09520000010010/10/A%2F1/21/S1?17=271231&linkType=gs1:pip#x")
        assert (read.gtin, read.lot, read.serial, read.expiry) == ("09520000010010", "A/1", "S1", "271231")
    assert _read("]d1", b"https://brand.example/stem/01/09520000010010").gtin == "09520000010010"
    assert label.read_label("]Q1", b"https://example.org/about") is None
    for wrong in (
        b"hTTps://id.gs1.org/01/09520000010010", b"https://id.gs1.org/01/09520000010014",
        b"https://id.gs1.org/01/09520000010010/21", b"https://id.gs1.org/01/09520000010010/21/A/10/B",
        b"https://id.gs1.org/01/09520000010010/10/A%0", b"https://id.gs1.org/01/09520000010010?17=271331",
        b"https://id.gs1.org/01/09520000010010/10/A%1D21S1", b"https://id.gs1.org/01/09520000010010/10/\xc3\xa9",
        b"https://id.gs1.org/01/09520000010010/10/\xff", b"https://id.gs1.org/01/", b"https://id.gs1.org/01/952",
    ):  # fmt: skip
        assert _refused("]Q1", wrong) == "unreadable", wrong


def test_garbage_raises_nothing_but_label_errors() -> None:
    seed, taken = 1, 0
    pieces = (
        ITEM,
        b"10LOT",
        b"\x1d",
        b"21",
        b"+E20831269/$$8020423286539",
        b"+",
        DIN,
        b"=+02000",
        b"https://a/01/",
        b"/",
        b"%4",
        b"&,",
    )
    for _ in range(1500):
        raw = b""
        for _ in range(1 + seed % 5):
            seed = (seed * 1103515245 + 12345) % 2147483648
            drawn = seed >> 8
            raw += pieces[drawn % len(pieces)] if drawn & 0x4000 else bytes((drawn % 256, drawn // 256 % 256))
        for aim in ("]d2", "]Q1", ""):
            taken += _refused(aim, raw, (KIT,)) == "taken"
    assert taken > 100


# --- HIBC -----------------------------------------------------------------------------------------------------------


def _hibc(text: str) -> bytes:
    return (text + hibc.check_character(text)).encode()


def test_hibc_worked_examples() -> None:
    first = _read("]d1", b"+E20831269/$$8020423286539+")
    assert (first.kind, first.code, first.lot, first.expiry) == (HIBC, "E20831269", "286539", "230430")
    second = _read("]C0", b"+E20831339/$$8020223283831T")
    assert (second.code, second.lot, second.expiry, second.notes) == ("E20831339", "283831", "230228", MONTH_ONLY)


def test_hibc_reads_every_secondary_form() -> None:
    for secondary, lot, serial, expiry in (
        ("$LOT-1", "LOT-1", "", ""),
        ("$+SER", "", "SER", ""),
        ("$$1226LOT", "LOT", "", "261231"),
        ("$$2123126LOT", "LOT", "", "261231"),
        ("$$3261231LOT", "LOT", "", "261231"),
        ("$$426123108LOT", "LOT", "", "2612310800"),
        ("$$528060LOT", "LOT", "", "280229"),
        ("$$627060" + "23LOT", "LOT", "", "2703012300"),
        ("$$7LOT", "LOT", "", ""),
        ("$$+3261231SER", "", "SER", "261231"),
        ("$$8103261231LOT", "LOT", "", "261231"),
        ("$$9000127LOT", "LOT", "", ""),
        ("$$810", "", "", ""),
        ("27365LOT", "LOT", "", "271231"),
        ("$$7LOT/SSER/Q5/16D20260101", "LOT", "SER", ""),
        ("$$7LOT/14D20271231", "LOT", "", "20271231"),
        ("$$1227LOT/14D20271231", "LOT", "", "20271231"),
        ("$$1227LOT/14D20271215", "LOT", "", "20271215"),
        ("$$427121508LOT/14D20271215", "LOT", "", "2712150800"),
    ):
        read = _read("]d1", _hibc("+A9991234567891/" + secondary))
        assert (read.lot, read.serial, read.expiry) == (lot, serial, expiry), secondary
        assert read.code == "A9991234567891"


def test_hibc_refuses_what_is_no_label() -> None:
    for body in (
        "+A9991", "+99991231", "+A99912A", "+A999" + "B" * 19 + "1", "+A9991231/LOT", "+A9991231/$$3261331LOT",
        "+A9991231/$$528367LOT", "+A9991231/$$527366LOT", "+A9991231/$$426123124LOT", "+A9991231/$$80",
        "+A9991231/$$326123",
        "+A9991231/$" + "L" * 19, "+A9991231/$LOT/X1", "+A9991231/$LOT/14D20260230", "+A9991231/$$3261231L/14D20270101",
        "+A9991231+A9991231", "+A9991231/$LOT+A9991231", "+A9991231/$L/SA/SB",
    ):  # fmt: skip
        assert _refused("]d1", _hibc(body)) == "unreadable", body
    assert _refused("]d1", b"+A9991231A") == "unreadable"  # its check character is another
    assert _refused("]d1", b"*+A9991231*"[1:]) == "unreadable"  # the asterisk is print, not data
    assert _refused("]d1", _hibc("+$$3261231LOTX")) == "missing_field"
    assert _refused("]d1", _hibc("+27365LOTX")) == "missing_field"
    assert label.read_label("]d1", b"+a") is None


# --- ISBT 128 -------------------------------------------------------------------------------------------------------


def test_isbt_check_value_worked_examples() -> None:
    assert isbt128.check_value("G123498654321") == 17
    assert isbt128.check_value("A999921123456") == 3


def test_isbt_reads_structures() -> None:
    assert _read("]C0", DIN + b"00").din == "A999921123456"
    assert _read("]C0", b"=G12349865432177").din == "G123498654321"
    assert _read("]C0", b"=<E0398V00").code == "E0398V00"
    assert _read("]C0", b"=>028366").expiry == "20281231"
    assert _read("]C0", b"&>0270011200").expiry == "202701011200"
    assert _read("]C0", b"=>999001").expiry == "19990101"
    assert _read("]C0", b"&/CHA999926000123").coi == "CHA999926000123"
    assert _read("]C0", b"&,1000000000000XYZ123").lot == "000000000000XYZ123"
    assert _read("]C0", b"&,2AB0001").serial == "AB0001"
    assert _read("]C0", b"=/A9999XYZ100T0944").code == "T0944"
    assert (
        _read("]C0", b"&,4" + b"GB001234" + b"A999921123456" + b"A0000398" + b"001" + b"20271231").expiry == "20271231"
    )
    for raw in (b"=*026300", b"&*0263001200", b"=}026300", b"&}0263002359", b"=)12ABCDEFGH", b"&)ABCDEFGH12",
                b"=-12ABCDEFGH", b"&-ABCDEFGH12", b"='A9999000012", b"=,000025"):  # fmt: skip
        assert _read("]C0", raw).kind == ISBT128


def test_isbt_reads_compound_messages() -> None:
    read = _read("]d1", b"=+05000" + DIN + b"00=<E0398V00&>0270011200&/CHA999926000123=}026300")
    assert (read.din, read.code, read.expiry) == ("A999921123456", "E0398V00", "202701011200")
    assert (read.coi, read.serial) == ("CHA999926000123", "")
    assert (
        _read("]d1", b"=+03000" + DIN + b"00=<E0398V00=,000001").serial == ""
    )  # a division of a donation, and no device
    device = _read("]d1", b"=+05000=/A9999XYZ100T0944=,000025" + DIN + b"00=>027032&,1000000000000XYZ123")
    assert (device.code, device.serial, device.lot) == ("T0944", "A999921123456000025", "000000000000XYZ123")


SEC = b"&,4" + b"GB001234" + b"A999921123456" + b"A0000398" + b"001" + b"20271231"


def test_isbt_reads_the_donation_of_a_european_code() -> None:
    assert _read("]C0", SEC).din == "A999921123456"
    assert _read("]d1", b"=+02000=<E0398V00" + SEC).din == "A999921123456"
    assert _read("]d1", b"=+02000" + DIN + b"00" + SEC).din == "A999921123456"
    assert _read("]C0", SEC.replace(b"A999921123456", b"0000000012345")).din == ""  # numbered in another way
    assert _refused("]d1", b"=+02000" + DIN + b"00" + SEC.replace(b"123456A", b"123457A")) == "unreadable"


def test_isbt_refuses_by_structure() -> None:
    for raw in (
        b"=", b"&", b"=O999921123456" + b"00", b"=AO99921123456" + b"00", b"=A999A21123456" + b"00", DIN + b"0",
        DIN + b"000", DIN + b"64", DIN.lower() + b"00", b"=<0398V000", b"=<E0398V0", b"=<e0398v00", b"=>027366",
        b"=>027000", b"=>02736",
        b"&>0270012400", b"&>0270011260", b"&/CX999926000123", b"&/CHA99992600012", b"=?123456", b"&,5123456", b"&,",
        b"=SUM(A1)", b"& Co", b"=+", b"=+00000", b"=+01000", b"=+02000" + DIN + b"00", b"=+01000" + DIN + b"00X",
        b"=+01000=+01000" + DIN + b"00", b"=+02000=>027001&>0270021200", b"=+02000=<E0398V00=/A9999XYZ100T0944",
        b"&,4" + b"GB001234" + b"A999921123456" + b"A0000398" + b"001" + b"20270230", DIN + b"0\x03",
    ):  # fmt: skip
        assert _refused("]C0", raw) == "unreadable", raw
    for raw in (DIN + b"00" + DIN + b"00", DIN + b"00=<E0398V00", b"=+01000" + DIN + b"00=<E0398V00",
                b"=+02000" + DIN + b"00" + DIN + b"00"):  # fmt: skip
        assert _refused("]C0", raw) == "ambiguous", raw


# --- site patterns, and the front -----------------------------------------------------------------------------------


def test_patterns_read_the_whole_code() -> None:
    read = label.read_label("", b"KIT-0042-A7Z", ("BAG-%d", KIT))
    assert read is not None
    assert (read.kind, read.code, read.lot, read.serial) == (PATTERN, KIT, "0042", "A7Z")
    for other in (
        b"KIT-0042-A7",
        b"KIT-0042-A7ZZ",
        b"kit-0042-A7Z",
        b"KIT-004A-A7Z",
        b"KIT-0042-a7Z",
        b"",
        b"KIT-0042-A7Z\x1d",
    ):
        assert plain_code.read(KIT, other) is None
    full = plain_code.read("100%%(e%d%d%d%d%d%d)%u", b"100%270228Z")
    assert full is not None
    assert full.expiry == "270228"
    assert _refused("]d1", b"100%270230Z", ("100%%(e%d%d%d%d%d%d)%u",)) == "unreadable"
    assert _refused("]d1", b"B12", ("B%d%d", "B%x%x")) == "ambiguous"
    assert _refused("]d1", b"B1A", ("B%d%d", "B%x%x")) == "taken"
    assert label.read_label("]d2", ITEM, ("%d" * 16,)).kind == GS1  # type: ignore[union-attr]  # the prefix decides


def test_patterns_with_a_fault_are_named() -> None:
    for good in (KIT, "", "%%", "A", "(e%d%d%d%d%d%d)", "(s%x)(l%x)"):
        assert plain_code.fault(good) == "", good
    for wrong in (
        "%",
        "%y",
        "(",
        "(x%d)",
        "(s)",
        "(s%d",
        ")",
        "(s(l%d))",
        "(s%d)(s%d)",
        "(e%d)",
        "A\x1d",
        "\xe9",
        "(s%",
    ):
        assert plain_code.fault(wrong).endswith("."), wrong


def test_items_are_compared_by_scheme() -> None:
    gtin = _read("]d2", ITEM)
    assert label.is_item(gtin, "09520000010010", 0, "")
    assert not label.is_item(gtin, "", 0, "")
    assert not label.is_item(gtin, "09520000010010", 1, "")
    device = _read("]d1", b"+E20831269/$$8020423286539+")
    assert label.is_item(device, "", HIBC, "E20831269")
    assert not label.is_item(device, "", HIBC, "E2083")
    assert not label.is_item(device, "", ISBT128, "E20831269")
    blood = _read("]C0", b"=<E0398V00")
    assert label.is_item(blood, "", ISBT128, "E0398V00")
    assert label.is_item(blood, "", ISBT128, "E0398")
    assert not label.is_item(blood, "", ISBT128, "E0399")
    assert not label.is_item(_read("]C0", DIN + b"00"), "", ISBT128, "")


def _end_ms(expiry: str) -> int:
    read = Label(GS1)
    read.expiry = expiry
    return label.expiry_end_ms(read, NOW_MS)


def test_expiry_days_times_and_centuries() -> None:
    assert _end_ms("261118") == 1795046400000
    assert _end_ms("20261118") == 1795046400000
    assert _end_ms("2611181106") == NOW_MS - 40000  # the stated minute
    assert _end_ms("202611181106") == NOW_MS - 40000
    assert _end_ms("760101") > NOW_MS  # 50 ahead: this century
    assert _end_ms("770101") < NOW_MS  # 51 ahead: the last one
    assert _end_ms("19990101") < _end_ms("20000229") < NOW_MS
    for wrong in ("270230", "271301", "270001", "20270229"):
        try:
            _end_ms(wrong)
        except LabelError:
            continue
        raise AssertionError(wrong)


def test_check_characters_worked_examples() -> None:
    for model in ("1987654Ad4X4bL5ttr2310c2K", "12345678901234567890123NT"):
        assert gs1.model_check_holds(model)
        for at in range(len(model)):
            altered = model[:at] + ("3" if model[at] != "3" else "4") + model[at + 1 :]
            assert not gs1.model_check_holds(altered)
    assert gs1.check_digit_holds("106141411234567897")
