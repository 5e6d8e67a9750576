"""Deterministic CBOR for the unit: integers, bytes, texts, arrays and maps, each in its one encoding.

Decides whether bytes are the one encoding of a value. Never accepts a float, a tag, an indefinite length, a long form
of a short number, an unsorted or repeated key, invalid UTF-8 or trailing bytes. The tag 18 of a COSE_Sign1 is
cose.py's business.

Pure: runs unchanged on MicroPython and CPython. Spec: wire/SPEC.md section 2 (W1..W5, W8), RFC 8949 section 4.2.1.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_BYTES = 4096  # W4: the longest item a unit ever meets is an order
MAX_NESTING = 6  # W4: arrays and maps around one value
MAX_INT = (1 << 63) - 1  # W8
MIN_INT = -(1 << 63)  # W8

UINT, NEGATIVE, BYTES, TEXT, ARRAY, MAP, TAG, SIMPLE = range(8)  # major types, RFC 8949 section 3.1


class CborError(ValueError):
    """The one error of this module. code: too_large, not_cbor, not_deterministic or wrong_shape (SPEC section 10)."""

    def __init__(self, code: str, what: str) -> None:
        super().__init__(code + ": " + what)
        self.code = code


def encode(value: "Any") -> bytes:
    """The one encoding of value: int, bytes, str, bool, None, list or tuple, dict with uint or str keys.

    Raises CborError for anything else, beyond 64 bits, nested deeper than MAX_NESTING or longer than MAX_BYTES.
    """
    out = bytearray()
    _write(out, value, 0)
    return bytes(out)


def decode(raw: bytes) -> "Any":
    """The value of which raw is the one encoding; arrays become lists, maps dicts. Raises only CborError."""
    if len(raw) > MAX_BYTES:
        raise CborError("too_large", "%d bytes, at most %d" % (len(raw), MAX_BYTES))
    value, end = _read(raw, 0, 0)
    if end != len(raw):
        raise CborError("not_cbor", "%d bytes after the item" % (len(raw) - end))
    return value


def head(raw: bytes, at: int) -> "tuple[int, int, int]":
    """Major type, argument and the position after them, of the item head at `at`; only the shortest form passes."""
    if at >= len(raw):
        raise CborError("not_cbor", "ends too early")
    major, short = raw[at] >> 5, raw[at] & 31
    at += 1
    if short < 24:
        return major, short, at
    if short > 27:
        raise CborError("not_deterministic" if short == 31 else "not_cbor", "indefinite or reserved length")
    size = 1 << (short - 24)
    if at + size > len(raw):
        raise CborError("not_cbor", "ends too early")
    argument = int.from_bytes(raw[at : at + size], "big")
    if major < SIMPLE and argument < (24 if size == 1 else 1 << (4 * size)):
        raise CborError("not_deterministic", "a number in a longer form than needed")
    return major, argument, at + size


def string_head(size: int) -> bytes:
    """The bytes that open a byte string of `size` bytes."""
    out = bytearray()
    _write_head(out, BYTES, size)
    return bytes(out)


def is_utf8(raw: bytes) -> bool:
    """Whether raw is well-formed UTF-8 (RFC 3629). MicroPython's decode() lets overlong forms and surrogates pass."""
    at = 0
    while at < len(raw):
        lead = raw[at]
        if lead < 0x80:
            at += 1
            continue
        more = 1 if 0xC2 <= lead <= 0xDF else 2 if 0xE0 <= lead <= 0xEF else 3 if 0xF0 <= lead <= 0xF4 else 0
        if more == 0 or at + more >= len(raw):
            return False
        for follower in raw[at + 1 : at + 1 + more]:
            if follower & 0xC0 != 0x80:
                return False
        second = raw[at + 1]
        if (lead == 0xE0 and second < 0xA0) or (lead == 0xED and second > 0x9F):  # overlong; surrogate
            return False
        if (lead == 0xF0 and second < 0x90) or (lead == 0xF4 and second > 0x8F):  # overlong; beyond U+10FFFF
            return False
        at += 1 + more
    return True


def _write_head(out: bytearray, major: int, argument: int) -> None:
    if argument < 24:
        out.append(major << 5 | argument)
        return
    power = 0 if argument < 1 << 8 else 1 if argument < 1 << 16 else 2 if argument < 1 << 32 else 3
    out.append(major << 5 | 24 + power)
    out.extend(argument.to_bytes(1 << power, "big"))


def _write(out: bytearray, value: "Any", nesting: int) -> None:
    if value is None or value is True or value is False:  # before int: True is one on CPython and none on MicroPython
        out.append(0xF6 if value is None else 0xF5 if value else 0xF4)
    elif isinstance(value, int):
        if not MIN_INT <= value <= MAX_INT:
            raise CborError("wrong_shape", "an integer beyond 64 bits")
        _write_head(out, UINT if value >= 0 else NEGATIVE, value if value >= 0 else -1 - value)
    elif isinstance(value, (bytes, bytearray)):
        _write_string(out, BYTES, value)
    elif isinstance(value, str):
        _write_string(out, TEXT, value.encode())
    elif isinstance(value, (list, tuple, dict)):
        if nesting == MAX_NESTING:
            raise CborError("wrong_shape", "nested deeper than %d" % MAX_NESTING)
        if isinstance(value, dict):
            _write_map(out, value, nesting)
        else:
            _write_head(out, ARRAY, len(value))
            for item in value:
                _write(out, item, nesting + 1)
    else:
        raise CborError("wrong_shape", "a value that is no integer, bytes, text, array or map")
    if len(out) > MAX_BYTES:
        raise CborError("too_large", "more than %d bytes" % MAX_BYTES)


def _write_string(out: bytearray, major: int, string: "bytes | bytearray") -> None:
    if len(out) + len(string) > MAX_BYTES:
        raise CborError("too_large", "more than %d bytes" % MAX_BYTES)
    _write_head(out, major, len(string))
    out.extend(string)


def _write_map(out: bytearray, entries: "dict[Any, Any]", nesting: int) -> None:
    _write_head(out, MAP, len(entries))
    keys = {}
    for key in entries:
        if not isinstance(key, (int, str)) or key is True or key is False:
            raise CborError("wrong_shape", "a map key that is neither integer nor text")
        keys[encode(key)] = key
    for encoded in sorted(keys):
        out.extend(encoded)
        _write(out, entries[keys[encoded]], nesting + 1)


def _read(raw: bytes, at: int, nesting: int) -> "tuple[Any, int]":
    major, argument, at = head(raw, at)
    if major == UINT or major == NEGATIVE:
        if argument > MAX_INT:
            raise CborError("wrong_shape", "an integer beyond 64 bits")
        return argument if major == UINT else -1 - argument, at
    if major == BYTES or major == TEXT:
        return _read_string(raw, at, argument, major)
    if major == ARRAY or major == MAP:
        if nesting == MAX_NESTING:
            raise CborError("not_cbor", "nested deeper than %d" % MAX_NESTING)
        if argument > len(raw) - at:  # each element takes a byte at least: never build a list because a length says so
            raise CborError("not_cbor", "ends too early")
        if major == MAP:
            return _read_map(raw, at, argument, nesting + 1)
        items = []
        for _ in range(argument):
            item, at = _read(raw, at, nesting + 1)
            items.append(item)
        return items, at
    if major == SIMPLE and 20 <= argument <= 22 and raw[at - 1] >= 0xF4:
        return (False, True, None)[argument - 20], at
    raise CborError("wrong_shape", "a tag, a float or another simple value")


def _read_string(raw: bytes, at: int, size: int, major: int) -> "tuple[Any, int]":
    end = at + size
    if end > len(raw):
        raise CborError("not_cbor", "ends too early")
    string = bytes(raw[at:end])
    if major == BYTES:
        return string, end
    if not is_utf8(string):
        raise CborError("not_cbor", "a text that is not UTF-8")
    return string.decode(), end


def _read_map(raw: bytes, at: int, size: int, nesting: int) -> "tuple[dict[Any, Any], int]":
    entries = {}
    previous = b""
    for _ in range(size):
        start = at
        key, at = _read(raw, at, nesting)
        if not isinstance(key, (int, str)) or key is True or key is False:
            raise CborError("wrong_shape", "a map key that is neither integer nor text")
        if raw[start:at] <= previous:
            raise CborError("not_deterministic", "map keys out of order or repeated")
        previous = raw[start:at]
        entries[key], at = _read(raw, at, nesting)
    return entries, at
