"""The energy of a `MolecularModel`, whatever its backbone, as the potential of one molecule.

The teacher of a trajectory, and what learns from one.

Units: eV, Å, amu; the unit of time that follows is `ase.units`'s, 10.18 fs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from molequi.datasets.in_memory import Frames
from molequi.errors import UserError
from molequi.graphs.graph import AtomGraph
from molequi.hamiltonian.mechanics import PotentialModel, Segments, Systems
from molequi.kernels import policy
from molequi.models.freeze import FrozenModel
from molequi.models.making import make_model
from molequi.models.molecular import MolecularModel
from molequi.training.normalization import heads_of

# Learning rate of backbones where none is given.
LEARNING_RATE = 5e-3


class MolecularPotential(PotentialModel):
    """V(q) by a molecular model in evaluation mode, or by a frozen one, which cannot be trained.

    All systems are copies of one molecule, whose elements `frames` holds.
    """

    def __init__(self, model: MolecularModel | FrozenModel, frames: Frames) -> None:
        super().__init__()
        self.model = model.eval() if isinstance(model, MolecularModel) else model
        self.frames = frames

    @property
    def learner(self) -> MolecularModel:
        """The model that is trained."""
        if isinstance(self.model, FrozenModel):
            raise TypeError("a frozen potential cannot be trained, so it has no learner")
        return self.model

    @property
    def charge_multiplicity(self) -> tuple[tuple[int, int], ...]:
        """The total charge, e, and the multiplicity of the molecule."""
        return ((int(self.frames.total_charge[0]), int(self.frames.spin_multiplicity[0])),)

    def frozen(self) -> MolecularPotential:
        """Return the potential as it is now, for long runs without training."""
        if isinstance(self.model, FrozenModel):
            return self
        return MolecularPotential(self.model.freeze(), self.frames)

    def potential(self, positions: Tensor, systems: Systems) -> Tensor:
        """Return V, eV: (B,), float64; differentiable where gradients are enabled."""
        graph = self._graph(positions)
        if not torch.is_grad_enabled():
            return self.model.compute(graph, forces=False)["energy"]
        return self.model(graph._replace(positions=positions.reshape(-1, 3).double()))["energy"]

    def forces(self, positions: Tensor) -> Tensor:
        """Return -dV/dq, eV/Å, without derivatives: (B, N, 3)."""
        return (
            self.model.compute(self._graph(positions))["forces"]
            .to(positions)
            .reshape(positions.shape)
        )

    def forward(self, state: Tensor, systems: Systems) -> Tensor:
        """Return velocities and forces, differentiable where gradients are enabled."""
        if torch.is_grad_enabled():
            return super().forward(state, systems)
        return torch.stack(
            (state[:, 1] / systems.masses[..., None], self.forces(state[:, 0])), dim=1
        )

    def choose_kernels(self, n_passes: int, n_systems: int) -> None:
        """Compile the convolutions where so many training passes over so many systems are worth it.

        A resumed run must compute what the whole one does.
        """
        if isinstance(self.model, FrozenModel):
            raise TypeError("a frozen potential cannot be trained, so no passes can be counted on")
        backbone = self.model.backbone
        if backbone.capabilities.fused_kernels and backbone.device.type == "cpu":
            n_edges = n_systems * self._graph(self.frames.positions[None]).edge_index.shape[1]
            one = backbone.operations(n_edges)
            work = n_passes * policy.TRAINING_STEP * one
            self.model.use_kernels(
                policy.worthwhile_kernels(work, in_one_pass=policy.TRAINING_MEMORY * one)
            )

    def _graph(self, positions: Tensor) -> AtomGraph:
        """Return the graph of the molecule at these positions, which are detached in it."""
        copies = self.frames.subset(torch.zeros(len(positions), dtype=torch.int64))
        moved = dataclasses.replace(
            copies, positions=positions.detach().reshape(-1, 3).double().cpu()
        )
        return moved.batch(torch.arange(len(positions)), self.model.cutoff)[0].to(positions.device)


def make_potential(
    kind: str, overrides: Mapping[str, Any], frames: Frames, train: Segments, seed: int
) -> MolecularPotential:
    """Return the untrained potential of the molecule in `frames`, calibrated on `train`.

    There its forces have the size of the true ones.
    kind: of the backbone, a key of `nn.backbones.registry.BACKBONES`. overrides: `preset`, and
    arguments of the backbone. Batch norms keep the moments of this calibration: a potential must
    not depend on the batch. Raises UserError for a backbone whose energy has no continuous
    derivative.
    """
    model = make_model(frames.elements(), ["energy"], architecture=kind, seed=seed, **overrides)
    obstacle = model.backbone.capabilities.no_forces_reason
    if obstacle is not None:
        raise UserError(f"model.kind {kind} cannot be a potential: {obstacle}")
    if model.backbone.settings.get("augmentation", "none") != "none":
        raise UserError(
            "model.backbone.augmentation turns the molecules of a batch, a trajectory has one that "
            "moves; set it to none"
        )
    potential = MolecularPotential(model, frames)
    some = train.states[:: max(train.n_systems // 64, 1), 0, 0]
    model.backbone.calibrate(potential._graph(some))
    forces = train.states[:, :, 1].diff(dim=1) / train.times.diff()[:, None, None]
    head, own = heads_of(model)["energy"], potential.forces(some)
    ratio = forces.square().mean().sqrt() / own.square().mean().sqrt()
    head.set_statistics(float(head.scale) * float(ratio))
    return potential
