"""The models of dynamics: each joins a network to what it stands for.

That is the time derivative F, a Hamiltonian H or a potential V. Published sizes and learning rates
are those of Finzi et al. (ICML 2020).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from molequi.errors import UserError
from molequi.hamiltonian.graph_networks import FullyConnected, InvariantGraph, ObjectGraph
from molequi.hamiltonian.lie_networks import LiftedNetwork, Lifting
from molequi.hamiltonian.mechanics import HamiltonianModel, PotentialModel, Systems


class Shape(NamedTuple):
    """What a network is made for and how large.

    Particles, dimensions, features of a particle, width, layers.
    """

    n_particles: int
    n_dimensions: int
    n_features: int
    width: int
    n_layers: int


def _inputs(state: Tensor, systems: Systems) -> Tensor:
    """Return q, p and the features of each particle: (B, N, 2 d + c)."""
    return torch.cat((state[:, 0], state[:, 1], systems.features), dim=-1)


def _centred(positions: Tensor) -> Tensor:
    return positions - positions.mean(-2, keepdim=True)


class FlatField(nn.Module):
    """FC: the time derivative by a perceptron."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        n_inputs = shape.n_particles * (2 * shape.n_dimensions + shape.n_features)
        self.network = FullyConnected(
            n_inputs, 2 * shape.n_particles * shape.n_dimensions, shape.width, shape.n_layers
        )

    def forward(self, state: Tensor, systems: Systems) -> Tensor:
        """Return the time derivative of the state."""
        return self.network(_inputs(state, systems)).reshape(state.shape)


class FlatHamiltonian(HamiltonianModel):
    """H-FC: H(q, p) by a perceptron."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        n_inputs = shape.n_particles * (2 * shape.n_dimensions + shape.n_features)
        self.network = FullyConnected(n_inputs, 1, shape.width, shape.n_layers)

    def energy(self, state: Tensor, systems: Systems) -> Tensor:
        """Return H of every system: (B,)."""
        return self.network(_inputs(state, systems))[:, 0]


class GraphField(nn.Module):
    """OGN: the time derivative by a graph network, from its nodes."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.network = ObjectGraph(
            2 * shape.n_dimensions + shape.n_features, shape.width, shape.n_layers
        )
        self.head = nn.Linear(shape.width, 2 * shape.n_dimensions)

    def forward(self, state: Tensor, systems: Systems) -> Tensor:
        """Return the time derivative of the state."""
        return _as_state(self.head(self.network(_inputs(state, systems))[0]))


class GraphHamiltonian(HamiltonianModel):
    """HOGN: H(q, p) by a graph network, from its whole; positions relative to their mean."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.network = ObjectGraph(
            2 * shape.n_dimensions + shape.n_features, shape.width, shape.n_layers
        )
        self.head = nn.Linear(shape.width, 1)

    def energy(self, state: Tensor, systems: Systems) -> Tensor:
        """Return H of every system: (B,)."""
        centred = torch.stack((_centred(state[:, 0]), state[:, 1]), dim=1)
        return self.head(self.network(_inputs(centred, systems))[1])[:, 0]


class LiftedField(nn.Module):
    """LieConv: the time derivative by convolutions over a group of shifts.

    Momenta are features, and neither they nor what comes out would turn with a group that turns.
    """

    def __init__(self, shape: Shape, lifting: Lifting) -> None:
        super().__init__()
        n = 2 * shape.n_dimensions
        self.network = LiftedNetwork(
            lifting, shape.n_features + shape.n_dimensions, n, shape.width, shape.n_layers
        )

    def forward(self, state: Tensor, systems: Systems) -> Tensor:
        """Return the time derivative of the state."""
        features = torch.cat((systems.features, state[:, 1]), dim=-1)
        return _as_state(self.network(state[:, 0], features, systems))


class LiftedPotential(PotentialModel):
    """HLieConv: V(q) by convolutions over the group and a mean over the particles."""

    def __init__(self, shape: Shape, lifting: Lifting) -> None:
        super().__init__()
        self.network = LiftedNetwork(lifting, shape.n_features, 1, shape.width, shape.n_layers)

    def potential(self, positions: Tensor, systems: Systems) -> Tensor:
        """Return V of every system: (B,)."""
        return self.network(positions, systems.features, systems).mean((1, 2))


class InvariantPotential(PotentialModel):
    """V(q) by messages that see distances alone: invariant under E(n), in any dimension."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.network = InvariantGraph(shape.n_features, shape.width, shape.n_layers)

    def potential(self, positions: Tensor, systems: Systems) -> Tensor:
        """Return V of every system: (B,)."""
        return self.network(positions, systems.features)


def _as_state(outputs: Tensor) -> Tensor:
    """Turn rows (B, N, 2 d) of velocities and forces into (B, 2, N, d)."""
    return torch.stack(outputs.chunk(2, dim=-1), dim=1)


class Recipe(NamedTuple):
    """How a model is made, and its published (for `invariant` our) width, layers and learning rate.

    make: of a model that lifts particles to a group of the plane, with that `Lifting` too.
    """

    make: Callable[..., nn.Module]
    width: int
    n_layers: int
    learning_rate: float
    is_lifted: bool = False


RECIPES = {
    "fc": Recipe(FlatField, 256, 4, 1e-2),
    "h-fc": Recipe(FlatHamiltonian, 256, 4, 1e-2),
    "ogn": Recipe(GraphField, 256, 1, 1e-2),
    "hogn": Recipe(GraphHamiltonian, 256, 1, 1e-2),
    "lieconv": Recipe(LiftedField, 384, 4, 1e-3, is_lifted=True),
    "hlieconv": Recipe(LiftedPotential, 384, 4, 1e-3, is_lifted=True),
    "invariant": Recipe(InvariantPotential, 64, 1, 3e-3),
}
# Those that take particles of space, or of any number of dimensions.
ANYWHERE = tuple(name for name, recipe in RECIPES.items() if not recipe.is_lifted)


def make_dynamics(kind: str, shape: Shape, lifting: Lifting | None = None) -> nn.Module:
    """Return an untrained model; draws its weights from torch's generator.

    lifting: of the models that lift. Raises UserError for one that cannot treat these dimensions.
    """
    recipe = RECIPES[kind]
    if not recipe.is_lifted:
        return recipe.make(shape)
    if shape.n_dimensions != 2:
        raise UserError(
            f"model {kind} is made for two dimensions, the data have {shape.n_dimensions}; take "
            f"{', '.join(ANYWHERE)}"
        )
    return recipe.make(shape, Lifting() if lifting is None else lifting)
