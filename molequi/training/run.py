"""Train and evaluate: what scripts and the command line call."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from molequi.config import Config, load_config
from molequi.datasets.formats.extxyz import inspect_frames, read_frames
from molequi.datasets.formats.labels import report_lines
from molequi.datasets.in_memory import Frames
from molequi.datasets.load import open_dataset
from molequi.datasets.npz import load_npz, open_arrays
from molequi.datasets.qm9.qm9 import load_qm9
from molequi.datasets.rmd17 import load_rmd17
from molequi.datasets.splits import file_split
from molequi.errors import UserError
from molequi.hamiltonian.config import is_dynamics, load_dynamics_config
from molequi.models.molecular import MolecularModel
from molequi.models.zoo import load
from molequi.settings import read_settings
from molequi.training.evaluation import evaluate_frames
from molequi.training.state import is_first_process

logger = logging.getLogger(__name__)

# What a resumed run may change without becoming another run.
FREE_SETTINGS = ("epochs", "max_minutes", "patience", "device", "devices", "nodes", "workers", "logger", "checkpoint_minutes", "checkpoint_steps")


def train(
    config: str | os.PathLike[str],
    overrides: Sequence[str] = (),
    output: str | os.PathLike[str] | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    callbacks: Sequence[Any] = (),
) -> Path:
    """Train the experiment of a YAML file, or of the bundled config of that name, molecular or of dynamics; returns the run directory.

    overrides: such as `training.epochs=20`. output: by default `runs/NAME`. The other arguments are those of `fit`.
    """
    name, overrides = os.fspath(config), list(overrides)
    if is_dynamics(read_settings(name, overrides)):
        dynamics = load_dynamics_config(name, overrides)
        run = importlib.import_module("molequi.hamiltonian.train")  # it draws, and matplotlib takes a while to import
        return run.train_dynamics(dynamics, Path("runs") / dynamics.name if output is None else Path(output), resume=resume, overwrite=overwrite)
    settings = load_config(name, overrides)
    return fit(settings, Path("runs") / settings.name if output is None else Path(output), resume=resume, overwrite=overwrite, callbacks=callbacks)


def fit(config: Config, output: Path, *, resume: bool = False, overwrite: bool = False, callbacks: Sequence[Any] = ()) -> Path:
    """Train a config and fill the run directory `output` (DESIGN §5); returns it.

    resume: go on with the run in `output`, bit for bit on the CPU. overwrite: replace what is there. callbacks: Lightning's.
    Raises UserError for whatever in config, data or output does not fit, before anything is written; NotConvergedError where a loss is not finite;
    RunInterruptedError where a signal asked to stop (the run is saved).
    """
    config = _with_absolute_paths(config)
    if config.training.logger == "tensorboard" and importlib.util.find_spec("tensorboard") is None:
        raise UserError("training.logger is tensorboard, which is not installed; `pip install molequi[tensorboard]`, or set training.logger=csv")
    if resume:
        _refuse_other_run(config, output)
    elif is_first_process():
        _refuse_occupied(output, overwrite=overwrite)
    dataset = open_dataset(config.data, config.declared())
    messages = [*report_lines(dataset.report), *dataset.report.warnings, *dataset.failures]
    # Lightning takes seconds to import; wrong data have been refused by now.
    run = importlib.import_module("molequi.training.fit")
    if overwrite and not resume and is_first_process():
        _clear(output)
    return run.fit_frames(config, dataset.frames, dataset.splits, output, resume=resume, callbacks=callbacks, messages=messages)


def evaluate(
    model: MolecularModel | str | os.PathLike[str] = "organic",
    data: Frames | str | os.PathLike[str] | None = None,
    *,
    split: str | None = None,
    batch_size: int = 64,
    device: str = "cpu",
    dtype: str | None = None,
) -> dict[str, dict[str, Any]]:
    """Return the errors of a model on labelled structures: {property: {mae, rmse, max, r2, unit, count, baseline_mae}}, None where undefined.

    data: frames, a labelled file, `qm9`, or None for the data that the run directory `model` was trained on. split: train, valid or test, of the
    run directory or else of the file. Raises UserError where model and data have nothing in common.
    """
    run = Path(model) if not isinstance(model, MolecularModel) and Path(model).is_dir() else None
    network = model if isinstance(model, MolecularModel) else load(model, device=device, dtype=dtype)
    if isinstance(data, Frames):
        frames, splits = data, {}
    elif data is None:
        if run is None:
            raise UserError("evaluate got no data; give a labelled file, or a run directory as the model")
        config = load_config(run / "config.yaml")
        dataset = open_dataset(config.data, config.declared())
        frames, splits = dataset.frames, dataset.splits
    else:
        frames, splits = _read_labelled(data, network)
    if run is not None and split is not None and (run / "split.json").is_file():
        splits = file_split(run / "split.json", len(frames))
    if split is not None:
        if split not in splits:
            raise UserError(
                f"split {split!r} is not known for these data; they have {', '.join(splits) or 'none'}: leave --split out, or give a run directory"
            )
        frames = frames.subset(splits[split])
    return evaluate_frames(network, frames, batch_size=batch_size).result


def _read_labelled(data: str | os.PathLike[str], model: MolecularModel) -> tuple[Frames, dict[str, torch.Tensor]]:
    """Read every label of a file that the model predicts, and the splits that it stores."""
    path = Path(data)
    if str(data) == "qm9" or path.suffix == ".npz":
        if str(data) == "qm9":
            flat = load_qm9()
            frames, splits = flat.frames, flat.splits
        elif "meta" in open_arrays(path, only=("meta",)):
            flat = load_npz(path)
            frames, splits = flat.frames, flat.splits
        else:
            frames, splits = load_rmd17(path)
        return frames.with_targets([name for name in frames.targets if name in model.properties]), splits
    found = [row.name for row in inspect_frames(path).rows]
    declared = [name for name in model.outputs if name not in found and name in model.properties]
    names = [name for name in found if name in model.properties]
    if not names and not declared:
        raise UserError(f"{path} has no label of {', '.join(model.properties)}; it has {', '.join(found) or 'none that is known'}")
    return read_frames(path, targets=[model.properties[name] for name in names or declared])[0], {}


def _with_absolute_paths(config: Config) -> Config:
    """Make the config of the run directory usable from any folder."""
    data = config.data.model_copy(
        update={"path": _absolute(config.data.path), "split": config.data.split.model_copy(update={"path": _absolute(config.data.split.path)})}
    )
    references = config.training.reference_energies
    if isinstance(references, str) and references != "least_squares":
        references = _absolute(references)
    return config.model_copy(update={"data": data, "training": config.training.model_copy(update={"reference_energies": references})})


def _absolute(path: str | None) -> str | None:
    """Resolve a path that exists; bundled names and patterns stay as they are."""
    return str(Path(path).resolve()) if path is not None and Path(path).exists() else path


def _refuse_occupied(output: Path, *, overwrite: bool) -> None:
    if output.is_file():
        raise UserError(f"the output {output} is a file; give the name of a folder")
    if output.is_dir() and any(output.iterdir()) and not overwrite:
        raise UserError(
            f"the output {output} is not empty; --resume goes on with the run there, --overwrite replaces it, --output names another place"
        )


def _refuse_other_run(config: Config, output: Path) -> None:
    """Refuse to resume where no run is, or where a setting differs that would make it another run."""
    saved_path = output / "config.yaml"
    if not saved_path.is_file():
        raise UserError(f"{output} holds no run to resume (config.yaml is missing); start without --resume")
    saved, asked = load_config(saved_path).model_dump(), config.model_dump()
    for group in (saved, asked):
        for name in FREE_SETTINGS:
            group["training"].pop(name)
        for name in ("description", "expected"):
            group.pop(name)
    difference = _first_difference(saved, asked)
    if difference is not None:
        key, old, new = difference
        raise UserError(
            f"--resume: {key} was {old!r} and is now {new!r}; resume with the same settings, or start a new run with --overwrite or another --output"
        )


def _first_difference(old: Any, new: Any, key: str = "") -> tuple[str, Any, Any] | None:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in {**old, **new}:
            found = _first_difference(old.get(name), new.get(name), f"{key}.{name}" if key else str(name))
            if found is not None:
                return found
        return None
    return None if old == new else (key, old, new)


def _clear(output: Path) -> None:
    """Remove the files that a run makes, and nothing else."""
    names = (
        "config.yaml",
        "split.json",
        "model.safetensors",
        "last.ckpt",
        "metrics.csv",
        "log.txt",
        "result.json",
        "test_predictions.npz",
        "valid_predictions.npz",
    )
    for path in [output / name for name in names] + sorted((output / "plots").glob("*.png")):
        path.unlink(missing_ok=True)
