"""SHA-512 for interpreters whose hashlib has none (MicroPython); ed25519.py prefers hashlib where it can.

Pure: no state is kept between calls. Source: FIPS 180-4 sections 4.1.3, 4.2.3, 5.1.2, 5.3.5 and 6.4.
"""

import struct
from binascii import unhexlify

MASK = (1 << 64) - 1
BLOCK_BYTES = 128
ROUNDS = 80

# The first 64 bits of the fractions of roots (4.2.3: cube roots of the first 80 primes; 5.3.5: square roots of the
# first 8). Written out: a board takes seconds to find them. Packed: 80 numbers would take nine times the heap.
_K = unhexlify(
    "428a2f98d728ae227137449123ef65cdb5c0fbcfec4d3b2fe9b5dba58189dbbc3956c25bf348b53859f111f1b605d019923f82a4af194f9b"
    "ab1c5ed5da6d8118d807aa98a303024212835b0145706fbe243185be4ee4b28c550c7dc3d5ffb4e272be5d74f27b896f80deb1fe3b1696b1"
    "9bdc06a725c71235c19bf174cf692694e49b69c19ef14ad2efbe4786384f25e30fc19dc68b8cd5b5240ca1cc77ac9c652de92c6f592b0275"
    "4a7484aa6ea6e4835cb0a9dcbd41fbd476f988da831153b5983e5152ee66dfaba831c66d2db43210b00327c898fb213fbf597fc7beef0ee4"
    "c6e00bf33da88fc2d5a79147930aa72506ca6351e003826f142929670a0e6e7027b70a8546d22ffc2e1b21385c26c9264d2c6dfc5ac42aed"
    "53380d139d95b3df650a73548baf63de766a0abb3c77b2a881c2c92e47edaee692722c851482353ba2bfe8a14cf10364a81a664bbc423001"
    "c24b8b70d0f89791c76c51a30654be30d192e819d6ef5218d69906245565a910f40e35855771202a106aa07032bbd1b819a4c116b8d2d0c8"
    "1e376c085141ab532748774cdf8eeb9934b0bcb5e19b48a8391c0cb3c5c95a634ed8aa4ae3418acb5b9cca4f7763e373682e6ff3d6b2b8a3"
    "748f82ee5defb2fc78a5636f43172f6084c87814a1f0ab728cc702081a6439ec90befffa23631e28a4506cebde82bde9bef9a3f7b2c67915"
    "c67178f2e372532bca273eceea26619cd186b8c721c0c207eada7dd6cde0eb1ef57d4f7fee6ed17806f067aa72176fba0a637dc5a2c898a6"
    "113f9804bef90dae1b710b35131c471b28db77f523047d8432caab7b40c724933c9ebe0a15c9bebc431d67c49c100d4c4cc5d4becb3e42b6"
    "597f299cfc657e2a5fcb6fab3ad6faec6c44198c4a475817"
)
_START = struct.unpack(
    ">8Q",
    unhexlify(
        "6a09e667f3bcc908bb67ae8584caa73b3c6ef372fe94f82ba54ff53a5f1d36f1510e527fade682d19b05688c2b3e6c1f1f83d9abfb41bd6b"
        "5be0cd19137e2179"
    ),
)


def sha512(*parts: bytes) -> bytes:
    """The 64-byte digest of parts one behind the other; they are not joined, for a long order is long enough once."""
    state, rest, length = _START, b"", 0
    for part in parts:
        length += len(part)
        at = (BLOCK_BYTES - len(rest)) % BLOCK_BYTES
        rest += part[:at]
        if len(rest) == BLOCK_BYTES:
            state, rest = _compress(state, struct.unpack(">16Q", rest)), b""
        while at + BLOCK_BYTES <= len(part):
            state = _compress(state, struct.unpack_from(">16Q", part, at))
            at += BLOCK_BYTES
        rest += part[at:]
    rest += b"\x80" + bytes((111 - length) % BLOCK_BYTES) + (8 * length).to_bytes(16, "big")
    for at in range(0, len(rest), BLOCK_BYTES):
        state = _compress(state, struct.unpack_from(">16Q", rest, at))
    return struct.pack(">8Q", *state)


def _compress(state: "tuple[int, ...]", block: "tuple[int, ...]") -> "tuple[int, ...]":
    # A rotation is a shift of the word written twice in a row: one big integer instead of two shifts and an or.
    # Of the message schedule only the last 16 words are kept: all 80 would lie scattered over a small heap.
    w, k = list(block), block
    mask = MASK
    a, b, c, d, e, f, g, h = state
    for i in range(ROUNDS):
        at = i & 15
        if not at:
            k = struct.unpack_from(">16Q", _K, 8 * i)
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
        t1 = h + (((ee >> 14) ^ (ee >> 18) ^ (ee >> 41)) & mask) + (g ^ (e & (f ^ g))) + k[at] + w[at]
        t2 = (((aa >> 28) ^ (aa >> 34) ^ (aa >> 39)) & mask) + ((a & b) | (c & (a | b)))
        h, g, f, e, d, c, b, a = g, f, e, (d + t1) & mask, c, b, a, (t1 + t2) & mask
    return tuple([(x + y) & mask for x, y in zip(state, (a, b, c, d, e, f, g, h))])
