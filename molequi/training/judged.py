"""How well a model knew its errors, for people: lines, the table of a run, a warning."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from molequi.runtime.files import written_by_rename

Result = Mapping[str, Mapping[str, Any]]

# What coverage may be off beside chance, before a spread is called wrong.
_ALLOWED = 0.05
# Standard errors of a share that chance explains.
_BY_CHANCE = 3.0


def judged(result: Result) -> dict[str, Mapping[str, Any]]:
    """Return the rows of an evaluation that are of spreads, by name."""
    return {name: row for name, row in result.items() if "coverage" in row}


def spread_lines(result: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Say how each spread did, one line each: against which errors, and how often it was right."""
    return [
        f"{name}: rank correlation with the {row['count']} errors of {row['spread_of']} "
        f"{_number(row['rank_correlation'])}; within the radius of "
        + ", ".join(
            f"{share} % lie {'-' if held is None else f'{100 * held:.0f} %'}"
            for share, held in row["coverage"].items()
        )
        for name, row in result.items()
        if "coverage" in row
    ]


def misjudged_lines(result: Result) -> list[str]:
    """Name in one line each the spreads whose radii hold far more or fewer errors than they should.

    Far is more than 5 % of all errors, and more than three standard errors of a share of so many.
    """
    return [
        f"{name}: {', '.join(wrong)} of the {row['count']} errors of {row['spread_of']}; the "
        "structures are unlike those that it was calibrated on"
        for name, row in judged(result).items()
        if (wrong := _wrong(row))
    ]


def _wrong(row: Mapping[str, Any]) -> list[str]:
    shares = {float(share) / 100: held for share, held in row["coverage"].items()}
    return [
        f"the radius of {100 * share:.0f} % holds {100 * held:.0f} %"
        for share, held in shares.items()
        if held is not None
        and abs(held - share)
        > max(_ALLOWED, _BY_CHANCE * math.sqrt(share * (1 - share) / max(row["count"], 1)))
    ]


def write_calibration(path: Path, result: Result) -> None:
    """Write a CSV with a line for each spread and share: how many errors its radius holds.

    Columns: spread, spread_of, unit, errors, rank_correlation (Spearman), mean_spread (in the
    unit), meant and held (shares of the errors, 0 to 1).
    """
    with (
        written_by_rename(path) as partial,
        partial.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for name, row in judged(result).items():
            about = [name, row["spread_of"], row["unit"], row["count"]]
            about += [row["rank_correlation"], row["mean_spread"]]
            writer.writerows(
                [*about, float(share) / 100, held] for share, held in row["coverage"].items()
            )


_COLUMNS = (
    "spread",
    "spread_of",
    "unit",
    "errors",
    "rank_correlation",
    "mean_spread",
    "meant",
    "held",
)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
