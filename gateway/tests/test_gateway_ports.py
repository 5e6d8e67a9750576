"""What a port writes, on a real pty, and what it says of a port that it cannot open."""

import ctypes
import os
import pty
import queue
import threading
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.ports import Port, PortClosed, PortEvent
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


def problem_of(url: Path) -> str:
    """What is said of a port that cannot be opened."""
    events: queue.Queue[PortEvent] = queue.Queue()
    port = Port(str(url), 115200, events.put)
    port.start()
    try:
        event = events.get(timeout=10)
    finally:
        port.stop()
        port.join(5)
    assert isinstance(event, PortClosed)
    return event.problem


def _file(path: Path) -> Path:
    path.write_text("seq,value\n")
    return path


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (_file, "a file"),
        (_folder, "a folder"),
        (_pipe, "a pipe"),
        (lambda _path: Path("/dev/null"), "a device of another kind"),
    ],
)
def test_what_is_no_serial_line_is_named_as_what_it_is(tmp_path: Path, make: Callable[[Path], Path], kind: str) -> None:
    url = make(tmp_path / "port")
    assert problem_of(url) == (
        f"port_not_serial: port {url} cannot be opened: it is {kind}, no serial line; name the unit's line in `ports` "
        "in the settings, such as one of /dev/serial/by-id"
    )
    if make is _file:
        assert url.read_text() == "seq,value\n"


def test_a_line_without_hardware_is_as_missing(tmp_path: Path) -> None:
    far_end, line = pty.openpty()
    os.close(far_end)
    url = tmp_path / "port"
    url.symlink_to(f"/proc/self/fd/{line}")
    assert problem_of(url) == (
        f"port_missing: port {url} has a name but no device behind it (Input/output error); plug the unit in or "
        "correct `ports` in the settings"
    )
    os.close(line)
    assert problem_of(tmp_path / "none").startswith(f"port_missing: port {tmp_path / 'none'} does not exist; ")


def test_a_line_of_somebody_else_says_how_to_be_let_in(tmp_path: Path) -> None:
    tmp_path.chmod(0)
    kernel = ctypes.CDLL(None)
    mine = kernel.setfsuid(65534)  # of this thread and those that it starts: root may open everything
    try:
        problem = problem_of(tmp_path / "port")
    finally:
        kernel.setfsuid(mine)
        tmp_path.chmod(0o700)
    assert problem == (
        f"port_forbidden: port {tmp_path / 'port'} may not be opened by this user; add the user to the group that owns "
        "it (often dialout), then start the gateway anew"
    )
