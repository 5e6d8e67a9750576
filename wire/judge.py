"""Judges records as they arrive, against each other and against what the ledger holds (SPEC W14, W17, W18, W27).

Pure: no ledger and no key store, only questions to both. The findings do not depend on the order of
the list. One signature is verified per contiguous run: a record names the digest of its predecessor,
so a valid signature speaks for everything its record is chained to.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from wire.errors import WireError
from wire.record import Record, decode_record, verify_record

KeyFor = Callable[[bytes], bytes | None]
DigestsOf = Callable[[bytes, int], frozenset[bytes]]


class Finding(StrEnum):
    CONTIGUOUS = "contiguous"  # authentic, and its predecessor is held or in this list
    GAP = "gap"  # authentic, and no predecessor is known
    DUPLICATE = "duplicate"  # held already, or twice in this list
    EQUIVOCATION = "equivocation"  # authentic, and so is another record of the same kid and seq
    ALTERED = "altered"  # the signature is not the unit's over these bytes
    UNKNOWN_KEY = "unknown_key"  # no key is enrolled for the kid, or a key that proves nothing
    MALFORMED = "malformed"  # no record of this version
    UNKNOWN_TYPE = "unknown_type"  # a record of a later version, perhaps
    CHAIN_BROKEN = "chain_broken"  # authentic, and a known neighbour disagrees with its chain


_ACCEPTED = frozenset({Finding.CONTIGUOUS, Finding.GAP, Finding.EQUIVOCATION, Finding.CHAIN_BROKEN})


@dataclass(frozen=True)
class Judged:
    """What was found about raw; record is None when it could not be decoded."""

    raw: bytes
    record: Record | None
    finding: Finding
    detail: str

    @property
    def accepted(self) -> bool:
        """Authentic and new: belongs in the ledger. A duplicate needs nothing, the rest quarantine."""
        return self.finding in _ACCEPTED


def _nothing_held(_kid: bytes, _seq: int) -> frozenset[bytes]:
    return frozenset()


def judge_run(
    raws: Sequence[bytes],
    *,
    key_for: KeyFor,
    digests_of: DigestsOf,
    prevs_of: DigestsOf = _nothing_held,
) -> list[Judged]:
    """One Judged per raw, in the same order; records of any streams in any order.

    key_for(kid): the public key valid for the stream, or None. digests_of(kid, seq): digests that
    the ledger holds there. prevs_of(kid, seq): the prev that those held records name; it finds a
    chain broken towards a successor that came first.
    Each is asked several times per record: answer from memory, not with a query each.
    """
    judgement = _Judgement(key_for, digests_of, prevs_of)
    for raw in raws:
        judgement.add(raw)
    judgement.authenticate()
    return judgement.findings(raws)


class _Judgement:
    """The state of one judge_run."""

    def __init__(self, key_for: KeyFor, digests_of: DigestsOf, prevs_of: DigestsOf) -> None:
        self._key_for = key_for
        self._held = digests_of
        self._held_prevs = prevs_of
        self._refused: dict[bytes, Judged] = {}  # by raw
        self._duplicates: dict[bytes, Record] = {}  # by raw: held by the ledger
        self._candidates: dict[bytes, Record] = {}  # by digest
        self._authentic: dict[tuple[bytes, int], set[bytes]] = {}  # digests by (kid, seq)

    def add(self, raw: bytes) -> None:
        try:
            record = decode_record(raw)
        except WireError as error:
            finding = Finding.UNKNOWN_TYPE if error.code == "unknown_type" else Finding.MALFORMED
            self._refused[raw] = Judged(raw, None, finding, str(error))
            return
        if record.digest in self._held(record.kid, record.seq):
            self._duplicates[raw] = record
        else:
            self._candidates[record.digest] = record

    def authenticate(self) -> None:
        """Verify from the end of each run backwards; a failure costs its record only (W18)."""
        for record in sorted(self._candidates.values(), key=lambda record: record.seq, reverse=True):
            if not self._is_authentic(record) and self._verified(record):
                self._accept_run(record)

    def _is_authentic(self, record: Record) -> bool:
        return record.digest in self._authentic.get((record.kid, record.seq), ())

    def _verified(self, record: Record) -> bool:
        public_key = self._key_for(record.kid)
        if public_key is None:
            self._refuse(record, Finding.UNKNOWN_KEY, f"no key is enrolled for kid {record.kid.hex()}")
            return False
        try:
            verify_record(record, public_key)
        except WireError as error:
            finding = Finding.ALTERED if error.code == "signature_invalid" else Finding.UNKNOWN_KEY
            self._refuse(record, finding, str(error))
            return False
        return True

    def _refuse(self, record: Record, finding: Finding, detail: str) -> None:
        self._refused[record.raw] = Judged(record.raw, record, finding, detail)

    def _accept_run(self, last: Record) -> None:
        """last was verified: accept it and what it is chained to, back to where the list knows no more."""
        record: Record | None = last
        while record is not None and not self._is_authentic(record):
            self._authentic.setdefault((record.kid, record.seq), set()).add(record.digest)
            before = self._candidates.get(record.prev)
            chained = before is not None and before.kid == record.kid and before.seq == record.seq - 1
            record = before if chained else None

    def findings(self, raws: Iterable[bytes]) -> list[Judged]:
        by_raw = {
            record.raw: self._placed(record) for record in self._candidates.values() if self._is_authentic(record)
        }
        seen: set[bytes] = set()
        judged: list[Judged] = []
        for raw in raws:
            if raw in self._refused:
                judged.append(self._refused[raw])
            elif raw in self._duplicates:
                judged.append(Judged(raw, self._duplicates[raw], Finding.DUPLICATE, "the ledger holds it"))
            elif raw in seen:
                judged.append(Judged(raw, by_raw[raw].record, Finding.DUPLICATE, "twice in one message"))
            else:
                judged.append(by_raw[raw])
            seen.add(raw)
        return judged

    def _known(self, kid: bytes, seq: int) -> frozenset[bytes]:
        return self._held(kid, seq) | self._authentic.get((kid, seq), set())

    def _placed(self, record: Record) -> Judged:
        """Where an authentic record stands in its stream."""
        finding, detail = self._place(record)
        return Judged(record.raw, record, finding, detail)

    def _place(self, record: Record) -> tuple[Finding, str]:
        kid, seq = record.kid, record.seq
        if len(self._known(kid, seq)) > 1:
            return Finding.EQUIVOCATION, f"another signed record has seq {seq} of the same stream"
        successors_name = self._held_prevs(kid, seq + 1)
        if successors_name and record.digest not in successors_name:
            return Finding.CHAIN_BROKEN, f"record {seq + 1} names another predecessor"
        if seq == 0:
            return Finding.CONTIGUOUS, "the first record"
        before = self._known(kid, seq - 1)
        if not before:
            return Finding.GAP, f"record {seq - 1} is not known"
        if record.prev not in before:
            return Finding.CHAIN_BROKEN, f"names another record {seq - 1} than the one known"
        return Finding.CONTIGUOUS, f"follows record {seq - 1}"
