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
from molequi.structures.electrons import (
    Statement,
    agreed,
    charge_statements,
    forget_statements,
    moment_statements,
    multiplicity_statements,
    whole_number,
)
from molequi.structures.symbols import has_isotopes

# Å; images of a nucleus are never closer, not even those of hydrogen under pressure.
_SHORTEST_PERIOD = 0.7


def charge_of(atoms: ase.Atoms, charge: int | None = None) -> int:
    """Return the total charge, e; see `stated_charge`."""
    return stated_charge(atoms, charge).value


def multiplicity_of(atoms: ase.Atoms, charge: int, multiplicity: int | None = None) -> int:
    """Return 2S + 1; see `stated_multiplicity`."""
    return stated_multiplicity(atoms, charge, multiplicity).value


def stated_charge(atoms: ase.Atoms, charge: int | None = None) -> Statement:
    """Return the total charge, e, and where it comes from.

    The argument, else what the places of `electrons.charge_statements` agree on, else 0.
    Raises UserError where two of them disagree, or for a charge that is not a whole number.
    """
    if charge is not None:
        return Statement(whole_number(charge, f"charge {charge}"), "the option charge")
    found = agreed(
        charge_statements(atoms),
        "total charge",
        "remove one, or give the right one with --charge (charge= in Python)",
    )
    return found or Statement(0, "assumed, as nothing states a charge")


def stated_multiplicity(
    atoms: ase.Atoms, charge: int, multiplicity: int | None = None
) -> Statement:
    """Return 2S + 1 and where it comes from.

    The argument, else what the keys and moments of `electrons.multiplicity_statements` and
    `electrons.moment_statements` agree on, else the lowest that the number of electrons allows.
    Raises UserError where two disagree, for a multiplicity that is not a whole number, and for one
    that the number of electrons forbids.
    """
    n_electrons = int(atoms.numbers.sum()) - charge
    if n_electrons < 0:
        raise UserError(
            f"charge {charge} does not go with {atoms.get_chemical_formula()}, which has "
            f"{n_electrons + charge} electrons when neutral"
        )
    if multiplicity is None:
        statements = [*multiplicity_statements(atoms), *moment_statements(atoms, n_electrons)]
    else:
        source = f"spin_multiplicity={multiplicity}"
        statements = [Statement(whole_number(multiplicity, source), source)]
    for found in statements:
        is_possible = 1 <= found.value <= n_electrons + 1
        if not is_possible or (n_electrons + found.value) % 2 == 0:
            what = f"{atoms.get_chemical_formula()} with charge {charge}"
            place = "" if "=" in found.source else f" (from {found.source})"
            raise UserError(
                f"multiplicity {found.value} does not go with the {n_electrons} electrons of {what}"
                f"{place}"
            )
    parity = "an odd number of electrons" if n_electrons % 2 else "an even number of electrons"
    return agreed(
        statements, "multiplicity", "remove one and write multiplicity=2S+1"
    ) or Statement(1 + n_electrons % 2, f"assumed, the lowest for {parity}")


def settle_electrons(atoms: ase.Atoms, charge: int | None = None) -> None:
    """Write charge and multiplicity into `info`, where they come from beside them.

    `charge`, `charge_source`, `spin_multiplicity` and `multiplicity_source` replace every other
    statement; initial charges and moments stay where they agree.
    Raises UserError as `stated_charge` and `stated_multiplicity`.
    """
    total = stated_charge(atoms, charge)
    spin = stated_multiplicity(atoms, total.value)
    forget_statements(atoms)
    atoms.info["charge"], atoms.info["charge_source"] = total
    atoms.info["spin_multiplicity"], atoms.info["multiplicity_source"] = spin
    if any(found.value != total.value for found in charge_statements(atoms)):
        del atoms.arrays["initial_charges"]


def electron_labels(atoms: ase.Atoms, charge: int, multiplicity: int) -> dict[str, Any]:
    """Return charge and multiplicity that were used for a record, with where they come from."""
    stated = (
        ("charge", charge, lambda: stated_charge(atoms)),
        ("multiplicity", multiplicity, lambda: stated_multiplicity(atoms, charge)),
    )
    labels: dict[str, Any] = {"total_charge": charge, "spin_multiplicity": multiplicity}
    for name, used, read in stated:
        try:
            found = read()
        except UserError:  # settled by the calculator
            found = None
        is_own = found is not None and found.value == used
        labels[f"{name}_source"] = found.source if found and is_own else "set in the calculator"
    return labels


def origin_of_ions(atoms: ase.Atoms) -> str:
    """Name the point that dipoles of ions refer to, here and in labels.

    Isotopologues have the same one, as they have the same electrons.
    """
    if has_isotopes(atoms):
        return "center of mass, with standard atomic weights in place of the isotopes'"
    return "center of mass"


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

    Raises UserError where there are no atoms, for unknown elements, and for coordinates and cells
    that no matter can have.
    """
    if not len(atoms):
        raise UserError("the structure has no atoms")
    unknown = np.flatnonzero((atoms.numbers < 1) | (atoms.numbers >= len(chemical_symbols)))
    if len(unknown):
        number = int(atoms.numbers[unknown[0]])
        name = "symbol X" if number == 0 else f"atomic number {number}"
        raise UserError(f"atom {unknown[0]} is no element ({name}); remove it or name its element")
    refuse_positions(atoms.positions)
    refuse_cell(atoms.cell.array, atoms.pbc, len(atoms))
    if atoms.pbc.all() and np.array_equal(atoms.cell.array, np.eye(3)):
        raise UserError(
            "the cell is a cube of 1 Å, which stands for none in some formats; give the cell in Å "
            "or switch pbc off"
        )
    lengths = np.linalg.norm(atoms.cell.array, axis=1)
    for axis in np.flatnonzero(atoms.pbc & (lengths < _SHORTEST_PERIOD)):
        raise UserError(
            f"the cell vector along axis {axis} is {lengths[axis]:.3f} Å long, which no crystal "
            "has; give the cell in Å or switch pbc off"
        )


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
