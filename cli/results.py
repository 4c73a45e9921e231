"""What `molequi evaluate` has found: printed, written, drawn."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molequi.cli.output import line, print_json, print_table, say
from molequi.cli.physics import as_json, print_physics
from molequi.cli.suites import print_suite

if TYPE_CHECKING:
    from molequi.diagnostics.physicality import PhysicsReport

PHYSICS = "physics"  # the suite that needs no data


class Results:
    """What has been found: printed as it comes, or at the end as JSON, and written to `folder`.

    is_whole: whether nothing was refused and no limit exceeded.
    """

    def __init__(self, subject: str, folder: Path | None, *, json: bool) -> None:
        self.subject, self.folder, self.json = subject, folder, json
        self.document: dict[str, Any] = {}
        self.is_whole = True
        self.n_refused = self.n_found = 0

    def add_suite(self, name: str, found: Mapping[str, Any]) -> None:
        """Add the errors on a suite."""
        self.document[name] = found
        self.is_whole &= not found["refused"]
        self.n_refused += len(found["refused"])
        self.n_found += found["count"]
        if not self.json:
            print_suite(name, self.subject, found)
        if self.folder is not None and found["count"]:
            from molequi.prediction.suite_plots import plot_suite

            plot_suite(name, found, self.folder / f"{name}.png")

    @property
    def is_empty(self) -> bool:
        """Whether all of every suite was refused, and there is nothing else."""
        return bool(self.n_refused) and not self.n_found and PHYSICS not in self.document

    def add_errors(self, found: Mapping[str, Mapping[str, Any]]) -> None:
        """Add the errors beside labels; their plots are there already."""
        self.document |= found
        if self.json:
            return
        if is_of_dynamics(found):
            print_dynamics(f"Dynamics of {self.subject}", found)
        else:
            print_errors(f"Errors of {self.subject}", found)
            print_judgement(found)

    def add_physics(self, report: PhysicsReport) -> None:
        """Add the physics report."""
        self.document[PHYSICS] = as_json(report)
        self.is_whole &= all(item.ok for item in report.measurements.values())
        if not self.json:
            print_physics(self.subject, report)
        if self.folder is not None and report.curves:
            from molequi.diagnostics.dimer_plot import plot_dimers

            plot_dimers(report.curves, self.folder / f"{PHYSICS}.png")

    def finish(self) -> None:
        """Print the JSON document where that is wanted, and write it."""
        if self.json:
            print_json(self.document)
        if self.folder is not None:
            from molequi.runtime.files import write_text
            from molequi.runtime.plain import json_text

            write_text(self.folder / "result.json", json_text(self.document))


@contextlib.contextmanager
def results_of(
    subject: str, output: Path | None, *, json: bool, overwrite: bool
) -> Iterator[Results]:
    """Yield what is to be filled with results; the folder `output` appears, whole, at the end.

    Raises UserError where something is in its way.
    """
    if output is None:
        results = Results(subject, None, json=json)
        yield results
        results.finish()
        return
    from molequi.runtime.folders import folder_by_rename

    with folder_by_rename(output, overwrite=overwrite) as folder:
        results = Results(subject, folder, json=json)
        yield results
        results.finish()
    names = sorted(path.name for path in output.iterdir())
    say(f"everything is in {output}: {', '.join(names)}")


def is_of_dynamics(result: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a result is one of dynamics: a value with its unit by name."""
    return all("value" in row for row in result.values())


def print_dynamics(title: str, result: Mapping[str, Mapping[str, Any]]) -> None:
    """Print how well learned dynamics follow the true ones."""
    rows = [
        (name.replace("_", " "), row["value"], "" if row["unit"] == "1" else row["unit"])
        for name, row in result.items()
    ]
    print_table(title, ("quantity", "value", "unit"), rows, left=("unit",))


def print_errors(title: str, result: Mapping[str, Mapping[str, Any]]) -> None:
    """Print an evaluation, one row per property.

    Below it how well yes was told from no, and how well the model knew its errors.
    """
    from molequi.training.judged import spread_lines
    from molequi.training.log import error_columns, yes_no_lines

    columns = error_columns(result)
    rows = [
        (
            name,
            "" if row["unit"] == "1" else row["unit"],
            row["count"],
            *(row.get(key) for key in columns),
        )
        for name, row in result.items()
        if "coverage" not in row
    ]
    headings = (heading.replace("R2", "R²") for heading in columns.values())
    print_table(title, ("property", "unit", "count", *headings), rows, left=("unit",))
    line(
        "Components of vectors are counted one by one. Baseline: composition least squares for "
        "extensive energies, else the training mean, or zero."
        + (" Fingerprint: a random forest on them." if "fingerprint_mae" in columns else "")
        + (" Ridge: a linear model of fingerprints." if "ridge_mae" in columns else "")
    )
    for text in (*yes_no_lines(result), *spread_lines(result)):
        line(text)


def print_judgement(result: Mapping[str, Mapping[str, Any]]) -> None:
    """Print what is suspicious about errors; the log of a training has said it of its own."""
    from molequi.training.judged import misjudged_lines
    from molequi.training.log import beaten_lines

    for text in beaten_lines(result):
        line(f"WORSE THAN THE BASELINE: {text}")
    for text in misjudged_lines(result):
        line(f"WRONG ABOUT ITS ERRORS: {text}")


def print_repeated(title: str, result: Mapping[str, Mapping[str, Any]]) -> None:
    """Print the mean and the spread of the errors of several runs, one row per property."""
    from molequi.training.log import error_columns, yes_no_lines

    columns = error_columns(result)
    rows = [
        (
            name,
            "" if row["unit"] == "1" else row["unit"],
            row["runs"],
            row["count"],
            *(_with_spread(row.get(key), row.get(f"{key}_std")) for key in columns),
        )
        for name, row in result.items()
        if "mae" in row
    ]
    headings = (heading.replace("R2", "R²") for heading in columns.values())
    print_table(title, ("property", "unit", "runs", "count", *headings), rows, left=("unit",))
    line("Mean over the runs ± their standard deviation; count: labels of all runs together.")
    for text in yes_no_lines(result):
        line(text)


def _with_spread(mean: float | None, spread: float | None) -> str | None:
    if mean is None or spread is None:
        return None if mean is None else f"{mean:.4g}"
    return f"{mean:.4g} ± {spread:.2g}"
