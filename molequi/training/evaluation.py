"""Evaluation: predictions for many structures, and their errors beside a fair baseline."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import numpy as np
import torch
from ase.data import chemical_symbols
from torch import Tensor

from molequi.datasets.in_memory import Frames
from molequi.errors import UserError
from molequi.models.molecular import MolecularModel
from molequi.properties import Property, part_names
from molequi.runtime.files import written_by_rename
from molequi.training.baseline import baseline_prediction
from molequi.training.metrics import ErrorSums
from molequi.training.parts import split_parts


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What a model gave for labelled structures.

    result: {property: {mae, rmse, max, r2, unit, count, baseline_mae}}, None where undefined;
    beside a property of several irreps its parts, such as `rosenfeld[0o]`, and `accuracy` where it
    is a yes/no label. predictions: shaped as the targets of `frames`.
    guesses: what the baseline predicts, NaN where there is none.
    """

    result: dict[str, dict[str, Any]]
    predictions: dict[str, Tensor]
    guesses: dict[str, Tensor]
    frames: Frames


def evaluate_frames(
    model: MolecularModel,
    frames: Frames,
    *,
    names: Sequence[str] | None = None,
    batch_size: int = 64,
) -> Evaluation:
    """Predict every structure and compare with its targets, or with those called `names`.

    Baselines come from the model's training set, as its metadata keep them. Raises UserError where
    model and data have no property in common.
    """
    _refuse_new_elements(model, frames)
    rows = _shared_rows(model, frames, names)
    frames = without_undefined(frames)
    predictions = predict_frames(model, frames, [row.name for row in rows], batch_size=batch_size)
    baselines = model.metadata.training.baseline
    guesses = {
        row.name: baseline_prediction(frames, row, baselines[row.name])
        if row.name in baselines
        else torch.full_like(frames.targets[row.name], torch.nan)
        for row in rows
    }
    result: dict[str, dict[str, Any]] = {}
    for row in rows:
        prediction = predictions[row.name]
        compared = Compared(
            prediction.sigmoid() if row.binary else prediction,
            frames.targets[row.name],
            guesses[row.name],
        )
        result |= _result_rows(row, compared, frames.n_atoms)
    return Evaluation(result, predictions, guesses, frames)


class Derivatives(TypedDict):
    """Arguments of `MolecularModel.compute`."""

    forces: bool
    stress: bool


class Compared(NamedTuple):
    """Values of one shape: what the model gives, the label (NaN unknown), the baseline's guess."""

    prediction: Tensor
    target: Tensor
    guess: Tensor

    def errors(self, unit: str) -> dict[str, Any]:
        """Return the errors beside their unit."""
        centre = float(self.target.nanmean()) if (~torch.isnan(self.target)).any() else 0.0
        sums = ErrorSums(centre)
        sums.add(*self)
        return {"unit": unit, **sums.result()}


def _result_rows(row: Property, compared: Compared, n_atoms: Tensor) -> dict[str, dict[str, Any]]:
    """Return the errors of a property by name, of its parts, and per atom of totals."""
    result = {row.name: compared.errors(row.unit)}
    if row.binary:
        result[row.name]["accuracy"] = _accuracy(compared.prediction, compared.target)
    if len(part_names(row)) > 1:
        values, labels, guesses = (split_parts(row, field) for field in compared)
        for name in labels:
            part = Compared(values[name], labels[name], guesses[name])
            result[name] = part.errors(row.unit)
    if row.has_reference:
        counts = n_atoms.to(torch.float64).clamp(min=1)
        per_atom = Compared(*(field / counts for field in compared))
        result[f"{row.name}_per_atom"] = per_atom.errors(f"{row.unit}/atom")
    return result


def derivatives(names: Sequence[str]) -> Derivatives:
    """Return which derivatives of the energy a model must compute for the named outputs."""
    stress = "stress" in names
    return {"forces": stress or "forces" in names, "stress": stress}


def predict_frames(
    model: MolecularModel, frames: Frames, names: Sequence[str], *, batch_size: int = 64
) -> dict[str, Tensor]:
    """Return the named outputs for all structures in their order.

    (B, *shape) or (A, *shape), float64, on the CPU.
    """
    frozen = model.freeze()
    parts: dict[str, list[Tensor]] = {name: [] for name in names}
    for indices in torch.arange(len(frames)).split(batch_size):
        graph, _ = frames.batch(indices, model.cutoff)
        outputs = frozen.compute(graph.to(frozen.device), **derivatives(names))
        for name, values in parts.items():
            values.append(outputs[name].to("cpu", torch.float64))
    return {
        name: torch.cat(values) if values else torch.zeros_like(frames.targets[name])
        for name, values in parts.items()
    }


def without_undefined(frames: Frames) -> Frames:
    """Drop labels that no model can be asked for (`Property.is_defined`)."""
    targets = {}
    for name, values in frames.targets.items():
        row = frames.properties[name]
        known = row.is_defined(frames.pbc)
        if row.per_atom:
            known = known.repeat_interleave(frames.n_atoms)
        targets[name] = values.masked_fill(~known.reshape(-1, *[1] * (values.ndim - 1)), torch.nan)
    return dataclasses.replace(frames, targets=targets)


def save_predictions(evaluation: Evaluation, path: Path) -> None:
    """Write references and predictions side by side.

    `NAME` and `NAME_predicted`, with n_atoms and atomic_numbers; plain arrays, no pickle.
    """
    frames = evaluation.frames
    arrays: dict[str, Any] = {
        "n_atoms": frames.n_atoms.numpy(),
        "atomic_numbers": frames.atomic_numbers.numpy(),
    }
    if frames.source:
        arrays["source"] = np.array(frames.source)
    for name, values in evaluation.predictions.items():
        arrays[name] = frames.targets[name].numpy()
        arrays[f"{name}_predicted"] = values.numpy()
    with written_by_rename(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def _refuse_new_elements(model: MolecularModel, frames: Frames) -> None:
    unknown = [number for number in frames.elements() if number not in model.elements]
    if unknown:
        new, known = (
            " ".join(chemical_symbols[number] for number in numbers)
            for numbers in (unknown, model.elements)
        )
        raise UserError(
            f"the structures contain {new}, which this model does not know; it knows {known}"
        )


def _shared_rows(
    model: MolecularModel, frames: Frames, names: Sequence[str] | None
) -> list[Property]:
    """Return the properties to compare; refuse names that only one side has."""
    shared = {name: model.properties[name] for name in frames.targets if name in model.properties}
    missing = [name for name in names or () if name not in shared]
    if missing:
        raise _mismatch(f"asked for {', '.join(missing)}", model, frames)
    if not shared:
        raise _mismatch("nothing to compare", model, frames)
    return [shared[name] for name in names or shared]


def _mismatch(what: str, model: MolecularModel, frames: Frames) -> UserError:
    return UserError(
        f"{what}: the data have {', '.join(frames.targets) or 'no labels'}, the model gives "
        f"{', '.join(model.properties)}"
    )


def _accuracy(prediction: Tensor, target: Tensor) -> float | None:
    """Fraction of the known labels on whose side of one half the probability lies.

    Exactly one half, no decision, counts half.
    """
    known = ~torch.isnan(target)
    if not known.any():
        return None
    return float(
        (1.0 + (prediction[known] - 0.5).sign() * (target[known] - 0.5).sign()).mean() / 2.0
    )
