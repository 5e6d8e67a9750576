"""What the cloud wants again, and who can still give it. Does no I/O (SPEC W56, W65).

The spool answers first. What it lacks, and what was asked for before (the copy in the spool was not good enough),
goes to the unit as well: at once when it is connected, else when it says hello.
"""

from collections import deque

from wire import Want

ASKED_MAX = 64  # ranges remembered per stream; the cloud repeats what is forgotten
FOR_UNIT_MAX = 64
STREAMS_MAX = 256


class Wants:
    """Ranges asked for since each stream's last receipt, and ranges waiting for their unit."""

    def __init__(self) -> None:
        self._asked: dict[bytes, deque[tuple[int, int]]] = {}
        self._for_unit: dict[bytes, deque[Want]] = {}

    def asked(self, want: Want, missing: list[tuple[int, int]]) -> None:
        """Take a want of the cloud; missing are the ranges of it that the spool does not hold."""
        if want.kid not in self._asked and len(self._asked) >= STREAMS_MAX:
            return
        ranges = self._asked.setdefault(want.kid, deque(maxlen=ASKED_MAX))
        again = [(max(want.first, first), min(want.thru, thru)) for first, thru in ranges]
        wanted = _joined([*missing, *((first, thru) for first, thru in again if first <= thru)])
        if (want.first, want.thru) not in ranges:
            ranges.append((want.first, want.thru))
        waiting = self._for_unit.setdefault(want.kid, deque(maxlen=FOR_UNIT_MAX))
        held = [(waits.first, waits.thru) for waits in waiting]
        waiting.clear()
        waiting.extend(Want(want.kid, first, thru) for first, thru in _joined(held + wanted))

    def is_asked(self, kid: bytes, seq: int) -> bool:
        return any(first <= seq <= thru for first, thru in self._asked.get(kid, ()))

    def receipted(self, kid: bytes, seq: int) -> None:
        """Nothing up to seq is wanted any more."""
        if kid in self._asked:
            left = [(first, thru) for first, thru in self._asked[kid] if thru > seq]
            self._asked[kid] = deque(left, maxlen=ASKED_MAX)
            waits = [want for want in self._for_unit.get(kid, ()) if want.thru > seq]
            self._for_unit[kid] = deque(waits, maxlen=FOR_UNIT_MAX)

    def take_for_unit(self, kid: bytes) -> list[Want]:
        """What to ask the unit of this stream for, now that it listens. The cloud repeats what gets lost."""
        waiting = self._for_unit.pop(kid, None)
        return list(waiting or ())

    def waiting_for(self, kid: bytes) -> int:
        return len(self._for_unit.get(kid, ()))


def _joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same seqs as ranges that neither touch nor overlap."""
    joined: list[tuple[int, int]] = []
    for first, thru in sorted(ranges):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], thru))
        else:
            joined.append((first, thru))
    return joined
