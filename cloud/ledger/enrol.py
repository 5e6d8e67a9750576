"""Enrolment and revocation of unit keys: who may sign for which unit, from which position and up to which.

A genesis record is its own proof of possession: it names unit, epoch and public key and is signed by that key (SPEC
W15). What is enrolled is never changed; a new key is a new epoch, and a lost one is revoked from a position of its
stream on.
"""

import re

from django.db import transaction

from cloud.errors import RefusalError
from cloud.ledger.models import LARGEST_NUMBER, Gateway, Site, Unit, UnitKey
from wire import Genesis, Record, WireError, decode_record, verify_record

NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")  # SPEC W60


def enrol(genesis: bytes, site: str, gateway: str, now_ms: int, source: str = "This") -> UnitKey:
    """Enrol the unit and key that a genesis record speaks of, at a gateway of a site; both are made when new.

    Enrolling the same genesis again changes nothing but the gateway. source names the genesis in a refusal: its file.
    Raises RefusalError.
    """
    record, body = _checked_genesis(genesis, source)
    with transaction.atomic():
        place = _gateway(site, gateway)
        known = UnitKey.objects.select_related("unit").filter(kid=record.kid).first()
        if known is not None:
            _check_same(known, record, body)
            known.unit.gateway = place
            known.unit.save(update_fields=["gateway"])
            return known
        unit, _ = Unit.objects.update_or_create(
            name=body.unit, defaults={"gateway": place}, create_defaults={"gateway": place, "model": body.model}
        )
        _check_epoch(unit, body.epoch)
        return UnitKey.objects.create(
            kid=record.kid,
            public_key=body.public_key,
            unit=unit,
            epoch=body.epoch,
            genesis=genesis,
            genesis_digest=record.digest,
            enrolled_ms=now_ms,
        )


def revoke(unit: str, from_seq: int, reason: str, now_ms: int, kid: str | None = None) -> UnitKey:
    """Stop trusting a unit's newest key (or the one named) from a position of its stream on. Raises RefusalError.

    A second revocation may only move the point back: what was once distrusted stays so.
    """
    if not 0 <= from_seq <= LARGEST_NUMBER:
        raise RefusalError(
            "seq_invalid", f"The position {from_seq} is no seq of a stream; give the first seq that no longer counts."
        )
    if not reason.strip():
        raise RefusalError(
            "reason_missing", "A revocation needs a reason; say in a few words why the key is no longer trusted."
        )
    with transaction.atomic():
        key = _key_of(unit, kid)
        if key.revoked_from_seq is not None and from_seq > key.revoked_from_seq:
            raise RefusalError(
                "revocation_forward",
                f"Key {key} of {unit} is revoked from seq {key.revoked_from_seq}; that point can only move back.",
            )
        key.revoked_from_seq, key.revoked_ms, key.revoked_reason = from_seq, now_ms, reason.strip()[:200]
        key.save(update_fields=["revoked_from_seq", "revoked_ms", "revoked_reason"])
        return key


def _checked_genesis(genesis: bytes, source: str) -> tuple[Record, Genesis]:
    try:
        record = decode_record(genesis)
    except WireError as error:
        raise RefusalError(
            "genesis_invalid",
            f"{source} is not a genesis record; `cartrace gateway genesis` writes that of a unit to a file.",
        ) from error
    if not isinstance(record.body, Genesis):
        raise RefusalError(
            "genesis_invalid", f"{source} holds record {record.seq} of a stream; enrolment needs record 0, the genesis."
        )
    try:
        verify_record(record, record.body.public_key)
    except WireError as error:
        raise RefusalError(
            "genesis_invalid", f"The genesis does not prove its key ({error}); provision the unit again."
        ) from error
    if record.body.epoch < 1 or record.body.epoch > LARGEST_NUMBER:
        raise RefusalError("genesis_invalid", f"The genesis says epoch {record.body.epoch}; a unit's first epoch is 1.")
    return record, record.body


def _gateway(site: str, gateway: str) -> Gateway:
    for name in (site, gateway):
        if not NAME.fullmatch(name):
            raise RefusalError(
                "name_invalid", f"{name!r} cannot name a site or gateway; use 1 to 32 of A-Z a-z 0-9 _ and -."
            )
    known = Gateway.objects.select_related("site").filter(name=gateway).first()
    if known is None:
        return Gateway.objects.create(name=gateway, site=Site.objects.get_or_create(name=site)[0])
    if known.site.name != site:
        raise RefusalError(
            "gateway_elsewhere",
            f"Gateway {gateway} belongs to site {known.site.name}, not {site}; correct --site or --gateway.",
        )
    return known


def _check_same(known: UnitKey, record: Record, body: Genesis) -> None:
    if known.unit.name != body.unit:
        raise RefusalError(
            "key_known",
            f"Key {known} is enrolled for unit {known.unit.name}; provision {body.unit} with a key of its own.",
        )
    if bytes(known.genesis_digest) != record.digest:
        raise RefusalError(
            "key_known",
            f"Key {known} is enrolled with another genesis; a stream begins once, so provision a new epoch.",
        )


def _check_epoch(unit: Unit, epoch: int) -> None:
    last = unit.keys.order_by("-epoch").first()
    expected = 1 if last is None else last.epoch + 1
    if epoch != expected:
        was = "is not enrolled yet" if last is None else f"is enrolled through epoch {last.epoch}"
        raise RefusalError(
            "epoch_unexpected",
            f"Unit {unit.name} {was}, and this genesis is of epoch {epoch}; enrol epoch {expected} next.",
        )


def _key_of(unit: str, kid: str | None) -> UnitKey:
    keys = UnitKey.objects.filter(unit__name=unit).order_by("-epoch")
    for key in keys:
        if kid is None or str(key) == kid:
            return key
    if not keys:
        raise RefusalError("unit_unknown", f"There is no unit {unit}; `unit list` shows those enrolled.")
    raise RefusalError("key_unknown", f"Unit {unit} has no key {kid}; it has {', '.join(map(str, keys))}.")
