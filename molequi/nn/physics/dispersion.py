"""D3(BJ): the dispersion energy of atoms from their coordination numbers, in plain torch.

    E = - sum_(i<j) C6_ij [s6 / (r^6 + R^6) + s8 Q_ij / (r^8 + R^8)],
    Q_ij = C8 / C6 = 3 Q_i Q_j,  R = a1 sqrt(Q_ij) + a2,
    C6_ij = sum_(a,b) w_ia w_jb C6_ref(a,b),  w_ia ~ exp(-4 (CN_i - CN_a)²), sum_a w_ia = 1,
    CN_i = sum_j f(r),  f(r) = 1 / (1 + exp(-16 (R_cov / r - 1))).

Grimme, Antony, Ehrlich, Krieg, J. Chem. Phys. 132, 154104 (2010): coordination numbers and C6.
Grimme, Ehrlich, Goerigk, J. Comput. Chem. 32, 1456 (2011): damping by Becke and Johnson. Energies
of pairs alone, no three-body term.

f does not tend to zero, so it is switched off between 19.05 and 21.17 Å; Grimme's programs cut it
at 21.17 Å (40 bohr). Pairs have no cutoff in molecules. In crystals they are switched off in the
same range, and what lies beyond is taken as evenly spread atoms (`tail`).
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import torch
from ase import units
from torch import Tensor

from molequi.kernels.pair_inputs import INNER, OUTER, STEEPNESS, WIDTH
from molequi.nn.physics.d3_table import D3Table, d3_table
from molequi.nn.physics.dispersion_parameters import DispersionParameters
from molequi.nn.physics.image_pairs import AtomPairs


class MixedC6(NamedTuple):
    """C6_ij as sum_b by_element[i, t_j, b] weights[j, b], eV Å⁶.

    by_element: (N, T, R), for the T elements present. weights: (N, R). kinds: (N,), t. moments:
    (T,), Q of the elements, Å.
    """

    by_element: Tensor
    weights: Tensor
    kinds: Tensor
    moments: Tensor

    def of(self, pairs: AtomPairs) -> Tensor:
        """Return C6 of pairs: (P,)."""
        rows = self.by_element[pairs.first, self.kinds[pairs.second]]
        return (rows * self.weights.index_select(0, pairs.second)).sum(dim=1)


def switch(distances: Tensor) -> Tensor:
    """Return 1 below INNER, 0 above OUTER, with two continuous derivatives between."""
    x = ((distances - INNER) / (OUTER - INNER)).clamp(0.0, 1.0)
    return 1.0 - x**3 * (10.0 - 15.0 * x + 6.0 * x * x)


def coordination_numbers(numbers: Tensor, pairs: AtomPairs) -> Tensor:
    """Return CN of atoms with these atomic numbers (N,): (N,)."""
    radii = d3_table(numbers.device).covalent_radii[numbers]
    bond = radii.index_select(0, pairs.first) + radii.index_select(0, pairs.second)
    near = torch.sigmoid(STEEPNESS * (bond / pairs.distances - 1.0)) * switch(pairs.distances)
    return 2.0 * pairs.halves(near, numbers.shape[0])


def mixed_c6(numbers: Tensor, coordination: Tensor) -> MixedC6:
    """Interpolate C6 between the reference systems; numbers, coordination: (N,)."""
    table: D3Table = d3_table(numbers.device)
    elements, kinds = torch.unique(numbers, return_inverse=True)
    references = table.coordination[numbers]
    exponents = -WIDTH * (coordination[:, None] - references).square()
    # The nearest system is never lost, however far the coordination number is from all.
    weights = torch.softmax(exponents.masked_fill(references < 0, -torch.inf), dim=1)
    by_pair = table.c6[numbers[:, None], elements]
    by_element = torch.einsum("na,ntab->ntb", weights, by_pair)
    return MixedC6(by_element, weights, kinds, table.moments[elements])


def pair_energies(c6: MixedC6, pairs: AtomPairs, damping: DispersionParameters) -> Tensor:
    """Return the dispersion energy of every pair: (P,), eV."""
    moments = c6.moments[c6.kinds]
    q = 3.0 * moments.index_select(0, pairs.first) * moments.index_select(0, pairs.second)
    radius = damping.a1 * q.sqrt() + damping.a2 * units.Bohr
    r6, radius6 = pairs.distances**6, radius**6
    r8, radius8 = pairs.distances**8, radius**8
    return -c6.of(pairs) * (damping.s6 / (r6 + radius6) + damping.s8 * q / (r8 + radius8))


def dispersion_energies(
    numbers: Tensor, pairs: AtomPairs, damping: DispersionParameters, volume: Tensor | None = None
) -> Tensor:
    """Return the energies (N,), eV, of the atoms of molecules, or of a crystal of a volume (Å³).

    pairs: all of them, or those of the images within OUTER and perhaps farther ones.
    """
    c6 = mixed_c6(numbers, coordination_numbers(numbers, pairs))
    energies = pair_energies(c6, pairs, damping)
    if volume is None:
        return pairs.halves(energies, numbers.shape[0])
    energies = energies * switch(pairs.distances)
    return pairs.halves(energies, numbers.shape[0]) + tail(c6, volume, damping)


def tail(c6: MixedC6, volume: Tensor, damping: DispersionParameters) -> Tensor:
    """Return the energies (N,), eV, of atoms with what is beyond the switch, taken as even.

    -1/(2V) sum_j C6_ij int (1 - switch) (s6 / r^6 + s8 Q_ij / r^8) 4 pi r² dr.
    """
    sixth, eighth = tail_integrals()
    of_element = torch.zeros_like(c6.by_element[:1].expand(1, -1, -1)[0])
    of_element = of_element.index_add(0, c6.kinds, c6.weights)
    by_element = (c6.by_element * of_element).sum(dim=2)
    q = 3.0 * c6.moments[c6.kinds][:, None] * c6.moments
    strength = damping.s6 * sixth + damping.s8 * eighth * q
    return -0.5 / volume * (by_element * strength).sum(dim=1)


@functools.cache
def tail_integrals() -> tuple[float, float]:
    """Integrals of (1 - switch) 4 pi r² / r^n for n = 6 and 8, 1/Å^(n - 3)."""
    nodes, weights = np.polynomial.legendre.leggauss(24)
    r = INNER + 0.5 * (nodes + 1.0) * (OUTER - INNER)
    missing = 1.0 - switch(torch.from_numpy(r)).numpy()
    sixth, eighth = (
        4.0 * np.pi * (
            0.5 * (OUTER - INNER) * float(weights @ (missing * r ** (2 - n)))
            + OUTER ** (3 - n) / (n - 3)
        )
        for n in (6, 8)
    )  # fmt: skip
    return sixth, eighth
