"""A record as plain JSON values, for people and for the API.

The bytes stay the authority; nothing made here is ever hashed or verified.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import IntEnum

from typing_extensions import TypeAliasType

from wire import Record

Json = TypeAliasType("Json", "str | int | bool | list[Json] | dict[str, Json] | None")  # named, so that OpenAPI can


def readable(value: object) -> Json:
    """value (dataclasses, enums, bytes, tuples, maps, numbers, texts) as JSON: bytes as hex, enums as names."""
    if isinstance(value, IntEnum):
        return value.name.lower()
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    if isinstance(value, Mapping):
        return {str(key): readable(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [readable(item) for item in value]
    if is_dataclass(value):
        return {field.name: readable(getattr(value, field.name)) for field in fields(value)}
    raise TypeError(f"no JSON form for {type(value).__name__}")


def readable_record(record: Record) -> dict[str, Json]:
    """Header and body of a record; its raw bytes are left out, they stand beside it."""
    return {field.name: readable(getattr(record, field.name)) for field in fields(record) if field.name != "raw"}
