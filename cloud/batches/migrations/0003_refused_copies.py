"""Reports count what was altered or forged on the way and put right."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = (("batches", "0002_append_only"),)

    operations = (
        migrations.AddField(
            model_name="batchreport",
            name="refused_copies",
            field=models.IntegerField(default=0),
        ),
    )
