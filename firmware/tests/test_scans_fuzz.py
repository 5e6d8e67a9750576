"""Damaged and hostile codes against a whole procedure: always an answer and a lawful record, never a wrong item.

Symbols of all grammars that the order asks for, commands among them, with control characters (Ctrl-C and Ctrl-D too)
at every position, cut, doubled and altered, go through scanner core, grammars and dialogue as on a unit.
"""

import os
import random
from typing import Any

from agent import hibc
from agent.events import ACCEPTED, SCAN
from agent.scanner import Scanner
from tests.procedure_bench import CLOCK, DONOR, GTIN, Bench, kit, order_fields

from wire.bodies import SHAPES, RecordType

LINES = int(os.environ.get("CARTRACE_FUZZ_SYMBOLS", "100000")) // 20
KIT = "KIT-(l%d%d%d%d)-(s%x%x%x)"
ITEMS: "list[dict[int, Any]]" = [
    {1: "donor", 2: "Donor bag", 3: "", 4: 0, 5: "A999912345678"},
    {1: "kit", 2: "Tubing set", 3: GTIN, 4: 7},
    {1: "filter", 2: "Filter", 3: "", 4: 2, 6: 1, 7: "E20831269"},
    {1: "bag", 2: "Bag", 3: "", 4: 0, 6: 2, 7: "E0398"},
    {1: "tube", 2: "Tube", 3: "", 4: 3, 6: 3, 7: KIT},
]
OWN = {"donor": b"=A999912345678", "kit": GTIN.encode(), "filter": b"E20831269", "bag": b"=<E0398", "tube": b"KIT-"}
COMMANDS = [
    b"CT/BADGE/OP-1",
    b"CT/BADGE/OP-2",
    b"CT/NOTE/hello",
    b"CT/STEP/REPEAT/load/again",
    b"CT/QTY/kit/used/1/1",
    b"CT/OVERRIDE/why",
]


def _bench() -> Bench:
    steps: "list[Any]" = [{1: "load", 2: "Load", 3: ["donor", "kit", "filter", "bag", "tube"]}]
    bench = Bench({**order_fields(), 7: steps, 8: ITEMS})
    for code in ("CT/BADGE/OP-1", "CT/BATCH/OPEN", "CT/STEP/START/load"):
        assert bench.scan(code).accepted
    return bench


def _good_lines(rng: random.Random) -> "list[bytes]":
    number = f"{rng.randrange(1000):03}"
    device = "+E20831269/$LOT" + number
    return [
        b"]C0" + DONOR.encode(),
        kit("S" + number),
        ("]d1" + device + hibc.check_character(device)).encode(),
        b"]C0=<E0398V00",
        b"]d1KIT-0042-" + number.encode(),
        *COMMANDS,
    ]


def _damaged(rng: random.Random, line: bytes) -> bytes:
    at = rng.randrange(len(line))
    return rng.choice(
        [
            line[:at] + bytes((rng.choice([0x00, 0x03, 0x04, 0x1A, 0x1B, 0x1D, 0x7F, 0x80, 0xFF]),)) + line[at:],
            line[:at],
            line[at:],
            line + line,
            line + rng.choice(_good_lines(rng)),
            line[:at] + rng.randbytes(1) + line[at + 1 :],
            line.swapcase(),
            rng.randbytes(rng.randint(1, 60)),
            line * (4096 // len(line)),
        ]
    )


def _checked(bench: Bench, before: int) -> "set[str]":
    """The items that one read was accepted for: its records are lawful, and its code really names them."""
    items = set()
    for kind, _batch, _operator, body in bench.records[before:]:
        SHAPES[RecordType(kind)].read(body)  # raises when a receiver of the contract would
        if kind == SCAN and body[4] == ACCEPTED:
            assert OWN[body[3]] in body[1], body
            items.add(body[3])
    return items


def test_every_read_is_answered_and_no_wrong_item_accepted() -> None:
    rng, accepted, refused = random.Random(20), 0, 0
    bench, scanner, at_ms = _bench(), Scanner(), 0
    items: "set[str]" = set()
    for _ in range(LINES):
        if len(bench.records) > 500 or not bench.procedure.step or bench.procedure.operator != "OP-1":
            bench = _bench()
        good = rng.random() < 0.2
        line = rng.choice(_good_lines(rng))
        at_ms += 5000
        for read in scanner.feed((line if good else _damaged(rng, line)) + b"\r\n", at_ms) + scanner.feed(
            b"", at_ms + 900
        ):
            before = len(bench.records)
            answer = bench.dialogue.read(read, CLOCK, at_ms)
            bench.write(answer.records)
            assert answer.accepted or len(bench.records) > before, read.raw  # a refusal leaves its record
            assert all(" " <= char <= "~" for char in "".join(answer.words)), answer.words
            items |= _checked(bench, before)
            accepted += answer.accepted
            refused += not answer.accepted
    assert items == set(OWN)
    assert accepted > LINES // 20
    assert refused > LINES // 2


def test_control_characters_anywhere_in_anything_are_refused() -> None:
    bench = _bench()
    for byte in (0x03, 0x04):
        for line in _good_lines(random.Random(21)):
            for at in range(len(line) + 1):
                before = len(bench.records)
                for read in Scanner().feed(line[:at] + bytes((byte,)) + line[at:] + b"\r\n", 0):
                    answer = bench.dialogue.read(read, CLOCK, 0)
                    bench.write(answer.records)
                    assert not answer.accepted, (line, at)
                assert len(bench.records) > before
