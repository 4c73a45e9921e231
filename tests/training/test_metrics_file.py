"""metrics.csv."""

from __future__ import annotations

import dataclasses

from molequi.training.metrics import EpochSummary
from molequi.training.metrics_file import MetricsFile, metrics_row, read_metrics

SUMMARY = EpochSummary(
    epoch=4,
    step=50,
    seconds=12.34567,
    learning_rate=1e-3,
    train={"dipole": 0.0},
    valid={"dipole": {"mae": None, "rmse": None, "r2": None, "count": 0}},
    score=0.7,
    is_best=True,
)


def test_metrics_file_is_cut_to_what_the_run_remembers(tmp_path):
    path = tmp_path / "metrics.csv"
    file = MetricsFile(path)
    file.append(metrics_row(SUMMARY))
    size = file.size
    file.append(metrics_row(dataclasses.replace(SUMMARY, epoch=5)))
    resumed = MetricsFile(path, size)
    resumed.append(metrics_row(dataclasses.replace(SUMMARY, epoch=6)))
    lines = read_metrics(path)
    assert [line["epoch"] for line in lines] == [4, 6]
    assert lines[0]["valid_dipole_mae"] is None
    assert lines[0]["seconds"] == 12.346
    MetricsFile(path).append(metrics_row(SUMMARY))
    assert len(read_metrics(path)) == 1
    path.write_text("")
    MetricsFile(path, size).append(metrics_row(SUMMARY))
    assert len(read_metrics(path)) == 1, "the heading is there again"
