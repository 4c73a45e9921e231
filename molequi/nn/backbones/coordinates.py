"""Message passing on raw coordinates: no symmetry under rotation but what an average gives it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from molequi.errors import NotComputableError
from molequi.graphs.graph import AtomGraph, edge_vectors
from molequi.groups.finite import point_group
from molequi.groups.principal_axes import principal_frames
from molequi.nn.backbones.base import BackboneBase, Capabilities, NodeFeatures, settings_of
from molequi.nn.linear import Perceptron, silu
from molequi.nn.module_list import ModuleListOf
from molequi.nn.radial import bessel_basis, envelope
from molequi.o3.irreps import Irrep, Irreps
from molequi.o3.wigner import turning_matrices


class CoordinateNetwork(nn.Module):
    """Message passing on edge vectors as they are, without symmetry.

    h_i' = (h_i + net(n^(-1/2) sum_j u(r_ij) silu(A h_j + B h_i + D b(r_ij) (1, x/r, y/r, z/r)))) /
    sqrt(2), b Bessel functions. Every component of an edge vector is an input of its own, so that
    turning a molecule changes everything. n is a constant of each layer, see
    `CoordinateBackbone.calibrate`.
    """

    neighbor_count: Tensor

    def __init__(
        self,
        n_elements: int,
        cutoff: float,
        n_channels: int,
        n_layers: int,
        *,
        n_radial: int = 8,
        n_rows: int = 4,
    ) -> None:
        super().__init__()
        self.cutoff, self.n_channels, self.n_radial = cutoff, n_channels, n_radial
        self.embedding = nn.Parameter(torch.randn(n_elements, n_channels))
        self.sides = ModuleListOf(
            Perceptron((n_channels, 2 * n_channels), last_bias=True) for _ in range(n_layers)
        )
        self.geometry = ModuleListOf(
            Perceptron((4 * n_radial, n_channels)) for _ in range(n_layers)
        )
        self.updates = ModuleListOf(
            Perceptron((n_channels, n_channels, n_channels), last_bias=True)
            for _ in range(n_layers)
        )
        self.register_buffer("neighbor_count", torch.full((n_layers,), 12.0))
        self.n_rows = n_rows
        self.last = Perceptron((n_channels, n_channels, n_rows * n_channels))

    def forward(self, vectors: Tensor, species: Tensor, edge_index: Tensor) -> Tensor:
        """Return rows per atom and channel, which are scalars, vectors, ... by intention only.

        (..., E, 3) -> (..., N, n_rows, C).

        vectors: Å, the model's dtype. species: (N,). edge_index: (2, E).
        """
        senders, receivers = edge_index
        distances = (vectors.square().sum(dim=-1) + 1e-12).sqrt()
        shape = distances.shape
        basis = bessel_basis(distances.flatten(), self.cutoff, self.n_radial).unflatten(0, shape)
        directions = functional.pad(vectors / distances[..., None], (1, 0), value=1.0)
        inputs, u = (
            (basis[..., None, :] * directions[..., :, None]).flatten(-2),
            envelope(distances, self.cutoff)[..., None],
        )
        h = self.embedding[species].expand(*shape[:-1], -1, -1)
        for side, geometry, update, count in zip(
            self.sides, self.geometry, self.updates, self.neighbor_count, strict=True
        ):
            a, b = _linear(side, h).split(self.n_channels, dim=-1)
            messages = u * silu(
                a.index_select(-2, senders)
                + b.index_select(-2, receivers)
                + _linear(geometry, inputs)
            )
            total = torch.zeros_like(h).index_add(-2, receivers, messages) * count.rsqrt()
            h = (h + _linear(update, total)) * 2**-0.5
        return _linear(self.last, h).unflatten(-1, (self.n_rows, self.n_channels))


class CoordinateBackbone(BackboneBase):
    """A coordinate network, and its average over matrices g of O(3).

    With copies s(g) = F(g^-1 x) its features are the mean of D(g) s(g), D the matrices of
    `irreps_out`. average: `none`; a point group, such as `O` or `Oh`, under which they are then
    exact, and no further; or `frames`, the eight frames of principal axes of a molecule, which turn
    with it, so that they are exact under every rotation and mirror (Puny et al., Frame averaging
    for invariant and equivariant network design, ICLR 2022). Frames are not determined where two
    moments of inertia are equal, as in a linear molecule, and jump there.
    elements: atomic numbers. cutoff: Å. n_readout: width of the networks of heads.
    Raises UserError for the name of no point group.
    """

    architecture = "coordinates"
    is_exact = False
    advice = "its features have those irreps that its properties need"

    def __init__(
        self,
        elements: Sequence[int],
        cutoff: float = 5.0,
        *,
        n_layers: int = 2,
        n_channels: int = 32,
        n_radial: int = 8,
        n_readout: int = 32,
        average: str = "none",
        irreps_out: Irreps | None = None,
    ) -> None:
        super().__init__(elements, settings_of(locals()))
        asked = Irreps("0e+1o") if irreps_out is None else irreps_out
        others = (irrep for irrep in asked if not irrep.is_scalar)
        self.n_channels, self.irreps_out = n_channels, Irreps([Irrep.parse("0e"), *others])
        self.has_frames = average == "frames"
        self.group = point_group("C1" if average in {"none", "frames"} else average)
        self.network = CoordinateNetwork(
            len(self.elements),
            self.cutoff,
            n_channels,
            n_layers,
            n_radial=n_radial,
            n_rows=self.irreps_out.dim,
        )

    @property
    def capabilities(self) -> Capabilities:
        """Whatever is asked for, of a symmetry that no law ensures."""
        if not self.has_frames:
            return Capabilities(vectors=True)
        reason = (
            "the frames that it is averaged over (model.average=frames) jump where two moments of "
            "inertia are equal, so its energy has no continuous derivative; take a point group, "
            "such as model.average=Oh"
        )
        return Capabilities(vectors=True, periodic=False, no_forces_reason=reason)

    @property
    def n_invariants(self) -> int:
        """Number of features of 0e per atom, invariant as far as the average goes."""
        return self.n_channels

    def check_input(self, graph: AtomGraph) -> None:
        """Refuse periodic structures where the average is over frames."""
        if self.has_frames and bool(graph.pbc.any()):
            raise NotComputableError(
                "a periodic structure has no principal axes; take a point group, such as "
                "model.average=Oh"
            )

    def forward(self, graph: AtomGraph) -> NodeFeatures:
        """Compute node features; differentiable in positions and cell.

        Raises NotComputableError for a periodic structure where the average is over frames.
        """
        self.check_input(graph)
        vectors = edge_vectors(graph)
        if self.has_frames:
            frames = principal_frames(graph.positions.detach(), graph.batch, graph.n_molecules)
            of_atom = turning_matrices(frames, self.irreps_out)[:, graph.batch]
            turned = torch.einsum(
                "keyx,ey->kex", frames[:, graph.batch[graph.edge_index[1]]], vectors
            )
        else:
            matrices = torch.as_tensor(self.group.matrices, device=vectors.device)
            of_atom = turning_matrices(matrices, self.irreps_out)[:, None]
            turned = torch.einsum("kyx,ey->kex", matrices, vectors)
        copies = self.network(
            turned.to(self.dtype), self.species_of_number[graph.atomic_numbers], graph.edge_index
        )
        features = (of_atom.to(self.dtype) @ copies).mean(dim=0)
        distances = (vectors.square().sum(dim=-1) + 1e-12).sqrt().to(self.dtype)
        return NodeFeatures(features, features[:, 0], distances, envelope(distances, self.cutoff))

    def calibrate(self, graph: AtomGraph) -> None:
        """Set n of each layer so that its messages have unit mean square on `graph` as it lies."""
        inputs: list[Tensor] = []
        with torch.no_grad():
            vectors = edge_vectors(graph).to(self.dtype)
            species = self.species_of_number[graph.atomic_numbers]
            for layer, update in enumerate(self.network.updates):
                hook = update.register_forward_pre_hook(
                    lambda _module, arguments: inputs.append(arguments[0])
                )
                self.network(vectors, species, graph.edge_index)
                hook.remove()
                self.network.neighbor_count[layer] *= inputs.pop().square().mean().clamp(min=1e-6)


def _linear(network: Perceptron, x: Tensor) -> Tensor:
    """Apply a network of rows to (..., C)."""
    return network(x.flatten(0, -2)).unflatten(0, x.shape[:-1])
