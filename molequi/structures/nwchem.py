"""Input files of NWChem: the geometries of molecules, in Å or bohr.

NWChem's user manual, "Geometry": a row is a tag, which begins with a symbol or name in any case,
and x, y, z; `symmetry` makes atoms that are not written. Crystals are left to ASE.
"""

from __future__ import annotations

import re

import ase
import numpy as np
from ase import units
from ase.data import atomic_names, atomic_numbers

from molequi.errors import UserError
from molequi.runtime.gate import reading
from molequi.structures.symbols import Element, read_symbol, set_isotopes

_GEOMETRY = re.compile(r"(?i)^geometry\b(?P<head>.*)$")
_UNITS = re.compile(r"(?i)\bunits\s+(\w+)")
_TAG = re.compile(r"[A-Za-z]+")
_NAMES = {name.lower(): number for number, name in enumerate(atomic_names) if name}
_CELL = re.compile(r"(?mi)^\s*(?:system\s+(?:crystal|surface|polymer)|lat_[abc]|lattice_vectors)\b")
_SYMMETRY = re.compile(r"(?i)^symmetry\s+(?:group\s+)?(?P<group>\S+)")
_SPINS = ("singlet", "doublet", "triplet", "quartet", "quintet", "sextet", "septet", "octet")
_SPIN = re.compile(rf"(?mi)^\s*(?:nopen\s+(?P<open>\d+)|(?P<word>{'|'.join(_SPINS)}))\s*$")
# Rows that say nothing of where atoms are.
_ASIDE = re.compile(r"(?i)^(?:symmetry|print|noprint)\b")


def has_cell(text: str) -> bool:
    """Tell whether an NWChem input is of a crystal, a slab or a polymer."""
    return _CELL.search(text) is not None


def with_counted_spins(text: str) -> str:
    """Return the text with what its wave function says of spins as `mult 2S + 1`."""
    return _SPIN.sub(lambda found: f"mult {_multiplicity(found)}", text)


def _multiplicity(found: re.Match[str]) -> int:
    return 1 + (int(found["open"]) if found["open"] else _SPINS.index(found["word"].lower()))


def nwchem_inputs(text: str) -> list[ase.Atoms | str]:
    """Read the geometries of an NWChem input; what cannot be read comes as its error text."""
    found: list[ase.Atoms | str] = []
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    for number, line in enumerate(lines):
        head = _GEOMETRY.match(line)
        if head is None:
            continue
        try:
            with reading("the NWChem input", "geometry"):
                found.append(_molecule(head["head"], _block(lines[number + 1 :])))
        except UserError as error:
            found.append(str(error))
    return found


def _block(lines: list[str]) -> list[str]:
    """Return the rows up to `end`. Raises UserError where it is missing."""
    ends = (number for number, line in enumerate(lines) if line.lower() == "end")
    end = next(ends, None)
    if end is None:
        raise UserError("the geometry has no end; write a line with it")
    return [line for line in lines[:end] if line]


def _molecule(head: str, rows: list[str]) -> ase.Atoms:
    """Return the atoms of a geometry. Raises UserError for what is not read."""
    _refuse_symmetry(rows)
    atoms = [_atom(row) for row in rows if not _ASIDE.match(row)]
    if not atoms:
        raise UserError("the geometry has no atoms")
    elements, positions = zip(*atoms, strict=True)
    scale, note = _scale(head)
    molecule = ase.Atoms([element.number for element in elements], np.array(positions) * scale)
    set_isotopes(molecule, [element.isotope for element in elements])
    if note:
        molecule.info["reading"] = note
    return molecule


def _refuse_symmetry(rows: list[str]) -> None:
    for found in filter(None, map(_SYMMETRY.match, rows)):
        if found["group"].lower() != "c1":
            raise UserError(
                f"the geometry leaves atoms to the symmetry {found['group']}, or may do so; write "
                "all of them with `symmetry c1`, or as XYZ"
            )


def _scale(head: str) -> tuple[float, str]:
    """Return the unit of a geometry in Å, and what to say of it."""
    given = _UNITS.search(head)
    unit = given[1].lower() if given else "angstroms"
    if unit in {"au", "atomic", "bohr"}:
        return units.Bohr, "coordinates in bohr, as the geometry says, became Å"
    if not unit.startswith("an"):
        raise UserError(f"the geometry is in {unit}, which is not read; write it in Å")
    return 1.0, ""


def _atom(row: str) -> tuple[Element, tuple[float, ...]]:
    """Read a tag and a position. Raises UserError for Z-matrices, ghost atoms, masses and more."""
    tag, *words = row.split()
    try:
        position = tuple(float(re.sub("[dD]", "e", word)) for word in words)
    except ValueError:
        position = ()
    if len(position) != 3:
        raise UserError(
            f"{row[:60]!r} in the geometry is no atom with x, y and z; Z-matrices, files to load, "
            "charges and masses of single atoms are not read"
        )
    if tag.lower().startswith(("bq", "x")) and not tag.lower().startswith("xe"):
        raise UserError(f"{tag} in the geometry is a ghost atom or point charge; remove it")
    return _element(tag), position


def _element(tag: str) -> Element:
    """Return the element that a tag begins with: its name, or its symbol, one letter if not two.

    Raises UserError for other words: `carb` may be meant for C, and begins as Ca.
    """
    letters = _TAG.match(tag)
    word = letters[0].lower() if letters else tag
    if word in _NAMES:
        return Element(_NAMES[word])
    if len(word) == 2 and word.capitalize() not in atomic_numbers:
        word = word[0]
    return read_symbol(word)
