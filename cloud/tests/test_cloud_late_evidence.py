"""Evidence that comes late, or stands outside of a batch, re-opens the batches that it concerns (R67, R70).

What is stored must be what a report made anew from the ledger says, after every order of arrival and every crash.
"""

import hashlib
import random
from dataclasses import replace

import pytest
from django.contrib.auth.models import User
from django.test import Client

from cloud.batches import queries
from cloud.batches.models import Batch
from cloud.batches.records import range_of
from cloud.batches.reports import Reconciler, _Followed
from cloud.domain.report import Report
from cloud.ingest.commit import Message, commit
from cloud.ledger.enrol import enrol
from cloud.tests import web_story
from cloud.tests.web_story import (
    START_MS,
    SigningUnit,
    Works,
    altered,
    culture,
    ending,
    forged,
    good_batch,
    opening,
    steady,
)  # fmt: skip
from wire import Record, RecordType, decode_record, encode_records, sign_record
from wire.bodies import Channels, Comment, Heartbeat
from wire.record import body_map

pytestmark = pytest.mark.django_db


@pytest.fixture
def works() -> Works:
    return Works()


def made_anew(batch: str, works: Works) -> Report:
    found = Batch.objects.get(batch=batch)
    return _Followed(found, range_of(found)).report(works.clock.now_ms())


def stored(batch: str, works: Works) -> Report:
    """The stored report, which must not differ from one made anew."""
    report = queries.batch_report(batch)
    assert report.to_bytes() == made_anew(batch, works).to_bytes()
    return report


def codes(report: Report) -> set[str]:
    return {item.code for item in report.exceptions if item.spoils}


def whole_batch(works: Works, unit: SigningUnit, batch: str) -> list[bytes]:
    """A good batch of which nothing has left the unit."""
    opening(works, unit, batch)
    culture(works, unit, carried=False)
    ending(unit)
    return list(unit.unsent())


def another_at(unit: SigningUnit, raw: bytes, body: dict[int, object], kind: RecordType = RecordType.COMMENT) -> bytes:
    """A record that the same key signed for the same place, with other words."""
    record: Record = decode_record(raw)
    event = {1: record.seq, 2: record.prev, 3: record.boot, 4: record.uptime_ms, 5: START_MS, 6: 140}
    return sign_record(unit.seed, event | {7: int(kind), 10: body})


def restart(works: Works) -> None:
    works.reconciler = Reconciler(works.clock)
    works.reconcile()


# --- a serial that another batch used too -----------------------------------------------------------------------------


def test_a_serial_found_used_later_re_opens_the_batch_that_was_in_order(works: Works) -> None:
    first, second = works.enrol("U-1", "s", "g"), works.enrol("U-2", "s", "g2")
    raws = whole_batch(works, first, "A-0001")  # used it first, and is heard last
    second.now_ms += 3 * 3_600_000
    good_batch(works, second, "B-0001")
    works.reconcile()
    assert stored("B-0001", works).conforming
    works.carry(first, raws)
    works.reconcile()
    for batch in ("A-0001", "B-0001"):
        assert "duplicate_serial" in codes(stored(batch, works)), batch


def test_a_crash_between_the_two_reports_loses_neither(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = works.enrol("U-1", "s", "g"), works.enrol("U-2", "s", "g2")
    good_batch(works, first, "A-0001")
    works.reconcile()
    good_batch(works, second, "B-0001")
    monkeypatch.setattr(works.reconciler, "_look_again", lambda batch_id: None)  # it died before
    works.reconcile()
    assert queries.batch_report("A-0001").conforming
    restart(works)
    assert "duplicate_serial" in codes(stored("A-0001", works))


def test_a_report_is_not_kept_without_its_serials(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would pass for one in step after the restart, and the serial could be used again unnoticed."""
    first, second = works.enrol("U-1", "s", "g"), works.enrol("U-2", "s", "g2")
    with monkeypatch.context() as dying:
        dying.setattr(_Followed, "_keep_serials", lambda self: 1 / 0)
        good_batch(works, first, "A-0001")
        works.reconcile()
    restart(works)
    good_batch(works, second, "B-0001")
    works.reconcile()
    for batch in ("A-0001", "B-0001"):
        assert "duplicate_serial" in codes(stored(batch, works)), batch


# --- what was committed while nobody reported -------------------------------------------------------------------------


def test_a_kill_between_commit_and_report_loses_no_exception(works: Works) -> None:
    unit, other = works.enrol("U-1", "s", "g"), works.enrol("U-2", "s", "g2")
    good_batch(works, unit, "B-0001")
    works.reconcile()
    for stranger, gateway in ((other, "g2"), (unit, "g")):
        stranger.batch = "B-0001"
        stranger.sign(Comment("not of this batch"))
        records = [(stranger.now_ms, raw) for raw in stranger.unsent()]
        commit([Message("s", gateway, encode_records(1, records))], stranger.now_ms)
    restart(works)
    assert codes(stored("B-0001", works)) >= {"unit_not_authorised"}
    assert "record_outside_batch" in {item.code for item in queries.batch_report("B-0001").exceptions}


def test_a_report_in_step_is_not_made_again(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    unit = works.enrol("U-1", "s", "g")
    good_batch(works, unit, "B-0001")
    works.reconcile()
    monkeypatch.setattr(Reconciler, "_follow", lambda *_: pytest.fail("the stored report was not believed"))
    restart(works)


# --- the stream in front of the batch ---------------------------------------------------------------------------------


@pytest.mark.parametrize("carried_first", [True, False])
def test_a_fork_in_front_of_a_batch_spoils_its_authenticity(works: Works, carried_first: bool) -> None:
    unit = works.enrol("U-1", "s", "g")
    raws = whole_batch(works, unit, "B-0001")
    fork = another_at(unit, raws[2], {1: "clone"})
    works.carry(unit, raws if carried_first else [*raws, fork])
    works.reconcile()
    if carried_first:
        assert stored("B-0001", works).authentic
        works.carry(unit, [fork])
        works.reconcile()
    report = stored("B-0001", works)
    assert "equivocation" in codes(report)
    assert not report.authentic


def test_a_fork_behind_a_batch_leaves_it_as_it_is_and_is_shown_with_the_unit(works: Works, client: Client) -> None:
    unit = works.enrol("U-1", "s", "g")
    good_batch(works, unit, "B-0001")
    unit.sign(Comment("after it"))
    after = unit.unsent()[-1]
    works.carry(unit, [after])
    works.carry(unit, [another_at(unit, after, {1: "clone"})])
    works.reconcile()
    assert stored("B-0001", works).authentic
    (stream,) = queries.streams()
    assert (stream.forked_at, stream.broken_at) == (decode_record(after).seq, None)
    client.force_login(User.objects.create_user("reader"), "django.contrib.auth.backends.ModelBackend")
    page = client.get("/units/", headers={"host": "localhost"}).content.decode()
    assert "Signs twice" in page
    assert "Valid" not in page
    assert client.get("/api/streams", headers={"host": "localhost"}).json()[0]["forked_at"] == stream.forked_at


def test_a_batch_whose_first_record_names_another_predecessor_is_not_authentic(works: Works, client: Client) -> None:
    unit = works.enrol("U-1", "s", "g")
    raws = whole_batch(works, unit, "B-0001")
    opened = next(at for at, raw in enumerate(raws) if decode_record(raw).type is RecordType.BATCH_OPEN)
    raws[opened - 1] = another_at(unit, raws[opened - 1], {1: "clone"})
    works.carry(unit, raws)
    works.reconcile()
    report = stored("B-0001", works)
    assert "chain_broken" in codes(report)
    assert (report.complete, report.authentic) == (True, False)
    assert queries.streams()[0].broken_at == opened
    client.force_login(User.objects.create_user("reader"), "django.contrib.auth.backends.ModelBackend")
    assert "Chain broken" in client.get("/units/", headers={"host": "localhost"}).content.decode()


def test_a_hole_in_front_of_a_batch_is_no_break(works: Works) -> None:
    unit = works.enrol("U-1", "s", "g")
    raws = whole_batch(works, unit, "B-0001")
    works.carry(unit, [*raws[:2], *raws[4:]])
    works.reconcile()
    assert codes(stored("B-0001", works)).isdisjoint({"chain_broken", "equivocation"})
    assert queries.streams()[0].broken_at is None


def test_a_forked_description_of_the_channels_cannot_hide_what_was_wrong(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The true one says that the calibration was overdue; the forged one does not, and is folded."""
    overdue, other = web_story.CHANNELS.channels
    overdue = replace(overdue, due_ms=START_MS - 1)
    monkeypatch.setattr(web_story, "CHANNELS", Channels((overdue, other)))
    unit = SigningUnit("U-1", "s", "g")
    enrol(unit.raws[0], "s", "g", START_MS)
    good_batch(works, unit, "B-0001")
    works.reconcile()
    assert "calibration_expired" in codes(stored("B-0001", works))
    (true,) = [raw for raw in unit.raws if decode_record(raw).type is RecordType.CHANNELS]
    for number in range(500):
        channel = replace(overdue, due_ms=None, certificate=f"C{number}")
        fork = another_at(unit, true, body_map(Channels((channel, other))), RecordType.CHANNELS)
        if hashlib.sha256(fork).digest() < hashlib.sha256(true).digest():
            break
    works.carry(unit, [fork])
    works.reconcile()
    report = stored("B-0001", works)
    assert "equivocation" in codes(report)
    assert not report.authentic


def test_a_description_of_the_channels_that_comes_late_re_opens_a_closed_batch(works: Works) -> None:
    unit = works.enrol("U-1", "s", "g")
    raws = whole_batch(works, unit, "B-0001")
    late = next(at for at, raw in enumerate(raws) if decode_record(raw).type is RecordType.CHANNELS)
    works.carry(unit, raws[:late] + raws[late + 1 :])
    works.reconcile()
    assert not stored("B-0001", works).conforming
    works.carry(unit, [raws[late]])
    works.reconcile()
    assert stored("B-0001", works).conforming


@pytest.mark.parametrize("before_the_close", [True, False])
def test_a_refused_copy_from_behind_the_batch_is_not_its_own(works: Works, before_the_close: bool) -> None:
    unit = works.enrol("U-1", "s", "g")
    raws = whole_batch(works, unit, "B-0001")
    unit.batch = None
    unit.sign(Heartbeat(300_000))
    behind = altered(unit.unsent()[-1])
    for part in ([*raws[:-1], behind], raws[-1:]) if before_the_close else (raws, [behind]):
        works.carry(unit, part)
        works.reconcile()
    assert "signature_invalid" not in {item.code for item in stored("B-0001", works).exceptions}


def test_lists_put_what_was_tampered_with_before_what_is_in_order(works: Works) -> None:
    unit = works.enrol("U-1", "s", "g")
    works.carry(unit, [*whole_batch(works, unit, "B-0001"), forged(unit, "B-0001")])
    good_batch(works, unit, "B-0002")  # newer
    works.reconcile()
    rows = queries.batch_list()
    assert [(row.batch, row.needs_attention, row.refused_copies) for row in rows] == [
        ("B-0001", 0, 1),
        ("B-0002", 0, 0),
    ]


# --- any order --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_what_is_stored_is_what_the_ledger_says_in_whatever_order_it_came(works: Works, seed: int) -> None:
    """R70, with forks, altered and forged copies, crashes, and two batches on one stream."""
    dice = random.Random(seed)
    unit = works.enrol("U-1", "s", "g")
    raws = whole_batch(works, unit, "B-0001")
    unit.sign(Heartbeat(300_000))
    opening(works, unit, "B-0002")
    for minute in range(3):
        unit.sense(steady(minute=minute), steady(at=500, minute=minute))
    raws += unit.unsent()
    for _ in range(dice.randrange(3)):
        raws.append(another_at(unit, dice.choice(raws[1:30]), {1: "clone"}))
    raws += [altered(dice.choice(raws)) for _ in range(dice.randrange(3))] + [forged(unit, "B-0001")]
    dice.shuffle(raws)
    while raws:
        size = dice.choice([1, 3, 10, 40])
        part, raws = raws[:size], raws[size:]
        works.messages += 1
        payload = encode_records(works.messages, [(unit.now_ms, raw) for raw in part])
        committed = commit([Message("s", "g", payload)], unit.now_ms + 350)
        if dice.random() < 0.15:
            works.reconciler = Reconciler(works.clock)  # died between commit and report
        else:
            works.reconciler.follow(committed)
        if dice.random() < 0.6:
            works.reconcile()
    works.reconcile()
    for batch in ("B-0001", "B-0002"):
        stored(batch, works)
