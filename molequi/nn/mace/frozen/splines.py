"""Radial functions of a frozen network, those of the first layer with all that is linear in them.

What the first layer sees of a sender is its element. Its splines take the element's features and
the maps of the messages in, see `kernels.scalar_messages`, and the map of the receiver's element,
where one stands before the products. They are made when an element, or a pair of elements in one of
its orders, first occurs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from molequi.kernels.prepared import Splines, splines_of
from molequi.nn.mace.interaction import LayerSplines, MaceInteraction
from molequi.nn.mace.pair_splines import MOST_BYTES, Maker, PairSplines


class ArraySplines(NamedTuple):
    """`LayerSplines` as kernels take them."""

    radial: Splines
    shares: Splines | None


class FrozenSplines(NamedTuple):
    """What edges take in every layer.

    layers: their splines, in the first S of `kernels.scalar_messages`. kinds, first: (E,), the
    kinds of edges, see `Edges`, and those in the first layer.
    """

    layers: Sequence[ArraySplines]
    kinds: np.ndarray
    first: np.ndarray


class FirstMaps:
    """S_z[l,c'](r) = sum_c R[l,c](r) h_z[c] W_l[c,c'] / n: the maps of a layer of scalars.

    With `of_receivers` times the matrix of the receiver's element, S_zz' [l,c'], in a layer whose
    products take S_z' A. embedding: (S, C), features of the species.
    """

    def __init__(self, layer: MaceInteraction, embedding: Tensor, *, of_receivers: bool) -> None:
        coupling = torch.zeros(len(layer.table.paths), dtype=torch.float64)
        # Coupling with a scalar is a factor of each path.
        coupling[torch.from_numpy(layer.table.path)] = torch.from_numpy(layer.table.value)
        n = 1.0 if layer.density is not None else float(layer.neighbor_count)
        self.features = embedding @ layer.linear_up.tables()[0]
        factors = (coupling / n).to(embedding)[:, None, None]
        self.weights = torch.stack(layer.linear_paths.tables()) * factors
        self.cutoff, self.connection = layer.cutoff, None
        if of_receivers:
            starts = [rows.start for rows in layer.self_connection.shared.irreps.slices()]
            self.connection = layer.self_connection.tables()[:, starts]

    @property
    def n_species(self) -> int:
        """Species that may occur."""
        return len(self.features)

    def __call__(self, radial: Tensor, pairs: Tensor) -> Tensor:
        """Return the splines S of pairs: R (n, K + 3, paths, C), (n, 2) -> (n, K + 3, paths, C).

        pairs: species of sender and receiver.
        """
        sender, receiver = pairs.T
        scaled = radial * self.features[sender][:, None, None, :]
        mapped = torch.matmul(scaled.transpose(1, 2), self.weights)
        if self.connection is not None:
            mapped = torch.matmul(mapped, self.connection[receiver])
        return mapped.transpose(1, 2).contiguous()


def may_take_receivers(layer: MaceInteraction, radial: Tensor | None) -> bool:
    """Tell whether splines of the first layer may hold the matrices of the receiver's element.

    Without residual, if those of all pairs of elements may be kept. radial: (K + 3, paths, C) of
    one; None where pairs have splines of their own, and as many bytes whatever they hold.
    """
    n_pairs = layer.self_connection.n_elements**2
    fits = radial is None or n_pairs * radial.numel() * radial.element_size() <= MOST_BYTES
    return fits and not layer.is_residual


class ElementSplines:
    """The first layer's splines of what has occurred, distances being plain.

    They are those of elements that send, of pairs with a receiver where `maps` takes that in.
    """

    def __init__(self, layers: Sequence[LayerSplines], maps: FirstMaps) -> None:
        self._layers, self.maps = layers, maps
        self._others = [_arrays_of(layer, maps.cutoff) for layer in layers[1:]]
        # Places of the pairs, or -1, and the splines: never changed, only replaced together.
        empty = layers[0].radial.new_empty(0, *layers[0].radial.shape)
        self._kept = torch.full((maps.n_species**2,), -1), empty, self._first(empty)

    def find(self, species: Tensor, edge_index: Tensor) -> FrozenSplines:
        """Return what the edges take; species: (N,)."""
        sender = species.index_select(0, edge_index[0])
        pairs = sender * self.maps.n_species
        if self.maps.connection is not None:
            pairs += species.index_select(0, edge_index[1])
        places, _, first = self._kept
        kinds = places.index_select(0, pairs)
        if bool((kinds < 0).any()):
            self._kept = self._with(pairs[kinds < 0].unique())
            places, _, first = self._kept
            kinds = places.index_select(0, pairs)
        nothing = np.empty(0, dtype=np.int64)
        return FrozenSplines([first, *self._others], nothing, kinds.numpy())

    def _with(self, new: Tensor) -> tuple[Tensor, Tensor, ArraySplines]:
        """Return what is kept with these pairs."""
        places, splines, _ = self._kept
        n_species = self.maps.n_species
        pairs = torch.stack([new // n_species, new % n_species], dim=1)
        radial = self._layers[0].radial.expand(len(new), -1, -1, -1)
        splines = torch.cat([splines, self.maps(radial, pairs)])
        places = places.clone()
        places[new] = torch.arange(len(splines) - len(new), len(splines))
        return places, splines, self._first(splines)

    def _first(self, radial: Tensor) -> ArraySplines:
        return _arrays_of(self._layers[0]._replace(radial=radial), self.maps.cutoff)


class OrderedPairSplines:
    """The splines of the pairs of elements that have occurred, the first layer's in both orders.

    make: splines of every layer, of pairs of species, before the maps of the first.
    """

    def __init__(self, make: Maker, maps: FirstMaps) -> None:
        self._make, self.maps = make, maps
        self._pairs = PairSplines(maps.n_species)

    def find(self, species: Tensor, edge_index: Tensor) -> FrozenSplines | None:
        """Return what the edges take; None for more pairs than may be kept, and for no edges."""
        found = self._pairs.find(species, edge_index, self._mapped)
        if found is None:
            return None
        sender, receiver = species[edge_index]
        first, *others = (layer for layer in found.layers if layer is not None)
        layers = [first._replace(radial=first.radial.flatten(0, 1)), *others]
        return FrozenSplines(
            [_arrays_of(layer, self.maps.cutoff) for layer in layers],
            found.kinds.numpy(),
            (2 * found.kinds + (sender > receiver)).numpy(),
        )

    def _mapped(self, pairs: Tensor) -> list[LayerSplines]:
        """Return the splines with those of the first layer by sender: (pairs, 2, K + 3, P, C)."""
        first, *others = self._make(pairs)
        both = [self.maps(first.radial, ordered) for ordered in (pairs, pairs.flip(1))]
        return [first._replace(radial=torch.stack(both, dim=1)), *others]


def _arrays_of(layer: LayerSplines, cutoff: float) -> ArraySplines:
    shares = None if layer.shares is None else splines_of(layer.shares, cutoff)
    return ArraySplines(splines_of(layer.radial, cutoff), shares)
