"""What a model gives for many structures, and which of their labels it can be asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TypedDict

import torch
from torch import Tensor

from molequi.datasets.in_memory import Frames
from molequi.models.molecular import MolecularModel


class Derivatives(TypedDict):
    """Arguments of `MolecularModel.compute`."""

    forces: bool
    stress: bool


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
        name: torch.cat(values) if values else torch.zeros(0, *model.properties[name].shape)
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
