"""`molequi evaluate`: a model beside labels, beside reference energies, and beside physics."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from molequi.cli import options
from molequi.cli.calculators import load_factory
from molequi.cli.exits import ExitCode
from molequi.cli.output import line, print_json, print_table, say
from molequi.cli.suites import print_suite
from molequi.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from molequi.prediction.energies import EnergySource

_COLUMNS = ("property", "unit", "count", "MAE", "RMSE", "max", "R²", "baseline MAE")
_LABELLED_BATCH = 64

Model = Annotated[
    str | None,
    typer.Argument(
        metavar="MODEL",
        show_default=False,
        help="A model file, a run directory, or the name of a bundled model; left out with "
        "--calculator.",
    ),
]
Data = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="DATA|SUITE...",
        show_default=False,
        help="A labelled file, or qm9; a run directory knows its own. Or suites of reference "
        "energies: .json.gz or .yaml files, folders of them, or bundled ones by name, such as s66.",
    ),
]
Split = Annotated[
    str | None, typer.Option("--split", show_default=False, help="train, valid or test, of DATA.")
]
Calculator = Annotated[
    str | None,
    typer.Option(
        "--calculator",
        metavar="MODULE:FACTORY",
        show_default=False,
        help="An ASE calculator instead of MODEL, such as ase.calculators.emt:EMT, "
        "./my_calculator.py:make, or gfn2-xtb where tblite is installed. For suites.",
    ),
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Exit with 1 where part of a suite is refused.")
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        show_default=False,
        help="A folder for result.json and a plot of each suite.",
    ),
]


class _Task(NamedTuple):
    """What is evaluated, a model or a calculator by name, and on what."""

    model: str | None
    calculator: str | None
    data: list[str]

    @property
    def subject(self) -> str:
        return str(self.calculator or self.model)


def evaluate(
    model: Model = None,
    data: Data = None,
    *,
    split: Split = None,
    calculator: Calculator = None,
    strict: Strict = False,
    output: Output = None,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    device: options.DeviceOption = options.Device.cpu,
    dtype: options.DtypeOption = None,
    batch_size: options.BatchSize = None,
) -> int:
    """Compare MODEL with the labels of DATA, or with the reference energies of SUITE.

    Labels: MAE, RMSE, largest error and R², beside a fair baseline. Suites: errors in kcal/mol, the
    worst cases by name, and what the model refuses.
    """
    task = _task(model, data or [], calculator)
    if _is_about_suites(task):
        if split is not None:
            raise UserError("--split is for labelled DATA; a suite has no splits")
        source = _energy_source(task, device, dtype, batch_size)
        return _evaluate_suites(task, source, output, strict=strict, overwrite=overwrite, json=json)
    if output is not None or strict:
        raise UserError("--output and --strict are for suites; DATA gives errors alone")
    from molequi.experiments import evaluate as run

    result = run(
        str(task.model),
        task.data[0] if task.data else None,
        split=split,
        batch_size=batch_size or _LABELLED_BATCH,
        device=device.value,
        dtype=options.precision(dtype),
    )
    if json:
        print_json(result)
    else:
        print_errors(f"Errors of {task.model}", result)
    return ExitCode.DONE


def _task(model: str | None, data: list[str], calculator: str | None) -> _Task:
    """Sort the arguments: with a calculator the first one is a suite too."""
    if calculator is not None:
        return _Task(None, calculator, [*([] if model is None else [model]), *data])
    if model is None:
        raise UserError("nothing to evaluate: give a MODEL and DATA or SUITE; see --help")
    return _Task(model, None, data)


def _is_about_suites(task: _Task) -> bool:
    from molequi.prediction.suite_places import bundled_suites, is_suite

    named = [is_suite(name) for name in task.data]
    if all(named) and (named or task.calculator is not None):
        if not named:
            raise UserError(
                f"nothing to evaluate {task.calculator} on: give a SUITE, a file or one of "
                f"{', '.join(bundled_suites())}"
            )
        return True
    if any(named) or len(named) > 1 or task.calculator is not None:
        other = task.data[named.index(False)]
        raise UserError(
            f"{other} is no suite; give suites alone, files or {', '.join(bundled_suites())}, or "
            "one labelled file with a MODEL"
        )
    return False


def _energy_source(
    task: _Task, device: options.Device, dtype: options.Dtype | None, batch_size: int | None
) -> EnergySource:
    from molequi.cli.loading import load_network
    from molequi.prediction.energies import CalculatorEnergies, ModelEnergies

    if task.calculator is not None:
        return CalculatorEnergies(load_factory(task.calculator))
    return ModelEnergies(load_network(str(task.model), device, dtype), batch_size=batch_size)


def _evaluate_suites(
    task: _Task,
    source: EnergySource,
    output: Path | None,
    *,
    strict: bool,
    overwrite: bool,
    json: bool,
) -> int:
    from molequi.prediction.suite_places import read_suites
    from molequi.prediction.suite_scores import evaluate_suite
    from molequi.runtime.files import check_output

    if output is not None:
        check_output(output, overwrite=overwrite)
    suites = read_suites(task.data)
    result = {}
    for suite in suites:
        result[suite.origin.name] = evaluate_suite(suite, source)
        if not json:
            print_suite(suite.origin.name, task.subject, result[suite.origin.name])
    if json:
        print_json(result)
    if output is not None:
        _write(output, result)
    is_refused = any(found["refused"] for found in result.values())
    return ExitCode.FAILED if strict and is_refused else ExitCode.DONE


def _write(output: Path, result: Mapping[str, Mapping[str, Any]]) -> None:
    """Write result.json and a plot of each suite."""
    from molequi.prediction.suite_plots import plot_suite
    from molequi.runtime.files import write_text
    from molequi.runtime.plain import json_text

    output.mkdir(exist_ok=True)
    write_text(output / "result.json", json_text(result))
    plots = [name for name, found in result.items() if found["count"]]
    for name in plots:
        plot_suite(name, result[name], output / f"{name}.png")
    say(f"written to {output}: result.json{''.join(f', {name}.png' for name in plots)}")


def print_errors(title: str, result: Mapping[str, Mapping[str, Any]]) -> None:
    """Print an evaluation, one row per property; the accuracy where a yes/no label has one."""
    judged = any("accuracy" in row for row in result.values())
    keys: Sequence[str] = (
        "mae", "rmse", "max", "r2", "baseline_mae", *(["accuracy"] if judged else [])
    )  # fmt: skip
    rows = [
        (
            name,
            "" if row["unit"] == "1" else row["unit"],
            row["count"],
            *(row.get(key) for key in keys),
        )
        for name, row in result.items()
    ]
    print_table(title, (*_COLUMNS, *(["accuracy"] if judged else [])), rows, left=("unit",))
    line(
        "Components of vectors are counted one by one. Baseline: composition least squares for "
        "extensive energies, else the training mean, or zero."
    )
