"""Ledger and quarantine refuse UPDATE and DELETE, whoever asks. PostgreSQL's variant belongs beside SQLite's, in TRIGGERS."""

from django.db import migrations

from cloud.ledger.append_only import forbid_changes

TABLES = ("ledger_ledgerrecord", "ledger_quarantine")


class Migration(migrations.Migration):
    dependencies = [("ledger", "0001_initial")]
    operations = [forbid_changes(table) for table in TABLES]
