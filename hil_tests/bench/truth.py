"""The truth about a unit: which records its flash really holds, read from the raw bytes.

Written from firmware/README.md, "Journal format", and from nothing else: it shares no code with the firmware, so that
a mistake in the firmware's recovery shows as a difference. It never judges a record, and puts no flipped bit right: it
is for flash that power cuts tore and nothing else damaged.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

BLOCK = 4096
PAGE = 256
PAGES_OF_BLOCK = BLOCK // PAGE
MAGIC = b"CTJ2"
START = bytes.fromhex("d2844da201320448")  # of every record; not stored
FIRST_OF_RECORD, FURTHER = 0xA, 0xB


@dataclass(frozen=True)
class Page:
    """A valid page: its number in the history of the ring, its kind, how many pages follow, its payload."""

    number: int
    kind: int
    following: int
    payload: bytes


def records(partition: bytes) -> list[bytes]:
    """Every whole record of a journal partition, oldest first."""
    live = _live_pages(partition)
    return [
        entry
        for number in sorted(live)
        if live[number].kind == FIRST_OF_RECORD and (entry := _entry(live, number)) is not None
    ]


def _live_pages(partition: bytes) -> dict[int, Page]:
    page_count = len(partition) // PAGE
    found = list(_valid_pages(partition))
    if not found:
        return {}
    newest = max(page.number for page in found)
    newest_lap, newest_block = newest // page_count, newest % page_count // PAGES_OF_BLOCK
    live: dict[int, Page] = {}
    for page in found:
        lap, block = page.number // page_count, page.number % page_count // PAGES_OF_BLOCK
        if lap == (newest_lap if block <= newest_block else newest_lap - 1):
            live[page.number] = page
    return live


def _valid_pages(partition: bytes) -> Iterator[Page]:
    page_count = len(partition) // PAGE
    for place in range(page_count):
        raw = partition[place * PAGE : (place + 1) * PAGE]
        crc, lap, length = struct.unpack_from("<IHB", raw)
        kind, following = raw[-1] >> 4, raw[-1] & 0x0F
        if kind not in (FIRST_OF_RECORD, FURTHER) or following > 7 or lap >= 1 << 14 or not 1 <= length <= 248:
            continue
        if zlib.crc32(MAGIC + raw[4:]) == crc:
            yield Page(lap * page_count + place, kind, following, raw[7 : 7 + length])


def _entry(live: dict[int, Page], number: int) -> bytes | None:
    """The bytes of the entry that begins at page `number`, None when one of its pages is not valid."""
    first = live[number]
    joined = START + first.payload
    for step in range(1, first.following + 1):
        page = live.get(number + step)
        if page is None or page.kind != FURTHER or page.following != first.following - step:
            return None
        joined += page.payload
    return joined
