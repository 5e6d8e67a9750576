"""A small batch for benches and tests: its order, the labels of its items, and how it is opened.

Codes are bytes as the scanner's line carries them: AIM prefix, content, CR LF.
"""

from __future__ import annotations

import wire
from hil_tests import labels
from hil_tests.bench.peer import GatewayEnd
from hil_tests.bench.words import BenchUnit

NOW_MS = 1_795_000_000_000  # November 2026
BATCH = "B-2026-0017"
DONOR_CODE = "=A99991234567800"
CARTRIDGE_GTIN, BUFFER_GTIN = labels.gtin("0952000001001"), labels.gtin("0952000001002")


def label(trade_item: str, rest: str) -> bytes:
    return f"]d201{trade_item}{rest}\r\n".encode()


def cartridge(serial: str, expiry: str = "271231") -> bytes:
    return label(CARTRIDGE_GTIN, f"17{expiry}21{serial}")


def plain(text: str) -> bytes:
    return f"]d1{text}\r\n".encode()


def order(kid: bytes, number: int = 1, batch: str = BATCH) -> wire.Order:
    return wire.Order(
        number=number,
        kid=kid,
        batch=batch,
        recipe="car-t",
        version=2,
        recipe_digest=bytes(32),
        steps=(
            wire.OrderStep("load", "Load cartridge", ("donor", "cartridge")),
            wire.OrderStep("wash", "Wash cells", ("buffer",)),
            wire.OrderStep("seal", "Seal", ()),
        ),
        items=(
            wire.OrderItem("donor", "Donor bag", "", 0, DONOR_CODE),
            wire.OrderItem("cartridge", "Cartridge", CARTRIDGE_GTIN, 5, None),
            wire.OrderItem("buffer", "Wash buffer", BUFFER_GTIN, 6, None),
        ),
        issued_ms=NOW_MS,
        limits=(wire.OrderLimit("temperature", 3600, 3800, -2, 5000, ()),),
    )


def scan(unit: BenchUnit, raw: bytes, *words: str) -> None:
    unit.scan(raw)
    for word in words:
        unit.wait_panel(word)


def open_batch(unit: BenchUnit, peer: GatewayEnd) -> None:
    peer.order(order(peer.kid))
    scan(unit, plain("CT/BADGE/OP-1"), "Welcome OP-1")
    unit.wait_panel("Scan BATCH OPEN")
    scan(unit, plain("CT/BATCH/OPEN"), "Batch open", BATCH)
