"""A thread per serial port: bytes become frames for the desk, frames of the desk become bytes.

Decides when to open a port again, and nothing else. A port that is missing, busy or unplugged is one sentence and
another try with back-off. What cannot be written in time is dropped: every frame is repeated by its owner.
"""

import errno
import os
import queue
import random
import stat
import termios
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import serial

from wire import FrameReader, Message, Who, encode_frame

READ_S = 0.2  # how long a read waits before it looks whether to stop
WRITE_S = 2.0  # a unit that does not take 1200 bytes in this time is not listening
RETRY_S = (0.2, 5.0)  # first and longest wait before a port is opened again
OUTBOX_FRAMES = 256  # a receipt, an order and a window of acks fit many times
READ_BYTES_MAX = 4096
NO_HARDWARE = (errno.EIO, errno.ENXIO, errno.ENODEV)  # as /dev/ttyS9 on a machine with fewer
KINDS = (
    (stat.S_ISREG, "a file"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISBLK, "a disk"),
    (stat.S_ISCHR, "a device of another kind"),
)


@dataclass(frozen=True, slots=True)
class PortOpened:
    port: "Port"


@dataclass(frozen=True, slots=True)
class PortHeard:
    port: "Port"
    messages: list[Message]


@dataclass(frozen=True, slots=True)
class PortClosed:
    """problem: one sentence, what is wrong and what to do next."""

    port: "Port"
    problem: str


PortEvent = PortOpened | PortHeard | PortClosed
Outgoing = (
    Message | Callable[[], Message]
)  # a function is asked when its frame is written, for a time is true only then


class Port:
    """One pyserial URL, opened again for as long as the gateway runs. report must not block for long."""

    def __init__(self, url: str, baud: int, report: Callable[[PortEvent], None]) -> None:
        self.url = url
        self.noise = 0  # frames dropped by the reader (W51)
        self.unsent = 0  # frames dropped because nobody took them
        self.is_open = False
        self._baud = baud
        self._report = report
        self._outbox: queue.Queue[Outgoing] = queue.Queue(OUTBOX_FRAMES)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"port {url}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def send(self, message: Outgoing) -> None:
        """Queue a frame for the unit; never blocks."""
        try:
            self._outbox.put_nowait(message)
        except queue.Full:
            self.unsent += 1

    def _run(self) -> None:
        wait_s = RETRY_S[0]
        while not self._stop.is_set():
            problem = self._serve_once()
            if problem is None:  # it was open and then went away: try at once, then ever more rarely
                wait_s = RETRY_S[0]
                problem = f"port {self.url} was unplugged or its other end closed; plug the unit in again"
            if not self._stop.is_set():
                self._report(PortClosed(self, problem))
            self._stop.wait(wait_s * random.uniform(0.8, 1.2))  # noqa: S311 - jitter, no secret
            wait_s = min(wait_s * 2, RETRY_S[1])

    def _serve_once(self) -> str | None:
        """Open the port and stay with it; a sentence when it could not be opened, None when it went away later."""
        try:
            line = serial.serial_for_url(
                self.url, baudrate=self._baud, timeout=READ_S, write_timeout=WRITE_S, exclusive=True
            )
        except (OSError, ValueError) as error:  # SerialException is an OSError; ValueError: a URL of no known kind
            return _why_not_open(self.url, error)
        gone = threading.Event()
        writer = threading.Thread(target=self._write_all, args=(line, gone), name=f"to {self.url}", daemon=True)
        try:
            self._empty_outbox()
            writer.start()
            self.is_open = True
            self._report(PortOpened(self))
            self.send(Who())
            self._read_all(line, gone)
        finally:
            self.is_open = False
            gone.set()
            _close(line)
            writer.join(WRITE_S + 1)
        return None

    def _read_all(self, line: serial.Serial, gone: threading.Event) -> None:
        reader = FrameReader()
        noise_before = self.noise
        while not self._stop.is_set() and not gone.is_set():
            try:
                chunk = line.read(min(line.in_waiting or 1, READ_BYTES_MAX))
            except (OSError, TypeError, AttributeError):  # pyserial trips over its own closed handle in the last two
                return
            if chunk:
                messages = reader.feed(chunk)
                self.noise = noise_before + reader.noise
                if messages:
                    self._report(PortHeard(self, messages))

    def _write_all(self, line: serial.Serial, gone: threading.Event) -> None:
        while not gone.is_set():
            try:
                message = self._outbox.get(timeout=READ_S)
            except queue.Empty:
                continue
            frame = encode_frame(message() if callable(message) else message)
            try:
                line.write(frame)
            except serial.SerialTimeoutException:
                self.unsent += 1 + self._empty_outbox()
            except (OSError, TypeError, AttributeError):
                gone.set()

    def _empty_outbox(self) -> int:
        """Drop frames meant for whoever listened before."""
        dropped = 0
        while True:
            try:
                self._outbox.get_nowait()
            except queue.Empty:
                return dropped
            dropped += 1


def _close(line: serial.Serial) -> None:
    try:
        line.close()
    except OSError:
        return  # it is gone already, which is why we close it


def _why_not_open(url: str, error: Exception) -> str:
    """One sentence: what is wrong with this port, and what to do next."""
    code, text = _errno_of(error), str(error)
    if code in (errno.ENOENT, errno.ENOTDIR) or "No such file" in text:
        return f"port_missing: port {url} does not exist; plug the unit in or correct `ports` in the settings"
    if code in NO_HARDWARE:
        return (
            "port_missing: "
            f"port {url} has a name but no device behind it ({os.strerror(code)}); "
            "plug the unit in or correct `ports` in the settings"
        )
    if code == errno.EACCES or "Permission denied" in text:
        return (
            "port_forbidden: "
            f"port {url} may not be opened by this user; add the user to the group that owns it (often dialout), "
            "then start the gateway anew"
        )
    if code in (errno.EAGAIN, errno.EBUSY) or "lock port" in text or "busy" in text:
        return f"port_busy: port {url} is in use by another program; stop that program (ModemManager is a common one)"
    if code in (errno.ENOTTY, errno.EISDIR):
        return (
            "port_not_serial: "
            f"port {url} cannot be opened: it is {_kind_of(url)}, no serial line; name the unit's line in `ports` in "
            "the settings, such as one of /dev/serial/by-id"
        )
    return f"port_unusable: port {url} cannot be opened: {text}; check the cable and `ports` in the settings"


def _errno_of(error: Exception) -> int | None:
    """The kernel's reason; pyserial puts that of a line it cannot configure into a text of its own."""
    cause = error.__context__
    code = getattr(error, "errno", None)
    return cause.args[0] if code is None and isinstance(cause, termios.error) else code


def _kind_of(path: str) -> str:
    try:
        mode = Path(path).stat().st_mode
    except OSError:
        return "something else"
    return next((words for holds, words in KINDS if holds(mode)), "something else")
