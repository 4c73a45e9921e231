"""Input files of ORCA: geometry, charge and multiplicity of `* xyz` blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator

import ase
import numpy as np
from ase import units

from molequi.errors import UserError
from molequi.runtime.gate import reading
from molequi.structures.programs import note_electrons
from molequi.structures.symbols import Element, read_symbol, set_isotopes

# The line that begins a geometry: its kind, charge, multiplicity, and the name of a file.
_GEOMETRY = re.compile(r"\*\s*([A-Za-z]+)\s+([+-]?\d+)\s+(\d+)\s*(\S.*)?")
GEOMETRY_OF_ORCA = re.compile(
    r"(?im)^\s*\*\s*(xyz|xyzfile|gzmt|gzmtfile|int|internal)\s+[+-]?\d+\s+\d+"
)
_COORDS = re.compile(r"(?im)^\s*%coords\b")
_JOB = re.compile(r"(?im)^\s*\$new_job\b.*$")
_BOHR = re.compile(r"(?im)^\s*!.*\bbohrs?\b")
_FRAGMENT = re.compile(r"\(\d+\)$")


def is_orca_input(text: str) -> bool:
    """Tell an input of ORCA from those of other programs by its geometry."""
    return bool(GEOMETRY_OF_ORCA.search(text) or _COORDS.search(text))


def orca_inputs(lines: Iterator[str]) -> Iterator[ase.Atoms | str]:
    """Read the jobs of an ORCA input; what cannot be read comes as its error text.

    A job without a geometry of its own takes that of the job before, which comes once.
    """
    for job in filter(is_orca_input, _JOB.split("".join(lines))):
        try:
            with reading("the ORCA input", "molecule"):
                yield _molecule(job)
        except UserError as error:
            yield str(error)


def _molecule(job: str) -> ase.Atoms:
    """Return the geometry of a job. Raises UserError for one that is not `* xyz`."""
    lines = iter([line.split("#")[0].strip() for line in job.splitlines()])
    start = next((found for line in lines if (found := _GEOMETRY.match(line))), None)
    if start is None:
        raise UserError("the ORCA input has its geometry in %coords; write it as `* xyz 0 1`")
    kind, charge, multiplicity, name = start.groups()
    if kind.lower() != "xyz":
        whose = f"that of {name.strip()}" if name else "internal coordinates"
        raise UserError(
            f"the geometry of the ORCA input is {whose} (* {kind}); give an .xyz file, with "
            f"--charge {charge}"
        )
    elements, positions = zip(*map(_atom, _block(lines)), strict=True)
    scale = units.Bohr if _BOHR.search(job) else 1.0
    atoms = ase.Atoms([element.number for element in elements], np.array(positions) * scale)
    set_isotopes(atoms, [element.isotope for element in elements])
    note_electrons(atoms, (charge, multiplicity), "the ORCA input")
    if scale != 1.0:
        atoms.info["reading"] = "coordinates in bohr, as the input says, became Å"
    return atoms


def _block(lines: Iterator[str]) -> list[str]:
    """Return the lines up to that with *. Raises UserError where it or all atoms are missing."""
    rows = []
    for line in lines:
        if line.startswith("*"):
            break
        rows.append(line)
    else:
        raise UserError("the geometry of the ORCA input has no end; write a line with *")
    if not any(rows):
        raise UserError("the geometry of the ORCA input has no atoms")
    return list(filter(None, rows))


def _atom(line: str) -> tuple[Element, tuple[float, ...]]:
    """Read `C 0.0 0.0 0.0`, also of a numbered fragment.

    Raises UserError for what is no atom, such as point charges, and for what follows the position.
    """
    symbol, *rest = line.split()
    try:
        position = tuple(float(word) for word in rest)
    except ValueError:
        position = ()
    if len(position) != 3:
        raise UserError(
            f"{line[:60]!r} in the geometry of the ORCA input is no atom with x, y and z; point "
            "charges, ghost atoms, masses and bases of single atoms are not read"
        )
    return read_symbol(_FRAGMENT.sub("", symbol)), position
