"""What a model gives for many structures, and which of their labels it can be asked for."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypedDict

import torch
from torch import Tensor

from molequi.datasets.beside import OF_SEVERAL, Beside, beside
from molequi.datasets.displaced import FORCE_CHANGES, Displaced
from molequi.datasets.in_memory import Frames
from molequi.datasets.pieces import INTERACTION_ENERGY
from molequi.datasets.relative import RELATIVE_ENERGY
from molequi.datasets.subtracted import Subtracted
from molequi.models.freeze import FrozenModel
from molequi.models.molecular import MolecularModel
from molequi.models.outputs import unfounded
from molequi.properties import PROPERTIES, Property
from molequi.runtime.whole_numbers import check_whole
from molequi.training.kept_predictions import kept_in

# Called with the numbers of structures that are done, and of all.
Progress = Callable[[int, int], None]


class Derivatives(TypedDict):
    """Arguments of `MolecularModel.compute`."""

    forces: bool
    stress: bool


def derivatives(names: Sequence[str]) -> Derivatives:
    """Return which derivatives of the energy a model must compute for the named outputs."""
    stress = "stress" in names
    return {"forces": not {"stress", "forces", FORCE_CHANGES}.isdisjoint(names), "stress": stress}


def with_others(
    outputs: dict[str, Tensor], others: Beside, compute: Callable[..., dict[str, Tensor]]
) -> dict[str, Tensor]:
    """Add what is made of several structures: of a batch, and of those beside it.

    compute: the model, with the derivatives that are asked for. A structure without others gets 0,
    for which there is no label.
    """
    outputs = _with_changes(outputs, others.displaced, compute)
    outputs = _with_differences(outputs, INTERACTION_ENERGY, others.pieces, compute)
    return _with_differences(outputs, RELATIVE_ENERGY, others.elsewhere, compute)


def _with_changes(
    outputs: dict[str, Tensor],
    moved: Displaced | None,
    compute: Callable[..., dict[str, Tensor]],
) -> dict[str, Tensor]:
    """Add how the forces change along displacements."""
    if "forces" not in outputs:
        return outputs
    forces = outputs["forces"]
    if moved is None:
        return {**outputs, FORCE_CHANGES: torch.zeros_like(forces)}
    changes = moved.changes(compute(moved.graph)["forces"], len(forces))
    return {**outputs, FORCE_CHANGES: changes}


def _with_differences(
    outputs: dict[str, Tensor],
    name: str,
    others: Subtracted | None,
    compute: Callable[..., dict[str, Tensor]],
) -> dict[str, Tensor]:
    """Add under a name the energies less those of others, whose forces nobody asks for."""
    if "energy" not in outputs:
        return outputs
    energy = outputs["energy"]
    if others is None:
        return {**outputs, name: torch.zeros_like(energy)}
    subtracted = compute(others.graph, forces=False, stress=False)["energy"]
    return {**outputs, name: others.differences(energy, subtracted)}


def comparable_rows(model: MolecularModel) -> dict[str, Property]:
    """Return what the labels of a model's data may be: its properties, and what follows from them.

    That is what it gives along displacements that the data must have too. Charges that it never
    learned are left out.
    """
    following = (row for row in PROPERTIES.values() if row.along)
    hidden = unfounded(model.outputs)
    return {
        **{name: row for name, row in model.properties.items() if name not in hidden},
        **{row.name: row for row in following if row.derived_from in model.properties},
    }


def predict_frames(
    model: MolecularModel,
    frames: Frames,
    names: Sequence[str],
    *,
    batch_size: int = 64,
    progress: Progress | None = None,
    journal: Path | None = None,
) -> dict[str, Tensor]:
    """Return the named outputs for all structures in their order.

    (B, *shape) or (A, *shape), float64, on the CPU. progress: called after every batch. journal:
    where they stand until all are there; an interrupted call goes on with it.
    Raises RunInterruptedError where a signal came and there is a journal.
    """
    check_whole(batch_size, "batch_size", 1)
    frozen = model.freeze()
    parts: dict[str, list[Tensor]] = {name: [] for name in names}
    with kept_in(journal, frozen, frames, names, batch_size) as kept:
        for indices in torch.arange(len(frames)).split(batch_size):
            found = None if kept is None else kept.take(len(indices))
            if found is None:
                found = _predict_batch(frozen, frames, indices, names)
                if kept is not None:
                    kept.keep(found)
            for name, values in parts.items():
                values.append(found[name])
            if progress is not None:
                progress(int(indices[-1]) + 1, len(frames))
    return {
        name: torch.cat(values) if values else torch.zeros(0, *comparable_rows(model)[name].shape)
        for name, values in parts.items()
    }


def _predict_batch(
    model: FrozenModel, frames: Frames, indices: Tensor, names: Sequence[str]
) -> dict[str, Tensor]:
    graph, _ = frames.batch(indices, model.cutoff)
    compute = functools.partial(model.compute, **derivatives(names))
    outputs = compute(graph.to(model.device))
    if not set(OF_SEVERAL).isdisjoint(names):
        outputs = with_others(
            outputs, beside(frames, indices, model.cutoff).to(model.device), compute
        )
    return {name: outputs[name].to("cpu", torch.float64) for name in names}


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
