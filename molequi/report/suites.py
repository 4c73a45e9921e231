"""Errors on suites of reference energies: the measures of each, its worst cases, what was refused.

The counterpart for a page of what `molequi evaluate` prints.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from molequi.report.markup import Markup, element, joined
from molequi.report.page import paragraph
from molequi.report.tables import table

_MEASURES = {
    "reactions": {"mae": "MAE", "rmse": "RMSE", "mean_signed_error": "mean signed", "max": "max"},
    "conformers": {
        "spearman_median": "median Spearman",
        "spearman_mean": "mean Spearman",
        "centred_mae_median": "median centred MAE",
        "centred_mae_mean": "mean centred MAE",
    },
}
_MOST = 10


def suites_of(found: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return those entries of a result that are suites, by name."""
    return {
        name: row
        for name, row in found.items()
        if isinstance(row, Mapping) and row.get("kind") in _MEASURES and "refused" in row
    }


def suite_tables(suites: Mapping[str, Mapping[str, Any]]) -> Markup:
    """Return the errors on each suite, as `molequi.prediction.suite_scores` gives them."""
    return joined(*(_suite(name, found) for name, found in suites.items()))


def _suite(name: str, found: Mapping[str, Any]) -> Markup:
    measures, refused = _MEASURES[found["kind"]], found["refused"]
    cases = "reactions" if found["kind"] == "reactions" else "molecules"
    row = [found["count"], len(refused), *(found[key] for key in measures), found["unit"]]
    worst = _reactions(found) if cases == "reactions" else _molecules(found)
    return joined(
        element("h3", name),
        table([cases, "refused", *measures.values(), "unit"], [row]),
        worst if found["count"] else None,
        *(paragraph(f"Refused: {one['name']}: {one['reason']}") for one in refused[:_MOST]),
        paragraph(f"Refused: {len(refused) - _MOST} more.") if len(refused) > _MOST else None,
    )


def _reactions(found: Mapping[str, Any]) -> Markup:
    worst = sorted(found["reactions"], key=lambda row: -abs(row["error"]))[:_MOST]
    keys = ("name", "reference", "model", "error")
    head = ["worst reactions", *(f"{key}, {found['unit']}" for key in keys[1:])]
    return table(head, [[row[key] for key in keys] for row in worst])


def _molecules(found: Mapping[str, Any]) -> Markup:
    worst = sorted(found["molecules"], key=lambda row: -row["centred_mae"])[:_MOST]
    head = ["worst molecules", "conformers", "Spearman", f"centred MAE, {found['unit']}"]
    rows = [[row["name"], len(row["model"]), row["spearman"], row["centred_mae"]] for row in worst]
    return table(head, rows)
