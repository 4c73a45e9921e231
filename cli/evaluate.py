"""`molequi evaluate`: a model beside labels, beside reference energies, and beside physics."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from molequi.cli import options
from molequi.cli.bars import Bar
from molequi.cli.calculators import foreign_code, load_factory
from molequi.cli.exits import ExitCode
from molequi.cli.idle import refuse_idle
from molequi.cli.physics import check_subject
from molequi.cli.results import PHYSICS, Results, results_of
from molequi.errors import UserError

if TYPE_CHECKING:
    from molequi.models.freeze import FrozenModel
    from molequi.prediction.energies import EnergySource

_LABELLED_BATCH = 64

Data = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="DATA|SUITE...",
        show_default=False,
        help="A labelled file, or qm9; a run directory knows its own. Or suites of reference "
        "energies: .json.gz or .yaml files, folders of them, or bundled ones by name, such as s66; "
        "physics measures physicality without data.",
    ),
]
Split = Annotated[
    str | None, typer.Option("--split", show_default=False, help="train, valid or test, of DATA.")
]
Calculator = Annotated[
    str | None,
    options.calculator(
        "For suites: an ASE calculator instead of MODEL", ", or gfn2-xtb where tblite is installed"
    ),
]
Elements = Annotated[
    str,
    typer.Option("--elements", help="Those of a --calculator for physics, such as 'H C N O S'."),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict",
        help="Exit with 1 where part of a suite is refused, or a limit of physics is exceeded.",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        show_default=False,
        help="A folder for result.json, plots, and predictions.csv; an interrupted command goes on "
        "when it is given again.",
    ),
]


class _Task(NamedTuple):
    """What is evaluated, a model or a calculator by name, and on what; physics is no data."""

    model: str | None
    calculator: str | None
    data: list[str]
    physics: bool = False

    @property
    def subject(self) -> str:
        return str(self.calculator or self.model)


class _Running(NamedTuple):
    """How a model runs."""

    device: options.Device
    dtype: options.Dtype | None
    batch_size: int | None


def evaluate(
    context: typer.Context,
    model: options.ModelOrNone = None,
    data: Data = None,
    *,
    split: Split = None,
    calculator: Calculator = None,
    elements: Elements = "H C N O",
    strict: Strict = False,
    output: Output = None,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    device: options.DeviceOption = options.Device.cpu,
    dtype: options.DtypeOption = None,
    batch_size: options.BatchSize = None,
) -> int:
    """Compare MODEL with the labels of DATA, or with the reference energies of SUITE.

    Labels: MAE, RMSE, largest error, R² and rank correlation, beside a fair baseline; of yes/no
    labels ROC-AUC, PR-AUC, MCC and balanced accuracy. Suites: errors in kcal/mol, the
    worst cases by name, and what the model refuses. The suite `physics` needs no data: curves of
    two atoms, far atoms, flat rings, bond lengths. A run of dynamics is followed along its own
    test trajectories.
    """
    task = _task(model, data or [], calculator)
    running = _Running(device, dtype, batch_size)
    is_about_suites = _is_about_suites(task)
    refuse_idle(context, _idle(task))
    _refuse_options_of_others(is_about_suites, strict=strict, split=split)
    with (
        contextlib.ExitStack() as kept,  # until the output is there
        results_of(task.subject, output, json=json, overwrite=overwrite) as results,
    ):
        if not is_about_suites:
            _evaluate_labels(task, split, running, results, output)
        elif task.data:
            _evaluate_suites(task, running, results, output, kept)
        if task.physics:
            results.add_physics(check_subject(task.model, task.calculator, elements, device, dtype))
    return _verdict(results, strict=strict)


def _verdict(results: Results, *, strict: bool) -> ExitCode:
    """Return the exit code: where all was refused nothing was evaluated."""
    if results.is_empty:
        return ExitCode.USAGE
    return ExitCode.FAILED if strict and not results.is_whole else ExitCode.DONE


def _idle(task: _Task) -> dict[str, str]:
    """Return which options do nothing to what is evaluated, and what they belong to."""
    of_model = ("device", "dtype", "batch_size") if task.calculator is not None else ()
    idle = dict.fromkeys(of_model, "a MODEL; a calculator runs as it is")
    if task.calculator is None or not task.physics:
        idle["elements"] = f"the suite {PHYSICS} of a --calculator"
    if task.physics and not task.data:
        idle.setdefault("batch_size", "reference energies and labels")
    return idle


def _refuse_options_of_others(is_about_suites: bool, *, strict: bool, split: str | None) -> None:
    """Refuse options that suites or labels alone have."""
    if strict and not is_about_suites:
        raise UserError("--strict is for suites; DATA gives errors alone")
    if split is not None and is_about_suites:
        raise UserError("--split is for labelled DATA; a suite has no splits")


def _evaluate_labels(
    task: _Task, split: str | None, running: _Running, results: Results, output: Path | None
) -> None:
    from molequi.evaluation import evaluate as run
    from molequi.runtime.journal import journal_path

    with Bar("structures") as bar:
        result = run(
            str(task.model),
            task.data[0] if task.data else None,
            split=split,
            batch_size=running.batch_size or _LABELLED_BATCH,
            device=running.device.value,
            dtype=options.precision(running.dtype),
            plots=results.folder,
            progress=bar.show,
            journal=None if output is None else journal_path(output),
        )
    results.add_errors(result)


def _task(model: str | None, data: list[str], calculator: str | None) -> _Task:
    """Sort the arguments: with a calculator the first one is a suite too."""
    if calculator is not None:
        data, model = [*([] if model is None else [model]), *data], None
    elif model is None:
        raise UserError("nothing to evaluate: give a MODEL and DATA or SUITE; see --help")
    physics = PHYSICS in data and not Path(PHYSICS).exists()
    others = [name for name in data if name != PHYSICS] if physics else data
    return _Task(model, calculator, others, physics)


def _is_about_suites(task: _Task) -> bool:
    from molequi.prediction.suite_places import bundled_suites, is_suite

    named = [is_suite(name) for name in task.data]
    known = f"files or {', '.join([*bundled_suites(), PHYSICS])}"
    if task.calculator is not None and not named and not task.physics:
        raise UserError(f"nothing to evaluate {task.calculator} on: give a SUITE, {known}")
    is_about_suites = any(named) or len(named) > 1 or task.physics or task.calculator is not None
    if is_about_suites and not all(named):
        other = task.data[named.index(False)]
        raise UserError(
            f"{other} is no suite; give suites alone, {known}, or one labelled file with a MODEL"
        )
    return is_about_suites


def _evaluate_suites(
    task: _Task,
    running: _Running,
    results: Results,
    output: Path | None,
    kept: contextlib.ExitStack,
) -> None:
    """Add the errors on all suites; their energies stay in a journal until `kept` is closed."""
    from molequi.prediction.kept_energies import kept_source
    from molequi.prediction.suite_places import read_suites
    from molequi.prediction.suite_scores import evaluate_suite
    from molequi.runtime.journal import journal_path

    suites = read_suites(task.data)
    if task.physics and PHYSICS in {suite.origin.name for suite in suites}:
        raise UserError(
            f"a suite of {', '.join(task.data)} is called {PHYSICS}, as the one without data is; "
            "evaluate them one by one"
        )
    aside = contextlib.nullcontext() if task.calculator is None else foreign_code()
    with aside, Bar("structures") as bar:
        source, model = _energy_source(task, running)
        counted = kept.enter_context(
            kept_source(
                source,
                suites,
                identity=_identity(task, running),
                model=model,
                journal=None if output is None else journal_path(output),
                progress=bar.show,
            )
        )
        found = {suite.origin.name: evaluate_suite(suite, counted) for suite in suites}
    for name, errors in found.items():
        results.add_suite(name, errors)


def _identity(task: _Task, running: _Running) -> dict[str, object]:
    """Return what energies depend on beside the weights of a model: a file that is run, too."""
    import zlib

    file = Path(str(task.calculator).rpartition(":")[0])
    text = file.read_bytes() if file.suffix == ".py" and file.is_file() else b""
    return {
        "calculator": task.calculator,
        "file": zlib.crc32(text),
        "batch_size": running.batch_size,
    }


def _energy_source(task: _Task, running: _Running) -> tuple[EnergySource, FrozenModel | None]:
    """Return what gives energies, and the model whose they are, if it is one of ours."""
    from molequi.cli.loading import load_network
    from molequi.prediction.energies import CalculatorEnergies, ModelEnergies

    if task.calculator is not None:
        return CalculatorEnergies(load_factory(task.calculator)), None
    network = load_network(str(task.model), running.device, running.dtype)
    source = ModelEnergies(network, batch_size=running.batch_size)
    return source, source.model
