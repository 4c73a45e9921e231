"""Files of programs that are not read: what they are, and what to give in their place."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from molequi.errors import UserError
from molequi.structures.formats import UNREADABLE
from molequi.structures.text import text_of

_EXTENDED = "write its geometry, charge, energy and forces as extended XYZ"
_GEOMETRY = "write its geometry as XYZ, and state its charge with --charge"
# What stands near the head of a file; whose it is; what to do.
_PROGRAMS: tuple[tuple[str, str, str], ...] = (
    (r"Welcome to Q-Chem|Q-Chem, Inc", "an output of Q-Chem", _EXTENDED),
    (r"(?mi)^\s*\$molecule\b", "an input of Q-Chem", _GEOMETRY),
    (r"Psi4: An Open-Source", "an output of Psi4", _EXTENDED),
    (r"(?mi)^\s*molecule\s*\w*\s*\{", "an input of Psi4", _GEOMETRY),
    (r"CP2K\| |DBCSR\| ", "an output of CP2K", "give the -pos-1.xyz or the .restart of the run"),
    (r"(?mi)^\s*&FORCE_EVAL\b", "an input of CP2K", _GEOMETRY),
    (r"\|\s+x T B\s+\||\* xtb version", "an output of xtb",
     "give xtbopt.xyz, or the file gradient that --grad writes"),
    (r"\bMOPAC\d* ?(?:v\d|\()", "an output of MOPAC", _EXTENDED),
    (r"PROGRAM SYSTEM MOLPRO", "an output of Molpro", _EXTENDED),
    (r"(?mi)^\s*geometry\s*=\s*\{", "an input of Molpro", _GEOMETRY),
    (r"(?mi)^ \$DATA\b", "an input of GAMESS", _GEOMETRY),
    (r"(?i)\A[^\n]*\b(?:PM[367]|AM1|MNDO|RM1)\b", "an input of MOPAC", _GEOMETRY),
    (r"(?m)^\s*_(?:entry\.id|atom_site\.Cartn_x|chem_comp\.)",
     "an mmCIF, of molecules and no crystal", "give the .pdb or .sdf of the same entry"),
    (r"(?m)^\s*BEGIN_CFG\b", "a file of MLIP (types and no elements)", _EXTENDED),
    (r"(?mi)^SFAC\b", "a file of SHELX", "give the CIF of the refinement"),
    (r"<(?:cml:)?(?:molecule|cml)\b", "a file of CML", "write it as .sdf or .mol2"),
    (r"# The current gradient", "a gradient of ORCA", "give ORCA's output, which has it too"),
    (r"\"schema_name\"\s*:\s*\"qcschema", "a record of QCSchema", _EXTENDED),
    (r"(?m)^Number of atoms +I +\d+", "a formatted checkpoint of Gaussian",
     "give Gaussian's output (.log)"),
    (r"(?i)\[Molden Format\]", "a Molden file", _GEOMETRY),
)  # fmt: skip
_HEAD = 1 << 16
_NO_POSITIONS = re.compile(r"-(frc|vel)-\d+\.xyz$")
_STEP = re.compile(r"\s*\d+\s*\n\s*i\s*=\s*\d+,\s*time\s*=")


def unread_program(path: Path) -> str | None:
    """Say which program's file it is that is not read, and what to do; None for others."""
    try:
        head = text_of(path, _HEAD)
    except UNREADABLE:
        return None
    for pattern, what, remedy in _PROGRAMS:
        if re.search(pattern, head):
            return f"is {what}, which is not read; {remedy}"
    return None


def instead_of_folder(folder: Path) -> str:
    """Say how to name what lies in a folder, behind a semicolon; nothing for an empty one."""
    if any(folder.glob("*/type.raw")):
        return f"; for the systems of DeePMD-kit in it give {folder}/*"
    suffixes = Counter(file.suffix for file in folder.glob("*") if file.is_file())
    return "".join(f"; for its files give {folder}/*{one}" for one, _ in suffixes.most_common(1))


def refuse_no_positions(path: Path) -> None:
    """Raise UserError for forces or velocities that CP2K writes like an XYZ of positions."""
    found = _NO_POSITIONS.search(path.name)
    if found and _STEP.match(text_of(path, _HEAD)):
        what = "forces" if found[1] == "frc" else "velocities"
        raise UserError(
            f"{path} holds {what} of CP2K and no positions; give the -pos-1.xyz of the run"
        )
