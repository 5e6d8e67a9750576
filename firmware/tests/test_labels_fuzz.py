"""Generated labels of every grammar, damaged in every way a scanner line knows: none is taken for another one.

About 100,000 reads; the environment variable CARTRACE_FUZZ_SYMBOLS (default 100000) makes it more. What may differ
after damage is written down beside each test: it is what no check character and no structure can tell.
"""

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from agent import hibc, isbt128, label, plain_code
from agent.label import Label, LabelError
from agent.scanner import RAW_BYTES_MAX, WHOLE, Read, Scanner
from biip.gs1_messages import GS1Message

import wire

SYMBOLS = int(os.environ.get("CARTRACE_FUZZ_SYMBOLS", "100000"))
GS = "\x1d"
DIGITS, CAPITALS = "0123456789", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
KIT, BOTTLE = "KIT-(l%d%d%d%d)-(s%x%x%x)", "B%%(e%d%d%d%d%d%d)%u/(l%x%x)"
PATTERNS = (KIT, BOTTLE)
FIELDS = ("kind", "gtin", "code", "serial", "lot", "expiry", "din", "coi")
TEXTS = ("serial", "lot")  # of GS1 and site patterns: nothing proves them
PROVEN = {"17", "11", "7003", "414"}  # what shows by itself that a separator was lost before it


@dataclass
class Symbol:
    """A faultless code, and what it says."""

    aim: str
    raw: bytes
    says: dict[str, str | int]
    fields: list[tuple[str, str]] = field(default_factory=list)  # of GS1, in order


# --- making labels --------------------------------------------------------------------------------------------------


def _some(rng: random.Random, characters: str, least: int, most: int | None = None) -> str:
    return "".join(rng.choices(characters, k=rng.randint(least, most or least)))


def _check_digit(digits: str) -> str:
    return str(-sum(int(digit) * (3 if at % 2 == 0 else 1) for at, digit in enumerate(reversed(digits))) % 10)


def _yymmdd(rng: random.Random) -> str:
    return f"{rng.randint(20, 70):02}{rng.randint(1, 12):02}{rng.randint(1, 28):02}"


def _says(**fields: str | int) -> dict[str, str | int]:
    return {name: fields.get(name, "") for name in FIELDS}


def gs1_symbol(rng: random.Random) -> Symbol:
    body = _some(rng, DIGITS, 13)
    item = body + _check_digit(body)
    text = CAPITALS + DIGITS + "-/"
    optional = {
        "17": _yymmdd(rng), "11": _yymmdd(rng), "10": _some(rng, text, 1, 20), "21": _some(rng, text, 1, 20),
        "30": _some(rng, DIGITS, 1, 8), "3103": _some(rng, DIGITS, 6), "240": _some(rng, text, 1, 30), "20": "01",
        "91": _some(rng, text, 1, 30), "7240": _some(rng, text, 1, 20),
    }  # fmt: skip
    chosen = rng.sample(sorted(optional), rng.randint(0, 5))
    fields = [("01", item)] + [(ai, optional[ai]) for ai in chosen]
    if rng.random() < 0.2:
        rng.shuffle(fields)
    said = dict(fields)
    says = _says(kind=0, gtin=item, lot=said.get("10", ""), serial=said.get("21", ""), expiry=said.get("17", ""))
    return Symbol(rng.choice(["]C1", "]d2", "]Q3", "]J1", "]e0"]), _gs1_bytes(fields, rng), says, fields)


def _gs1_bytes(fields: list[tuple[str, str]], rng: random.Random | None = None) -> bytes:
    joined = GS if rng and rng.random() < 0.3 else ""
    for at, (ai, content) in enumerate(fields):
        open_ended = ai[:2] not in ("01", "11", "17", "20", "31", "41")
        joined += ai + content + (GS if open_ended and at < len(fields) - 1 else "")
    return joined.encode()


def hibc_symbol(rng: random.Random) -> Symbol:
    code = rng.choice(CAPITALS) + _some(rng, CAPITALS + DIGITS, 4, 16) + rng.choice(DIGITS)
    lot, date = _some(rng, CAPITALS + DIGITS, 1, 18), _yymmdd(rng)
    kind, says = rng.choice(
        [
            ("", {}),
            ("/$" + lot, {"lot": lot}),
            ("/$+" + lot, {"serial": lot}),
            ("/$$3" + date + lot, {"lot": lot, "expiry": date}),
            ("/$$+4" + date + "10" + lot, {"serial": lot, "expiry": date + "1000"}),
            ("/$$805" + "2" + date[2:] + date[:2] + lot, {"lot": lot, "expiry": date}),
            ("/$$7" + lot + "/SN1/14D20" + date, {"lot": lot, "serial": "N1", "expiry": "20" + date}),
        ]
    )
    text = "+" + code + kind
    raw = (text + hibc.check_character(text)).encode()
    return Symbol(rng.choice(["]d1", "]C0", "]A0", ""]), raw, _says(kind=1, code=code, **says))


def isbt_symbol(rng: random.Random) -> Symbol:
    din = rng.choice(CAPITALS.replace("O", "")) + _some(rng, DIGITS, 12)
    flags = rng.choice(["00", f"{60 + isbt128.check_value(din):02}"])
    code, day = "E" + _some(rng, DIGITS, 4) + "V00", f"{rng.randint(20, 70):03}{rng.randint(1, 28):03}"
    expiry = f"20{day[1:3]}01{day[4:]}"
    structures: list[tuple[str, dict[str, str | int]]] = [
        ("=" + din + flags, {"din": din}),
        ("=<" + code, {"code": code}),
        ("&>" + day + "1200", {"expiry": expiry + "1200"}),
        ("&/CH" + din, {"coi": "CH" + din}),
        ("=}" + day, {}),
        ("&,2AB" + din[-4:], {"serial": "AB" + din[-4:]}),
        ("&,1" + din + "00000", {"lot": din + "00000"}),
    ]
    if rng.random() < 0.5:
        text, says = rng.choice(structures)
        return Symbol("]C0", text.encode(), _says(kind=2, **says))
    chosen = rng.sample(structures, rng.randint(1, len(structures)))
    merged = {name: value for _text, says in chosen for name, value in says.items()}
    if "serial" in merged:
        merged["serial"] = str(merged.get("din", "")) + str(merged["serial"])
    message = f"=+{len(chosen):02}000" + "".join(text for text, _says in chosen)
    return Symbol("]d1", message.encode(), _says(kind=2, **merged))


def pattern_symbol(rng: random.Random) -> Symbol:
    lot, date = _some(rng, DIGITS, 4), _yymmdd(rng)
    if rng.random() < 0.5:
        serial = _some(rng, DIGITS + CAPITALS, 3)
        return Symbol("]d1", f"KIT-{lot}-{serial}".encode(), _says(kind=3, code=KIT, lot=lot, serial=serial))
    return Symbol("", f"B%{date}Z/{lot[:2]}".encode(), _says(kind=3, code=BOTTLE, lot=lot[:2], expiry=date))


def link_symbol(rng: random.Random) -> Symbol:
    gs1 = gs1_symbol(rng)
    said = {name: str(gs1.says[name]) for name in ("gtin", "lot", "serial", "expiry")}
    path = "".join(
        f"/{ai}/{said[name].replace('/', '%2F')}" for ai, name in (("10", "lot"), ("21", "serial")) if said[name]
    )
    query = f"?17={said['expiry']}&linkType=gs1:pip" if said["expiry"] else ""
    return Symbol("]Q1", f"https://id.gs1.org/01/{said['gtin']}{path}{query}".encode(), gs1.says)


MAKERS = (gs1_symbol, gs1_symbol, hibc_symbol, isbt_symbol, pattern_symbol, link_symbol)


def symbols(seed: int, count: int) -> Iterator[Symbol]:
    rng = random.Random(seed)
    for _ in range(count):
        yield rng.choice(MAKERS)(rng)


# --- reading them ---------------------------------------------------------------------------------------------------


def read_whole(aim: str, raw: bytes) -> "Label | LabelError | None":
    try:
        return label.read_label(aim, raw, PATTERNS)
    except LabelError as error:
        refused = error
    assert refused.reason in ("unreadable", "ambiguous", "missing_field")
    assert len(refused.words[0]) <= 19
    assert len(refused.words[1]) <= 21
    assert all(" " <= char <= "~" for char in "".join(refused.words))
    return refused


def read_line(line: bytes) -> "list[tuple[Read, Label | LabelError | None]]":
    """What the scanner core and the grammars make of the bytes of a line, suffix and all, then silence."""
    scanner = Scanner()
    reads = scanner.feed(line, 0) + scanner.feed(b"", 9000)
    return [(read, read_whole(read.aim, read.raw) if read.flaw == WHOLE else None) for read in reads]


def accepted(line: bytes) -> list[dict[str, str | int]]:
    return [says(found) for _read, found in read_line(line) if isinstance(found, Label)]


def says(found: Label) -> dict[str, str | int]:
    return {name: getattr(found, name) for name in FIELDS}


def altered(rng: random.Random, raw: bytes, at: int) -> bytes:
    """raw with one printable character made another one."""
    other = rng.choice([byte for byte in range(0x21, 0x7F) if byte != raw[at]])
    return raw[:at] + bytes((other,)) + raw[at + 1 :]


# --- tests ----------------------------------------------------------------------------------------------------------


def test_every_faultless_symbol_is_read() -> None:
    refused = 0
    for symbol in symbols(1, SYMBOLS // 10):
        found = read_whole(symbol.aim, symbol.raw)
        if isinstance(found, LabelError) and found.reason == "ambiguous":
            refused += 1  # a lot or serial that holds what looks like another field: refused, not guessed
            continue
        assert isinstance(found, Label), (symbol, found)
        assert says(found) == symbol.says, symbol
    assert refused < SYMBOLS // 10 * 0.01


def test_a_symbol_cut_off_is_refused_or_keeps_its_item_and_dates() -> None:
    """At every position, with the suffix still there. Undetectable: the end of a last lot or serial; fields left out
    as a whole (the order's `needs` asks for them); for HIBC one cut in 43, and what is checked here is that rate.
    """
    cuts = hibc_cuts = hibc_slips = 0
    for symbol in symbols(2, SYMBOLS // 250):
        for end in range(len(symbol.raw)):
            cuts += 1
            found = read_whole(symbol.aim, symbol.raw[:end])
            if symbol.says["kind"] == 1:
                hibc_cuts += 1
                hibc_slips += isinstance(found, Label)
            elif isinstance(found, Label):
                _check_cut(symbol, says(found))
    assert cuts > SYMBOLS // 10
    assert hibc_slips / hibc_cuts < 1 / 43


def _check_cut(symbol: Symbol, said: dict[str, str | int]) -> None:
    assert symbol.says["kind"] == 0, (symbol, said)  # neither ISBT 128 nor a site pattern
    for name in FIELDS:
        whole = str(symbol.says[name])
        if name in TEXTS:
            assert whole.startswith(str(said[name])), (symbol, said)
        else:
            assert said[name] in (symbol.says[name], ""), (symbol, said)


def test_a_separator_lost_is_refused_or_swallows_a_text() -> None:
    """Undetectable: a lot or serial that swallows a following text, which is then missing from the label."""
    rng, lost = random.Random(3), 0
    for _ in range(SYMBOLS // 20):
        symbol = gs1_symbol(rng)
        at = symbol.raw.find(GS.encode(), 1)
        if at < 0:
            continue
        lost += 1
        found = read_whole(symbol.aim, symbol.raw[:at] + symbol.raw[at + 1 :])
        opened = next(n for n, (ai, _text) in enumerate(symbol.fields) if ai[:2] not in ("01", "11", "17", "20", "31"))
        following = symbol.fields[opened + 1][0]
        if following in ("01", *PROVEN):
            assert isinstance(found, LabelError), symbol
        elif isinstance(found, Label):
            said = says(found)
            assert said["gtin"] == symbol.says["gtin"], symbol
            assert said["expiry"] in (symbol.says["expiry"], ""), symbol
            assert {"10": said["lot"], "21": said["serial"]}.get(following, "") == "", symbol
    assert lost > SYMBOLS // 80


def test_two_codes_run_together_are_never_one() -> None:
    everything = list(symbols(4, SYMBOLS // 40))
    for symbol, other in zip(everything, everything[1:] + everything[:1], strict=True):
        for second in (symbol, other):
            line = symbol.aim.encode() + symbol.raw + second.aim.encode() + second.raw + b"\r\n"
            assert accepted(line) == [] or not second.aim, (symbol, second)
            if symbol.says["kind"] == second.says["kind"] != 3:  # the same, from a scanner that sends no AIM prefix
                found = read_whole(symbol.aim, symbol.raw + second.raw)
                assert not isinstance(found, Label) or _swallowed(symbol, second, says(found)), (symbol, second)


def _swallowed(symbol: Symbol, second: Symbol, said: dict[str, str | int]) -> bool:
    """Undetectable without AIM prefix: the last text of a link swallows what follows, that of a GS1 label a label that
    does not begin with its item, and one HIBC code in 43 after another fits the check character."""
    if said["kind"] == 1:
        return True
    opens_with_item = second.raw.lstrip(GS.encode()).startswith(b"01")
    return said["gtin"] == symbol.says["gtin"] and (symbol.aim == "]Q1" or not opens_with_item)


def test_control_characters_anywhere_make_no_label() -> None:
    for symbol in symbols(5, SYMBOLS // 1000):
        line = symbol.aim.encode() + symbol.raw
        for byte in (0x00, 0x03, 0x04, 0x1B, 0x7F, 0xFF):
            for at in range(len(line) + 1):
                damaged = line[:at] + bytes((byte,)) + line[at:]
                reads = read_line(damaged + b"\r\n")
                assert len(reads) == 1, damaged
                assert not isinstance(reads[0][1], Label), damaged


def test_one_character_altered() -> None:
    """Undetectable: a letter or digit of a lot, serial or other text into another; a date into another date; in
    ISBT 128 a digit into another where no flags of type 3 prove the donation number.
    """
    rng = random.Random(6)
    for symbol in symbols(6, SYMBOLS // 10):
        raw = altered(rng, symbol.raw, rng.randrange(len(symbol.raw)))
        found = read_whole(symbol.aim, raw)
        if not isinstance(found, Label):
            continue
        said = says(found)
        assert said["kind"] == symbol.says["kind"] or said["kind"] == 3, (symbol, raw)
        assert said["gtin"] in (symbol.says["gtin"], ""), (symbol, raw)  # "": it names no item at all
        assert symbol.says["kind"] != 1, (symbol, raw)  # HIBC's check character finds every single one


def test_type_3_flags_find_every_altered_character_of_a_donation_number() -> None:
    rng = random.Random(7)
    for _ in range(SYMBOLS // 100):
        din = "A" + _some(rng, DIGITS, 12)
        raw = f"={din}{60 + isbt128.check_value(din)}".encode()
        damaged = altered(rng, raw, rng.randrange(1, 14))
        assert not isinstance(read_whole("]C0", damaged), Label), damaged
        at = rng.randrange(6, 13)  # neighbours exchanged
        swapped = raw[:at] + raw[at + 1 : at + 2] + raw[at : at + 1] + raw[at + 2 :]
        assert swapped == raw or not isinstance(read_whole("]C0", swapped), Label), swapped


def test_letters_of_the_other_case() -> None:
    """Caps lock turned round: refused by the AIM prefix, HIBC and ISBT 128. Undetectable: without AIM prefix, in a lot
    or serial of GS1."""
    for symbol in symbols(8, SYMBOLS // 40):
        line = (symbol.aim.encode() + symbol.raw).swapcase()
        for said in accepted(line + b"\r\n"):
            assert line == symbol.aim.encode() + symbol.raw or symbol.says["kind"] == 0, symbol
            assert said["gtin"] == symbol.says["gtin"], symbol
            assert said["expiry"] == symbol.says["expiry"], symbol


def test_garbage_of_any_length_is_garbage() -> None:
    rng = random.Random(9)
    fragments = [symbol.raw for symbol in symbols(9, 50)] + [
        b"]d2",
        b"]C1",
        b"01",
        b"10",
        b"=+",
        b"+",
        b"%",
        b"\x1d",
        b"\x03",
    ]
    for _ in range(SYMBOLS // 50):
        junk = b"".join(
            rng.choice(fragments) if rng.random() < 0.5 else rng.randbytes(rng.randint(1, 8))
            for _ in range(rng.randint(1, 9))
        )
        read_line(junk + b"\r\n")
    for filler in (b"\x00", b"A", b"9", b"01", b"17251231", b"]d2", b"\x1d", b"=", b"+", b"%", b"\xff", b"10A\x1d"):
        flood = (filler * 4096)[:4096]
        reads = read_line(b"]d2" + flood + b"\r\n")
        assert [(read.flaw, len(read.raw)) for read, _found in reads] == [("unreadable", RAW_BYTES_MAX)]
        for size in (RAW_BYTES_MAX, 90, 60):  # the longest that reach the grammars
            for aim in ("]d2", "]d1", ""):
                found = read_whole(aim, flood[:size])
                assert not isinstance(found, Label) or not any(says(found).values()), (filler, size)


@pytest.mark.parametrize("damage", ["none", "altered"])
def test_biip_agrees_on_what_is_taken(damage: str) -> None:
    """Where this grammar takes a label, biip reads the same item, lot, serial and expiry from it."""
    rng, compared = random.Random(10), 0
    for _ in range(SYMBOLS // 50):
        symbol = gs1_symbol(rng)
        raw = symbol.raw if damage == "none" else altered(rng, symbol.raw, rng.randrange(len(symbol.raw)))
        found = read_whole(symbol.aim, raw)
        if not isinstance(found, Label):
            continue
        compared += 1
        message = GS1Message.parse(raw.decode().lstrip(GS))
        theirs = {element.ai.ai: element.value for element in message.element_strings}
        assert (found.gtin, found.lot, found.serial) == (
            theirs.get("01", ""),
            theirs.get("10", ""),
            theirs.get("21", ""),
        )
        if not found.notes:
            assert found.expiry == theirs.get("17", "")
    assert compared > SYMBOLS // 400


def test_patterns_mean_the_same_to_the_unit_and_to_the_contract() -> None:
    """Random patterns: both sides refuse the same ones, and read the same from codes that fit."""
    rng, good = random.Random(11), 0
    pieces = [
        "%d",
        "%u",
        "%x",
        "%%",
        "(s",
        "(l",
        "(e",
        ")",
        ")",
        "A",
        "-",
        "7",
        "+",
        "(",
        "%",
        "(e%d%d%d%d%d%d)",
        "(s%x)",
    ]
    for _ in range(SYMBOLS // 10):
        pattern = "".join(rng.choices(pieces, k=rng.randint(1, 9)))
        try:
            compiled = wire.compile_pattern(pattern)
        except wire.PatternError:
            assert plain_code.fault(pattern) != "", pattern
            continue
        assert plain_code.fault(pattern) == "", pattern
        good += 1
        code = _code_for(rng, pattern)
        match = compiled.fullmatch(code)
        try:
            read = plain_code.read(pattern, code.encode())
        except LabelError:
            assert match is not None
            assert match["expiry"]
            continue
        assert (match is None) == (read is None), (pattern, code)
        if match and read:
            named = match.groupdict()
            assert (read.serial, read.lot) == (named.get("serial", ""), named.get("lot", ""))
    assert good > SYMBOLS // 200


def _code_for(rng: random.Random, pattern: str) -> str:
    """A code that fits the pattern, more often than not."""
    kinds = {"%d": DIGITS, "%u": CAPITALS, "%x": DIGITS + CAPITALS, "%%": "%"}
    code, at = "", 0
    while at < len(pattern):
        if pattern[at] == "(":
            at += 2
        elif pattern[at] == ")":
            at += 1
        elif pattern[at] == "%":
            code += rng.choice(kinds[pattern[at : at + 2]])
            at += 2
        else:
            code += pattern[at]
            at += 1
    return code if rng.random() < 0.7 else code + rng.choice("1A") if rng.random() < 0.5 else code[:-1]
