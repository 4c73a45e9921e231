"""Evaluation: predictions for many structures, and their errors beside a fair baseline."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from ase.data import chemical_symbols
from torch import Tensor

from molequi.datasets.in_memory import Frames
from molequi.errors import UserError
from molequi.models.molecular import MolecularModel
from molequi.nn.physics.image_pairs import refuse_slabs
from molequi.properties import Property, part_names
from molequi.runtime.files import written_by_rename
from molequi.training.baseline import baseline_prediction
from molequi.training.calibration import (
    Doubted,
    against_labels,
    doubted_errors,
    judge,
    spread_names,
)
from molequi.training.metrics import ErrorSums
from molequi.training.parts import split_parts
from molequi.training.predictions import (
    Progress,
    comparable_rows,
    predict_frames,
    without_undefined,
)
from molequi.training.scores import scores


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What a model gave for labelled structures.

    result: {property: {mae, rmse, max, r2, unit, count, baseline_mae}}, None where undefined;
    beside a property of several irreps its parts, such as `rosenfeld[0o]`, `accuracy` where it is a
    yes/no label, and what `scores` says of scalars; of a spread what `calibration.judge` says.
    predictions: shaped as the targets of `frames`; spreads are those of the deviation from labels.
    guesses: what the baseline predicts, NaN where there is none. doubted: errors and their spreads,
    by the spread's name.
    """

    result: dict[str, dict[str, Any]]
    predictions: dict[str, Tensor]
    guesses: dict[str, Tensor]
    frames: Frames
    doubted: dict[str, Doubted]


class Beside(NamedTuple):
    """What a run is told beside its structures.

    errors: of other methods on the tested structures, by property. molecules: what the model's
    record of its training keeps of the training set. cells: what a table says of each structure.
    """

    errors: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    molecules: Mapping[str, Any] = MappingProxyType({})
    cells: Sequence[Mapping[str, str]] = ()


NOTHING = Beside()


def tested_part(splits: Mapping[str, Tensor]) -> str:
    """Return the part of a split that says how good a model is: test, or valid without one."""
    return "test" if len(splits.get("test", ())) else "valid"


def evaluate_frames(
    model: MolecularModel,
    frames: Frames,
    *,
    names: Sequence[str] | None = None,
    batch_size: int = 64,
    progress: Progress | None = None,
    journal: Path | None = None,
) -> Evaluation:
    """Predict every structure and compare with its targets, or with those called `names`.

    progress, journal: see `predict_frames`.
    Baselines come from the model's training set, as its metadata keep them. Raises UserError where
    model and data have no property in common.
    """
    _refuse_new_elements(model, frames)
    if model.terms is not None and model.terms.long_range is not None:
        refuse_slabs(frames.pbc)  # here, where the numbers are those of the frames
    rows = _shared_rows(model, frames, names)
    frames = without_undefined(frames)
    compared = [row.name for row in rows]
    predictions = predict_frames(
        against_labels(model),
        frames,
        [*compared, *spread_names(model, compared)],
        batch_size=batch_size,
        progress=progress,
        journal=journal,
    )
    guesses = {row.name: _guess(model, frames, row) for row in rows}
    result: dict[str, dict[str, Any]] = {}
    for row in rows:
        prediction = predictions[row.name]
        values = prediction.sigmoid() if row.binary else prediction
        columns = Compared(values, frames.targets[row.name], guesses[row.name])
        result |= _result_rows(row, columns, frames.n_atoms)
    doubted = doubted_errors(model, predictions, frames)
    result |= {name: judge(model, name, pairs) for name, pairs in doubted.items()}
    return Evaluation(result, predictions, guesses, frames, doubted)


def _guess(model: MolecularModel, frames: Frames, row: Property) -> Tensor:
    """Return what the baseline of the model's training set predicts; NaN where it has none."""
    baseline = model.metadata.training.baseline.get(row.name)
    if baseline is None:
        return torch.full_like(frames.targets[row.name], torch.nan)
    return baseline_prediction(frames, row, baseline)


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
    result[row.name] |= scores(
        row, compared.prediction.numpy().astype(float), compared.target.numpy()
    )
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


def save_predictions(evaluation: Evaluation, path: Path) -> None:
    """Write references and predictions side by side.

    `NAME` and `NAME_predicted`, with n_atoms, atomic_numbers and positions (Å); plain arrays, no
    pickle.
    """
    frames = evaluation.frames
    arrays: dict[str, Any] = {
        "n_atoms": frames.n_atoms.numpy(),
        "atomic_numbers": frames.atomic_numbers.numpy(),
        "positions": frames.positions.numpy().astype(np.float32),
    }
    if frames.source:
        arrays["source"] = np.array(frames.source)
    for name, values in evaluation.predictions.items():
        if name in frames.targets:
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
    rows = comparable_rows(model)
    shared = {
        name: rows[name] for name in frames.targets if name in rows and not rows[name].spread_of
    }
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
