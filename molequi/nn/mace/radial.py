"""What an edge's length says in MACE: radial functions of it, transformed or not, and an envelope.

Batatia et al., MACE, NeurIPS 2022, and the code of mace-torch 0.3.16, module `radial`,
whose conventions these are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from ase import data
from torch import Tensor, nn

BASES = ("bessel", "gaussian", "chebyshev")
TRANSFORMS = ("none", "agnesi", "soft")
# a, q and p of the Agnesi transform (Witt et al., J. Chem. Phys. 159, 164101 (2023)), and the
# steepness of the soft one, as mace-torch has them.
_PARAMETERS = {"none": (), "agnesi": (1.0805, 0.9183, 4.5791), "soft": (4.0,)}


class EdgeScalars(NamedTuple):
    """What radial networks see of the edges: basis (E, n_radial), and the envelope (E, 1)."""

    basis: Tensor
    envelope: Tensor


class EdgeBasis(nn.Module):
    """b_n(T(r)) of lengths r, Å, and the envelope u(r).

    kind: `bessel`, sqrt(2 / c) sin(n pi x / c) / x; `gaussian`, n of them from 0 to c; `chebyshev`,
    T_n(x), n from 1. transform: of the length before, by the covalent radii of the two elements,
    see `agnesi` and `soft`. power: p of the envelope, see `polynomial_envelope`.
    """

    frequencies: Tensor
    prefactor: Tensor
    parameters_of_transform: Tensor
    radii: Tensor

    def __init__(
        self,
        elements: Sequence[int],
        cutoff: float,
        n_radial: int,
        kind: str = "bessel",
        transform: str = "none",
        power: int = 6,
    ) -> None:
        super().__init__()
        self.cutoff, self.kind, self.transform, self.power = cutoff, kind, transform, power
        orders = torch.arange(1.0, n_radial + 1)
        frequencies, prefactor = {
            "bessel": (orders * (math.pi / cutoff), (2.0 / cutoff) ** 0.5),
            "gaussian": (
                torch.linspace(0.0, cutoff, n_radial),
                -0.5 * ((n_radial - 1) / cutoff) ** 2,
            ),
            "chebyshev": (orders, 1.0),
        }[kind]
        self.register_buffer("frequencies", frequencies)
        self.register_buffer("prefactor", torch.tensor(prefactor))
        self.register_buffer("parameters_of_transform", torch.tensor(_PARAMETERS[transform]))
        radii = [float(data.covalent_radii[number]) for number in elements]
        self.register_buffer("radii", torch.tensor(radii))

    def forward(self, distances: Tensor, species: Tensor, edge_index: Tensor) -> EdgeScalars:
        """Return the radial functions and the envelope of distances (E,); species: (N,)."""
        if self.transform == "none":
            return self.of_lengths(distances)
        lengths = distances[:, None]
        radii = self.radii[species][edge_index].sum(dim=0)[:, None]
        transform = agnesi if self.transform == "agnesi" else soft
        transformed = transform(lengths, radii, *self.parameters_of_transform)
        return EdgeScalars(self._functions(transformed), self.envelope(distances))

    def of_lengths(self, distances: Tensor) -> EdgeScalars:
        """Return the same of distances (E,) that no transform changes, whatever the elements."""
        return EdgeScalars(self._functions(distances[:, None]), self.envelope(distances))

    def envelope(self, distances: Tensor) -> Tensor:
        """Return the envelope of distances (E,): (E, 1)."""
        return polynomial_envelope(distances[:, None] / self.cutoff, self.power)

    def _functions(self, x: Tensor) -> Tensor:
        if self.kind == "bessel":
            return self.prefactor * torch.sin(self.frequencies * x) / x
        if self.kind == "gaussian":
            return torch.exp(self.prefactor * (x - self.frequencies).square())
        return chebyshev(x, len(self.frequencies))


def polynomial_envelope(x: Tensor, power: int) -> Tensor:
    """Return u(x), 1 at 0, zero with two derivatives at 1 and beyond.

    Gasteiger, Gross, Guennemann, Directional Message Passing for Molecular Graphs, ICLR 2020, eq.
    8.
    """
    p = float(power)
    first, second, third = (p + 1.0) * (p + 2.0) / 2.0, p * (p + 2.0), p * (p + 1.0) / 2.0
    value = 1.0 - x**p * (first - x * (second - x * third))
    return torch.where(x < 1.0, value, torch.zeros_like(value))


def agnesi(r: Tensor, radii: Tensor, a: Tensor, q: Tensor, p: Tensor) -> Tensor:
    """Return 1 / (1 + a x^q / (1 + x^(q - p))), x = r over the mean covalent radius.

    radii: sums of two covalent radii, Å. Witt et al., J. Chem. Phys. 159, 164101 (2023).
    """
    x = r / (0.5 * radii)
    return 1.0 / (1.0 + a * x**q / (1.0 + x ** (q - p)))


def soft(r: Tensor, radii: Tensor, steepness: Tensor) -> Tensor:
    """Return lengths that go from 3/4 of a bond's length, below, to r itself, above 4/3 of it.

    radii: sums of two covalent radii, Å, the length of a bond.
    """
    low, high = 0.75 * radii, 4.0 / 3.0 * radii
    share = 0.5 * (1.0 + torch.tanh(steepness / (high - low) * (r - 0.5 * (low + high))))
    return low + (r - low) * share


def chebyshev(x: Tensor, n: int) -> Tensor:
    """Return T_1 ... T_n of x (E, 1): (E, n), by T_(n+1) = 2 x T_n - T_(n-1)."""
    values = [torch.ones_like(x), x]
    for _ in range(n - 1):
        values.append(2.0 * x * values[-1] - values[-2])
    return torch.cat(values[1:], dim=1)
