"""Heads: from node features to named properties.

Sums over atoms run in float64; scale and shift belong to the head and are set from the training set
before training.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from molequi.graphs.elements import N_ELEMENTS
from molequi.graphs.graph import AtomGraph, mass_centres
from molequi.nn.backbones.base import NodeFeatures
from molequi.o3.cartesian import to_cartesian
from molequi.o3.irreps import Irreps
from molequi.properties import Property


class PartialCharges(NamedTuple):
    """The charges of all atoms, made once for the heads of a model: `equilibration.Equilibration`.

    values: (N,), e, float64, adding up to the total charge. energies: (N,), eV, float64, the price
    of the charge that no atom claims. local_charge: (B,), e, what the atoms claim together.
    """

    values: Tensor
    energies: Tensor
    local_charge: Tensor


class Molecules(NamedTuple):
    """What heads see of the graph.

    positions: (N, 3), float64, Å, relative to each molecule's centre of mass. batch: (N,).
    n_molecules: B.
    edge_index: (2, E). atomic_numbers: (N,). total_charge: (B,), e. masses: (B,), float64, g/mol.
    charges: where they are the model's and not a head's own.
    """

    positions: Tensor
    batch: Tensor
    n_molecules: int
    edge_index: Tensor
    atomic_numbers: Tensor
    total_charge: Tensor
    masses: Tensor
    charges: PartialCharges | None = None

    @classmethod
    def of(cls, graph: AtomGraph, masses: Tensor) -> Molecules:
        """Return those of a graph; masses: of the atoms, (N,), float64, g/mol."""
        positions, batch, n_molecules = graph.positions, graph.batch, graph.n_molecules
        centres, sums = mass_centres(positions, masses, batch, n_molecules)
        return cls(
            positions - centres[batch], batch, n_molecules, graph.edge_index,
            graph.atomic_numbers, graph.total_charge, sums,
        )  # fmt: skip

    def sum(self, values: Tensor) -> Tensor:
        """Sum per-atom values (N, ...) over each molecule in float64: (B, ...)."""
        return values.new_zeros(self.n_molecules, *values.shape[1:], dtype=torch.float64).index_add(
            0, self.batch, values.to(torch.float64)
        )


class FeatureSpec(NamedTuple):
    """What a head knows of the features that it will read.

    irreps: those of the equivariant rows. n_channels: of each row. n_invariants: invariant features
    per atom. cutoff: Å, of the graph's edges. gives_charges: `Molecules.charges` will be there.
    n_hidden: width of the networks that read invariants.
    """

    irreps: Irreps
    n_channels: int
    n_invariants: int
    cutoff: float
    gives_charges: bool = False
    n_hidden: int = 32


class Head(nn.Module, abc.ABC):
    """What turns node features into a property: the base of all heads.

    A new head is a class in a file of this folder that takes the arguments below and has a
    `forward`, and its name in `registry.HEADS`. Which property it serves is said by the property:
    `Property.head` is that name, `reads` the irreps that the features must have for it.

    target: the property that it is made for. features: what it will read. companions: properties of
    `target.gives` and `target.serves` that it must give beside the target.
    scale: one factor per irrep of the target. shift: added to the 0e part of the target, of a
    tensor to that component in its orthonormal basis, trace / sqrt(3) (per atom where the target is
    extensive). reference: (N_ELEMENTS,), float64, added there per atom by atomic number, where the
    target is extensive. They start as 1 and 0, and are set from the training set
    (`set_statistics`).
    """

    scale: Tensor
    shift: Tensor
    reference: Tensor

    def __init__(
        self, target: Property, features: FeatureSpec, companions: tuple[str, ...] = ()
    ) -> None:
        super().__init__()
        self.target, self.features, self.companions = target, features, companions
        self.irreps = Irreps(target.irreps)
        self.register_buffer("scale", torch.ones(len(self.irreps)))
        self.register_buffer("shift", torch.zeros((), dtype=torch.float64))
        self.register_buffer("reference", torch.zeros(N_ELEMENTS, dtype=torch.float64))

    @abc.abstractmethod
    def forward(self, features: NodeFeatures, molecules: Molecules) -> dict[str, Tensor]:
        """Return the target and its companions by name, in their units.

        Values of molecules are (B, *shape) and float64, those of atoms (N, *shape). Where the
        target has an irrep other than 0e, its values turn with the molecule: whatever is not 0e
        comes from the equivariant rows, by maps without bias.
        """

    def set_statistics(
        self, scale: float | Tensor = 1.0, shift: float = 0.0, reference: Tensor | None = None
    ) -> None:
        """Set the normalisation, in the unit of the target.

        Raises ValueError for a shift or reference where the target has no 0e part, or several,
        because it would break the symmetry.
        """
        if (shift or reference is not None) and self.target.scalar_component is None:
            raise ValueError(
                f"{self.target.name} is {self.target.irreps}: it may be scaled, never shifted"
            )
        self.scale.copy_(torch.as_tensor(scale, dtype=self.scale.dtype).expand_as(self.scale))
        self.shift.fill_(shift)
        if reference is not None:
            self.reference.copy_(reference)

    def set_size(self, n_atoms: float) -> None:
        """Tell the mean atom count of the training structures; most heads do not ask."""

    def scale_of(self, name: str) -> Tensor:
        """Return the scale of the target or a companion; most companions share the target's."""
        return self.scale

    def set_companion_statistics(self, name: str, scale: Tensor, reference: Tensor | None) -> None:
        """Set scale and reference of a companion by themselves; most share the target's scale."""

    def shifted(self, values: Tensor, amounts: Tensor) -> Tensor:
        """Add amounts (K,) to the 0e part of values (K, *shape): float64, where there is one."""
        component = self.target.scalar_component
        if component is None:
            return values
        rows = amounts.new_zeros(len(amounts), self.irreps.dim)
        rows[:, component] = amounts
        return values.to(torch.float64) + to_cartesian(rows, self.irreps.degrees)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Head:
        """Keep shift and reference in float64 whatever the dtype of the model."""
        kept = self.shift, self.reference
        super()._apply(fn, recurse)
        for name, value in zip(("shift", "reference"), kept, strict=True):
            setattr(self, name, value.to(getattr(self, name).device))
        return self
