"""How a run keeps the symmetry of a network that does not, and how far its model breaks it.

Motions are those of O(3), one for each molecule about its centre: rotations from the Haar measure,
half of them with the inversion. A model that obeys the law gives f(R x) = D(R) f(x), D the matrices
of each output's irreps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from molequi.datasets.beside import OF_SEVERAL
from molequi.datasets.in_memory import Frames
from molequi.datasets.sampler import TrainingBatch
from molequi.errors import UserError
from molequi.graphs.graph import AtomGraph
from molequi.groups.rotations import haar_space
from molequi.models.molecular import MolecularModel
from molequi.models.settings import ModelSettings
from molequi.o3.cartesian import from_cartesian, to_cartesian
from molequi.o3.irreps import Irreps
from molequi.o3.wigner import turning_matrices
from molequi.properties import Property
from molequi.training.loss import Objective
from molequi.training.predictions import derivatives

Compute = Callable[[AtomGraph], dict[str, Tensor]]

# Structures on which a violation is measured, and the seed of their motions.
_N_MEASURED, _SEED = 32, 0


class Motions(NamedTuple):
    """An orthogonal matrix for each molecule: matrices (B, 3, 3), float64."""

    matrices: Tensor

    def move(self, graph: AtomGraph) -> AtomGraph:
        """Turn each molecule about the mean of its positions, and its cell with it."""
        counts = torch.bincount(graph.batch, minlength=graph.n_molecules).clamp(min=1)
        sums = graph.positions.new_zeros(graph.n_molecules, 3)
        centres = sums.index_add(0, graph.batch, graph.positions) / counts[:, None]
        still = graph.pbc.any(dim=1)  # the origin of a crystal is a corner of its cell
        centres = torch.where(still[:, None], 0.0, centres)[graph.batch]
        matrices = self.matrices[graph.batch]
        return graph._replace(
            positions=torch.einsum("nxy,ny->nx", matrices, graph.positions - centres) + centres,
            cell=graph.cell @ self.matrices.mT,
        )

    def turn(self, row: Property, values: Tensor, graph: AtomGraph) -> Tensor:
        """Return D(R) of values of a property: (B, *shape), or (N, *shape) where it is of atoms.

        A logit of a yes/no label of 0o changes its sign.
        """
        irreps = Irreps(row.irreps)
        matrices = turning_matrices(self.matrices.to(values), irreps)
        rows = from_cartesian(values, irreps.degrees)
        turned = (matrices[graph.batch] if row.per_atom else matrices) @ rows[..., None]
        return to_cartesian(turned.squeeze(-1), irreps.degrees)

    def turn_labels(self, row: Property, labels: Tensor, graph: AtomGraph) -> Tensor:
        """Return the labels of the moved molecules: a yes of 0o becomes a no in the mirror."""
        if not row.binary:
            return self.turn(row, labels, graph)
        return 0.5 + self.turn(row, labels - 0.5, graph)


def random_motions(n: int, like: Tensor, generator: torch.Generator | None = None) -> Motions:
    """Draw n motions, on the device of `like`."""
    like = like.to(torch.float64)
    signs = 1.0 - 2.0 * torch.randint(0, 2, (n, 1, 1), generator=generator, device=like.device)
    return Motions(signs * haar_space((n,), like, generator))


class ByTheNetwork:
    """What the network itself keeps: batches as they are, no penalty."""

    def batch(self, batch: TrainingBatch) -> TrainingBatch:
        """Return what the network is to see of a batch."""
        return batch

    def penalty(
        self, compute: Compute, graph: AtomGraph, outputs: Mapping[str, Tensor], weights: Tensor
    ) -> Tensor:
        """Return what the violation adds to the loss."""
        return weights.new_zeros(())


BY_THE_NETWORK = ByTheNetwork()


class Augmented(ByTheNetwork):
    """Every molecule moved at random in every step, its labels with it."""

    def __init__(self, rows: Sequence[Property]) -> None:
        self.rows = tuple(rows)

    def batch(self, batch: TrainingBatch) -> TrainingBatch:
        """Move the molecules and their labels."""
        graph, targets, beside = batch
        motions = random_motions(graph.n_molecules, graph.positions)
        turned = {row.name: motions.turn_labels(row, targets[row.name], graph) for row in self.rows}
        return TrainingBatch(motions.move(graph), {**targets, **turned}, beside)


class Penalized(ByTheNetwork):
    """The loss of f(R x) with D(R) f(x) for its labels, weighted, beside that of f(x)."""

    def __init__(self, objective: Objective, weight: float) -> None:
        self.objective, self.weight = objective, weight

    def penalty(
        self, compute: Compute, graph: AtomGraph, outputs: Mapping[str, Tensor], weights: Tensor
    ) -> Tensor:
        """Return it; weights: of the terms of the objective."""
        motions = random_motions(graph.n_molecules, graph.positions)
        there = compute(motions.move(graph))
        expected = {
            row.name: motions.turn(row, outputs[row.name], graph) for row in self.objective.rows
        }
        for row in self.objective.rows:
            if row.binary:
                expected[row.name] = expected[row.name].sigmoid()
        counts = self.objective.counts(expected).clamp(min=1)
        sums = self.objective.sums(there, expected, graph)
        return self.weight * (weights * sums / counts).sum()


def way_to_keep(settings: ModelSettings, objective: Objective) -> ByTheNetwork:
    """Return what training does for the symmetry that the settings ask for.

    Raises UserError where structures beside those of a batch would have to be moved.
    """
    if settings.symmetry not in {"augmented", "penalty"}:
        return BY_THE_NETWORK
    for row in objective.rows:
        if row.name in OF_SEVERAL:
            raise UserError(
                f"model.symmetry={settings.symmetry} does not move {row.along}; leave {row.name} "
                "out of data.targets"
            )
    if settings.symmetry == "augmented":
        return Augmented(objective.rows)
    return Penalized(objective, settings.penalty or 1.0)


def violations(
    model: MolecularModel, frames: Frames, rows: Sequence[Property]
) -> dict[str, float | None]:
    """Return the mean of |f(R x) - D(R) f(x)| over components, by output and in its unit.

    On the first of the structures, one motion each, always the same. None where nothing is
    defined.
    """
    frozen, names = model.freeze(), [row.name for row in rows]
    graph = frames.batch(torch.arange(min(_N_MEASURED, len(frames))), model.cutoff)[0]
    motions = random_motions(
        graph.n_molecules, graph.positions, torch.Generator().manual_seed(_SEED)
    )
    asked = derivatives(names)
    here, there = (
        frozen.compute(one.to(model.device), **asked) for one in (graph, motions.move(graph))
    )
    found: dict[str, float | None] = {}
    for row in (row for row in rows if row.name in here):
        expected = motions.turn(row, here[row.name].cpu().to(torch.float64), graph)
        error = (there[row.name].cpu().to(torch.float64) - expected).abs()
        known = error[~torch.isnan(error)]
        found[row.name] = float(known.mean()) if len(known) else None
    return found


def add_violations(
    result: Mapping[str, dict[str, Any]],
    model: MolecularModel,
    frames: Frames,
    rows: Sequence[Property],
) -> None:
    """Write the `violations` of a model beside its errors, by output."""
    for name, violation in violations(model, frames, rows).items():
        result[name]["violation"] = violation
