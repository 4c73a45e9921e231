"""What a run writes for people: log.txt, the epoch line, the final table."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from molequi.properties import Property, part_names
from molequi.runtime.gate import printable
from molequi.training.judged import spread_lines
from molequi.training.metrics import EpochSummary

# Units that read better with the prefix milli while the number is below one.
_MILLI = {"eV": "meV", "eV/Å": "meV/Å", "eV/atom": "meV/atom", "eV/Å³": "meV/Å³"}
_COLUMNS = {
    "mae": "MAE",
    "rmse": "RMSE",
    "max": "max",
    "r2": "R2",
    "spearman": "Spearman",
    "baseline_mae": "baseline MAE",
    "fingerprint_mae": "fingerprint MAE",
    "ridge_mae": "ridge MAE",
    "accuracy": "accuracy",
    "violation": "violation",
}
_OPTIONAL = ("spearman", "fingerprint_mae", "ridge_mae", "accuracy", "violation")
_YES_NO = {
    "roc_auc": "ROC-AUC",
    "pr_auc": "PR-AUC",
    "mcc": "MCC",
    "balanced_accuracy": "balanced accuracy",
    "fingerprint_roc_auc": "ROC-AUC of the fingerprints",
    "ridge_roc_auc": "ROC-AUC of the ridge",
}


class _Formatter(logging.Formatter):
    """Writes what comes from files without the characters that a terminal would obey."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one record."""
        return printable(super().format(record))


class RunLog(logging.FileHandler):
    """log.txt: what the package logs from INFO up, between `attach` and `detach`, or as a context.

    Other handlers keep what they showed before.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8", delay=True)
        self.setFormatter(_Formatter("%(asctime)s %(message)s", datefmt="%Y-%m-%d %H:%M:%S"))
        self.setLevel(logging.INFO)
        self._package = logging.getLogger("molequi")
        self._level_before: int | None = None

    def attach(self) -> None:
        """Begin to write."""
        package = self._package
        self._level_before = package.level
        if package.getEffectiveLevel() > logging.INFO:
            for other in package.handlers:
                other.setLevel(max(other.level, package.getEffectiveLevel()))
            package.setLevel(logging.INFO)
        package.addHandler(self)

    def detach(self) -> None:
        """Give the package's log back, and close the file."""
        self._package.removeHandler(self)
        if self._level_before is not None:
            self._package.setLevel(self._level_before)
            self._level_before = None
        self.close()

    def note(self, message: str) -> None:
        """Write a line that no other handler shows."""
        self.emit(logging.makeLogRecord({"msg": message, "created": time.time()}))

    def __enter__(self) -> RunLog:
        self.attach()
        return self

    def __exit__(self, *_error: object) -> None:
        self.detach()


def with_unit(value: float | None, unit: str, *, digits: int = 4) -> str:
    """Write a number with its unit, such as `12.3 meV/Å`; `-` for None."""
    if value is None:
        return "-"
    if unit in _MILLI and abs(value) < 1.0:
        value, unit = 1000.0 * value, _MILLI[unit]
    return f"{value:.{digits}g}{after_number(unit)}"


def after_number(unit: str) -> str:
    """Return a unit as it follows a number: a pure number has none."""
    return "" if unit == "1" else f" {unit}"


def units_of(rows: Sequence[Property]) -> dict[str, str]:
    """Return the unit of each metric name of the rows."""
    units = {name: row.unit for row in rows for name in (row.name, *part_names(row))}
    return {**units, **{f"{row.name}_per_atom": f"{row.unit}/atom" for row in rows}}


def epoch_line(summary: EpochSummary, rows: Sequence[Property]) -> str:
    """Say in one line where training stands.

    Validation MAE with its unit, R2 of the parts of tensors; `*` marks the best epoch so far.
    """
    units = units_of(rows)
    errors = [
        f"{name} {with_unit(values['mae'], units[name], digits=3)}"
        for name, values in summary.valid.items()
        if values["count"] and f"{name}_per_atom" not in summary.valid and "[" not in name
    ]
    parts = [
        f"{name} {values['r2']:.3f}"
        for name, values in summary.valid.items()
        if "[" in name and values["r2"] is not None
    ]
    errors += [f"R2 {' '.join(parts)}"] if parts else []
    loss = sum(summary.train.values()) / max(len(summary.train), 1)
    start = f"epoch {summary.epoch + 1}  {summary.seconds:.0f} s"
    rate = f"rate {summary.learning_rate:.1e}  loss {loss:.3g}"
    mark = " *" if summary.is_best else ""
    return f"{start}  {rate}  valid MAE: {', '.join(errors)}{mark}"


def error_columns(result: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the headings of an evaluation's columns, by key: the usual, and those that it has."""
    return {
        key: heading
        for key, heading in _COLUMNS.items()
        if key not in _OPTIONAL or any(row.get(key) is not None for row in result.values())
    }


def final_table(result: Mapping[str, Mapping[str, Any]]) -> str:
    """Lay out an evaluation as text: one row per property, in the property's unit.

    Below it what there is to say of yes/no labels and of spreads.
    """
    columns = error_columns(result)
    header = ["property", "unit", "count", *columns.values()]
    body = [
        [name, row["unit"], str(row["count"]), *(_number(row.get(key)) for key in columns)]
        for name, row in result.items()
        if "coverage" not in row
    ]
    return "\n".join([_aligned([header, *body]), *yes_no_lines(result), *spread_lines(result)])


def yes_no_lines(result: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Say how well each yes is told from no, one line per label."""
    return [
        f"{name}: "
        + ", ".join(
            f"{heading} {_number(row[key])}" for key, heading in _YES_NO.items() if key in row
        )
        if row["roc_auc"] is not None
        else f"{name}: the labels here are all alike, so nothing tells yes from no"
        for name, row in result.items()
        if "roc_auc" in row
    ]


def beaten_lines(result: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Name in one line the properties that a guess without learning predicts better, if any.

    Energies alone, beside forces that are right, may as well be of another level: that is said.
    """
    known = {
        name: row
        for name, row in result.items()
        if "[" not in name and row.get("count") and row.get("baseline_mae") is not None
    }
    beaten = {name: row for name, row in known.items() if row["mae"] > row["baseline_mae"]}
    if not beaten:
        return []
    listed = ", ".join(
        f"{name} ({_number(row['mae'])} against {_number(row['baseline_mae'])}"
        f"{after_number(row['unit'])})"
        for name, row in beaten.items()
    )
    reason = "the model has learned nothing of them that holds on these structures"
    if set(beaten) <= {"energy", "energy_per_atom"} and "forces" in known:
        reason = (
            "as its forces are better than that, the model has not learned these energies yet, or "
            "they are of another level of theory than its own or counted from another zero"
        )
    return [f"errors larger than those of a guess without learning: {listed}; {reason}"]


def _aligned(table: Sequence[Sequence[str]]) -> str:
    """Lay out lines of cells under each other: two columns to the left, the others to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
    lines = []
    for line in table:
        cells = list(zip(line, widths, strict=True))
        left = [cell.ljust(width) for cell, width in cells[:2]]
        lines.append("  ".join([*left, *(cell.rjust(width) for cell, width in cells[2:])]))
    return "\n".join(line.rstrip() for line in lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
