"""records.cddl says what the codec does: every golden vector validates, and shape faults do not.

Maps are checked one by one: pycddl refuses `.cbor` inside an array that goes on, so signed items are
taken apart first.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from pycddl import Schema, ValidationError

import wire
from wire.bodies import SHAPES
from wire.cose import open1
from wire.tests.vector_files import load, rejects

GRAMMAR = (Path(__file__).parent.parent / "records.cddl").read_text(encoding="utf-8")
PROTECTED_AT = slice(3, 16)  # in a signed item: tag, array, head, then the 13 bytes of the header

# Rules of SPEC.md that a grammar does not hold; their vectors pass it and are refused by the codec.
BEYOND_GRAMMAR = {"W1", "W8", "W14", "W15", "W20", "W22", "W23", "W26", "W30", "W31", "W32"}
# pycddl 0.6 takes a tagged integer for an integer, an array for a map, anything for `{}` in an array, and a map in an
# array may have unknown keys.
TOOL_MISSES = {"no-map", "tag-bigfloat", "tag-bignum", "tag-self-described", "tag-shared", "too-large-integer"}
TOOL_MISSES |= {"unprotected-header", "channel-key"}
SHAPE_FAULTS = [
    case
    for case in rejects()
    if case["kind"] == "record" and case["code"] == "wrong_shape"
    if not BEYOND_GRAMMAR & set(case["spec"]) and case["name"] not in TOOL_MISSES
]


@lru_cache
def schema(rule: str) -> Any:
    return Schema(f"checked = {rule}\n{GRAMMAR}")


@pytest.mark.parametrize(
    ("file", "rule", "whole"), [("records", "event", "record"), ("receipts", "receipt", "receipt")]
)
def test_signed_vectors(file: str, rule: str, whole: str) -> None:
    for case in load(file)["cases"]:
        schema(rule).validate_cbor(bytes.fromhex(case["payload"]))
        raw = bytes.fromhex(case[whole])
        schema("signed").validate_cbor(raw)
        schema("protected-header").validate_cbor(raw[PROTECTED_AT])


def test_orders_samples_and_chain() -> None:
    for case in load("orders")["cases"]:
        schema("order").validate_cbor(bytes.fromhex(case["payload"]))
    for case in load("samples")["cases"]:
        schema("event").validate_cbor(bytes.fromhex(case["payload"]))
    for record in load("chain")["records"]:
        schema("event").validate_cbor(open1(bytes.fromhex(record), wire.MAX_RECORD_BYTES).payload)


def test_messages_and_uplink() -> None:
    for case in load("frames")["cases"]:
        schema("message").validate_cbor(bytes.fromhex(case["body"]))
    for case in load("uplink")["cases"]:
        schema(f"{case['name']}-message").validate_cbor(bytes.fromhex(case["payload"]))


def test_every_type_has_a_rule() -> None:
    for record_type in SHAPES:
        rule = f"{record_type.name.lower().replace('_', '-')}-event"
        assert f"{rule} " in GRAMMAR


@pytest.mark.parametrize("case", SHAPE_FAULTS, ids=lambda case: str(case["name"]))
def test_the_grammar_refuses_what_the_codec_refuses(case: dict[str, Any]) -> None:
    """Except what SPEC.md says beyond the grammar, and what the tool does not see."""
    with pytest.raises(ValidationError):
        validate_whole(bytes.fromhex(case["hex"]))


def validate_whole(raw: bytes) -> None:
    schema("signed").validate_cbor(raw)
    schema("protected-header").validate_cbor(raw[PROTECTED_AT])
    schema("event").validate_cbor(open1(raw, wire.MAX_RECORD_BYTES).payload)
