"""Work orders: what the cloud signed that this unit shall make, and which orders the unit takes.

Decides whether the bytes are an order for this unit (SPEC section 7, W43). Never decides what a technician may do:
procedure.py. Pure. Units and names follow the SPEC.
"""

import hashlib

from agent import cbor, cose, plain_code
from agent.frames import CHUNK_BYTES_MAX
from agent.label_fields import HIBC, ISBT128, PATTERN, is_digits

NEEDS_SERIAL, NEEDS_LOT, NEEDS_EXPIRY = 1, 2, 4  # W44
CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SMALL = "abcdefghijklmnopqrstuvwxyz"
CODED = CAPITALS + "0123456789"


class OrderRefused(Exception):  # noqa: N818  a verdict, and no mistake of the program
    """An order that the unit must not take; code is `forged`, `malformed`, `other_unit`, `old` or `busy`."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Step:
    """One step of an order: items lists item ids, one entry for each scan that is asked for."""

    def __init__(self, step: str, name: str, items: "tuple[str, ...]") -> None:
        self.step = step
        self.name = name
        self.items = items


class Item:
    """What a scan of one item must show (W44, W45). scheme 0: the gtin says which item it is, or exact alone."""

    def __init__(self, fields: "dict[int, object]") -> None:
        self.item = _name(fields, 1, 32)
        self.name = _name(fields, 2, 40)
        self.gtin = _gtin(fields)
        self.needs = _uint(fields, 4)
        _require(self.needs <= NEEDS_SERIAL + NEEDS_LOT + NEEDS_EXPIRY)
        self.exact = _name(fields, 5, 64) if 5 in fields else ""
        self.scheme = _uint(fields, 6) if 6 in fields else 0
        self.code = _name(fields, 7, 64) if 7 in fields else ""
        _require((6 in fields) == (7 in fields) and (6 not in fields or _code_fits(self)))


class Limit:
    """A channel's permitted range, scaled by exponent, in the named steps; steps empty: in all."""

    def __init__(self, channel: str, low: int, high: int, exponent: int, delay_ms: int, steps: "list[str]") -> None:
        self.channel = channel
        self.low = low
        self.high = high
        self.exponent = exponent
        self.delay_ms = delay_ms
        self.steps = steps


class Order:
    """A verified order. Its bytes stay in flash: with a long recipe they would be a tenth of the heap."""

    def __init__(self, raw: bytes, fields: "dict[int, object]") -> None:
        self.digest = hashlib.sha256(raw).digest()
        self.number = _uint(fields, 1)
        self.kid = _bytes(fields, 2, 8)
        self.batch = _name(fields, 3, 32)
        self.recipe = _name(fields, 4, 32)
        self.version = _uint(fields, 5)
        self.recipe_digest = _bytes(fields, 6, 32)
        self.steps = [
            Step(_name(step, 1, 32), _name(step, 2, 40), tuple(_names(step, 3, 12))) for step in _maps(fields, 7, 1, 40)
        ]
        self.items = [Item(item) for item in _maps(fields, 8, 0, 40)]
        self.issued_ms = _uint(fields, 9)
        self.limits = [
            Limit(
                _name(limit, 1, 16),
                _int(limit, 2),
                _int(limit, 3),
                _int(limit, 4),
                _uint(limit, 5),
                _names(limit, 6, 40),
            )
            for limit in (_maps(fields, 10, 1, 8) if 10 in fields else [])
        ]
        known = [item.item for item in self.items]
        for step in self.steps:
            for item in step.items:
                _require(item in known)

    def step(self, name: str) -> "Step | None":
        for step in self.steps:
            if step.step == name:
                return step
        return None

    def item(self, name: str) -> "Item | None":
        for item in self.items:
            if item.item == name:
                return item
        return None


def open_order(raw: bytes, cloud_key: cose.PublicKey, kid: bytes) -> Order:
    """The order in raw when the cloud signed it for the stream kid; raises OrderRefused."""
    if len(raw) > cose.ORDER_BYTES_MAX:
        raise OrderRefused("malformed")
    try:
        payload = cose.open1(raw, cose.ORDER, cloud_key)
    except cose.CoseError:
        raise OrderRefused("forged")  # noqa: B904  MicroPython keeps no cause
    try:
        order = Order(raw, _fields(cbor.decode(payload)))
    except cbor.CborError:
        raise OrderRefused("malformed")  # noqa: B904  MicroPython keeps no cause
    if order.kid != kid:
        raise OrderRefused("other_unit")
    return order


def stored_order(raw: bytes) -> Order:
    """The order that open_order once accepted and the unit's own flash kept; raises OrderRefused when it is damaged."""
    try:
        return Order(raw, _fields(cbor.decode(cbor.decode(raw[1:])[2])))
    except (cbor.CborError, TypeError, IndexError):
        raise OrderRefused("malformed")  # noqa: B904  MicroPython keeps no cause


class Assembler:
    """Puts the chunks of one order together; a chunk that does not continue the last one starts anew or is dropped."""

    def __init__(self) -> None:
        self._total = 0
        self._raw = bytearray()

    def feed(self, total: int, offset: int, chunk: bytes) -> "bytes | None":
        """The whole order once its last chunk is here."""
        if (
            not 0 < total <= cose.ORDER_BYTES_MAX
            or not 0 < len(chunk) <= CHUNK_BYTES_MAX
            or offset + len(chunk) > total
        ):
            return None
        if offset == 0:
            self._total, self._raw = total, bytearray()
        if total != self._total or offset != len(self._raw):
            return None
        self._raw += chunk
        if len(self._raw) < total:
            return None
        whole, self._total, self._raw = bytes(self._raw), 0, bytearray()
        return whole


def _require(holds: bool) -> None:
    if not holds:
        raise OrderRefused("malformed")


def _fields(item: object) -> "dict[int, object]":
    _require(isinstance(item, dict))
    return item  # type: ignore[return-value]  # its values are checked field by field


def _int(fields: "dict[int, object]", key: int) -> int:
    number = fields.get(key)
    _require(isinstance(number, int))
    return number  # type: ignore[return-value]  # MicroPython has no narrowing by type()


def _uint(fields: "dict[int, object]", key: int) -> int:
    number = _int(fields, key)
    _require(number >= 0)
    return number


def _bytes(fields: "dict[int, object]", key: int, length: int) -> bytes:
    raw = fields.get(key)
    _require(isinstance(raw, bytes) and len(raw) == length)
    return raw  # type: ignore[return-value]


def _name(fields: "dict[int, object]", key: int, longest: int) -> str:
    text = fields.get(key)
    _require(isinstance(text, str) and 1 <= len(text) <= longest)
    return text  # type: ignore[return-value]


def _gtin(fields: "dict[int, object]") -> str:
    gtin = fields.get(3)
    _require(isinstance(gtin, str) and (gtin == "" or (len(gtin) == 14 and is_digits(gtin))))
    return gtin  # type: ignore[return-value]


def _code_fits(item: Item) -> bool:
    """W45: the code is one of its scheme, and no gtin stands beside it."""
    code = item.code
    if item.gtin:
        return False
    if item.scheme == HIBC:
        return 6 <= len(code) <= 23 and code[0] in CAPITALS and is_digits(code[-1]) and _only(CODED, code)
    if item.scheme == ISBT128:
        facility, kind = code[:5], code[5:]
        return len(code) in (5, 8) and code[0] in CAPITALS and _only(CODED, facility) and _only(CODED + SMALL, kind)
    return item.scheme == PATTERN and plain_code.fault(code) == ""


def _only(allowed: str, text: str) -> bool:
    return all([char in allowed for char in text])


def _list(fields: "dict[int, object]", key: int, fewest: int, most: int) -> "list[object]":
    listed = fields.get(key)
    _require(isinstance(listed, list) and fewest <= len(listed) <= most)
    return listed  # type: ignore[return-value]


def _names(fields: "dict[int, object]", key: int, most: int) -> "list[str]":
    names = _list(fields, key, 0, most)
    for name in names:
        _require(isinstance(name, str) and 1 <= len(name) <= 32)
    return names  # type: ignore[return-value]


def _maps(fields: "dict[int, object]", key: int, fewest: int, most: int) -> "list[dict[int, object]]":
    return [_fields(item) for item in _list(fields, key, fewest, most)]
