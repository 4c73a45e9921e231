"""What a run writes for people: the epoch line, the final table, metrics.csv."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from molequi.properties import Property, part_names

# Units that read better with the prefix milli while the number is below one.
_MILLI = {"eV": "meV", "eV/Å": "meV/Å", "eV/atom": "meV/atom", "eV/Å³": "meV/Å³"}
_COLUMNS = ("mae", "rmse", "max", "r2", "baseline_mae")


def with_unit(value: float | None, unit: str, *, digits: int = 4) -> str:
    """Write a number with its unit, such as `12.3 meV/Å`; `-` for None."""
    if value is None:
        return "-"
    if unit in _MILLI and abs(value) < 1.0:
        value, unit = 1000.0 * value, _MILLI[unit]
    return f"{value:.{digits}g}{'' if unit == '1' else f' {unit}'}"


def units_of(rows: Sequence[Property]) -> dict[str, str]:
    """Return the unit of each metric name of the rows."""
    units = {name: row.unit for row in rows for name in (row.name, *part_names(row))}
    return {**units, **{f"{row.name}_per_atom": f"{row.unit}/atom" for row in rows}}


def epoch_line(summary: Mapping[str, Any], rows: Sequence[Property]) -> str:
    """Say in one line where training stands.

    Validation MAE with its unit, R2 of the parts of tensors; `*` marks the best epoch so far.
    """
    units = units_of(rows)
    errors = [
        f"{name} {with_unit(values['mae'], units[name], digits=3)}"
        for name, values in summary["valid"].items()
        if values["count"] and f"{name}_per_atom" not in summary["valid"] and "[" not in name
    ]
    parts = [
        f"{name} {values['r2']:.3f}"
        for name, values in summary["valid"].items()
        if "[" in name and values["r2"] is not None
    ]
    errors += [f"R2 {' '.join(parts)}"] if parts else []
    loss = sum(summary["train"].values()) / max(len(summary["train"]), 1)
    start = f"epoch {summary['epoch'] + 1}  {summary['seconds']:.0f} s  rate {summary['learning_rate']:.1e}  loss {loss:.3g}"
    return f"{start}  valid MAE: {', '.join(errors)}{' *' if summary['is_best'] else ''}"


def final_table(result: Mapping[str, Mapping[str, Any]]) -> str:
    """Lay out an evaluation (DESIGN §5) as text: one row per property, in the property's unit.

    The accuracy where a yes/no label has one.
    """
    accuracy = ["accuracy"] if any("accuracy" in row for row in result.values()) else []
    header = ["property", "unit", "count", "MAE", "RMSE", "max", "R2", "baseline MAE", *accuracy]
    body = [
        [
            name,
            row["unit"],
            str(row["count"]),
            *(_number(row.get(column)) for column in (*_COLUMNS, *accuracy)),
        ]
        for name, row in result.items()
    ]
    widths = [max(len(line[k]) for line in [header, *body]) for k in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(width) if k < 2 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in [header, *body]
    ]
    return "\n".join(line.rstrip() for line in lines)


def metrics_row(summary: Mapping[str, Any]) -> dict[str, float | int | str]:
    """Flatten an epoch's summary to one line of metrics.csv; undefined values are empty."""
    row: dict[str, Any] = {
        name: summary[name] for name in ("epoch", "step", "seconds", "learning_rate", "score")
    }
    row["seconds"] = round(row["seconds"], 3)
    row["is_best"] = int(summary["is_best"])
    row |= {f"train_loss_{name}": value for name, value in summary["train"].items()}
    row |= {
        f"valid_{name}_{metric}": values[metric]
        for name, values in summary["valid"].items()
        for metric in ("mae", "rmse", "r2")
    }
    return {name: "" if value is None else value for name, value in row.items()}


class MetricsFile:
    """metrics.csv: a header and one line per epoch, on disk when `append` returns.

    size: bytes that are complete; a resumed run cuts the file there.
    """

    def __init__(self, path: Path, size: int = 0) -> None:
        self.path, self.size = path, size
        if path.exists():
            os.truncate(path, min(size, path.stat().st_size))
        else:
            path.touch()
            self.size = 0

    def append(self, row: Mapping[str, float | int | str]) -> None:
        """Add a line; the first one brings the header."""
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(row), lineterminator="\n")
            if not self.size:
                writer.writeheader()
            writer.writerow(row)
            file.flush()
            os.fsync(file.fileno())
        self.size = self.path.stat().st_size


def read_metrics(path: Path) -> list[dict[str, float | None]]:
    """Read metrics.csv as numbers; empty cells are None."""
    with path.open(newline="", encoding="utf-8") as file:
        return [
            {name: float(value) if value else None for name, value in row.items()}
            for row in csv.DictReader(file)
        ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
