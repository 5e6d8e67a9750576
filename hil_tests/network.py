"""The network of the bench: a TCP relay between a gateway and the broker that can fail as networks do.

``cut`` resets connections and refuses new ones. ``blackhole`` accepts them and carries nothing, as a dead mobile modem
does. ``restore`` makes it well again. One thread, one selector; loopback only.
"""

import contextlib
import selectors
import socket
import struct
import threading

from hil_tests.programs import free_port

_CHUNK_BYTES = 65_536
_TICK_S = 0.05
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER with zero seconds: close sends RST


class Network:
    """Relays 127.0.0.1:port to 127.0.0.1:target. Methods may be called from any thread."""

    def __init__(self, target_port: int) -> None:
        self.port = free_port()
        self._target_port = target_port
        self._state = "up"
        self._selector = selectors.DefaultSelector()
        self._peer: dict[socket.socket, socket.socket] = {}
        self._listener: socket.socket | None = None
        self._closing = threading.Event()
        self._changed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="network", daemon=True)
        self._thread.start()
        self._changed.wait(5)

    def cut(self) -> None:
        """Connections are reset, new ones refused."""
        self._become("cut")

    def blackhole(self) -> None:
        """Connections stay, new ones are accepted, and no byte passes."""
        self._become("blackhole")

    def restore(self) -> None:
        """Bytes pass again; connections that lived in the black hole are reset, as after a NAT timeout."""
        self._become("up")

    def close(self) -> None:
        self._closing.set()
        self._thread.join(5)

    def _become(self, state: str) -> None:
        self._changed.clear()
        self._state = state
        self._changed.wait(5)

    def _run(self) -> None:
        now = ""
        while not self._closing.is_set():
            if now != self._state:
                now = self._state
                self._enter(now)
                self._changed.set()
            for key, _ in self._selector.select(_TICK_S):
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                if sock is self._listener:
                    self._accept()
                elif sock in self._peer:
                    self._carry(sock)
        self._enter("cut")
        self._selector.close()

    def _enter(self, state: str) -> None:
        if state != "blackhole":
            for sock in list(self._peer):
                self._drop(sock)
        if state == "cut" and self._listener is not None:
            self._selector.unregister(self._listener)
            self._listener.close()
            self._listener = None
        if state != "cut" and self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port), reuse_port=True)
            self._selector.register(self._listener, selectors.EVENT_READ)
        for sock in list(self._peer):  # a black hole reads nothing, so the sender's window fills
            self._selector.unregister(sock)

    def _accept(self) -> None:
        assert self._listener is not None
        near, _ = self._listener.accept()
        if self._state == "blackhole":
            self._peer[near] = near
            return
        try:
            far = socket.create_connection(("127.0.0.1", self._target_port), timeout=2)
        except OSError:
            _reset(near)
            return
        for sock, peer in ((near, far), (far, near)):
            sock.settimeout(5)
            self._peer[sock] = peer
            self._selector.register(sock, selectors.EVENT_READ)

    def _carry(self, sock: socket.socket) -> None:
        try:
            chunk = sock.recv(_CHUNK_BYTES)
            if chunk:
                self._peer[sock].sendall(chunk)
                return
        except OSError:
            chunk = b""
        self._drop(sock)

    def _drop(self, sock: socket.socket) -> None:
        for end in {sock, self._peer.pop(sock, sock)}:
            self._peer.pop(end, None)
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(end)
            _reset(end)


def _reset(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    sock.close()
