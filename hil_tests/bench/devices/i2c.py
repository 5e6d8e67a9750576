"""The I2C bus between a driver and the chip models: what a chip does per byte, and how a bus without wires calls it.

`Device` is what a bench (an emulated controller, or MemoryBus here) drives: start, bytes, stop. `MemoryBus` has the
names of MicroPython's machine.I2C, so that the unit's own drivers run against the models on CPython.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable

Sense = Callable[[str], int | None]  # quantity -> thousandths as it is now, None when the chip has broken down
NowUs = Callable[[], int]


class Device:
    """One chip. Register chips need `wrote` and `reads`; chips of another kind override the four bus events.

    Faults to inject: `unplugged` (nobody acknowledges the address), `deaf_after` (acknowledges that many written bytes
    of each transfer, then no more), `holds_bus` (keeps the data line low: no transfer ends), `frozen` (measures one
    value for ever).
    """

    def __init__(self, address: int) -> None:
        self.address = address
        self.unplugged = False
        self.deaf_after: int | None = None
        self.holds_bus = False
        self.frozen = False
        self._written = 0

    def start(self, reading: bool) -> bool:
        """The bus addresses this chip (again); returns whether it acknowledges."""
        self._written = 0
        return not self.unplugged and self.begins(reading)

    def write(self, byte: int) -> bool:
        """One byte for the chip; returns whether it acknowledges."""
        self._written += 1
        if self.deaf_after is not None and self._written > self.deaf_after:
            return False
        return self.takes(byte)

    def read(self) -> int:
        """One byte from the chip."""
        return self.gives()

    def stop(self) -> None:
        """The bus is free again."""

    # what a kind of chip does

    def begins(self, reading: bool) -> bool:
        raise NotImplementedError

    def takes(self, byte: int) -> bool:
        raise NotImplementedError

    def gives(self) -> int:
        raise NotImplementedError


class Sensor(Device):
    """A chip that measures. Keeps the last good value while frozen."""

    def __init__(self, address: int, now_us: NowUs, sense: Sense) -> None:
        super().__init__(address)
        self._now_us = now_us
        self._sense = sense
        self._last: dict[str, int] = {}

    def measured(self, quantity: str) -> int:
        """Thousandths of the quantity now."""
        value = self._sense(quantity)
        if value is not None and not (self.frozen and quantity in self._last):
            self._last[quantity] = value
        return self._last.get(quantity, 0)

    def start(self, reading: bool) -> bool:
        """A chip that has broken down (its source has no value) acknowledges nothing."""
        return super().start(reading) and all(self._sense(quantity) is not None for quantity in self.quantities())

    def quantities(self) -> tuple[str, ...]:
        raise NotImplementedError


class MemoryBus:
    """machine.I2C's names over chip models. Raises OSError as the board's port does: EIO, or ETIMEDOUT when held."""

    def __init__(self, devices: Iterable[Device]) -> None:
        self.devices = {device.address: device for device in devices}
        self.stuck = False
        self.transfers = 0

    def readfrom_into(self, addr: int, buf: bytearray) -> None:
        device = self._begin(addr, reading=True)
        self._fill(device, buf)
        device.stop()

    def writeto(self, addr: int, buf: bytes | bytearray) -> int:
        device = self._begin(addr, reading=False)
        self._put(device, buf)
        device.stop()
        return len(buf)

    def readfrom_mem_into(self, addr: int, memaddr: int, buf: bytearray) -> None:
        device = self._begin(addr, reading=False)
        self._put(device, bytes([memaddr]))
        self._address(device, reading=True)
        self._fill(device, buf)
        device.stop()

    def writeto_mem(self, addr: int, memaddr: int, buf: bytes) -> None:
        self.writeto(addr, bytes([memaddr]) + buf)

    def _begin(self, addr: int, *, reading: bool) -> Device:
        self.transfers += 1
        if self.stuck or any(device.holds_bus for device in self.devices.values()):
            raise OSError(errno.ETIMEDOUT, "the bus is held")
        if addr not in self.devices:
            raise OSError(errno.EIO, f"nobody acknowledges address {addr:#04x}")
        device = self.devices[addr]
        self._address(device, reading=reading)
        return device

    def _address(self, device: Device, *, reading: bool) -> None:
        if not device.start(reading):
            device.stop()
            raise OSError(errno.EIO, f"address {device.address:#04x} is not acknowledged")

    def _put(self, device: Device, content: bytes | bytearray) -> None:
        for byte in content:
            if not device.write(byte):
                device.stop()
                raise OSError(errno.EIO, f"a byte to {device.address:#04x} is not acknowledged")

    def _fill(self, device: Device, buf: bytearray) -> None:
        for at in range(len(buf)):
            buf[at] = device.read()
