"""A provisioned unit that is switched on, and a gateway's end on its link: what most tests of one unit begin with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import wire
from hil_tests.bench.nor import BLOCK_BYTES
from hil_tests.bench.peer import Peer, provisioned
from hil_tests.bench.small_batch import NOW_MS
from hil_tests.bench.unix_unit import UnixUnit


@contextmanager
def powered(directory: Path, *, speed: float = 20.0, journal_blocks: int = 64) -> Iterator[UnixUnit]:
    """A provisioned unit, switched on; at the end its console must be empty and its flash well treated."""
    provisioned(directory, journal_bytes=journal_blocks * BLOCK_BYTES)
    settings = {"debounce_ms": "0"}
    with UnixUnit(directory, speed=speed, journal_bytes=journal_blocks * BLOCK_BYTES, settings=settings) as unit:
        unit.power_on()
        yield unit
        assert unit.console() == "", "the firmware printed something: it crashed"
        assert unit.board.misuse is None


def connect(unit: UnixUnit, now_ms: int | None = NOW_MS) -> Peer:
    peer = Peer(unit.link_port, kid=wire.decode_record(unit.journal()[0]).kid, now_ms=now_ms)
    peer.wait(lambda: bool(peer.hellos), "a hello")
    return peer
