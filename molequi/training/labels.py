"""Which labels a run trains and validates on, and data that no model should be trained on."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence

import torch
from ase.data import chemical_symbols
from torch import Tensor

from molequi.datasets.beside import check_beside
from molequi.datasets.in_memory import Frames
from molequi.errors import UserError
from molequi.training.doubt import compared_rows
from molequi.training.loss import term_weights
from molequi.training.parts import split_parts
from molequi.training.predictions import without_undefined
from molequi.training.schedule import make_schedule
from molequi.training.settings import TrainingSettings

logger = logging.getLogger(__name__)


def choose_labels(frames: Frames, splits: Mapping[str, Tensor], targets: Sequence[str]) -> Frames:
    """Return the structures with those labels of the targets that a model can be asked for.

    What is left out is logged. Raises UserError for a part without structures, with elements that
    training never sees, or without a label to validate on.
    """
    frames = _defined(frames.with_targets(targets))
    for split in ("train", "valid"):
        if not len(splits.get(split, ())):
            raise UserError(
                f"the {split} part has no structures; give data.split.{split} a larger share"
            )
    check_beside(frames)
    _refuse_new_elements(frames, splits)
    _refuse_unlabelled(frames.subset(splits["valid"]))
    return frames


def refuse_weightless(valid: Frames, settings: TrainingSettings) -> None:
    """Refuse validation structures whose labels all have a loss weight of 0 at the end of a run.

    Their errors, weighted so, choose the best model: there would be none. Raises UserError.
    """
    rows = compared_rows(valid.properties.values())
    weights = term_weights(rows, make_schedule(settings).final_weights)
    labelled = [
        name
        for row in rows
        for name, part in split_parts(row, valid.targets[row.name]).items()
        if not torch.isnan(part).all()
    ]
    if labelled and not any(weights[name] for name in labelled):
        stage = "" if settings.second_stage is None else "second_stage."
        raise UserError(
            f"the {len(valid)} validation structures have labels of {', '.join(labelled)} alone, "
            f"whose weight is 0 in training.{stage}weights, so no epoch would be the best; set a "
            "weight above 0, or use another split"
        )


def label_digest(frames: Frames) -> str:
    """Return what tells these labels and elements from others: a run goes on with its own alone.

    Positions are left out: geometries made of SMILES may differ by rounding between machines.
    """
    digest = hashlib.sha256()
    for values in (frames.atomic_numbers, frames.offsets, frames.total_charge):
        digest.update(values.numpy().tobytes())
    for name, values in sorted(frames.targets.items()):
        digest.update(name.encode() + values.numpy().tobytes())
    return digest.hexdigest()


def _defined(frames: Frames) -> Frames:
    """Leave out labels that are not defined under the periodicity of their structure."""
    n_labels = {name: int((~torch.isnan(values)).sum()) for name, values in frames.targets.items()}
    frames = without_undefined(frames)
    for name, values in frames.targets.items():
        lost = n_labels[name] - int((~torch.isnan(values)).sum())
        if lost:
            logger.warning(
                "%d %s values are left out: %s",
                lost,
                name,
                frames.properties[name].condition,
            )
    return frames


def _refuse_unlabelled(valid: Frames) -> None:
    """Refuse validation structures without any label; say which target has none."""
    compared = [row.name for row in compared_rows(valid.properties.values())]
    without = [name for name in compared if torch.isnan(valid.targets[name]).all()]
    if len(without) == len(compared):
        raise UserError(
            f"none of the {len(valid)} validation structures has a label of {', '.join(without)}; "
            "use another split"
        )
    for name in without:
        logger.warning(
            "none of the validation structures has a label of %s, so it plays no part in choosing "
            "the best model",
            name,
        )


def _refuse_new_elements(frames: Frames, splits: Mapping[str, Tensor]) -> None:
    """Refuse parts with elements that training never sees: the model will not know them."""
    known = frames.subset(splits["train"]).elements()
    for split in ("valid", "test"):
        part = frames.subset(splits.get(split, torch.zeros(0, dtype=torch.int64)))
        new = [number for number in part.elements() if number not in known]
        if new:
            first = int(torch.isin(part.atomic_numbers, torch.tensor(new)).nonzero()[0])
            where = frames.label(
                int(splits[split][int(torch.searchsorted(part.offsets, first, right=True)) - 1])
            )
            symbols = " ".join(chemical_symbols[number] for number in new)
            raise UserError(
                f"the {split} part contains {symbols} ({where}), the training part does not: "
                "train on more structures, take another data.split.seed, or leave these structures "
                "out"
            )
