"""The technician's side of the procedure: one read in, one answer out, and the override that two people make together.

Decides what a complete read is (a control code, a badge that completes an override, or a material) and writes down what
was refused. An override in the making is known to RAM alone: a power cut ends it, and nothing has been half done.
Spec: wire/SPEC.md section 5 (W28); requirements R17, R21, R31. Pure.
"""

from agent import cbor, commands, events, gs1, scans
from agent.events import ACCEPTED, COMMENT, OVERRIDE, REFUSED, SCAN, STEP
from agent.procedure import DONE, START
from agent.scanner import AMBIGUOUS, TOGETHER
from agent.verdict import ACCEPT_ITEM, START_STEP, Answer, Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.procedure import Procedure
    from agent.scanner import Read
    from agent.scans import Clock
    from agent.verdict import Event

COMMAND = b"CT/"
WORDS = (b"BADGE", b"BATCH", b"STEP", b"QTY", b"NOTE", b"ALARM", b"OVERRIDE")
SCANNER_ENTRY = 1
OVERRIDE_MS = 60_000  # from the refusal to the override code, and from there to the second badge: both are at hand
IDENTITY = "identity_mismatch"
FLAWS = ("truncated", "unreadable")  # nobody can say what they overrule


class Dialogue:
    """Answers every read; remembers the last refusal for as long as it may be overridden."""

    def __init__(self, procedure: "Procedure", override_ms: int = OVERRIDE_MS) -> None:
        self._procedure = procedure
        self._override_ms = override_ms
        self._refused: "Refusal | None" = None  # of the last read
        self._reason = ""  # of the override that waits for its second badge
        self._until_ms = 0

    def read(self, read: "Read", clock: "Clock", uptime_ms: int) -> Answer:
        """What a complete read means, judged at the time of clock and at uptime_ms."""
        ended = self.expire(uptime_ms)
        try:
            answer = self._answer(read, clock, uptime_ms)
        except Refusal as refused:
            answer = self._refuse(read, refused, uptime_ms)
        return Answer(answer.accepted, answer.words, ended + answer.records)

    def expire(self, uptime_ms: int) -> "list[Event]":
        """What is to be written because an override waited in vain; called at every turn."""
        if self._refused is None or uptime_ms < self._until_ms:
            return []
        return self._give_up()

    def prompt(self) -> "list[str]":
        """Two lines: what to scan next. An override in the making comes before everything else: it does not wait."""
        if self._reason:
            return ["Second badge:", "ANOTHER person"]
        return self._procedure.prompt()

    # --- one read ---------------------------------------------------------------------------------------------------

    def _answer(self, read: "Read", clock: "Clock", uptime_ms: int) -> Answer:
        if read.flaw:
            raise Refusal(read.flaw, read.words[0], read.words[1])
        if _has_command_inside(read.raw):
            raise Refusal(AMBIGUOUS, TOGETHER[0], TOGETHER[1])
        if read.raw[:3] == COMMAND and read.aim not in gs1.GS1_AIMS:
            text = _clean_text(read.raw[3:])
            word, rest = commands.cut(text)
            if word == "OVERRIDE":
                return self._begin_override(rest, uptime_ms)
            if word == "BADGE" and self._reason:
                return self._second_badge(commands.bounded(rest, events.NAME_BYTES))
            return self._ending(commands.obey(self._procedure, text))
        self._procedure.require_batch()
        item, remark = scans.judge(self._procedure, read, clock)
        body = events.scan(read.raw, read.aim, item.item, ACCEPTED, None, SCANNER_ENTRY, read.repeats)
        return self._ending(Answer(True, ["OK " + item.name, remark], [(SCAN, body, self._procedure.operator)]))

    def _ending(self, answer: Answer) -> Answer:
        """Something else was done: the last refusal stands."""
        return Answer(answer.accepted, answer.words, self._give_up() + answer.records)

    def _refuse(self, read: "Read", refused: Refusal, uptime_ms: int) -> Answer:
        given_up = self._give_up()
        self._refused, self._until_ms = refused, uptime_ms + self._override_ms
        asked = refused.asked or self._asked()
        body = events.scan(read.raw, read.aim, asked, REFUSED, refused.reason, SCANNER_ENTRY, read.repeats)
        return Answer(False, refused.words, given_up + [(SCAN, body, self._procedure.operator)])  # noqa: RUF005

    def _asked(self) -> str:
        return (self._procedure.missing_items() or [""])[0]

    # --- overrides --------------------------------------------------------------------------------------------------

    def _begin_override(self, reason: str, uptime_ms: int) -> Answer:
        self._procedure.require_batch()
        refused = self._refused
        if refused is None:
            raise Refusal("not_asked", "Nothing to override", "scan that code first")
        if refused.reason == IDENTITY:
            raise Refusal("not_asked", "Identity is final:", "STOP, call supervisor")
        if refused.reason in FLAWS:
            raise Refusal("not_asked", "Code was damaged:", "scan the code again")
        if not refused.action:
            raise Refusal("not_asked", "No override. Need:", refused.words[1])
        reason = commands.bounded(reason, events.REASON_BYTES)
        given_up = self._give_up()  # an override that was begun with another reason
        self._refused, self._reason = refused, reason
        self._until_ms = uptime_ms + self._override_ms
        return Answer(True, ["Override: " + reason, ""], given_up)

    def _second_badge(self, badge: str) -> Answer:
        first, refused = self._procedure.operator, self._refused
        assert refused is not None
        if badge == first:  # no scan record, or the override would no longer be of the last scan (W28)
            note = events.comment("override: %s cannot be the second person too" % badge)
            return Answer(False, ["Same badge: ANOTHER", "person must scan"], [(COMMENT, note, first)])
        body = events.override(self._procedure.last_scan_seq, refused.action, refused.subject, self._reason, badge)
        records: "list[Event]" = [(OVERRIDE, body, first)]
        if refused.action != ACCEPT_ITEM:
            action = START if refused.action == START_STEP else DONE
            records.append((STEP, events.step(refused.subject, action, self._reason), first))
        self._refused, self._reason = None, ""
        return Answer(True, ["Override recorded:", refused.subject], records)

    def _give_up(self) -> "list[Event]":
        """Forget the last refusal; an override that was begun on it leaves a note."""
        reason, self._refused, self._reason = self._reason, None, ""
        if not reason:
            return []
        return [(COMMENT, events.comment("override not completed: " + reason), self._procedure.operator)]


def _has_command_inside(raw: bytes) -> bool:
    """Whether a control code stands behind the beginning of a code: two codes that ran together."""
    at = raw.find(COMMAND, 1)
    while at > 0:
        if raw[at + len(COMMAND) :].partition(b"/")[0] in WORDS:
            return True
        at = raw.find(COMMAND, at + 1)
    return False


def _clean_text(raw: bytes) -> str:
    """raw as text without control characters (W23)."""
    if not cbor.is_utf8(raw):
        raise Refusal("unreadable", "Damaged command:", "scan it again")
    text = raw.decode()
    for char in text:
        if ord(char) < 0x20 or ord(char) == 0x7F:
            raise Refusal("unreadable", "Damaged command:", "scan it again")
    return text
