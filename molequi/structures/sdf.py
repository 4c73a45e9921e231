"""Records of an SDF or MOL file: coordinates as they stand, drawings made into geometries.

Format: Dassault Systèmes BIOVIA, "CTfile Formats" (2020).
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import IO, NamedTuple

import ase
import numpy as np
from ase.data import covalent_radii
from rdkit import Chem, rdBase

from molequi.errors import UserError
from molequi.structures.molecules import atoms_from_molecule, bond_without_order, embed
from molequi.structures.text import is_missing, text_lines

# Of the sum of covalent radii: bonds of molecules lie between, many of drawings do not.
_BOND_LENGTHS = (0.75, 1.3)
_FLAT = 1e-3  # Å
_DECIMAL_COMMA = re.compile(r"\d,\d")
_NUMBER = re.compile(r"\b\d{1,9}\b")
_SINGLET = 1  # of M RAD and RAD=
_END = "$$$$"


class _Record(NamedTuple):
    """The text of a record, and the molecule that RDKit reads from it, None for a damaged one."""

    text: str
    molecule: Chem.Mol | None


def read_sdf(
    handle: IO[bytes], *, seed: int = 0, add_hydrogens: bool = False, as_is: bool = False
) -> Iterator[ase.Atoms | str]:
    """Read the records of an SDF with their data fields in `info`.

    A damaged record comes as its error text.

    A record in space is taken as it stands; one without any hydrogen gets them with
    `add_hydrogens`, stays with `as_is`, else it is an error. A flat drawing gets hydrogens and a
    new conformer.
    `info["geometry"]` and `info["reading"]` say so, `info["constitution"]` is the SMILES of its
    bonds.
    """
    for index, record in enumerate(_records(handle)):
        try:
            yield _from_record(record, seed, add_hydrogens=add_hydrogens, as_is=as_is)
        except UserError as error:
            yield f"record {index + 1} {error}"


def sdf_molecules(handle: IO[bytes]) -> Iterator[Chem.Mol | None]:
    """Yield the records of an SDF as they stand there, None for a damaged one.

    What reading the handle raises is raised here.
    """
    for record in _records(handle):
        yield record.molecule


def _records(handle: IO[bytes]) -> Iterator[_Record]:
    lines: list[str] = []
    for line in text_lines(handle):
        lines.append(line)
        if line.startswith(_END):
            yield _parsed("".join(lines))
            lines = []
    if any(line.strip() for line in lines):
        yield _parsed("".join(lines))


def _parsed(text: str) -> _Record:
    with rdBase.BlockLogs():
        supplier = Chem.ForwardSDMolSupplier(
            io.BytesIO(text.encode()), sanitize=False, removeHs=False
        )
        return _Record(text, next(iter(supplier), None))


def _from_record(record: _Record, seed: int, *, add_hydrogens: bool, as_is: bool) -> ase.Atoms:
    text, molecule = record
    _refuse_misread(text)
    if molecule is None:
        raise UserError("cannot be read as an SDF molecule")
    if not molecule.GetNumAtoms():
        raise UserError("has no atoms")
    info = _fields(molecule)
    if not molecule.GetNumBonds() and not _is_marked_flat(text):
        return atoms_from_molecule(molecule, info=info)
    problem = sanitize(molecule)
    if not problem:
        info["constitution"] = _constitution(molecule)
    _pair_singlets(molecule, text)
    if not _is_drawing(molecule, text, lacks_hydrogens=_n_missing(molecule, problem) > 0):
        return _in_space(molecule, problem, info, add_hydrogens=add_hydrogens, as_is=as_is)
    if problem:
        raise UserError(f"is a flat drawing that cannot be made into a geometry: {problem}")
    read_drawn_stereo(molecule)
    (atoms,) = embed(molecule, 1, seed, "as a drawing", info)
    atoms.info["geometry"] += "; the record is a flat drawing"
    return atoms


def _fields(molecule: Chem.Mol) -> dict[str, object]:
    """Return the fields of a record that say something, and its name."""
    fields = molecule.GetPropsAsDict()
    info = {key: value for key, value in fields.items() if not is_missing(str(value))}
    name = molecule.GetProp("_Name").strip() if molecule.HasProp("_Name") else ""
    return {**info, "name": name} if name else info


def _refuse_misread(text: str) -> None:
    """Refuse what RDKit would read as something else without a word."""
    head, _, rest = text.partition("\nM  END")
    if "\nM  END" in rest:
        raise UserError("holds two molecules, as $$$$ is missing between them")
    rows = head.split("\n")[4:]
    comma = next((row for row in rows if _DECIMAL_COMMA.search(row)), None)
    if comma is not None:
        raise UserError(f"has decimal commas ({comma.strip()[:40]!r}); write points")


def _in_space(
    molecule: Chem.Mol, problem: str, info: dict[str, object], *, add_hydrogens: bool, as_is: bool
) -> ase.Atoms:
    """Take coordinates as they stand; see `read_sdf`. problem: why there are no valences."""
    n_missing = _n_missing(molecule, problem)
    if as_is or _has_hydrogens(molecule) or not (n_missing or problem):
        if problem:
            info["reading"] = f"by its bonds it is no molecule: {problem}; a charge may be missing"
        if n_missing:
            info["reading"] = (
                f"by its bonds the record lacks {n_missing} hydrogens; it has coordinates and is "
                "taken as it stands"
            )
        return atoms_from_molecule(molecule, info=info)
    # Without valences nobody can tell what is missing.
    if problem:
        raise UserError(f"has no hydrogens, and none can be added: {problem}")
    if not add_hydrogens:
        raise UserError(
            f"has coordinates in space but none of its {n_missing} hydrogens; add them to the "
            "file, or ask for --add-hydrogens (in a training data.add_hydrogens=true); --as-is "
            "takes it for what it is"
        )
    added = {**info, "geometry": f"{n_missing} hydrogens added to the file's coordinates"}
    return atoms_from_molecule(Chem.AddHs(molecule, addCoords=True), info=added)


def _n_missing(molecule: Chem.Mol, problem: str) -> int:
    """Return how many hydrogens the valences leave room for; 0 where there are none to tell."""
    return 0 if problem else sum(atom.GetTotalNumHs() for atom in molecule.GetAtoms())


def _has_hydrogens(molecule: Chem.Mol) -> bool:
    return any(atom.GetAtomicNum() == 1 for atom in molecule.GetAtoms())


def sanitize(molecule: Chem.Mol) -> str:
    """Give the molecule its valences, or say why there are none."""
    problem = bond_without_order(molecule)
    if problem:
        return problem
    try:
        with rdBase.BlockLogs():
            Chem.SanitizeMol(molecule)
    except (Chem.MolSanitizeException, ValueError) as error:
        return " ".join(str(error).split())
    except RuntimeError:  # a broken precondition, in the words of RDKit's source
        return "RDKit makes nothing of its valences"
    return ""


def read_drawn_stereo(molecule: Chem.Mol) -> None:
    """Read which double bonds of a flat drawing are E and Z, and drop marks that mean nothing.

    The molecule has its valences (`sanitize`), without which RDKit reads wedges alone. Bonds that
    are drawn crossed or beside a wavy one stay open.
    """
    with rdBase.BlockLogs():
        Chem.DetectBondStereochemistry(molecule)
        Chem.AssignStereochemistry(molecule, cleanIt=True, force=True)


def _constitution(molecule: Chem.Mol) -> str:
    """Return the SMILES of the bonds, without marks of stereochemistry."""
    with rdBase.BlockLogs():
        return str(Chem.MolToSmiles(Chem.RemoveHs(molecule), isomericSmiles=False))


def _is_marked_flat(text: str) -> bool:
    """Tell by the dimensional code of the second line, columns 21-22."""
    return "".join(text.splitlines()[1:2])[20:22].upper() == "2D"


def _is_drawing(molecule: Chem.Mol, text: str, *, lacks_hydrogens: bool) -> bool:
    """Tell a drawing from a planar molecule: by its mark, its bond lengths, or what it lacks."""
    positions = molecule.GetConformer().GetPositions()
    if np.abs(positions[:, 2]).max() > _FLAT:
        return False
    if _is_marked_flat(text) or (lacks_hydrogens and not _has_hydrogens(molecule)):
        return True
    low, high = _BOND_LENGTHS
    for bond in molecule.GetBonds():
        first, second = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        radii = sum(
            covalent_radii[atom.GetAtomicNum()] for atom in (bond.GetBeginAtom(), bond.GetEndAtom())
        )
        if not low <= np.linalg.norm(positions[first] - positions[second]) / radii <= high:
            return True
    return False


def _pair_singlets(molecule: Chem.Mol, text: str) -> None:
    """Take singlet carbenes and their like as pairs; RDKit counts two unpaired electrons."""
    if "RAD" not in text:
        return
    atoms = list(molecule.GetAtoms())
    for index in _singlets(text):
        if index < len(atoms):
            atoms[index].SetNumRadicalElectrons(0)


def _singlets(text: str) -> Iterator[int]:
    """Yield the atoms (0-based) that `M  RAD` or `RAD=` calls singlets."""
    row = -1
    for line in text.splitlines():
        if line.startswith("M  RAD"):
            numbers = [int(digits) for digits in _NUMBER.findall(line[9:])]
            pairs = zip(numbers[::2], numbers[1::2], strict=False)
            yield from (atom - 1 for atom, kind in pairs if kind == _SINGLET)
        elif line.startswith("M  V30 BEGIN ATOM"):
            row = 0
        elif line.startswith("M  V30 END ATOM"):
            row = -1
        elif row >= 0 and line.startswith("M  V30"):
            if re.search(rf"\bRAD={_SINGLET}\b", line):
                yield row
            row += 1
