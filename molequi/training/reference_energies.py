"""Energies of isolated atoms: tabulated, fitted to totals, found among the structures, or given."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from ase import units
from ase.data import atomic_numbers
from torch import Tensor

from molequi.datasets.contacts import are_isolated_atoms
from molequi.datasets.in_memory import Frames
from molequi.errors import UserError
from molequi.graphs.elements import MAX_NUMBER, N_ELEMENTS
from molequi.properties import Property
from molequi.runtime.plain import parse_yaml

# Ground-state energies of the atoms H to Ar, Ha: S. J. Chakravorty et al., Phys. Rev. A 47 (1993)
# 3649.
_ATOMS = (
    *(-0.5, -2.903724, -7.478060, -14.667360, -24.653910, -37.845000, -54.589200, -75.067300),
    *(-99.733900, -128.937600, -162.254600, -200.053000, -242.346000, -289.359000, -341.259000),
    *(-398.110000, -460.148000, -527.540000),
)


class Composition(NamedTuple):
    """counts: (B, n_elements), float64, atoms of each element. elements: ascending."""

    counts: Tensor
    elements: Tensor


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


def tabulated_atoms() -> Tensor:
    """Return total energies of isolated atoms by atomic number, (119,), eV, float64; entry 0 is 0.

    H to Ar are tabulated; heavier atoms follow the statistical-atom series of Schwinger, -0.7687
    Z^(7/3) + Z^2 / 2 - 0.2699 Z^(5/3) Ha (Phys. Rev. A 24 (1981) 2353), good to half a per cent.
    """
    z = torch.arange(N_ELEMENTS, dtype=torch.float64)
    energies = -0.768745 * z ** (7 / 3) + 0.5 * z**2 - 0.269900 * z ** (5 / 3)
    energies[1 : len(_ATOMS) + 1] = torch.tensor(_ATOMS, dtype=torch.float64)
    return energies * units.Hartree


def composition(frames: Frames) -> Composition:
    """Return how many atoms of each element each structure has."""
    elements, column = torch.unique(frames.atomic_numbers, return_inverse=True)
    row = torch.repeat_interleave(torch.arange(len(frames)), frames.n_atoms)
    counts = torch.zeros(len(frames), len(elements), dtype=torch.float64)
    counts = counts.index_put_((row, column), counts.new_ones(()), accumulate=True)
    return Composition(counts, elements)


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
    """Return the tabulated atoms where they describe the totals better than zero does, else zeros.

    They are all-electron energies in eV.
    """
    table = tabulated_atoms()
    if unit != "eV":
        return torch.zeros_like(table)
    counts, elements = composition(frames)
    known = torch.isfinite(totals)
    guess = counts[known] @ table[elements]
    distance, size = (totals[known] - guess).abs().mean(), totals[known].abs().mean()
    return table if distance < size else torch.zeros_like(table)


def isolated_atoms(frames: Frames, totals: Tensor) -> dict[int, float]:
    """Return the energies of the structures that are one neutral atom, in open space or a wide box.

    The lowest for each element.
    """
    alone = are_isolated_atoms(frames) & (frames.total_charge == 0) & torch.isfinite(totals)
    found: dict[int, float] = {}
    for index in torch.nonzero(alone)[:, 0].tolist():
        number = int(frames.atomic_numbers[int(frames.offsets[index])])
        found[number] = min(found.get(number, math.inf), float(totals[index]))
    return found


def read_reference_energies(path: Path) -> dict[str, Any]:
    """Read element -> eV from a YAML or JSON file.

    Raises UserError for anything else.
    """
    try:
        data = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(
            f"training.reference_energies: {path} cannot be read ({error}); give a YAML or JSON "
            "mapping such as H: -13.6"
        ) from None
    if not isinstance(data, dict):
        raise UserError(
            f"training.reference_energies: {path} holds {type(data).__name__}; give a mapping of "
            "elements to energies such as H: -13.6"
        )
    return data


def given_references(
    setting: Mapping[str, float] | str, rows: Sequence[Property]
) -> dict[str, dict[int, float]]:
    """Return by row and atomic number what the config gives; nothing for least squares.

    Raises UserError for more than one target with references, and for what is no element.
    """
    if setting == "least_squares":
        return {}
    names = [row.name for row in rows if row.has_reference]
    if len(names) > 1:
        raise UserError(
            f"training.reference_energies cannot serve {' and '.join(names)} at once; train one of "
            "them, or use least_squares"
        )
    data = read_reference_energies(Path(setting)) if isinstance(setting, str) else setting
    table = dict(_numbered(symbol, value) for symbol, value in data.items())
    return {name: table for name in names}


def _numbered(symbol: object, value: object) -> tuple[int, float]:
    """Return an atomic number and its energy from an entry such as `H: -13.6` or `1: -13.6`."""
    text = str(symbol)
    number = atomic_numbers.get(text) or (int(text) if text.isdigit() else 0)
    if 1 <= number <= MAX_NUMBER and isinstance(value, int | float) and not isinstance(value, bool):
        return number, float(value)
    raise UserError(
        f"training.reference_energies: {symbol}: {value!r} is not an element and its energy, such "
        "as H: -13.6"
    )
