"""The enrolment letter: what the factory tells a unit about itself. The unit adds its own key and never gives it away.

A CBOR map: 1 unit id, 2 epoch, 3 the cloud's public key, 4 the sensor channels as in SPEC section 5 type 8, 5 random
bytes that the unit mixes into its key, 6 the site's offset from UTC in minutes. If needed: 8 what the scanner
sends round a code, {1 prefix, 2 the bytes that can end a code, 3 the byte that stands for GS}; 9 per channel what
measures it, [driver, I2C address, quantity]; 10 what a full journal does: 0 refuse scans, 1 give up the oldest block
after a signed loss. It becomes the value of the slot `config` (firmware/README.md). Decides nothing about the values:
unit_settings.py does.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wire import cbor

ENTROPY_BYTES = 32


@dataclass(frozen=True)
class ChannelSpec:
    """One sensor as the unit is told of it at enrolment (SPEC section 5, type 8).

    sensor: what measures, type and serial number. offset: scaled, and contained in every value already.
    """

    name: str
    unit: str
    exponent: int
    low: int
    high: int
    certificate: str | None = None
    due_ms: int | None = None
    sensor: str | None = None
    calibrated_ms: int | None = None
    offset: int | None = None


def letter(
    unit: str,
    epoch: int,
    cloud_public_key: bytes,
    channels: Sequence[ChannelSpec],
    site_offset_min: int,
    *,
    scanner: Mapping[int, bytes] | None = None,
    sensors: Sequence[tuple[str, int, str]] = (),
    when_full: int = 0,
) -> bytes:
    """The letter's bytes, for a unit whose flash is still empty. Each one has random bytes of its own."""
    if not 1 <= len(unit.encode()) <= 32:
        raise ValueError(f"a unit id has 1 to 32 bytes, this one {len(unit.encode())}: {unit!r}")
    fields: dict[int, object] = {
        1: unit, 2: epoch, 3: cloud_public_key, 4: [_channel(channel) for channel in channels],
        5: os.urandom(ENTROPY_BYTES), 6: site_offset_min,
    }  # fmt: skip
    if scanner:
        fields[8] = dict(scanner)
    if sensors:
        fields[9] = [list(sensor) for sensor in sensors]
    if when_full:
        fields[10] = when_full
    return cbor.encode(fields)


def _channel(channel: ChannelSpec) -> dict[int, object]:
    fields: dict[int, object] = {
        1: channel.name, 2: channel.unit, 3: channel.exponent, 4: channel.low, 5: channel.high,
    }  # fmt: skip
    calibration = (channel.certificate, channel.due_ms, channel.sensor, channel.calibrated_ms, channel.offset)
    fields.update((key, value) for key, value in enumerate(calibration, start=6) if value is not None)
    return fields
