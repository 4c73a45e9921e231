"""The different conformers of one molecule: made from its bonds, relaxed, counted once each.

They come from ETKDGv3 and MMFF94, and are relaxed with a model that has energies. One whose bonds
or stereocentres change on the way is of another molecule, and left out by name.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from rdkit import Chem

from molequi.errors import UserError
from molequi.simulation.calculator import Calculator
from molequi.simulation.conformer_shapes import Shape, is_same_conformer, shape_of
from molequi.simulation.relaxation import relax_atoms
from molequi.simulation.symmetry_number import rotational_symmetry_number
from molequi.structures.cip import StereoLabels, constitution_of, label_molecule
from molequi.structures.cumulenes import handed_rows
from molequi.structures.electrons import MAIN_KEYS, SOURCE_KEYS
from molequi.structures.molecules import (
    MOST_CONFORMERS,
    check_conformers,
    conformers_from_smiles,
    dropped_marks,
    is_from_smiles,
)
from molequi.structures.open_stereo import chosen_for_good, open_elements
from molequi.structures.perception import bonds_of_smiles, labels_from_geometry
from molequi.structures.stereo_marks import is_held_nitrogen
from molequi.structures.structure import Structure

# eV/Å: far below what moves a conformer's energy by kT. Steps: a conformer that needs more is left
# out by name.
_FMAX, _STEPS = 0.02, 500
_SAME_ENERGY = 0.002  # eV, of one conformer found twice
# Geometries that are made for each one that is relaxed: ETKDG makes some seldom, such as anti
# ethanol once in eight times.
_TRIES = 4
_SAME_PLACE = 0.15  # Å, of atoms that a rotation exchanges
_NITROGEN = 7


class Pool(NamedTuple):
    """The different conformers of one molecule, by energy.

    energies: eV. symmetry_numbers: of each; the equal atoms of one that is turned onto itself can
    be named in so many times fewer ways. left_out: number of the conformer and why, in words.
    is_achiral: whether the mirror image of each is a conformer too.
    """

    atoms: list[Atoms]
    energies: np.ndarray
    symmetry_numbers: np.ndarray
    left_out: list[str]
    is_achiral: bool


class _Conformer(NamedTuple):
    energy: float
    atoms: Atoms


class _Molecule(NamedTuple):
    """A SMILES with all stereo marks, the sorted labels of its centres, and where it is from."""

    smiles: str
    centres: list[str]
    is_achiral: bool
    is_from_coordinates: bool


class _LeftOutError(Exception):
    """A conformer does not count; the text says why."""


def conformer_pool(structure: Structure, count: int, seed: int, calculator: Calculator) -> Pool:
    """Make conformers of a structure, relax up to `count` different ones, and count these.

    Those of an achiral molecule come each with its mirror image. Raises UserError where the bonds
    or stereocentres are not known, or no conformer is left.
    """
    if structure.atoms is None:
        raise UserError(structure.error)
    molecule = _molecule(structure.atoms)
    check_conformers(count, seed)
    tried = conformers_from_smiles(molecule.smiles, min(_TRIES * count, MOST_CONFORMERS), seed)
    starts = _different(tried, count, with_images=molecule.is_achiral)
    _refuse_unmarked_hand(molecule, starts[0])
    if molecule.is_from_coordinates:
        starts = [structure.atoms, *starts]
    said = structure.atoms.info
    info = {key: said[key] for key in (*MAIN_KEYS, *SOURCE_KEYS) if key in said} | {
        "smiles": molecule.smiles
    }
    kept: list[_Conformer] = []
    left_out: list[str] = []
    for number, start in enumerate(starts):
        try:
            atoms = _with_notes(start, start.positions, info)
            found = _relaxed(atoms, calculator, molecule.centres)
        except _LeftOutError as problem:
            left_out.append(f"conformer {number}: {problem}")
            continue
        _add(kept, found)
        if molecule.is_achiral:
            _add(kept, found._replace(atoms=mirrored(found.atoms)))
    if not kept:
        raise UserError(f"no conformer of {structure} is left: {'; '.join(left_out[:3])}")
    kept.sort(key=lambda conformer: conformer.energy)
    energies = np.array([conformer.energy for conformer in kept])
    geometries = [conformer.atoms for conformer in kept]
    numbers = _symmetry_numbers(geometries)
    return Pool(geometries, energies, numbers, left_out, molecule.is_achiral)


def _symmetry_numbers(conformers: Sequence[Atoms]) -> np.ndarray:
    """Return the symmetry number of each; ones for a single conformer, which nothing is beside."""
    if len(conformers) == 1:
        return np.ones(1)
    return np.array(
        [
            rotational_symmetry_number(
                atoms.numbers, atoms.positions, atoms.get_masses(), is_linear=False,
                tolerance=_SAME_PLACE,
            )
            for atoms in conformers
        ]
    )  # fmt: skip


def _different(tried: Iterable[Atoms], count: int, *, with_images: bool) -> list[Atoms]:
    """Return the first `count` geometries that are no conformer of those before.

    with_images: nor the mirror image of one.
    """
    kept: list[Atoms] = []
    shapes: list[Shape] = []
    for atoms in tried:
        shape = shape_of(atoms)
        if any(shape.is_that_of(known) for known in shapes):
            continue
        kept.append(atoms)
        if len(kept) == count:
            break
        shapes += [shape, *([shape_of(mirrored(atoms))] if with_images else [])]
    return kept


def mirrored(atoms: Atoms) -> Atoms:
    """Return the mirror image of a molecule, with its notes."""
    return _with_notes(atoms, -atoms.positions, atoms.info)


def _with_notes(atoms: Atoms, positions: np.ndarray, info: Mapping[str, Any]) -> Atoms:
    """Return the same atoms, isotopes too, elsewhere and with these notes alone."""
    masses = atoms.get_masses() if atoms.has("masses") else None
    return Atoms(atoms.numbers, positions, masses=masses, info=dict(info))


def _relaxed(start: Atoms, calculator: Calculator, wanted: list[str]) -> _Conformer:
    """Relax a conformer.

    Raises UserError that says which of the two models does not know it, and _LeftOutError where it
    does not converge or becomes another molecule.
    """
    start.calc = calculator
    try:
        relaxed = relax_atoms(start, fmax=_FMAX, steps=_STEPS)
    except UserError as error:
        name = calculator.model.metadata.name
        raise UserError(f"its conformers have no energies by the model {name}: {error}") from error
    if not relaxed.converged:
        raise _LeftOutError(f"not relaxed in {_STEPS} steps")
    change = _changed(start, relaxed.atoms, wanted)
    if change:
        raise _LeftOutError(change)
    atoms = _with_notes(start, relaxed.atoms.positions, start.info)
    return _Conformer(relaxed.atoms.get_potential_energy(), atoms)


def _add(kept: list[_Conformer], found: _Conformer) -> None:
    """Keep a conformer that is not among those kept."""
    if not any(
        abs(found.energy - known.energy) < _SAME_ENERGY
        and is_same_conformer(found.atoms, known.atoms)
        for known in kept
    ):
        kept.append(found)


def _molecule(atoms: Atoms) -> _Molecule:
    """Return the molecule of a structure, from its SMILES or else from its coordinates.

    Raises UserError where stereocentres are open, or an allene may be handed: conformers would be
    of several molecules.
    """
    is_drawn = is_from_smiles(atoms)
    if is_drawn:
        text = str(atoms.info["smiles"])
    else:
        read = labels_from_geometry(atoms, charge=atoms.info["charge"])
        if read.labels is None:
            raise UserError(f"no conformers without bonds: {read.status}")
        text = read.smiles
    _refuse_open_stereo(text)
    if not is_drawn:
        _refuse_chosen(atoms, read.held_nitrogens)
    molecule = Chem.MolFromSmiles(text)
    labels = label_molecule(molecule)
    centres = _centres([atom.GetAtomicNum() for atom in molecule.GetAtoms()], labels)
    return _Molecule(text, centres, labels.kind in {"achiral", "meso"}, not is_drawn)


def _refuse_open_stereo(text: str) -> None:
    dropped = dropped_marks(text)
    if dropped:
        raise UserError(
            f"{text} marks a hand at atom {dropped[0]} that no SMILES keeps (of an axis through a "
            "ring), so its conformers are of both; predict geometries one by one"
        )
    problem = _open_stereo(Chem.MolFromSmiles(text))
    if problem:
        raise UserError(f"{text} {problem}")


def _refuse_chosen(atoms: Atoms, held_nitrogens: Container[int]) -> None:
    """Refuse coordinates made from a drawing that leaves open what they have."""
    chosen = chosen_for_good(atoms, held_nitrogens)
    if chosen:
        raise UserError(
            f"the input leaves configurations open (here {chosen}), so its conformers are of "
            "several molecules; mark them there"
        )


def _refuse_unmarked_hand(molecule: _Molecule, start: Atoms) -> None:
    """Refuse a molecule with a hand that no stereo mark keeps, such as that of a spiro centre."""
    if molecule.is_achiral and labels_from_geometry(start).is_conformer_of_image is False:
        raise UserError(
            f"{molecule.smiles} has a hand that no SMILES keeps (of a spiro centre or a cage), "
            "so its conformers are of both; predict geometries one by one"
        )


def _open_stereo(molecule: Chem.Mol) -> str:
    """Say what makes conformers those of several molecules, and what to do; else nothing."""
    several = "so its conformers are of several molecules"
    left_open = open_elements(molecule)
    if handed_rows(molecule):
        return (
            "has an allene, whose hand no SMILES keeps, so its conformers are of both hands; "
            "predict geometries one by one"
        )
    if left_open.rows:
        return (
            f"has double bonds in a row, whose ends no SMILES places, {several}; predict "
            "geometries one by one"
        )
    if left_open.mixed:
        return (
            f"states a mixture (&) or an unknown hand (o), {several}; leave out what stands "
            "between the bars"
        )
    kinds = {entry.type for entry in left_open.elements if not _turns_over(molecule, entry)}
    if not kinds:
        return ""
    kind = "double bond" if kinds == {Chem.StereoType.Bond_Double} else "centre"
    return f"leaves a stereo {kind} open, {several}; mark it in the SMILES (@, / or \\)"


def _turns_over(molecule: Chem.Mol, entry: Any) -> bool:
    """Whether an element is nitrogen that turns over by itself."""
    if entry.type != Chem.StereoType.Atom_Tetrahedral:
        return False
    atom = molecule.GetAtomWithIdx(entry.centeredOn)
    return atom.GetAtomicNum() == _NITROGEN and not is_held_nitrogen(atom)


def _centres(numbers: Iterable[int], labels: StereoLabels) -> list[str]:
    """Return the sorted labels of the stereocentres.

    Nitrogen turns over, or has the hand of its cage, and is not read off coordinates.
    """
    return sorted(
        label
        for number, label in zip(numbers, labels.atoms, strict=True)
        if label and number != _NITROGEN
    )


def _changed(start: Atoms, relaxed: Atoms, wanted: list[str]) -> str:
    """Say how relaxation changed the molecule, if it did: bonds, or labels of centres."""
    if bonds_of_smiles(relaxed) is None:  # those of both are found alike, by distances
        start, relaxed = (
            _with_notes(one, one.positions, _unnamed(one)) for one in (start, relaxed)
        )
    before, found = labels_from_geometry(start), labels_from_geometry(relaxed)
    if found.labels is None:
        return f"after relaxation {found.status}"
    if before.labels is not None and (bonds := constitution_of(found.smiles)) != (
        old := constitution_of(before.smiles)
    ):
        return f"its bonds became those of {bonds} in place of {old}"
    centres = _centres(relaxed.numbers, found.labels)
    if centres == wanted:
        return ""
    now, then = (" ".join(labels) or "none" for labels in (centres, wanted))
    return f"its stereocentres became {now} in place of {then}"


def _unnamed(atoms: Atoms) -> dict[str, Any]:
    return {key: value for key, value in atoms.info.items() if key != "smiles"}
