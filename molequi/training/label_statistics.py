"""What the labels of a training set are like: references, shifts, scales of heads and losses.

All of it is computed once, before training, from the training structures alone.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import torch
from torch import Tensor

from molequi.datasets.contacts import are_isolated_atoms
from molequi.datasets.in_memory import Frames
from molequi.errors import UserError
from molequi.graphs.elements import MASSES, N_ELEMENTS
from molequi.graphs.graph import mass_centres
from molequi.o3.cartesian import from_cartesian, to_cartesian
from molequi.o3.irreps import Irreps
from molequi.properties import Property
from molequi.training.atomic_energies import within_elements
from molequi.training.parts import split_parts
from molequi.training.reference_energies import (
    ReferenceEnergies,
    composition,
    fit_references,
    isolated_atoms,
    nearest_prior,
)
from molequi.training.total_charge import LOCAL_CHARGE

# Of the size of a label: less than this of it is rounding. Close to float64's own, because totals
# of heavy elements are 1e9 times what structures differ by.
_ROUNDING = 1e-12


@dataclasses.dataclass(frozen=True)
class Statistics:
    """What training needs to know of one property.

    scale: of each irrep part, for the head. shift: of the 0e part, of a sum of scalars per atom.
    reference: contributions of the elements to the 0e part of a sum.
    loss_scales: typical size of what the loss compares, by irrep part (`training.parts`), in the
    property's unit (per atom for energies).
    count: labels (components counted) in the training set.
    """

    scale: Tensor
    shift: float
    reference: ReferenceEnergies | None
    loss_scales: dict[str, float]
    count: int

    @property
    def contributions(self) -> Tensor | None:
        """What each element brings, by atomic number; None where there are no references."""
        return None if self.reference is None else self.reference.values


def fit_statistics(
    frames: Frames, row: Property, *, given: Mapping[int, float] | None = None
) -> Statistics:
    """Return the statistics of one target of the training structures.

    given: reference energies by atomic number, in place of a fit; isolated atoms among the
    structures count as given too.
    Raises UserError where the target has no labels, or `given` lacks an element.
    """
    count = _count(frames, row)
    if row.name == LOCAL_CHARGE:
        # Charges are whole numbers, be there ions among the structures or not.
        return Statistics(torch.ones(1, dtype=torch.float64), 0.0, None, {row.name: 1.0}, count)
    values = _beyond_guess(frames, row)
    if not (row.is_invariant or row.derived_from or row.scalar_component is None):
        left, reference, shift = _beyond_scalars(frames, values, row)
        return Statistics(
            _scale(frames, left, row), shift, reference, _loss_scales(left, row), count
        )
    reference = None
    if is_sum_of_scalars(row):
        reference = _references(frames, values, row, given)
        counts, elements = composition(frames)
        values = _molecules_alone(frames, values - counts @ reference.values[elements], row)
    labels = frames.targets[row.name]
    loss_scales = (
        {row.name: _spread(values / frames.n_atoms, _rounding(labels / frames.n_atoms))}
        if row.has_reference
        else _loss_scales(values, row, _rounding(labels))
    )
    values, shift = _beyond_shift(frames, values, row)
    values = _beyond_rounding(values, _rounding(labels))
    return Statistics(_scale(frames, values, row), shift, reference, loss_scales, count)


def _beyond_shift(frames: Frames, values: Tensor, row: Property) -> tuple[Tensor, float]:
    """Take out of scalars their shift: that of an energy per atom, of other sums there is none."""
    if not row.is_invariant or (is_sum_of_scalars(row) and not row.has_reference):
        return values, 0.0
    shift = _shift(frames, values, row)
    # A number times integers would be float32.
    shifts = shift * frames.n_atoms.to(torch.float64) if is_sum_of_scalars(row) else shift
    return values - shifts, shift


def _count(frames: Frames, row: Property) -> int:
    """Count the labels of the row. Raises UserError where there are none."""
    count = int((~torch.isnan(frames.targets[row.name])).sum())
    if not count:
        raise UserError(
            f"target {row.name!r} has no label in the {len(frames)} training structures; give data "
            "that has it, or leave it out of data.targets"
        )
    return count


def _molecules_alone(frames: Frames, values: Tensor, row: Property) -> Tensor:
    """Leave isolated atoms out of energies beyond the references, which they define themselves.

    They have nothing beyond them, and would be counted as the spread of the molecules.
    """
    alone = are_isolated_atoms(frames)
    if not row.has_reference or not torch.isfinite(values[~alone]).any():
        return values
    return values.masked_fill(alone, torch.nan)


def is_sum_of_scalars(row: Property) -> bool:
    """Whether the row is a molecular 0e value that adds up over atoms."""
    return row.is_invariant and row.extensive and not row.per_atom


def _references(
    frames: Frames, values: Tensor, row: Property, given: Mapping[int, float] | None
) -> ReferenceEnergies:
    if not row.has_reference:
        return _contributions(frames, values)
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
    """Least-squares contribution of each element to a sum over atoms.

    Around the same value for every atom.
    """
    known = torch.isfinite(values)
    n_atoms = frames.n_atoms[known].to(torch.float64)
    per_atom = float((values[known] * n_atoms).sum() / n_atoms.square().sum().clamp(min=1))
    return fit_references(
        frames, values, around=torch.full((N_ELEMENTS,), per_atom, dtype=torch.float64)
    )


def _beyond_scalars(
    frames: Frames, values: Tensor, row: Property
) -> tuple[Tensor, ReferenceEnergies | None, float]:
    """Take out of a tensor what references, or a shift, say of its 0e part.

    References where the property is a sum over atoms, as those of a sum of scalars.
    """
    irreps = Irreps(row.irreps)
    rows = from_cartesian(values, irreps.degrees).clone()
    scalars, reference, shift = rows[..., row.scalar_component].clone(), None, 0.0
    if row.extensive and not row.per_atom:
        reference = _contributions(frames, scalars)
        counts, elements = composition(frames)
        left = scalars - counts @ reference.values[elements]
    else:
        shift = float(scalars.nanmean())
        left = scalars - shift
    rounding = 1e-9 * _root_mean_square(scalars)
    rows[..., row.scalar_component] = left
    for part in irreps.slices():
        rows[..., part] = _beyond_rounding(rows[..., part], rounding)
    return to_cartesian(rows, irreps.degrees), reference, shift


def _beyond_guess(frames: Frames, row: Property) -> Tensor:
    """Return the labels less what is known or free from the start."""
    values = frames.targets[row.name] - _first_guess(frames, row)
    return within_elements(frames, values) if row.free_constants else values


def _first_guess(frames: Frames, row: Property) -> Tensor | float:
    """What the head of this row gives before it has learned anything, beside shift and reference.

    See `nn.heads.SpatialExtentHead`.
    """
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


def _loss_scales(values: Tensor, row: Property, rounding: float = 0.0) -> dict[str, float]:
    """Spread of scalars, root mean square of what symmetry centres at zero.

    A part that is zero but for rounding takes the size of the others. rounding: of scalars, as in
    `_spread`.
    """
    if row.binary:
        return {row.name: 1.0}
    if row.is_invariant:
        return {row.name: _spread(values, rounding)}
    parts, sizes = split_parts(row, values), {}
    for (name, part), irrep in zip(parts.items(), Irreps(row.irreps), strict=True):
        sizes[name] = _spread(part) if irrep.is_scalar else _root_mean_square(part)
    largest = max(_root_mean_square(part) for part in parts.values())
    return {name: size if size > 1e-9 * largest else largest or 1.0 for name, size in sizes.items()}


def _spread(values: Tensor, rounding: float = 0.0) -> float:
    """Standard deviation of the known values; 1 where they are all alike.

    rounding: of the labels, which the values may be no more than, where references fit exactly.
    """
    known = values[~torch.isnan(values)]
    spread = float(known.std(correction=0))
    return spread if spread > max(1e-9 * float(known.abs().max()), 1e-18, rounding) else 1.0


def _rounding(labels: Tensor) -> float:
    """Size of what is left of labels by rounding alone, where all that they say is taken out."""
    return _ROUNDING * _root_mean_square(labels)


def _beyond_rounding(values: Tensor, rounding: float) -> Tensor:
    """Return values; zeros for those known where together they are no more than rounding."""
    if _root_mean_square(values) > rounding:
        return values
    return values.masked_fill(~values.isnan(), 0.0)


def _root_mean_square(values: Tensor) -> float:
    known = values[~torch.isnan(values)]
    return float(known.square().mean().sqrt()) if len(known) else 0.0
