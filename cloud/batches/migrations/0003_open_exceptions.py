"""What the list of batches sorts and shows: open exceptions by severity, and the last contact."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("batches", "0002_append_only")]
    operations = [
        migrations.AddField("batchreport", "open_critical", models.IntegerField(default=0)),
        migrations.AddField("batchreport", "open_major", models.IntegerField(default=0)),
        migrations.AddField("batchreport", "open_minor", models.IntegerField(default=0)),
        migrations.AddField("batchreport", "last_contact_ms", models.BigIntegerField(null=True)),
    ]
