"""What ASE's atoms say of themselves, checked: charge, multiplicity, graph."""

from __future__ import annotations

from typing import Any

import ase
import numpy as np
from ase.data import chemical_symbols

from molequi.errors import UserError
from molequi.graphs.cells import refuse_cell, refuse_positions
from molequi.graphs.graph import AtomGraph
from molequi.graphs.neighbors import build_graph

CHARGE_KEYS = ("charge", "total_charge")
_MULTIPLICITY_KEYS = ("spin_multiplicity", "multiplicity")
# What a file says about its electrons within a twentieth of e is rounding; more is no total charge.
_CHARGE_TOLERANCE = 0.05


def charge_of(atoms: ase.Atoms, charge: int | None = None) -> int:
    """Return the total charge, e.

    The argument, `info["charge"|"total_charge"]`, the sum of the initial charges, or the formal
    charge, in this order. Raises UserError for a charge that is not a whole number.
    """
    if charge is not None:
        return charge
    for key, value in _info(atoms).items():
        if key.lower() in CHARGE_KEYS and np.size(value) == 1:
            return _whole(value, f"charge {value!r} ({key})")
    initial = float(atoms.get_initial_charges().sum())
    if abs(initial - round(initial)) > _CHARGE_TOLERANCE:
        raise UserError(
            f"the initial charges add up to {initial:.3f} e, not a whole number; write charge=0 or "
            "the like in the comment line"
        )
    if atoms.has("initial_charges"):
        return round(initial)
    return int(atoms.info.get("formal_charge", 0))


def multiplicity_of(atoms: ase.Atoms, charge: int) -> int:
    """Return 2S + 1.

    `info["spin_multiplicity"|"multiplicity"]`, else the lowest that the number of electrons allows.
    Raises UserError for a multiplicity that the number of electrons forbids.
    """
    n_electrons = int(atoms.numbers.sum()) - charge
    for key, value in _info(atoms).items():
        if key.lower() in _MULTIPLICITY_KEYS and np.size(value) == 1:
            multiplicity = _whole(value, f"multiplicity {value!r} ({key})")
            if multiplicity < 1 or (n_electrons + multiplicity) % 2 == 0:
                what = f"{atoms.get_chemical_formula()} with charge {charge}"
                raise UserError(
                    f"multiplicity {multiplicity} does not go with the {n_electrons} electrons of "
                    f"{what}"
                )
            return multiplicity
    return 1 + n_electrons % 2


def with_electrons(atoms: ase.Atoms, charge: int, multiplicity: int) -> ase.Atoms:
    """Return a copy that says its charge, e, and multiplicity in every way that calculators read.

    `info` has charge, spin_multiplicity and spin (the multiplicity as well); initial charges and
    magnetic moments, the same for all atoms, add up to them.
    """
    told = atoms.copy()
    told.info |= {"charge": charge, "spin_multiplicity": multiplicity, "spin": multiplicity}
    for name in ("initial_charges", "initial_magmoms"):
        told.arrays.pop(name, None)
    if charge:
        told.set_initial_charges(np.full(len(told), charge / len(told)))
    if multiplicity > 1:
        told.set_initial_magnetic_moments(np.full(len(told), (multiplicity - 1) / len(told)))
    return told


def check_atoms(atoms: ase.Atoms) -> None:
    """Refuse what no model can compute.

    Raises UserError for unknown elements, and for coordinates and cells that no matter can have.
    """
    unknown = np.flatnonzero((atoms.numbers < 1) | (atoms.numbers >= len(chemical_symbols)))
    if len(unknown):
        raise UserError(
            f"atom {unknown[0]} is no element (symbol {atoms.symbols[unknown[0]]}); remove it or "
            "name its element"
        )
    refuse_positions(atoms.positions)
    refuse_cell(atoms.cell.array, atoms.pbc, len(atoms))


def graph_from_atoms(atoms: ase.Atoms, cutoff: float, charge: int | None = None) -> AtomGraph:
    """Build the graph of one structure with pairs closer than `cutoff` (Å).

    `charge` (e) overrides what the atoms carry.
    """
    check_atoms(atoms)
    total = charge_of(atoms, charge)
    return build_graph(
        atoms.positions,
        atoms.numbers,
        cutoff,
        cell=np.asarray(atoms.cell),
        pbc=np.asarray(atoms.pbc),
        total_charge=total,
        spin_multiplicity=multiplicity_of(atoms, total),
    )


def _info(atoms: ase.Atoms) -> dict[str, Any]:
    return {str(key): value for key, value in atoms.info.items()}


def _whole(value: object, what: str) -> int:
    try:
        number = float(np.asarray(value).item())
    except (TypeError, ValueError):
        raise UserError(f"{what} is not a number") from None
    if not np.isfinite(number) or abs(number - round(number)) > _CHARGE_TOLERANCE:
        raise UserError(f"{what} is not a whole number")
    return round(number)
