"""A page of the journal: bytes and back, and one flipped bit put right. Knows nothing of records.

Never takes a page that was cut short for one: its last byte, the kind, is then still 0xFF, two bits away from every
kind. Never puts right what it cannot: at this length the CRC keeps any two pages five bits apart, so it names one
flipped bit and notices two, three or four. The format is written down in firmware/README.md.
"""

import binascii
import struct

PAGE_BYTES = 256
HEADER = "<IHB"  # CRC-32, lap, bytes of payload
HEADER_BYTES = 7
PAYLOAD_BYTES = PAGE_BYTES - HEADER_BYTES - 1  # the last byte is the kind
CHECKED_BYTES = PAGE_BYTES - 4  # all but the CRC itself
MAGIC_CRC = binascii.crc32(b"CTJ2")  # the magic goes into the CRC, not into the page: a scan shall fit one page
LAPS = 1 << 14  # 16384 laps of 36 h; an erased lap, 0xFFFF, is two bits away from every one of them
RECORD, CONTINUED = 0xA0, 0xB0  # kind; its low 3 bits: how many pages of the record follow
KIND_BITS, FOLLOWING_BITS = 0xF0, 0x07
FIXED_BITS, FIXED = 0xE8, 0xA0  # what all kinds share; 0xFF and 0x00 are two bits away from it
BLANK = b"\xff" * PAGE_BYTES

POLYNOMIAL = 0xEDB88320  # CRC-32 (IEEE 802.3), low bit first
ALL_ONES = 0xFFFFFFFF
STRIDE_BYTES = 16
STRIDE = bytes(STRIDE_BYTES)
# The CRC register that began as 1, so many steps behind the end of a page.
MEETING = {
    binascii.crc32(bytes(CHECKED_BYTES + 1 + steps), 1 ^ ALL_ONES) ^ ALL_ONES: steps for steps in range(STRIDE_BYTES)
}


def make(lap: int, kind: int, payload: bytes) -> bytes:
    """The page that carries payload (1..248 bytes). kind: RECORD or CONTINUED, and how many pages follow (0..7)."""
    checked = struct.pack("<HB", lap, len(payload)) + payload
    checked += BLANK[: CHECKED_BYTES - 1 - len(checked)] + bytes((kind,))
    return struct.pack("<I", _crc(checked)) + checked


def parse(raw: bytes) -> "tuple[int, int, bytes] | None":
    """Lap, kind and payload of a page whose CRC fits as it stands."""
    kind = raw[PAGE_BYTES - 1]
    if kind & FIXED_BITS != FIXED:
        return None
    crc, lap, size = struct.unpack_from(HEADER, raw, 0)
    if lap >= LAPS or not 0 < size <= PAYLOAD_BYTES or _crc(raw[4:]) != crc:
        return None
    return lap, kind, raw[HEADER_BYTES : HEADER_BYTES + size]


def may_be_put_right(raw: bytes) -> bool:
    """Whether the last byte is at most one bit away from a kind; that of a blank page or one cut short never is."""
    wrong = (raw[PAGE_BYTES - 1] & FIXED_BITS) ^ FIXED
    return wrong & (wrong - 1) == 0


def put_right(raw: bytes) -> bytes:
    """raw with the one bit flipped back that its CRC betrays; raw itself when no single bit explains it.

    A flipped bit leaves a syndrome that depends on its distance from the end alone: the CRC register that began as 1
    and was stepped so far. It is stepped on until it meets one of 16 values further on: some 140 short CRCs, no table.
    """
    syndrome = struct.unpack_from("<I", raw, 0)[0] ^ _crc(raw[4:])
    if syndrome & (syndrome - 1) == 0:  # the bit is in the CRC itself
        return struct.pack("<I", _crc(raw[4:])) + raw[4:]
    for bit in range(8):
        stepped = syndrome
        for stride in range(0, CHECKED_BYTES + STRIDE_BYTES, STRIDE_BYTES):
            if stepped in MEETING:
                at = PAGE_BYTES - (CHECKED_BYTES + 1 + MEETING[stepped] - stride)
                return raw[:at] + bytes((raw[at] ^ 1 << bit,)) + raw[at + 1 :] if 4 <= at < PAGE_BYTES else raw
            stepped = binascii.crc32(STRIDE, stepped ^ ALL_ONES) ^ ALL_ONES
        syndrome = syndrome >> 1 ^ (POLYNOMIAL if syndrome & 1 else 0)
    return raw


def _crc(checked: bytes) -> int:
    return binascii.crc32(checked, MAGIC_CRC)
