"""Ed25519 in pure Python: signs the unit's records and decides whether a receipt or an order is the cloud's.

The fallback for interpreters without a native signer (a genesis record says which one signs). It is not constant time:
whoever can measure a unit's signing times to the microsecond holds the unit in his hands.

Points are extended coordinates (X, Y, Z, T), x = X/Z, y = Y/Z, xy = T/Z (RFC 8032 section 5.1.4). Multiples of the
base point come from a comb of 32 prepared points (4 kB, made at the first use): 51 doublings and 51 additions
instead of 253 and about 127.
Source: RFC 8032 section 5.1; strictness: wire/SPEC.md W13. Vectors: RFC 8032 section 7.1, Wycheproof, PyNaCl.
"""

import hashlib

if hasattr(hashlib, "sha512"):

    def _sha512(*parts: bytes) -> bytes:
        whole = hashlib.sha512()
        for part in parts:
            whole.update(part)
        return whole.digest()

else:
    from agent.sha512 import sha512 as _sha512

TYPE_CHECKING = False
if TYPE_CHECKING:
    Point = tuple[int, int, int, int]
    Prepared = tuple[int, int, int]  # y + x, y - x, 2dxy of an affine point

P = (1 << 255) - 19
L = (1 << 252) + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)
SEED_BYTES = KEY_BYTES = 32
SIGNATURE_BYTES = 64

kind = "pure"  # as the genesis record says it (cose.Ed25519)

TEETH = 5  # comb: bit i, i + 51, .. i + 204 of the scalar are looked up together
COLUMNS = 51  # 5 * 51 = 255 bits
WINDOW_BITS = 4  # of the multiples of a public key
IDENTITY = (0, 1, 1, 0)


class Table:
    """Rows of numbers, each below 2^256, in one piece: as integers they would take five times the heap."""

    def __init__(self, rows: int, columns: int) -> None:
        self._row_bytes = columns * KEY_BYTES
        self._packed = bytearray(rows * self._row_bytes)

    def put(self, row: int, numbers: "tuple[int, ...]") -> None:
        at = row * self._row_bytes
        self._packed[at : at + self._row_bytes] = b"".join([number.to_bytes(KEY_BYTES, "little") for number in numbers])

    def get(self, row: int) -> "list[int]":
        at = row * self._row_bytes
        edges = range(at, at + self._row_bytes, KEY_BYTES)
        return [_number(self._packed[edge : edge + KEY_BYTES]) for edge in edges]


# Both are made while the heap is new: a worn one may have no piece as long as these.
_comb = Table(1 << TEETH, 3)  # prepared points
_multiples = Table(1 << WINDOW_BITS, 4)  # of the public key in hand
_own_pair = [b"", b""]  # the seed used last, and its public key


def public_key(seed: bytes) -> bytes:
    """The 32-byte public key of a 32-byte seed (RFC 8032 section 5.1.5)."""
    if _own_pair[0] != seed:
        scalar, _ = _expand(seed)
        _own_pair[1] = _encode(_times_base(scalar))
        _own_pair[0] = seed
    return _own_pair[1]


def sign(seed: bytes, public: bytes, message: bytes) -> bytes:
    """The 64-byte signature of message (RFC 8032 section 5.1.6).

    public must be public_key(seed), or it raises ValueError: signing one message under two keys gives the seed away.
    """
    if public != public_key(seed):
        raise ValueError("public key of another seed")
    scalar, prefix = _expand(seed)
    nonce = _number(_sha512(prefix, message)) % L
    r = _encode(_times_base(nonce))
    challenge = _number(_sha512(r, public, message)) % L
    return r + ((nonce + challenge * scalar) % L).to_bytes(32, "little")


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether signature is public's for message, without cofactor and strict (W13).

    False also for a public key that key_is_sound() refuses, an S not below the group order, and an R that is not
    canonical or of small order.
    """
    if len(public) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    s = _number(signature[32:])
    a = _decode(public)
    if s >= L or a is None or _is_small_order(a):
        return False
    r = signature[:32]
    challenge = _number(_sha512(r, public, message)) % L
    x, y, z, t = a
    found = _times_base_and(s, challenge, (P - x, y, z, P - t))
    # Comparing bytes refuses every non-canonical R; the point is then known without a square root.
    return _encode(found) == r and not _is_small_order(found)


def key_is_sound(public: bytes) -> bool:
    """Whether public is a canonical point on the curve and not of small order (W13)."""
    if len(public) != KEY_BYTES:
        return False
    point = _decode(public)
    return point is not None and not _is_small_order(point)


def _number(raw: "bytes | bytearray") -> int:
    return int.from_bytes(raw, "little")


def _expand(seed: bytes) -> "tuple[int, bytes]":
    if len(seed) != SEED_BYTES:
        raise ValueError("a seed has 32 bytes")
    digest = _sha512(seed)
    scalar = _number(digest[:32]) & ((1 << 254) - 8) | (1 << 254)
    return scalar, digest[32:]


def _encode(point: "Point") -> bytes:
    x, y, z, _ = point
    inverse = pow(z, P - 2, P)
    return ((y * inverse % P) | (x * inverse % P & 1) << 255).to_bytes(32, "little")


def _decode(raw: bytes) -> "Point | None":
    """The point of 32 bytes (RFC 8032 section 5.1.3), or None when they are not the one encoding of a point."""
    y = _number(raw)
    sign_bit = y >> 255
    y &= (1 << 255) - 1
    if y >= P:
        return None
    yy = y * y % P
    u = yy - 1
    v = (D * yy + 1) % P
    v3 = v * v % P * v % P
    x = u * v3 % P * pow(u * v3 % P * v3 % P * v % P, (P - 5) // 8, P) % P
    vxx = v * x % P * x % P
    if vxx != u % P:
        if vxx != -u % P:
            return None
        x = x * SQRT_M1 % P
    if x == 0 and sign_bit:
        return None
    if x & 1 != sign_bit:
        x = P - x
    return (x, y, 1, x * y % P)


def _double(point: "Point", times: int = 1) -> "Point":
    x, y, z, t = point
    p = P
    while times:
        times -= 1
        a = x * x % p
        b = y * y % p
        h = a + b
        e = h - (x + y) * (x + y)
        g = a - b
        f = 2 * z * z + g
        x = e * f % p
        y = g * h % p
        z = f * g % p
        if not times:
            t = e * h % p  # a doubling does not need it, so only the last one makes it
    return (x, y, z, t)


def _add(one: "Point", two: "Point") -> "Point":
    x1, y1, z1, t1 = one
    x2, y2, z2, t2 = two
    p = P
    a = (y1 - x1) * (y2 - x2) % p
    b = (y1 + x1) * (y2 + x2) % p
    c = 2 * D * t1 % p * t2 % p
    d = 2 * z1 * z2 % p
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % p, g * h % p, f * g % p, e * h % p)


def _add_prepared(one: "Point", two: "Prepared") -> "Point":
    x, y, z, t = one
    plus, minus, t2d = two
    p = P
    a = (y - x) * minus % p
    b = (y + x) * plus % p
    c = t * t2d % p
    d = 2 * z
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % p, g * h % p, f * g % p, e * h % p)


def _is_small_order(point: "Point") -> bool:
    x, y, z, _ = _double(point, 3)
    return x == 0 and y == z


def _prepare() -> None:
    """Fill the comb: row k is the sum of 2^(51 j) B over the bits j of k."""
    base = _decode((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))
    assert base is not None
    points = Table(1 << TEETH, 4)
    points.put(0, IDENTITY)
    for tooth in range(TEETH):
        for k in range(1 << tooth):
            points.put(k + (1 << tooth), _add(_row(points, k), base))
        base = _double(base, COLUMNS)
    # All inverses of Z for the price of one (Montgomery's trick); the products stand where T is no longer needed.
    product = 1
    for k in range(1 << TEETH):
        x, y, z, _ = points.get(k)
        points.put(k, (x, y, z, product))
        product = product * z % P
    inverse = pow(product, P - 2, P)
    for k in range((1 << TEETH) - 1, -1, -1):
        x, y, z, product = points.get(k)
        own, inverse = inverse * product % P, inverse * z % P
        x, y = x * own % P, y * own % P
        _comb.put(k, ((y + x) % P, (y - x) % P, 2 * D * x * y % P))


def _prepared() -> Table:
    """The comb, filled at its first use; its first row is never zero then."""
    if not _comb.get(0)[0]:
        _prepare()
    return _comb


def _row(table: Table, row: int) -> "Point":
    x, y, z, t = table.get(row)
    return x, y, z, t


def _column(scalar: int, i: int) -> int:
    column = 0
    for tooth in range(TEETH):
        column |= (scalar >> (i + COLUMNS * tooth) & 1) << tooth
    return column


def _tooth(comb: Table, column: int) -> "Prepared":
    plus, minus, t2d = comb.get(column)
    return plus, minus, t2d


def _times_base(scalar: int) -> "Point":
    comb = _prepared()
    point = IDENTITY
    for i in range(COLUMNS - 1, -1, -1):
        point = _add_prepared(_double(point), _tooth(comb, _column(scalar, i)))
    return point


def _times_base_and(base_scalar: int, scalar: int, other: "Point") -> "Point":
    """base_scalar * B + scalar * other. The comb joins in when 51 doublings are left, so it needs none of its own."""
    comb = _prepared()
    point = IDENTITY
    for times in range(1 << WINDOW_BITS):
        _multiples.put(times, point)
        point = _add(point, other)
    point = IDENTITY
    for i in range(252, COLUMNS, -WINDOW_BITS):  # 252, 248 .. 52: both scalars are below 2^253
        point = _add(_double(point, WINDOW_BITS), _row(_multiples, scalar >> i & 15))
    for i in range(COLUMNS, -1, -1):
        point = _double(point)
        if i < COLUMNS:
            point = _add_prepared(point, _tooth(comb, _column(base_scalar, i)))
        if i % WINDOW_BITS == 0:
            point = _add(point, _row(_multiples, scalar >> i & 15))
    return point
