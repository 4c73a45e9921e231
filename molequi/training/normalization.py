"""Statistics of the training set.

Reference energies, shifts and scales of the heads, scales of the losses, and the baselines.

All of it is computed once, before training, from the training structures alone, and travels with
the model.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import torch
from ase import units
from torch import Tensor

from molequi.datasets.in_memory import Frames
from molequi.errors import UserError
from molequi.graphs.elements import MASSES, N_ELEMENTS
from molequi.graphs.graph import mass_centres
from molequi.o3.cartesian import from_cartesian
from molequi.o3.irreps import Irreps
from molequi.properties import Property
from molequi.training.parts import split_parts

# Ground-state energies of the atoms H to Ar, Ha: S. J. Chakravorty et al., Phys. Rev. A 47 (1993)
# 3649.
_ATOMS = (
    -0.5, -2.903724, -7.478060, -14.667360, -24.653910, -37.845000, -54.589200, -75.067300, -99.733900,
    -128.937600, -162.254600, -200.053000, -242.346000, -289.359000, -341.259000, -398.110000, -460.148000, -527.540000,
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class ReferenceEnergies:
    """Per-element energies by atomic number, (119,), float64; elements that do not occur hold 0.

    rank: of the composition matrix of the structures they were fitted to; below n_elements the data
    do not tell all elements apart.
    """

    values: Tensor
    rank: int
    n_elements: int

    @property
    def is_determined(self) -> bool:
        """Whether the data fix every element."""
        return self.rank == self.n_elements


@dataclasses.dataclass(frozen=True)
class Statistics:
    """What training needs to know of one property.

    scale: of each irrep part, for the head. shift: of a 0e property, per atom where it is
    extensive. reference: for rows with references.
    loss_scales: typical size of what the loss compares, by irrep part (`symmetry.parts`), in the
    property's unit (per atom for energies).
    count: labels (components counted) in the training set.
    """

    scale: Tensor
    shift: float
    reference: ReferenceEnergies | None
    loss_scales: dict[str, float]
    count: int


def tabulated_atoms() -> Tensor:
    """Return total energies of isolated atoms by atomic number, (119,), eV, float64; entry 0 is 0.

    H to Ar are tabulated; heavier atoms follow the statistical-atom series of Schwinger, -0.7687
    Z^(7/3) + Z^2 / 2 - 0.2699 Z^(5/3) Ha (Phys. Rev. A 24 (1981) 2353), good to half a per cent.
    """
    z = torch.arange(N_ELEMENTS, dtype=torch.float64)
    energies = -0.768745 * z ** (7 / 3) + 0.5 * z**2 - 0.269900 * z ** (5 / 3)
    energies[1 : len(_ATOMS) + 1] = torch.tensor(_ATOMS, dtype=torch.float64)
    return energies * units.Hartree


def composition(frames: Frames) -> tuple[Tensor, Tensor]:
    """Return how many atoms of each element each structure has.

    Counts (B, n_elements), float64, and the elements, ascending.
    """
    elements, column = torch.unique(frames.atomic_numbers, return_inverse=True)
    row = torch.repeat_interleave(torch.arange(len(frames)), frames.n_atoms)
    counts = torch.zeros(len(frames), len(elements), dtype=torch.float64)
    return counts.index_put_((row, column), counts.new_ones(()), accumulate=True), elements


def fit_references(
    frames: Frames,
    totals: Tensor,
    *,
    around: Tensor | None = None,
    given: Mapping[int, float] | None = None,
) -> ReferenceEnergies:
    """Fit per-element energies to the totals (B,): minimum-norm least squares around given atoms.

    around: (119,), where elements stay that the data do not tell apart; without it, zero. given:
    elements that are not fitted. NaN totals are left out.
    """
    counts, elements = composition(frames)
    known = torch.isfinite(totals)
    values = torch.zeros(N_ELEMENTS, dtype=torch.float64)
    if around is not None:
        values[elements] = around[elements].to(torch.float64)
    for number, value in (given or {}).items():
        values[number] = value
    free = torch.tensor([int(number) not in (given or {}) for number in elements], dtype=torch.bool)
    residual = totals[known].to(torch.float64) - counts[known] @ values[elements]
    matrix = counts[known][:, free]
    rank = int(torch.linalg.matrix_rank(matrix)) if matrix.numel() else 0
    if rank:
        values[elements[free]] += torch.linalg.lstsq(
            matrix, residual[:, None], rcond=1e-10, driver="gelsd"
        ).solution[:, 0]
    return ReferenceEnergies(values, rank + int((~free).sum()), len(elements))


def nearest_prior(frames: Frames, totals: Tensor, unit: str) -> Tensor:
    """Return the tabulated atoms where they describe the totals better than zero does (all-electron energies in eV), else zeros."""
    table = tabulated_atoms()
    if unit != "eV":
        return torch.zeros_like(table)
    counts, elements = composition(frames)
    known = torch.isfinite(totals)
    guess = counts[known] @ table[elements]
    distance, size = (totals[known] - guess).abs().mean(), totals[known].abs().mean()
    return table if distance < size else torch.zeros_like(table)


def isolated_atoms(frames: Frames, totals: Tensor) -> dict[int, float]:
    """Return the energies of the structures that are one neutral atom in open space, the lowest for each element."""
    alone = (
        (frames.n_atoms == 1)
        & ~frames.pbc.any(dim=1)
        & (frames.total_charge == 0)
        & torch.isfinite(totals)
    )
    found: dict[int, float] = {}
    for index in torch.nonzero(alone)[:, 0].tolist():
        number = int(frames.atomic_numbers[int(frames.offsets[index])])
        found[number] = min(found.get(number, math.inf), float(totals[index]))
    return found


def fit_statistics(
    frames: Frames, row: Property, *, given: Mapping[int, float] | None = None
) -> Statistics:
    """Return the statistics of one target of the training structures.

    given: reference energies by atomic number, in place of a fit; isolated atoms among the
    structures count as given too.
    Raises UserError where the target has no labels, or `given` lacks an element.
    """
    values = frames.targets[row.name]
    count = int((~torch.isnan(values)).sum())
    if not count:
        raise UserError(
            f"target {row.name!r} has no label in the {len(frames)} training structures; give data "
            "that has it, or leave it out of data.targets"
        )
    values = values - _first_guess(frames, row)
    reference, shift = None, 0.0
    if is_sum_of_scalars(row):
        reference = (
            _references(frames, row, given) if row.has_reference else _contributions(frames, values)
        )
        counts, elements = composition(frames)
        values = values - counts @ reference.values[elements]
    loss_scales = (
        {row.name: _spread(values / frames.n_atoms)}
        if row.has_reference
        else _loss_scales(values, row)
    )
    if row.is_invariant and (row.has_reference or not is_sum_of_scalars(row)):
        shift = _shift(frames, values, row)
        values = values - (shift * frames.n_atoms if is_sum_of_scalars(row) else shift)
    return Statistics(_scale(frames, values, row), shift, reference, loss_scales, count)


def fit_baseline(frames: Frames, row: Property) -> dict[str, float]:
    """Return what a fair guess knows of the training set, as plain data for `baseline_prediction`.

    Composition least squares for totals with references (`{"6": eV, ...}`), the mean for other
    scalars (`{"mean": ...}`), nothing for the rest.
    """
    values = frames.targets[row.name]
    if row.has_reference:
        fitted = fit_references(frames, values, around=nearest_prior(frames, values, row.unit))
        return {str(number): float(fitted.values[number]) for number in frames.elements()}
    if row.is_invariant:
        return {"mean": float(values.nanmean())}
    # Without knowing the hand, both labels are as likely.
    return {"mean": 0.5} if row.binary else {}


def is_sum_of_scalars(row: Property) -> bool:
    """Whether the row is a molecular 0e value that adds up over atoms."""
    return row.is_invariant and row.extensive and not row.per_atom


def baseline_prediction(frames: Frames, row: Property, baseline: Mapping[str, float]) -> Tensor:
    """Return the guess for each value of `row`, shaped as its target in `frames`.

    NaN for compositions the guess knows nothing of.
    """
    if row.has_reference:
        table = torch.full((N_ELEMENTS,), torch.nan, dtype=torch.float64)
        for number, value in baseline.items():
            table[int(number)] = value
        counts, elements = composition(frames)
        return counts @ table[elements]
    return torch.full_like(frames.targets[row.name], baseline.get("mean", 0.0))


def _references(
    frames: Frames, row: Property, given: Mapping[int, float] | None
) -> ReferenceEnergies:
    totals = frames.targets[row.name]
    if given is None:
        return fit_references(
            frames,
            totals,
            around=nearest_prior(frames, totals, row.unit),
            given=isolated_atoms(frames, totals),
        )
    missing = [number for number in frames.elements() if number not in given]
    if missing:
        raise UserError(
            f"training.reference_energies lacks the elements {missing} (atomic numbers) of the "
            "training set; give them or use least_squares"
        )
    return fit_references(
        frames, totals, given={number: given[number] for number in frames.elements()}
    )


def _contributions(frames: Frames, values: Tensor) -> ReferenceEnergies:
    """Least-squares contribution of each element to a sum over atoms, around the same value for every atom."""
    known = torch.isfinite(values)
    n_atoms = frames.n_atoms[known].to(torch.float64)
    per_atom = float((values[known] * n_atoms).sum() / n_atoms.square().sum().clamp(min=1))
    return fit_references(
        frames, values, around=torch.full((N_ELEMENTS,), per_atom, dtype=torch.float64)
    )


def _first_guess(frames: Frames, row: Property) -> Tensor | float:
    """What the head of this row gives before it has learned anything, beside shift and reference (`nn.heads.SpatialExtentHead`)."""
    if row.name != "r2":
        return 0.0
    structure = torch.repeat_interleave(torch.arange(len(frames)), frames.n_atoms)
    masses = torch.tensor(MASSES)[frames.atomic_numbers]
    centres = mass_centres(frames.positions, masses, structure, len(frames)).centres
    squared = (frames.positions - centres[structure]).square().sum(dim=1)
    return torch.zeros(len(frames), dtype=torch.float64).index_add(
        0, structure, squared * frames.atomic_numbers
    )


def _shift(frames: Frames, values: Tensor, row: Property) -> float:
    known = ~torch.isnan(values)
    if row.binary:
        fraction = min(max(float(values[known].mean()), 1e-3), 1 - 1e-3)
        return math.log(fraction / (1 - fraction))
    if not is_sum_of_scalars(row):
        return float(values[known].mean())
    n_atoms = frames.n_atoms[known].to(torch.float64)
    return float((values[known] * n_atoms).sum() / n_atoms.square().sum())


def _scale(frames: Frames, values: Tensor, row: Property) -> Tensor:
    """Root mean square of each irrep part of what the head must add to its shift.

    Of a sum, per root of the atom count.
    """
    parts = Irreps(row.irreps)
    if row.binary:
        return torch.ones(len(parts), dtype=torch.float64)
    if row.extensive and not row.per_atom:
        values = values / frames.n_atoms.to(torch.float64).sqrt().reshape(-1, *[1] * len(row.shape))
    rows = from_cartesian(values, parts.degrees)
    sizes = [_root_mean_square(rows[..., part]) for part in parts.slices()]
    # A part that is zero but for rounding keeps the size of the others, so that it can still be
    # learned.
    largest = max(sizes)
    return torch.tensor(
        [size if size > 1e-9 * largest else largest or 1.0 for size in sizes], dtype=torch.float64
    )


def _loss_scales(values: Tensor, row: Property) -> dict[str, float]:
    """Spread of scalars, root mean square of what symmetry centres at zero.

    A part that is zero but for rounding takes the size of the others.
    """
    if row.binary:
        return {row.name: 1.0}
    if row.is_invariant:
        return {row.name: _spread(values)}
    parts, sizes = split_parts(row, values), {}
    for (name, part), irrep in zip(parts.items(), Irreps(row.irreps), strict=True):
        sizes[name] = _spread(part) if irrep.is_scalar else _root_mean_square(part)
    largest = max(_root_mean_square(part) for part in parts.values())
    return {name: size if size > 1e-9 * largest else largest or 1.0 for name, size in sizes.items()}


def _spread(values: Tensor) -> float:
    """Standard deviation of the known values; 1 where they are all alike."""
    known = values[~torch.isnan(values)]
    spread = float(known.std(correction=0))
    return spread if spread > 1e-9 * max(float(known.abs().max()), 1e-9) else 1.0


def _root_mean_square(values: Tensor) -> float:
    known = values[~torch.isnan(values)]
    return float(known.square().mean().sqrt()) if len(known) else 0.0
