"""Settings of one gateway: a TOML file, overridden by CARTRACE_GATEWAY_* in the environment.

Decides whether a gateway can start with them; a mistake is one sentence that names the field and the file.
Example (paths are relative to the file):

    gateway = "gw-1"
    site = "site-a"
    state_dir = "state"
    cloud_key = "…64 hexadecimal digits, from `cartrace cloud key`…"
    ports = ["/dev/serial/by-id/usb-unit-01", "socket://10.0.0.7:4001"]

    [mqtt]
    host = "broker.example"
    port = 8883
    ca_file = "ca.pem"
"""

import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from gateway.errors import ConfigError
from wire import Topics, WireError, check_public_key

NAME = r"^[A-Za-z0-9_-]{1,32}$"  # SPEC W60
TLS_PORT = 8883  # registered for MQTT over TLS; a plain line to it hangs or shows the password
PORTS_MAX = 64  # a thread and a file each


def _cloud_key(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        key = bytes.fromhex(value)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise ValueError("must be the cloud's public key, 64 hexadecimal digits; `cartrace cloud key` prints it")
    try:
        check_public_key(key)
    except WireError as error:
        raise ValueError(f"is refused ({error}); copy it again from `cartrace cloud key`") from error
    return key


class Mqtt(BaseModel):
    """Where the broker is and how to prove who we are to it."""

    model_config = ConfigDict(extra="forbid")

    host: str = Field(min_length=1)
    port: int = Field(default=1883, ge=1, le=65535)
    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    keepalive_s: int = Field(default=30, ge=5, le=600)
    root: str = "cartrace/v1"

    @model_validator(mode="after")
    def _pairs(self) -> "Mqtt":
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together; give both or neither")
        if self.cert_file is not None and self.ca_file is None:
            raise ValueError("a client certificate needs ca_file, the authority that signed the broker's certificate")
        if self.password_file is not None and self.username is None:
            raise ValueError("password_file is never sent without username; add username or remove password_file")
        if self.port == TLS_PORT and self.ca_file is None:
            raise ValueError(f"port {TLS_PORT} speaks TLS and needs ca_file; add it, or give the broker's plain port")
        return self

    @field_validator("root")
    @classmethod
    def _root(cls, root: str) -> str:
        try:
            Topics(root, "any", "any")
        except WireError as error:
            raise ValueError(f"cannot be a topic ({error.detail}); the usual root is cartrace/v1") from error
        return root

    @property
    def tls(self) -> bool:
        return self.ca_file is not None


class Settings(BaseSettings):
    """Everything one gateway must be told. Times are real (monotonic) milliseconds or seconds."""

    model_config = SettingsConfigDict(env_prefix="CARTRACE_GATEWAY_", env_nested_delimiter="__", extra="forbid")

    gateway: str = Field(pattern=NAME)
    site: str = Field(pattern=NAME)
    state_dir: Path
    cloud_key: Annotated[bytes, BeforeValidator(_cloud_key)]
    ports: list[str] = Field(min_length=1, max_length=PORTS_MAX)
    baud: int = Field(default=115200, ge=300, le=4_000_000)
    mqtt: Mqtt
    resend_ms: int = Field(default=5_000, ge=100)  # a cloud that works answers within a second
    resend_max_ms: int = Field(default=60_000, ge=100)
    time_every_s: int = Field(default=30, ge=1)
    min_free_mb: int = Field(default=64, ge=1)  # room that deleting needs, and a status that can still be written

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings  # the environment wins over the file

    @field_validator("ports")
    @classmethod
    def _ports_once(cls, ports: list[str]) -> list[str]:
        twice = [port for port in ports if ports.count(port) > 1]
        if twice:
            raise ValueError(f"{twice[0]} stands there twice; name each port once")
        return ports

    @property
    def spool_path(self) -> Path:
        return self.state_dir / "spool.db"


def load(path: Path) -> Settings:
    """The settings in path and the environment, with every path made absolute. Raises ConfigError."""
    try:
        with path.open("rb") as stream:
            table = tomllib.load(stream)
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror}; name the gateway's TOML file with --config"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    try:
        settings = Settings(**table)
    except ValidationError as error:
        raise ConfigError(f"{path}: {_first_error(error)}") from error
    except ValueError as error:  # pydantic-settings: a value in the environment that is no JSON
        raise ConfigError(f"the environment beside {path}: {error}") from error
    _make_absolute(settings, path.resolve().parent)
    _check_files(settings.mqtt, path)
    return settings


def _first_error(error: ValidationError) -> str:
    problem = error.errors()[0]
    field = ".".join(map(str, problem["loc"])) or "settings"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    words: dict[str, str] = {
        "missing": "is missing; add it",
        "extra_forbidden": "is not a setting of the gateway; correct its name or remove it",
        "string_pattern_mismatch": "may hold 1 to 32 letters, digits, '-' and '_'",
    }
    detail = problem["msg"].removeprefix("Value error, ")
    return f"{field} {words.get(problem['type'], detail)}{more}"


def _make_absolute(settings: Settings, folder: Path) -> None:
    settings.state_dir = folder / settings.state_dir
    for name in ("password_file", "ca_file", "cert_file", "key_file"):
        value: Any = getattr(settings.mqtt, name)
        if value is not None:
            setattr(settings.mqtt, name, folder / value)


def _check_files(mqtt: Mqtt, path: Path) -> None:
    for name in ("password_file", "ca_file", "cert_file", "key_file"):
        value: Path | None = getattr(mqtt, name)
        if value is not None and not value.is_file():
            raise ConfigError(f"{path}: mqtt.{name} names {value}, which is no file; correct the path or create it")
