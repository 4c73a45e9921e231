"""metrics.csv: one line per epoch."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path

from molequi.training.metrics import EpochSummary


def metrics_row(summary: EpochSummary) -> dict[str, float | int | str]:
    """Flatten an epoch's summary to one line of metrics.csv; undefined values are empty."""
    row: dict[str, float | int | None] = {
        "epoch": summary.epoch,
        "step": summary.step,
        "seconds": round(summary.seconds, 3),
        "learning_rate": summary.learning_rate,
        "score": summary.score,
        "is_best": int(summary.is_best),
        **{f"train_loss_{name}": value for name, value in summary.train.items()},
    }
    row |= {
        f"valid_{name}_{metric}": values[metric]
        for name, values in summary.valid.items()
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
            self.size = min(size, path.stat().st_size)
            os.truncate(path, self.size)
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
