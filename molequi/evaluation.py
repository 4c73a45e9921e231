"""Evaluate: what scripts and the command line call to compare a model with labels."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from molequi import training
from molequi.datasets.in_memory import Frames
from molequi.datasets.labelled_set import LabelledSet
from molequi.datasets.load import load_dataset, load_labelled
from molequi.datasets.places import find_data
from molequi.datasets.report import LabelReport
from molequi.datasets.settings import DataSettings
from molequi.datasets.splits import file_split
from molequi.errors import UserError
from molequi.hamiltonian.evaluation import measure, measure_split
from molequi.hamiltonian.saved import is_run_of_dynamics, is_saved_dynamics, load_dynamics
from molequi.models.molecular import MolecularModel
from molequi.models.zoo import load
from molequi.plots import rollout_errors
from molequi.prediction.evaluated_table import write_evaluated
from molequi.training.config import make_config
from molequi.training.evaluation import Evaluation, evaluate_frames
from molequi.training.predictions import Progress, comparable_rows
from molequi.training.run_directory import RunDirectory


def evaluate(
    model: MolecularModel | str | os.PathLike[str] = "organic",
    data: Frames | str | os.PathLike[str] | None = None,
    *,
    split: str | None = None,
    batch_size: int = 64,
    device: str = "cpu",
    dtype: str | None = None,
    plots: Path | None = None,
    progress: Progress | None = None,
    journal: Path | None = None,
) -> dict[str, dict[str, Any]]:
    """Return the errors of a model on labelled structures, None where undefined.

    By property: {mae, rmse, max, r2, unit, count, baseline_mae}; by spread such as `forces_std`
    {coverage, rank_correlation, mean_spread, spread_of, unit, count}; of a run of dynamics, without
    data: {value, unit}, see `hamiltonian.evaluation`.
    data: frames, a labelled file, a data set such as `qm9`, or None for the data that the run
    directory `model` was trained on; a file may have the run's names and units. split: train, valid
    or test, of the run directory or else of the file. plots: a folder to draw into, and for
    predictions.csv. progress: called with the numbers of structures that are done, and of all.
    journal: of predictions, with which the same call goes on (RunInterruptedError).
    Raises UserError where model and data have nothing in common.
    """
    _refuse_other_types(model, data)
    if isinstance(model, MolecularModel):
        network, run = model, None
    elif data is None and (is_saved_dynamics(model) or is_run_of_dynamics(model)):
        _refuse_precision(device, dtype)
        return _evaluate_dynamics(model, split, plots)
    else:
        network = load(model, device=device, dtype=dtype)
        run = RunDirectory(model) if Path(model).is_dir() else None
    labelled = _evaluated(network, data, run, split)
    evaluation = evaluate_frames(
        network, labelled.frames, batch_size=batch_size, progress=progress, journal=journal
    )
    if plots is not None:
        training.draw_errors(evaluation, plots)
        _write_table(plots / "predictions.csv", evaluation, labelled, data, run)
    return evaluation.result


def _refuse_other_types(model: object, data: object) -> None:
    if not isinstance(model, MolecularModel | str | os.PathLike):
        raise UserError(
            f"the model is of type {type(model).__name__}; give a bundled name, a path or what "
            "`molequi.load` returns"
        )
    if not isinstance(data, Frames | str | os.PathLike | None):
        raise UserError(
            f"the data are of type {type(data).__name__}; give a labelled file, the name of a set "
            "or `datasets.Frames`"
        )


def _refuse_precision(device: str, dtype: str | None) -> None:
    if device != "cpu" or dtype not in (None, "float64"):
        raise UserError("dynamics are followed on the CPU in float64; leave device and dtype out")


def _evaluate_dynamics(
    run: str | os.PathLike[str], split: str | None, plots: Path | None
) -> dict[str, dict[str, Any]]:
    """Make the data of a run again, and measure its model on a part of them."""
    trained = load_dynamics(run)
    n_substeps = trained.config.training.substeps
    if split in {"train", "valid"}:
        return measure_split(trained.model, trained.data, split, n_substeps=n_substeps)
    if split not in {None, "test"}:
        raise UserError(f"split {split!r} is not known; dynamics have train, valid and test")
    result, rollout = measure(trained.model, trained.data, n_substeps=n_substeps)
    if plots is not None:
        times = trained.data.rollouts.times.numpy()
        rollout_errors(times, {trained.config.model.name: rollout.curves()}, plots / "rollout.png")
    return result


def _write_table(
    output: Path,
    evaluation: Evaluation,
    labelled: LabelledSet,
    data: Frames | str | os.PathLike[str] | None,
    run: RunDirectory | None,
) -> None:
    """Write what was predicted, beside the lines of the file that the structures come from."""
    smiles, path = None, data
    if data is None and run is not None:
        own = make_config(run.read_settings(), str(run.config)).data
        smiles, path = own.smiles, own.path
    table = None if path is None or isinstance(path, Frames) else find_data(os.fspath(path))
    write_evaluated(
        output,
        evaluation.frames,
        evaluation.predictions,
        table,
        labelled.failures,
        labelled.cells,
        smiles,
    )


def _evaluated(
    model: MolecularModel,
    data: Frames | str | os.PathLike[str] | None,
    run: RunDirectory | None,
    split: str | None,
) -> LabelledSet:
    """Return the structures of the data, or of a part of them."""
    if isinstance(data, Frames):
        labelled = LabelledSet(data, LabelReport((), (), len(data), {}))
    else:
        if split is not None and run is not None and _is_data_of(run, data):
            data = None  # as the run divided it, of which it may have taken a part
        labelled = _labelled(model, data, run)
    if split is None:
        return labelled
    splits = labelled.splits
    if data is None and run is not None and run.split.is_file():
        splits = file_split(run.split, len(labelled))
    return dataclasses.replace(labelled.subset(_part(splits, split)), failures=())


def _is_data_of(run: RunDirectory, data: str | os.PathLike[str] | None) -> bool:
    """Tell whether a file is the one that a run was trained on."""
    settings = _settings(run)
    if data is None or settings is None or settings.path is None:
        return False
    own, other = (find_data(os.fspath(path)).resolve() for path in (settings.path, data))
    return own == other


def _labelled(
    model: MolecularModel, data: str | os.PathLike[str] | None, run: RunDirectory | None
) -> LabelledSet:
    settings = None if run is None else _settings(run)
    if data is not None:
        # A file beside the one that was trained on has the same names and units.
        rows = comparable_rows(model).values()
        return load_labelled(os.fspath(data), rows, settings)
    if run is None:
        raise UserError(
            "evaluate got no data; give a labelled file, or a run directory as the model"
        )
    config = make_config(run.read_settings(), str(run.config))
    return load_dataset(config.data, config.declared())


def _settings(run: RunDirectory) -> DataSettings | None:
    """Return what a run's config says of its data; None without a config."""
    if not run.config.is_file():
        return None
    return make_config(run.read_settings(), str(run.config)).data


def _part(splits: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in splits:
        raise UserError(
            f"split {name!r} is not known for these data; they have "
            f"{', '.join(splits) or 'none'}: leave --split out, or give a run directory, whose "
            "split is of the data that it was trained on"
        )
    return splits[name]
