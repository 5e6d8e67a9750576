"""The cloud's ledger as a plain SQLite file, read without the cloud's code."""

import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Ledger:
    """The cloud's database, opened for reading only."""

    path: Path
    _db: sqlite3.Connection = field(init=False)

    def __post_init__(self) -> None:
        self._db = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=20)

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        return self._db.execute(query, values).fetchall()

    def records_of(self, kid: bytes) -> list[bytes]:
        return [row[0] for row in self.rows("SELECT record FROM ledger_ledgerrecord WHERE kid=? ORDER BY seq, id", kid)]
