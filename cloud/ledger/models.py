"""What the cloud keeps of the outside world: enrolled units and keys, the ledger, quarantine, gaps and stream heads.

LedgerRecord and Quarantine are append-only: SQL triggers refuse UPDATE and DELETE (migration 0002). StreamHead and Gap
are derived from the ledger and change. Formats: wire/SPEC.md. Times are milliseconds since 1970-01-01T00:00Z. A kid is
8 bytes, a digest 32 (SHA-256). Numbers fit in a signed 64-bit column (SPEC W8).
"""

from django.db import models

LARGEST_NUMBER = 2**63 - 1  # what a BigIntegerField holds on SQLite and PostgreSQL


class Site(models.Model):
    """A place with one or more gateways. name: `[A-Za-z0-9_-]{1,32}` (SPEC W60).

    utc_offset_min: what the clock on the wall is ahead of UTC (R14), for ends of days and for reading; null: not set.
    """

    name = models.CharField(max_length=32, unique=True)
    utc_offset_min = models.SmallIntegerField(null=True)

    def __str__(self) -> str:
        return self.name


class Gateway(models.Model):
    """A gateway of a site; its name is unique in the installation because receipts are addressed to it."""

    name = models.CharField(max_length=32, unique=True)
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="gateways")

    def __str__(self) -> str:
        return self.name


class Unit(models.Model):
    """A manufacturing unit.

    gateway: where its orders are published; its records may come through any gateway (SPEC W64).
    """

    name = models.CharField(max_length=32, unique=True)
    gateway = models.ForeignKey(Gateway, on_delete=models.PROTECT, related_name="units")
    model = models.CharField(max_length=32)

    def __str__(self) -> str:
        return self.name


class UnitKey(models.Model):
    """A unit's key of one epoch: the identity of one stream.

    Records of seq >= revoked_from_seq are kept but do not count as authentic; the point is a position of the stream,
    never a time (a thief chooses his times). genesis_digest pins record 0: no receipt is signed for a stream that
    starts otherwise.
    """

    kid = models.BinaryField(max_length=8, unique=True)
    public_key = models.BinaryField(max_length=32)
    unit = models.ForeignKey(Unit, on_delete=models.PROTECT, related_name="keys")
    epoch = models.BigIntegerField()
    genesis = models.BinaryField(max_length=1024)
    genesis_digest = models.BinaryField(max_length=32)
    enrolled_ms = models.BigIntegerField()
    revoked_ms = models.BigIntegerField(null=True)
    revoked_from_seq = models.BigIntegerField(null=True)
    revoked_reason = models.CharField(max_length=200, default="")

    class Meta:
        constraints = (models.UniqueConstraint(fields=["unit", "epoch"], name="one_key_per_epoch"),)

    def __str__(self) -> str:
        return bytes(self.kid).hex()

    def valid_at(self, seq: int) -> bool:
        """Whether the key counts for the record at this position of its stream."""
        return self.revoked_from_seq is None or seq < self.revoked_from_seq


class LedgerRecord(models.Model):
    """One authentic record, byte for byte as received, with its decoded header. Append-only.

    Identity is (kid, seq, digest) (SPEC W17): two rows of one kid and seq are an equivocation. id is the order of
    arrival in the ledger. key_valid and finding are what was known when the row was written; a later revocation is read
    from UnitKey. finding: contiguous, gap, equivocation or chain_broken (wire.Finding).
    """

    kid = models.BinaryField(max_length=8)
    seq = models.BigIntegerField()
    digest = models.BinaryField(max_length=32)
    prev = models.BinaryField(max_length=32)
    record = models.BinaryField(max_length=1024)
    type = models.SmallIntegerField()
    batch = models.CharField(max_length=32, null=True)  # absent and "" differ in a record
    time_ms = models.BigIntegerField(null=True)
    uncertainty_ms = models.BigIntegerField(null=True)
    uptime_ms = models.BigIntegerField()
    boot = models.BigIntegerField()
    gateway = models.CharField(max_length=32)
    arrival_ms = models.BigIntegerField()
    received_ms = models.BigIntegerField()
    key_valid = models.BooleanField()
    finding = models.CharField(max_length=16)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["kid", "seq", "digest"], name="ledger_identity"),)
        indexes = (
            models.Index(
                fields=["batch", "kid", "type", "seq"], name="ledger_batch", condition=models.Q(batch__isnull=False)
            ),
        )

    def __str__(self) -> str:
        return f"{bytes(self.kid).hex()}/{self.seq}"


class Quarantine(models.Model):
    """Bytes that could not be accepted, with the reason. Append-only; the same bytes for the same reason are kept once.

    reason: a code of SPEC section 10 or of DOMAIN R69 (key_not_valid, signature_invalid), or unreadable_message for a
    payload that is no uplink message. kid, seq and batch are what the bytes claim, proven by nothing. A payload beyond
    65 536 bytes is kept up to there.
    """

    digest = models.BinaryField(max_length=32)
    content = models.BinaryField()
    reason = models.CharField(max_length=32)
    sentence = models.CharField(max_length=400)
    kid = models.BinaryField(max_length=8, null=True)
    seq = models.BigIntegerField(null=True)
    batch = models.CharField(max_length=32, null=True)  # null: absent or not decodable
    gateway = models.CharField(max_length=32)
    arrival_ms = models.BigIntegerField(null=True)
    received_ms = models.BigIntegerField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=["digest", "reason"], name="quarantine_once"),)
        indexes = (
            models.Index(fields=["kid", "seq"], name="quarantine_claims"),
            models.Index(fields=["batch"], name="quarantine_batch"),
        )

    def __str__(self) -> str:
        return f"quarantine/{bytes(self.digest).hex()[:16]}"


class StreamHead(models.Model):
    """How far a stream has come; derived from the ledger in the same transaction.

    highest_seq: the highest seq held. archived_thru: the last seq of the receiptable prefix (-1: none), along which
    each record names a held predecessor, back to the enrolled genesis. archived_digests: the digests of that prefix's
    end, 32 bytes each; more than one only after an equivocation. forked_at: the first seq that holds more than one
    record.
    """

    kid = models.BinaryField(max_length=8, unique=True)
    highest_seq = models.BigIntegerField(default=-1)
    archived_thru = models.BigIntegerField(default=-1)
    archived_digests = models.BinaryField(default=b"")
    forked_at = models.BigIntegerField(null=True)
    received_ms = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{bytes(self.kid).hex()} thru {self.archived_thru}"


class Gap(models.Model):
    """Positions first..last below the highest seq held that were missing when they were found.

    A row is wholly open (filled_ms null) or wholly filled: a partial refill splits it. asked counts the wants sent for
    it.
    """

    kid = models.BinaryField(max_length=8)
    first = models.BigIntegerField()
    last = models.BigIntegerField()
    found_ms = models.BigIntegerField()
    filled_ms = models.BigIntegerField(null=True)
    asked = models.IntegerField(default=0)

    class Meta:
        indexes = (models.Index(fields=["kid", "first"], name="gap_of_stream"),)

    def __str__(self) -> str:
        return f"{bytes(self.kid).hex()}/{self.first}..{self.last}"
