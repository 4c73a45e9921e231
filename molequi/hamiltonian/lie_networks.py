"""The network of Finzi et al. (ICML 2020) for dynamics: particles lifted to a Lie group."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from molequi.groups.clouds import Cloud, n_coordinates, pair_coordinates
from molequi.groups.lie_groups import group_named
from molequi.groups.lieconv import LieResNet, Stage
from molequi.groups.motions import PlaneMotions
from molequi.groups.norms import Unnormalised
from molequi.groups.rotations import plane_rotation
from molequi.hamiltonian.mechanics import Systems

# Of the plane: groups of shifts, under which a vector stays what it is.
SHIFTS = ("trivial", "T(1)y", "T(2)")


class Lifting(NamedTuple):
    """How particles of the plane are lifted.

    group: a name of `lie_groups.GROUPS`. is_framed: to SE(2), by the angle of what stands around
    the particle, so that lifts turn along, in place of the angle drawn for it. is_centred:
    positions relative to their mean.
    """

    group: str = "T(2)"
    is_framed: bool = False
    is_centred: bool = False


class LiftedNetwork(nn.Module):
    """`LieResNet` without norms, every particle everybody's neighbour, and a linear head.

    Invariant exactly under the motions of a group with one lift of a point, and under SE(2) where
    the angles turn with the positions.
    """

    def __init__(
        self, lifting: Lifting, n_features: int, n_outputs: int, width: int, n_layers: int
    ) -> None:
        super().__init__()
        self.lifting, self.group = lifting, group_named(lifting.group, 2)
        self.network = LieResNet(
            n_features, width, n_coordinates(self.group), [Stage()] * n_layers, norm=Unnormalised
        )
        self.head = nn.Linear(width, n_outputs)

    def forward(self, positions: Tensor, features: Tensor, systems: Systems) -> Tensor:
        """Map positions (B, N, 2) and features (B, N, c) of systems to (B, N, outputs)."""
        if self.lifting.is_centred:
            positions = positions - positions.mean(-2, keepdim=True)
        angles = (
            frame_angles(positions, systems.masses) if self.lifting.is_framed else systems.angles
        )
        return self.head(self.network(self.lift(positions, angles), features)[0])

    def lift(self, positions: Tensor, angles: Tensor) -> Cloud:
        """Lift every particle to one element.

        Of SE(2) the turn by its angle (B, N), then the shift to its position.
        """
        every = torch.ones(positions.shape[:2], dtype=torch.bool, device=positions.device)
        # Nobody is too far to be a neighbour: there is no distance to compute.
        distances = positions.new_zeros(()).expand(*every.shape, every.shape[1])
        return Cloud(self._coordinates(positions, angles), distances, every)

    def _coordinates(self, positions: Tensor, angles: Tensor) -> Tensor:
        if isinstance(self.group, PlaneMotions):
            turns = plane_rotation(angles)
            return self.group.between(
                turns[:, :, None], positions[:, :, None], turns[:, None], positions[:, None]
            )
        elements, orbits = self.group.lift(positions)
        return pair_coordinates(self.group, elements.squeeze(2), orbits.squeeze(2))


def frame_angles(positions: Tensor, masses: Tensor) -> Tensor:
    """Return the angle of sum_j m_j r_ij / (1 + r_ij^2) of every particle: (B, N).

    positions: (B, N, 2). masses: (B, N). It turns with the particles, whose lifts by it make every
    invariant of SE(2) exact; where the sum vanishes, which two or more particles around a third
    must be placed for, it jumps.
    """
    vectors = positions[:, None] - positions[:, :, None]
    weights = masses[:, None] / (1.0 + vectors.square().sum(-1))
    sums = (weights[..., None] * vectors).sum(2)
    return torch.atan2(sums[..., 1], sums[..., 0])
