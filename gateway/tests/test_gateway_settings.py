"""Settings: the environment wins, and each mistake is one sentence that names field and file."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.__main__ import app
from gateway.errors import ConfigError
from gateway.settings import Mqtt, Settings, load
from gateway.tests.standins import CLOUD_KEY

runner = CliRunner()
README = Path(__file__).resolve().parents[1] / "README.md"
GOOD = f"""
gateway = "gw-1"
site = "site-a"
state_dir = "state"
cloud_key = "{CLOUD_KEY.hex()}"
ports = ["/dev/ttyACM0"]
[mqtt]
host = "broker"
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text(text)
    return path


def test_paths_are_relative_to_the_file_and_the_environment_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARTRACE_GATEWAY_MQTT__PORT", "2883")
    monkeypatch.setenv("CARTRACE_GATEWAY_SITE", "site-b")
    settings = load(write(tmp_path, GOOD))
    assert settings.state_dir == tmp_path / "state"
    assert (settings.mqtt.host, settings.mqtt.port, settings.site) == ("broker", 2883, "site-b")
    assert settings.cloud_key == CLOUD_KEY


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (GOOD.replace('site = "site-a"', ""), "site is missing; add it"),
        (GOOD.replace("[mqtt]", "colour = 3\n[mqtt]"), "colour is not a setting of the gateway"),
        (GOOD.replace("gw-1", "gw 1"), "gateway may hold 1 to 32 letters"),
        (GOOD.replace(CLOUD_KEY.hex(), "abc"), "cloud_key must be the cloud's public key, 64 hexadecimal digits"),
        (GOOD.replace(CLOUD_KEY.hex(), "00" * 32), "cloud_key is refused"),
        (GOOD + "port = 99999\n", "mqtt.port Input should be less than or equal to 65535"),
        (GOOD + 'cert_file = "x"\n', "mqtt cert_file and key_file belong together"),
        (GOOD + 'password_file = "x"\n', "mqtt password_file is never sent without username; add username"),
        (GOOD + "port = 8883\n", "mqtt port 8883 speaks TLS and needs ca_file; add it"),
        (GOOD + 'ca_file = "nowhere.pem"\n', "mqtt.ca_file names"),
        (GOOD.replace('["/dev/ttyACM0"]', "[]"), "ports List should have at least 1 item"),
        (GOOD.replace('["/dev/ttyACM0"]', '["/dev/a", "/dev/b", "/dev/a"]'), "/dev/a stands there twice"),
        ("gateway = ", "is not TOML"),
        (GOOD.replace('host = "broker"', ""), "mqtt.host is missing; add it"),
        (GOOD + 'root = "a/#"\n', "mqtt.root cannot be a topic"),
    ],
)
def test_a_mistake_is_one_sentence_with_field_and_file(tmp_path: Path, text: str, sentence: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        load(path)
    assert sentence in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_the_command_says_the_sentence_and_its_code(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD.replace("gw-1", "gw/1"))
    for command in ("run", "status"):
        done = subprocess.run(
            [sys.executable, "-m", "gateway", command, "--config", str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert done.stderr.startswith(f"bad_config: {path}: gateway may hold")
        assert done.stderr.count("\n") == 1
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "run", "--config", str(tmp_path / "none.toml")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "cannot read" in done.stderr


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["status", "--config", "{}/none.toml"], "bad_config"),
        (["status", "--config", "{}/gateway.toml"], "state_unusable"),
        (["bench", "--directory", "{}/none"], "state_unusable"),
    ],
)
def test_an_error_can_be_read_by_a_program(tmp_path: Path, command: list[str], code: str) -> None:
    write(tmp_path, GOOD)
    (tmp_path / "state" / "lock").mkdir(parents=True)
    arguments = [each.format(tmp_path) for each in command]
    plain, told = (runner.invoke(app, [*arguments, *more]) for more in ([], ["--json"]))
    assert (plain.exit_code, plain.stdout, plain.stderr.count("\n")) == (2, "", 1)
    assert (told.exit_code, told.stdout, told.stderr.count("\n")) == (2, "", 1)
    assert plain.stderr.startswith(f"{code}: ")
    assert json.loads(told.stderr) == {"code": code, "message": plain.stderr.strip().removeprefix(f"{code}: ")}


def test_a_state_folder_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file in its place")
    for state_dir in ("state", "/proc/nope"):
        path = write(tmp_path, GOOD.replace('"state"', f'"{state_dir}"'))
        done = subprocess.run(
            [sys.executable, "-m", "gateway", "run", "--config", str(path)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 2
        assert done.stderr.startswith("state_unusable: state_dir ")
        assert done.stderr.count("\n") == 1


def blocks() -> list[str]:
    """What README.md shows between lines of three backticks: the example first, then what TLS adds to it."""
    return re.findall(r"^```\w*\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)


def test_the_documented_example_works_as_it_stands(tmp_path: Path) -> None:
    example, _, tls, *_ = blocks()
    settings = load(write(tmp_path, example))
    assert (settings.gateway, settings.state_dir, settings.mqtt.port) == ("gw-1", tmp_path / "state", 1883)
    shown = runner.invoke(app, ["status", "--config", str(tmp_path / "gateway.toml")])
    assert shown.exit_code == 0, shown.output
    for name in ("ca.pem", "password", "gw-1.pem", "gw-1.key"):
        (tmp_path / name).write_text("x")
    assert load(write(tmp_path, example + tls)).mqtt.tls


def test_every_setting_is_documented_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `([a-z_.]+)` \| ([^|]*) \|", README.read_text(), re.MULTILINE))
    fields = {**Settings.model_fields, **{f"mqtt.{name}": field for name, field in Mqtt.model_fields.items()}}
    del fields["mqtt"]
    for name, field in fields.items():
        default = "none, required" if field.is_required() else "none" if field.default is None else str(field.default)
        assert rows.pop(name, None) == default, name


def test_every_documented_reason_exists() -> None:
    source = "".join(path.read_text() for path in README.parent.glob("*.py"))
    table = README.read_text().partition("| code | what to do |")[2]
    codes = [code for cell in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for code in re.findall("`(.*?)`", cell)]
    assert len(codes) > 15
    assert [code for code in codes if f'"{code}: ' not in source] == []
