"""The ledger app; checks on every new connection that a commit survives a power cut (DECISIONS.md)."""

from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db.backends.signals import connection_created

SYNCHRONOUS_LEVEL = {"FULL": 2, "EXTRA": 3}


def check_durability(connection: Any, **_: object) -> None:
    """Refuse a SQLite connection whose journal mode or synchronous level is not the configured pair."""
    if connection.vendor != "sqlite":
        return
    with connection.cursor() as cursor:
        journal = cursor.execute("PRAGMA journal_mode").fetchone()[0]
        synchronous = cursor.execute("PRAGMA synchronous").fetchone()[0]
    if (journal, synchronous) != (settings.JOURNAL_MODE, SYNCHRONOUS_LEVEL[settings.SYNCHRONOUS]):
        raise ImproperlyConfigured(
            f"The database runs with journal_mode={journal}, synchronous={synchronous}; "
            "a power cut could lose archived records. Put the state directory on a local disk."
        )


class LedgerConfig(AppConfig):
    """Units, keys, ledger and quarantine."""

    name = "cloud.ledger"

    def ready(self) -> None:
        connection_created.connect(check_durability)
