"""The layers of MACE with frozen weights: forward pass and gradient written out.

The remarks in `nn.frozen.layers` hold here too. The first layer, whose senders are known by their
elements alone, has no maps between channels before its products.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from molequi.kernels import Edges, NodeRange, scalar_messages, threads
from molequi.nn.frozen.workspace import Workspace, WorkspacePool
from molequi.nn.mace.frozen.messages import Geometry, Messages
from molequi.nn.mace.frozen.splines import FrozenSplines
from molequi.nn.mace.frozen.update import Atoms, Update, UpdateBuffers, atoms_of
from molequi.nn.mace.interaction import MaceInteraction

# Radial functions to evaluate that are worth a thread of their own, as in `nn.frozen.layers`.
_WORTH_A_THREAD = 1_000_000


class _Buffers(NamedTuple):
    """What a layer keeps for its gradient.

    up: what the convolution takes, none in the first layer. counts (N,), slopes (E,): of a density,
    empty without.
    """

    up: Tensor
    update: UpdateBuffers
    counts: Tensor
    slopes: Tensor


class Run(NamedTuple):
    """One pass: what it was given, the atoms of each thread, what its layers keep.

    sums: (N, rows of the largest sums, C), overwritten by each layer.
    """

    geometry: Geometry
    splines: FrozenSplines
    atoms: list[Atoms]
    layers: list[_Buffers]
    sums: Tensor
    workspace: Workspace

    def sums_of(self, messages: Messages) -> Tensor:
        """Return memory for the sums over edges of one layer: (N, rows, C)."""
        n_atoms, _, n_channels = self.sums.shape
        size = n_atoms * messages.n_sums * n_channels
        return self.sums.view(-1)[:size].view(n_atoms, messages.n_sums, n_channels)


class FrozenMaceLayers:
    """All layers, and the buffers that their passes use."""

    def __init__(self, embedding: Tensor, layers: Sequence[MaceInteraction]) -> None:
        first = layers[0]
        self.cutoff = first.cutoff
        self.updates = [Update(layer) for layer in layers]
        self.messages = [Messages(layer) for layer in layers[1:]]
        # What a first layer with residual adds to the features of each element.
        self.start = None
        if first.is_residual:
            every = torch.arange(len(embedding), device=embedding.device)
            self.start = first.self_connection(embedding[:, None, :], every).contiguous()
        self.workspaces = WorkspacePool()

    def node_ranges(self, splines: FrozenSplines, edges: Edges) -> list[NodeRange]:
        """Share the atoms out among threads."""
        cost = sum(layer.radial.shape[-2] * layer.radial.shape[-1] for layer in splines.layers)
        return threads.cut(edges.receiver_ptr.numpy(), cost=cost, worth=_WORTH_A_THREAD)

    def forward(
        self,
        geometry: Geometry,
        splines: FrozenSplines,
        species: Tensor,
        nodes: Sequence[NodeRange],
        workspace: Workspace,
    ) -> Run:
        """Run the layers; features of each are `update.out` of its buffers."""
        atoms = [atoms_of(one, species) for one in nodes]
        like, n_atoms = geometry.harmonics, len(species)
        n_channels, n_edges = self.updates[0].weights.shape[2], len(geometry.distances)
        kept = []
        for number, update in enumerate(self.updates):
            rows = len(self.messages[number - 1].up) if number else 0
            n_counts = n_atoms if splines.layers[number].shares is not None else 0
            kept.append(
                _Buffers(
                    workspace.empty(like, n_atoms, rows, n_channels),
                    update.buffers(n_atoms, workspace),
                    workspace.empty(like, n_counts),
                    workspace.empty(like, n_edges if n_counts else 0),
                )
            )
        rows = max((messages.n_sums for messages in self.messages), default=0)
        sums = workspace.empty(like, n_atoms, rows, n_channels)
        run = Run(geometry, splines, atoms, kept, sums, workspace)
        for number in range(len(self.updates)):
            threads.each(functools.partial(self._step, number, run), atoms)
        return run

    def _step(self, number: int, run: Run, atoms: Atoms) -> None:
        """Compute the features of these atoms after a layer, from what all sent."""
        own, nodes, update = run.layers[number], atoms.nodes, self.updates[number]
        messages, out = own.update.messages, nodes.of(own.update.out)
        if number:
            self._convolve(number, run, nodes)
        else:
            edges, radial = run.geometry, run.splines.layers[0].radial
            inputs = edges.harmonics, edges.distances, radial, edges.first, self.cutoff
            scalar_messages.write_forward(*inputs, messages, nodes)
        self._divide(number, run, nodes)
        update.forward(own.update, atoms)
        if number and update.is_residual:
            before = run.layers[number - 1].update.out
            update.connection.add(nodes.of(before), out, atoms)
        elif self.start is not None and not number:
            out.add_(self.start.index_select(0, nodes.of(atoms.species)))
        if number + 1 < len(self.updates):
            self.messages[number].start(own.update.out, run.layers[number + 1].up, nodes)

    def _convolve(self, number: int, run: Run, nodes: NodeRange) -> None:
        messages, own = self.messages[number - 1], run.layers[number]
        sums, splines = run.sums_of(messages), run.splines.layers[number]
        messages.forward(own.up, splines, run.geometry, sums, own.update.messages, nodes)

    def _divide(self, number: int, run: Run, nodes: NodeRange) -> None:
        """Divide messages by the density of their atom, where there is one."""
        shares, own, edges = run.splines.layers[number].shares, run.layers[number], run.geometry
        if shares is not None:
            out = own.counts, own.slopes
            inputs = edges.distances, shares, edges.edges, self.cutoff
            scalar_messages.write_counts(*inputs, out, nodes)
            nodes.of(own.update.messages).div_(nodes.of(own.counts)[:, None, None])
