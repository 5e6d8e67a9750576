"""The golden vectors: accepted ones decode to their inputs and encode to their bytes, rejected ones give their code."""

import hashlib
from typing import Any

import pytest

import wire
from tools import make_vectors
from wire.bodies import SHAPES, RecordType
from wire.cose import Purpose, _by_layout, _taken_apart, open1, verify1
from wire.frames import cobs_decode, cobs_encode, message_body
from wire.samples import Sample, pack_column
from wire.tests.vector_files import VECTORS, from_json, load, read, rejects


def cases(name: str) -> list[Any]:
    return [pytest.param(case, id=case["name"]) for case in load(name)["cases"]]


def key(name: str, owner: str) -> bytes:
    return bytes.fromhex(load(name)[owner]["public_key"])


def seed(name: str, owner: str) -> bytes:
    return bytes.fromhex(load(name)[owner]["seed"])


def test_the_files_are_what_the_generator_writes() -> None:
    made = make_vectors.all_vectors()
    assert sorted(path.name for path in VECTORS.glob("*.json")) == sorted(made)
    for name, contents in made.items():
        assert (VECTORS / name).read_text(encoding="utf-8") == contents, name


@pytest.mark.parametrize("case", cases("records"))
def test_record(case: dict[str, Any]) -> None:
    raw = bytes.fromhex(case["record"])
    fields = from_json(case["fields"])
    assert wire.sign_record(seed("records", "unit"), fields) == raw
    record = wire.decode_record(raw)
    wire.verify_record(record, key("records", "unit"))
    assert record.digest.hex() == case["digest"]
    assert record.raw == raw
    named = {1: record.seq, 2: record.prev, 3: record.boot, 4: record.uptime_ms, 5: record.time_ms}
    named |= {6: record.uncertainty_ms, 7: record.type, 8: record.batch, 9: record.operator}
    named |= {10: wire.body_map(record.body)}
    assert {number: value for number, value in named.items() if value is not None} == fields


def test_every_type_has_a_vector() -> None:
    assert {case["fields"]["7"] for case in load("records")["cases"]} == set(RecordType) == set(SHAPES)


@pytest.mark.parametrize("case", cases("samples"))
def test_samples(case: dict[str, Any]) -> None:
    body = wire.decode_record(bytes.fromhex(case["record"])).body
    assert isinstance(body, wire.Samples)
    assert [[sample.value for sample in channel] for channel in body.series] == case["values"]
    marks = {
        (channel, position): mark
        for channel, first, count, mark in case["marks"]
        for position in range(first, first + count)
    }
    found = {(c, p): s.mark for c, channel in enumerate(body.series) for p, s in enumerate(channel) if s.mark}
    assert found == marks
    assert wire.body_map(body) == from_json(case["body"])


def test_samples_of_plain_tuples_encode_as_those_decoded() -> None:
    """Whoever builds a Samples by hand gets the same bytes."""
    series = ((Sample(5), Sample(None, wire.Mark.MISSING), Sample(9, wire.Mark.STUCK)),)
    body = wire.body_map(wire.Samples(1, 2, 1000, 3, series))
    assert body == {1: 1, 2: 2, 3: 1000, 4: 3, 5: [pack_column([5, 9])], 6: [[0, 1, 1, 1], [0, 2, 1, 2]]}
    assert SHAPES[RecordType.SAMPLES].read(body).series == series


@pytest.mark.parametrize("case", cases("receipts"))
def test_receipt(case: dict[str, Any]) -> None:
    raw = bytes.fromhex(case["receipt"])
    kid, seq, digest, time_ms = from_json(case["fields"]).values()
    assert wire.sign_receipt(seed("receipts", "cloud"), kid, seq, digest, time_ms) == raw
    assert wire.verify_receipt(raw, key("receipts", "cloud")) == wire.Receipt(kid, seq, digest, time_ms, raw)


@pytest.mark.parametrize("case", cases("orders"))
def test_order(case: dict[str, Any]) -> None:
    raw = bytes.fromhex(case["order"])
    order = wire.verify_order(raw, key("orders", "cloud"))
    assert wire.sign_order(seed("orders", "cloud"), order) == raw
    fields = from_json(case["fields"])
    assert (order.number, order.kid, order.batch) == (fields[1], fields[2], fields[3])
    assert [list(step.items) for step in order.steps] == [step[3] for step in fields[7]]
    assert [(item.exact, item.scheme, item.code) for item in order.items] == [
        (item.get(5), item.get(6), item.get(7)) for item in fields[8]
    ]
    assert [limit.delay_ms for limit in order.limits] == [limit[5] for limit in fields.get(10, [])]
    chunks = wire.order_chunks(raw)
    assert b"".join(chunk.chunk for chunk in chunks) == raw
    assert [chunk.offset for chunk in chunks] == list(range(0, len(raw), 900))


@pytest.mark.parametrize("case", cases("frames"))
def test_frame(case: dict[str, Any]) -> None:
    raw = bytes.fromhex(case["frame"])
    (message,) = wire.FrameReader().feed(raw)
    assert message_body(message) == from_json(case["message"])
    assert wire.encode_frame(message) == raw


@pytest.mark.parametrize("pair", load("frames")["cobs"])
def test_cobs(pair: dict[str, str]) -> None:
    content, stuffed = bytes.fromhex(pair["content"]), bytes.fromhex(pair["stuffed"])
    assert cobs_encode(content) == stuffed
    assert cobs_decode(stuffed) == content


def test_uplink() -> None:
    payloads = {case["name"]: bytes.fromhex(case["payload"]) for case in load("uplink")["cases"]}
    number, entries = wire.decode_records(payloads["records"])
    assert number == 5
    assert wire.encode_records(number, entries) == payloads["records"]
    assert [wire.decode_record(raw).seq for _, raw in entries] == [0, 1]
    assert wire.encode_receipts(wire.decode_receipts(payloads["receipts"])) == payloads["receipts"]
    assert wire.encode_wants(wire.decode_wants(payloads["wants"])) == payloads["wants"]
    assert wire.encode_orders(wire.decode_orders(payloads["orders"])) == payloads["orders"]
    for gateway, shard in load("uplink")["shards"].items():
        assert wire.shard_of(gateway) == shard


def test_topics_come_back_from_their_names() -> None:
    topics = wire.Topics("plant/cartrace/v1", "site-1", "gw_1")
    for kind in ("records", "state", "receipts", "wants", "orders"):
        parsed = wire.parse_topic("plant/cartrace/v1", getattr(topics, kind))
        assert (parsed.site, parsed.gateway, parsed.kind) == ("site-1", "gw_1", kind)
        assert parsed.shard == (wire.shard_of("gw_1") if kind == "records" else None)
    for root, site, gateway in (("", "s", "g"), ("a/+", "s", "g"), ("a", "s/t", "g"), ("a", "s", "g\n")):
        with pytest.raises(wire.WireError, match="bad_topic"):
            wire.Topics(root, site, gateway)


@pytest.mark.parametrize("case", load("chain")["judged"], ids=lambda case: str(case["name"]))
def test_chain(case: dict[str, Any]) -> None:
    raws = [bytes.fromhex(record) for record in load("chain")["records"]]
    digests = [hashlib.sha256(raw).digest() for raw in raws]
    assert [digest.hex() for digest in digests] == load("chain")["digests"]
    judged = wire.judge_run(
        [raws[index] for index in case["given"]],
        key_for=lambda kid: key("chain", "unit"),
        digests_of=lambda kid, seq: frozenset({digests[seq]} if seq in case["held"] else ()),
    )
    assert [found.finding for found in judged] == case["found"]


@pytest.mark.parametrize("case", rejects(), ids=lambda case: str(case["name"]))
def test_reject(case: dict[str, Any]) -> None:
    with pytest.raises(wire.WireError) as refused:
        read(case["kind"], bytes.fromhex(case["hex"]), case.get("public_key"))
    assert refused.value.code == case["code"], str(refused.value)
    assert case["spec"]


@pytest.mark.parametrize("purpose", list(Purpose))
def test_a_signature_serves_one_purpose(purpose: Purpose) -> None:
    """W12, all pairs."""
    item = open1(bytes.fromhex(load("records")["cases"][0]["record"]), wire.MAX_RECORD_BYTES)
    if purpose is Purpose.RECORD:
        verify1(item, purpose, key("records", "unit"))
    else:
        with pytest.raises(wire.WireError, match="signature_invalid"):
            verify1(item, purpose, key("records", "unit"))


def test_both_ways_to_take_an_item_apart_agree() -> None:
    """The quick way accepts exactly what the parsing way accepts."""
    for case in load("records")["cases"]:
        raw = bytes.fromhex(case["record"])
        quick = _by_layout(raw)
        assert quick is not None
        assert quick == _taken_apart(raw, wire.MAX_RECORD_BYTES)
    for case in rejects():
        raw = bytes.fromhex(case["hex"])
        if case["kind"] == "record" and _by_layout(raw) is not None and len(raw) <= wire.MAX_RECORD_BYTES:
            assert _taken_apart(raw, wire.MAX_RECORD_BYTES) == _by_layout(raw), case["name"]
