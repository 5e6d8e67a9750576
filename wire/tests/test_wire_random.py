"""Whatever bytes arrive, a decoder returns a value or raises WireError, and nothing else (W7, W51)."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import wire
from wire import cbor
from wire.cose import Purpose, sign1
from wire.frames import MAX_FRAME_BYTES, Message
from wire.tests.vector_files import READERS, load

KEY = bytes.fromhex(load("receipts")["cloud"]["public_key"])
DECODERS: dict[str, Callable[..., object]] = {
    **{kind: read for kind, read in READERS.items() if kind not in ("frame", "topic")},
    "peek_order": wire.peek_order,
    "cbor": lambda raw: cbor.decode(raw, 65_536),
    "verify_record": lambda raw: READERS["verify_record"](raw, KEY),
    "receipt": lambda raw: wire.verify_receipt(raw, KEY),
    "order": lambda raw: wire.verify_order(raw, KEY),
    "frame": wire.decode_frame,
}
GENUINE = [bytes.fromhex(case["record"]) for case in load("records")["cases"]]
GENUINE += [bytes.fromhex(case["receipt"]) for case in load("receipts")["cases"]]
GENUINE += [bytes.fromhex(case["order"]) for case in load("orders")["cases"]]
GENUINE += [bytes.fromhex(case["payload"]) for case in load("uplink")["cases"]]


def survives(raw: bytes) -> None:
    for decode in DECODERS.values():
        try:
            decode(raw)
        except wire.WireError as refused:
            if refused.code not in wire.CODES:
                raise


@settings(max_examples=300)
@given(st.binary(max_size=1100))
@example(b"\x81" * 60_000)
@example(b"\xd8\x1c" * 30_000)
@example(b"\xa1" * 60_000)
@example(b"\x9b" + b"\xff" * 8)
@example(b"\x5b\x7f" + b"\xff" * 7)
@example(b"\xc4\x82\x3b" + b"\xff" * 8 + b"\x01")
def test_random_bytes(raw: bytes) -> None:
    survives(raw)


def tag_head(tag: int) -> bytes:
    head = cbor.encode(tag)
    return bytes([head[0] | 0xC0]) + head[1:]


def hostile_cbor() -> st.SearchStrategy[bytes]:
    """Well-formed items of every kind that CBOR knows, nested and tagged at random."""
    leaves = st.integers(-(2**64), 2**64 - 1) | st.binary(max_size=9) | st.text(max_size=9) | st.booleans() | st.none()
    values = st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.integers(0, 12), inner, max_size=4),
        max_leaves=12,
    )
    tags = st.lists(st.integers(0, 300).map(tag_head), max_size=3).map(b"".join)
    return st.tuples(tags, values.map(cbor.encode)).map(b"".join)


@settings(max_examples=300)
@given(hostile_cbor())
def test_any_well_formed_item(raw: bytes) -> None:
    survives(raw)
    survives(b"\xd2\x84" + raw)
    survives(GENUINE[0] + raw)


@settings(max_examples=150)
@given(hostile_cbor())
def test_any_signed_payload(payload: bytes) -> None:
    """Signed rubbish is rubbish: the signature of a faulty unit opens no door."""
    for purpose in Purpose:
        survives(sign1(bytes(32), purpose, payload))


@pytest.mark.parametrize("tag", [*range(300), 1000, 1040, 43000, 55799, 65535, 2**32, 2**64 - 1])
def test_no_tag_passes(tag: int) -> None:
    """Built-in meanings of cbor2 (dates, numbers, cycles, expressions) and all others (W2)."""
    for content in (b"\x00", b"\x61a", b"\x41a", b"\x82\x01\x02", b"\xa0", b"\x80"):
        with pytest.raises(wire.WireError, match="wrong_shape"):
            cbor.decode(tag_head(tag) + content, 100)


@pytest.mark.slow
def test_every_single_bit_flip_of_every_vector() -> None:
    flips = 0
    for raw in GENUINE[::5]:
        for bit in range(8 * len(raw)):
            altered = bytearray(raw)
            altered[bit // 8] ^= 1 << bit % 8
            survives(bytes(altered))
            flips += 1
    assert flips > 10_000


@settings(max_examples=300)
@given(raw=st.sampled_from(GENUINE), drawn=st.data())
def test_cut_doubled_and_spliced(raw: bytes, drawn: st.DataObject) -> None:
    start = drawn.draw(st.integers(0, len(raw)))
    end = drawn.draw(st.integers(start, len(raw)))
    survives(raw[:start] + raw[end:])
    survives(raw[:end] + raw[start:])
    survives(raw[:start] + drawn.draw(st.binary(max_size=8)) + raw[end:])


FRAMES = [bytes.fromhex(case["frame"]) for case in load("frames")["cases"]]


def read_all(raw: bytes, cuts: list[int]) -> tuple[list[Message], wire.FrameReader]:
    reader = wire.FrameReader()
    messages: list[Message] = []
    for begin, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        messages += reader.feed(raw[begin:end])
    return messages, reader


@settings(max_examples=200)
@given(st.lists(st.integers(0, sum(map(len, FRAMES))), max_size=9).map(sorted))
def test_frames_cut_anywhere_arrive_whole(cuts: list[int]) -> None:
    messages, reader = read_all(b"".join(FRAMES), cuts)
    assert [wire.encode_frame(message) for message in messages] == FRAMES
    assert (reader.noise, reader.noise_bytes) == (0, 0)


@settings(max_examples=200)
@given(noise=st.binary(max_size=3000), cuts=st.lists(st.integers(0, 500), max_size=5).map(sorted))
@example(noise=b"\x01" * 5000, cuts=[1, 2, 400])
@example(noise=b"\x01" * (MAX_FRAME_BYTES - 1), cuts=[])
def test_after_noise_the_next_frame_arrives(noise: bytes, cuts: list[int]) -> None:
    """W51: resynchronise at the next zero; every byte is a frame's, a separator or counted as noise."""
    messages, reader = read_all(noise + b"\x00" + FRAMES[0], cuts)
    assert wire.encode_frame(messages[-1]) == FRAMES[0]
    if len(messages) == 1:
        assert reader.noise_bytes == len(noise) - noise.count(b"\x00")


def test_a_flipped_bit_costs_one_frame() -> None:
    for bit in range(8 * (len(FRAMES[1]) - 1)):
        altered = bytearray(FRAMES[1])
        altered[bit // 8] ^= 1 << bit % 8
        messages, reader = read_all(FRAMES[0] + bytes(altered) + FRAMES[2], [])
        assert [wire.encode_frame(message) for message in messages] == [FRAMES[0], FRAMES[2]]
        assert reader.noise in (1, 2)  # 2 when the flip made a zero and cut the frame


BAD_VALUES: list[Any] = [None, True, 1.5, "x", b"x", [], {}, -1, 2**64, [1], {1: 1}]


@pytest.mark.parametrize("case", load("records")["cases"], ids=lambda case: str(case["name"]))
def test_wrong_kinds_of_value_anywhere(case: dict[str, Any]) -> None:
    """Every field of every event and body replaced by every kind of value: refused or read, nothing else (W8)."""
    event = cbor.decode(bytes.fromhex(case["payload"]), 1024)
    for key in event:
        for bad in BAD_VALUES:
            survives(wire.sign_record(bytes(32), {**event, key: bad}))
    for key in event[10]:
        for bad in BAD_VALUES:
            changed = copy.deepcopy(event)
            changed[10][key] = bad
            survives(wire.sign_record(bytes(32), changed))
