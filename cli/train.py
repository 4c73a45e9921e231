"""`molequi train`."""

from __future__ import annotations

import logging
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from molequi.cli import options
from molequi.cli.config import require_config
from molequi.cli.output import print_json, say, start_logging
from molequi.cli.plan import print_plan
from molequi.cli.results import is_of_dynamics, print_dynamics, print_errors, print_repeated

if TYPE_CHECKING:
    from collections.abc import Mapping

RunDirectory = Annotated[
    Path | None,
    typer.Option("--output", "-o", show_default=False, help="Run directory; runs/NAME by default."),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume", help="Go on with the run in the run directory; CONFIG may be left out."
    ),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Say what would be read, counted and trained; write nothing."),
]
TrainingDevice = Annotated[
    options.Device | None,
    typer.Option("--device", show_default=False, help="Same as training.device=..."),
]
TrainingDtype = Annotated[
    options.Dtype | None,
    typer.Option("--dtype", show_default=False, help="Same as training.dtype=..."),
]
TrainingSeed = Annotated[
    int | None,
    typer.Option(
        "--seed",
        min=0,
        max=options.LARGEST_SEED,
        show_default=False,
        help="Same as training.seed=...",
    ),
]
TrainingBatchSize = Annotated[
    int | None,
    typer.Option("--batch-size", min=1, show_default=False, help="Same as training.batch_size=..."),
]


def train(
    config: options.ConfigName = None,
    settings: options.Overrides = None,
    *,
    output: RunDirectory = None,
    resume: Resume = False,
    dry_run: DryRun = False,
    device: TrainingDevice = None,
    dtype: TrainingDtype = None,
    seed: TrainingSeed = None,
    batch_size: TrainingBatchSize = None,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
) -> None:
    """Train the experiment of CONFIG, for example `molequi train extxyz data.path=FILE`.

    The run directory holds the model, the resolved config, the split, metrics, predictions for the
    test set and plots.
    """
    chosen = {"device": device, "dtype": dtype, "seed": seed, "batch_size": batch_size}
    overrides = [*(settings or []), *_as_overrides(chosen)]
    name, overrides = _sources(config, overrides, output if resume else None)
    from molequi.training.processes import is_first_process

    start_logging(logging.INFO if is_first_process() else logging.ERROR)

    from molequi.experiments import prepare

    experiment = prepare(name, overrides, output, resume=resume, overwrite=overwrite)
    if dry_run:
        print_plan(experiment.plan(), json=json)
        return
    # Lightning takes seconds to import: wrong data have been refused before.
    from molequi.cli.progress import ProgressBar

    folder = experiment.run([ProgressBar()] if experiment.has_callbacks else [])
    if is_first_process():  # of those that torchrun started, one writes and prints
        _print_run(folder, json=json)


def _sources(
    config: str | None, overrides: list[str], run: Path | None
) -> tuple[str | None, list[str]]:
    """Return CONFIG, which may be left out where a run is to go on, and the settings."""
    if run is None:
        return require_config(config), overrides
    is_setting = config is not None and "=" in config and not Path(config).is_file()
    return (None, [str(config), *overrides]) if is_setting else (config, overrides)


def _print_run(folder: Path, *, json: bool) -> None:
    """Print what has come of a run, and where it lies."""
    _print_result(_read_result(folder), json=json)
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    say(f"everything is in {folder}: {', '.join(names)}")


def _as_overrides(chosen: Mapping[str, object]) -> list[str]:
    """Write options as settings of the training; those that were not given are None."""
    plain = {
        name: value.value if isinstance(value, Enum) else value for name, value in chosen.items()
    }
    return [f"training.{name}={value}" for name, value in plain.items() if value is not None]


def _print_result(result: dict[str, Any], *, json: bool) -> None:
    """Print result.json of a run of either kind."""
    if json:
        print_json(result)
    elif is_of_dynamics(result):
        print_dynamics("Learned dynamics on the test set", result)
    elif any("runs" in row for row in result.values()):
        print_repeated("Errors on the test sets of several runs", result)
    else:
        print_errors("Errors on the test set", result)


def _read_result(folder: Path) -> dict[str, Any]:
    import json

    return json.loads((folder / "result.json").read_text(encoding="utf-8"))
