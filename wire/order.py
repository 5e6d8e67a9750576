"""Work orders: what the cloud tells a unit to make, signed (SPEC section 7, W43 to W45).

Checks signature and shape. Whether an order may be taken now (its number, its kid, no open batch)
is for the unit.
"""

import re
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

from wire import cbor
from wire.bodies import EXPONENT, NAME
from wire.cose import Purpose, open1, sign1, verify1
from wire.pattern import PatternError, compile_pattern
from wire.shape import DIGEST, INT, KID, UINT, Field, MapShape, array, integer, one_of, pattern, text, wrong_shape

MAX_ORDER_BYTES = 4096  # SPEC W4
NEEDS_SERIAL = 1  # sum of these in OrderItem.needs
NEEDS_LOT = 2
NEEDS_EXPIRY = 4
_TITLE = text(1, 40)


class Scheme(IntEnum):
    """Of what kind OrderItem.code is (W45)."""

    HIBC = 1
    ISBT_128 = 2
    PATTERN = 3


_CODES = {
    # labeler code, product code, unit of measure
    Scheme.HIBC: (re.compile(r"[A-Z][A-Z0-9]{4,21}[0-9]"), "the labeler code, product code and unit of measure"),
    Scheme.ISBT_128: (
        re.compile(r"[A-Z][A-Z0-9]{4}(?:[A-Za-z0-9]{3})?"),
        "a product code of 8 characters, or its first 5",
    ),
}


@dataclass(frozen=True)
class OrderStep:
    """One step of the procedure and the items to scan in it."""

    step: str
    name: str
    items: tuple[str, ...]


@dataclass(frozen=True)
class OrderItem:
    """One item to scan: by gtin, or by scheme and code, and what its label needs; or by its exact text.

    gtin "" is none. code: see W45; a site pattern is for compile_pattern.
    """

    item: str
    name: str
    gtin: str
    needs: int
    exact: str | None = None
    scheme: Scheme | None = None
    code: str | None = None


@dataclass(frozen=True)
class OrderLimit:
    """Alarm when channel is outside low..high times 10**exponent for delay_ms; steps empty: always."""

    channel: str
    low: int
    high: int
    exponent: int
    delay_ms: int
    steps: tuple[str, ...]


@dataclass(frozen=True)
class Order:
    """Make batch by recipe on the unit whose stream is kid; issued_ms since 1970."""

    number: int
    kid: bytes
    batch: str
    recipe: str
    version: int
    recipe_digest: bytes
    steps: tuple[OrderStep, ...]
    items: tuple[OrderItem, ...]
    issued_ms: int
    limits: tuple[OrderLimit, ...] = ()
    raw: bytes = b""


class _ItemShape(MapShape[OrderItem]):
    """scheme and code come together, without a gtin, and fit each other (W45)."""

    def read(self, value: Any) -> OrderItem:
        item = super().read(value)
        if (item.scheme is None) != (item.code is None):
            raise wrong_shape("scheme and code come together or not at all (W45)")
        if item.scheme is not None and item.code is not None:
            if item.gtin:
                raise wrong_shape("an item has a gtin or a scheme, not both (W45)")
            if problem := code_problem(item.scheme, item.code):
                raise wrong_shape(f"code: {problem} (W45)")
        return item


def code_problem(scheme: Scheme, code: str) -> str | None:
    """Why an item's code is none of that scheme, in words; None when it is one (W45)."""
    if scheme is Scheme.PATTERN:
        try:
            compile_pattern(code)
        except PatternError as error:
            return str(error)
        return None
    fits, words = _CODES[scheme]
    return None if fits.fullmatch(code) else f"needs {words}"


_STEP = MapShape(OrderStep, Field(1, "step", NAME), Field(2, "name", _TITLE), Field(3, "items", array(NAME, 0, 12)))
_ITEM = _ItemShape(
    OrderItem,
    Field(1, "item", NAME),
    Field(2, "name", _TITLE),
    Field(3, "gtin", pattern(r"(?:[0-9]{14})?", '14 digits or ""')),
    Field(4, "needs", integer(0, NEEDS_SERIAL + NEEDS_LOT + NEEDS_EXPIRY)),
    Field(5, "exact", text(1, 64), required=False),
    Field(6, "scheme", one_of(Scheme), required=False),
    Field(7, "code", text(1, 64), required=False),
)
_LIMIT = MapShape(
    OrderLimit,
    Field(1, "channel", text(1, 16)),
    Field(2, "low", INT),
    Field(3, "high", INT),
    Field(4, "exponent", EXPONENT),
    Field(5, "delay_ms", UINT),
    Field(6, "steps", array(NAME, 0, 40)),
)
_ORDER = MapShape(
    Order,
    Field(1, "number", UINT),
    Field(2, "kid", KID),
    Field(3, "batch", NAME),
    Field(4, "recipe", NAME),
    Field(5, "version", UINT),
    Field(6, "recipe_digest", DIGEST),
    Field(7, "steps", array(_STEP.kind, 1, 40)),
    Field(8, "items", array(_ITEM.kind, 0, 40)),
    Field(9, "issued_ms", UINT),
    Field(10, "limits", array(_LIMIT.kind, 1, 8), required=False),
)


def sign_order(seed: bytes, order: Order) -> bytes:
    """order signed by the cloud's key of seed.

    Raises WireError when the order breaks a rule of the contract, too_large above all: the message
    says which, so that whoever wrote the recipe can mend it.
    """
    fields = _ORDER.write(order)
    if not order.limits:
        del fields[10]
    raw = sign1(seed, Purpose.ORDER, cbor.encode(fields))
    peek_order(raw)
    return raw


def verify_order(raw: bytes, cloud_public_key: bytes) -> Order:
    """The order in raw if cloud_public_key signed it (W43). Raises WireError."""
    verify1(open1(raw, MAX_ORDER_BYTES), Purpose.ORDER, cloud_public_key)
    return peek_order(raw)


def peek_order(raw: bytes) -> Order:
    """The order in raw, its shape checked and its signature not; limits () when absent. Raises WireError."""
    order = _ORDER.read(cbor.decode(open1(raw, MAX_ORDER_BYTES).payload, MAX_ORDER_BYTES))
    return replace(order, limits=order.limits or (), raw=raw)
