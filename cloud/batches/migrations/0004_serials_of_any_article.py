"""A single-use serial belongs to an article of any labelling scheme, not to a GTIN alone."""

from django.db import migrations, models
from django.db.models import F, Value
from django.db.models.functions import Concat


def _say_article(apps, schema_editor):  # type: ignore[no-untyped-def]  # Django calls it so
    apps.get_model("batches", "SerialUse").objects.update(article=Concat(Value("article "), F("article")))


class Migration(migrations.Migration):
    dependencies = [("batches", "0003_refused_copies")]

    operations = [
        migrations.RemoveConstraint(model_name="serialuse", name="serial_once_per_batch"),
        migrations.RenameField(model_name="serialuse", old_name="gtin", new_name="article"),
        migrations.AlterField(model_name="serialuse", name="article", field=models.CharField(max_length=96)),
        migrations.RunPython(_say_article, migrations.RunPython.noop),
        migrations.AddConstraint(
            model_name="serialuse",
            constraint=models.UniqueConstraint(fields=("article", "serial", "batch"), name="serial_once_per_batch"),
        ),
    ]
