"""A flash as a long life leaves it: 36 hours of samples and scans, written by the unit's own code in virtual time.

Takes the flash of a provisioned board, lives on in its slots and journal on CPython (memory_board.py), and gives the
flash back. So the records are the unit's own, by its own key, in its own format, with checkpoints where it makes them.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path

import wire
from hil_tests.bench.board_image import JOURNAL_START, SLOTS_START, journal_of
from hil_tests.bench.memory_board import MemoryBoard, MemoryPeer

MINUTE_MS = 60_000
SCANS_PER_HOUR = 14  # 500 in 36 hours


def lived(flash: bytes, live: Callable[[MemoryBoard, MemoryPeer], None], *, now_ms: int) -> bytes:
    """The flash after a life on it; live() is called with the booted board and a gateway that answers."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "flash.bin"
        path.write_bytes(flash[SLOTS_START:])
        board = MemoryBoard(path, {}, journal_bytes=len(flash) - JOURNAL_START)
        with contextlib.closing(board.nor):
            board.power_on()
            peer = MemoryPeer(board, kid=wire.decode_record(journal_of(flash)[0]).kid, now_ms=now_ms)
            peer.send(wire.Who())
            board.run(2000)
            live(board, peer)
        return flash[:SLOTS_START] + path.read_bytes()


def let_pass(board: MemoryBoard, minutes: int, scan: Callable[[int], bytes]) -> None:
    """Minutes of sampling, with a scan now and then; scan(number) is the code."""
    for minute in range(minutes):
        board.skip(MINUTE_MS)
        if minute * SCANS_PER_HOUR // 60 != (minute + 1) * SCANS_PER_HOUR // 60:
            board.scan(scan(minute), aim="")
