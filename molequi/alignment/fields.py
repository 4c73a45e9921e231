"""A molecule as two fields about its centre: its shape, and its charge as a model predicts it.

Both are sums of Gaussians, expanded in spherical harmonics on radial shells (about the centre c,
w_k the weights of the quadrature):
    shape(r) = sum_i exp(-a_i |r - r_i|^2),  a_i = pi (3 p / 4 pi)^(2/3) / R_i^2, p = 2 sqrt(2),
    with van der Waals radii R_i: p times such a
        Gaussian has the volume of the sphere, J. A. Grant, M. A. Gallardo, B. T. Pickup, J. Comput.
        Chem. 17, 1653 (1996);
    charge(r) = sum_i (q_i - mu_i . grad) exp(-b |r - r_i|^2) (b/pi)^(3/2),  b = 1/2 Å^-2: charges
    and atomic dipoles, smeared to 1 Å.
    row (l, m) of shell k = sqrt(4 pi w_k) r_k sum_i exp(-a_i (r_k^2 + d_i^2)) i_l(2 a_i r_k d_i)
    Y_lm(d_i),  d_i = r_i - c, so that a product of rows is an overlap integral of fields. The rows
    are features: they turn by D(R).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from ase.data import chemical_symbols
from ase.data.vdw import vdw_radii
from torch import Tensor

from molequi.errors import UserError
from molequi.graphs.graph import AtomGraph
from molequi.models.freeze import FrozenModel
from molequi.models.molecular import MolecularModel
from molequi.o3.spherical_harmonics import solid_harmonics_along, spherical_harmonics

L_MAX = 12
_SHAPE_EXPONENT = math.pi * (3 * math.sqrt(8) / (4 * math.pi)) ** (2 / 3)  # times 1/R^2
CHARGE_EXPONENT = 0.5  # 1/Å²
_SHELL = 0.35  # Å between shells
_REACH = 3.5  # a Gaussian ends where it is exp(-12)
_LARGEST = 25.0  # Å, of an atom from the centre


class Multipoles(NamedTuple):
    """Molecules of the same atoms in B poses, with what a model says of them.

    positions: (B, N, 3), Å, from the centre. centre: (B, 3), Å. atomic_numbers: (N,). charges: (B,
    N), e. dipoles: (B, N, 3), e·Å. All float64.
    """

    positions: Tensor
    centre: Tensor
    atomic_numbers: Tensor
    charges: Tensor
    dipoles: Tensor


class Shells(NamedTuple):
    """Radial quadrature: radii (K,), Å, and weights (K,), Å."""

    radii: Tensor
    weights: Tensor


class Fields(NamedTuple):
    """Rows of one molecule's fields: (B, (l_max + 1)^2, K) each.

    Shape in Å^(3/2), charge in e Å^(-3/2).
    """

    shape: Tensor
    charge: Tensor


class Overlaps(NamedTuple):
    """Overlap integrals of two molecules: of shape, Å³, and of charge, e²/Å³."""

    shape: float
    charge: float


def multipoles(model: MolecularModel | FrozenModel, graph: AtomGraph) -> Multipoles:
    """Run the network on a graph whose molecules are poses of one molecule.

    The centre is that of its Gaussian volumes.

    Raises UserError for a model without charges, and for elements without a van der Waals radius.
    """
    atomic = model.multipoles(graph)
    n_poses = graph.n_molecules
    numbers = graph.atomic_numbers.reshape(n_poses, -1)[0].cpu()
    positions = graph.positions.detach().cpu().to(torch.float64).reshape(n_poses, -1, 3)
    volumes = shape_exponents(numbers) ** -1.5
    centre = (volumes[:, None] * positions).sum(dim=1) / volumes.sum()
    values = (
        x.detach().cpu().to(torch.float64).reshape(n_poses, len(numbers), *x.shape[1:])
        for x in atomic
    )
    return Multipoles(positions - centre[:, None], centre, numbers, *values)


def shape_exponents(atomic_numbers: Tensor) -> Tensor:
    """Return the exponents of the atoms' shape Gaussians: (N,), 1/Å²."""
    radii = torch.tensor(vdw_radii, dtype=torch.float64)[atomic_numbers]
    if not bool(torch.isfinite(radii).all()):
        atom = int((~torch.isfinite(radii)).nonzero()[0])
        symbol = chemical_symbols[int(atomic_numbers[atom])]
        raise UserError(
            f"no van der Waals radius is known for {symbol} (atom {atom}), so its shape cannot be "
            "compared"
        )
    return _SHAPE_EXPONENT / radii.square()


def shells_for(*molecules: Multipoles) -> Shells:
    """Return shells that hold all Gaussians of these molecules.

    Gauss-Legendre nodes, 0.35 Å apart in the mean.

    Raises UserError for a molecule too large for an expansion about one centre.
    """
    farthest = max(float(molecule.positions.norm(dim=-1).max()) for molecule in molecules)
    if farthest > _LARGEST:
        raise UserError(
            f"an atom is {farthest:.1f} Å from the centre of its molecule; alignment reaches to "
            f"{_LARGEST:g} Å, cut the molecule"
        )
    widest = min(
        CHARGE_EXPONENT,
        *(float(shape_exponents(molecule.atomic_numbers).min()) for molecule in molecules),
    )
    end = farthest + _REACH / math.sqrt(widest)
    nodes, weights = np.polynomial.legendre.leggauss(math.ceil(end / _SHELL))
    return Shells(torch.as_tensor((nodes + 1) * end / 2), torch.as_tensor(weights * end / 2))


def fields_of(molecule: Multipoles, shells: Shells, l_max: int = L_MAX) -> Fields:
    """Expand a molecule's shape and charge about its centre.

    An atomic dipole is the derivative of its atom's Gaussian along it.
    """
    exponents, norm = (
        torch.full_like(molecule.charges[0], CHARGE_EXPONENT),
        (CHARGE_EXPONENT / math.pi) ** 1.5,
    )
    solid = spherical_harmonics(
        molecule.positions.reshape(-1, 3), l_max
    )  # of d_i, not of its direction: |d|^l Y_l
    along = solid_harmonics_along(solid, norm * molecule.dipoles.reshape(-1, 3))
    solid, along = (x.reshape(*molecule.charges.shape, -1) for x in (solid, along))
    distances, places = molecule.positions.norm(dim=-1), range(l_max + 1)
    shape = radial_functions(
        distances, shape_exponents(molecule.atomic_numbers), shells.radii, l_max
    )
    charge = radial_functions(distances, exponents, shells.radii, l_max + 1)
    rise = (
        2 * CHARGE_EXPONENT * norm * (molecule.positions * molecule.dipoles).sum(dim=-1)[..., None]
    )
    still = norm * molecule.charges[..., None] - rise
    rows: tuple[list[Tensor], list[Tensor]] = ([], [])
    for l, mine in zip(places, (slice(l * l, (l + 1) ** 2) for l in places), strict=True):
        part = solid[..., mine]
        rows[0].append(part.mT @ shape[l])
        rows[1].append(
            (still * part + along[..., mine]).mT @ charge[l]
            + (rise * part).mT @ (charge[l + 1] * shells.radii)
        )
    volume = (4 * math.pi * shells.weights).sqrt() * shells.radii
    return Fields(*(torch.cat(parts, dim=1) * volume for parts in rows))


def radial_functions(distances: Tensor, exponents: Tensor, radii: Tensor, l_max: int) -> Tensor:
    """Return F_l = exp(-a (r^2 + d^2)) i_l(2 a r d) / d^l, finite at d = 0.

    (l_max + 1, *d.shape, K) for d (..., N), a (N,), r (K,).

    With h_l(x) = exp(-x) i_l(x) / x^l, F_l = exp(-a (r - d)^2) (2 a r)^l h_l(2 a r d). h_0 = (1 -
    exp(-2x)) / 2x, and the ratios h_l / h_(l-1) = 1 / (2l + 1 + x^2 h_(l+1) / h_l) follow
    downwards. Gradient: dF_l/dd_i = d_i (2 a r F_(l+1) - 2 a F_l).
    """
    scale = 2 * exponents[:, None] * radii
    x = scale * distances[..., None]
    ratio, ratios = torch.zeros_like(x), []
    for l in range(l_max + 20 + math.ceil(math.sqrt(80 * float(x.max()))), 0, -1):
        ratio = 1 / (2 * l + 1 + x.square() * ratio)
        if l <= l_max:
            ratios.append(scale * ratio)
    first = torch.where(x > 0, -torch.expm1(-2 * x) / (2 * x).clamp(min=1e-300), torch.ones_like(x))
    gaussian = torch.exp(-exponents[:, None] * (radii - distances[..., None]).square())
    return torch.stack([gaussian * first, *reversed(ratios)]).cumprod(dim=0)


def exact_overlaps(a: Multipoles, b: Multipoles) -> Overlaps:
    """Return the overlap integrals of the first poses as they lie, from pairs of atoms.

    Of shape in Å³, of charge in e²/Å³, without an expansion.
    """
    between = a.positions[0][:, None] - b.positions[0]
    squared = between.square().sum(dim=-1)
    total, product = (
        op(shape_exponents(a.atomic_numbers)[:, None], shape_exponents(b.atomic_numbers))
        for op in (torch.add, torch.mul)
    )
    shape = ((math.pi / total) ** 1.5 * torch.exp(-product / total * squared)).sum()
    kernel = (CHARGE_EXPONENT / (2 * math.pi)) ** 1.5 * torch.exp(-CHARGE_EXPONENT / 2 * squared)
    q, p = a.charges[0][:, None], b.charges[0]
    along_a, along_b = (
        torch.einsum("ni,nmi->nm", a.dipoles[0], between),
        torch.einsum("mi,nmi->nm", b.dipoles[0], between),
    )
    pairs = q * p + CHARGE_EXPONENT * (q * along_b - p * along_a)
    pairs = (
        pairs
        + CHARGE_EXPONENT * (a.dipoles[0] @ b.dipoles[0].T)
        - CHARGE_EXPONENT**2 * along_a * along_b
    )
    return Overlaps(float(shape), float((kernel * pairs).sum()))
