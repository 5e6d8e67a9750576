"""The genesis record of a new unit, read from this gateway's spool so that the cloud can enrol it.

Decides whether what a unit sent as its first record is the genesis of that unit, signed with the key that it names
(SPEC W15). A record stays in the spool until a receipt of the cloud covers it, and there is none before enrolment.
Changes nothing; works while the gateway runs. Whether the unit is whose it says it is, only somebody who stands at
it can tell: enrolment is that decision.
"""

from collections.abc import Sequence

import apsw

from gateway.errors import GatewayError
from gateway.settings import Settings
from wire import Genesis, Record, WireError, decode_record, verify_record

READ_WAIT_MS = 2_000


class GenesisMissingError(GatewayError):
    """The spool does not hold the one genesis record that was asked for."""

    code = "genesis_missing"


class GenesisUnclearError(GatewayError):
    """The spool holds several, of different keys: a person must say which."""

    code = "genesis_unclear"


def read_genesis(settings: Settings, unit: str, kid: str | None = None) -> Record:
    """The verified genesis record of a unit, of the newest epoch that is here; kid chooses among several keys.

    Raises GenesisMissingError, GenesisUnclearError and GatewayError, each with one sentence.
    """
    path = settings.spool_path
    if not path.exists():
        raise GenesisMissingError(f"there is no spool at {path}; start the gateway with the unit connected")
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        connection.set_busy_timeout(READ_WAIT_MS)
        try:
            firsts = [raw for (raw,) in connection.execute("SELECT record FROM spool WHERE seq = 0")]
            heard = {name for (name,) in connection.execute("SELECT unit FROM streams")}
        finally:
            connection.close()
    except apsw.Error as error:
        raise GatewayError(f"the spool {path} cannot be read ({error}); start the gateway, which checks it") from error
    found = [record for record in map(_genesis, firsts) if record is not None and _unit_of(record) == unit]
    if kid is not None:
        found = [record for record in found if record.kid.hex() == kid.lower()]
    if not found:
        raise GenesisMissingError(_missing(unit, kid, heard))
    return _newest(unit, found)


def _genesis(raw: bytes) -> Record | None:
    """The record, when it is a genesis that proves its key; everything else at this position is no concern here."""
    try:
        record = decode_record(raw)
        if not isinstance(record.body, Genesis):
            return None
        verify_record(record, record.body.public_key)
    except WireError:
        return None
    return record


def _unit_of(record: Record) -> str:
    assert isinstance(record.body, Genesis)
    return record.body.unit


def _epoch_of(record: Record) -> int:
    assert isinstance(record.body, Genesis)
    return record.body.epoch


def _newest(unit: str, found: Sequence[Record]) -> Record:
    epoch = max(map(_epoch_of, found))
    newest = {record.kid: record for record in found if _epoch_of(record) == epoch}
    if len(newest) > 1:
        keys = ", ".join(sorted(kid.hex() for kid in newest))
        raise GenesisUnclearError(
            f"{len(newest)} keys say they are unit {unit}, epoch {epoch} ({keys}); find out which one is plugged in "
            "(unplug it, and see which stream of `gateway status` stands still), and name it with --kid"
        )
    return next(iter(newest.values()))


def _missing(unit: str, kid: str | None, heard: set[str]) -> str:
    who = f"unit {unit}" if kid is None else f"unit {unit} with key {kid}"
    if unit in heard:
        return (
            f"{who} has spoken here, and no genesis of it waits in the spool: either the cloud has archived it, so the "
            "unit is enrolled, or it has not been relayed yet; `cartrace gateway status` shows which"
        )
    known = ", ".join(sorted(heard)) or "none"
    return f"{who} has not spoken here (units that have: {known}); check its id, its cable and the gateway's ports"
