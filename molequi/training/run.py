"""Train and evaluate: what scripts and the command line call."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import torch

from molequi.config import load_config
from molequi.datasets.formats.extxyz import inspect_frames, read_frames
from molequi.datasets.in_memory import Frames
from molequi.datasets.load import open_dataset
from molequi.datasets.npz import load_npz, open_arrays
from molequi.datasets.qm9.qm9 import load_qm9
from molequi.datasets.rmd17 import load_rmd17
from molequi.datasets.splits import file_split
from molequi.errors import UserError
from molequi.models.molecular import MolecularModel
from molequi.models.zoo import load
from molequi.training.evaluation import evaluate_frames

logger = logging.getLogger(__name__)


def evaluate(
    model: MolecularModel | str | os.PathLike[str] = "organic",
    data: Frames | str | os.PathLike[str] | None = None,
    *,
    split: str | None = None,
    batch_size: int = 64,
    device: str = "cpu",
    dtype: str | None = None,
) -> dict[str, dict[str, Any]]:
    """Return the errors of a model on labelled structures: {property.

    {mae, rmse, max, r2, unit, count, baseline_mae}}, None where undefined.

    data: frames, a labelled file, `qm9`, or None for the data that the run directory `model` was
    trained on. split: train, valid or test, of the run directory or else of the file. Raises
    UserError where model and data have nothing in common.
    """
    run = Path(model) if not isinstance(model, MolecularModel) and Path(model).is_dir() else None
    network = (
        model if isinstance(model, MolecularModel) else load(model, device=device, dtype=dtype)
    )
    if isinstance(data, Frames):
        frames, splits = data, {}
    elif data is None:
        if run is None:
            raise UserError(
                "evaluate got no data; give a labelled file, or a run directory as the model"
            )
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
                f"split {split!r} is not known for these data; they have "
                f"{', '.join(splits) or 'none'}: leave --split out, or give a run directory"
            )
        frames = frames.subset(splits[split])
    return evaluate_frames(network, frames, batch_size=batch_size).result


def _read_labelled(
    data: str | os.PathLike[str], model: MolecularModel
) -> tuple[Frames, dict[str, torch.Tensor]]:
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
        return frames.with_targets(
            [name for name in frames.targets if name in model.properties]
        ), splits
    found = [row.name for row in inspect_frames(path).rows]
    declared = [name for name in model.outputs if name not in found and name in model.properties]
    names = [name for name in found if name in model.properties]
    if not names and not declared:
        raise UserError(
            f"{path} has no label of {', '.join(model.properties)}; it has "
            f"{', '.join(found) or 'none that is known'}"
        )
    return read_frames(path, targets=[model.properties[name] for name in names or declared])[0], {}
