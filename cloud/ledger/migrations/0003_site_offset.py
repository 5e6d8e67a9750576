"""The offset of a site's wall clock from UTC (R14)."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("ledger", "0002_append_only")]
    operations = [migrations.AddField("site", "utc_offset_min", models.SmallIntegerField(null=True))]
