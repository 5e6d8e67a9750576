"""Transport rules: is every record there, once, genuine, chained, in time; and what interrupted the unit.

Decides sequence_gap, count_mismatch, chain_broken, equivocation, key_not_valid, signature_invalid, unknown_record_type,
late_record, communication_loss, unit_restarted. Never looks at what a scan or sample says. Sources: wire/SPEC.md
W14..W26, R66, R67.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from cloud.domain.findings import Findings, Snapshot
from cloud.domain.plan import BatchPlan, GapHistory, LedgerEntry, RefusedCopy, StreamFaults
from cloud.domain.report import OPEN, RESOLVED, CustodyFact, Interruption
from cloud.domain.words import duration, records, utc
from wire import BatchClose, Boot, BootCause, RecordType

MISSED_HEARTBEATS = 3  # DESIGN section 3: three missed periods are an exception
KEY_REASONS = frozenset({"unknown_key", "key_not_valid", "key_refused", "wrong_key"})
CAUSES = {BootCause.POWER: "power came back", BootCause.WATCHDOG: "watchdog", BootCause.SOFTWARE: "restart by software"}


class Transport(Snapshot):
    """Folds the records of the batch in stream order; several entries for one position are equivocation."""

    def __init__(self, plan: BatchPlan) -> None:
        self._recipe = plan.recipe
        self.counts: Counter[int] = Counter()
        self._custody: list[_Carried] = []
        self.interruptions: list[Interruption] = []
        self._forks: list[tuple[int, int, int]] = []  # first, last, most copies
        self._bad_keys: list[tuple[int, int, int]] = []
        self._late: list[tuple[int, int, int, int]] = []  # first, last, worst delay, of that to the gateway
        self._last: LedgerEntry | None = None
        self._last_digests: frozenset[bytes] = frozenset()

    def hole(self) -> None:
        """The next record does not follow the last one: nothing can be said across."""
        self._last_digests = frozenset()
        self._last = None

    def take(self, copies: Sequence[LedgerEntry], findings: Findings) -> None:
        """All entries that the ledger holds for the next position, the one to fold first."""
        entry = copies[0]
        record = entry.record
        self.counts[record.type] += 1
        findings.check("sequence_gap", True)
        findings.check("signature_invalid", True, len(copies))  # what is not genuine never comes so far
        if not findings.check("equivocation", len(copies) == 1):
            _extend(self._forks, record.seq, len(copies))
        for held in copies:
            self._check_link(held, findings)
        if not findings.check("key_not_valid", all(held.key_valid for held in copies)):
            _extend(self._bad_keys, record.seq, len(copies))
        self._check_silence(entry, findings)
        self._check_boot(entry, findings)
        self._check_late(entry, findings)
        self._pass_on(entry)
        self._last = entry
        self._last_digests = frozenset(held.record.digest for held in copies)

    def close(self, first_seq: int, entry: LedgerEntry, close: BatchClose, whole: bool, findings: Findings) -> None:
        """Compare the unit's own counts with what is held (W26). whole: no position is missing."""
        seq = entry.record.seq
        if not findings.check("count_mismatch", close.first_seq == first_seq):
            message = (
                f"The close says that the batch began at record {close.first_seq}, but it was opened by record"
                f" {first_seq}."
            )
            findings.note("count_mismatch", message, first_seq, seq)
        held = +self.counts - Counter({int(RecordType.BATCH_CLOSE): 1})
        if whole and not findings.check("count_mismatch", held == Counter(dict(close.counts))):
            kinds = sorted(
                kind for kind in held.keys() | close.counts.keys() if held[kind] != close.counts.get(kind, 0)
            )
            told = ", ".join(f"{close.counts.get(kind, 0)} {_type_name(kind)} (held: {held[kind]})" for kind in kinds)
            findings.note("count_mismatch", f"The unit's closing count differs from what is held: {told}.", seq)

    def conclude(self, findings: Findings) -> None:
        """Name the runs of positions that are forked, badly signed or late."""
        for first, last, most in self._forks:
            findings.note(
                "equivocation",
                f"{records(first, last).capitalize()} exist in {most} different copies that the unit's key signed: the"
                " unit or its key"
                " was duplicated. All are kept; facts are shown from the copy with the lowest digest.",
                first,
                last,
            )
        for first, last, _ in self._bad_keys:
            message = (
                f"{records(first, last).capitalize()}: signed with a key that was not valid for the unit at that"
                " position."
            )
            findings.note("key_not_valid", message, first, last)
        for first, last, delay_ms, gateway_ms in self._late:
            where = "on the way to the gateway" if gateway_ms * 2 > delay_ms else "between gateway and cloud"
            message = (
                f"{records(first, last).capitalize()} reached the ledger up to {duration(delay_ms)} after being"
                f" recorded, held up {where}."
            )
            findings.note("late_record", message, first, last)

    def late_interruptions(self, wall_ms: Callable[[int], int | None]) -> Iterable[Interruption]:
        """Late runs as interruptions; wall_ms gives the time of a position."""
        for first, last, delay_ms, _ in self._late:
            message = f"Not in the cloud for up to {duration(delay_ms)}."
            yield Interruption("late", first, last, wall_ms(first), wall_ms(last), message)

    def custody(self) -> tuple[CustodyFact, ...]:
        """By which gateways the records came, in stream order."""
        return tuple(carried.fact() for carried in self._custody)

    def _check_link(self, held: LedgerEntry, findings: Findings) -> None:
        if not self._last_digests:
            return
        record = held.record
        if not findings.check("chain_broken", record.prev in self._last_digests):
            message = f"Record {record.seq} names another predecessor than the record {record.seq - 1} that is held."
            findings.note("chain_broken", message, record.seq - 1, record.seq)

    def _check_silence(self, entry: LedgerEntry, findings: Findings) -> None:
        if self._last is None or self._last.record.boot != entry.record.boot:
            return
        silent_ms = entry.record.uptime_ms - self._last.record.uptime_ms
        allowed_ms = MISSED_HEARTBEATS * self._recipe.heartbeat_ms
        if findings.check("communication_loss", silent_ms <= allowed_ms):
            return
        first, last = self._last.record, entry.record
        message = (
            f"The unit recorded nothing for {duration(silent_ms)} between records {first.seq} and {last.seq}, although"
            " a heartbeat is"
            f" due every {duration(self._recipe.heartbeat_ms)}."
        )
        findings.note("communication_loss", message, first.seq, last.seq)
        self.interruptions.append(Interruption("silence", first.seq, last.seq, first.time_ms, last.time_ms, message))

    def _check_boot(self, entry: LedgerEntry, findings: Findings) -> None:
        record, last = entry.record, self._last.record if self._last else None
        if isinstance(record.body, Boot):
            torn = record.body.torn
            words = f"; {torn} journal {'entry was' if torn == 1 else 'entries were'} found torn" if torn else ""
            message = (
                f"The unit restarted ({CAUSES[record.body.cause]}, boot {record.boot}) before record"
                f" {record.seq}{words}."
            )
            findings.check("unit_restarted", False)
            findings.note("unit_restarted", message, *([last.seq] if last else []), record.seq)
            before_ms, after_ms = (last.time_ms if last else None), record.time_ms
            before_seq = last.seq if last else record.seq
            self.interruptions.append(Interruption("restart", before_seq, record.seq, before_ms, after_ms, message))
        elif last and not findings.check("unit_restarted", record.boot == last.boot):
            message = (
                f"Record {record.seq} is of boot {record.boot}, its predecessor of boot {last.boot}, with no boot"
                " record between."
            )
            findings.note("unit_restarted", message, last.seq, record.seq)

    def _check_late(self, entry: LedgerEntry, findings: Findings) -> None:
        record = entry.record
        known_ms = entry.arrival_ms if record.time_ms is None else record.time_ms + (record.uncertainty_ms or 0)
        delay_ms = entry.received_ms - known_ms
        if findings.check("late_record", delay_ms <= self._recipe.late_record_ms):
            return
        to_gateway_ms = entry.arrival_ms - known_ms
        if self._late and self._late[-1][1] == record.seq - 1:
            first, _, worst_ms, worst_gateway_ms = self._late[-1]
            worst = max((worst_ms, worst_gateway_ms), (delay_ms, to_gateway_ms))
            self._late[-1] = (first, record.seq, *worst)
        else:
            self._late.append((record.seq, record.seq, delay_ms, to_gateway_ms))

    def _pass_on(self, entry: LedgerEntry) -> None:
        last = self._custody[-1] if self._custody else None
        if last is None or last.gateway != entry.gateway or last.last != entry.record.seq - 1:
            last = _Carried(entry)
            self._custody.append(last)
        last.add(entry)


class _Carried(Snapshot):
    """A CustodyFact being added up."""

    def __init__(self, entry: LedgerEntry) -> None:
        self.gateway = entry.gateway
        self.first = self.last = entry.record.seq
        self.recorded_first_ms: int | None = None
        self.recorded_last_ms: int | None = None
        self.arrived_first_ms = self.arrived_last_ms = entry.arrival_ms
        self.received_first_ms = self.received_last_ms = entry.received_ms
        self.longest_delay_ms: int | None = None

    def add(self, entry: LedgerEntry) -> None:
        self.last, time_ms = entry.record.seq, entry.record.time_ms
        self.arrived_first_ms = min(self.arrived_first_ms, entry.arrival_ms)
        self.arrived_last_ms = max(self.arrived_last_ms, entry.arrival_ms)
        self.received_first_ms = min(self.received_first_ms, entry.received_ms)
        self.received_last_ms = max(self.received_last_ms, entry.received_ms)
        if time_ms is not None:
            delay_ms = entry.received_ms - time_ms
            self.recorded_first_ms = time_ms if self.recorded_first_ms is None else self.recorded_first_ms
            self.recorded_last_ms = time_ms
            self.longest_delay_ms = delay_ms if self.longest_delay_ms is None else max(self.longest_delay_ms, delay_ms)

    def fact(self) -> CustodyFact:
        return CustodyFact(records=self.last - self.first + 1, **vars(self))


def note_holes(holes: Sequence[tuple[int, int]], history: Iterable[GapHistory], findings: Findings) -> None:
    """Present holes are open; holes that were seen and filled are shown as resolved."""
    for first, last in holes:
        findings.check("sequence_gap", False, last - first + 1)
        verb = "is" if first == last else "are"
        message = (
            f"{records(first, last).capitalize()} of the batch {verb} missing ({last - first + 1}); wanted again from"
            " the site."
        )
        findings.note("sequence_gap", message, first, last)
    for gap in sorted(set(history), key=lambda gap: (gap.first, gap.last, gap.found_ms, gap.filled_ms)):
        if any(first <= gap.last and gap.first <= last for first, last in holes):
            continue  # still open, said above
        verb = "was" if gap.first == gap.last else "were"
        message = (
            f"{records(gap.first, gap.last).capitalize()} {verb} missing from {utc(gap.found_ms)} and refilled by"
            f" {utc(gap.filled_ms)}."
        )
        findings.note("sequence_gap", message, gap.first, gap.last, state=RESOLVED)


def note_stream_faults(faults: StreamFaults, first_seq: int, findings: Findings) -> None:
    """A fork or a break in front of the batch: from there on nobody knows who signs with the key (DECISIONS 38).

    Within the batch its own records tell of both, but for the link of its first one.
    """
    forked, broken = faults.forked_at, faults.broken_at
    if forked is not None and forked < first_seq:
        findings.check("equivocation", False)
        message = (
            f"Record {forked}, before this batch, exists in different copies that the unit's key signed: since then the"
            " key may be in other hands. Enrol the unit with a new epoch before its next batch."
        )
        findings.note("equivocation", message, forked)
    if broken is not None and not findings.check("chain_broken", broken > first_seq):
        where = "at the first record of this batch" if broken == first_seq else "in front of this batch"
        message = (
            f"The unit's chain of records is broken {where}: record {broken} names another predecessor than is held,"
            " and nothing from there on is receipted. Enrol the unit with a new epoch before its next batch."
        )
        findings.note("chain_broken", message, *range(max(0, broken - 1), broken + 1))


def note_refused(
    copies: Iterable[RefusedCopy],
    plan: BatchPlan,
    held: Callable[[int], bool],
    whole: bool,
    findings: Findings,
) -> None:
    """Copies that were refused: open while nothing genuine stands at their place, resolved after (DECISIONS 3).

    held: whether the ledger holds a position of the batch's stream. whole: no position of the batch is missing, so that
    a copy that claims no readable place cannot stand for anything.
    """
    for refused in sorted(set(copies), key=lambda copy: (copy.digest, copy.reason, copy.received_ms)):
        own_place = refused.seq if refused.kid == plan.kid else None
        foreign = refused.kid is not None and refused.kid != plan.kid
        resolved = foreign or whole or (own_place is not None and held(own_place))
        code = _refusal_code(refused.reason)
        findings.check(code, resolved)
        state = RESOLVED if resolved else OPEN
        evidence: tuple[str, ...] = (f"quarantine/{refused.digest.hex()[:16]}",)
        if own_place is not None and held(own_place):
            evidence = (findings.reference(own_place), *evidence)
        there = own_place is not None and held(own_place)
        findings.note(code, _refusal(code, refused, own_place, resolved, there), state=state, evidence=evidence)


def _refusal_code(reason: str) -> str:
    if reason in KEY_REASONS:
        return "key_not_valid"
    return "unknown_record_type" if reason == "unknown_type" else "signature_invalid"


def _refusal(code: str, refused: RefusedCopy, own_place: int | None, resolved: bool, there: bool) -> str:
    """there: whether its place holds a genuine record."""
    place = "with no readable position" if refused.seq is None else f"that claims position {refused.seq}"
    what = {
        "key_not_valid": "signed with a key that belongs to no enrolled unit, or was not valid,",
        "unknown_record_type": "of a type that this version cannot read",
        "signature_invalid": f"that is altered or unreadable ({refused.reason})",
    }[code]
    if own_place is None:
        fate = "it has no place in the batch record" if resolved else "records of the batch are still missing"
    elif there:
        fate = "the genuine record is in the ledger"
    elif resolved:
        fate = "no record of the batch is missing"
    else:
        fate = "nothing genuine is held there yet; it is wanted again"
    return f"A copy {what} {place} was refused at {utc(refused.received_ms)}: {fate}."


def _extend(runs: list[tuple[int, int, int]], seq: int, most: int) -> None:
    """Lengthen the last run (first, last, most) by seq, or begin a new one; of `most` a run keeps the largest."""
    if runs and runs[-1][1] == seq - 1:
        runs[-1] = (runs[-1][0], seq, max(runs[-1][2], most))
    else:
        runs.append((seq, seq, most))


def _type_name(kind: int) -> str:
    return RecordType(kind).name.lower() if kind in set(RecordType) else f"type {kind}"
