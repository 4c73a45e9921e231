"""Which format a text from standard input has: no name tells it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from molequi.errors import UserError
from molequi.structures.formats import Format
from molequi.structures.headings import is_heading
from molequi.structures.orca import GEOMETRY_OF_ORCA

_PDB = re.compile(r"(?m)^(ATOM  |HETATM)[ \d]{5}")
_GAUSSIAN = re.compile(r"(?m)^\s*#\S*\s*\S+.*\n\s*\n.*\n\s*\n\s*-?\d+[ ,]+\d+\s*$")
_SDF_COUNTS = re.compile(r"V[23]000\s*$")
_NUMBERS = re.compile(r"[-+]?\d*\.\d+(?:[eE][-+]?\d+)?")
_MARKS: tuple[tuple[re.Pattern[str], Format], ...] = (
    (re.compile(r"(?m)^@<TRIPOS>MOLECULE"), "mol2"),
    (re.compile(r"(?m)^M  END|^M  V30 |V[23]000\s*$"), "sdf"),
    (_PDB, "pdb"),
    (_GAUSSIAN, "gaussian"),
    (GEOMETRY_OF_ORCA, "orca"),
)


def _is_counts(lines: Sequence[str]) -> bool:
    """Tell whether the fourth line is the one with which the atoms of an SDF record begin."""
    return len(lines) > 3 and _SDF_COUNTS.search(lines[3]) is not None


def sniff(text: str) -> Format:
    """Tell XYZ, SDF, MOL2, PDB, inputs of Gaussian and ORCA, and tables by what they contain.

    Else SMILES. Raises UserError for a text that has coordinates, but none of these formats: its
    lines are no SMILES.
    """
    lines = text.strip("\n\t \r").splitlines()
    # The first line of an SDF record is its name, which may be a number.
    if lines and lines[0].strip().isdecimal() and not _is_counts(lines):
        return "xyz"
    for pattern, kind in _MARKS:
        if pattern.search(text):
            return kind
    if is_heading("\n".join(lines)):
        return "table"
    for number, line in enumerate(lines, start=1):
        if len(_NUMBERS.findall(line)) >= 3:
            raise UserError(
                f"standard input, line {number}: {line.strip()[:40]!r} is no SMILES; standard "
                "input may be XYZ, SDF, MOL2, PDB, an input of Gaussian or ORCA, a table whose "
                "heading names its column of SMILES, or SMILES, one per line; give other formats "
                "as a file"
            )
    return "smiles"
