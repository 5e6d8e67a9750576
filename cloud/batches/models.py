"""What is to be made and what came of it: recipes, batches with their signed orders, and one stored report per batch.

Recipe is append-only (trigger in migration 0002): a changed recipe is a new version. A report is derived from the
ledger and may be made again at any time (cloud/domain). Times are milliseconds since 1970-01-01T00:00Z.
"""

from django.db import models

from cloud.ledger.models import Unit, UnitKey


class Recipe(models.Model):
    """One version of a recipe: the TOML bytes and their SHA-256. Append-only. Format: cloud/RECIPES.md."""

    recipe = models.CharField(max_length=32)
    version = models.BigIntegerField()
    digest = models.BinaryField(max_length=32)
    toml = models.BinaryField()
    added_ms = models.BigIntegerField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=["recipe", "version"], name="recipe_version_once"),)

    def __str__(self) -> str:
        return f"{self.recipe} version {self.version}"


class Batch(models.Model):
    """A batch ordered from one unit.

    order: the signed order's bytes (SPEC section 7). order_number grows per stream (W43).
    """

    batch = models.CharField(max_length=32, unique=True)
    unit = models.ForeignKey(Unit, on_delete=models.PROTECT, related_name="batches")
    key = models.ForeignKey(UnitKey, on_delete=models.PROTECT, related_name="batches")
    recipe = models.ForeignKey(Recipe, on_delete=models.PROTECT, related_name="batches")
    order_number = models.BigIntegerField()
    order = models.BinaryField()
    order_digest = models.BinaryField(max_length=32)
    created_ms = models.BigIntegerField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=["key", "order_number"], name="order_number_grows"),)

    def __str__(self) -> str:
        return self.batch


class BatchReport(models.Model):
    """The latest report of a batch, as Report.to_json() gives it. Columns repeat what lists sort and filter by.

    needs_attention: number of open exceptions that spoil a verdict or are major or critical.
    """

    batch = models.OneToOneField(Batch, on_delete=models.CASCADE, related_name="report")
    report = models.JSONField()
    state = models.CharField(max_length=16)
    complete = models.BooleanField()
    conforming = models.BooleanField()
    authentic = models.BooleanField()
    needs_attention = models.IntegerField()
    made_from = models.JSONField(default=dict)  # what there was of each kind when it was made (batches/reports.py)
    open_critical = models.IntegerField(default=0)
    open_major = models.IntegerField(default=0)
    open_minor = models.IntegerField(default=0)
    refused_copies = models.IntegerField(default=0)  # resolved: altered or forged on the way, the true record is here
    last_contact_ms = models.BigIntegerField(null=True)  # when the cloud received the newest record of the batch
    updated_ms = models.BigIntegerField()

    def __str__(self) -> str:
        return f"report of {self.batch_id}"


class SerialUse(models.Model):
    """A single-use serial number accepted in a batch, as its report found it: how another batch's use is noticed."""

    batch = models.ForeignKey(Batch, on_delete=models.CASCADE, related_name="serials")
    article = models.CharField(max_length=96)  # domain.recipe.Item.article
    serial = models.CharField(max_length=400)  # a scan's longest text

    class Meta:
        constraints = (models.UniqueConstraint(fields=["article", "serial", "batch"], name="serial_once_per_batch"),)

    def __str__(self) -> str:
        return f"{self.article} {self.serial}"
