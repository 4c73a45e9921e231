"""Heads: from node features to named properties. Which head serves a property follows from its row in the table.

Sums over atoms run in float64; scale and shift belong to the head and are set from the training set before training.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from molequi.nn.backbones.spherical import NodeFeatures
from molequi.nn.linear import Perceptron, gate
from molequi.o3.irreps import Irrep, Irreps, row_slices, to_cartesian
from molequi.properties import DEBYE, Property, parse_irreps

N_HIDDEN = 32


class Molecules(NamedTuple):
    """What heads see of the graph.

    positions: (N, 3), float64, Å, relative to each molecule's centre of mass. batch: (N,). n_molecules: B.
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
        return values.new_zeros(self.n_molecules, *values.shape[1:], dtype=torch.float64).index_add(0, self.batch, values.to(torch.float64))


class Head(nn.Module):
    """Common statistics of all heads; `forward(features, molecules)` returns a dict of property name -> values.

    scale: one factor per irrep of the row. shift: added to a 0e value (per atom where the row is extensive).
    reference: (119,), float64, added per atom by atomic number, for extensive 0e rows.
    """

    def __init__(self, row: Property) -> None:
        super().__init__()
        self.row = row
        self.irreps: Irreps = parse_irreps(row.irreps)
        self.register_buffer("scale", torch.ones(len(self.irreps)))
        self.register_buffer("shift", torch.zeros((), dtype=torch.float64))
        self.register_buffer("reference", torch.zeros(119, dtype=torch.float64))

    def set_statistics(self, scale: float | Tensor = 1.0, shift: float = 0.0, reference: Tensor | None = None) -> None:
        """Set the normalisation, in the unit of the row.

        Raises ValueError for a shift or reference on anything but a 0e row, because it would break the symmetry.
        """
        if (shift or reference is not None) and not self.row.is_invariant:
            raise ValueError(f"{self.row.name} is {self.row.irreps}: it may be scaled, never shifted")
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


class TripleProducts(nn.Module):
    """Pseudoscalars t_k = (a_k x b_k) . c_k of three vectors that are mixed, each by its own map, from the channels of the 1o rows.

    Three different maps are needed: a product of a vector with itself has no hand. With maps to 1, p and p^2, p the rank of a neighbour, t is the
    signed volume of ranked neighbours, which is what R and S mean.
    """

    def __init__(self, n_channels: int, n_products: int) -> None:
        super().__init__()
        self.maps = nn.Parameter(torch.randn(n_channels, 3 * n_products))

    def forward(self, vectors: Tensor) -> Tensor:
        """Map (N, 3, C) -> (N, 1, n_products)."""
        # As a batched product: the operator @ rounds differently where weights have gradients.
        maps = (self.maps * len(self.maps) ** -0.5).expand(3, -1, -1)
        a, b, c = torch.bmm(vectors.transpose(0, 1), maps).chunk(3, dim=2)
        return (torch.linalg.cross(a, b, dim=0) * c).sum(dim=0)[:, None, :] * 6**-0.5


class TensorReadout(nn.Module):
    """One value per atom for each irrep: a scalar network for 0e, gated linear maps for the rest.

    v_i = sum_c w_c h_ic g_c(invariants): the gate is 0e, so the value has the irrep of its rows and no bias. Beside the 0o rows stand as
    many triple products of the 1o rows, where there are any.
    """

    def __init__(self, irreps: Irreps, irreps_in: Irreps, n_channels: int, n_invariants: int) -> None:
        super().__init__()
        self.irreps = irreps
        self.slices = dict(zip(irreps_in, row_slices(irreps_in), strict=True))
        self.triples = TripleProducts(n_channels, n_channels) if (0, -1) in irreps and (1, -1) in irreps_in else None
        sizes = [1 if irrep == (0, 1) else 2 * n_channels if irrep == (0, -1) and self.triples is not None else n_channels for irrep in irreps]
        self.networks = nn.ModuleList(Perceptron((n_invariants, N_HIDDEN, size), last_bias=False) for size in sizes)
        self.weights = nn.ParameterList(nn.Parameter(torch.randn(size)) for irrep, size in zip(irreps, sizes, strict=True) if irrep != (0, 1))

    def forward(self, features: NodeFeatures, scale: Tensor) -> Tensor:
        """Return the rows: (N, sum of 2 l + 1)."""
        parts, weights = [], iter(self.weights)
        for irrep, network, factor in zip(self.irreps, self.networks, scale, strict=True):
            scalars = network(features.invariant)
            if irrep == (0, 1):
                parts.append(scalars * factor)
            else:
                weight = next(weights) * gate(scalars) * (factor * scalars.shape[1] ** -0.5)
                parts.append(torch.einsum("nmc,nc->nm", self._rows(irrep, features.equivariant), weight))
        return torch.cat(parts, dim=1)

    def _rows(self, irrep: Irrep, features: Tensor) -> Tensor:
        rows = features[:, self.slices[irrep]]
        if irrep != (0, -1) or self.triples is None:
            return rows
        return torch.cat([rows, self.triples(features[:, self.slices[(1, -1)]])], dim=2)


class SumHead(Head):
    """Extensive and per-atom properties: sum_i or list of (value_i + shift + reference(Z_i))."""

    def __init__(self, row: Property, irreps_in: Irreps, n_channels: int, n_invariants: int) -> None:
        super().__init__(row)
        self.readout = TensorReadout(self.irreps, irreps_in, n_channels, n_invariants)

    def atomic_values(self, features: NodeFeatures) -> Tensor:
        """Learned part per atom, Cartesian: (N, *row.shape), the model's dtype."""
        return to_cartesian(self.readout(features, self.scale), tuple(l for l, _ in self.irreps))

    def forward(self, features: NodeFeatures, molecules: Molecules) -> dict[str, Tensor]:
        """Return {name: (B, *shape) float64 or (N, *shape)}."""
        values = self.atomic_values(features)
        if self.row.is_invariant:
            values = values.to(torch.float64) + self.shift + self.reference[molecules.atomic_numbers]
        return {self.row.name: values if self.row.per_atom else molecules.sum(values)}


class EnergyHead(SumHead):
    """The total energy, and `energies` per atom."""

    def forward(self, features: NodeFeatures, molecules: Molecules) -> dict[str, Tensor]:
        """Return {energy: (B,), energies: (N,)}, eV, float64."""
        energies = self.atomic_values(features).to(torch.float64) + self.shift + self.reference[molecules.atomic_numbers]
        return {self.row.name: molecules.sum(energies), "energies": energies}


class MeanHead(Head):
    """Intensive properties: a weighted mean sum_i w_i v_i / sum_i w_i + shift with learned positive 0e weights."""

    def __init__(self, row: Property, irreps_in: Irreps, n_channels: int, n_invariants: int) -> None:
        super().__init__(row)
        self.readout = TensorReadout(self.irreps, irreps_in, n_channels, n_invariants)
        self.attention = Perceptron((n_invariants, N_HIDDEN, 1))

    def forward(self, features: NodeFeatures, molecules: Molecules) -> dict[str, Tensor]:
        """Return {name: (B, *shape)}, float64; a molecule without atoms gets the shift."""
        weights = functional.softplus(self.attention(features.invariant))
        rows = molecules.sum(self.readout(features, self.scale) * weights)
        rows = rows / molecules.sum(weights).clamp(min=1e-12)
        values = to_cartesian(rows, tuple(l for l, _ in self.irreps))
        return {self.row.name: values + self.shift if self.row.is_invariant else values}


class ChargeFlow(nn.Module):
    """Partial charges q_i = q0_i + sum_j f_ij with f_ij = -f_ji, so that every connected piece keeps its charge.

    f_ij = u(r_ij) sum_c rho_c(r_ij) (a_ic b_jc - a_jc b_ic); q0 spreads the total charge with positive 0e weights.
    """

    def __init__(self, cutoff: float, n_invariants: int, *, n_flows: int = 8) -> None:
        super().__init__()
        self.cutoff, self.n_flows = cutoff, n_flows
        self.sources = Perceptron((n_invariants, N_HIDDEN, 2 * n_flows), last_bias=True)
        self.widths = nn.Parameter(torch.linspace(0.5, 4.0, n_flows))
        self.attention = Perceptron((n_invariants, N_HIDDEN, 1))

    def forward(self, features: NodeFeatures, molecules: Molecules, scale: Tensor) -> Tensor:
        """Return charges: (N,), e."""
        a, b = self.sources(features.invariant).split(self.n_flows, dim=1)
        sender, receiver = molecules.edge_index
        radial = flow_radial(features, self.widths / self.cutoff)
        a_i, b_i, a_j, b_j = (x.index_select(0, side) for side in (receiver, sender) for x in (a, b))
        flow = (radial * (a_i * b_j - a_j * b_i)).sum(dim=1) * (0.1 * self.n_flows**-0.5)
        charges = (flow * scale).new_zeros(len(molecules.batch)).index_add(0, receiver, flow * scale)
        if not bool(molecules.total_charge.any()):
            return charges
        weights = functional.softplus(self.attention(features.invariant))[:, 0]
        share = weights / molecules.sum(weights).to(weights.dtype).clamp(min=1e-12)[molecules.batch]
        return charges + share * molecules.total_charge.to(weights.dtype)[molecules.batch]


def flow_radial(features: NodeFeatures, inverse_widths: Tensor) -> Tensor:
    """Return u(r_e) exp(-(r_e w_f)^2) for inverse widths (F,), 1/Å: (E, F)."""
    return features.envelope[:, None] * torch.exp(-(features.distances[:, None] * inverse_widths).square())


class ChargeHead(Head):
    """Partial charges alone."""

    def __init__(self, row: Property, cutoff: float, n_invariants: int) -> None:
        super().__init__(row)
        self.flow = ChargeFlow(cutoff, n_invariants)

    def forward(self, features: NodeFeatures, molecules: Molecules) -> dict[str, Tensor]:
        """Return {charges: (N,)}, e."""
        return {self.row.name: self.flow(features, molecules, self.scale[0])}


class DipoleHead(Head):
    """mu = sum_i q_i (r_i - r_COM) + sum_i mu_i, from - to +; its length in debye; the charges.

    Charge-equilibrating flows and atomic dipoles as in PhysNet's and PaiNN's dipoles (Unke and Meuwly, JCTC 15, 3678 (2019), eq. 8;
    Schuett et al., ICML 2021, eq. 8). For an ion the origin is the centre of mass.
    """

    def __init__(self, row: Property, outputs: tuple[str, ...], irreps_in: Irreps, n_channels: int, sizes: tuple[float, int]) -> None:
        super().__init__(row)
        cutoff, n_invariants = sizes
        self.outputs = outputs
        self.flow = ChargeFlow(cutoff, n_invariants)
        self.readout = TensorReadout(((1, -1),), irreps_in, n_channels, n_invariants)

    def forward(self, features: NodeFeatures, molecules: Molecules) -> dict[str, Tensor]:
        """Return the asked ones of {dipole: (B, 3) e·Å, dipole_magnitude: (B,) D, charges: (N,) e}."""
        charges, atomic = self.multipoles(features, molecules)
        dipole = molecules.sum(charges.to(torch.float64)[:, None] * molecules.positions + atomic)
        known = {"dipole": dipole, "dipole_magnitude": safe_norm(dipole) / DEBYE, "charges": charges}
        return {name: known[name] for name in self.outputs}

    def multipoles(self, features: NodeFeatures, molecules: Molecules) -> tuple[Tensor, Tensor]:
        """Return the charges (N,), e, and atomic dipoles (N, 3), e·Å, whose sum is the dipole."""
        return self.flow(features, molecules, self.scale[0]), self.readout(features, self.scale)


class SpatialExtentHead(Head):
    """<r^2> = sum_i w_i |r_i - r_COM|^2 + sum_i s_i: an extent grows with the distance of its parts, so it is no sum of local terms."""

    def __init__(self, row: Property, irreps_in: Irreps, n_channels: int, n_invariants: int) -> None:
        super().__init__(row)
        self.readout = TensorReadout(((0, 1), (0, 1)), irreps_in, n_channels, n_invariants)

    def forward(self, features: NodeFeatures, molecules: Molecules) -> dict[str, Tensor]:
        """Return {name: (B,)}, Å², float64."""
        weight, local = self.readout(features, torch.ones_like(self.scale).expand(2)).to(torch.float64).unbind(dim=1)
        # A neutral atom holds Z electrons, the natural first guess of its weight.
        weight = molecules.atomic_numbers * (1.0 + 0.1 * weight)
        values = weight * molecules.positions.square().sum(dim=1) + local * self.scale[0] + self.shift + self.reference[molecules.atomic_numbers]
        return {self.row.name: molecules.sum(values)}


def safe_norm(vectors: Tensor) -> Tensor:
    """Return the length of vectors (..., 3); its gradient at zero is zero instead of undefined."""
    squared = vectors.square().sum(dim=-1)
    nonzero = squared > 0
    return torch.where(nonzero, torch.where(nonzero, squared, torch.ones_like(squared)).sqrt(), torch.zeros_like(squared))
