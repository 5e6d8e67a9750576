"""A gateway's end of the serial link, for tests of one unit: speaks the contract, keeps what it hears, can misbehave.

It holds the cloud's key as well, so that it can hand out receipts and orders without a cloud. Spec: wire/SPEC.md
sections 7 and 8.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import threading
import time
import tty
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import wire
from wire import frames

CLOUD_SEED = hashlib.sha256(b"a cloud for tests").digest()
CLOUD_KEY = wire.public_key_of(CLOUD_SEED)


class GatewayEnd:
    """Answers a unit: welcome, acks, time. `records` holds raw records by seq as they came.

    How bytes get to the unit, and how time passes, is a matter of the bench: see Peer, and rp2040_unit.ChipPeer.
    """

    def __init__(self, *, kid: bytes, now_ms: int | None = None) -> None:
        self.kid = kid
        self.records: dict[int, bytes] = {}
        self.arrivals: list[int] = []  # seqs in order of arrival, repeats included
        self.hellos: list[frames.Hello] = []
        self.statuses: list[frames.Status] = []
        self.said = bytearray()  # all that came from the unit, noise too
        self.acks = True
        self.archive_every: int | None = None  # receipts by itself, for every so many records
        self.archived_next = 0
        self._now_ms = now_ms
        self._reader = frames.FrameReader()
        self._lock = threading.RLock()

    def send_raw(self, raw: bytes) -> None:
        raise NotImplementedError

    def wait(self, holds: Callable[[], bool], what: str, timeout_s: float = 15.0) -> None:
        """Let time pass until holds(); raises TimeoutError with what was heard instead."""
        raise NotImplementedError

    def send(self, message: frames.Message) -> None:
        self.send_raw(frames.encode_frame(message))

    def next_seq(self) -> int:
        """The first seq that has not arrived, from the oldest of this session's hello on (W54)."""
        with self._lock:
            seq = self.hellos[-1].oldest if self.hellos else 0
            while seq in self.records:
                seq += 1
            return seq

    def receipt(self, seq: int, *, seed: bytes = CLOUD_SEED, digest: bytes | None = None) -> bytes:
        raw = wire.sign_receipt(seed, self.kid, seq, digest or hashlib.sha256(self.records[seq]).digest(), 1)
        self.send(frames.ReceiptFrame(raw))
        return raw

    def order(self, order: wire.Order, *, seed: bytes = CLOUD_SEED) -> bytes:
        raw = wire.sign_order(seed, order)
        for chunk in frames.order_chunks(raw):
            self.send(chunk)
        return raw

    def time(self, time_ms: int, uncertainty_ms: int = 20) -> None:
        self.send(frames.Time(time_ms, uncertainty_ms))

    def wait_types(self, *types: wire.RecordType) -> None:
        """Wait until records of these types have arrived."""
        self.wait(lambda: set(types) <= {record.type for record in self.decoded()}, str(types))

    def decoded(self) -> list[wire.Record]:
        with self._lock:
            return [wire.decode_record(self.records[seq]) for seq in sorted(self.records)]

    def hear(self, chunk: bytes) -> None:
        """Bytes have come from the unit."""
        with self._lock:
            self.said += chunk
            for message in self._reader.feed(chunk):
                self._hear(message)

    def _hear(self, message: frames.Message) -> None:
        if isinstance(message, frames.Hello):
            self.hellos.append(message)
            self.send(frames.Welcome("GW-T", self.next_seq()))
            if self._now_ms is not None:
                self.time(self._now_ms)
        elif isinstance(message, frames.RecordFrame):
            seq = wire.decode_record(message.raw).seq
            self.arrivals.append(seq)
            self.records[seq] = message.raw
            if self.acks:
                self.send(frames.Ack(self.kid, self.next_seq()))
            if self.archive_every and self.next_seq() >= self.archived_next + self.archive_every:
                self.archived_next = self.next_seq()
                self.receipt(self.archived_next - 1)
        elif isinstance(message, frames.Status):
            self.statuses.append(message)


class Peer(GatewayEnd):
    """At a serial port of this machine, with a thread that listens."""

    def __init__(self, port: str, *, kid: bytes, now_ms: int | None = None) -> None:
        super().__init__(kid=kid, now_ms=now_ms)
        self.hung_up = False
        self._fd = os.open(port, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self._fd)
        self._open = True
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        self.send(frames.Who())

    def send_raw(self, raw: bytes) -> None:
        with contextlib.suppress(OSError):
            os.write(self._fd, raw)

    def wait(self, holds: Callable[[], bool], what: str, timeout_s: float = 15.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not holds():
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited for {what}; heard {len(self.hellos)} hellos, next seq {self.next_seq()}")
            time.sleep(0.005)

    def close(self) -> None:
        with self._lock:
            self._open = False
        self._thread.join(5)
        os.close(self._fd)

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _listen(self) -> None:
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        while self._open:
            for _fd, event in poll.poll(20):
                if event & (select.POLLHUP | select.POLLERR):
                    self.hung_up = True
                    return
                self.hear(os.read(self._fd, 4096))


def provisioned(directory: Path, **more: object) -> tuple[bytes, bytes]:
    """Enrol a unit under the test cloud's key; returns (genesis record, kid)."""
    from hil_tests.bench.unix_unit import UnixUnit

    genesis = UnixUnit.provision(directory, cloud_public_key=CLOUD_KEY, **more)  # type: ignore[arg-type]
    return genesis, wire.decode_record(genesis).kid
