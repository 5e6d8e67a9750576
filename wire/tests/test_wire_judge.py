"""The judge: each finding, and promises that hold whatever a carrier does to a run (W14, W17, W18, W19, W27)."""

import hashlib
import random
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wire
from wire import judge
from wire.bodies import Comment, Genesis
from wire.judge import Finding, Judged, judge_run

SEED = hashlib.sha256(b"test unit").digest()
PUBLIC_KEY = wire.public_key_of(SEED)
KID = wire.kid_of(PUBLIC_KEY)
STRANGER = hashlib.sha256(b"test stranger").digest()


def signed(seq: int, prev: bytes, text: str = "x", seed: bytes = SEED, type_number: int = 12) -> bytes:
    event: dict[int, object] = {1: seq, 2: prev, 3: 1, 4: seq, 7: type_number, 10: wire.body_map(Comment(text))}
    if seq == 0:
        public_key = wire.public_key_of(seed)
        event |= {7: 0, 10: wire.body_map(Genesis("U-01", 1, public_key, "", "", "pure"))}
    return wire.sign_record(seed, event)


def digest(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()


def run_of(length: int, seed: bytes = SEED) -> list[bytes]:
    raws: list[bytes] = []
    for seq in range(length):
        raws.append(signed(seq, digest(raws[-1]) if raws else bytes(32), seed=seed))
    return raws


RUN = run_of(12)


def judged(raws: list[bytes], held: list[bytes] | None = None) -> list[Judged]:
    """raws judged by a receiver that holds some records of the unit's stream."""
    records = [wire.decode_record(raw) for raw in held or []]

    def at(seq: int, value: Callable[[wire.Record], bytes]) -> frozenset[bytes]:
        return frozenset(value(record) for record in records if record.seq == seq)

    return judge_run(
        raws,
        key_for={KID: PUBLIC_KEY}.get,
        digests_of=lambda kid, seq: at(seq, lambda record: record.digest),
        prevs_of=lambda kid, seq: at(seq, lambda record: record.prev),
    )


def findings(raws: list[bytes], held: list[bytes] | None = None) -> list[Finding]:
    return [found.finding for found in judged(raws, held)]


def test_a_hole_is_a_gap_at_its_end_only() -> None:
    assert findings(RUN[2:5], RUN[:1]) == [Finding.GAP, Finding.CONTIGUOUS, Finding.CONTIGUOUS]


def test_equivocation_with_what_is_held_and_within_a_list() -> None:
    other = signed(3, digest(RUN[2]), "another story")
    assert findings([other], RUN[:4]) == [Finding.EQUIVOCATION]
    assert findings([RUN[3], other], RUN[:3]) == [Finding.EQUIVOCATION] * 2
    assert findings([RUN[3], other], RUN[:4]) == [Finding.DUPLICATE, Finding.EQUIVOCATION]
    assert all(found.accepted for found in judged([RUN[3], other], RUN[:3]))


def test_what_follows_either_of_two_equivocal_records_is_contiguous() -> None:
    other = signed(3, digest(RUN[2]), "another story")
    after_other = signed(4, digest(other))
    assert findings([RUN[4]], [*RUN[:4], other]) == [Finding.CONTIGUOUS]
    assert findings([after_other], [*RUN[:4], other]) == [Finding.CONTIGUOUS]


def test_a_broken_chain_is_seen_from_both_sides() -> None:
    stray = signed(4, digest(b"no such record"))
    assert findings([stray], RUN[:4]) == [Finding.CHAIN_BROKEN]
    assert findings([stray, RUN[3]], RUN[:3]) == [Finding.CHAIN_BROKEN, Finding.CONTIGUOUS]
    assert findings([RUN[3]], [*RUN[:3], stray]) == [Finding.CHAIN_BROKEN]


def test_unknown_key_and_forged_kid() -> None:
    """A stranger's record is nobody's; a stranger's signature under the unit's kid is an altered record (W11)."""
    stranger = signed(3, digest(RUN[2]), seed=STRANGER)
    forged = stranger.replace(wire.kid_of(wire.public_key_of(STRANGER)), KID)
    assert findings([stranger, forged, RUN[3]], RUN[:3]) == [
        Finding.UNKNOWN_KEY,
        Finding.ALTERED,
        Finding.CONTIGUOUS,
    ]


def test_a_key_that_proves_nothing_is_no_key() -> None:
    neutral = (1).to_bytes(32, "little")
    for wrong in (neutral, wire.public_key_of(STRANGER)):
        (found,) = judge_run([RUN[1]], key_for={KID: wrong}.get, digests_of=lambda kid, seq: frozenset())
        assert found.finding is Finding.UNKNOWN_KEY


def test_malformed_and_unknown_type_have_no_record() -> None:
    later = wire.sign_record(SEED, {1: 3, 2: digest(RUN[2]), 3: 1, 4: 3, 7: 16, 10: {}})
    found = judged([b"rubbish", later, RUN[3]], RUN[:3])
    assert [each.finding for each in found] == [Finding.MALFORMED, Finding.UNKNOWN_TYPE, Finding.CONTIGUOUS]
    assert [each.record for each in found[:2]] == [None, None]
    assert not any(each.accepted for each in found[:2])


def test_a_record_of_another_stream_speaks_for_nobody_here() -> None:
    """A run is one stream's: a valid record of B that names a record of A as prev does not authenticate it (W18)."""
    forged = signed(3, digest(RUN[2]), seed=STRANGER).replace(wire.kid_of(wire.public_key_of(STRANGER)), KID)
    third = hashlib.sha256(b"test third").digest()
    naming = signed(4, digest(forged), seed=third)
    keys = {KID: PUBLIC_KEY, wire.kid_of(wire.public_key_of(third)): wire.public_key_of(third)}
    found = judge_run([forged, naming], key_for=keys.get, digests_of=lambda kid, seq: frozenset())
    assert [each.finding for each in found] == [Finding.ALTERED, Finding.GAP]


def test_a_jump_in_seq_is_not_authenticated_by_its_successor() -> None:
    """prev names a record, but not the one before: W14 binds both."""
    altered = bytearray(RUN[3])
    altered[-1] ^= 1
    jump = signed(9, digest(bytes(altered)))
    assert findings([bytes(altered), jump], RUN[:3]) == [Finding.ALTERED, Finding.GAP]


@pytest.fixture
def verifications(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The seqs whose signature was really verified."""
    verified: list[int] = []
    genuine = wire.verify_record

    def counting(record: wire.Record, public_key: bytes) -> None:
        verified.append(record.seq)
        genuine(record, public_key)

    monkeypatch.setattr(judge, "verify_record", counting)
    return verified


def test_one_verification_per_run(verifications: list[int]) -> None:
    raws = [*RUN[:5], *RUN[7:]]
    random.Random(7).shuffle(raws)
    assert set(findings(raws)) == {Finding.CONTIGUOUS, Finding.GAP}
    assert sorted(verifications) == [4, 11]


def test_duplicates_and_the_held_cost_no_verification(verifications: list[int]) -> None:
    assert set(findings(RUN[:6] * 2, RUN[:6])) == {Finding.DUPLICATE}
    assert verifications == []


def test_one_altered_record_costs_two_verifications_more(verifications: list[int]) -> None:
    altered = bytearray(RUN[5])
    altered[-1] ^= 1
    assert findings([*RUN[:5], bytes(altered), *RUN[6:]])[5] is Finding.ALTERED
    assert sorted(verifications) == [4, 5, 11]


REFUSED = {Finding.ALTERED, Finding.UNKNOWN_KEY, Finding.MALFORMED, Finding.UNKNOWN_TYPE}


@settings(max_examples=300)
@given(position=st.integers(0, len(RUN) - 1), bit=st.integers(0, 8 * min(map(len, RUN)) - 1))
def test_any_flipped_bit_refuses_exactly_that_record(position: int, bit: int) -> None:
    altered = bytearray(RUN[position])
    altered[bit // 8] ^= 1 << bit % 8
    found = judged([*RUN[:position], bytes(altered), *RUN[position + 1 :]])
    assert found[position].finding in REFUSED
    expected = [Finding.CONTIGUOUS] * len(RUN)
    if position + 1 < len(RUN):
        expected[position + 1] = Finding.GAP
    assert [each.finding for each in found][:position] == expected[:position]
    assert [each.finding for each in found][position + 1 :] == expected[position + 1 :]


def test_every_bit_of_one_record() -> None:
    for bit in range(8 * len(RUN[4])):
        altered = bytearray(RUN[4])
        altered[bit // 8] ^= 1 << bit % 8
        found = findings([RUN[3], bytes(altered), RUN[5]], RUN[:3])
        assert found[1] in REFUSED, bit
        assert (found[0], found[2]) == (Finding.CONTIGUOUS, Finding.GAP)


@st.composite
def carried(draw: st.DrawFn) -> list[bytes]:
    """What a carrier may make of two streams: records left out, doubled, altered, forged, equivocal."""
    other = signed(3, digest(RUN[2]), "another story")
    pool = [*RUN, other, *OTHER_STREAM, signed(5, digest(RUN[4]), seed=STRANGER), b"", b"\xd2\x84"]
    raws = draw(st.lists(st.sampled_from(pool), max_size=20))
    alters = draw(st.booleans())
    if raws and alters:
        victim = draw(st.integers(0, len(raws) - 1))
        flipped = bytearray(raws[victim] or b"\x00")
        flipped[draw(st.integers(0, len(flipped) - 1))] ^= draw(st.sampled_from([1, 16, 128]))
        raws.append(bytes(flipped))
    return raws


SECOND = hashlib.sha256(b"test unit 2").digest()
OTHER_STREAM = run_of(4, SECOND)
KEYS = {KID: PUBLIC_KEY, wire.kid_of(wire.public_key_of(SECOND)): wire.public_key_of(SECOND)}
GENUINE = {*RUN, *OTHER_STREAM, signed(3, digest(RUN[2]), "another story")}


@settings(max_examples=200)
@given(raws=carried(), held=st.sets(st.integers(0, 11)), shuffle=st.randoms(use_true_random=False))
def test_order_does_not_matter_and_nothing_forged_gets_in(
    raws: list[bytes], held: set[int], shuffle: random.Random
) -> None:
    """W19, promises 1 and 2: the same findings in any order; accepted is exactly what is genuine and new."""

    def judge_all(given: list[bytes]) -> list[Judged]:
        return judge_run(
            given,
            key_for=KEYS.get,
            digests_of=lambda kid, seq: frozenset([digest(RUN[seq])] if kid == KID and seq in held else []),
        )

    found = judge_all(raws)
    assert [each.raw for each in found] == raws
    shuffled = list(raws)
    shuffle.shuffle(shuffled)
    assert Counter((each.raw, each.finding) for each in judge_all(shuffled)) == Counter(
        (each.raw, each.finding) for each in found
    )
    new = {raw for raw in raws if raw in GENUINE} - {RUN[seq] for seq in held}
    assert Counter(each.raw for each in found if each.accepted) == Counter(new)
    assert all(each.raw in GENUINE for each in found if each.finding is Finding.DUPLICATE)


def test_a_frame_that_arrived_whole_proves_nothing() -> None:
    """W52: the link passes whatever a good CRC carries, also a record that nobody signed; the judge refuses it."""
    forged = signed(3, digest(RUN[2]), seed=STRANGER).replace(wire.kid_of(wire.public_key_of(STRANGER)), KID)
    (message,) = wire.FrameReader().feed(wire.encode_frame(wire.RecordFrame(forged)))
    assert message == wire.RecordFrame(forged)
    assert findings([forged], RUN[:3]) == [Finding.ALTERED]
