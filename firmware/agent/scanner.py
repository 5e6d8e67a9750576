"""Scanner input: turns bytes from the scanner's serial line into complete reads.

Decides where a code ends, what is too long or cut off, and which reads are one and the same beep. Never interprets a
code and never lets a byte do anything but be part of one: control characters, Ctrl-C and 4 kB floods are just bytes.
Pure. Times are real milliseconds of the hand that holds the scanner. Requirements: R33, R34, R35, R47.
"""

RAW_BYTES_MAX = 400  # SPEC section 5, type 7
SUFFIX = b"\r\n"  # any of these bytes ends a code
DEBOUNCE_MS = 800  # a scanner held on a label repeats it about three times a second
IDLE_MS = 400  # a code arrives within some tens of ms; silence inside of it means that the rest is lost

WHOLE = ""
TRUNCATED = "truncated"  # no suffix came: the beginning of a code, perhaps
UNREADABLE = "unreadable"  # more than RAW_BYTES_MAX; the beginning is kept as evidence


class Read:
    """One code as read: aim is the AIM prefix ("" when none came), flaw is WHOLE, TRUNCATED or UNREADABLE."""

    def __init__(self, aim: str, raw: bytes, flaw: str, repeats: int) -> None:
        self.aim = aim
        self.raw = raw
        self.flaw = flaw
        self.repeats = repeats  # equal reads collapsed since the previous read: they repeated that one


class Scanner:
    """Collects bytes until a suffix, a silence or the limit; collapses equal reads that follow each other closely."""

    def __init__(self, suffix: bytes = SUFFIX, debounce_ms: int = DEBOUNCE_MS, idle_ms: int = IDLE_MS) -> None:
        assert suffix
        self._suffix = suffix
        self._debounce_ms = debounce_ms
        self._idle_ms = idle_ms
        self._code = bytearray()
        self._overlong = False
        self._last_byte_ms = 0
        self._last_code = b""
        self._last_code_ms = 0
        self._repeats = 0

    def feed(self, chunk: bytes, now_ms: int) -> "list[Read]":
        """Reads that chunk completed, oldest first. An empty chunk says that the line is silent.

        Bytes that waited while the unit was busy are no silence: only a line found empty can be silent.
        """
        if not chunk:
            return self._silence(now_ms)
        self._last_byte_ms = now_ms
        reads: "list[Read]" = []
        for byte in chunk:
            if byte in self._suffix:
                reads += self._end(WHOLE, now_ms)
            elif len(self._code) < RAW_BYTES_MAX + 3:  # an AIM prefix is not part of raw
                self._code.append(byte)
            else:
                self._overlong = True
        return reads

    def _silence(self, now_ms: int) -> "list[Read]":
        if self._code and now_ms - self._last_byte_ms >= self._idle_ms:
            return self._end(TRUNCATED, now_ms)
        return []

    @property
    def busy(self) -> bool:
        """A code has begun and not ended."""
        return bool(self._code)

    def _end(self, flaw: str, now_ms: int) -> "list[Read]":
        code = bytes(self._code)
        aim, raw = split_aim(code)
        if self._overlong or len(raw) > RAW_BYTES_MAX:
            flaw, raw = UNREADABLE, raw[:RAW_BYTES_MAX]
        self._code = bytearray()
        self._overlong = False
        if not raw:
            return []
        again = code == self._last_code and now_ms - self._last_code_ms < self._debounce_ms
        self._last_code, self._last_code_ms = code, now_ms
        if again:
            self._repeats += 1
            return []
        repeats, self._repeats = self._repeats, 0
        return [Read(aim, raw, flaw, repeats)]


def split_aim(code: bytes) -> "tuple[str, bytes]":
    """Split off an AIM prefix: `]`, a letter, a letter or digit (ISO/IEC 15424)."""
    if len(code) >= 3 and code[0] == 0x5D and _is_letter(code[1]) and (_is_letter(code[2]) or 0x30 <= code[2] <= 0x39):
        return code[:3].decode(), code[3:]
    return "", code


def _is_letter(byte: int) -> bool:
    return 0x41 <= byte <= 0x5A or 0x61 <= byte <= 0x7A
