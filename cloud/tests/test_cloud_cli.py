"""The command line: a fresh installation step by step, JSON that can be read, errors of one sentence and code 2."""

import json
import re
import sqlite3
import stat
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from typer.testing import CliRunner

from cloud.cli import app
from cloud.cli.speech import show_rows
from cloud.config import LOOPBACK_HOSTS, Config, ConfigError, cloud_seed, load_config, secret_file
from cloud.tests.cloud_bench import CloudProcess, FakeUnit
from cloud.tests.test_cloud_ledger import RECIPE

runner = CliRunner()


def ask(*arguments: str) -> str:
    done = runner.invoke(app, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    return done.stdout


def refused(*arguments: str) -> str:
    """The one sentence of a command that cannot be carried out."""
    done = runner.invoke(app, list(arguments))
    assert done.exit_code == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    return done.stderr


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "genesis").write_bytes(FakeUnit("U-1").genesis)
    (tmp_path / "recipe.toml").write_bytes(RECIPE)
    (tmp_path / "broken.toml").write_bytes(b"[recipe")
    (tmp_path / "vast").write_bytes(bytes(1_000_001))
    return tmp_path


@pytest.mark.django_db
def test_from_enrolment_to_an_ordered_batch(files: Path) -> None:
    enrolled = json.loads(ask("enrol", str(files / "genesis"), "--site", "s", "--gateway", "g"))
    assert (enrolled["unit"], enrolled["epoch"]) == ("U-1", 1)
    ask("recipe", "add", str(files / "recipe.toml"))
    assert json.loads(ask("recipe", "list"))[0]["recipe"] == "short"
    assert json.loads(ask("batch", "new", "B-1", "--recipe", "short", "--unit", "U-1"))["order_number"] == 1
    assert json.loads(ask("batch", "list"))[0]["batch"] == "B-1"
    assert json.loads(ask("batch", "show", "B-1"))["state"] == "waiting"
    assert runner.invoke(app, ["batch", "list"]).stdout.count("not yet") == 3, "what is not begun has not failed"
    shown = runner.invoke(app, ["batch", "show", "B-1"]).stdout
    assert "complete not yet, conforming not yet, authentic not yet" in shown
    assert json.loads(ask("streams"))[0]["archived_thru"] == -1
    assert json.loads(ask("unit", "list"))[0]["gateway"] == "g"
    assert json.loads(ask("quarantine", "list")) == []
    revoked = json.loads(ask("unit", "revoke", "U-1", "--from-seq", "5", "--reason", "lost"))
    assert revoked["kid"] == enrolled["kid"]
    for table in (["streams"], ["unit", "list"], ["recipe", "list"], ["batch", "list"], ["batch", "show", "B-1"]):
        assert runner.invoke(app, table).exit_code == 0


@pytest.mark.django_db
def test_a_password_is_made_and_shown_once() -> None:
    made = json.loads(ask("user", "add", "quinn", "--role", "qa"))
    user = User.objects.get(username="quinn")
    assert user.check_password(made["password"])
    assert [group.name for group in user.groups.all()] == ["qa"]
    assert "already" in refused("user", "add", "quinn")
    ask("user", "add", "ada")
    assert json.loads(ask("user", "list")) == [{"name": "ada", "role": "viewer"}, {"name": "quinn", "role": "qa"}]
    assert runner.invoke(app, ["user", "list"]).stdout == "ada (viewer)\nquinn (qa)\n"


@pytest.mark.django_db
def test_a_recipe_is_shown_as_it_was_added(files: Path) -> None:
    ask("recipe", "add", str(files / "recipe.toml"))
    newer = RECIPE.replace(b"version = 1", b"version = 2")
    (files / "newer.toml").write_bytes(newer)
    ask("recipe", "add", str(files / "newer.toml"))
    newest = json.loads(ask("recipe", "show", "short"))
    assert (newest["version"], newest["toml"]) == (2, newer.decode())
    first = json.loads(ask("recipe", "show", "short", "--version", "1"))
    assert (first["version"], first["toml"]) == (1, RECIPE.decode())
    assert RECIPE.decode() in runner.invoke(app, ["recipe", "show", "short", "--version", "1"]).stdout
    assert "no recipe short version 3" in refused("recipe", "show", "short", "--version", "3")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["enrol", "{}/missing", "--site", "s", "--gateway", "g"], "file_unreadable", "cannot be read"),
        (["enrol", "{}/vast", "--site", "s", "--gateway", "g"], "file_too_large", "larger than"),
        (
            ["enrol", "{}/recipe.toml", "--site", "s", "--gateway", "g"],
            "genesis_invalid",
            "is not a genesis record; `cartrace gateway genesis` writes",
        ),
        (["recipe", "add", "{}/broken.toml"], "recipe_invalid", "not TOML"),
        (["recipe", "add", "{}"], "file_unreadable", "cannot be read"),
        (["batch", "new", "B", "--recipe", "none", "--unit", "U"], "recipe_unknown", "no recipe none"),
        (["batch", "new", "B", "--recipe", "r", "--unit", "U", "--exact", "bag"], "code_invalid", "item=code"),
        (
            ["batch", "new", "B", "--recipe", "r", "--unit", "U", "--exact", "a=1", "--exact", "a=2"],
            "code_invalid",
            "two codes",
        ),
        (["batch", "new", "..", "--recipe", "r", "--unit", "U"], "name_invalid", "not dots alone"),
        (["batch", "new", " ", "--recipe", "r", "--unit", "U"], "name_invalid", "no space at either end"),
        (["batch", "show", "B"], "not_found", "no batch B; `cartrace cloud batch list` shows them"),
        (["quarantine", "show", "zz"], "not_found", "no digest"),
        (["quarantine", "show", "abcd"], "not_found", "holds nothing"),
        (["unit", "revoke", "U", "--from-seq", "0", "--reason", "x"], "unit_unknown", "no unit U"),
        (["user", "add", "a b"], "name_invalid", "cannot be a login name"),
        (["user", "add", "a", "--role", "king"], "role_unknown", "no role"),
        (["web", "--host", "192.0.2.1"], "port_unusable", "Cannot listen"),
        (["ingest", "--shards", "16"], "shards_invalid", "no shards"),
        (["ingest", "--shards", "0-999999999999"], "shards_invalid", "no shards"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(files: Path, arguments: list[str], code: str, sentence: str) -> None:
    said = refused(*[argument.format(files) for argument in arguments])
    assert said.startswith(f"{code}: ")
    assert sentence in said


@dataclass(frozen=True)
class Claim:
    """A row with what a forger may write."""

    batch: str
    reason: str


@pytest.mark.parametrize("terminal", [False, True])
def test_a_table_is_cut_by_the_edge_of_a_terminal_only(
    terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    show_rows([Claim("[/red] :bug: \x1b[2J", "far " * 100)], False, ["batch", "reason"])
    shown = capsys.readouterr().out
    assert ("far " * 99 in shown) is not terminal
    assert "[/red] :bug: ⟨ESC⟩[2J" in shown


@pytest.mark.django_db
def test_a_refusal_can_be_read_by_a_program() -> None:
    assert json.loads(refused("batch", "show", "B", "--json")) == {
        "code": "not_found",
        "message": "There is no batch B; `cartrace cloud batch list` shows them.",
    }


@pytest.mark.parametrize(
    "command",
    [
        "streams", "key", "unit list", "batch list", "batch show B", "recipe list", "recipe show r", "quarantine list",
        "quarantine show abcd", "user list", "site s --utc-offset +01:00", "web", "ingest",
    ],
)  # fmt: skip
def test_without_a_database_nothing_is_made(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "CONFIG", Config(cloud_state=tmp_path))
    monkeypatch.setitem(connection.settings_dict, "NAME", tmp_path / "db.sqlite3")
    assert refused(*command.split()).startswith(f"database_empty: There is no database at {tmp_path}/db.sqlite3; ")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "CONFIG", Config(cloud_state=Path("/dev/null/state")))
    assert refused("bench").startswith("state_unusable: The folder /dev/null/state cannot be used (Not a directory); ")
    assert refused("migrate").startswith("bad_config: The secret file /dev/null/state/secret.key cannot be used")


@pytest.mark.slow
def test_a_fresh_machine_is_told_what_to_do_first(tmp_path: Path) -> None:
    cloud = CloudProcess(tmp_path / "state")
    before = cloud.run("streams")
    assert (before.returncode, before.stdout) == (2, "")
    assert before.stderr.startswith("database_empty: ")
    assert "migrate" in before.stderr
    assert not cloud.state.exists(), "a question makes nothing"
    assert cloud.run("migrate").returncode == 0
    assert cloud.run("migrate").returncode == 0
    assert cloud.ask("key") == {"public_key": cloud.key.hex()}
    assert stat.S_IMODE((tmp_path / "state" / "cloud.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "state" / "secret.key").stat().st_mode) == 0o600


def test_wrong_settings_end_every_command_with_a_sentence(tmp_path: Path) -> None:
    cloud = CloudProcess(tmp_path / "state", CARTRACE_CLOUD_CONFIG=str(tmp_path / "none.toml"))
    sentence = f"The settings file {tmp_path}/none.toml does not exist; correct CARTRACE_CLOUD_CONFIG."
    done = cloud.run("streams")
    assert (done.returncode, done.stderr) == (2, f"bad_config: {sentence}\n")
    told = cloud.run("streams", "--json")
    assert (told.returncode, json.loads(told.stderr)) == (2, {"code": "bad_config", "message": sentence})


def test_settings_come_from_the_file_and_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cloud.toml"
    path.write_text('mqtt_host = "broker"\nmqtt_port = 8883\n')
    monkeypatch.setenv("CARTRACE_CLOUD_CONFIG", str(path))
    monkeypatch.setenv("CARTRACE_MQTT_PORT", "1884")
    config = load_config()
    assert (config.mqtt_host, config.mqtt_port) == ("broker", 1884)
    for text, sentence in (("mqtt_prot = 1", "mqtt_prot"), ("mqtt_host", "cannot be read"), ("mqtt_host = 3", "host")):
        path.write_text(text)
        with pytest.raises(ConfigError, match=sentence):
            load_config()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"MQTT_CERT": "there", "MQTT_KEY": "there"}, "without mqtt_ca_file"),
        ({"MQTT_CA_FILE": "there", "MQTT_CERT": "there"}, "needs both"),
        ({"MQTT_CA_FILE": "there", "MQTT_KEY": "there"}, "needs both"),
        ({"MQTT_CA_FILE": "absent"}, "absent of the setting mqtt_ca_file does not exist"),
        ({"MQTT_PASSWORD_FILE": "there"}, "without mqtt_username"),
        ({"MQTT_USERNAME": "u", "MQTT_PASSWORD_FILE": "absent"}, "setting mqtt_password_file does not exist"),
        (
            {"MQTT_PORT": "8883"},
            r"^mqtt_port 8883 speaks TLS and needs mqtt_ca_file; add it, or give the broker's plain port\.$",
        ),
        ({"MQTT_PORT": "many"}, r"^The setting mqtt_port is wrong; give a whole number from 1 to 65535\.$"),
        ({"MQTT_PORT": "0"}, r"^The setting mqtt_port is wrong; give a whole number from 1 to 65535\.$"),
        ({"CLOUD_HOSTS": "qa.example"}, r"^The setting cloud_hosts is wrong; give a list of host names such as "),
        ({"CLOUD_HOSTS": "3"}, r"^The setting cloud_hosts is wrong; give a list of host names such as "),
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").write_text("x")
    for name, value in settings.items():
        monkeypatch.setenv(f"CARTRACE_{name}", value)
    with pytest.raises(ConfigError, match=sentence):
        load_config()


def test_the_port_of_tls_is_taken_with_an_authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ca.pem").write_text("x")
    monkeypatch.setenv("CARTRACE_MQTT_PORT", "8883")
    monkeypatch.setenv("CARTRACE_MQTT_CA_FILE", str(tmp_path / "ca.pem"))
    assert load_config().mqtt_port == 8883


def test_a_secret_is_made_once_and_a_damaged_one_refused(tmp_path: Path) -> None:
    path = tmp_path / "state" / "cloud.key"
    secret = secret_file(path, 32)
    assert secret_file(path, 32) == secret
    path.write_text("abc")
    with pytest.raises(ConfigError, match="backup"):
        secret_file(path, 32)
    path.write_text("abcd")
    with pytest.raises(ConfigError, match="holds 2 bytes instead of 32"):
        secret_file(path, 32)


def test_a_lost_key_is_not_made_anew(tmp_path: Path) -> None:
    """Beside a database with units: they would refuse everything that another key signs."""
    config = Config(cloud_state=tmp_path)
    seed = cloud_seed(config)
    with closing(sqlite3.connect(config.database)) as db, db:
        db.execute("CREATE TABLE ledger_unitkey (kid)")
        assert cloud_seed(config) == seed
        (tmp_path / "cloud.key").unlink()
        assert cloud_seed(config) != seed, "no unit knows a key yet"
        (tmp_path / "cloud.key").unlink()
        db.execute("INSERT INTO ledger_unitkey VALUES (1)")
        db.commit()
        with pytest.raises(ConfigError, match="is missing, and the database beside it has units"):
            cloud_seed(config)
    assert not (tmp_path / "cloud.key").exists()


def test_every_setting_is_documented_with_its_default() -> None:
    text = (Path(__file__).resolve().parents[1] / "README.md").read_text()
    rows = dict(re.findall(r"^\| `(CARTRACE_[A-Z_]+)` \| ([^|]*) \|", text, re.MULTILINE))
    words = {None: "none", str(LOOPBACK_HOSTS): "loopback", "False": "false"}
    for name, field in Config.model_fields.items():
        default = None if field.default is None else str(field.default)
        assert rows.pop(f"CARTRACE_{name.upper()}", "") == words.get(default, default), name
    assert rows == {"CARTRACE_CLOUD_CONFIG": "none", "CARTRACE_DEMO_CLOCK": "none"}
