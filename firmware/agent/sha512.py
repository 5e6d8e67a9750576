"""SHA-512 for interpreters whose hashlib has none (MicroPython); ed25519.py prefers hashlib where it can.

Pure: no state is kept between calls. Source: FIPS 180-4 sections 4.1.3, 4.2.3, 5.1.2, 5.3.5 and 6.4.
"""

import struct

MASK = (1 << 64) - 1
BLOCK_BYTES = 128
ROUNDS = 80


def _first_primes(count: int) -> "list[int]":
    primes: "list[int]" = []
    candidate = 2
    while len(primes) < count:
        if all(candidate % prime for prime in primes):
            primes.append(candidate)
        candidate += 1
    return primes


def _root_fraction(number: int, power: int) -> int:
    """The first 64 bits of the fraction of the power-th root of number (FIPS 180-4 sections 4.2.3 and 5.3.5)."""
    target = number << (64 * power)
    low, high = 0, 1 << 70  # roots of the primes used are below 2^6
    while high - low > 1:
        middle = (low + high) >> 1
        if middle**power <= target:
            low = middle
        else:
            high = middle
    return low & MASK


_PRIMES = _first_primes(ROUNDS)
_K = tuple([_root_fraction(prime, 3) for prime in _PRIMES])
_START = tuple([_root_fraction(prime, 2) for prime in _PRIMES[:8]])


def sha512(message: bytes) -> bytes:
    """The 64-byte digest of message."""
    padding = b"\x80" + bytes((111 - len(message)) % BLOCK_BYTES) + (8 * len(message)).to_bytes(16, "big")
    padded = message + padding
    state = _START
    for at in range(0, len(padded), BLOCK_BYTES):
        state = _compress(state, struct.unpack_from(">16Q", padded, at))
    return struct.pack(">8Q", *state)


def _compress(state: "tuple[int, ...]", block: "tuple[int, ...]") -> "tuple[int, ...]":
    # A rotation is a shift of the word written twice in a row: one big integer instead of two shifts and an or.
    # Of the message schedule only the last 16 words are kept: all 80 would lie scattered over a small heap.
    w = list(block)
    mask = MASK
    a, b, c, d, e, f, g, h = state
    for i in range(ROUNDS):
        at = i & 15
        if i >= 16:
            x = w[(i + 1) & 15]
            y = w[(i + 14) & 15]
            xx = x << 64 | x
            yy = y << 64 | y
            s0 = (xx >> 1) ^ (xx >> 8) ^ (x >> 7)
            s1 = (yy >> 19) ^ (yy >> 61) ^ (y >> 6)
            w[at] = (w[at] + (s0 & mask) + w[(i + 9) & 15] + (s1 & mask)) & mask
        ee = e << 64 | e
        aa = a << 64 | a
        t1 = h + (((ee >> 14) ^ (ee >> 18) ^ (ee >> 41)) & mask) + (g ^ (e & (f ^ g))) + _K[i] + w[at]
        t2 = (((aa >> 28) ^ (aa >> 34) ^ (aa >> 39)) & mask) + ((a & b) | (c & (a | b)))
        h, g, f, e, d, c, b, a = g, f, e, (d + t1) & mask, c, b, a, (t1 + t2) & mask
    return tuple([(x + y) & mask for x, y in zip(state, (a, b, c, d, e, f, g, h))])
