"""A report says all that it was made from, so that evidence which came while nobody looked is noticed."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = (("batches", "0004_serials_of_any_article"),)

    operations = (
        migrations.RemoveField(model_name="batchreport", name="folded"),
        migrations.AddField(model_name="batchreport", name="made_from", field=models.JSONField(default=dict)),
    )
