"""Radial functions of a frozen network, those of the first layer with all that is linear in them.

What the first layer sees of a sender is its element. Its splines take the element's features and
the maps of the messages in, see `kernels.scalar_messages`; they are made when an element, or a pair
of elements in one of its orders, first occurs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from molequi.nn.mace.interaction import LayerSplines, MaceInteraction
from molequi.nn.mace.pair_splines import Maker, PairSplines


class FrozenSplines(NamedTuple):
    """What edges take in every layer.

    layers: their splines, in the first S of `kernels.scalar_messages`. kinds, first: (E,), the
    kinds of edges, see `Edges`, and those in the first layer.
    """

    layers: Sequence[LayerSplines]
    kinds: Tensor
    first: Tensor


class FirstMaps:
    """S_z[l,c'](r) = sum_c R[l,c](r) h_z[c] W_l[c,c'] / n: the maps of a layer of scalars.

    embedding: (S, C), features of the species.
    """

    def __init__(self, layer: MaceInteraction, embedding: Tensor) -> None:
        coupling = torch.zeros(len(layer.table.paths), dtype=torch.float64)
        # Coupling with a scalar is a factor of each path.
        coupling[torch.from_numpy(layer.table.path)] = torch.from_numpy(layer.table.value)
        n = 1.0 if layer.density is not None else float(layer.neighbor_count)
        self.features = embedding @ layer.linear_up.tables()[0]
        factors = (coupling / n).to(embedding)[:, None, None]
        self.weights = torch.stack(layer.linear_paths.tables()) * factors

    def __call__(self, radial: Tensor, species: Tensor) -> Tensor:
        """Return the splines S of senders: R (n, K + 3, paths, C), (n,) -> (n, K + 3, paths, C)."""
        scaled = radial * self.features[species][:, None, None, :]
        mapped = torch.matmul(scaled.flatten(0, 1).transpose(0, 1), self.weights)
        return mapped.transpose(0, 1).unflatten(0, radial.shape[:2]).contiguous()


class ElementSplines:
    """The first layer's splines of the elements that have occurred, distances being plain."""

    def __init__(self, layers: Sequence[LayerSplines], maps: FirstMaps) -> None:
        self._layers, self._maps = layers, maps
        n_species = len(maps.features)
        # Places of the species, or -1, and the splines: never changed, only replaced together.
        empty = layers[0].radial.new_empty(0, *layers[0].radial.shape)
        self._kept = torch.full((n_species,), -1), empty

    def find(self, species: Tensor, edge_index: Tensor) -> FrozenSplines:
        """Return what the edges take; species: (N,)."""
        places, splines = self._kept
        if bool((places[species] < 0).any()):
            present = species.unique()
            new = present[places[present] < 0]
            radial = self._layers[0].radial.expand(len(new), -1, -1, -1)
            splines = torch.cat([splines, self._maps(radial, new)])
            places = places.clone()
            places[new] = torch.arange(len(splines) - len(new), len(splines))
            self._kept = places, splines
        first = self._layers[0]._replace(radial=splines)
        kinds = edge_index.new_empty(0)
        return FrozenSplines(
            [first, *self._layers[1:]], kinds, places[species].index_select(0, edge_index[0])
        )


class OrderedPairSplines:
    """The splines of the pairs of elements that have occurred, the first layer's in both orders.

    make: splines of every layer, of pairs of species, before the maps of the first.
    """

    def __init__(self, make: Maker, maps: FirstMaps) -> None:
        self._make, self._maps = make, maps
        self._pairs = PairSplines(len(maps.features))

    def find(self, species: Tensor, edge_index: Tensor) -> FrozenSplines | None:
        """Return what the edges take; None for more pairs than may be kept, and for no edges."""
        found = self._pairs.find(species, edge_index, self._mapped)
        if found is None:
            return None
        sender, receiver = species[edge_index]
        layers = [layer for layer in found.layers if layer is not None]
        first = layers[0]._replace(radial=layers[0].radial.flatten(0, 1))
        return FrozenSplines(
            [first, *layers[1:]], found.kinds, 2 * found.kinds + (sender > receiver)
        )

    def _mapped(self, pairs: Tensor) -> list[LayerSplines]:
        """Return the splines with those of the first layer by sender: (pairs, 2, K + 3, P, C)."""
        first, *others = self._make(pairs)
        both = [self._maps(first.radial, pairs[:, sender]) for sender in (0, 1)]
        return [first._replace(radial=torch.stack(both, dim=1)), *others]
