"""Writes wire/vectors/: what both implementations of the contract must accept, and what they must refuse.

Run `python -m tools.make_vectors [directory]` after a change of wire/SPEC.md; a test compares byte for byte.
"""

import json
import sys
from pathlib import Path

from tools.accepted_vectors import accepted
from tools.reject_vectors import rejects

VECTORS = Path(__file__).parent.parent / "wire" / "vectors"


def all_vectors() -> dict[str, str]:
    """File name to contents."""
    made = accepted() | {f"reject-{case['name']}": case for case in rejects()}
    return {f"{name}.json": json.dumps(vector, indent=1, ensure_ascii=False) + "\n" for name, vector in made.items()}


def main(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    vectors = all_vectors()
    for stale in {path.name for path in directory.glob("*.json")} - set(vectors):
        (directory / stale).unlink()
    for name, contents in vectors.items():
        (directory / name).write_text(contents, encoding="utf-8")
    print(f"{len(vectors)} files in {directory}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else VECTORS)
