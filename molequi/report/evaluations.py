"""A folder of `molequi evaluate`: errors beside labels or on suites, laws, physics, pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from molequi.diagnostics.bounds import BOUNDS
from molequi.report.card import error_table
from molequi.report.markup import Markup, joined
from molequi.report.page import Section, heading, paragraph
from molequi.report.runs import pictures
from molequi.report.suites import suite_tables, suites_of
from molequi.report.tables import Cell, table
from molequi.runtime.gate import reading
from molequi.runtime.plain import read_json

RESULT = "result.json"
_PHYSICS = "physics"


def is_evaluation(folder: Path) -> bool:
    """Tell whether a folder has a result, of which nothing else is known."""
    return (folder / RESULT).is_file()


def evaluation_section(title: str, folder: Path) -> Section:
    """Return the section of a folder: its errors and its pictures.

    Raises UserError for a damaged result.
    """
    found = read_json(folder / RESULT)
    with reading(folder / RESULT, "evaluation"):
        suites = suites_of(found)
        rows = {
            name: row
            for name, row in found.items()
            if isinstance(row, dict) and "unit" in row and name not in suites
        }
        errors = {name: row for name, row in rows.items() if "count" in row}
        values = {name: row for name, row in rows.items() if "value" in row}
        content = [
            error_table(errors) if errors else None,
            _values(values) if values else None,
            suite_tables(suites),
            None if _PHYSICS in {*suites, *rows} else _physics(found.get(_PHYSICS, {})),
        ]
    return Section(title, "", [*content, pictures(folder)])


def _values(rows: Mapping[str, Mapping[str, Any]]) -> Markup:
    """Return how well learned dynamics follow the true ones."""
    cells: list[list[Cell]] = [
        [name.replace("_", " "), row["value"], "" if row["unit"] == "1" else row["unit"]]
        for name, row in rows.items()
    ]
    return table(["quantity", "value", "unit"], cells)


def _physics(tests: Mapping[str, Mapping[str, Any]]) -> Markup | None:
    """Return the values of the suite that needs no data beside their limits."""
    if not tests:
        return None
    cells: list[list[Cell]] = [
        [
            name.replace("_", " "),
            row["value"],
            row["limit"],
            "" if row["unit"] == "1" else row["unit"],
            "ok" if row["ok"] else "BEYOND",
            row["where"],
        ]
        for name, row in tests.items()
    ]
    beyond = (
        paragraph(f"Beyond its limit: {BOUNDS[name].description}; {row['where']}.", "warning")
        for name, row in tests.items()
        if not row["ok"]
    )
    head = ["test", "value", "limit", "unit", "result", "worst case"]
    return joined(heading("Physics"), *beyond, table(head, cells))
