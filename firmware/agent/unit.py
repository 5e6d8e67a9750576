"""The unit: ties the cores together round one journal, through the hal of its board.

Decides the order of things: a record is journaled before anything else learns of it (W16), and what cannot be saved is
refused aloud. Formats belong to the cores it calls, and what may be overwritten to custody.py.
The hal is what agent/hal/unix.py defines; it is the only way out of here.
"""

import hashlib

from agent import alarms, cbor, cose, events, frames, orders, panel
from agent.clock import Clock
from agent.custody import Custody, replayed
from agent.dialogue import OVERRIDE_MS, Dialogue
from agent.face import PANEL_REAL_MS, Face
from agent.journal import RESERVED_PAGES, Journal, JournalFull
from agent.link import Link
from agent.procedure import Procedure
from agent.sampling import Sampling
from agent.scanner import DEBOUNCE_MS, SUFFIX, Scanner, setup_fault
from agent.sensors import Sensors
from agent.slots import Slots
from agent.verdict import LAPSED, NO_CLOCK, NO_ORDER, ORDER_LOST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from agent.hal.unix import Hal
    from agent.scanner import Read

NOT_SAVED = ["Not all is saved:", "scan it again later"]
FIRMWARE = "cartrace-unit 0.1.0"
HEARTBEAT_MS = 300_000  # DESIGN section 3
RESEND_MS = 2_000
STATUS_MS = 60_000
CLOCK_RECORDS_MS = 60_000  # between two clock records: a gateway whose time jumps must not fill the journal
LINK_DELAY_MS = 250
TURN_REAL_MS = 100  # the panel's clock, and how long readings may wait in the sensor front end
REPLAY_PER_FEED = 32  # records that a boot replays between two words to the watchdog
SEED_BYTES = 32
CONFIG_KEYS = (1, 2, 3, 4, 5, 6)  # unit, epoch, cloud public key, channels, entropy, site offset in minutes
CONFIG_SEED = 7  # added by the unit itself
CONFIG_SCANNER = 8  # {1 prefix, 2 suffix, 3 the byte that stands for GS}, all optional
CONFIG_WHEN_FULL = 10  # 1: give up the oldest block instead of refusing scans


class OutOfService(Exception):  # noqa: N818  a state, and no mistake of the program
    """The unit cannot record anything; lines are what the panel says until somebody changes that."""

    def __init__(self, lines: "list[str]") -> None:
        super().__init__(lines[0])
        self.lines = lines


class Unit:
    """One unit from power-on to power-off. boot() once, then turn() for ever."""

    def __init__(self, hal: "Hal") -> None:
        self._hal = hal
        self._slots = Slots(hal.slots_flash)
        self._journal = Journal(hal.journal_flash, hal.feed_watchdog)
        config = self._enrolment()
        self._unit_id, self._epoch = config[1], config[2]
        self._cloud_key = cose.PublicKey(hal.ed25519, config[3])
        self._signer = cose.SeedSigner(hal.ed25519, config[CONFIG_SEED])
        gives_up = config.get(CONFIG_WHEN_FULL) == 1
        self._custody = Custody(self._journal, self._slots, self._signer.kid, self._cloud_key, gives_up)
        self._sensors = Sensors(config[4])
        self._procedure = Procedure(config[6])
        self._dialogue = Dialogue(self._procedure, self._setting("override_ms", OVERRIDE_MS))
        self._clock = Clock(self._setting("link_delay_ms", LINK_DELAY_MS))
        self._scanner = self._scanner_of(config.get(CONFIG_SCANNER, {}))
        self._face = Face(hal, self._clock, self._procedure, self._dialogue, self._journal, self._custody)
        self._assembler = orders.Assembler()
        self._sampling = Sampling(hal, self._sensors, self._procedure, self._custody, self._try_append)
        self._boot = 0
        self._boot_journaled = False
        self._boot_told = False  # boot and channels
        self._uptime_at_head_ms = 0
        self._status_due_ms = 0
        self._clock_due_ms = self._read_ms = 0
        self._scans = 0
        self._refused_orders = 0

    # --- boot -------------------------------------------------------------------------------------------------------

    def boot(self) -> None:
        """Recover the journal, rebuild the state from it and journal genesis (once) and the boot."""
        self._rebuild()
        self._load_order()
        self._link = Link(
            self,
            (self._signer.kid, self._unit_id, self._epoch, self._boot, FIRMWARE),
            self._setting("resend_ms", RESEND_MS),
        )
        self._begin_boot()
        self._show()

    def _enrolment(self) -> "dict[int, Any]":
        """The configuration, with the key seed that the unit made itself at its first boot."""
        raw = self._slots.load("config")
        if raw is None:
            letter = self._hal.settings.get("enrol", "")
            if not letter:
                raise OutOfService(panel.not_enrolled())
            raw = bytes.fromhex(letter)
        try:
            config: "dict[int, Any]" = cbor.decode(raw)
            whole = all([key in config for key in CONFIG_KEYS]) and self._hal.ed25519.key_is_sound(config[3])
        except (cbor.CborError, TypeError):
            raise OutOfService(panel.broken("Configuration is", "damaged."))  # noqa: B904  MicroPython keeps no cause
        if not whole:
            raise OutOfService(panel.broken("Cloud key is missing", "or wrong."))
        if CONFIG_SEED not in config:
            self._journal.recover()
            if self._journal.next_seq:  # records of a key that is gone: another one cannot go on with them
                raise OutOfService(panel.broken("Identity is lost:", "enrol a new epoch."))
            if self._journal.is_ruined:
                raise OutOfService(panel.broken("Flash is not empty:", "erase all of it."))
            config[CONFIG_SEED] = hashlib.sha256(self._hal.entropy(SEED_BYTES) + config[5]).digest()
            self._slots.store("config", cbor.encode(config))
        self._slots.mend("config")
        return config

    def _scanner_of(self, options: "dict[int, bytes]") -> Scanner:
        """The scanner as the letter sets it up."""
        try:
            prefix, suffix, gs = options.get(1, b""), options.get(2, SUFFIX), options.get(3, b"")
            fault = setup_fault(prefix, suffix, gs)
        except (AttributeError, TypeError):
            fault = "not a map of bytes"
        if fault:
            raise OutOfService(panel.broken("Scanner settings are", "wrong."))
        return Scanner(suffix, self._setting("debounce_ms", DEBOUNCE_MS), prefix=prefix, gs=gs)

    def _begin_boot(self) -> None:
        """Journal what must precede everything else of this boot; when there is no room, try again at each turn."""
        custody = self._custody
        if self._boot_told or custody.set_back or not (self._boot_journaled or custody.may_boot):
            return
        if self._journal.next_seq == 0:
            signer, hal = self._signer, self._hal
            body = events.genesis(self._unit_id, self._epoch, signer.public_key, hal.model, FIRMWARE, signer.kind)
            self._append(events.GENESIS, body)
        if not self._boot_journaled:
            self._append(events.BOOT, events.boot(self._hal.cause, FIRMWARE, self._journal.torn))
            self._boot_journaled = True
        self._say_losses()  # one that gives up its oldest block needs the room before anything else
        if custody.must_free():
            self._checkpoint()
        if self._journal.room(cose.RECORD_BYTES_MAX):
            self._define_channels()
            self._boot_told = True

    def _rebuild(self) -> None:
        """The state of batch, step and badge: from the checkpoint, and from every record after it."""
        state, boot, seq = self._custody.recover()
        if self._journal.is_ruined:
            raise OutOfService(panel.broken("Journal is ruined:", "enrol a new epoch."))
        if state is not None:
            self._procedure.resume(state)
        last = events.BOOT
        first = seq
        while seq < self._journal.next_seq:
            event = self._event(seq)
            if event is not None:
                self._fold(seq, event[7], event.get(8, ""), event.get(9, ""), event[10])
                boot, last = event[3], event[7]
            seq += 1
            if (seq - first) % REPLAY_PER_FEED == 0:
                self._hal.feed_watchdog()
        self._face.resumed = seq > 0
        self._boot = 1 if last == events.GENESIS else boot + 1
        custody = self._custody
        if custody.must_free() or custody.is_checkpoint_due(quiet=False):  # or a row of cut boots made each slower
            self._checkpoint()

    def _fold(self, seq: int, kind: int, batch: str, operator: str, body: "dict[int, Any]") -> None:
        """Let the state follow one journaled record."""
        self._procedure.fold(seq, kind, batch, operator, body)
        self._custody.fold(kind, body)

    def _checkpoint(self) -> None:
        journaled_boot = self._boot if self._boot_journaled else self._boot - 1
        self._custody.checkpoint(journaled_boot, self._procedure.checkpoint())

    def _event(self, seq: int) -> "dict[int, Any] | None":
        """As much of a record as the state follows from; None when it is lost, or should never have been written."""
        record = self._journal.read(seq)
        try:
            return replayed(record) if record is not None else None
        except cbor.CborError:
            return None

    def _load_order(self) -> None:
        self._slots.mend("order")
        raw = self._slots.load("order")
        if raw is None:
            return
        try:
            order = self._procedure.order = orders.stored_order(raw)
            self._custody.order_number = order.number
        except orders.OrderRefused:
            self._refused_orders += 1
        self._sampling.watch_limits()

    # --- one turn ---------------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Wait for something to do, do all of it, say what is so."""
        hal = self._hal
        hal.wait(self._rest_real_ms())
        hal.feed_watchdog()
        self._begin_boot()
        read_ms, self._read_ms = self._read_ms, hal.uptime_ms()
        heard, scanned = hal.link_read(), hal.scanner_read()
        if hal.scanner_disturbed():  # asked and fed before a message can write to flash: times are of these bytes
            self._scanner.disturbed(hal.real_ms())
        reads = self._scanner.feed(scanned, hal.real_ms())
        for message in self._link.receive(heard, hal.uptime_ms()):
            self._message(message, read_ms)
        for read in reads:
            self._read(read)
        if self._may_record:
            self._record_clock()
            self._sampling.sample()
            self._end_override()
            self._heartbeat()
        self._send()
        self._keep_house(quiet=not (heard or scanned or self._scanner.busy))
        self._face.turn(self._link.relayed_next, self._stopped)

    def _keep_house(self, quiet: bool) -> None:
        """Say what is lost, free room, write the state down, erase ahead, read back: erases mostly in quiet moments."""
        custody = self._custody
        if self._may_record:
            self._say_losses()
        if custody.must_free() or custody.is_checkpoint_due(quiet):
            self._checkpoint()
        elif quiet and not self._journal.erase_ahead():
            custody.check_some()

    def _say_losses(self) -> None:
        loss = self._custody.loss_due()
        if loss is not None:
            self._try_append(events.LOSS, loss)

    def _rest_real_ms(self) -> int:
        hal = self._hal
        uptime_ms = hal.uptime_ms()
        rest_ms = hal.real_of(max(0, self._link.idle_until(uptime_ms) - uptime_ms))
        rest_ms = min(rest_ms, max(TURN_REAL_MS, hal.real_of(max(0, self._sensors.next_ms - uptime_ms))))
        return min(rest_ms, TURN_REAL_MS if self._scanner.busy else PANEL_REAL_MS)

    def _message(self, message: "list[Any]", read_ms: int) -> None:
        """read_ms: when the line was read before; the message may have waited in its buffer since then."""
        kind = message[0]
        if kind == frames.TIME:
            self._clock.told(message[1], message[2] + self._read_ms - read_ms, self._read_ms)
            if self._clock.now(self._hal.uptime_ms()) is not None:
                self._face.over(NO_CLOCK)
            self._record_clock()
        elif kind == frames.RECEIPT:
            was_set_back = self._custody.set_back
            self._custody.take_receipt(message[1])
            if self._custody.must_free() or self._custody.set_back != was_set_back:
                self._checkpoint()
        elif kind == frames.ORDER:
            raw = self._assembler.feed(message[1], message[2], message[3])
            if raw is not None:
                self._take_order(raw)

    def _send(self) -> None:
        uptime_ms = self._hal.uptime_ms()
        for frame in self._link.due(uptime_ms):
            self._hal.link_write(frame)
        while self._link.unreadable:
            self._custody.note_unreadable(self._link.unreadable.pop(0))
        if self._link.welcomed and uptime_ms >= self._status_due_ms:
            self._status_due_ms = uptime_ms + self._setting("status_ms", STATUS_MS)
            journal = self._journal
            self._hal.link_write(self._link.status(journal.used_bytes, journal.size_bytes, uptime_ms, self._counters()))

    def _counters(self) -> "dict[str, int]":
        return {
            "noise": self._link.noise,
            "resends": self._link.resends,
            "scans": self._scans,
            "lost_scans": self._custody.lost_scans,
            "refused_receipts": self._custody.refused_receipts,
            "refused_orders": self._refused_orders,
            "set_back": int(self._custody.set_back),
            "worn": int(self._custody.worn),
            "heap_free": self._hal.heap_free(),
        }

    # --- the stream, as the link sees it ----------------------------------------------------------------------------

    @property
    def oldest(self) -> int:
        """First seq without a receipt (W53)."""
        return self._custody.oldest

    @property
    def next_seq(self) -> int:
        return self._journal.next_seq

    @property
    def head(self) -> bytes:
        return self._journal.head

    def read(self, seq: int) -> "bytes | None":
        return self._journal.read(seq)

    # --- records ----------------------------------------------------------------------------------------------------

    def _append(self, kind: int, body: "dict[int, Any]", operator: "str | None" = None, batch: str = "") -> None:
        """Sign and save one record, then let the state follow it. Raises JournalFull with nothing changed."""
        journal, procedure = self._journal, self._procedure
        spare = 0 if kind in (events.GENESIS, events.BOOT, events.LOSS) else RESERVED_PAGES
        uptime_ms = 0 if kind == events.GENESIS else self._hal.uptime_ms()
        batch = batch or procedure.batch
        operator = procedure.operator if operator is None else operator
        time = self._clock.now(uptime_ms)
        event = events.event(journal.next_seq, journal.head, self._boot, uptime_ms, time, kind, batch, operator, body)
        seq = journal.next_seq
        journal.append(cose.sign1(self._signer, cose.RECORD, cbor.encode(event)), seq, spare)
        self._custody.saved(seq, uptime_ms)
        self._uptime_at_head_ms = uptime_ms
        self._fold(seq, kind, batch, operator, body)

    def _try_append(self, kind: int, body: "dict[int, Any]") -> bool:
        try:
            self._append(kind, body)
        except JournalFull:
            return False
        return True

    def _define_channels(self) -> None:
        if self._sensors.channels:
            self._sampling.flush()
            self._append(events.CHANNELS, events.channels(self._sensors.channels))
            self._sensors.begin(self._journal.next_seq - 1, self._hal.uptime_ms())

    def _record_clock(self) -> None:
        """What happened to the clock, as soon as there is room to say so."""
        clock = self._clock
        uptime_ms = self._hal.uptime_ms()
        if clock.is_due and self._may_record and uptime_ms >= self._clock_due_ms:
            source = self._link.gateway or "gateway"
            if self._try_append(events.CLOCK, events.clock(source, clock.step_ms)):
                clock.recorded()
                self._clock_due_ms = uptime_ms + CLOCK_RECORDS_MS

    def _heartbeat(self) -> None:
        if self._hal.uptime_ms() - self._uptime_at_head_ms >= HEARTBEAT_MS:
            self._try_append(events.HEARTBEAT, events.heartbeat(HEARTBEAT_MS))

    # --- scans ------------------------------------------------------------------------------------------------------

    def _read(self, read: "Read") -> None:
        self._scans += 1
        if self._stopped:
            self._custody.lost_scans += 1
            self._face.not_taken(self._link.relayed_next)
            return
        uptime_ms = self._hal.uptime_ms()
        answer = self._dialogue.read(read, self._clock.now(uptime_ms), uptime_ms)
        words, accepted, before = answer.words, answer.accepted, 0
        try:
            for kind, body, operator in answer.records:
                self._carry_out(kind, body, operator, flush=before != events.OVERRIDE)  # W28: nothing comes between
                before = kind
        except JournalFull:  # an abort with many alarms; what is saved counts, and the rest is asked for again
            words, accepted = NOT_SAVED, False
        self._face.answered(words, accepted, self._link.relayed_next, self._stopped)

    def _end_override(self) -> None:
        """The second badge of an override did not come in time; while there is no room to say so, it is not over."""
        if not self._journal.room(cose.RECORD_BYTES_MAX):
            return
        for kind, body, _operator in self._dialogue.expire(self._hal.uptime_ms()):
            self._try_append(kind, body)
            self._face.answered(LAPSED, False, self._link.relayed_next, self._stopped)

    def _carry_out(self, kind: int, body: "dict[int, Any]", operator: str, flush: bool) -> None:
        if flush and kind in (events.BATCH_OPEN, events.STEP, events.BATCH_CLOSE, events.OVERRIDE):
            self._sampling.sample()
            self._sampling.flush()  # so that a batch holds its own samples, and a step begins with fresh ones
        if kind == events.BATCH_CLOSE:
            for code in list(self._procedure.alarms.raised):
                self._append(events.ALARM, events.alarm(code, alarms.CLEARED, "batch closed"))
            body = self._procedure.closing(body[3])
        order = self._procedure.order
        batch = order.batch if order is not None and kind == events.BATCH_OPEN else ""
        self._append(kind, body, operator, batch)
        if kind == events.BATCH_OPEN:
            self._define_channels()
        if kind in (events.BATCH_OPEN, events.BATCH_CLOSE):
            self._sampling.watch_limits()

    # --- orders ----------------------------------------------------------------------------------------

    def _take_order(self, raw: bytes) -> None:
        """W43: signed by the cloud, for us, newer than the last, and never while a batch is open.

        While a batch is open, only the very order it was opened with is taken, when the unit has lost it.
        """
        procedure = self._procedure
        digest = hashlib.sha256(raw).digest()
        if procedure.order is not None and procedure.order.digest == digest:
            return
        if procedure.batch and digest != procedure.order_digest:
            return
        least = 0
        if not procedure.batch:  # one that was lost may come again
            least = self._custody.order_number + (0 if procedure.order is None else 1)
        procedure.order = None  # two orders at once might not fit the heap; flash has the one in force
        try:
            order = orders.open_order(raw, self._cloud_key, self._signer.kid)
        except orders.OrderRefused:
            self._refused_orders += 1
            self._load_order()
            return
        if order.number < least:
            del order
            self._load_order()
            return
        try:
            self._slots.store("order", raw, both=True)
        except OSError:  # worn: an order that a power cut could take away is none to begin with
            self._refused_orders += 1
            self._load_order()
            return
        procedure.order = order
        self._custody.order_number = order.number
        self._sampling.watch_limits()
        self._face.over(NO_ORDER)
        self._face.over(ORDER_LOST)
        self._show()

    # --- panel ------------------------------------------------------------------------------------------------------

    @property
    def _may_record(self) -> bool:
        """The boot is journaled, and which seq comes next is known for certain (W59)."""
        return self._boot_told and not self._custody.set_back

    def _show(self) -> None:
        self._face.show(self._link.relayed_next, self._stopped)

    @property
    def _stopped(self) -> bool:
        """No scan can be taken."""
        return not self._may_record or self._custody.full

    def _setting(self, name: str, otherwise: int) -> int:
        return int(self._hal.settings.get(name, otherwise))
