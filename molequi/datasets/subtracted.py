"""Structures whose energies are taken from those of a batch."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from molequi.graphs.graph import AtomGraph


class Subtracted(NamedTuple):
    """Structures beside a batch, each of which belongs to one of it.

    graph: of P structures. owner: (P,), the structure of the batch that each belongs to.
    """

    graph: AtomGraph
    owner: Tensor

    def to(self, device: torch.device) -> Subtracted:
        """Move to a device."""
        return Subtracted(self.graph.to(device), self.owner.to(device))

    def differences(self, energies: Tensor, subtracted: Tensor) -> Tensor:
        """Return the energies less those of the structures that belong to them: (B,), eV.

        energies: (B,), of the batch. subtracted: (P,), of `graph`. A structure without any gets 0.
        """
        has_any = torch.zeros_like(energies).index_fill(0, self.owner, 1.0)
        return (energies * has_any).index_add(0, self.owner, -subtracted)
