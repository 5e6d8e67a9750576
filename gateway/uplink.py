"""Uplink session: what to publish, and when. Does no I/O and reads no clock (SPEC section 9).

The broker's acknowledgement means nothing here (W62): only rows that a receipt took out of the spool count as done.
Each stream has a lane of its own, so one that the cloud does not answer (not enrolled, refused) holds up no other;
rows of kids that no unit ever said hello with share one slow lane. What the cloud asked for goes first.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from wire import Want

WINDOW_ROWS = 512  # per lane, about 200 kB under way: enough for a slow link, cheap to lose
ASK_ROWS = 256  # SPEC section 9: records of one message
WANTS_MAX = 256  # ranges waiting to be served; the cloud repeats what is dropped
REFILLS_MAX = 4096  # row numbers waiting
SLOWER = 12  # the longest wait of a lane that the cloud never answered, in longest waits of the others


@dataclass(frozen=True, slots=True)
class Rows:
    """Publish these rows, as far as they still exist."""

    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """Publish the rows of kid with seq first..thru, at most limit."""

    kid: bytes
    first: int
    thru: int
    limit: int


@dataclass(frozen=True, slots=True)
class After:
    """Publish rows of kid (None: of strangers) that follow row, at most limit."""

    kid: bytes | None
    row: int
    limit: int


Ask = Rows | Range | After


@dataclass
class Lane:
    """How far one stream was published. silent counts resend times in a row in which nothing was receipted."""

    slow: bool
    after_row: int = 0
    at_end: bool = False
    under_way: set[int] = field(default_factory=set)
    resend_at_ms: int | None = None
    silent: int = 0
    published_thru: int = 0  # highest row that was handed to the broker since this process began


class Uplink:
    """Lanes, wants and refills of one gateway. jitter() gives a factor around 1."""

    def __init__(self, resend_ms: int, resend_max_ms: int, jitter: Callable[[], float]) -> None:
        self._resend_ms = resend_ms
        self._resend_max_ms = max(resend_ms, resend_max_ms)
        self._jitter = jitter
        self._lanes: dict[bytes | None, Lane] = {}
        self._turn: deque[bytes | None] = deque()
        self._wants: deque[Range] = deque()
        self._refills: deque[int] = deque(maxlen=REFILLS_MAX)

    def lane(self, kid: bytes | None) -> Lane:
        """The lane of a stream, or of all strangers; made when first asked for."""
        if kid not in self._lanes:
            self._lanes[kid] = Lane(slow=True)
            self._turn.append(kid)
        return self._lanes[kid]

    def added(self, kid: bytes | None) -> None:
        """A new row stands at the end of this lane."""
        self.lane(kid).at_end = False

    def refill(self, row: int) -> None:
        """A row that the cloud asked for has just come from its unit: publish it next, whatever the window says."""
        self._refills.append(row)

    def want(self, want: Want) -> None:
        """Publish this range from the spool next."""
        if len(self._wants) < WANTS_MAX:
            self._wants.append(Range(want.kid, want.first, want.thru, ASK_ROWS))

    def restart(self) -> None:
        """The connection is new and what was under way may be lost: begin again at the oldest row of every stream."""
        for kid, lane in self._lanes.items():
            if kid is not None:
                lane.after_row, lane.at_end, lane.resend_at_ms, lane.silent = 0, False, None, 0
                lane.under_way.clear()

    def cloud_woke(self, now_ms: int) -> None:
        """The cloud speaks again after a long silence: do not sit out the long waits of that time."""
        for kid, lane in self._lanes.items():
            if kid is not None and lane.silent and lane.resend_at_ms is not None:
                lane.resend_at_ms = min(lane.resend_at_ms, now_ms + round(self._resend_ms * self._jitter()))

    def answered(self, kid: bytes, gone: Iterable[int], rows_left: int, now_ms: int) -> None:
        """A receipt for this stream took these rows out of the spool; rows_left remain."""
        lane = self.lane(kid)
        before = len(lane.under_way)
        lane.slow = False
        gone_rows = set(gone)
        lane.under_way -= gone_rows
        if gone_rows or rows_left == 0 or before != len(lane.under_way):
            lane.silent = 0
            lane.resend_at_ms = self._resend_at(lane, now_ms) if rows_left else None

    def next(self, now_ms: int) -> Ask | None:
        """What to publish now, if anything. Answer with published() or, when the spool has no such row, nothing()."""
        if self._refills:
            rows = tuple(self._refills.popleft() for _ in range(min(len(self._refills), ASK_ROWS)))
            return Rows(rows)
        if self._wants:
            return self._wants[0]
        for _ in range(len(self._turn)):
            kid = self._turn[0]
            self._turn.rotate(-1)
            lane = self._lanes[kid]
            self._give_up(lane, now_ms)
            room = WINDOW_ROWS - len(lane.under_way)
            if room > 0 and not lane.at_end:
                return After(kid, lane.after_row, min(room, ASK_ROWS))
        return None

    def published(self, ask: Ask, rows: Sequence[int], last_seq: int, now_ms: int) -> None:
        """These rows, the first of what was asked for, were handed to the broker; last_seq is the seq of the last."""
        if isinstance(ask, Rows):
            for row in reversed([row for row in ask.rows if row > rows[-1]]):
                self._refills.appendleft(row)  # did not fit into the message
        elif isinstance(ask, Range):
            self._wants.popleft()
            if last_seq < ask.thru:
                self._wants.appendleft(Range(ask.kid, last_seq + 1, ask.thru, ask.limit))
        else:
            lane = self._lanes[ask.kid]
            lane.after_row = rows[-1]
            lane.under_way.update(rows)
            lane.published_thru = max(lane.published_thru, rows[-1])
            if lane.resend_at_ms is None:
                lane.resend_at_ms = self._resend_at(lane, now_ms)

    def nothing(self, ask: Ask, last_row: int) -> None:
        """The spool holds nothing of what was asked for; last_row is the newest row of the spool."""
        if isinstance(ask, Range):
            self._wants.popleft()
        elif isinstance(ask, After):
            lane = self._lanes[ask.kid]
            lane.at_end = True
            lane.after_row = max(lane.after_row, last_row)

    def _give_up(self, lane: Lane, now_ms: int) -> None:
        """No receipt came in time. Once, suppose that the window was lost; after that, try what stands behind it:
        rows that the cloud refuses must not hide the rest. At the end of the stream the round begins again.
        """
        if lane.resend_at_ms is None or now_ms < lane.resend_at_ms:
            return
        lane.under_way.clear()
        lane.silent += 1
        if lane.silent == 1 or lane.at_end:
            lane.after_row = 0
        lane.at_end = False
        lane.resend_at_ms = self._resend_at(lane, now_ms)

    def _resend_at(self, lane: Lane, now_ms: int) -> int:
        longest_ms = self._resend_max_ms * (SLOWER if lane.slow else 1)
        wait_ms = min(self._resend_ms << min(lane.silent, 16), longest_ms)
        return now_ms + round(wait_ms * self._jitter())
