"""What a run would read, count and train, found by setting it up and going no further."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ase.data import chemical_symbols
from torch import Tensor

from molequi.datasets.in_memory import Frames
from molequi.datasets.report import frames_with_label
from molequi.training.config import Config
from molequi.training.labels import choose_labels, refuse_weightless
from molequi.training.setup import start_model
from molequi.training.total_charge import with_total_charge


def plan_run(config: Config, frames: Frames, splits: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return what `fit_frames` would do with these data, as plain values by name.

    structures: by part. atoms: of a structure, least and most. labels: by target, training
    structures that have one and its unit. weights: that are trained. steps: in an epoch.
    Raises UserError for whatever `fit_frames` refuses before its first step.
    """
    frames = choose_labels(frames, splits, config.data.targets)
    config, frames = with_total_charge(config, frames)
    refuse_weightless(frames.subset(splits["valid"]), config.training)
    train = frames.subset(splits["train"])
    model = start_model(config, train).model
    settings = config.training
    return {
        "structures": {name: len(rows) for name, rows in splits.items()},
        "elements": [chemical_symbols[number] for number in frames.elements()],
        "atoms": [int(frames.n_atoms.min()), int(frames.n_atoms.max())],
        "labels": {
            name: {"structures": frames_with_label(train, name), "unit": row.unit}
            for name, row in train.properties.items()
        },
        "architecture": model.backbone.architecture,
        "cutoff": model.cutoff,
        "weights": sum(weight.numel() for weight in model.parameters() if weight.requires_grad),
        "dtype": settings.dtype,
        "epochs": settings.epochs,
        "steps": -(-len(train) // settings.batch_size),
        "max_minutes": settings.max_minutes,
    }
