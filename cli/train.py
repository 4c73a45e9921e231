"""`molequi train`."""

from __future__ import annotations

import logging
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from molequi.cli import options
from molequi.cli.config import require_config
from molequi.cli.output import print_json, print_table, say, start_logging
from molequi.cli.results import print_errors

if TYPE_CHECKING:
    from collections.abc import Mapping

RunDirectory = Annotated[
    Path | None,
    typer.Option("--output", "-o", show_default=False, help="Run directory; runs/NAME by default."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in the run directory.")]
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
    name = require_config(config)
    chosen = {"device": device, "dtype": dtype, "seed": seed, "batch_size": batch_size}
    overrides = [*(settings or []), *_as_overrides(chosen)]
    from molequi.training.processes import is_first_process

    start_logging(logging.INFO if is_first_process() else logging.ERROR)

    from molequi.experiments import prepare

    experiment = prepare(name, overrides, output, resume=resume, overwrite=overwrite)
    # Lightning takes seconds to import: wrong data have been refused before.
    from molequi.cli.progress import ProgressBar

    folder = experiment.run([ProgressBar()] if experiment.has_callbacks else [])
    if not is_first_process():  # of those that torchrun started, one writes and prints
        return
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
    elif all("value" in row for row in result.values()):
        columns = ("quantity", "value", "unit")
        print_table("Learned dynamics on the test set", columns, _values(result), left=("unit",))
    else:
        print_errors("Errors on the test set", result)


def _values(result: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, float | None, str]]:
    return [
        (name.replace("_", " "), row["value"], "" if row["unit"] == "1" else row["unit"])
        for name, row in result.items()
    ]


def _read_result(folder: Path) -> dict[str, Any]:
    import json

    return json.loads((folder / "result.json").read_text(encoding="utf-8"))
