"""Damaged codes against a whole procedure, on the interpreter of the board too: every record can be read again.

What MicroPython lets pass and CPython does not (text that is no UTF-8, for one) is found here; the long run over all
grammars is test_scans_fuzz.py's, on CPython.
"""

import random

from agent import cbor, events, hibc
from agent.scanner import Scanner
from tests.procedure_bench import CLOCK, DONOR, GTIN, Bench, kit, order_fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LINES = 1500
LINES_OF_A_BENCH = 100
ITEMS: "list[dict[int, Any]]" = [
    {1: "donor", 2: "Donor bag", 3: "", 4: 0, 5: "A999912345678"},
    {1: "kit", 2: "Tubing set", 3: GTIN, 4: 7},
    {1: "filter", 2: "Filter", 3: "", 4: 2, 6: 1, 7: "E20831269"},
    {1: "tube", 2: "Tube", 3: "", 4: 3, 6: 3, 7: "KIT-(l%d%d%d%d)-(s%x%x%x)"},
]
DEVICE = "+E20831269/$LOT1"
GOOD = [
    b"]C0" + DONOR.encode(),
    kit("S1"),
    ("]d1" + DEVICE + hibc.check_character(DEVICE)).encode(),
    b"]d1KIT-0042-ABC",
    b"CT/NOTE/Ger\xc3\xa4t \xe2\x82\xac \xf0\x9f\x98\x80",
    b"CT/BADGE/O\xc3\xa9-2",
    b"CT/OVERRIDE/no other r\xc3\xa9actif",
    b"CT/STEP/REPEAT/load/d\xc3\xa9j\xc3\xa0",
    b"CT/QTY/kit/used/12.5/mL",
]


def fresh() -> Bench:
    steps: "list[Any]" = [{1: "load", 2: "Load", 3: ["donor", "kit", "filter", "tube"]}]
    fields = order_fields()
    fields[7], fields[8] = steps, ITEMS
    bench = Bench(fields)
    for code in ("CT/BADGE/OP-1", "CT/BATCH/OPEN", "CT/STEP/START/load"):
        assert bench.scan(code).accepted
    return bench


def damaged(line: bytes) -> bytes:
    """A bit flips, a byte is another one, more or missing, or the code is cut."""
    at = random.randrange(len(line))
    byte = bytes((random.randrange(256),))
    kind = random.randrange(5)
    if kind == 0:
        return line[:at] + bytes((line[at] ^ 1 << random.randrange(8),)) + line[at + 1 :]
    return (line[:at] + byte + line[at + 1 :], line[:at] + byte + line[at:], line[:at], line[:at] + line[at + 1 :])[
        kind - 1
    ]


def test_every_record_of_a_damaged_code_can_be_read_again() -> None:
    random.seed(14)
    scanner = Scanner(debounce_ms=0)
    bench = fresh()
    accepted = refused = 0
    for number in range(LINES):
        line = GOOD[random.randrange(len(GOOD))]
        if number % LINES_OF_A_BENCH == 0:
            bench = fresh()
        line = damaged(line) if random.randrange(4) else line
        for read in scanner.feed(line + b"\r\n", 1000 * number):
            answer = bench.dialogue.read(read, CLOCK, 1000 * number)
            accepted, refused = accepted + answer.accepted, refused + (not answer.accepted)
            for kind, body, operator in answer.records:
                event = events.event(1, bytes(32), 1, 5, None, kind, bench.procedure.batch, operator, body)
                assert cbor.decode(cbor.encode(event)) == event, line
            bench.write(answer.records)
    assert min(accepted, refused) > LINES // 10
