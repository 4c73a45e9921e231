"""Outputs of Gaussian: which energy, and which of its orientations, a number belongs to.

Forces are printed in the input orientation, the dipole of the population analysis in the standard
one (https://gaussian.com/overlay2/, https://gaussian.com/force/); ASE puts them beside the geometry
that comes first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import ase
import numpy as np
from ase import units

from molequi.structures.outputs import DIPOLE_OF_AN_ION, add_note

_NUMBER = r"[-+]?\d+\.\d+(?:[dDeE][-+]?\d+)?"
_TABLE = re.compile(
    r"(Input|Z-Matrix|Standard) orientation:\s*\n(?:.*\n){4}((?:(?: +\S+){6} *\n)+)"
)
_DIPOLE = re.compile(
    rf"Dipole moment \([^)]*Debye\):\s*X=\s*({_NUMBER})\s*Y=\s*({_NUMBER})\s*Z=\s*({_NUMBER})"
)
_ONIOM = re.compile(rf"ONIOM: extrapolated energy\s*=\s*({_NUMBER})")
_EXCITED = re.compile(rf"Total Energy, E\((?:TD-HF/TD-DFT|CIS/TDA|CIS)\)\s*=\s*({_NUMBER})")
_OTHER_AXES = "the dipole is left out, as its axes are not those of the geometry"
_FAR = 1e-3  # Å; geometries are printed with six decimals
_DIGITS = 1e-4  # debye, of a printed dipole


class _Pair(NamedTuple):
    """One geometry in the orientation of the input and in the standard one: (N, 3), Å."""

    given: np.ndarray | None
    standard: np.ndarray | None


def mend_gaussian(frames: Sequence[ase.Atoms], text: str) -> list[ase.Atoms]:
    """Give each geometry of an output the energy, forces and dipole that belong to it.

    What cannot be told is left out, and noted. Fragments of a counterpoise job are left out.
    """
    is_counterpoise = "counterpoise" in text.lower()
    kept = [atoms for atoms in frames if atoms.numbers.all()] if is_counterpoise else []
    for atoms in kept:
        add_note(atoms, "its energy is that without the counterpoise correction")
    kept = kept or list(frames)
    _replace_energies(_with(kept, "energy"), _ONIOM.findall(text), "the extrapolated one of ONIOM")
    _replace_energies(_with(kept, "forces"), _EXCITED.findall(text), "that of the excited state")
    pairs = list(_pairs(text))
    printed = np.array(_DIPOLE.findall(text), dtype=float).reshape(-1, 3)
    for atoms in _with(kept, "energy"):
        _settle_axes(atoms, _pair_of(atoms, pairs), printed)
    return kept


def _with(frames: Sequence[ase.Atoms], label: str) -> list[ase.Atoms]:
    """Return the frames that have a label."""
    return [atoms for atoms in frames if atoms.calc is not None and label in atoms.calc.results]


def _replace_energies(frames: Sequence[ase.Atoms], found: Sequence[str], what: str) -> None:
    """Take the energies that forces belong to; no labels where not each geometry has one."""
    for index, atoms in enumerate(frames if found else []):
        if len(found) == len(frames):
            energy = float(re.sub("[dD]", "e", found[index]))
            atoms.calc.results["energy"] = energy * units.Hartree
            add_note(atoms, f"its energy is {what}")
        else:
            atoms.calc = None
            add_note(atoms, f"its labels are left out, as it is open which energy is {what}")


def _pairs(text: str) -> Iterator[_Pair]:
    """Yield each geometry that is printed, in the one or two orientations that it has."""
    given: np.ndarray | None = None
    for kind, table in _TABLE.findall(text):
        rows = [row.split() for row in table.splitlines()]
        rows = [row for row in rows if row[1] != "-2"]  # a vector of the cell
        positions = np.array([row[3:] for row in rows], dtype=float)
        if kind == "Standard":
            yield _Pair(given, positions)
            given = None
            continue
        if given is not None:
            yield _Pair(given, None)
        given = positions
    if given is not None:
        yield _Pair(given, None)


def _pair_of(atoms: ase.Atoms, pairs: Sequence[_Pair]) -> _Pair:
    """Return the orientations of a geometry; neither where it is not found."""
    for pair in pairs:
        if any(_is(atoms, positions) for positions in pair):
            return pair
    return _Pair(None, None)


def _is(atoms: ase.Atoms, positions: np.ndarray | None) -> bool:
    return (
        positions is not None
        and positions.shape == atoms.positions.shape
        and bool(np.allclose(atoms.positions, positions, rtol=0.0, atol=1e-9))
    )


def _settle_axes(atoms: ase.Atoms, pair: _Pair, printed: np.ndarray) -> None:
    """Bring forces and dipole to the axes of the positions, and a dipole to the centre of mass."""
    results: dict[str, Any] = atoms.calc.results
    is_standard = pair.given is None and pair.standard is not None
    if is_standard and "forces" in results:
        del results["forces"]
        add_note(
            atoms,
            "forces are left out: they are in the input orientation, and the geometry is printed "
            "in the standard one alone",
        )
    if "dipole" in results:
        dipole = np.asarray(results.pop("dipole"))
        charge = int(atoms.info.get("charge") or 0)
        is_printed = (np.abs(printed - dipole / units.Debye) < _DIGITS).all(axis=1).any()
        settled = (_dipole_of_analysis if is_printed else _other_dipole)(
            atoms, pair, dipole, charge
        )
        if settled is not None:
            results["dipole"] = settled
        else:
            add_note(atoms, DIPOLE_OF_AN_ION if charge else _OTHER_AXES)


def _other_dipole(
    atoms: ase.Atoms, pair: _Pair, dipole: np.ndarray, charge: int
) -> np.ndarray | None:
    """Return a dipole of link 716, e·Å, which is in the input orientation; None of an ion's."""
    return None if charge or pair.given is None else dipole


def _dipole_of_analysis(
    atoms: ase.Atoms, pair: _Pair, dipole: np.ndarray, charge: int
) -> np.ndarray | None:
    """Return a dipole of the standard orientation in the axes of the atoms, e·Å.

    Where there is none, as with NoSymm, it is in those of the input.
    """
    if pair.standard is not None:
        return _turned(atoms, pair.standard, dipole, charge)
    return dipole - charge * atoms.get_center_of_mass()


def _turned(
    atoms: ase.Atoms, standard: np.ndarray, dipole: np.ndarray, charge: int
) -> np.ndarray | None:
    """Return a dipole of the standard orientation in the axes of the atoms, e·Å.

    Of an ion it refers to the origin of its orientation, and then to the centre of mass.
    """
    masses = atoms.get_masses()[:, None]
    there = standard - (masses * standard).sum(axis=0) / masses.sum()
    here = atoms.positions - atoms.get_center_of_mass()
    left, _, right = np.linalg.svd(there.T @ here)
    left[:, -1] *= np.sign(np.linalg.det(left @ right))  # no reflection
    turn = left @ right
    if float(np.abs(there @ turn - here).max()) > _FAR:
        return None
    return (dipole - charge * (standard - there)[0]) @ turn
