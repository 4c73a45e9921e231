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
# E(TD-HF/TD-KS) in Gaussian 09, E(TD-HF/TD-DFT), E(CIS/TDA), E(EOM-CCSD).
_EXCITED = re.compile(rf"Total Energy, E\([^)\n]*\)\s*=\s*({_NUMBER})")
_GROUND, _FORCES = "SCF Done:", "Forces (Hartrees/Bohr)"
_ARCHIVE = re.compile(r"(?m)^[ \t]*1\\1\\GINC")
_OTHER_AXES = "the dipole is left out, as its axes are not those of the geometry"
_FAR = 1e-3  # Å; geometries are printed with six decimals
_DIGITS = 1e-4  # debye, of a printed dipole


class _Pair(NamedTuple):
    """One geometry in the orientation of the input and in the standard one: (N, 3), Å.

    start: its place in the text; end: that of the next geometry that is kept.
    """

    given: np.ndarray | None
    standard: np.ndarray | None
    start: int
    end: int


def first_job(text: str) -> str:
    """Return what ASE reads of an output, which may hold several jobs: up to the first archive."""
    archive = _ARCHIVE.search(text)
    return text if archive is None else text[: archive.start()]


def mend_gaussian(frames: Sequence[ase.Atoms], text: str) -> list[ase.Atoms]:
    """Give each geometry of an output the energy, forces and dipole that belong to it.

    What cannot be told is left out, and noted. Fragments of a counterpoise job are left out.
    text: of `first_job`.
    """
    pairs = _without_fragments(list(zip(frames, _pairs_of(frames, text), strict=True)), text)
    printed = np.array(_DIPOLE.findall(text), dtype=float).reshape(-1, 3)
    is_oniom = _ONIOM.search(text) is not None
    is_one = len({len(atoms) for atoms, _ in pairs}) == 1
    for atoms, pair in pairs:
        if is_oniom and _has(atoms, "energy"):
            _extrapolate(atoms, _ONIOM.findall(text, pair.start, pair.end) if is_one else ())
        elif _has(atoms, "forces"):
            _excite(atoms, text, pair)
        if _has(atoms, "energy"):
            _settle_axes(atoms, pair, printed)
    return [atoms for atoms, _ in pairs]


def _without_fragments(
    pairs: list[tuple[ase.Atoms, _Pair]], text: str
) -> list[tuple[ase.Atoms, _Pair]]:
    """Leave out the fragments of a counterpoise job, whose other atoms are ghosts."""
    if "counterpoise" not in text.lower():
        return pairs
    whole = [(atoms, pair) for atoms, pair in pairs if atoms.numbers.all()]
    for atoms, _ in whole:
        add_note(atoms, "its energy is that without the counterpoise correction")
    return whole or pairs


def _has(atoms: ase.Atoms, label: str) -> bool:
    return atoms.calc is not None and label in atoms.calc.results


def _extrapolate(atoms: ase.Atoms, found: Sequence[str]) -> None:
    """Take the energy of all layers; no labels where not one alone is printed."""
    if len(set(found)) == 1:
        _take(atoms, found[0], "the extrapolated one of ONIOM")
        return
    atoms.calc = None
    add_note(
        atoms,
        "its labels are left out, as it is open which energy is the extrapolated one of ONIOM",
    )


def _excite(atoms: ase.Atoms, text: str, pair: _Pair) -> None:
    """Take the energy of the excited state where forces follow on one."""
    forces = text.rfind(_FORCES, pair.start, pair.end)
    ground = max(text.rfind(_GROUND, pair.start, forces), pair.start)
    found = _EXCITED.findall(text, ground, forces) if forces >= 0 else []
    if found:
        _take(atoms, found[-1], "that of the excited state")


def _take(atoms: ase.Atoms, printed: str, what: str) -> None:
    atoms.calc.results["energy"] = float(re.sub("[dD]", "e", printed)) * units.Hartree
    add_note(atoms, f"its energy is {what}")


def _pairs_of(frames: Sequence[ase.Atoms], text: str) -> list[_Pair]:
    """Return the orientations of each geometry; neither where it is not found.

    Geometries are in the order of the text: each is looked for behind the one before.
    """
    printed = list(_printed(text))
    found: list[_Pair] = []
    begin, end = 0, len(text)
    for atoms in frames:
        hits = (i for i in range(begin, len(printed)) if any(_is(atoms, p) for p in printed[i][:2]))
        index = next(hits, None)
        found.append(_Pair(None, None, end, end) if index is None else printed[index])
        begin = begin if index is None else index + 1
    starts = [pair.start for pair in found]
    return [pair._replace(end=next_) for pair, next_ in zip(found, [*starts[1:], end], strict=True)]


def _printed(text: str) -> Iterator[_Pair]:
    """Yield each geometry that is printed, in the one or two orientations that it has."""
    given: _Pair | None = None
    for found in _TABLE.finditer(text):
        rows = [row.split() for row in found[2].splitlines()]
        rows = [row for row in rows if row[1] != "-2"]  # a vector of the cell
        positions = np.array([row[3:] for row in rows], dtype=float)
        if found[1] == "Standard":
            start = found.start() if given is None else given.start
            yield _Pair(None if given is None else given.given, positions, start, start)
            given = None
            continue
        if given is not None:
            yield given
        given = _Pair(positions, None, found.start(), found.start())
    if given is not None:
        yield given


def _is(atoms: ase.Atoms, positions: np.ndarray | None) -> bool:
    return positions is not None and np.array_equal(atoms.positions, positions)


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
