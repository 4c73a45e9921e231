"""How the errors on a suite of reference energies are printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from molequi.cli.output import format_value, line, print_table

_N_WORST, _N_REFUSED = 5, 6


def print_suite(name: str, subject: str, found: Mapping[str, Any]) -> None:
    """Print the errors of a model or calculator on a suite, its worst cases, what was refused."""
    title = f"{name}: {subject}"
    if found["kind"] == "reactions":
        _print_reactions(title, found)
    else:
        _print_conformers(title, found)
    _print_refused(found["refused"])


def _print_reactions(title: str, found: Mapping[str, Any]) -> None:
    keys = ("mae", "rmse", "mean_signed_error", "max")
    columns = ("reactions", "refused", "MAE", "RMSE", "mean signed", "max", "unit")
    print_table(title, columns, [_row(found, keys)], left=("unit",))
    worst = sorted(found["reactions"], key=lambda row: -abs(row["error"]))[:_N_WORST]
    rows = [tuple(row[key] for key in ("name", "reference", "model", "error")) for row in worst]
    _print_worst(("worst reactions", "reference", "model", "error"), rows)


def _print_conformers(title: str, found: Mapping[str, Any]) -> None:
    keys = ("spearman_median", "spearman_mean", "centred_mae_median", "centred_mae_mean")
    columns = (
        "molecules",
        "refused",
        "median Spearman",
        "mean",
        "median centred MAE",
        "mean ",
        "unit",
    )
    print_table(title, columns, [_row(found, keys)], left=("unit",))
    worst = sorted(found["molecules"], key=lambda row: -row["centred_mae"])[:_N_WORST]
    rows = [(row["name"], len(row["model"]), row["spearman"], row["centred_mae"]) for row in worst]
    _print_worst(("worst molecules", "conformers", "Spearman", "centred MAE"), rows)


def _row(found: Mapping[str, Any], keys: Sequence[str]) -> tuple[object, ...]:
    return (found["count"], len(found["refused"]), *(found[key] for key in keys), found["unit"])


def _print_worst(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    if rows:
        print_table("", columns, [[format_value(value, 2) for value in row] for row in rows])


def _print_refused(refused: Sequence[Mapping[str, Any]]) -> None:
    """Print the first refused cases with their reasons, and how many more there are."""
    for row in refused[:_N_REFUSED]:
        line(f"refused: {row['name']}: {row['reason']}")
    if len(refused) > _N_REFUSED:
        line(f"refused: {len(refused) - _N_REFUSED} more; --json and --output list all")
    if refused:
        line("")
