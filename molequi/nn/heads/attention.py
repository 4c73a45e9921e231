"""A head that reads a molecule by attention over its atoms."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from molequi.errors import UserError
from molequi.nn.backbones.base import NodeFeatures
from molequi.nn.heads.base import FeatureSpec, Head, Molecules
from molequi.nn.heads.readout import TensorReadout
from molequi.nn.linear import Perceptron
from molequi.o3.cartesian import to_cartesian
from molequi.o3.irreps import Irreps
from molequi.properties import Property


class AttentionHead(Head):
    """Attention over the atoms: the sum over heads k of sum_i softmax_i(a_ik) v_ik, and a shift.

    What each head of the attention looks at, a_ik, is 0e, and one number for all components of a
    value, so that the symmetry stays. A softmax may settle on the one atom that decides, which the
    mean of `MeanHead` cannot; its values do not grow with the molecule either.
    """

    n_looks = 4

    def __init__(
        self, target: Property, features: FeatureSpec, companions: tuple[str, ...] = ()
    ) -> None:
        super().__init__(target, features, companions)
        self.readout = TensorReadout(Irreps(list(self.irreps) * self.n_looks), features)
        self.attention = Perceptron((features.n_invariants, features.n_hidden, self.n_looks))

    def forward(self, features: NodeFeatures, molecules: Molecules) -> dict[str, Tensor]:
        """Return {name: (B, *shape)}, float64; a molecule without atoms gets the shift."""
        exponents = self.attention(features.invariant).to(torch.float64)
        shape = molecules.n_molecules, self.n_looks
        place = molecules.batch[:, None].expand_as(exponents)
        # The largest exponent of a molecule changes no share, and keeps exp from overflowing.
        largest = exponents.new_full(shape, -torch.inf).scatter_reduce(
            0, place, exponents.detach(), "amax"
        )
        weights = torch.exp(exponents - largest[molecules.batch])
        values = self.readout(features, self.scale.repeat(self.n_looks))
        rows = molecules.sum(values.unflatten(1, (self.n_looks, -1)) * weights[:, :, None])
        rows = rows / molecules.sum(weights).clamp(min=1e-12)[:, :, None]
        pooled = to_cartesian(
            rows.sum(dim=1) * self.n_looks**-0.5, tuple(l for l, _ in self.irreps)
        )
        return {self.target.name: self.shifted(pooled, self.shift.expand(len(pooled)))}


def read_by_attention(rows: Sequence[Property]) -> list[Property]:
    """Return the rows with `AttentionHead` for those that a mean or `PooledHead` would serve.

    Raises UserError where there are none.
    """
    chosen = [
        dataclasses.replace(row, head="attention")
        if row.head in {"", "pooled"}
        and not (row.extensive or row.per_atom or row.derived_from or row.spread_of)
        else row
        for row in rows
    ]
    if chosen == list(rows):
        raise UserError(
            "model.pooling=attention is for outputs that are no sums over atoms and have no head "
            f"of their own, such as gap; {', '.join(row.name for row in rows)} are none: leave it "
            "out"
        )
    return chosen
