"""One gateway process: starts ports and broker, feeds the desk, keeps the status file, stops cleanly.

Decides only what to do when the store fails: close it, wait, open and check it anew. Until then nothing is
acknowledged, so nothing is lost. Being killed at any moment is harmless.
"""

import queue
import random
import threading
import time
from collections.abc import Callable

import structlog

from gateway.desk import Desk, Event
from gateway.errors import SpoolBrokenError, SpoolFullError
from gateway.live import live_status
from gateway.mqtt import Broker, BrokerEvent, FromCloud
from gateway.ports import Port
from gateway.settings import Settings
from gateway.spool import Spool, open_spool
from gateway.status import StateLock, write_live
from wire import Clock, Topics, Who

TICK_S = 0.1  # the longest that a resend or a time frame is late
BATCH_EVENTS = 1024  # of one transaction
WAITING_EVENTS_MAX = 4096  # beyond it ports wait: the unit resends
LIVE_EVERY_MS = 1_000
REOPEN_S = (1.0, 30.0)  # first and longest wait before a failed store is opened again

log = structlog.get_logger("gateway")


class Site:
    """Everything that one gateway process holds. Raises AlreadyRunningError, StateUnusableError, ConfigError."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings, self._clock = settings, clock
        self._lock = StateLock(settings.state_dir)
        self._stop = threading.Event()
        self._events: queue.Queue[Event] = queue.Queue()
        topics = Topics(settings.mqtt.root, settings.site, settings.gateway)
        self._broker = Broker(settings.mqtt, topics, self._report_broker)
        self._ports = [Port(url, settings.baud, self._report) for url in settings.ports]

    def stop(self) -> None:
        """Ask run() to return; callable from a signal handler."""
        self._stop.set()

    def run(self) -> None:
        """Serve until stop()."""
        for port in self._ports:
            port.start()
        self._broker.start()
        last_state = b'{"online": false}'
        wait_s = REOPEN_S[0]
        try:
            while not self._stop.is_set():
                opened_s = time.monotonic()
                try:
                    last_state = self._serve_spool()
                except (SpoolBrokenError, SpoolFullError) as broken:
                    log.error(
                        broken.code,
                        text=f"{broken}; nothing is acknowledged, and the store is opened again in {wait_s:.0f} s",
                    )
                    self._write_live({"time_ms": self._clock.now_ms(), "why": [f"{broken.code}: {broken}"]})
                    wait_s = REOPEN_S[0] if time.monotonic() - opened_s > REOPEN_S[1] else wait_s
                    self._stop.wait(wait_s * random.uniform(0.8, 1.2))  # noqa: S311 - jitter, no secret
                    wait_s = min(wait_s * 2, REOPEN_S[1])
                    self._broker.bounce()  # what was not done is delivered again
        finally:
            for port in self._ports:
                port.stop()
            self._broker.stop(last_state)
            for port in self._ports:
                port.join(1.0)
            self._lock.release()

    def _report(self, event: Event) -> None:
        """From a port's thread: wait while the desk is behind, so that memory stays flat and the unit resends."""
        while self._events.qsize() > WAITING_EVENTS_MAX and not self._stop.is_set():
            time.sleep(TICK_S)
        self._events.put(event)

    def _report_broker(self, event: BrokerEvent) -> None:
        """From the broker's thread, which must not wait: what is dropped was not acknowledged and comes again."""
        if not isinstance(event, FromCloud) or self._events.qsize() < 2 * WAITING_EVENTS_MAX:
            self._events.put(event)

    def _serve_spool(self) -> bytes:
        """Open the store and serve until stop(); the last word for the state topic."""
        spool = open_spool(self._settings.state_dir)
        try:
            if spool.damaged is not None:
                log.error("spool_damaged", text=spool.damaged)
            log.info("ready", gateway=self._settings.gateway, spooled=spool.rows)
            desk = Desk(self._settings, spool, self._ports, self._broker, self._clock, _now_ms())
            for port in self._ports:
                port.send(Who())
            self._loop(desk)
            return desk.last_state()
        finally:
            _close(spool)

    def _loop(self, desk: Desk) -> None:
        live_at_ms = _now_ms()
        while not self._stop.is_set():
            desk.take(self._waiting(), _now_ms())
            desk.work(_now_ms())
            if _now_ms() >= live_at_ms:
                desk.look_for_tampering()
                self._write_live(live_status(desk, _now_ms()))
                live_at_ms = _now_ms() + LIVE_EVERY_MS
        self._write_live(live_status(desk, _now_ms()))

    def _waiting(self) -> list[Event]:
        """All that waits, at least for a tick: the group of one commit."""
        events: list[Event] = []
        try:
            events.append(self._events.get(timeout=TICK_S))
            while len(events) < BATCH_EVENTS:
                events.append(self._events.get_nowait())
        except queue.Empty:
            pass
        return events

    def _write_live(self, live: dict[str, object]) -> None:
        try:
            write_live(self._settings.state_dir, live)
        except OSError as error:  # the spool is what counts; a full disk says so itself
            log.warning("status_unwritten", text=f"status.json could not be written: {error.strerror}")


def _close(spool: Spool) -> None:
    try:
        spool.close()
    except (SpoolBrokenError, SpoolFullError) as error:
        log.warning("spool_close", text=str(error))


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000


def run(settings: Settings, clock: Clock, on_ready: Callable[[Site], None]) -> None:
    """Serve until asked to stop; on_ready gets the site before it starts (to connect signals)."""
    site = Site(settings, clock)
    on_ready(site)
    site.run()
