"""Train and evaluate: what scripts and the command line call."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from molequi.config import load_config
from molequi.datasets.in_memory import Frames
from molequi.datasets.load import load_dataset, load_labelled
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

    data: frames, a labelled file, a data set such as `qm9`, or None for the data that the run directory `model` was
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
        dataset = load_dataset(config.data, config.declared())
        frames, splits = dataset.frames, dataset.splits
    else:
        labelled = load_labelled(os.fspath(data), network.properties.values())
        frames, splits = labelled.frames, labelled.splits
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
