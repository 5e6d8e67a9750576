"""Custody: what of the journal the cloud has receipted, what may be overwritten, and what was lost and is said so.

Decides when a receipt is believed (W41), when room is freed, when the state is written down so that a boot replays few
records, and what a signed loss record must say. Frees nothing that neither a verified receipt nor a journaled loss
record covers. Never signs: the unit does, and every record comes back through fold(), live and at boot.

The slot `state` and the words of loss records are written down in firmware/README.md.
"""

import hashlib

from agent import cbor, cose, events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from agent.journal import Journal
    from agent.slots import Slots

ROOM_BYTES = 4 * cose.RECORD_BYTES_MAX  # a scan with all that follows: three long records, or eight short ones
GIVE_UP_BYTES = ROOM_BYTES + 4096  # policy: a block is given up before scans would have to be refused
BOOT_BYTES = 2 * 248  # boot record and loss record of a unit that gives up its oldest block, a page each
CHECKPOINT_RECORDS = 48  # records between two checkpoints, when scanner and link are quiet
CHECKPOINT_RECORDS_MAX = 64  # and whatever happens: so many records, and those of one turn, are replayed by a boot
NEARLY_FULL = 8, 10  # of the ring
CHECKED_PER_TURN = 4  # records read back in one quiet turn
RANGES_MAX = 16  # ranges of lost seqs that are remembered; of more, the two oldest become one
COUNTED = (events.CLOCK, events.HEARTBEAT, events.CHANNELS, events.SAMPLES)  # of these the state needs the type alone
UNREADABLE, GIVEN_UP = "records unreadable", "records given up"  # `what` of loss records
SCANS, SAMPLES = "scans", "samples"


class Custody:
    """The unit's side of the custody ladder: saved in the journal, archived by a receipt, or lost and recorded as lost.

    archived_next: first seq without a receipt. given_up_next: first seq that no loss record gave up. lost_scans,
    lost_samples: refused or dropped for want of room, and no record says so yet. set_back: the cloud has a record of
    ours that we do not have (W59). order_number: of the last order taken, should both its copies be lost.
    worn: the state could not be written down, so that nothing more is freed.
    """

    def __init__(
        self, journal: "Journal", slots: "Slots", kid: bytes, cloud_key: cose.PublicKey, gives_up: bool
    ) -> None:
        self._journal = journal
        self._slots = slots
        self._kid = kid
        self._cloud_key = cloud_key
        self._gives_up = gives_up
        self._receipt_seen = b""
        self._checkpoint_next = 0  # first seq that the checkpoint does not contain
        self._kept_next = 0  # the same, of the one that flash holds
        self._failed_at: "tuple[int, int] | None" = None  # next_seq and oldest, when it could not be kept
        self._checked_next = 0
        self._check_thru = 0  # what this boot found in the journal is read back once
        self._boot_next = 0  # the first record of this boot
        self._aged = -1  # the record that the next two tell of
        self._saved_uptime_ms: "int | None" = None  # when it was saved; None: before this boot, or nobody knows
        self._saved_time_ms: "int | None" = None
        self._lost: "list[list[int]]" = []  # [first, next] found unreadable, and no record says so yet
        self._recorded: "list[list[int]]" = []  # the same, once a loss record says so
        self.archived_next = 0
        self.given_up_next = 0
        self.refused_receipts = 0
        self.lost_scans = 0
        self.lost_samples = 0
        self._lost_scans_kept = 0  # as the checkpoint has them
        self.order_number = 0
        self.set_back = False
        self.worn = False

    @property
    def oldest(self) -> int:
        """First seq that is held and has no receipt, next_seq when there is none (W53)."""
        return max(self.archived_next, self.given_up_next)

    @property
    def waiting(self) -> int:
        """Records that wait for a receipt."""
        return self._journal.next_seq - self.oldest

    @property
    def full(self) -> bool:
        """Nothing may be scanned: what follows from a scan might not find room."""
        return not self._journal.room(ROOM_BYTES)

    @property
    def nearly_full(self) -> bool:
        """From 80 % on somebody should look at the gateway."""
        part, whole = NEARLY_FULL
        return self._journal.used_bytes * whole >= self._journal.size_bytes * part or self.full

    # --- boot -------------------------------------------------------------------------------------------------------

    def recover(self) -> "tuple[dict[int, Any] | None, int, int]":
        """Recover the journal and this module; (state of the checkpoint or None, its boot, first seq to replay)."""
        journal = self._journal
        journal.recover()
        self.archived_next = journal.first_seq
        saved = self._load()
        if saved is not None:
            self._checkpoint_next = self._kept_next = saved[2]
            self.archived_next, self.given_up_next, self._recorded = saved[5], saved[6], saved[7]
            self.lost_scans = self._lost_scans_kept = saved.get(9, 0)  # from here on: not in what older firmware wrote
            self.lost_samples, self.set_back = saved.get(10, 0), saved.get(11) == 1
            self.order_number = saved.get(13, 0)
            journal.rejoin(saved[2], saved[3])
            journal.trim(min(self.oldest, saved.get(12, 0)))
        self._checked_next = self.oldest
        self._check_thru = self._boot_next = journal.next_seq
        if saved is None:
            return None, 0, journal.first_seq
        return saved[8], saved[4], saved[2]

    def _load(self) -> "dict[int, Any] | None":
        raw = self._slots.load("state")
        try:
            saved: "dict[int, Any] | None" = cbor.decode(raw) if raw is not None else None
        except cbor.CborError:
            return None
        return saved if saved is not None and saved[1] == self._kid else None

    def fold(self, kind: int, body: "dict[int, Any]") -> None:
        """Follow one journaled record: loss records say what is given up, and what need not be said again."""
        what = body[1] if kind == events.LOSS else ""
        if what == SCANS:
            self.lost_scans = self._lost_scans_kept = 0
        elif what == SAMPLES:
            self.lost_samples = 0
        elif what == GIVEN_UP:
            self.given_up_next = max(self.given_up_next, _range_in(body[3])[1])
        elif what == UNREADABLE:
            first, after = _range_in(body[3])
            self._lost = [lost for lost in self._lost if lost != [first, after]]
            self._recorded.append([first, after])

    # --- checkpoint -------------------------------------------------------------------------------------------------

    def is_checkpoint_due(self, quiet: bool) -> bool:
        """quiet: scanner and link are, so that the erase of a slot disturbs nobody."""
        limit = CHECKPOINT_RECORDS if quiet else CHECKPOINT_RECORDS_MAX
        if quiet and self.lost_scans > self._lost_scans_kept:  # nowhere else is there room to say so
            return True
        if quiet and self._wastes_room:
            return True
        return self._journal.next_seq - self._checkpoint_next >= limit

    def must_free(self) -> bool:
        """The journal has little room, and a checkpoint now would free a block."""
        if self._journal.room(GIVE_UP_BYTES) or self._has_failed:
            return False
        first, after = self._journal.oldest_block()
        return first < after <= self.oldest

    def checkpoint(self, boot: int, state: "dict[int, Any]") -> bool:
        """Write down state and custody, then let the journal overwrite what they no longer need. Whether it was done.

        The slot keeps the checkpoint before as well, and what is needed to go on from that one is kept while there is
        room: then a flipped bit in the newest one costs nothing. It is not done when the state is larger than its
        slot, or the slot is worn. Then a boot replays more, and nothing is freed.
        """
        journal = self._journal
        self._forget_old_ranges()
        saved = {
            1: self._kid, 2: journal.next_seq, 3: journal.head, 4: boot,
            5: self.archived_next, 6: self.given_up_next, 7: self._recorded, 8: state,
            9: self.lost_scans, 10: self.lost_samples, 11: int(self.set_back), 12: self._kept_next,
            13: self.order_number,
        }  # fmt: skip
        other_next = self._kept_next
        self._checkpoint_next = journal.next_seq  # also when it cannot be kept: it is not tried at every turn
        self._lost_scans_kept = self.lost_scans
        self._failed_at = journal.next_seq, self.oldest
        try:
            self._slots.store("state", cbor.encode(saved))
        except ValueError:
            return False
        except OSError:
            self.worn = True
            return False
        self._failed_at, self.worn, self._kept_next = None, False, journal.next_seq
        journal.trim(min(self.oldest, other_next))
        if self.set_back:  # a flipped bit must not make us forget that
            self._slots.mend("state")
        if self.must_free() or self._wastes_room:
            self._slots.mend("state")  # no room to keep what the copy before would need: let both be the newest
            journal.trim(self.oldest)
        return True

    @property
    def _wastes_room(self) -> bool:
        """The panel warns of a full journal, and records that nobody waits for take room in it."""
        unfreed = self.oldest - self._journal.freed_next
        return self.nearly_full and unfreed >= CHECKPOINT_RECORDS and not self._has_failed

    @property
    def _has_failed(self) -> bool:
        """A checkpoint could not be kept, and nothing has changed since."""
        return self._failed_at == (self._journal.next_seq, self.oldest)

    def _forget_old_ranges(self) -> None:
        self._recorded = [known for known in self._recorded if known[1] > self.oldest]
        while len(self._recorded) > RANGES_MAX:
            first = self._recorded.pop(0)
            self._recorded[0] = [min(first[0], self._recorded[0][0]), max(first[1], self._recorded[0][1])]

    # --- receipts ---------------------------------------------------------------------------------------------------

    def take_receipt(self, raw: bytes) -> None:
        """Believe a receipt only for our own stream, signed by the cloud, with the digest of our own record (W41).

        One of another record than ours, or of one that we never wrote, proves that our journal was set back (W59).
        """
        if raw == self._receipt_seen:
            return
        self._receipt_seen = raw
        try:
            kid, seq, digest, _time_ms = cose.open_receipt(raw, self._cloud_key)
        except cose.CoseError:
            self.refused_receipts += 1
            return
        if kid != self._kid or seq < self.archived_next:
            return
        record = self._journal.read(seq)
        if record is not None and hashlib.sha256(record).digest() == digest:
            self.archived_next = seq + 1
            return
        self.refused_receipts += 1
        if record is not None or seq >= self._journal.next_seq:
            self.set_back = True

    # --- age of the oldest waiting record ---------------------------------------------------------------------------

    def saved(self, seq: int, uptime_ms: int) -> None:
        """The record seq was journaled."""
        if seq == self.oldest:
            self._aged, self._saved_uptime_ms = seq, uptime_ms

    def oldest_waits(self, uptime_ms: int, now: "tuple[int, int] | None") -> "tuple[int, bool]":
        """How many ms the oldest waiting record has waited, and whether it is only known to be more.

        now: the clock's (time, uncertainty), None while it is not set. A record of an earlier boot tells its own time.
        """
        if self._aged != self.oldest:
            self._look_at_oldest()
        if self._saved_uptime_ms is not None:
            return uptime_ms - self._saved_uptime_ms, False
        if now is None or self._saved_time_ms is None:
            return uptime_ms, True
        return max(uptime_ms, now[0] - self._saved_time_ms), False

    def _look_at_oldest(self) -> None:
        self._aged = self.oldest
        self._saved_uptime_ms = self._saved_time_ms = None
        record = self._journal.read(self._aged)
        try:
            event = event_of(record) if record is not None else None
        except cbor.CborError:
            event = None
        if event is not None:
            self._saved_uptime_ms = event[4] if self._aged >= self._boot_next else None
            self._saved_time_ms = event.get(5)

    # --- losses -----------------------------------------------------------------------------------------------------

    def check_some(self) -> None:
        """Read back a few of the records that this boot found waiting; what is not readable is a loss to record."""
        thru = min(self._checked_next + CHECKED_PER_TURN, self._check_thru)
        seq = max(self._checked_next, self.oldest)
        while seq < thru:
            if self._journal.read(seq) is None:
                self.note_unreadable(seq)
                thru = seq + 1  # trying to put its block right took long enough
            seq += 1
        self._checked_next = max(self._checked_next, seq)

    @property
    def _is_checked(self) -> bool:
        return self._checked_next >= self._check_thru

    def note_unreadable(self, seq: int) -> None:
        """The journal cannot give back the record seq."""
        if seq < self.oldest:
            return
        for first, after in self._recorded + self._lost:
            if first <= seq < after:
                return
        if self._lost and self._lost[-1][1] == seq:
            self._lost[-1][1] = seq + 1
        else:
            self._lost.append([seq, seq + 1])

    def loss_due(self) -> "dict[int, Any] | None":
        """Body of a loss record that must be journaled now, None when nothing is to be said."""
        if self._gives_up and not self._journal.room(GIVE_UP_BYTES):
            first, after = self._journal.oldest_block()
            first = max(first, self.oldest)
            if first < after:
                return _loss(GIVEN_UP, first, after, "no receipt, no room")
        if self.full:
            return None
        if self._lost and (self._lost[0][1] != self._checked_next or self._is_checked):  # a range that grows no more
            return _loss(UNREADABLE, self._lost[0][0], self._lost[0][1], "flash damaged")
        if self.lost_scans:
            return events.loss(SCANS, self.lost_scans, "refused: the journal was full")
        if self.lost_samples:
            return events.loss(SAMPLES, self.lost_samples, "the journal was full")
        return None

    @property
    def may_boot(self) -> bool:
        """Room for the records of a boot. A unit that gives up its oldest block must boot to be able to say so."""
        if self._gives_up:
            return self._journal.room(BOOT_BYTES, 0)
        return not self.full


def event_of(record: bytes) -> "dict[int, Any]":
    """A record of our own as a map. Raises CborError for one that should not have been written."""
    event: "dict[int, Any]" = cbor.decode(cbor.decode(record[1:])[2])
    return event


def replayed(record: bytes) -> "dict[int, Any]":
    """As much of a record of our own as the state follows from: of those that are only counted, boot and type."""
    boot, kind = glance(record)
    return {3: boot, 7: kind, 10: {}} if kind in COUNTED else event_of(record)


def glance(record: bytes) -> "tuple[int, int]":
    """Boot and type of a record of our own, without reading the rest."""
    _, size, at = cbor.head(record, 2)  # protected header, after the tag and the array's head
    _, _, at = cbor.head(record, at + size + 1)  # payload, after the empty map
    _, pairs, at = cbor.head(record, at)
    boot = 0
    for _ in range(pairs):
        key = record[at]
        major, number, at = cbor.head(record, at + 1)
        if key == 7:
            return boot, number
        if key == 3:
            boot = number
        at += number if major == cbor.BYTES else 0
    raise AssertionError("a record of ours without a type")


def _loss(what: str, first: int, after: int, why: str) -> "dict[int, Any]":
    return events.loss(what, after - first, "seq %d..%d: %s" % (first, after - 1, why))


def _range_in(words: str) -> "tuple[int, int]":
    """(first, after) from the words of _loss()."""
    first, _dots, last = words[4:].split(":")[0].partition("..")
    return int(first), int(last) + 1
