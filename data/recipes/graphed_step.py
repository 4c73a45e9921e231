"""The outputs and the loss of a training step on a padded batch, without a look at any value.

They are those of `MolecularModel.compute` and of `MolecularTraining`, whose checks and lists of
pairs wait for the GPU to tell numbers, which a captured step cannot.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from graphed_batches import PaddedBatch
from graphed_pieces import interactions
from torch import Tensor

from molequi.datasets.pieces import INTERACTION_ENERGY
from molequi.errors import UserError
from molequi.graphs.graph import AtomGraph
from molequi.models.molecular import MolecularModel
from molequi.models.outputs import with_terms
from molequi.models.physics import Physics
from molequi.nn import response
from molequi.nn.backbones.spherical import SphericalBackbone
from molequi.nn.physics.image_pairs import AtomPairs, lengths
from molequi.properties import Property
from molequi.training.doubt import DoubtObjective, doubt_heads
from molequi.training.loss import make_objective
from molequi.training.settings import TrainingSettings

Terms = Callable[[AtomGraph, Tensor | None], Tensor]


def learned_physics(physics: Physics) -> Physics:
    """Return what of the physics depends on what is learned: the Coulomb energy of charges."""
    return dataclasses.replace(physics, dispersion=None, functional=None, repulsion=None)


def refuse_uncapturable(model: MolecularModel) -> None:
    """Refuse a model of which a step cannot be captured. Raises UserError."""
    if not isinstance(model.backbone, SphericalBackbone) or "energy" not in model.heads:
        raise UserError(
            "captured training takes model.architecture=spherical and energies among the targets"
        )
    if model.equilibration is None and "charges" in model.properties:
        raise UserError("captured training takes charges that are equilibrated: model.charges")


def outputs_of(model: MolecularModel, batch: PaddedBatch) -> dict[str, Tensor]:
    """Return every output and the forces, connected to the weights.

    model: its fixed terms have been taken out, and their part of the labels.
    """
    terms = _coulomb(model, batch)

    def network(graph: AtomGraph) -> dict[str, Tensor]:
        sender, receiver = batch.edges.index
        positions = graph.positions
        vectors = positions.index_select(0, sender) - positions.index_select(0, receiver)
        features = model.backbone.forward_along(vectors, graph, batch.edges)
        molecules = model.molecules(graph)
        if model.equilibration is not None:
            molecules = molecules._replace(charges=model.equilibration(features, molecules))
        outputs: dict[str, Tensor] = {}
        for head in model.heads.values():
            outputs |= head(features, molecules)
        return with_terms(outputs, graph, molecules, terms)

    outputs = response.with_forces(network, batch.graph, create_graph=True)
    return outputs | {INTERACTION_ENERGY: interactions(outputs["energy"], batch.whole)}


def _coulomb(model: MolecularModel, batch: PaddedBatch) -> Terms | None:
    """Return what gives the Coulomb energies of atoms; none where the model has none."""
    if model.terms is None:
        return None
    of_pairs = model.terms.long_range.of_pairs

    def energies(graph: AtomGraph, charges: Tensor | None) -> Tensor:
        first, second = batch.first, batch.second
        positions = graph.positions
        difference = positions.index_select(0, second) - positions.index_select(0, first)
        pairs = AtomPairs(first, second, lengths(difference))
        return of_pairs(graph.atomic_numbers, charges, pairs)

    return energies


class Loss(NamedTuple):
    """total: what is minimised. terms: (T,), the mean loss of each term of the objective."""

    total: Tensor
    terms: Tensor


class StepObjective:
    """The loss of a step: that of `MolecularTraining`, with weights that lie on the device.

    weights: (T,), float64, of the terms, adding up to one; to be written to.
    """

    def __init__(
        self,
        model: MolecularModel,
        rows: Sequence[Property],
        scales: Mapping[str, float],
        settings: TrainingSettings,
        device: torch.device,
    ) -> None:
        self.objective = make_objective(rows, scales, settings)
        self.doubt = DoubtObjective([head.target for head in doubt_heads(model).values()])
        self.weights = self.objective.weights(settings.weights, device)

    def loss(self, outputs: Mapping[str, Tensor], batch: PaddedBatch) -> Loss:
        """Return the loss of a batch."""
        targets = batch.targets
        sums = self.objective.sums(outputs, targets, batch.graph)
        means = sums / self.objective.counts(targets).clamp(min=1)
        doubts = self.doubt.sums(outputs, targets) / self.doubt.counts(targets).clamp(min=1)
        return Loss((self.weights * means).sum() + doubts.sum(), means.detach())
