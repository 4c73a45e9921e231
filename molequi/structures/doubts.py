"""Structures that look unlike what was meant: another unit than Å, missing hydrogens."""

from __future__ import annotations

import re
from collections.abc import Iterator

import ase
import numpy as np
from ase import units

from molequi.structures.atoms import charge_of
from molequi.structures.bare import openness
from molequi.structures.electrons import nearest_whole, total_of
from molequi.structures.radicals import metals_with_open_shells

# Typical distance of a hydrogen to its nearest atom, Å.
HYDROGEN_BOND = 1.09
_NEAR = 0.15  # of it; bonds to C, N, O and F lie within
_MAX_ATOMS = 200
# K. P. Huber and G. Herzberg, Constants of Diatomic Molecules, 1979; of CH2, G. Herzberg and J.
# Shoosmith, Nature 183 (1959) 1801.
TRIPLETS = frozenset({"O2", "S2", "OS", "B2", "Si2", "HN", "HP", "CH2"})
_CHARGE = re.compile(r"(?i)charge(?!s|d|_?(?:source|model|method|type|scheme))")
_CHARGES = re.compile(r"(?i)\w*charges?")


def nearest_to_hydrogens(positions: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Return the distance of each hydrogen of a molecule to its nearest atom, Å.

    positions: (N, 3), Å. numbers: (N,). None for molecules of over 200 atoms, where it would cost.
    """
    if not 2 <= len(numbers) <= _MAX_ATOMS:
        return np.zeros(0)
    hydrogens = np.flatnonzero(numbers == 1)
    distances = np.linalg.norm(positions[hydrogens, None] - positions[None], axis=-1)
    distances[np.arange(len(hydrogens)), hydrogens] = np.inf
    return distances.min(axis=1, initial=np.inf)


def fits_bohr(distances: np.ndarray) -> bool:
    """Tell whether distances of hydrogens to their nearest atoms are typical of bohr."""
    if len(distances) < 2:
        return False
    return abs(float(np.median(distances)) * units.Bohr / HYDROGEN_BOND - 1) < _NEAR


def doubts_of(atoms: ase.Atoms) -> list[str]:
    """Return a line for each doubt about a structure."""
    doubts = (
        doubtful_units(atoms),
        missing_hydrogens(atoms),
        unsaid_electrons(atoms),
        doubtful_spin(atoms),
    )
    return [doubt for doubt in doubts if doubt]


def doubtful_spin(atoms: ase.Atoms) -> str | None:
    """Return a line of doubt where the spin of a molecule is assumed and may well be another.

    That is so of transition metals, and of the small molecules whose ground states are triplets.
    """
    source = str(atoms.info.get("multiplicity_source", ""))
    if atoms.pbc.any() or not source.startswith("assumed"):
        return None
    metals = metals_with_open_shells(atoms.numbers)
    if metals:
        return f"no bonds tell the spin of {metals}, which is assumed; state the multiplicity"
    formula = atoms.get_chemical_formula()
    if formula in TRIPLETS and not charge_of(atoms):
        return (
            f"{formula} is a triplet in its ground state, and is taken as a singlet, because "
            "nothing states its spin; state the multiplicity, 3 or 1"
        )
    return None


def note_spin(atoms: ase.Atoms) -> None:
    """Write what `doubtful_spin` says to what else is noted of the reading."""
    doubt, told = doubtful_spin(atoms), atoms.info.get("reading")
    if doubt is not None and doubt not in str(told):
        atoms.info["reading"] = f"{told}; {doubt}" if told else doubt


def unsaid_electrons(atoms: ase.Atoms) -> str | None:
    """Return a line of doubt where charges of the atoms add up to one that nothing states.

    They are no statement by themselves: nuclear charges, of ions' cores too, have the same name.
    """
    if atoms.pbc.any() or not str(atoms.info.get("charge_source", "assumed")).startswith("assumed"):
        return None
    for key, value in atoms.info.items():
        if _CHARGE.search(str(key)) and _is_charge(value):
            return (
                f"{key}={value} may state a charge, but is no key that is read, and the charge is "
                f"taken as 0; write charge={value} if it is one"
            )
    for name, values in _charges_of_atoms(atoms):
        total = nearest_whole(total_of(values))
        if total and not np.array_equal(values, atoms.numbers):
            return (
                f"{name} of the atoms add up to {total:+d} e, but nothing states a total "
                f"charge, which is taken as 0; write charge={total:+d} if it is one"
            )
    return None


def _is_charge(value: object) -> bool:
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return is_number and bool(nearest_whole(float(str(value))))


def _charges_of_atoms(atoms: ase.Atoms) -> Iterator[tuple[str, np.ndarray]]:
    """Yield what may be partial charges: columns of a file, and results of another program."""
    results = {} if atoms.calc is None else atoms.calc.results
    for name, values in (*atoms.arrays.items(), *results.items()):
        if _CHARGES.fullmatch(name) and np.shape(values) == (len(atoms),):
            column = np.asarray(values)
            if column.dtype.kind in "fiu" and np.isfinite(column).all():
                yield name, column


def missing_hydrogens(atoms: ase.Atoms) -> str | None:
    """Return a line of doubt where carbons without a hydrogen have open valences; see `bare`."""
    found = openness(atoms)
    return _said(atoms, found.n_carbons) if found.n_carbons else None


def bare_molecule(atoms: ase.Atoms) -> str | None:
    """Return a line that refuses a molecule whose hydrogens are surely missing."""
    found = openness(atoms)
    if not found.is_certain:
        return None
    return (
        f"{_said(atoms, found.n_carbons)}; --add-hydrogens has RDKit place them, --as-is takes it "
        "for what it is"
    )


def _said(atoms: ase.Atoms, n_open: int) -> str:
    what = "hydrogens on its carbons" if (atoms.numbers == 1).any() else "hydrogens"
    return (
        f"the structure has no {what}, but {n_open} carbons with open valences: add the hydrogens "
        "if they are missing"
    )


def doubtful_units(atoms: ase.Atoms) -> str | None:
    """Return a line of doubt where the coordinates of a molecule seem to be in bohr or nm."""
    if atoms.pbc.any():
        return None
    distances = nearest_to_hydrogens(atoms.positions, atoms.numbers)
    if fits_bohr(distances):
        return (
            f"hydrogens have their nearest neighbour at {np.median(distances):.2f} Å, which is "
            "typical of bohr; if so convert the coordinates to Å"
        )
    return None
