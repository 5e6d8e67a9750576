"""The bench of power cuts: what it tries every day, and that it finds what is broken on purpose."""

from __future__ import annotations

import importlib
import pkgutil
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import agent
import pytest
from agent import cbor, ed25519, pages
from agent.custody import Custody
from agent.journal import Journal

from hil_tests.power_cuts import __main__ as bench
from hil_tests.power_cuts.board import ERASED, Operation, sign_fast
from hil_tests.power_cuts.flips import fifty_records, try_flips, try_slot_flips, unit_at_work, work_on
from hil_tests.power_cuts.judge import SAVED_LOST
from hil_tests.power_cuts.replay import AFTER, BEFORE, Run, Tally, states, try_cuts, try_pairs
from hil_tests.power_cuts.scenarios import SCENARIOS, Scenario, almost_giving_up, nearly_filled, notes
from hil_tests.power_cuts.trials import CUTS, PAIRS, PARTS, decode_once, is_cut_in_pairs, tasks_of

STEP = 97  # torn bytes left out: a prime, so that every place of a page is met somewhere
SLOT_STEP = 1801  # one bit of each page of a slot, or two
LAP_RECORDS = 96  # of the ring of the unit at work
MUTABLE = (list, dict, set, bytearray)


@pytest.fixture(autouse=True)
def fast_signatures(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("public_key", "sign", "verify", "key_is_sound"):
        monkeypatch.setattr(ed25519, name, getattr(ed25519, name))  # so that it is put back
    sign_fast()


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_no_cut_breaks_a_promise(scenario: Scenario) -> None:
    case = Run.of(scenario)
    assert case.operations, "nothing was cut"
    tally = try_cuts(case, STEP)
    if len(case.operations) <= 3:
        tally.add(try_pairs(case, torn_step=STEP))
        assert tally.pairs > tally.cut_points
    assert tally.faults == []
    assert tally.cut_points >= 2 * len(case.operations)


def test_every_small_work_is_cut_in_pairs() -> None:
    """Derived from the flash operations, and not from a list: of each such scenario, every part of its pairs."""
    small = [each.name for each in SCENARIOS if len(Run.of(each).operations) <= 3]
    names = [each.name for each in SCENARIOS]
    tasks = tasks_of(names, [name for name in names if is_cut_in_pairs(name)], 1, flips=True)
    pairs = sorted((task.scenario, task.part) for task in tasks if task.kind == PAIRS)
    assert pairs == sorted((name, part) for name in small for part in range(PARTS))
    assert sorted(task.scenario for task in tasks if task.kind == CUTS) == sorted(names)
    assert {"wrap", "erase ahead", "damaged block", "sensor batch"} <= set(small)


def test_the_parts_of_the_pairs_are_all_of_them() -> None:
    case = Run.of(next(each for each in SCENARIOS if each.name == "append"))
    whole, parts = try_pairs(case, torn_step=STEP), Tally()
    for part in range(PARTS):
        again = Run.of(case.scenario)  # as another process does
        assert again.operations == case.operations
        parts.add(try_pairs(again, part, PARTS, STEP))
    assert parts == whole
    assert whole.pairs > 0


def test_what_is_decoded_once_is_a_new_value_each_time() -> None:
    raw = cbor.encode({1: [b"bytes", "text"], 2: {3: True, "key": None, 4: -(1 << 63)}})
    decode = decode_once(cbor.decode)
    first = decode(raw)
    first[1].append("changed")
    first[2][3] = False
    assert decode(raw) == cbor.decode(raw)
    for _ in range(2):
        with pytest.raises(cbor.CborError, match="after the item"):
            decode(raw + b"\0")


@pytest.mark.parametrize(("given", "code"), [([], 1), (["--quick"], 0), (["--scenario", "append"], 0)])
def test_a_full_run_that_tried_too_little_fails(
    given: list[str], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tried = Tally(cut_points=bench.CUT_POINTS_MIN - 1)
    monkeypatch.setattr(bench, "run", lambda *_given, **_named: tried)
    monkeypatch.setattr(sys, "argv", ["power_cuts", *given])
    assert bench.main() == code
    assert ("99,999 cuts were tried, of at least 100,000" in capsys.readouterr().err) == bool(code)
    tried.cut_points += 1
    assert bench.main() == 0


@pytest.mark.slow
def test_no_flipped_bit_breaks_a_promise() -> None:
    tally = try_flips(fifty_records(), step=STEP)
    assert tally.faults == []
    assert tally.bit_flips >= 50 * 2048 // STEP
    assert try_slot_flips(unit_at_work(), step=STEP).faults == []


def test_a_flipped_bit_in_a_slot_costs_nothing_whatever_the_ring_holds() -> None:
    """At every record of a lap: what the older checkpoint would need may just have been overwritten."""
    lab = unit_at_work()
    flips, faults = 0, []
    for _ in range(LAP_RECORDS):
        work_on(lab)
        tally = try_slot_flips(lab, step=SLOT_STEP)
        flips += tally.bit_flips
        faults += [(lab.next_seq, *fault) for fault in tally.faults]
    assert faults == []
    assert flips >= 8 * LAP_RECORDS


def test_every_cut_point_is_counted_and_no_state_twice() -> None:
    page, other = b"p" * 200 + b"\xff" * 55 + b"\xa0", b"o" * 256
    work = [Operation(1, (page,)), Operation(0, (ERASED,) * 16), Operation(0, (other,))]
    flash = [b"x" * 256] + [ERASED] * 15
    found = list(states(flash, work))
    assert sum(state.points for state in found) == 2 * (256 + 2) + 4096 + 2
    distinct = {tuple(state.pages) for state in found}
    assert len(distinct) == len(found)
    assert tuple(flash) in distinct
    assert [str(state.cut) for state in found[:2]] == [f"operation 0 {BEFORE}", "operation 0 torn at byte 1"]
    assert [state.points for state in found if state.cut.moment == AFTER] == [
        3,
        1,
    ]  # the erase is over in its torn bytes
    assert [state.known_at for state in found][-1] == 3


# --- the bench finds what is broken on purpose ------------------------------------------------------------------------


def trust_a_begun_erase(patch: pytest.MonkeyPatch) -> None:
    """A block whose first page is blank counts as erased, although the erase never returned."""
    recover = Journal.recover

    def recover_and_trust(self: Journal) -> None:
        recover(self)
        if self._flash.read(self._address(self._erased_thru), 256) == ERASED:
            self._erased_thru += 16

    patch.setattr(Journal, "recover", recover_and_trust)


def reuse_the_started_page(patch: pytest.MonkeyPatch) -> None:
    end_of = Journal._end_of
    patch.setattr(Journal, "_end_of", lambda self, newest: max(0, end_of(self, newest) - 2))


def check_no_crc(patch: pytest.MonkeyPatch) -> None:
    def parse(raw: bytes) -> tuple[int, int, bytes] | None:
        kind, lap, size = raw[255], int.from_bytes(raw[4:6], "little"), raw[6]
        if kind & 0xE8 != 0xA0 or lap >= pages.LAPS or not 0 < size <= pages.PAYLOAD_BYTES:
            return None
        return lap, kind, raw[7 : 7 + size]

    patch.setattr(pages, "parse", parse)


def trust_half_a_record(patch: pytest.MonkeyPatch) -> None:
    """What begins a record is taken for the whole of it."""
    page_of = Journal._page

    def first_only(self: Journal, number: int) -> tuple[int, bytes] | None:
        page = page_of(self, number)
        return (page[0] & 0xF0, page[1]) if page is not None else None

    patch.setattr(Journal, "_page", first_only)


def stop_at_the_first_bad_page(patch: pytest.MonkeyPatch) -> None:
    last_record = Journal._last_record

    def up_to_a_bad_page(self: Journal, block: int, whole_thru: int) -> tuple[bytes, int]:
        bad: list[int] = []
        page_of = self._page

        def stopping(number: int) -> tuple[int, bytes] | None:
            page = None if bad else page_of(number)
            if page is None:
                bad.append(number)
            return page

        self._page = stopping  # type: ignore[method-assign]
        try:
            return last_record(self, block, whole_thru)
        finally:
            del self._page

    patch.setattr(Journal, "_last_record", up_to_a_bad_page)


def use_a_seq_again_after_a_torn_record(patch: pytest.MonkeyPatch) -> None:
    find_head = Journal._find_head

    def one_less(self: Journal, newest: int) -> None:
        find_head(self, newest)
        if self.torn:
            self.next_seq -= 1

    patch.setattr(Journal, "_find_head", one_less)


def overwrite_without_receipt(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Journal, "room", lambda self, size, spare=0: True)
    patch.setattr(Journal, "_is_next_block_free", lambda self: True)


def give_up_against_the_letter(patch: pytest.MonkeyPatch) -> None:
    """The oldest block goes although the enrolment letter says that scans are refused instead."""
    begin = Custody.__init__

    def give_up(self: Custody, journal: Any, slots: Any, kid: bytes, key: Any, _gives_up: bool) -> None:
        begin(self, journal, slots, kid, key, True)

    patch.setattr(Custody, "__init__", give_up)


def put_nothing_right(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(pages, "may_be_put_right", lambda raw: False)


def announce_before_the_flash_has_it(patch: pytest.MonkeyPatch) -> None:
    """The last page of a record is programmed with the next one."""
    waiting: list[tuple[int, bytes]] = []

    def write_later(self: Journal, record: bytes) -> int:
        if self._next == self._erased_thru:
            self._erase_next_block()
        start = self._next
        for address, page in waiting:
            if self._flash.read(address, 256) == ERASED:
                self._flash.program(address, page)
        waiting[:] = [(self._address(start), pages.make(self._lap(start), 0xA0, record[8:256]))]
        self._next += 1
        return start

    patch.setattr(Journal, "_write", write_later)


OVERFULL = Scenario("more than the ring holds", notes(40), nearly_filled)
KEPT = Scenario("nothing may be given up", notes(40), almost_giving_up, blocks=6)
SABOTAGE: list[tuple[Callable[[pytest.MonkeyPatch], None], str]] = [
    (trust_a_begun_erase, "block boundary of a used ring"),
    (reuse_the_started_page, "append"),
    (check_no_crc, "flips"),
    (trust_half_a_record, "append of two pages"),
    (stop_at_the_first_bad_page, "damaged pages"),
    (use_a_seq_again_after_a_torn_record, "append"),
    (overwrite_without_receipt, OVERFULL.name),
    (give_up_against_the_letter, KEPT.name),
    (put_nothing_right, "flipped bit in the last page"),
    (put_nothing_right, "flips"),
    (announce_before_the_flash_has_it, "page boundary"),
]


@pytest.mark.parametrize(("sabotage", "where"), SABOTAGE, ids=lambda value: getattr(value, "__name__", value))
def test_sabotage_is_found(
    sabotage: Callable[[pytest.MonkeyPatch], None], where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if where == "flips":
        lab = fifty_records() if sabotage is put_nothing_right else None
        sabotage(monkeypatch)
        faults = try_flips(lab or fifty_records(), step=503).faults
        assert SAVED_LOST in {fault.promise for _where, fault in faults}
        return
    scenario = next(each for each in (*SCENARIOS, OVERFULL, KEPT) if each.name == where)
    assert try_cuts(Run.of(scenario), 2 * STEP).faults == []
    sabotage(monkeypatch)
    assert try_cuts(Run.of(scenario), STEP).faults, f"{sabotage.__name__} was not noticed in {where!r}"


# --- each boot is in a fresh state ------------------------------------------------------------------------------------


def agent_modules() -> Iterator[types.ModuleType]:
    for found in pkgutil.walk_packages(agent.__path__, "agent."):
        if not found.name.startswith("agent.hal"):  # boards; a lab has its own
            yield importlib.import_module(found.name)


def lasting_state() -> dict[str, str]:
    """Everything in the agent that could outlast a Unit: what modules, classes and defaults hold and can change."""
    state: dict[str, str] = {}
    for module in agent_modules():
        for name, value in vars(module).items():
            if isinstance(value, MUTABLE) and not name.startswith("__"):
                state[f"{module.__name__}.{name}"] = repr(value)
            if isinstance(value, type) and value.__module__ == module.__name__:
                for attribute, held in vars(value).items():
                    if isinstance(held, MUTABLE):
                        state[f"{module.__name__}.{name}.{attribute}"] = repr(held)
                    for default in getattr(held, "__defaults__", None) or ():
                        assert not isinstance(default, MUTABLE), f"{module.__name__}.{name}.{attribute} has a default"
            for default in getattr(value, "__defaults__", None) or ():
                assert not isinstance(default, MUTABLE), f"{module.__name__}.{name} has a default that can change"
    return state


def test_nothing_in_the_agent_outlasts_a_unit() -> None:
    """So new objects are a fresh interpreter: whatever modules hold is the same after all that a unit can do."""
    before = lasting_state()
    assert before, "the search finds nothing at all"
    for scenario in SCENARIOS:
        Run.of(scenario)
    assert lasting_state() == before
