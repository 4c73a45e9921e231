"""Energies of atoms as labels: they mean something only up to a constant of each element."""

from __future__ import annotations

import torch
from torch import Tensor

from molequi.datasets.in_memory import Frames
from molequi.graphs.elements import N_ELEMENTS
from molequi.models.molecular import MolecularModel
from molequi.nn.heads.pooling import EnergyHead
from molequi.training.reference_energies import composition, fit_references


def within_elements(frames: Frames, values: Tensor) -> Tensor:
    """Return values of atoms (A,) less the mean of their element; NaN stays."""
    known = ~torch.isnan(values)
    numbers = frames.atomic_numbers[known]
    count = torch.bincount(numbers, minlength=N_ELEMENTS).clamp(min=1)
    mean = torch.bincount(numbers, weights=values[known], minlength=N_ELEMENTS) / count
    return values - mean[frames.atomic_numbers]


def start_constants(model: MolecularModel, frames: Frames) -> None:
    """Set the constants of a new energy head to those that fit the sums of the labels best.

    A structure's labels add up to what its energy is beyond the reference energies, and to the
    constants of its elements; they are trained from there, for physics beside the network changes
    what is left for it. A head that has constants already keeps them.
    """
    head = model.heads["energy"] if "energy" in model.heads else None
    if not isinstance(head, EnergyHead) or head.constants is None or head.constants.any():
        return
    owner = torch.repeat_interleave(torch.arange(len(frames)), frames.n_atoms)
    (name,) = head.companions
    sums = torch.zeros(len(frames), dtype=torch.float64).index_add(0, owner, frames.targets[name])
    if "energy" in frames.targets:
        counts, elements = composition(frames)
        references = (head.reference + head.shift).to("cpu", torch.float64)[elements]
        sums = sums - (frames.targets["energy"] - counts @ references)
    constants = fit_references(frames, sums).values
    with torch.no_grad():
        head.constants.copy_(constants)
