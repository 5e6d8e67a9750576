"""Reads the TOML file that says what a new unit is told, and makes its enrolment letter of it.

Decides what a unit may be told: anything that the firmware would not follow is refused here, in one sentence, before it
is flashed. The keys of the file: firmware/boards/README.md. Limits: wire/SPEC.md section 5 type 8, and the firmware's.
"""

from __future__ import annotations

import datetime
import re
import tomllib
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from tools import enrolment
from tools.enrolment import ChannelSpec
from wire import WireError, check_public_key

NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")  # SPEC W60
OFFSET = re.compile(r"([+-])(\d\d):([0-5]\d)")
OFFSET_MIN_MAX = 14 * 60
EPOCH_MAX = 2**31 - 1
CHANNELS_MAX = 8
SCALED_MAX = 10**9
SETTINGS_BYTES_MAX = 65_536
LETTER_BYTES_MAX = 3_960  # slot `config` has 4,000 bytes, and the unit adds its key seed
WHEN_FULL = {"refuse": 0, "give up the oldest": 1}
LID = "lid"
DRIVERS = {  # what the firmware can read from each chip
    "tmp117": ("temperature",),
    "sht4x": ("temperature", "humidity"),
    "bmp280": ("temperature", "pressure"),
}
UNITS = {"temperature": ("Cel",), "humidity": ("%",), "pressure": ("mbar", "hPa", "kPa", "Pa")}
ADDRESSES = range(0x08, 0x78)  # of I2C; the others are reserved
DISPLAY_ADDRESS = 0x3C
SUFFIX_BYTES, PREFIX_BYTES = 4, 8
LABEL_BYTES = (set(range(0x20, 0x7B)) - set(b"#@[\\^`")) | {
    0x1D
}  # what labels carry: cannot end a code, or stand for GS


class SettingsError(ValueError):
    """A file that no unit can be made of. The text says where, what is wrong and what to do."""


class _Table:
    """One TOML table being read; every mistake is a SettingsError with the place in front."""

    def __init__(self, place: str, table: object) -> None:
        self._place = place
        if not isinstance(table, dict):
            raise SettingsError(f"{place} is no table; write it as shown in firmware/boards/README.md")
        self._left = dict(table)

    def wrong(self, key: str, wrong: str, remedy: str) -> SettingsError:
        return SettingsError(f"{self._place}{', ' if self._place else ''}{key} {wrong}; {remedy}")

    def take(self, key: str, fits: Callable[[Any], object], remedy: str, default: Any = ...) -> Any:
        """The value, or default when it is left out."""
        value = self._left.pop(key, default)
        if value is ...:
            raise self.wrong(key, "is missing", remedy)
        if value is not default and not fits(value):
            raise self.wrong(key, f"cannot be {value if isinstance(value, Decimal) else repr(value)}", remedy)
        return value

    def text(self, key: str, longest: int, default: Any = ...) -> Any:
        """A text of 1..longest bytes without control characters (SPEC W23)."""

        def fits(value: Any) -> bool:
            plain = isinstance(value, str) and not any(ord(char) < 32 or ord(char) == 127 for char in value)
            return plain and 1 <= len(value.encode(errors="surrogatepass")) <= longest

        return self.take(key, fits, f"give a text of 1 to {longest} bytes without control characters", default)

    def whole(self, key: str, allowed: range, default: Any = ...) -> Any:
        remedy = f"give a whole number from {allowed.start} to {allowed.stop - 1}"
        return self.take(key, lambda value: type(value) is int and value in allowed, remedy, default)

    def one_of(self, key: str, words: tuple[str, ...], default: Any = ...) -> Any:
        return self.take(key, lambda value: value in words, f"use one of: {', '.join(words)}", default)

    def scaled(self, key: str, decimals: int, default: Any = ...) -> Any:
        """A decimal number as an integer of its last digit."""
        number = self.take(
            key, lambda value: type(value) in (int, Decimal) and Decimal(value).is_finite(), "give a number", default
        )
        if number is None:
            return None
        scaled = Decimal(number).scaleb(decimals)
        if scaled != scaled.to_integral_value() or abs(scaled) > SCALED_MAX:
            raise self.wrong(
                key, f"cannot be {number} with {decimals} decimals", "round it, or say more decimals for this channel"
            )
        return int(scaled)

    def day_ms(self, key: str) -> int | None:
        """A date, as the beginning of that day in UTC."""
        day = self.take(key, lambda value: type(value) is datetime.date, "give a date such as 2028-01-01", None)
        if day is None:
            return None
        midnight = datetime.datetime(day.year, day.month, day.day, tzinfo=datetime.UTC)
        return round(midnight.timestamp()) * 1000

    def finish(self) -> None:
        for key in self._left:
            raise self.wrong(key, "is not known here", "remove it, or correct its spelling")


def letter_of(toml: bytes, unit: str | None = None, epoch: int | None = None) -> tuple[str, int, bytes]:
    """(unit id, epoch, letter) of a settings file; unit and epoch, when given, count instead of the file's.

    Raises SettingsError.
    """
    top = _Table("", _parsed(toml) | {k: v for k, v in (("unit", unit), ("epoch", epoch)) if v is not None})
    name = top.take("unit", _is_name, "use 1 to 32 of A-Z a-z 0-9 _ and -, in the file or as --unit")
    number = top.whole("epoch", range(1, EPOCH_MAX + 1), 1)
    key = _cloud_key(top)
    offset_min = _offset_min(top)
    when_full = WHEN_FULL[top.one_of("when_full", tuple(WHEN_FULL), "refuse")]
    scanner = _scanner(top)
    channels, sensors = _channels(top)
    top.finish()
    made = enrolment.letter(
        name, number, key, channels, offset_min, scanner=scanner, sensors=sensors, when_full=when_full
    )
    if len(made) > LETTER_BYTES_MAX:
        raise SettingsError(f"the letter has {len(made)} bytes and may have {LETTER_BYTES_MAX}; shorten names")
    return name, number, made


def _parsed(toml: bytes) -> dict[str, Any]:
    if len(toml) > SETTINGS_BYTES_MAX:
        raise SettingsError(f"it has more than {SETTINGS_BYTES_MAX} bytes; this cannot be the right file")
    try:
        return tomllib.loads(toml.decode("utf-8"), parse_float=Decimal)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError, ValueError, ArithmeticError) as error:
        raise SettingsError(f"it is not TOML ({error}); correct the place that is named") from error


def _is_name(value: object) -> bool:
    return isinstance(value, str) and NAME.fullmatch(value) is not None


def _cloud_key(top: _Table) -> bytes:
    remedy = "copy the 64 hexadecimal digits that `cartrace cloud key` prints"
    digits = top.take(
        "cloud_key", lambda value: isinstance(value, str) and re.fullmatch("[0-9a-fA-F]{64}", value), remedy
    )
    key = bytes.fromhex(digits)
    try:
        check_public_key(key)
    except WireError as error:
        raise top.wrong("cloud_key", f"is refused ({error})", remedy) from error
    return key


def _offset_min(top: _Table) -> int:
    remedy = "say how far the site's clocks are ahead of UTC, such as +02:00 or -03:30"
    text = top.take("utc_offset", lambda value: isinstance(value, str) and OFFSET.fullmatch(value), remedy)
    sign, hours, minutes = OFFSET.fullmatch(text).groups()  # type: ignore[union-attr]
    offset_min = (int(hours) * 60 + int(minutes)) * (-1 if sign == "-" else 1)
    if abs(offset_min) > OFFSET_MIN_MAX:
        raise top.wrong("utc_offset", f"cannot be {text}", remedy)
    return offset_min


# --- scanner --------------------------------------------------------------------------------------------------------


def _scanner(top: _Table) -> dict[int, bytes]:
    """Letter key 8; what is left out has the firmware's default."""
    table = _Table("[scanner]", top.take("scanner", lambda _value: True, "", {}))
    options = {}
    for number, key in ((1, "prefix"), (2, "suffix"), (3, "gs")):
        text = table.take(key, _is_latin, "give characters up to \\u00FF, in double quotes", None)
        if text is not None:
            options[number] = text.encode("latin-1")
    table.finish()
    fault = scanner_fault(options.get(1, b""), options.get(2, b"\r\n"), options.get(3, b""))
    if fault:
        raise SettingsError(f"[scanner]: {fault}; set the scanner up as in firmware/README.md, and say so here")
    return options


def _is_latin(value: object) -> bool:
    return isinstance(value, str) and all(ord(char) < 256 for char in value)


def scanner_fault(prefix: bytes, suffix: bytes, gs: bytes) -> str:
    """Why the firmware would refuse a scanner that is set up like this; "" when it would not."""
    if not 1 <= len(suffix) <= SUFFIX_BYTES:
        return f"the suffix must be 1 to {SUFFIX_BYTES} bytes, any of which ends a code"
    if len(prefix) > PREFIX_BYTES:
        return f"the prefix must be at most {PREFIX_BYTES} bytes"
    if len(gs) > 1:
        return "one byte, or none, can stand for GS"
    if set(prefix + gs) & set(suffix):
        return "a byte of the suffix must not occur in the prefix or stand for GS"
    if set(suffix + gs) & LABEL_BYTES:
        return "a byte that labels carry cannot end a code or stand for GS"
    return ""


# --- channels -------------------------------------------------------------------------------------------------------


def _channels(top: _Table) -> tuple[list[ChannelSpec], list[tuple[str, int, str]]]:
    remedy = f"give at most {CHANNELS_MAX} [[channel]] tables"
    tables = top.take("channel", lambda value: isinstance(value, list) and len(value) <= CHANNELS_MAX, remedy, [])
    channels: list[ChannelSpec] = []
    sensors = []
    for number, table in enumerate(tables, start=1):
        channel, sensor = _channel(_Table(f"[[channel]] {number}", table))
        if channel.name in {known.name for known in channels}:
            raise SettingsError(f"[[channel]] {number} is named {channel.name} like one before; give it another name")
        channels.append(channel)
        sensors.append(sensor)
    return channels, sensors


def _channel(table: _Table) -> tuple[ChannelSpec, tuple[str, int, str]]:
    name = table.text("name", 16)
    driver = table.one_of("driver", (*DRIVERS, LID))
    if driver == LID:
        table.finish()
        return ChannelSpec(name, "1", 0, 0, 1), (LID, 0, "")
    quantity = table.one_of("quantity", DRIVERS[driver])
    unit = table.one_of("unit", UNITS[quantity])
    address = table.whole("address", ADDRESSES)
    if address == DISPLAY_ADDRESS:
        raise table.wrong("address", f"cannot be {address:#x}", "the display has it; wire the sensor to another one")
    decimals = table.whole("decimals", range(0, 10))
    channel = ChannelSpec(
        name, unit, -decimals,
        low=table.scaled("low", decimals),
        high=table.scaled("high", decimals),
        certificate=table.text("certificate", 32, None),
        due_ms=table.day_ms("due"),
        sensor=table.text("sensor", 32, None),
        calibrated_ms=table.day_ms("calibrated"),
        offset=table.scaled("offset", decimals, None),
    )  # fmt: skip
    if channel.low >= channel.high:
        raise table.wrong("low", "is not below high", "give the sensor's measuring range")
    table.finish()
    return channel, (driver, address, quantity)
