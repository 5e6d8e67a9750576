"""Triggers that make a table append-only. One template per database; migrations of ledger and batches use it.

They stop the application, its mistakes and its administrators' scripts. Who can drop a trigger is caught by the chain
and the signatures.
"""

from typing import Any

from django.db.migrations import RunPython

SQLITE = """
CREATE TRIGGER {table}_no_{verb} BEFORE {verb} ON {table}
BEGIN SELECT RAISE(ABORT, '{table} is append-only: {verb} refused'); END
"""
TEMPLATES = {"sqlite": SQLITE}  # by connection.vendor; PostgreSQL: a function that raises, and a trigger per table


def forbid_changes(table: str) -> RunPython:
    """The migration operation that refuses UPDATE and DELETE on table."""

    def create(_apps: Any, schema_editor: Any) -> None:
        template = TEMPLATES[schema_editor.connection.vendor]
        for verb in ("UPDATE", "DELETE"):
            schema_editor.execute(template.format(table=table, verb=verb))

    def drop(_apps: Any, schema_editor: Any) -> None:
        for verb in ("UPDATE", "DELETE"):
            schema_editor.execute(f"DROP TRIGGER {table}_no_{verb}")

    return RunPython(create, drop)
