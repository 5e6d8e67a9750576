"""Recipes refuse UPDATE and DELETE: a changed recipe is a new version."""

from django.db import migrations

from cloud.ledger.append_only import forbid_changes


class Migration(migrations.Migration):
    dependencies = [("batches", "0001_initial")]
    operations = [forbid_changes("batches_recipe")]
