"""What a port writes, on a real pty."""

import os
import pty
import threading
import tty
from collections.abc import Iterator

import pytest

from gateway.ports import Port
from wire import FrameReader, Message, Time, Who


@pytest.fixture
def line() -> Iterator[tuple[int, str]]:
    """The unit's end of a serial line, and the name of the gateway's end."""
    unit_end, gateway_end = pty.openpty()
    tty.setraw(gateway_end)
    yield unit_end, os.ttyname(gateway_end)
    os.close(unit_end)
    os.close(gateway_end)


def test_a_time_is_told_as_it_is_when_its_frame_is_written(line: tuple[int, str]) -> None:
    """Before it an order may go out, which takes a third of a second at 115200 baud."""
    unit_end, name = line
    clock_ms, order_is_out = [1000], threading.Event()

    def long_order() -> Message:
        order_is_out.wait(10)
        return Who()

    port = Port(name, 115200, lambda _event: None)
    port.start()
    try:
        reader, heard = FrameReader(), list[Message]()
        while not heard:  # it is open, and asks who we are
            heard += reader.feed(os.read(unit_end, 4096))
        port.send(long_order)
        port.send(lambda: Time(clock_ms[0], 100))
        clock_ms[0] = 1350
        order_is_out.set()
        while not any(isinstance(message, Time) for message in heard):
            heard += reader.feed(os.read(unit_end, 4096))
    finally:
        port.stop()
        port.join(5)
    assert heard == [Who(), Who(), Time(1350, 100)]
