"""Sampling: when readings are taken, what of them is saved, and which of them raises an alarm.

Decides nothing about a reading (sensors.py) nor about a limit (alarms.py). What finds no room is counted, and told
later by custody.py. Requirements R55, R56.
"""

from agent import alarms, events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from agent.custody import Custody
    from agent.hal.unix import Hal
    from agent.procedure import Procedure
    from agent.sensors import Sensors

READINGS_AT_ONCE = 8


class Sampling:
    """The readings of one unit, from the board to the journal. try_append saves a record, or says that it could not."""

    def __init__(
        self,
        hal: "Hal",
        sensors: "Sensors",
        procedure: "Procedure",
        custody: "Custody",
        try_append: "Callable[[int, dict[int, Any]], bool]",
    ) -> None:
        self._hal = hal
        self._sensors = sensors
        self._procedure = procedure
        self._custody = custody
        self._try_append = try_append
        self._limits = alarms.Limits([], [], [])
        self._watched = "", b""  # batch and order of them

    def sample(self) -> None:
        """Take what is due by now; readings that nobody can make up for are saved as missing."""
        sensors = self._sensors
        first_ms, lost, count = sensors.due(self._hal.uptime_ms())
        for _ in range(lost):
            self._save(sensors.take([None] * len(sensors.channels)))
        first_ms += lost * sensors.interval_ms
        while count:  # in small portions: a unit that was kept busy must not run out of heap for catching up
            portion = min(count, READINGS_AT_ONCE)
            for readings in self._hal.readings(first_ms, sensors.interval_ms, portion, len(sensors.channels)):
                at_ms = sensors.next_ms
                self._save(sensors.take(readings))
                for code, state, words in self._limits.take(at_ms, self._procedure.step, readings):
                    if not self._try_append(events.ALARM, events.alarm(code, state, words)):
                        self._limits.not_saved(code)
            first_ms, count = first_ms + portion * sensors.interval_ms, count - portion

    def flush(self) -> None:
        """Save what has been read so far, without waiting for a full batch."""
        self._save(self._sensors.flush())

    def watch_limits(self) -> None:
        """Watch the limits of the order while its batch is open, and nothing else."""
        procedure = self._procedure
        order = procedure.order
        watched = order is not None and procedure.batch != "" and procedure.order_fits
        same = procedure.batch, order.digest if watched and order is not None else b""
        if same == self._watched:  # an order that was refused must not make a limit wait anew
            return
        self._watched = same
        limits = order.limits if watched and order is not None else []
        self._limits = alarms.Limits(limits, self._sensors.channels, procedure.alarms.raised)

    def _save(self, body: "dict[int, Any] | None") -> None:
        if body is not None and not self._try_append(events.SAMPLES, body):
            self._custody.lost_samples += body[4]
