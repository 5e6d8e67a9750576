"""CBOR, events, samples and frames, on both interpreters, against wire/vectors and hostile bytes."""

import hashlib

from agent import cbor, cose, ed25519, events, frames, orders, samples
from agent.events import FIRST_PREV
from tests.cases import cases, raises

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_UINT = (1 << 63) - 1
LEAST_INT = -(1 << 63)
LONGEST_CHANNEL = ("n" * 16, "u" * 16, -9, LEAST_INT, MAX_UINT, "c" * 32, MAX_UINT, "s" * 32, MAX_UINT, LEAST_INT)


def test_cbor_examples_of_rfc_8949() -> None:
    examples: "list[tuple[Any, bytes]]" = [
        (0, b"\x00"),
        (23, b"\x17"),
        (24, b"\x18\x18"),
        (255, b"\x18\xff"),
        (256, b"\x19\x01\x00"),
        (65536, b"\x1a\x00\x01\x00\x00"),
        (1 << 32, b"\x1b\x00\x00\x00\x01\x00\x00\x00\x00"),
        (MAX_UINT, b"\x1b\x7f" + b"\xff" * 7),
        (-1, b"\x20"),
        (-25, b"\x38\x18"),
        (-(1 << 63), b"\x3b\x7f" + b"\xff" * 7),
        (b"", b"\x40"),
        ("ü", b"\x62\xc3\xbc"),
        ([1, [2, 3]], b"\x82\x01\x82\x02\x03"),
        ({"a": 1, 10: 2, 100: 3}, b"\xa3\x0a\x02\x18\x64\x03\x61a\x01"),
        ([False, True, None], b"\x83\xf4\xf5\xf6"),
    ]
    for value, encoded in examples:
        assert cbor.encode(value) == encoded, value
        assert cbor.decode(encoded) == value


def test_cbor_refuses_all_that_has_another_encoding() -> None:
    for raw in (
        b"",
        b"\x18\x17",  # 23 in two bytes
        b"\x19\x00\xff",
        b"\x1a\x00\x00\xff\xff",
        b"\x1b\x00\x00\x00\x00\xff\xff\xff\xff",
        b"\x58\x01a",
        b"\x5f\x41a\xff",  # indefinite
        b"\x9f\xff",
        b"\xbf\xff",
        b"\xa2\x02\x00\x01\x00",  # unsorted
        b"\xa2\x01\x00\x01\x00",  # twice the same key
        b"\xa1\x41a\x00",  # a byte string as key
        b"\xa1\xf5\x00",
        b"\x00\x00",  # trailing
        b"\x81",
        b"\x62\xc3",
        b"\x62\xc0\x80",  # overlong NUL
        b"\x63\xed\xa0\x80",  # surrogate
        b"\x64\xf4\x90\x80\x80",  # beyond U+10FFFF
        b"\x61\xff",
        b"\xc0\x00",  # a tag
        b"\xf9\x3c\x00",  # floats
        b"\xfa\x00\x00\x00\x00",
        b"\xf7",  # undefined
        b"\xf8\x14",  # false in two bytes
        b"\xf8\x20",
        b"\xff",
        b"\x3b\x80" + bytes(7),  # below -2^63
        b"\x1b\x80" + bytes(7),  # 2^63
        b"\x9b" + b"\xff" * 8,  # 2^64 items
        b"\xbb" + b"\xff" * 8,
        b"\x5b" + b"\xff" * 8,
        b"\x81" * 7 + b"\x00",  # too deep
        b"\x81" * 900,
    ):
        raises(cbor.CborError, cbor.decode, raw)
    assert cbor.decode(b"\x81" * 6 + b"\x00") == [[[[[[0]]]]]]
    assert raises(cbor.CborError, cbor.decode, bytes(4097)).code == "too_large"


def test_cbor_encodes_nothing_that_it_would_not_decode() -> None:
    values: "list[Any]" = [1.5, MAX_UINT + 1, -(1 << 63) - 1, {b"a": 1}, {True: 1}, bytes(4097), {1: {2: set()}}]
    for value in values + [[[[[[[[0]]]]]]]]:
        raises(cbor.CborError, cbor.encode, value)


def test_cbor_random_bytes_raise_the_one_error_or_are_the_one_encoding() -> None:
    noise = b"seed"
    for _ in range(1500):
        noise = hashlib.sha256(noise).digest()
        # mostly small containers and strings, so that decoding gets somewhere
        raw = bytes([byte & 0xE3 if byte & 4 else byte for byte in noise[: 1 + noise[0] % 12]])
        try:
            value = cbor.decode(raw)
        except cbor.CborError:
            continue
        assert cbor.encode(value) == raw


def test_cbor_agrees_with_another_library() -> None:
    for case in cases("cbor"):
        value = cbor.decode(case["raw"])
        assert cbor.encode(value) == case["raw"]


def _body(kind: int, b: "dict[int, Any]") -> "dict[int, Any]":
    """The body of a vector, built as the unit builds it."""
    if kind == events.SCAN:
        return events.scan(b[1], b[2], b[3], b[4], b.get(5), b[6], b[7])
    if kind == events.CHANNELS:
        return events.channels([events.channel(*[c.get(key) for key in range(1, 11)]) for c in b[1]])
    if kind == events.SAMPLES:
        return b  # test_samples_of_the_vectors builds these
    builders: "dict[int, Any]" = {
        events.GENESIS: events.genesis,
        events.BOOT: events.boot,
        events.CLOCK: events.clock,
        events.HEARTBEAT: events.heartbeat,
        events.OPERATOR: events.operator,
        events.BATCH_OPEN: events.batch_open,
        events.STEP: events.step,
        events.ALARM: events.alarm,
        events.QUANTITY: events.quantity,
        events.COMMENT: events.comment,
        events.LOSS: events.loss,
        events.BATCH_CLOSE: events.batch_close,
        events.OVERRIDE: events.override,
    }
    most = {events.CLOCK: 2, events.STEP: 3, events.ALARM: 3, events.LOSS: 3, events.QUANTITY: 6}.get(kind, len(b))
    body: "dict[int, Any]" = builders[kind](*[b.get(key) for key in range(1, most + 1)])
    return body


def test_events_of_every_type_are_the_golden_bytes() -> None:
    types = set()
    for case in cases("records"):
        e = case["fields"]
        types.add(e[7])
        time = (e[5], e[6]) if 5 in e else None
        event = events.event(e[1], e[2], e[3], e[4], time, e[7], e.get(8), e.get(9), _body(e[7], e[10]))
        raw = cose.sign1(cose.SeedSigner(ed25519, case["seed"]), cose.RECORD, cbor.encode(event))
        assert raw == case["record"], case["name"]
        assert events.seq_of(raw[:40]) == e[1]
        assert cbor.decode(cose.open1(raw, cose.RECORD, cose.PublicKey(ed25519, case["public_key"]))) == e
    assert sorted(types) == list(range(16))


def test_orders_of_the_vectors() -> None:
    schemes = set()
    for case in cases("orders"):
        fields = case["fields"]
        order = orders.open_order(case["order"], cose.PublicKey(ed25519, case["cloud_key"]), fields[2])
        assert order.digest == case["digest"], case["name"]
        for item, wanted in zip(order.items, fields[8]):
            assert (item.scheme, item.code) == (wanted.get(6, 0), wanted.get(7, "")), case["name"]
            assert (item.gtin, item.needs, item.exact) == (wanted[3], wanted[4], wanted.get(5, ""))
            schemes.add(item.scheme)
    assert sorted(schemes) == [0, 1, 2, 3]


def test_orders_that_the_host_refuses_are_refused_by_the_unit() -> None:
    for case in cases("reject_orders"):
        try:
            payload = cose.open1(case["raw"], cose.ORDER, cose.PublicKey(ed25519, case["public_key"]))
            kid = cbor.decode(payload).get(2)
        except cose.CoseError:
            kid = bytes(8)
        error = raises(
            orders.OrderRefused, orders.open_order, case["raw"], cose.PublicKey(ed25519, case["public_key"]), kid
        )
        assert error.code in ("forged", "malformed"), (case["name"], error.code)


def test_chain_of_the_vectors() -> None:
    seq, prev = 0, FIRST_PREV
    for raw in cases("chain"):
        event = cbor.decode(cbor.decode(raw["record"][1:])[2])
        assert (event[1], event[2]) == (seq, prev)
        seq, prev = seq + 1, hashlib.sha256(raw["record"]).digest()
    assert seq > 3


def test_events_cut_what_is_too_long() -> None:
    assert events.text("x" * 33) == "x" * 32
    assert events.text("ü" * 17) == "ü" * 16
    assert events.text("x" * 31 + "ü") == "x" * 31  # the character that would cross the limit goes whole
    assert events.text("") == "?"
    assert events.text("", least=0) == ""
    assert events.text("a\nb\x7f") == "a?b?"
    assert events.step("s", 1, "") == {1: "s", 2: 1}
    assert events.step("s", 4, "r" * 80)[3] == "r" * 64
    assert len(events.comment("✓" * 100)[1].encode()) == 198
    assert events.quantity("i", 2, 1 << 70, 12, "u" * 20, "l" * 30) == {
        1: "i",
        2: 2,
        3: MAX_UINT,
        4: 9,
        5: "u" * 16,
        6: "l" * 20,
    }
    assert events.loss("w", -5)[2] == 0
    assert events.event(1, FIRST_PREV, 1, 2, (-3, 4), 3, "b" * 40, "o" * 40, {})[8] == "b" * 32
    assert 9 not in events.event(1, FIRST_PREV, 1, 2, None, 3, "", "", {})


def test_events_refuse_a_scan_that_they_had_to_cut() -> None:
    body = events.scan(b"x" * 401, "]d2", "cartridge", events.ACCEPTED, None, 1, 0)
    assert (len(body[1]), body[4], body[5]) == (400, events.REFUSED, "truncated")
    body = events.scan(b"x" * 400, "]d2x", "c" * 40, events.ACCEPTED, "ignored", 1, 0)
    assert (len(body[1]), body[2], len(body[3]), body[4]) == (400, "]d2", 32, events.ACCEPTED)
    assert 5 not in body
    assert events.scan(b"x", "", "", events.REFUSED, None, 1, 0)[5] == "?"


def test_longest_records_fit_the_limit() -> None:
    signer = cose.SeedSigner(ed25519, bytes(32))
    batch = samples.SampleBatch(MAX_UINT, MAX_UINT, MAX_UINT, 8)
    sign, marks = 1, (samples.STUCK, samples.OUT_OF_RANGE)
    while not batch.full(batch.start_ms):  # the widest values, and a new mark each time
        batch.add([(sign * samples.VALUE_MAX, marks[batch.count % 2])] * 8)
        sign = -sign
    for kind, body in (
        (events.SCAN, events.scan(b"x" * 500, "]d2", "ü" * 40, 2, "r" * 40, 2, MAX_UINT)),
        (events.SAMPLES, batch.body()),
        (events.COMMENT, events.comment("c" * 300)),
        (events.CHANNELS, events.channels([events.channel(*LONGEST_CHANNEL) for _ in range(8)])),
        (events.OVERRIDE, events.override(MAX_UINT, 1, "i" * 40, "r" * 80, "s" * 40)),
    ):
        time = (MAX_UINT, MAX_UINT)
        event = events.event(MAX_UINT, FIRST_PREV, MAX_UINT, MAX_UINT, time, kind, "b" * 40, "o" * 40, body)
        assert len(cose.sign1(signer, cose.RECORD, cbor.encode(event))) <= cose.RECORD_BYTES_MAX, kind


def test_channels_too_many_for_a_record_keep_what_reads_the_values() -> None:
    given = [events.channel(*LONGEST_CHANNEL) for _ in range(8)]
    kept = events.channels(given)[1]
    assert kept[0] == given[0]
    assert sorted(kept[7]) == [1, 2, 3, 4, 5, 10]
    assert sorted(given[7]) == list(range(1, 11))  # the sensors' own definition is not touched


def test_samples_of_the_vectors() -> None:
    for case in cases("samples"):
        want = case["body"]
        batch = samples.SampleBatch(want[1], want[2], want[3], len(want[5]))
        marks = {}
        for channel, first, count, mark in case["marks"]:
            for i in range(first, first + count):
                marks[channel, i] = mark
        for i in range(want[4]):
            batch.add([(series[i], marks.get((channel, i), 0)) for channel, series in enumerate(case["values"])])
        assert batch.body() == want, case["name"]


def test_samples_close_at_sixty_or_after_a_minute() -> None:
    batch = samples.SampleBatch(3, 1000, 1000, 4)
    assert not batch.full(999_000)  # nothing to close yet
    for i in range(60):
        assert not batch.full(1000 + 1000 * i)
        batch.add([(3700 + i % 3, 0)] * 4)
    assert batch.full(60_000)
    assert len(cbor.encode(batch.body())) < 300  # two pages with its envelope
    slow = samples.SampleBatch(3, 1000, 10_000, 1)
    slow.add([(5, 0)])
    assert not slow.full(60_999)
    assert slow.full(61_000)


def test_samples_mark_what_has_no_value() -> None:
    batch = samples.SampleBatch(3, 0, 1000, 2)
    for first, second in (((None, 0), (7, 2)), ((None, 4), (7, 2)), ((5, 1), (None, 3))):
        batch.add([first, second])
    assert batch.body()[5] == [b"", b"\x0e\x00"]
    assert batch.body()[6] == [[0, 0, 1, 1], [0, 1, 1, 4], [0, 2, 1, 1], [1, 0, 2, 2], [1, 2, 1, 1]]


def test_frames_of_the_vectors() -> None:
    for case in cases("frames"):
        assert frames.encode(case["message"]) == case["frame"], case["name"]
        reader = frames.Reader()
        assert reader.feed(case["frame"]) == [case["message"]]
        assert (reader.noise, reader.noise_bytes) == (0, 0)


def test_frames_refused_by_the_vectors() -> None:
    for case in cases("reject_frames"):
        reader = frames.Reader()
        assert reader.feed(case["raw"] + b"\x00") == [], case["name"]
        assert reader.noise == 1, case["name"]


def test_frames_arrive_whatever_the_pieces() -> None:
    line = b"\x00".join([b"noise", b""]) + frames.encode([22]) + b"\x00\x00" + frames.encode([2, bytes(range(256)) * 4])
    for size in (1, 2, 3, 7, 100, 2000):
        reader = frames.Reader()
        got = []
        for at in range(0, len(line), size):
            got += reader.feed(line[at : at + size])
        assert got == [[22], [2, bytes(range(256)) * 4]]
        assert (reader.noise, reader.noise_bytes) == (1, 5)


def test_frames_survive_every_single_bit_flip() -> None:
    frame = frames.encode([17, b"12345678", 41])
    follower = frames.encode([22])
    for bit in range(8 * len(frame)):
        flipped = bytearray(frame)
        flipped[bit >> 3] ^= 1 << (bit & 7)
        reader = frames.Reader()
        got = reader.feed(bytes(flipped) + b"\x00" + follower)
        assert got == [[22]] or (bit >> 3 == len(frame) - 1 and got == [[22]]), bit


def test_frames_reader_holds_no_more_than_a_frame() -> None:
    reader = frames.Reader()
    for _ in range(50):
        assert reader.feed(b"\x01" * 1000) == []
        assert len(reader._piece) < frames.FRAME_BYTES_MAX
    assert reader.feed(b"\x00" + frames.encode([22])) == [[22]]
    assert (reader.noise, reader.noise_bytes) == (1, 50_000)


def test_frames_reader_takes_no_tail_of_an_overlong_piece() -> None:
    reader = frames.Reader()
    reader.feed(b"\x01" * 1300)
    assert reader.feed(frames.encode([22]) + frames.encode([22])) == [[22]]
    assert reader.noise == 1


def test_frames_longest_record_fits() -> None:
    for filler in (b"\x00", b"\x01", b"\xff"):
        frame = frames.encode([frames.RECORD, filler * 1024])
        assert len(frame) <= frames.FRAME_BYTES_MAX
        assert frames.Reader().feed(frame) == [[frames.RECORD, filler * 1024]]
