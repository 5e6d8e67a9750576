"""The prompt of a development image, over the emulated chip's USB: runs a few lines of Python there.

Only for figures that cannot be seen from outside. A production image has no prompt and no USB.
"""

from __future__ import annotations

from hil_tests.bench.emulator import USBCDC
from hil_tests.bench.rp2040_chip import Chip

CTRL_A, CTRL_C, CTRL_D = b"\x01", b"\x03", b"\x04"
BANNER = b"raw REPL; CTRL-B to exit\r\n>"
TIMEOUT_MS = 60_000


class PromptFailed(RuntimeError):  # noqa: N818  named after what happened
    """The chip did not answer, or what it ran raised an error; the text says which."""


class Prompt:
    """A development board on that flash, with its program interrupted."""

    def __init__(self, flash: bytes) -> None:
        self._chip = Chip(flash)
        self._heard = bytearray()
        self._cdc = USBCDC(self._chip.mcu.usb_ctrl)
        self._cdc.on_serial_data = self._heard.extend
        self._chip.run_ms(1000)  # until the host has found the device and the program has begun
        for _ in range(3):
            self._send(CTRL_C)
            self._chip.run_ms(100)
        self._send(CTRL_A)
        self._wait_for(BANNER)

    def run(self, source: str) -> str:
        """What source prints. Raises PromptFailed with the error when it raises one."""
        self._heard.clear()
        self._send(source.encode() + CTRL_D)
        self._wait_for(CTRL_D + b">")
        answer = bytes(self._heard)
        printed, error = answer[answer.index(b"OK") + 2 :].split(CTRL_D)[:2]
        if error:
            raise PromptFailed(error.decode(errors="replace"))
        return printed.decode()

    def _send(self, chunk: bytes) -> None:
        for byte in chunk:
            self._cdc.send_serial_byte(byte)

    def _wait_for(self, words: bytes) -> None:
        if not self._chip.run_until(lambda: words in self._heard, TIMEOUT_MS, 5):
            raise PromptFailed(f"waited for {words!r}, heard {bytes(self._heard[-200:])!r}")
