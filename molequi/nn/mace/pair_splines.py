"""Radial functions of each pair of elements, for models whose distances the elements transform.

A transform looks at the sum of two covalent radii, so that a pair has the same functions in both
orders. A model of 89 elements has 4,005 pairs, of megabytes each: splines are made of those alone
that occur, and kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from molequi.nn.mace.interaction import LayerSplines
from molequi.nn.mace.radial import EdgeScalars

# Bytes of splines that are kept. MACE-MPA-0 in float32 takes 5.5 MB a pair, written out 7.1 MB.
MOST_BYTES = 2**30

# From pairs of species (pairs, 2) to the splines of every layer, (pairs, K + 3, paths, C).
Maker = Callable[[Tensor], list[LayerSplines]]


class RadialFunctions(NamedTuple):
    """What stands for the functions of distances in a pass.

    layers: of each its splines, None where networks run. kinds: see `Edges`. scalars: what networks
    see of the edges.
    """

    layers: Sequence[LayerSplines | None]
    kinds: Tensor
    scalars: EdgeScalars | None = None


class _Kept(NamedTuple):
    """Pairs of species (pairs, 2), smaller first; the place of each there (S, S), or -1; splines.

    It is never changed, only replaced: several threads may read it.
    """

    pairs: Tensor
    places: Tensor
    layers: list[LayerSplines]


class PairSplines:
    """The splines of the pairs of species that have occurred; for weights that never change."""

    def __init__(self, n_species: int) -> None:
        self.n_species = n_species
        self._kept: _Kept | None = None

    def find(self, species: Tensor, edge_index: Tensor, make: Maker) -> RadialFunctions | None:
        """Return what the edges take; None for more pairs than may be kept, and for no edges.

        species: (N,). Splines of pairs that are new are made; where all would be too many, those
        that these edges do not need are forgotten.
        """
        if edge_index.shape[1] == 0:
            return None
        sender, receiver = species[edge_index]
        kept = self._kept
        if kept is None or bool((kept.places[sender, receiver] < 0).any()):
            kept = self._with(self._pairs(sender, receiver), kept, make)
            if kept is None:
                return None
            self._kept = kept
        return RadialFunctions(kept.layers, kept.places[sender, receiver])

    def _pairs(self, sender: Tensor, receiver: Tensor) -> Tensor:
        """Return the pairs of species that occur: (pairs, 2), smaller first."""
        first, second = torch.minimum(sender, receiver), torch.maximum(sender, receiver)
        counts = torch.bincount(first * self.n_species + second, minlength=self.n_species**2)
        return counts.unflatten(0, (self.n_species, -1)).nonzero()

    def _with(self, pairs: Tensor, kept: _Kept | None, make: Maker) -> _Kept | None:
        """Return what is kept with these pairs, alone where there would be too many."""
        if kept is None:
            kept = self._placed(pairs[:1], make(pairs[:1]))
        most = MOST_BYTES // max(1, _size(kept.layers) // len(kept.pairs))
        if len(pairs) > most:
            return None
        new = pairs[kept.places[pairs[:, 0], pairs[:, 1]] < 0]
        if len(kept.pairs) + len(new) > most:
            return self._placed(pairs, make(pairs))
        if len(new) == 0:
            return kept
        layers = [_joined(*of) for of in zip(kept.layers, make(new), strict=True)]
        return self._placed(torch.cat([kept.pairs, new]), layers)

    def _placed(self, pairs: Tensor, layers: list[LayerSplines]) -> _Kept:
        places = pairs.new_full((self.n_species, self.n_species), -1)
        numbers = torch.arange(len(pairs), device=pairs.device)
        places[pairs[:, 0], pairs[:, 1]] = places[pairs[:, 1], pairs[:, 0]] = numbers
        return _Kept(pairs, places, layers)


def _size(layers: Sequence[LayerSplines]) -> int:
    """Return bytes."""
    return sum(layer.radial.numel() * layer.radial.element_size() for layer in layers)


def _joined(first: LayerSplines, second: LayerSplines) -> LayerSplines:
    shares = None
    if first.shares is not None and second.shares is not None:
        shares = torch.cat([first.shares, second.shares])
    return LayerSplines(torch.cat([first.radial, second.radial]), shares)


def stacked(pairs: Sequence[Sequence[LayerSplines]]) -> list[LayerSplines]:
    """Return the splines of every layer, from those of every pair and layer."""
    return [
        LayerSplines(
            torch.stack([one.radial for one in layer]),
            None
            if layer[0].shares is None
            else torch.stack([one.shares for one in layer if one.shares is not None]),
        )
        for layer in zip(*pairs, strict=True)
    ]
