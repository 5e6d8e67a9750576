"""Where the cloud keeps its state and how it reaches the broker; read from the environment and one TOML file.

Environment: CARTRACE_CLOUD_STATE, CARTRACE_CLOUD_HOSTS, CARTRACE_CLOUD_HTTPS, CARTRACE_CLOUD_CONFIG (path of the TOML
file), CARTRACE_MQTT_HOST, _PORT, _USERNAME, _PASSWORD_FILE, _CA_FILE, _CERT, _KEY, _ROOT. The TOML file uses the same
names in lower case without the prefix (`cloud_hosts = ["qa.example"]`, `mqtt_host = "broker"`). The environment wins.
Secrets are files, never settings.
"""

import os
import secrets
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from wire import Clock

DEFAULT_STATE = Path(".state/cloud")
TLS_PORT = 8883  # registered for MQTT over TLS; a plain line to it hangs or shows the password
LOOPBACK_HOSTS = ["127.0.0.1", "localhost", "[::1]"]
EXPECTED = {  # settings that are not text
    "cloud_state": "the path of a directory",
    "cloud_hosts": 'a list of host names such as ["qa.example"]',
    "cloud_https": "true or false",
    "mqtt_port": "a whole number from 1 to 65535",
    "mqtt_password_file": "the path of a file",
    "mqtt_ca_file": "the path of a file",
    "mqtt_cert": "the path of a file",
    "mqtt_key": "the path of a file",
}


class ConfigError(ValueError):
    """A setting is wrong; the text says which one and what to do."""

    code = "bad_config"


class Config(BaseSettings):
    """Settings of one cloud installation. Paths are files on this machine."""

    model_config = SettingsConfigDict(env_prefix="CARTRACE_", extra="forbid")

    cloud_state: Path = DEFAULT_STATE
    cloud_hosts: list[str] = LOOPBACK_HOSTS
    cloud_https: bool = False
    mqtt_host: str = "127.0.0.1"
    mqtt_port: Annotated[int, Field(ge=1, le=65535)] = 1883
    mqtt_username: str | None = None
    mqtt_password_file: Path | None = None
    mqtt_ca_file: Path | None = None
    mqtt_cert: Path | None = None
    mqtt_key: Path | None = None
    mqtt_root: str = "cartrace/v1"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment first, then the TOML file; no .env file is ever read."""
        path = os.environ.get("CARTRACE_CLOUD_CONFIG")
        return (
            (init_settings, env_settings, TomlConfigSettingsSource(settings_cls, path))
            if path
            else (init_settings, env_settings)
        )

    @property
    def database(self) -> Path:
        return self.cloud_state / "db.sqlite3"

    @property
    def mqtt_password(self) -> str | None:
        """The broker password, read from its file. Raises ConfigError."""
        if self.mqtt_password_file is None:
            return None
        try:
            return self.mqtt_password_file.read_text().strip()
        except OSError as error:
            raise ConfigError(
                f"The broker's password file {self.mqtt_password_file} cannot be read: {error.strerror}."
            ) from error


def load_config() -> Config:
    """The settings of this installation. Raises ConfigError with one sentence."""
    path = os.environ.get("CARTRACE_CLOUD_CONFIG")
    if path and not Path(path).is_file():
        raise ConfigError(f"The settings file {path} does not exist; correct CARTRACE_CLOUD_CONFIG.")
    try:
        config = Config()
    except ValidationError as error:
        raise ConfigError(_wrong_setting(str(error.errors()[0]["loc"][0]))) from error
    except SettingsError as error:  # a list in the environment that is no JSON
        raise ConfigError(_wrong_setting("cloud_hosts")) from error
    except (ValueError, OSError) as error:
        raise ConfigError(f"The settings file {path} cannot be read as TOML ({error}); correct it.") from error
    _check_broker(config)
    return config


def _wrong_setting(name: str) -> str:
    name = name.lower().removeprefix("cartrace_")
    if name not in Config.model_fields:
        return f"There is no setting {name}; use one of: {', '.join(Config.model_fields)}."
    return f"The setting {name} is wrong; give {EXPECTED.get(name, 'text')}."


def _check_broker(config: Config) -> None:
    """Half a set of credentials would be a connection in plain text that looks guarded. Raises ConfigError."""
    if (config.mqtt_cert is None) != (config.mqtt_key is None):
        raise ConfigError("Of mqtt_cert and mqtt_key only one is set; a client certificate needs both.")
    if config.mqtt_cert is not None and config.mqtt_ca_file is None:
        raise ConfigError("mqtt_cert is set without mqtt_ca_file, which TLS needs; give the broker's authority too.")
    if config.mqtt_password_file is not None and config.mqtt_username is None:
        raise ConfigError("mqtt_password_file is set without mqtt_username; give the login name too.")
    if config.mqtt_port == TLS_PORT and config.mqtt_ca_file is None:
        raise ConfigError(
            f"mqtt_port {TLS_PORT} speaks TLS and needs mqtt_ca_file; add it, or give the broker's plain port."
        )
    for name in ("mqtt_password_file", "mqtt_ca_file", "mqtt_cert", "mqtt_key"):
        path = getattr(config, name)
        if path is not None and not path.is_file():
            raise ConfigError(f"The file {path} of the setting {name} does not exist; correct its path.")


def secret_file(path: Path, size: int) -> bytes:
    """The secret in path (size bytes, as hex text), made at the first call with mode 0600. Raises ConfigError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        if not path.exists():
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
                handle.write(secrets.token_hex(size) + "\n")
                handle.flush()
                os.fsync(handle.fileno())
            try:
                os.link(fresh, path)  # whoever comes second keeps the first one's secret
            except FileExistsError:
                pass
            finally:
                fresh.unlink()
        secret = bytes.fromhex(path.read_text().strip())
    except OSError as error:
        raise ConfigError(
            f"The secret file {path} cannot be used: {error.strerror}; check the state directory."
        ) from error
    except ValueError as error:
        raise ConfigError(
            f"The secret file {path} does not hold hexadecimal text; restore it from the backup."
        ) from error
    if len(secret) != size:
        raise ConfigError(
            f"The secret file {path} holds {len(secret)} bytes instead of {size}; restore it from the backup."
        )
    return secret


def session_secret(config: Config) -> str:
    """What Django signs sessions and forms with. Raises ConfigError; a lost one only ends every session."""
    return secret_file(config.cloud_state / "secret.key", 48).hex()


def cloud_seed(config: Config) -> bytes:
    """The Ed25519 seed that signs receipts and orders. Raises ConfigError: a lost one is never made anew."""
    path = config.cloud_state / "cloud.key"
    if not path.exists() and _has_units(config.database):
        raise ConfigError(
            f"The cloud's key {path} is missing, and the database beside it has units that trust it; restore it from "
            "the backup. With another key every gateway and unit would refuse the cloud."
        )
    return secret_file(path, 32)


def _has_units(database: Path) -> bool:
    if not database.exists():
        return False
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
            return db.execute("SELECT 1 FROM ledger_unitkey").fetchone() is not None
    except sqlite3.Error:  # no tables yet, or no database: whoever opens it says so
        return False


def wall_clock() -> Clock:
    """The clock of every wall time in the cloud. Raises ConfigError when a demonstration clock is wrong."""
    try:
        return Clock.from_environment()
    except ValueError as error:
        raise ConfigError(str(error)) from error
