"""The broker of the bench: mosquitto as a child on loopback, with our configuration files.

``forgetting`` is mosquitto as it comes out of the box: nothing on disk, so a kill -9 loses every message it had
acknowledged. The chain must not care. ``refusing`` wants a password that the bench gives to nobody by default.
"""

import os
import shutil
import subprocess
from pathlib import Path

from hil_tests.programs import BenchError, Program, answers, free_port, wait_until

_SYSTEM_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))  # Debian's place for it

_FORGETTING = """\
# Stock behaviour: sessions and queues live in memory only.
user root
listener {port} 127.0.0.1
allow_anonymous true
persistence false
"""
_REFUSING = """\
# Nobody gets in without a password.
user root
listener {port} 127.0.0.1
allow_anonymous false
password_file {passwords}
persistence false
"""


class Broker:
    """One mosquitto. The port stays the same across kill9 and restart, as a real broker's would."""

    def __init__(self, directory: Path, *, refusing: bool = False, accounts: dict[str, str] | None = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        passwords, configuration = directory / "passwords", directory / "mosquitto.conf"
        template = _REFUSING if refusing else _FORGETTING
        configuration.write_text(template.format(port=self.port, passwords=passwords))
        if refusing:
            _write_passwords(passwords, accounts or {"nobody-knows": "this-one"})
        self.program = Program("broker", [mosquitto(), "-c", str(configuration)], log=directory / "mosquitto.log")

    def start(self) -> None:
        self.program.start()
        wait_until(lambda: answers(self.port) or not self.program.running, what="the broker to listen", timeout_s=10)
        if not self.program.running:
            raise BenchError(f"the broker ended at once; its last words: {self.program.last_words()}")

    def kill9(self) -> None:
        """Everything it had acknowledged and not delivered is gone."""
        self.program.kill9()

    def stop(self) -> None:
        self.program.stop()


def mosquitto() -> str:
    """The path of mosquitto; BenchError that says what to install."""
    found = shutil.which("mosquitto", path=_SYSTEM_PATH)
    if found is None:
        raise BenchError(
            "mosquitto, the MQTT broker, is missing: install it (Debian: apt-get install mosquitto) and try again"
        )
    return found


def _write_passwords(path: Path, accounts: dict[str, str]) -> None:
    path.touch(mode=0o600)
    path.write_text("".join(f"{user}:{password}\n" for user, password in accounts.items()))
    program = shutil.which("mosquitto_passwd", path=_SYSTEM_PATH)
    if program is None:
        raise BenchError("mosquitto_passwd is missing: it comes with Debian's package mosquitto")
    subprocess.run([program, "-U", str(path)], check=True, capture_output=True)
