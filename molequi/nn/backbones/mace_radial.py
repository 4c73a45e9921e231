"""What stands for the radial networks of MACE: splines through them, or the networks themselves."""

from __future__ import annotations

import torch
from torch import Tensor

from molequi.nn.backbones.base import BackboneBase
from molequi.nn.mace.interaction import LayerSplines, MaceInteraction
from molequi.nn.mace.knots import distances_of_knots, splines_through
from molequi.nn.mace.pair_splines import PairSplines, RadialFunctions, stacked
from molequi.nn.mace.radial import EdgeBasis
from molequi.nn.module_list import ModuleListOf
from molequi.nn.weight_tables import WeightTables


class MaceRadial(BackboneBase, WeightTables[list[LayerSplines]]):
    """The radial functions of a MACE backbone, which has the layers and the basis."""

    basis: EdgeBasis
    layers: ModuleListOf[MaceInteraction]
    pair_splines: PairSplines

    @property
    def takes_splines(self) -> bool:
        """Whether the radial functions are splines through the networks at knots.

        They are in a frozen model and for fused kernels, which take nothing else. Where distances
        are transformed by the elements, `PairSplines` are in frozen models alone, whose weights do
        not change, on a CPU, and none for a structure of too many pairs. Otherwise the networks run
        on every edge.
        """
        is_wanted = self._frozen is not None
        if self.has_pairs:
            is_wanted &= self.device.type == "cpu"
        else:
            is_wanted |= self.kernels not in {"auto", "reference"}
        return self.may_have_splines and is_wanted

    @property
    def may_have_splines(self) -> bool:
        """Whether splines may stand for the radial networks, see `takes_splines`.

        Not where `radial_splines` says so, nor for Chebyshev polynomials of plain distances, which
        reach the cutoff's n-th power.
        """
        is_smooth = self.basis.transform == "agnesi" or self.basis.kind != "chebyshev"
        return is_smooth and bool(self.settings["radial_splines"])

    @property
    def has_pairs(self) -> bool:
        """Whether each pair of elements has radial functions of its own."""
        return self.basis.transform != "none"

    def make_tables(self) -> list[LayerSplines]:
        """Return the splines of each layer that serve all pairs of elements, where there are."""
        if self.has_pairs or not self.may_have_splines:
            return []
        knots = distances_of_knots(self.cutoff, self.device)
        return splines_through(self.layers, self.basis.of_lengths(knots), self.dtype)

    def radial(self, distances: Tensor, species: Tensor, edge_index: Tensor) -> RadialFunctions:
        """Return the splines that the edges take, or what the networks see of them."""
        of_one, found = edge_index.new_empty(0), None
        if self.takes_splines and not self.has_pairs:
            return RadialFunctions(self.tables(), of_one)
        if self.takes_splines:
            found = self.pair_splines.find(species, edge_index, self.splines_of_pairs)
        if found is not None:
            return found
        scalars = self.basis(distances, species, edge_index)
        return RadialFunctions([None] * len(self.layers), of_one, scalars)

    def splines_of_pairs(self, pairs: Tensor) -> list[LayerSplines]:
        """Return the splines of pairs of species (pairs, 2): (pairs, K + 3, paths, C)."""
        knots = distances_of_knots(self.cutoff, self.device)
        ends = torch.zeros(2, len(knots), dtype=torch.int64, device=self.device)
        ends[1] = 1
        with torch.no_grad():
            scalars = [self.basis(knots, pair, ends) for pair in pairs]
            return stacked([splines_through(self.layers, one, self.dtype) for one in scalars])
