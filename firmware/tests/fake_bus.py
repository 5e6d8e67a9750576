"""The smallest bus for driver tests on both interpreters, and what every bus must keep, this one and the bench's.

A register chip is a bytearray of 256; a chip of another kind is a list of answers, one per read.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    Chip = bytearray | list[bytes]

EIO, ETIMEDOUT = 5, 110


class FakeBus:
    """machine.I2C's names. writes: every (address, bytes) that was taken, in order."""

    def __init__(self, chips: "dict[int, Chip]") -> None:
        self.chips = chips
        self.writes: "list[tuple[int, bytes]]" = []
        self.stuck = False
        self._pointers: "dict[int, int]" = {}

    def readfrom_into(self, addr: int, buf: bytearray) -> None:
        chip = self._chip(addr)
        if not isinstance(chip, list):
            first = self._pointers.get(addr, 0)
            buf[:] = chip[first : first + len(buf)]
        elif chip:
            buf[:] = chip.pop(0)
        else:
            raise OSError(EIO, "not acknowledged")  # nothing to say yet: the address is not acknowledged

    def writeto(self, addr: int, buf: "bytes | bytearray") -> int:
        chip = self._chip(addr)
        self.writes.append((addr, bytes(buf)))
        if not isinstance(chip, list):
            self._pointers[addr] = buf[0]
            chip[buf[0] : buf[0] + len(buf) - 1] = buf[1:]
        return len(buf)

    def readfrom_mem_into(self, addr: int, memaddr: int, buf: bytearray) -> None:
        self._chip(addr)
        self._pointers[addr] = memaddr
        self.readfrom_into(addr, buf)

    def writeto_mem(self, addr: int, memaddr: int, buf: bytes) -> None:
        self.writeto(addr, bytes([memaddr]) + buf)

    def _chip(self, addr: int) -> "Chip":
        if self.stuck:
            raise OSError(ETIMEDOUT, "the bus is held")
        if addr not in self.chips:
            raise OSError(EIO, "not acknowledged")
        return self.chips[addr]


class FakePin:
    """A pin whose level a test sets."""

    def __init__(self, level: int) -> None:
        self.level = level

    def value(self) -> int:
        return self.level


def check_bus(bus: "FakeBus", register: "tuple[int, int]", absent: int) -> None:
    """The contract of a bus. register: (address, number) of 2 bytes that can be written and read back."""
    address, number = register
    first, second = bytearray(2), bytearray(2)
    bus.writeto_mem(address, number, b"\x12\x34")
    bus.readfrom_mem_into(address, number, first)
    assert bus.writeto(address, bytes([number, 0x56, 0x78])) == 3
    assert bus.writeto(address, bytes([number])) == 1
    bus.readfrom_into(address, second)
    assert (bytes(first), bytes(second)) == (b"\x12\x34", b"\x56\x78")
    for stuck, to, number_of_error in ((False, absent, EIO), (True, address, ETIMEDOUT)):
        bus.stuck = stuck
        for call in (
            lambda: bus.writeto(to, b"\x00"),
            lambda: bus.readfrom_into(to, first),
            lambda: bus.writeto_mem(to, 0, b"\x00"),
            lambda: bus.readfrom_mem_into(to, 0, first),
        ):
            assert _errno_of(call) == number_of_error
    assert bytes(first) == b"\x12\x34"
    bus.stuck = False


def _errno_of(call: "object") -> "int | None":
    try:
        call()  # type: ignore[operator]
    except OSError as error:
        return error.errno
    return None
