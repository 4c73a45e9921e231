"""Figures of a run and of an evaluation: the learning curve, predictions over labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from molequi.nn.heads.doubt import SHARE, SHARES
from molequi.plots import coverage, learning_curve, parity, reliability
from molequi.properties import Property, part_names
from molequi.training.doubt import compared_rows
from molequi.training.evaluation import Evaluation
from molequi.training.judged import judged
from molequi.training.log import units_of, with_unit
from molequi.training.metrics_file import read_metrics
from molequi.training.run_directory import RunDirectory

Column = Sequence[float | None]


def draw_run(directory: RunDirectory, evaluation: Evaluation, targets: Sequence[str]) -> None:
    """Draw the learning curve, and how each target and each spread did, into the run's plots."""
    draw_errors(evaluation, directory.plots)
    if not directory.metrics.is_file():  # an ensemble has no epochs: its members have
        return
    rows = compared_rows(evaluation.frames.properties[name] for name in targets)
    metrics = read_metrics(directory.metrics)
    columns = {
        name: [line.get(name) for line in metrics] for name in (metrics[0] if metrics else ())
    }
    learning_curve(
        range(len(metrics)),
        _losses(columns, rows),
        _errors(columns, rows),
        directory.plots / "learning_curve.png",
    )


def draw_errors(evaluation: Evaluation, folder: Path) -> None:
    """Draw predictions over labels for each property, and errors over each spread, into a folder.

    The files are `parity_NAME.png`, `reliability_NAME.png` and `calibration.png`: how many errors
    the radii of all spreads hold.
    """
    for name in evaluation.guesses:
        _draw_parity(evaluation, evaluation.frames.properties[name], folder / f"parity_{name}.png")
    held = {
        name: [row["coverage"][f"{100 * share:.0f}"] for share in SHARES]
        for name, row in judged(evaluation.result).items()
        if None not in row["coverage"].values()
    }
    if held:
        coverage(SHARES, held, folder / "calibration.png")
    for name, (errors, spreads) in evaluation.doubted.items():
        path, unit = folder / f"reliability_{name}.png", evaluation.result[name]["unit"]
        reliability(spreads.numpy(), errors.numpy(), name, unit, path, share=SHARE)


def _losses(columns: Mapping[str, Column], rows: Sequence[Property]) -> dict[str, Column]:
    names = [name for row in rows for name in part_names(row)]
    return {
        name: columns[f"train_loss_{name}"] for name in names if f"train_loss_{name}" in columns
    }


def _errors(columns: Mapping[str, Column], rows: Sequence[Property]) -> dict[str, Column]:
    units = units_of(rows)
    names = [f"{row.name}_per_atom" if row.has_reference else row.name for row in rows]
    return {
        f"{name} MAE ({units[name]})": columns[f"valid_{name}_mae"]
        for name in names
        if f"valid_{name}_mae" in columns
    }


def _draw_parity(evaluation: Evaluation, row: Property, path: Path) -> None:
    prediction, target, label = (
        evaluation.predictions[row.name],
        evaluation.frames.targets[row.name],
        row.name,
    )
    if row.binary:
        prediction, label = prediction.sigmoid(), f"{row.name} (probability)"
    if row.has_reference:
        # Totals of different compositions lie thousands of eV apart; what matters is what
        # composition alone does not tell.
        guess = evaluation.guesses[row.name]
        prediction, target, label = (
            prediction - guess,
            target - guess,
            f"{row.name} - composition fit",
        )
    errors = evaluation.result[row.name]
    note = "\n".join(
        f"{name} {with_unit(errors[key], row.unit, digits=3)}"
        for name, key in (("MAE", "mae"), ("RMSE", "rmse"))
    )
    parity(target.numpy(), prediction.numpy(), label, row.unit, path, note=note)
