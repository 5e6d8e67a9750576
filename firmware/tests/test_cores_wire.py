"""The agent and the host library are two implementations of one contract: what one writes, the other reads, both ways.

Hostile inputs on purpose: the unit's texts, numbers and scans come from outside, and it must never fail to record them.
"""

import hashlib
from collections.abc import Callable
from typing import Any

import nacl.signing
from agent import cbor, cose, ed25519, events, frames, samples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import wire

SEED = hashlib.sha256(b"a test seed").digest()
SIGNER = cose.SeedSigner(ed25519, SEED)
CLOUD_SEED = hashlib.sha256(b"another test seed").digest()
CLOUD_KEY = nacl.signing.SigningKey(CLOUD_SEED).verify_key.encode()

texts = st.text(max_size=90) | st.text(alphabet="aZ\n\x7f ü✓😀", max_size=300)
uints = st.integers(0, 2**63 - 1)
wild = st.integers(-(2**70), 2**70)
digests = st.binary(min_size=32, max_size=32)
times = st.none() | st.tuples(uints, uints)
quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def sample_bodies(draw: st.DrawFn) -> tuple[Any, list[list[tuple[int | None, int]]]]:
    channels = draw(st.integers(1, 8))
    batch = samples.SampleBatch(draw(uints), draw(uints), draw(st.integers(1, 60_000)), channels)
    value = st.none() | st.integers(-5000, 5000) | st.integers(-(2**56), 2**56)
    reading = st.tuples(value, st.sampled_from([0, 0, 1, 2, 3, 4]))
    taken = []
    for row in draw(st.lists(st.lists(reading, min_size=channels, max_size=channels), min_size=1, max_size=30)):
        if not batch.full(batch.start_ms):
            batch.add(row)
            taken.append(row)
    return batch.body(), taken


@st.composite
def bodies(draw: st.DrawFn) -> tuple[int, Any]:
    """A record type with a body built from anything at all."""

    def t() -> str:
        return draw(texts)

    def n() -> int:
        return draw(wild)

    kind = draw(st.sampled_from([k for k in range(1, 16) if k != events.SAMPLES]))
    text, number = st.none() | texts, st.none() | wild
    channel = st.builds(events.channel, texts, texts, wild, wild, wild, text, number, text, number, number)
    build: dict[int, Callable[[], Any]] = {
        events.BOOT: lambda: events.boot(draw(st.integers(0, 2)), t(), draw(uints)),
        events.CLOCK: lambda: events.clock(t(), draw(st.none() | wild)),
        events.HEARTBEAT: lambda: events.heartbeat(draw(uints)),
        events.OPERATOR: lambda: events.operator(draw(st.integers(1, 2))),
        events.BATCH_OPEN: lambda: events.batch_open(t(), draw(uints), draw(digests), draw(digests)),
        events.STEP: lambda: events.step(t(), draw(st.integers(1, 5)), draw(st.none() | texts)),
        events.SCAN: lambda: events.scan(
            draw(st.binary(max_size=500)),
            t(),
            t(),
            draw(st.integers(1, 2)),
            draw(st.none() | texts),
            draw(st.integers(1, 2)),
            n(),
        ),
        events.CHANNELS: lambda: events.channels(draw(st.lists(channel, min_size=1, max_size=8))),
        events.ALARM: lambda: events.alarm(t(), draw(st.integers(1, 3)), draw(st.none() | texts)),
        events.QUANTITY: lambda: events.quantity(
            t(), draw(st.integers(1, 7)), n(), draw(st.integers(-30, 30)), t(), draw(st.none() | texts)
        ),
        events.COMMENT: lambda: events.comment(t()),
        events.LOSS: lambda: events.loss(t(), n(), draw(st.none() | texts)),
        events.BATCH_CLOSE: lambda: events.batch_close(
            draw(uints), draw(st.dictionaries(st.integers(0, 15), uints)), draw(st.integers(1, 2))
        ),
        events.OVERRIDE: lambda: events.override(0, draw(st.integers(1, 3)), t(), t(), "second " + t()),
    }
    return kind, build[kind]()


def signed(event: dict[int, Any]) -> bytes:
    return cose.sign1(SIGNER, cose.RECORD, cbor.encode(event))


@given(
    kind_body=bodies(),
    seq=st.integers(1, 2**63 - 1),
    prev=digests,
    uptime_ms=uints,
    time=times,
    words=st.tuples(texts, texts),
)
@quick
def test_the_host_reads_every_record_that_the_unit_writes(
    kind_body: tuple[int, Any],
    seq: int,
    prev: bytes,
    uptime_ms: int,
    time: tuple[int, int] | None,
    words: tuple[str, str],
) -> None:
    kind, body = kind_body
    event = events.event(seq, prev, 3, uptime_ms, time, kind, words[0] or "B", words[1] or "O", body)
    raw = signed(event)
    record = wire.decode_record(raw)
    wire.verify_record(record, SIGNER.public_key)
    assert (record.seq, record.prev, record.uptime_ms, record.type) == (seq, prev, uptime_ms, kind)
    assert (record.kid, record.batch, record.operator) == (SIGNER.kid, event[8], event[9])
    assert events.seq_of(raw[:40]) == seq
    assert wire.sign_record(SEED, event) == raw  # Ed25519 and the encoding are deterministic: the same bytes from both


@given(made=sample_bodies())
@quick
def test_the_host_reads_every_sample_that_the_unit_packs(made: tuple[Any, list[list[tuple[int | None, int]]]]) -> None:
    body, rows = made
    event = events.event(9, bytes(32), 3, 2**62, None, events.SAMPLES, "B", None, body)
    read = wire.decode_record(signed(event)).body
    assert isinstance(read, wire.Samples)
    assert read.count == len(rows)
    for channel, series in enumerate(read.series):
        for sample, row in zip(series, rows, strict=True):
            value, mark = row[channel]
            if value is None and mark != samples.FAULT:
                mark = samples.MISSING
            if value is not None and abs(value) > samples.VALUE_MAX:
                mark = samples.FAULT
            assert sample.value == (value if mark not in (samples.MISSING, samples.FAULT) else None)
            assert sample.mark == (mark or None)


@given(uints, digests, uints, st.binary(min_size=8, max_size=8))
@quick
def test_the_unit_reads_every_receipt_that_the_host_signs(seq: int, digest: bytes, time_ms: int, kid: bytes) -> None:
    raw = wire.sign_receipt(CLOUD_SEED, kid, seq, digest, time_ms)
    assert cose.open_receipt(raw, cose.PublicKey(ed25519, CLOUD_KEY)) == (kid, seq, digest, time_ms)
    assert ed25519.verify(CLOUD_KEY, b"", raw[-64:]) is False


names = st.text(alphabet="abcXYZ-09", min_size=1, max_size=32)
kids = st.binary(min_size=8, max_size=8)
messages = st.one_of(
    st.builds(wire.Hello, kids, names, uints, uints, uints, digests, uints, names),
    st.builds(wire.RecordFrame, st.binary(min_size=1, max_size=1024)),
    st.builds(wire.Status, uints, uints, uints, uints, st.dictionaries(names, uints, max_size=6)),
    st.builds(wire.Welcome, names, uints),
    st.builds(wire.Ack, kids, uints),
    st.builds(wire.ReceiptFrame, st.binary(min_size=1, max_size=256)),
    st.tuples(kids, uints, uints).map(lambda w: wire.Want(w[0], min(w[1:]), max(w[1:]))),
    st.builds(wire.Time, uints, uints),
    st.integers(1, 900).flatmap(
        lambda n: st.builds(wire.OrderChunk, st.just(4096), st.just(4096 - n), st.binary(min_size=n, max_size=n))
    ),
    st.just(wire.Who()),
)


@given(st.lists(st.one_of(messages, st.binary(max_size=30)), max_size=6), st.integers(1, 700))
@quick
def test_frames_cross_both_ways_through_noise(line: list[Any], piece: int) -> None:
    sent = [item for item in line if not isinstance(item, bytes)]
    stream = b"".join(item + b"\0" if isinstance(item, bytes) else wire.encode_frame(item) for item in line)
    reader = frames.Reader()
    read = [message for at in range(0, len(stream), piece) for message in reader.feed(stream[at : at + piece])]
    assert b"".join(frames.encode(message) for message in read) == b"".join(map(wire.encode_frame, sent))
    back = wire.FrameReader().feed(b"".join(frames.encode(message) for message in read))
    assert back == sent
