"""A run of `molequi train`: card, errors, learning curves, parity, where it is wrong."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from molequi.models.checkpoint import read_description
from molequi.report.card import error_table, model_facts
from molequi.report.learning import in_words, learning_curves, units_in
from molequi.report.markup import Markup, element
from molequi.report.page import Section, figures, heading, paragraph
from molequi.report.predicted import Predictions
from molequi.report.tables import Cell, facts, table
from molequi.runtime.gate import reading
from molequi.runtime.plain import read_json
from molequi.runtime.wording import capital
from molequi.training.log import error_columns
from molequi.training.metrics_file import read_metrics
from molequi.training.run_directory import RunDirectory


def run_sections(title: str, folder: Path, name: str) -> list[Section]:
    """Return the sections of a run directory. name: of its viewer."""
    run = RunDirectory(folder)
    settings = run.read_settings()
    result = read_json(run.result) if run.result.is_file() else None
    if result is not None:
        with reading(run.result, "result of a run"):
            keys = {key for row in result.values() for key in row}
        if keys & {"value", "runs"}:
            show = _dynamics if "value" in keys else _repeated
            return [show(title, run, settings, result)]
    description = read_description(run.model) if run.model.is_file() else None
    tested: list[Markup | None] = []
    if description is not None and run.predictions("test").is_file():
        tested = _tested(run, description, name)
    return [_summary(title, run, settings, result, description, tested)]


def _summary(
    title: str,
    run: RunDirectory,
    settings: Mapping[str, Any],
    result: Mapping[str, Any] | None,
    description: Mapping[str, Any] | None,
    tested: Sequence[Markup | None],
) -> Section:
    metrics = read_metrics(run.metrics) if run.metrics.is_file() else []
    content: list[Markup | None] = [
        None if result is not None else paragraph(_UNFINISHED, "warning"),
        _run_facts(run, settings, metrics),
        None if description is None else heading("The model"),
        None if description is None else model_facts(description),
        None if result is None else heading("Errors on structures held back"),
        None if result is None else error_table(result),
        heading("Learning curves") if metrics else None,
        figures(*learning_curves(metrics, units_in(description))),
        *tested,
    ]
    return Section(title, _described(settings), content)


_UNFINISHED = "The run has not ended: the page shows how far it is; --resume goes on with it."


def _run_facts(
    run: RunDirectory, settings: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]]
) -> Markup:
    data, training = settings.get("data", {}), settings.get("training", {})
    parts = run.read_split() if run.split.is_file() else {}
    counts = ", ".join(f"{name} {len(rows)}" for name, rows in parts.items())
    seconds = metrics[-1].get("seconds") if metrics else None
    best = [row for row in metrics if row.get("is_best")]
    return facts(
        [
            ("data", _data_name(data)),
            ("structures", counts),
            ("epochs", len(metrics) or None),
            ("best epoch", int(best[-1]["epoch"]) + 1 if best else None),
            ("time", None if seconds is None else _duration(seconds)),
            ("optimiser", training.get("optimizer") and str(training["optimizer"])),
            ("seed", training.get("seed")),
        ]
    )


def _data_name(data: Mapping[str, Any]) -> str:
    """Name the data without the folders of the machine that they lay on."""
    path = data.get("path")
    return Path(path).name if path else str(data.get("kind") or "")


def _duration(seconds: float) -> str:
    minutes = seconds / 60.0
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes:.1f} min" if minutes < 90 else f"{minutes / 60.0:.1f} h"


def _described(settings: Mapping[str, Any]) -> str:
    return str(settings.get("description") or "")


def _tested(run: RunDirectory, description: Mapping[str, Any], name: str) -> list[Markup | None]:
    """Return what the predictions for the test set show."""
    found = Predictions(run.predictions("test"), description)
    where = figures(*found.by_element(), *found.by_size())
    worst = found.worst(name)
    return [
        heading("Predictions beside labels of the test set"),
        figures(*found.parity(), *found.reliability()),
        None if where is None else heading("Errors by element and size"),
        where,
        None if worst is None else heading("Where it is most wrong"),
        worst,
    ]


def _repeated(
    title: str, run: RunDirectory, settings: Mapping[str, Any], result: Mapping[str, Any]
) -> Section:
    """Return the section of several runs over folds and seeds: their means, and each of them."""
    columns = error_columns(result)
    rows: list[list[Cell]] = [
        [
            in_words(name),
            "" if row["unit"] == "1" else row["unit"],
            row["runs"],
            *(_with_spread(row.get(key), row.get(f"{key}_std")) for key in columns),
        ]
        for name, row in result.items()
        if "mae" in row
    ]
    head = ["property", "unit", "runs", *(text.replace("R2", "R²") for text in columns.values())]
    note = "Mean over the runs ± their standard deviation."
    singles = [path.parent for path in sorted(run.path.glob("*/result.json"))]
    names = [name for name, row in result.items() if "mae" in row]
    each = [[folder.name, *_errors_in(folder, names)] for folder in singles]
    headings = ["run", *(f"{in_words(name)} MAE ({result[name]['unit']})" for name in names)]
    content = [
        _run_facts(run, settings, []),
        heading("Errors on structures held back"),
        table(head, rows, note),
        heading("Each run"),
        table(headings, each, "`molequi report` of one of these folders shows it in full."),
    ]
    return Section(title, _described(settings), content)


def _errors_in(folder: Path, names: Sequence[str]) -> list[Cell]:
    found = read_json(folder / "result.json")
    return [found.get(name, {}).get("mae") for name in names]


def _with_spread(mean: float | None, spread: float | None) -> str | None:
    if mean is None or spread is None:
        return None if mean is None else f"{mean:.4g}"
    return f"{mean:.4g} ± {spread:.2g}"


def _dynamics(
    title: str, run: RunDirectory, settings: Mapping[str, Any], result: Mapping[str, Any]
) -> Section:
    """Return the section of learned dynamics: what was measured, and the run's own pictures."""
    rows: list[list[Cell]] = [
        [in_words(name), row["value"], "" if row["unit"] == "1" else row["unit"]]
        for name, row in result.items()
    ]
    content = [
        _run_facts(run, settings, []),
        heading("On the test set"),
        table(["quantity", "value", "unit"], rows),
        pictures(run.plots),
    ]
    return Section(title, _described(settings), content)


def pictures(folder: Path) -> Markup | None:
    """Return the PNG files of a folder as figures."""
    return figures(*map(_picture, sorted(folder.glob("*.png"))))


def _picture(path: Path) -> Markup:
    data = base64.b64encode(path.read_bytes()).decode()
    image = element("img", src=f"data:image/png;base64,{data}", alt=in_words(path.stem))
    return element("figure", element("h4", capital(in_words(path.stem))), image)
