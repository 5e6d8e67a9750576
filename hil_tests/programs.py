"""Child programs of the bench: started with a log file, stopped for certain, never left behind.

Every child gets a process group of its own, so that a kill reaches what it started itself, and asks the kernel to be
ended when the bench dies: a bench that is killed with -9 leaves nothing running.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

STOP_S = 10.0  # a gateway or ingest commits and says goodbye well within this
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)
# The kernel ties a child's life to the thread that started it: one thread that lives as long as we do starts them all.
_starter = ThreadPoolExecutor(1, thread_name_prefix="starter")


class BenchError(RuntimeError):
    """The bench itself could not do what it was asked; the sentence says what to look at."""


class Program:
    """One child: ``start``, ``stop`` (SIGTERM, then SIGKILL), ``kill9``. Its output goes to ``log``, appended."""

    def __init__(self, name: str, command: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None) -> None:
        self.name, self.command, self.log, self.env = name, list(command), log, env
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def exit_code(self) -> int | None:
        """None while it runs or before it was started."""
        return None if self._child is None else self._child.poll()

    def start(self) -> None:
        assert not self.running
        _starter.submit(self._start).result()

    def _start(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as out:
            self._child = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=None if self.env is None else dict(self.env),
                preexec_fn=_die_with_the_bench,  # one call into libc each, no locks taken
            )

    def stop(self) -> None:
        """SIGTERM, and SIGKILL when that is not heard in STOP_S."""
        self._end(signal.SIGTERM)

    def kill9(self) -> None:
        """SIGKILL: no goodbye, nothing flushed."""
        self._end(signal.SIGKILL)

    def _end(self, first: signal.Signals) -> None:
        if self._child is None:
            return
        for sign in (first, signal.SIGKILL):
            if self._child.poll() is None:
                self._signal_group(sign)
            try:
                self._child.wait(STOP_S)
                break
            except subprocess.TimeoutExpired:
                continue
        self._signal_group(signal.SIGKILL)  # what it may have started itself

    def _signal_group(self, sign: signal.Signals) -> None:
        assert self._child is not None
        try:
            os.killpg(self._child.pid, sign)
        except ProcessLookupError:
            return

    def last_words(self, lines: int = 5) -> str:
        """The end of its log, for an error message."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def _die_with_the_bench() -> None:
    os.setsid()
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def run(command: Sequence[str], env: Mapping[str, str], limit_s: float) -> subprocess.CompletedProcess[str]:
    """A program to its end, whatever its exit code; it ends with the thread that waits for it."""
    return subprocess.run(
        command,
        env=env,
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
        preexec_fn=_die_with_the_bench,
    )


def free_port() -> int:
    """A TCP port on loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(port: int) -> bool:
    """True when something accepts connections on that loopback port."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.5):
            return True
    except OSError:
        return False


def wait_until(true: Callable[[], bool], *, what: str, timeout_s: float, every_s: float = 0.1) -> None:
    """Polls until true() holds; BenchError naming what was waited for when it does not."""
    give_up_at = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > give_up_at:
            raise BenchError(f"waited {timeout_s:.0f} s in vain for {what}")
        time.sleep(every_s)


def python(*arguments: str) -> list[str]:
    """The command line of one of our own programs, as ``python -m ...``."""
    return [sys.executable, "-m", *arguments]
