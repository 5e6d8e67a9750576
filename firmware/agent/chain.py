"""Hash chain of one stream: makes a missing, altered or reordered record visible.

Pure: no clock, flash or radio. The same file runs on MicroPython and CPython.
Spec: wire/SPEC.md section 3 (W14, W16).
"""

import hashlib

DIGEST_BYTES = 32  # SHA-256
FIRST_PREV = bytes(DIGEST_BYTES)  # W14: prev of seq 0


class Chain:
    """Where the stream stands: the next seq and the digest it must name as prev."""

    def __init__(self, next_seq: int = 0, prev: bytes = FIRST_PREV) -> None:
        assert next_seq >= 0
        assert len(prev) == DIGEST_BYTES
        self.next_seq = next_seq
        self.prev = prev

    def advance(self, record: bytes) -> None:
        """Step past record: the COSE_Sign1 bytes exactly as journaled.

        Call it after the flash write succeeded, never before: after a power cut the journal is the truth, not this
        object.
        """
        self.prev = hashlib.sha256(record).digest()
        self.next_seq += 1
