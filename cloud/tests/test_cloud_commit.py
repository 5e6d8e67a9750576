"""Promise: whatever arrives, however often and in whatever order, the ledger ends as the units wrote it.

The expected ledger, gaps and receipts are computed here from the sent records alone, by slow and plain code.
"""

import hashlib
import itertools
import random
from collections.abc import Iterable, Sequence

import cbor2
import pytest
from django.db import IntegrityError
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from cloud.ingest import commit as commit_module
from cloud.ingest.answers import missing_ranges, receipts, wants
from cloud.ingest.commit import Committed, Message, commit
from cloud.ledger.enrol import enrol
from cloud.ledger.models import Gap, LedgerRecord, Quarantine, StreamHead
from cloud.tests.cloud_bench import ROOT, START_MS, FakeUnit, altered, payload
from wire import RecordType, decode_receipts, decode_record, decode_wants, public_key_of, sign_record, verify_receipt

pytestmark = pytest.mark.django_db
SEED = hashlib.sha256(b"cloud").digest()
CLOUD_KEY = public_key_of(SEED)
names = (f"U-{number}" for number in itertools.count(1))


def enrolled(length: int = 2) -> FakeUnit:
    unit = FakeUnit(next(names))
    unit.heartbeats(length - 2)
    enrol(unit.genesis, "site-1", "gw-1", START_MS)
    return unit


def send(records: Sequence[bytes], gateway: str = "gw-1") -> Committed:
    return commit([Message("site-1", gateway, payload(list(records)))], START_MS)


def receipted(committed: Committed) -> list[tuple[bytes, int, bytes]]:
    found = []
    for answer in receipts(ROOT, SEED, committed.heard, START_MS):
        for raw in decode_receipts(answer.payload):
            receipt = verify_receipt(raw, CLOUD_KEY)
            found.append((receipt.kid, receipt.seq, receipt.digest))
    return found


def held(unit: FakeUnit) -> list[tuple[int, bytes]]:
    rows = LedgerRecord.objects.filter(kid=unit.kid).order_by("seq", "digest").values_list("seq", "record")
    return [(seq, bytes(record)) for seq, record in rows]


def open_gaps(unit: FakeUnit) -> list[tuple[int, int]]:
    rows = Gap.objects.filter(kid=unit.kid, filled_ms=None).order_by("first")
    return [(gap.first, gap.last) for gap in rows]


def on_paths(records: Iterable[bytes], genesis: bytes) -> dict[int, set[bytes]]:
    """Digests by position that follow each other from genesis on, over the records sent."""
    decoded = [decode_record(record) for record in records]
    linked = {0: {record.digest for record in decoded if record.raw == genesis}}
    for seq in range(1, max(record.seq for record in decoded) + 1):
        before = linked.get(seq - 1, set())
        linked[seq] = {record.digest for record in decoded if record.seq == seq and record.prev in before}
    return linked


def missing_below_highest(records: Iterable[bytes]) -> list[tuple[int, int]]:
    seqs = {decode_record(record).seq for record in records}
    missing = [seq for seq in range(max(seqs)) if seq not in seqs]
    groups = itertools.groupby(enumerate(missing), key=lambda pair: pair[1] - pair[0])
    runs = [[seq for _, seq in group] for _, group in groups]
    return [(run[0], run[-1]) for run in runs]


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32), length=st.integers(2, 14), forks=st.integers(0, 2), spoiled=st.integers(0, 3))
def test_any_order_any_repetition_gives_the_same_ledger(seed: int, length: int, forks: int, spoiled: int) -> None:
    rng = random.Random(seed)
    unit, stranger = enrolled(length), FakeUnit(f"stranger-{seed}")
    authentic = list(unit.records) + [unit.fork(rng.randrange(1, length), str(n)) for n in range(forks)]
    rubbish = [altered(rng.choice(unit.records)) for _ in range(spoiled)] + stranger.records
    withheld = set(rng.sample(authentic, rng.randrange(0, 3)))
    first = [record for record in authentic if record not in withheld]
    traffic = first + (rng.choices(first, k=5) if first else []) + rubbish
    rng.shuffle(traffic)
    sent: list[bytes] = []
    while traffic:
        part, traffic = traffic[:5], traffic[5:]
        committed = send(part)
        sent += [record for record in part if record in authentic]
        if sent:
            check_state(unit, sent, committed)
    if not first:
        return
    assert {row.digest for row in Quarantine.objects.filter(kid=unit.kid)} == {
        hashlib.sha256(record).digest() for record in rubbish if record not in stranger.records
    }
    assert Quarantine.objects.filter(kid=stranger.kid, reason="key_not_valid").count() == len(stranger.records)
    check_state(unit, authentic, send(sorted(withheld) or authentic[:1]))
    assert open_gaps(unit) == []
    assert StreamHead.objects.get(kid=unit.kid).archived_thru == length - 1


def check_state(unit: FakeUnit, sent: Sequence[bytes], committed: Committed) -> None:
    expected = sorted({(decode_record(record).seq, record) for record in sent}, key=_position)
    assert held(unit) == expected, "each authentic record once, byte for byte"
    assert open_gaps(unit) == missing_below_highest(sent)
    linked = on_paths(sent, unit.genesis)
    prefix = -1
    while linked.get(prefix + 1):
        prefix += 1
    assert StreamHead.objects.get(kid=unit.kid).archived_thru == prefix
    for kid, seq, digest in receipted(committed):
        assert kid == unit.kid
        assert seq <= prefix
        assert digest in linked[seq], "a receipt names a record whose whole past is held"


def _position(row: tuple[int, bytes]) -> tuple[int, bytes]:
    return row[0], hashlib.sha256(row[1]).digest()


def test_a_receipt_stops_before_a_hole_and_moves_on_when_it_is_filled() -> None:
    unit = enrolled(10)
    assert [seq for _, seq, _ in receipted(send(unit.records[:4] + unit.records[6:]))] == [3]
    assert open_gaps(unit) == [(4, 5)]
    assert [seq for _, seq, _ in receipted(send(unit.records[5:6]))] == [3], "a receipt for whom is still behind"
    assert open_gaps(unit) == [(4, 4)]
    assert {seq for _, seq, _ in receipted(send(unit.records[4:5]))} == {9, 4}
    filled = Gap.objects.filter(kid=unit.kid).order_by("first")
    assert [(gap.first, gap.last, gap.filled_ms) for gap in filled] == [(4, 4, START_MS), (5, 5, START_MS)]


def test_duplicates_alone_still_bring_a_receipt() -> None:
    unit = enrolled(5)
    send(unit.records)
    again = send(unit.records)
    assert not again.arrived
    assert [seq for _, seq, _ in receipted(again)] == [4]


def test_a_gateway_that_holds_only_old_records_gets_a_receipt_it_can_compare() -> None:
    unit = enrolled(9)
    send(unit.records, "gw-2")
    old = receipted(send(unit.records[:3]))
    assert (unit.kid, 2, hashlib.sha256(unit.records[2]).digest()) in old


def test_no_receipt_for_a_stream_that_begins_otherwise_than_enrolled() -> None:
    unit = enrolled(2)
    impostor = FakeUnit(unit.name, seed=unit.seed, epoch=5)
    assert receipted(send(impostor.records)) == []
    assert receipted(send(unit.records[:1])) == [(unit.kid, 0, hashlib.sha256(unit.genesis).digest())]


def test_a_broken_chain_stops_the_receipts_until_the_true_record_comes() -> None:
    unit = enrolled(4)
    broken = unit.sign(RecordType.COMMENT, {1: "x"}, seq=2, prev=bytes(32))
    after = sign_record(unit.seed, {1: 3, 2: hashlib.sha256(broken).digest(), 3: 1, 4: 9000, 7: 3, 10: {1: 300_000}})
    assert [seq for _, seq, _ in receipted(send([*unit.records[:2], broken, after]))] == [1]
    assert LedgerRecord.objects.get(kid=unit.kid, seq=2).finding == "chain_broken"
    assert [seq for _, seq, _ in receipted(send(unit.records[2:]))] == [3]
    assert StreamHead.objects.get(kid=unit.kid).forked_at == 2


def test_a_record_that_names_a_predecessor_two_positions_back_gets_no_receipt() -> None:
    unit = enrolled(4)
    skipping = unit.sign(RecordType.COMMENT, {1: "x"}, seq=5, prev=hashlib.sha256(unit.records[3]).digest())
    assert [seq for _, seq, _ in receipted(send([*unit.records, skipping]))] == [3]


def test_a_record_off_the_archived_path_gets_no_receipt() -> None:
    unit = enrolled(8)
    send(unit.records)
    orphan = unit.sign(RecordType.COMMENT, {1: "whose past is not held"}, seq=4, prev=bytes(32))
    assert [seq for _, seq, _ in receipted(send([orphan], "gw-2"))] == [7]
    child = unit.fork(4)
    assert (unit.kid, 4, hashlib.sha256(child).digest()) in receipted(send([child], "gw-2"))


def test_equivocation_keeps_both_and_says_so() -> None:
    unit = enrolled(6)
    fork = unit.fork(3)
    send(unit.records)
    committed = send([fork])
    assert [arrived.record.raw for arrived in committed.arrived] == [fork]
    assert sorted(record for seq, record in held(unit) if seq == 3) == sorted([fork, unit.records[3]])
    assert LedgerRecord.objects.get(digest=hashlib.sha256(fork).digest()).finding == "equivocation"


def test_an_altered_record_is_quarantined_with_its_claim_and_asked_for() -> None:
    unit = enrolled(6)
    unit.batch = "B-1"
    last = unit.comment("the last so far")
    send([*unit.records[:3], altered(unit.records[3]), *unit.records[4:6], altered(last)])
    rows = Quarantine.objects.filter(kid=unit.kid).order_by("seq")
    assert [(row.reason, row.seq, row.batch) for row in rows] == [
        ("signature_invalid", 3, None),
        ("signature_invalid", 6, "B-1"),
    ]
    assert bytes(rows[0].content) == altered(unit.records[3])
    assert missing_ranges([]) >= {(unit.kid, 3, 3), (unit.kid, 6, 6)}
    send([unit.records[3], last])
    assert not {wanted for wanted in missing_ranges([]) if wanted[0] == unit.kid}
    assert missing_ranges([unit.kid]) >= {(unit.kid, 7, 262)}, "a silent stream is asked for its tail"


def test_records_of_an_unknown_key_count_once_it_is_enrolled() -> None:
    unit = FakeUnit(next(names))
    assert receipted(send(unit.records)) == []
    assert Quarantine.objects.filter(kid=unit.kid, reason="key_not_valid").count() == 2
    enrol(unit.genesis, "site-1", "gw-1", START_MS)
    assert [seq for _, seq, _ in receipted(send(unit.records))] == [1]


def test_an_unknown_type_is_kept_aside_and_stops_the_receipts() -> None:
    unit = enrolled(3)
    future = unit.say(20, {1: "from a later version"})
    unit.heartbeats(2)
    assert [seq for _, seq, _ in receipted(send(unit.records))] == [2]
    row = Quarantine.objects.get(digest=hashlib.sha256(future).digest())
    assert (row.reason, bytes(row.kid or b""), row.seq) == ("unknown_type", unit.kid, 3)
    assert "newer" in row.sentence


@pytest.mark.parametrize("seq", [2**63 - 1, 2**63 - 2, 2**53])
def test_a_stream_that_jumps_to_the_end_of_all_numbers_harms_nobody(seq: int) -> None:
    unit = enrolled(2)
    event = {2: bytes(32), 3: 1, 4: 2**63 - 1, 7: 3, 10: {1: 1}}
    assert [thru for _, thru, _ in receipted(send([*unit.records, sign_record(unit.seed, {**event, 1: seq})]))] == [1]
    assert open_gaps(unit) == [(2, seq - 1)]
    due = sorted(missing_ranges([unit.kid]))
    asked = [want for answer in wants(ROOT, due, {}) for want in decode_wants(answer.payload)]
    assert (asked[0].kid, asked[0].first, asked[0].thru) == (unit.kid, 2, seq - 1)
    beyond = sign_record(unit.seed, {**event, 1: 2**63})
    assert [thru for _, thru, _ in receipted(send([*unit.records, beyond]))] == [1]
    assert Quarantine.objects.get(digest=hashlib.sha256(beyond).digest()).reason == "wrong_shape"


def is_message(payload: bytes) -> bool:
    """[number, [[arrival, bytes], ...]]: chance finds a good message now and then, with a record that is none."""
    try:
        message = cbor2.loads(payload)
        return all(isinstance(arrival, int) and isinstance(raw, bytes) for arrival, raw in message[1])
    except (cbor2.CBORDecodeError, TypeError, ValueError, LookupError):
        return False


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(rubbish=st.binary(max_size=200) | st.binary(max_size=60).map(lambda tail: b"\x82\x01\x81\x82\x01" + tail))
def test_a_payload_that_is_no_message_is_kept_whole(rubbish: bytes) -> None:
    assume(not is_message(rubbish))
    committed = commit([Message("site-1", "gw-1", rubbish)], START_MS)
    assert not committed.arrived
    row = Quarantine.objects.get(digest=hashlib.sha256(rubbish).digest())
    assert (row.reason, bytes(row.content)) == ("unreadable_message", rubbish)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(rubbish=st.binary(min_size=1, max_size=300))
def test_bytes_that_are_no_record_are_kept_with_a_code(rubbish: bytes) -> None:
    unit = enrolled(2)
    assert [seq for _, seq, _ in receipted(send([rubbish, *unit.records]))] == [1]
    row = Quarantine.objects.get(digest=hashlib.sha256(rubbish).digest())
    assert bytes(row.content) == rubbish
    assert row.reason in {"not_cbor", "not_deterministic", "wrong_shape", "wrong_algorithm", "too_large"}


def test_the_same_rubbish_again_and_again_is_one_row() -> None:
    for _ in range(3):
        commit([Message("site-1", "gw-1", b"junk")] * 2, START_MS)
    assert Quarantine.objects.count() == 1


def test_a_collision_that_the_comparison_missed_fails_loudly(monkeypatch: pytest.MonkeyPatch) -> None:
    unit = enrolled(3)
    send(unit.records)
    monkeypatch.setattr(commit_module._Ledger, "digests", lambda *_: frozenset())
    with pytest.raises(IntegrityError):
        send(unit.records)


def test_two_gateways_and_a_long_outage_give_one_stream() -> None:
    unit = enrolled(60)
    for start in range(0, 60, 7):
        send(unit.records[start : start + 14], "gw-1" if start % 2 else "gw-2")
    assert held(unit) == list(enumerate(unit.records))
    assert not Gap.objects.filter(kid=unit.kid).exists()
