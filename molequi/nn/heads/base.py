"""Heads: from node features to named properties.

Which head serves a property follows from its row in the table.

Sums over atoms run in float64; scale and shift belong to the head and are set from the training set
before training.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from molequi.o3.irreps import Irreps
from molequi.properties import Property, parse_irreps


class Molecules(NamedTuple):
    """What heads see of the graph.

    positions: (N, 3), float64, Å, relative to each molecule's centre of mass. batch: (N,).
    n_molecules: B.
    edge_index: (2, E). atomic_numbers: (N,). total_charge: (B,), e. masses: (B,), float64, g/mol.
    """

    positions: Tensor
    batch: Tensor
    n_molecules: int
    edge_index: Tensor
    atomic_numbers: Tensor
    total_charge: Tensor
    masses: Tensor

    def sum(self, values: Tensor) -> Tensor:
        """Sum per-atom values (N, ...) over each molecule in float64: (B, ...)."""
        return values.new_zeros(self.n_molecules, *values.shape[1:], dtype=torch.float64).index_add(
            0, self.batch, values.to(torch.float64)
        )


class Head(nn.Module):
    """Common statistics of all heads.

    `forward(features, molecules)` returns a dict of property name -> values.

    scale: one factor per irrep of the row. shift: added to a 0e value (per atom where the row is
    extensive).
    reference: (119,), float64, added per atom by atomic number, for extensive 0e rows.
    """

    def __init__(self, row: Property) -> None:
        super().__init__()
        self.row = row
        self.irreps: Irreps = parse_irreps(row.irreps)
        self.register_buffer("scale", torch.ones(len(self.irreps)))
        self.register_buffer("shift", torch.zeros((), dtype=torch.float64))
        self.register_buffer("reference", torch.zeros(119, dtype=torch.float64))

    def set_statistics(
        self, scale: float | Tensor = 1.0, shift: float = 0.0, reference: Tensor | None = None
    ) -> None:
        """Set the normalisation, in the unit of the row.

        Raises ValueError for a shift or reference on anything but a 0e row, because it would break
        the symmetry.
        """
        if (shift or reference is not None) and not self.row.is_invariant:
            raise ValueError(
                f"{self.row.name} is {self.row.irreps}: it may be scaled, never shifted"
            )
        self.scale.copy_(torch.as_tensor(scale, dtype=self.scale.dtype).expand_as(self.scale))
        self.shift.fill_(shift)
        if reference is not None:
            self.reference.copy_(reference)

    def _apply(self, fn, recurse: bool = True):  # noqa: ANN001, ANN202 (signature of torch.nn.Module)
        """Keep shift and reference in float64 whatever the dtype of the model."""
        kept = self.shift, self.reference
        super()._apply(fn, recurse)
        for name, value in zip(("shift", "reference"), kept, strict=True):
            setattr(self, name, value.to(getattr(self, name).device))
        return self
