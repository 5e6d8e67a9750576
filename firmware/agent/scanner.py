"""Scanner input: turns bytes from the scanner's serial line into complete reads.

Decides where a code ends, what is cut off, run together or garbage, and which reads are one and the same beep. Never
interprets a code, never repairs or splits one by guess, and never lets a byte do anything but be part of a code:
control characters, Ctrl-C and 4 kB floods are just bytes. Pure. Times are real milliseconds of the hand that holds
the scanner. Requirements: R33, R34, R35, R47; how a scanner is set up: firmware/README.md.
"""

from agent.gs1 import GS1_AIMS

RAW_BYTES_MAX = 400  # SPEC section 5, type 7
PREFIX_BYTES_MAX = 8
SUFFIX = b"\r\n"  # any of these bytes ends a code
SUFFIX_BYTES_MAX = 4
DEBOUNCE_MS = 800  # a scanner held on a label repeats it about three times a second
IDLE_MS = 400  # a code arrives within some tens of ms; silence inside of it means that the rest is lost
DISTURBED_MS = 20  # a code that begins so soon after bytes were lost may have lost its own first ones
READS_AT_ONCE_MAX = 32  # nobody scans that many between two turns of the unit: what follows is one flood

GS = b"\x1d"  # how FNC1 arrives between the fields of a GS1 label (R35)
WHOLE = ""
TRUNCATED = "truncated"  # its beginning or its end is missing, perhaps
UNREADABLE = "unreadable"  # a flood, of which the beginning is kept as evidence, or a scanner with wrong settings
AMBIGUOUS = "ambiguous"  # two codes in one read

AGAIN = ["Not read whole:", "scan it again"]
FLOOD = ["Code is too long:", "scan another code"]
TOGETHER = ["Two codes in one:", "scan one at a time"]
CASE = ["Caps lock is on:", "fix scanner settings"]
LAYOUT = ["Keyboard layout:", "fix scanner settings"]

AIM_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVXZcdehjz"  # symbologies of ISO/IEC 15424
CASE_SWAPPED = b"acDqjl"  # AIM letters as caps lock garbles them; `E` and `e` are both symbologies
SHIFTED_BRACKET = 0x7D  # `}`: the key of `]` with the state of shift lost


class Read:
    """One code as read: aim is the AIM prefix ("" when none came), flaw is WHOLE or a SPEC word, words explain it."""

    def __init__(self, aim: str, raw: bytes, flaw: str, repeats: int, words: "list[str] | None" = None) -> None:
        self.aim = aim
        self.raw = raw
        self.flaw = flaw
        self.repeats = repeats  # equal reads collapsed since the previous read: they repeated that one
        self.words = AGAIN if words is None else words  # two lines for the panel; they mean nothing when WHOLE


class Scanner:
    """Collects bytes until a suffix, a silence or the limit; collapses equal reads that follow each other closely.

    suffix: the bytes of which any ends a code. prefix: what the scanner sends before each code, AIM prefix included
    in what follows; a code without it has lost its beginning. gs: the byte that the scanner sends instead of GS, b""
    when it sends GS itself. setup_fault must have found nothing wrong with the three.
    """

    def __init__(
        self,
        suffix: bytes = SUFFIX,
        debounce_ms: int = DEBOUNCE_MS,
        idle_ms: int = IDLE_MS,
        prefix: bytes = b"",
        gs: bytes = b"",
    ) -> None:
        assert not setup_fault(prefix, suffix, gs)
        self._suffix = suffix
        self._prefix = prefix
        self._gs = gs
        self._debounce_ms = debounce_ms
        self._idle_ms = idle_ms
        self._room = len(prefix) + 3 + RAW_BYTES_MAX + 1  # prefix and AIM prefix are not part of raw
        self._code = bytearray()
        self._damaged = False
        self._suspect = False
        self._adrift = False  # the last read ended without a suffix: what follows may be its tail
        self._disturbed_until_ms = 0
        self._fed_ms = 0
        self._last_byte_ms = 0
        self._last_code = b""
        self._last_flaw = WHOLE
        self._last_code_ms = 0
        self._repeats = 0

    def disturbed(self, now_ms: int) -> None:
        """Bytes may have been lost since the last call of feed. Say so before feeding what came meanwhile.

        The read in progress is spoilt, and so is any that may have begun within DISTURBED_MS.
        """
        self._damaged = bool(self._code)
        self._disturbed_until_ms = now_ms + DISTURBED_MS

    def feed(self, chunk: bytes, now_ms: int) -> "list[Read]":
        """Reads that chunk completed, oldest first. An empty chunk says that the line is silent.

        now_ms: when chunk was taken off the line; its bytes came since the call before. Bytes that waited while the
        unit was busy are no silence: only a line found empty can be silent.
        """
        self._suspect = self._fed_ms < self._disturbed_until_ms
        self._fed_ms = now_ms
        if not chunk:
            return self._silence(now_ms)
        self._last_byte_ms = now_ms
        reads: "list[Read]" = []
        at = 0
        while at < len(chunk):
            flood = len(reads) >= READS_AT_ONCE_MAX
            end = len(chunk) if flood else self._suffix_at(chunk, at)
            self._collect(chunk[at:end])
            if flood or end < len(chunk):
                ended = not flood or chunk[-1] in self._suffix
                reads += self._end(UNREADABLE if flood else WHOLE, now_ms, ended)
            at = end + 1
        return reads

    @property
    def busy(self) -> bool:
        """A code has begun and not ended."""
        return bool(self._code)

    def _suffix_at(self, chunk: bytes, at: int) -> int:
        """Where the next code ends; a search per suffix byte costs less than a step per byte."""
        end = len(chunk)
        for byte in self._suffix:
            found = chunk.find(bytes((byte,)), at, end)
            if found >= 0:
                end = found
        return end

    def _collect(self, piece: bytes) -> None:
        if piece and not self._code:
            self._damaged = self._suspect
        self._code += piece[: self._room - len(self._code)]

    def _silence(self, now_ms: int) -> "list[Read]":
        if self._code and now_ms - self._last_byte_ms >= self._idle_ms:
            return self._end(TRUNCATED, now_ms, ended=False)
        return []

    def _end(self, flaw: str, now_ms: int, ended: bool) -> "list[Read]":
        """ended: by a suffix. A tail shows by the prefix that it lacks, the scanner's (_judge) or AIM's."""
        code = bytes(self._code)
        self._code = bytearray()
        is_tail = self._adrift and not self._prefix and not split_aim(code)[0]
        self._adrift = not ended
        if not code:
            return []  # a second suffix byte
        read = self._judge(code, TRUNCATED if self._damaged or is_tail else flaw)
        again = code == self._last_code and read.flaw == self._last_flaw
        again = again and now_ms - self._last_code_ms < self._debounce_ms
        self._last_code, self._last_flaw, self._last_code_ms = code, read.flaw, now_ms
        if again:
            self._repeats += 1
            return []
        read.repeats, self._repeats = self._repeats, 0
        return [read]

    def _judge(self, code: bytes, flaw: str) -> Read:
        if self._prefix:
            if code[: len(self._prefix)] != self._prefix:
                return Read("", code[:RAW_BYTES_MAX], flaw or TRUNCATED, 0)
            code = code[len(self._prefix) :]
        aim, raw = split_aim(code)
        if len(raw) > RAW_BYTES_MAX or flaw == UNREADABLE:
            return Read(aim, raw[:RAW_BYTES_MAX], UNREADABLE, 0, FLOOD)
        if not raw:
            flaw = flaw or TRUNCATED  # a prefix of which the code is missing
        if not flaw:
            words = _garbled(code)
            if words:
                return Read(aim, raw, UNREADABLE, 0, words)
            if _has_aim(raw) or (self._prefix and raw.find(self._prefix) >= 0):
                return Read(aim, raw, AMBIGUOUS, 0, TOGETHER)
        if self._gs and (aim in GS1_AIMS or not aim and raw[:1].isdigit()):  # other codes may mean that byte itself
            raw = raw.replace(self._gs, GS)
        return Read(aim, raw, flaw, 0)


def setup_fault(prefix: bytes, suffix: bytes, gs: bytes) -> str:
    """What is wrong with a scanner's setup, as one sentence; "" when nothing is."""
    if not 1 <= len(suffix) <= SUFFIX_BYTES_MAX:
        return "The scanner's suffix must be 1 to %d bytes, any of which ends a code." % SUFFIX_BYTES_MAX
    if len(prefix) > PREFIX_BYTES_MAX:
        return "The scanner's prefix must be at most %d bytes." % PREFIX_BYTES_MAX
    if len(gs) > 1:
        return "The substitute for GS must be one byte, or none."
    for byte in prefix + gs:
        if byte in suffix:
            return "A suffix byte of the scanner must not occur in its prefix or stand for GS."
    for byte in suffix + gs:
        if is_label_byte(byte):
            return "A byte that labels may carry cannot end a code or stand for GS."
    return ""


def is_label_byte(byte: int) -> bool:
    """Whether labels carry this character: letters, digits, and the signs of GS1, HIBC and ISBT 128."""
    return 0x20 <= byte <= 0x7A and byte not in b"#@[\\^`" or byte == 0x1D


def split_aim(code: bytes) -> "tuple[str, bytes]":
    """Split off an AIM prefix: `]`, a letter, a letter or digit (ISO/IEC 15424)."""
    if len(code) >= 3 and code[0] == 0x5D and _is_letter(code[1]) and (_is_letter(code[2]) or 0x30 <= code[2] <= 0x39):
        return code[:3].decode(), code[3:]
    return "", code


def _has_aim(raw: bytes) -> bool:
    """Whether an AIM prefix stands inside of a code."""
    at = raw.find(b"]")
    while at >= 0:
        if len(raw) >= at + 3 and raw[at + 1] in AIM_LETTERS and 0x30 <= raw[at + 2] <= 0x39:
            return True
        at = raw.find(b"]", at + 1)
    return False


def _garbled(code: bytes) -> "list[str]":
    """What is wrong with the keyboard that a scanner plays; nothing that a scanner on a serial line shows (R47)."""
    if len(code) < 3:
        return []
    if code[0] == 0x5D and code[1] in CASE_SWAPPED and 0x30 <= code[2] <= 0x39:
        return CASE
    if code[0] == SHIFTED_BRACKET and code[1:2].upper() in (b"C", b"D", b"E", b"Q", b"J"):
        return LAYOUT
    return []


def _is_letter(byte: int) -> bool:
    return 0x41 <= byte <= 0x5A or 0x61 <= byte <= 0x7A
