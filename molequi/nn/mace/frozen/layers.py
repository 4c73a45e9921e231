"""The layers of MACE with frozen weights: forward pass and gradient written out.

The remarks in `nn.frozen.layers` hold here too. The first layer, whose senders are known by their
elements alone, has no maps between channels before its products.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from molequi.kernels import NodeRange, scalar_messages, threads
from molequi.nn.mace.frozen.memory import Memory, MemoryPool
from molequi.nn.mace.frozen.messages import EdgeArrays, Messages
from molequi.nn.mace.frozen.splines import ArraySplines
from molequi.nn.mace.frozen.update import Atoms, Update, UpdateBuffers, atoms_of
from molequi.nn.mace.interaction import MaceInteraction

# Radial functions to evaluate that are worth a thread of their own, as in `nn.frozen.layers`.
_WORTH_A_THREAD = 1_000_000


class _Buffers(NamedTuple):
    """What a layer keeps for its gradient.

    up: what the convolution takes, none in the first layer. counts (N,), slopes (E,): of a density,
    empty without.
    """

    up: np.ndarray
    update: UpdateBuffers
    counts: np.ndarray
    slopes: np.ndarray


class Run(NamedTuple):
    """One pass: what it was given, the atoms of each thread, what its layers keep.

    sums: (N, rows of the largest sums, C), overwritten by each layer.
    """

    edges: EdgeArrays
    splines: Sequence[ArraySplines]
    atoms: list[Atoms]
    layers: list[_Buffers]
    sums: np.ndarray
    memory: Memory

    def sums_of(self, messages: Messages) -> np.ndarray:
        """Return memory for the sums over edges of one layer: (N, rows, C)."""
        n_atoms, _, n_channels = self.sums.shape
        size = n_atoms * messages.n_sums * n_channels
        return self.sums.reshape(-1)[:size].reshape(n_atoms, messages.n_sums, n_channels)


class FrozenMaceLayers:
    """All layers, and the buffers that their passes use.

    maps_first: the first layer maps its messages itself, where it has no residual; otherwise its
    splines have done it.
    """

    def __init__(
        self, embedding: Tensor, layers: Sequence[MaceInteraction], *, maps_first: bool
    ) -> None:
        first = layers[0]
        self.updates = [
            Update(
                layer, maps_messages=not layer.is_residual and (maps_first or layer is not first)
            )
            for layer in layers
        ]
        self.messages = [Messages(layer) for layer in layers[1:]]
        self.n_channels, self.dtype = embedding.shape[1], embedding.dtype
        # What a first layer with residual adds to the features of each element.
        self.start = None
        if first.is_residual:
            every = torch.arange(len(embedding), device=embedding.device)
            self.start = first.self_connection(embedding[:, None, :], every).detach().numpy()
        self.memories = MemoryPool(embedding.dtype)

    def node_ranges(
        self, splines: Sequence[ArraySplines], receiver_ptr: np.ndarray
    ) -> list[NodeRange]:
        """Share the atoms out among threads."""
        cost = sum(layer.radial.values.shape[1] * self.n_channels for layer in splines)
        return threads.cut(receiver_ptr, cost=cost, worth=_WORTH_A_THREAD)

    def forward(
        self,
        edges: EdgeArrays,
        splines: Sequence[ArraySplines],
        species: np.ndarray,
        nodes: Sequence[NodeRange],
        memory: Memory,
    ) -> Run:
        """Run the layers; features of each are `update.out` of its buffers."""
        atoms, n_atoms = [atoms_of(one, species) for one in nodes], len(species)
        rows = functools.partial(memory.rows, n_atoms, self.n_channels)
        kept = []
        for number, update in enumerate(self.updates):
            has_counts = splines[number].shares is not None
            kept.append(
                _Buffers(
                    rows(self.messages[number - 1].n_up if number else 0),
                    update.buffers(rows),
                    memory.empty(n_atoms if has_counts else 0),
                    memory.empty(len(edges.geometry.distances) if has_counts else 0),
                )
            )
        sums = rows(max((messages.n_sums for messages in self.messages), default=0))
        run = Run(edges, splines, atoms, kept, sums, memory)
        for number in range(len(self.updates)):
            threads.each(functools.partial(self._step, number, run), atoms)
        return run

    def _step(self, number: int, run: Run, atoms: Atoms) -> None:
        """Compute the features of these atoms after a layer, from what all sent."""
        own, update = run.layers[number], self.updates[number]
        out = own.update.out
        if number:
            self._convolve(number, run, atoms)
        else:
            edges, radial = run.edges, run.splines[0].radial
            inputs = edges.geometry, radial, edges.first, edges.walk.receiver_ptr
            scalar_messages.write_forward(*inputs, own.update.messages, atoms.nodes)
        self._divide(number, run, atoms.nodes)
        update.forward(own.update, atoms)
        if number and update.is_residual:
            before = run.layers[number - 1].update.out
            update.connection.add(before, out, atoms.sorted)
        elif self.start is not None and not number:
            nodes = slice(*atoms.nodes)
            out[nodes] += self.start[atoms.sorted.species[nodes]]
        if number + 1 < len(self.updates):
            self.messages[number].start(out, run.layers[number + 1].up, atoms)

    def _convolve(self, number: int, run: Run, atoms: Atoms) -> None:
        messages, own = self.messages[number - 1], run.layers[number]
        sums, splines = run.sums_of(messages), run.splines[number].radial
        messages.forward(own.up, splines, run.edges, sums, own.update.messages, atoms)

    def _divide(self, number: int, run: Run, nodes: NodeRange) -> None:
        """Divide messages by the density of their atom, where there is one."""
        shares, own, edges = run.splines[number].shares, run.layers[number], run.edges
        if shares is not None:
            out = own.counts, own.slopes
            inputs = edges.geometry.distances, shares, edges.kinds, edges.walk.receiver_ptr
            scalar_messages.write_counts(*inputs, out, nodes)
            these = slice(*nodes)
            own.update.messages[these] /= own.counts[these, None, None]
