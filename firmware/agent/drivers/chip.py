"""What all sensor chips have in common: a measurement is started now and read later, and a bus may fail at any time.

Decides whether a reading is a value, MISSING (none is possible yet) or FAULT (bus error, wrong chip, damaged answer);
these never look like values. Never sleeps, never lets a bus error out, never judges a value: sensors.py does.
Pure: integers only; the bus has the names of MicroPython's machine.I2C and raises OSError. Times are uptime ms.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Bus(Protocol):
        """The part of machine.I2C that drivers use. Every call may raise OSError."""

        def readfrom_into(self, addr: int, buf: bytearray) -> None: ...

        def writeto(self, addr: int, buf: "bytes | bytearray") -> int: ...

        def readfrom_mem_into(self, addr: int, memaddr: int, buf: bytearray) -> None: ...

        def writeto_mem(self, addr: int, memaddr: int, buf: bytes) -> None: ...

    class Pin(Protocol):
        """The part of machine.Pin that drivers use."""

        def value(self) -> int: ...


MISSING, FAULT = None, "fault"  # as the hal gives them to the unit


class ChipFault(Exception):  # noqa: N818  a state of the chip, and no mistake of the program
    """The chip answers, but not as this chip in order does."""


class Chip:
    """One chip on the bus. It sets itself up before its first measurement, and anew after every fault."""

    quantities: "tuple[str, ...]" = ()  # what it measures
    conversion_ms = 0  # the longest that one measurement takes, rounded up

    def __init__(self, bus: "Bus", address: int) -> None:
        self._bus = bus
        self._address = address
        self._is_set_up = False
        self._faulty = False
        self._started_ms: "int | None" = None

    def start(self, now_ms: int) -> None:
        """Begin a measurement, unless one is under way; one that is complete and was never read is given up."""
        if self._started_ms is not None and now_ms - self._started_ms < self.conversion_ms:
            return
        try:
            if not self._is_set_up:
                self._set_up()
                self._is_set_up = True
            self._begin()
            self._started_ms, self._faulty = now_ms, False
        except (OSError, ChipFault):
            self._fail()

    def read(self, now_ms: int) -> "dict[str, int] | str | None":
        """The measurement that was started: thousandths by quantity, MISSING or FAULT.

        Each measurement is given once; before conversion_ms have passed it stays where it is.
        Thousandths of degree Celsius, of per cent, of millibar.
        """
        if self._faulty:
            return FAULT
        if self._started_ms is None or now_ms - self._started_ms < self.conversion_ms:
            return MISSING
        self._started_ms = None
        try:
            return self._fetch()
        except (OSError, ChipFault):
            self._fail()
            return FAULT

    def _fail(self) -> None:
        self._is_set_up, self._faulty, self._started_ms = False, True, None

    def _set_up(self) -> None:
        """Check that it is this chip and read what never changes."""
        raise NotImplementedError

    def _begin(self) -> None:
        raise NotImplementedError

    def _fetch(self) -> "dict[str, int]":
        raise NotImplementedError
