"""Journals: lines of JSON, by which a stage that was stopped goes on."""

import json
from pathlib import Path


def append(path: Path, line: dict[str, object]) -> None:
    """Add a line of JSON to a journal."""
    with path.open("a") as journal:
        journal.write(json.dumps(line, ensure_ascii=False) + "\n")


def rows_of(path: Path) -> set[int]:
    """Return the `row` of every line of a journal, which need not be there."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {json.loads(line)["row"] for line in lines}
