"""Rows of Gaussian's geometries as GaussView writes them, in the form that ASE reads.

Gaussian 16 User's Reference, "Molecule Specifications": a row is a symbol with an atom type of a
force field and parameters in parentheses, a code that freezes the atom in optimizations (negative)
or not (0), coordinates, and the layer of ONIOM.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from molequi.structures.variables import BLANK, GEOMETRY

_NUMBER = r"[-+]?(?:\d+\.\d*|\.\d+|0(?![\d.]))(?:[eEdD][-+]?\d+)?"
_ROW = re.compile(
    rf"(?P<symbol>\s*(?:[A-Za-z]{{1,2}}|\d{{1,3}}))(?:-(?![Bb]q)[^\s,(]+)?(?P<nucleus>\([^)]*\))?"
    rf"(?:[\s,]+(?P<code>0|-\d+))?(?P<place>(?:[\s,]+{_NUMBER}){{3}})\s*(?:[HMLhml]\b.*|!.*)?$"
)
_PARAMETERS = re.compile(r"\((?=[^)]*(?i:pdbname|resname|resnum|fragment)\s*=)([^)]*)\)")
_NO_PROPERTY = re.compile(r"(?i)\s*(pdbname|resname|resnum|fragment)\s*=")
_CHARGES = re.compile(r"^\s*[-+]?\d+(?:[\s,]+[-+]?\d+)+\s*$")


class Rows(NamedTuple):
    """A job in a form that ASE reads; indices of the atoms that the input freezes."""

    job: str
    frozen: list[int]


def plain_rows(job: str) -> Rows:
    """Leave elements, isotopes and coordinates in the geometry, and blanks between charges.

    A geometry with a row of another form, such as a Z-matrix, keeps its rows.
    """
    sections = BLANK.split(job)
    if len(sections) <= GEOMETRY:
        return Rows(job, [])
    charges, *rows = sections[GEOMETRY].strip("\n").split("\n")
    rows = [_PARAMETERS.sub(_properties, row) for row in rows]
    found = [match for row in rows if (match := _ROW.match(row))]
    frozen: list[int] = []
    if found and len(found) == sum(map(bool, map(str.strip, rows))):
        rows = [match["symbol"] + (match["nucleus"] or "") + match["place"] for match in found]
        frozen = [n for n, match in enumerate(found) if (match["code"] or "").startswith("-")]
    sections[GEOMETRY] = "\n".join([_CHARGES.sub(_with_blanks, charges), *rows])
    return Rows("\n\n".join(sections), frozen)


def _with_blanks(charges: re.Match[str]) -> str:
    return " ".join(re.split(r"[\s,]+", charges[0].strip()))


def _properties(parameters: re.Match[str]) -> str:
    """Leave what is said of the nucleus, such as Iso=13."""
    kept = [one for one in parameters[1].split(",") if not _NO_PROPERTY.match(one)]
    return f"({','.join(kept)})" if kept else ""
