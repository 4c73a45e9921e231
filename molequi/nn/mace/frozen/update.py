"""What a frozen MACE layer does at each atom, and its gradient, written out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from molequi.kernels import NodeRange, contraction
from molequi.kernels.contraction_terms import name_of
from molequi.nn.frozen.workspace import Workspace
from molequi.nn.mace.interaction import MaceInteraction, SpeciesLinear


class Atoms(NamedTuple):
    """The atoms that a thread serves, and these sorted by species.

    nodes: which they are. species: (N,) of all atoms. order: their places among `nodes`, by
    species. spans: species, first and last place in that order.
    """

    nodes: NodeRange
    species: Tensor
    order: Tensor
    spans: list[tuple[int, int, int]]


def atoms_of(nodes: NodeRange, species: Tensor) -> Atoms:
    """Sort the atoms of a range by species."""
    own = nodes.of(species).numpy()
    order = np.argsort(own, kind="stable")
    ranked = own[order]
    starts = np.flatnonzero(np.diff(ranked, prepend=-1)).tolist()
    ends = [*starts, len(own)][1:]
    spans = zip(ranked[starts].tolist(), starts, ends, strict=True)
    return Atoms(nodes, species, torch.from_numpy(order), list(spans))


class SpeciesMap:
    """`SpeciesLinear` without autograd: the atoms of a species go through its matrices together."""

    def __init__(self, linear: SpeciesLinear) -> None:
        self.weights, shared = linear.tables(), linear.shared
        self.rows_in, self.rows_out = _rows(shared.components_in), _rows(shared.components_out)

    def add(self, features: Tensor, out: Tensor, atoms: Atoms) -> None:
        """Add the map of features (n, M_in, C) of these atoms to out (n, M_out, C)."""
        mixed = self._mixed(features[:, self.rows_in], self.weights, atoms)
        _add(mixed, out, self.rows_out, atoms)

    def add_transposed(self, gradient: Tensor, out: Tensor, atoms: Atoms) -> None:
        """Add the gradient with respect to the features."""
        weights = self.weights.transpose(2, 3)
        mixed = self._mixed(gradient[:, self.rows_out], weights, atoms)
        _add(mixed, out, self.rows_in, atoms)

    @staticmethod
    def _mixed(x: Tensor, weights: Tensor, atoms: Atoms) -> Tensor:
        """Return the products by species, atoms in the order of `atoms`."""
        taken = x.index_select(0, atoms.order)
        mixed = torch.empty_like(taken)
        for species, first, last in atoms.spans:
            rows = taken[first:last].transpose(0, 1)
            torch.bmm(rows, weights[species], out=mixed[first:last].transpose(0, 1))
        return mixed


def _rows(components: Tensor) -> slice | Tensor:
    """Return neighbouring rows as a slice, which is a view."""
    first, count = int(components[0]), len(components)
    is_run = components.tolist() == list(range(first, first + count))
    return slice(first, first + count) if is_run else components


def _add(mixed: Tensor, out: Tensor, rows: slice | Tensor, atoms: Atoms) -> None:
    """Add what is sorted by species to some rows of the atoms."""
    if isinstance(rows, slice):
        out[:, rows].index_add_(0, atoms.order, mixed)
    else:
        out[atoms.order[:, None], rows] += mixed


class UpdateBuffers(NamedTuple):
    """What an update keeps for its gradient; all (N, rows, C).

    messages: as it was given them. mixed: those that are multiplied, the same where no map stands
    between. products: not kept. out: features.
    """

    messages: Tensor
    mixed: Tensor
    products: Tensor
    out: Tensor


class Update:
    """h' = L B(A) + S_z h with residual, h' = L B(S_z A) without: the second half of a layer."""

    def __init__(self, layer: MaceInteraction) -> None:
        self.is_residual = layer.is_residual
        self.down = layer.linear_down.tables()
        self.connection = SpeciesMap(layer.self_connection)
        self.weights = layer.contraction.tables()
        self.polynomials = name_of(layer.contraction.polynomials)
        self.n_messages, self.n_out = layer.contraction.irreps_in.dim, layer.irreps_out.dim

    def buffers(self, n_atoms: int, workspace: Workspace) -> UpdateBuffers:
        """Return memory for one pass."""

        def empty(rows: int) -> Tensor:
            return workspace.empty(self.weights, n_atoms, rows, self.weights.shape[2])

        messages = empty(self.n_messages)
        mixed = messages if self.is_residual else empty(self.n_messages)
        return UpdateBuffers(messages, mixed, empty(self.n_out), empty(self.n_out))

    def forward(self, buffers: UpdateBuffers, atoms: Atoms) -> None:
        """Compute the features of these atoms, without what a residual layer adds."""
        nodes = atoms.nodes
        if not self.is_residual:
            mixed = nodes.of(buffers.mixed).zero_()
            self.connection.add(nodes.of(buffers.messages), mixed, atoms)
        inputs = buffers.mixed, self.weights, atoms.species
        contraction.write_forward(inputs, self.polynomials, buffers.products, [nodes])
        products, out = (nodes.of(x).transpose(0, 1) for x in (buffers.products, buffers.out))
        torch.bmm(products, self.down, out=out)

    def backward(
        self, g: Tensor, buffers: UpdateBuffers, pull: Tensor, scratch: Tensor, atoms: Atoms
    ) -> None:
        """Write to `pull` (N, rows, C) the gradient of the messages; g: that of the features.

        scratch: of the size of messages, used where no residual is.
        """
        nodes = atoms.nodes
        of_products = nodes.of(buffers.products)
        down = self.down.transpose(1, 2)
        torch.bmm(nodes.of(g).transpose(0, 1), down, out=of_products.transpose(0, 1))
        inputs = buffers.mixed, self.weights, buffers.products, atoms.species
        of_mixed = pull if self.is_residual else scratch
        contraction.write_backward(inputs, self.polynomials, of_mixed, [nodes], wants_w=False)
        if not self.is_residual:
            self.connection.add_transposed(nodes.of(scratch), nodes.of(pull).zero_(), atoms)
