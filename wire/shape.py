"""Shapes: tables that say which keys a map has and what each may hold (SPEC W2, W3, W8, W23).

A Kind reads one value and refuses it with wrong_shape; a MapShape reads a map with integer keys
into a dataclass and writes it back. The tables stand beside the dataclasses they describe.
Limits of texts and byte strings are in bytes.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Generic, TypeVar

from wire.errors import WireError

INT_MIN, INT_MAX = -(2**63), 2**63 - 1  # SPEC W8
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")  # SPEC W23
_ABSENT: Any = object()  # null is a value, and never a lawful one

T = TypeVar("T")


def wrong_shape(detail: str) -> WireError:
    return WireError("wrong_shape", detail)


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Kind:
    """What one value may be: read refuses or converts it, write gives it back as plain CBOR."""

    read: Callable[[Any], Any]
    write: Callable[[Any], Any] = _same


def integer(low: int = INT_MIN, high: int = INT_MAX) -> Kind:
    def read(value: Any) -> int:
        if type(value) is int and low <= value <= high:
            return value
        raise wrong_shape(f"needs an integer {low}..{high}")

    return Kind(read)


def octets(low: int, high: int | None = None) -> Kind:
    """A byte string of low..high bytes, or of exactly low."""
    most = low if high is None else high

    def read(value: Any) -> bytes:
        if type(value) is bytes and low <= len(value) <= most:
            return value
        raise wrong_shape(f"needs a byte string of {low}..{most} bytes")

    return Kind(read)


def text(low: int, high: int) -> Kind:
    """UTF-8 of low..high bytes without control characters (W23)."""

    def read(value: Any) -> str:
        if type(value) is str and not _CONTROL.search(value):
            length = len(value) if value.isascii() else len(value.encode())
            if low <= length <= high:
                return value
        raise wrong_shape(f"needs a text of {low}..{high} bytes without control characters")

    return Kind(read)


def pattern(regex: str, words: str) -> Kind:
    compiled = re.compile(regex)

    def read(value: Any) -> str:
        if type(value) is str and compiled.fullmatch(value):
            return value
        raise wrong_shape(f"needs {words}")

    return Kind(read)


def one_of(enum: type[IntEnum]) -> Kind:
    members = {int(member): member for member in enum}

    def read(value: Any) -> IntEnum:
        if type(value) is int and value in members:
            return members[value]
        raise wrong_shape(f"needs one of {sorted(members)}")

    return Kind(read, int)


def array(kind: Kind, low: int, high: int) -> Kind:
    def read(value: Any) -> tuple[Any, ...]:
        if type(value) is not list or not low <= len(value) <= high:
            raise wrong_shape(f"needs an array of {low}..{high} items")
        return tuple(map(kind.read, value))

    def write(items: Iterable[Any]) -> list[Any]:
        return [kind.write(item) for item in items]

    return Kind(read, write)


def table(key: Kind, entry: Kind, high: int) -> Kind:
    """A map from key to entry with at most high entries."""

    def read(value: Any) -> dict[Any, Any]:
        if type(value) is not dict or len(value) > high:
            raise wrong_shape(f"needs a map of at most {high} entries")
        return {key.read(name): entry.read(held) for name, held in value.items()}

    return Kind(read, dict)


UINT = integer(0)
INT = integer()
KID = octets(8)  # SPEC W11
DIGEST = octets(32)


@dataclass(frozen=True)
class Field:
    """One entry of a map: its key, its name for messages and attributes, what it holds."""

    key: int
    name: str
    kind: Kind
    required: bool = True


class MapShape(Generic[T]):
    """A map with integer keys that is read into, and written from, one dataclass."""

    def __init__(self, build: Callable[..., T], *fields: Field) -> None:
        self._build = build
        self._fields = fields
        self._readers = tuple((field.key, field.kind.read, field.required) for field in fields)
        self.kind = Kind(self.read, self.write)

    def read(self, value: Any) -> T:
        """The dataclass. Raises WireError('wrong_shape') naming the field."""
        return self._build(*self.values(value))

    def values(self, value: Any) -> list[Any]:
        """The fields' values in the order of the table; None for an optional one that is absent."""
        if type(value) is not dict:
            raise wrong_shape("needs a map")
        if not set(map(type, value)) <= {int}:  # True == 1 as a key
            raise wrong_shape("a key is no integer")
        found: list[Any] = []
        absent = 0
        for key, read, required in self._readers:
            held = value.get(key, _ABSENT)
            if held is not _ABSENT:
                try:
                    found.append(read(held))
                except WireError as error:
                    raise wrong_shape(f"{self._name(key)}: {error.detail}") from None
            elif required:
                raise wrong_shape(f"{self._name(key)} (key {key}) is missing")
            else:
                absent += 1
                found.append(None)
        if len(value) + absent != len(self._readers):
            raise wrong_shape(f"unknown key {min(set(value) - {key for key, _, _ in self._readers})} (W3)")
        return found

    def write(self, thing: T) -> dict[int, Any]:
        """The map of thing; a None attribute is left out."""
        held = ((field, getattr(thing, field.name)) for field in self._fields)
        return {field.key: field.kind.write(value) for field, value in held if value is not None}

    def _name(self, key: int) -> str:
        return next(field.name for field in self._fields if field.key == key)
