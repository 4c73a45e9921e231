"""What a model needs not learn: labels less the terms that depend on nothing learned."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from molequi.datasets.in_memory import Frames
from molequi.graphs.graph import AtomGraph
from molequi.models.molecular import MolecularModel
from molequi.models.physics import EnergyTerms
from molequi.nn import response

_BATCH = 64
_TOTALS = ("energy", "forces", "stress")


def without_fixed_terms(frames: Frames, model: MolecularModel) -> Frames:
    """Return structures whose energy, forces and stress lack the model's dispersion and repulsion.

    What statistics of the training set are made of: scales and reference energies are those of
    what the network learns.
    """
    terms = model.physics.fixed.terms(model.cutoff)
    names = [name for name in _TOTALS if name in frames.targets]
    if terms is None or not names:
        return frames
    parts: dict[str, list[Tensor]] = {name: [] for name in names}
    for indices in torch.arange(len(frames)).split(_BATCH):
        graph, _ = frames.batch(indices, model.cutoff)
        values = _values(terms, graph, stress="stress" in names)
        for name, collected in parts.items():
            collected.append(values[name])
    less = {name: frames.targets[name] - torch.cat(collected) for name, collected in parts.items()}
    return dataclasses.replace(frames, targets={**frames.targets, **less})


def _values(terms: EnergyTerms, graph: AtomGraph, *, stress: bool) -> dict[str, Tensor]:
    """Return what the terms give of the total energies, forces and, where asked for, stresses."""

    def network(inputs: AtomGraph) -> dict[str, Tensor]:
        energies = terms(inputs, None)
        totals = energies.new_zeros(inputs.n_molecules).index_add(0, inputs.batch, energies)
        return {"energy": totals}

    return response.with_forces(network, graph, stress=stress)
