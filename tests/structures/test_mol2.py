"""MOL2 files, against what RDKit reads from them."""

from __future__ import annotations

from pathlib import Path

import pytest
from rdkit import Chem

from molequi.structures.readers import read_structures

WATER = """# a comment
@<TRIPOS>MOLECULE
water
3 2 0 0 0
SMALL
GASTEIGER

@<TRIPOS>ATOM
      1 O1  0.0000 0.0000 0.1178 O.3 1 WAT -0.82
      2 H1  0.0000 0.7555 -0.4712 H 1 WAT 0.41
      3 H2  0.0000 -0.7555 -0.4712 H 1 WAT 0.41
@<TRIPOS>BOND
     1 1 2 1
     2 1 3 1
"""
CHLORIDE = """@<TRIPOS>MOLECULE
*****
2 1
SMALL
USER_CHARGES
@<TRIPOS>ATOM
1 CL 0 0 0 Cl 1 X -0.9
2 H 0 0 1.3 H 1 X -0.1
@<TRIPOS>BOND
1 1 2 1
"""


def test_molecules_and_their_charges(tmp_path: Path) -> None:
    (tmp_path / "a.mol2").write_text(WATER + "\n" + CHLORIDE)
    water, ion = (item for _, item in read_structures(tmp_path / "a.mol2"))
    reference = Chem.MolFromMol2Block(WATER, removeHs=False)
    assert water.numbers.tolist() == [atom.GetAtomicNum() for atom in reference.GetAtoms()]
    assert water.positions == pytest.approx(reference.GetConformer().GetPositions())
    assert (water.info["name"], water.info["charge"]) == ("water", 0)
    assert ion.get_chemical_symbols() == ["Cl", "H"]
    assert (ion.info["charge"], ion.info["charge_source"]) == (
        -1,
        "the sum of the charges of the MOL2 file",
    )
    assert "name" not in ion.info


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("O.3", "Du", "line 9: the atom cannot be read ('Du' is no element symbol"),
        ("0.1178", "here", "line 9: the atom cannot be read (could not convert"),
        (" O.3 1 WAT -0.82", "", "line 9: the atom cannot be read (list index"),
        ("-0.82", "nan", "line 9: the atom cannot be read (its charge is nan e)"),
        ("-0.82", "1e300", "line 9: the atom cannot be read (its charge is 1e+300 e)"),
    ],
)
def test_damaged_molecules(tmp_path: Path, old: str, new: str, message: str) -> None:
    (tmp_path / "a.mol2").write_text(WATER.replace(old, new) + CHLORIDE)
    bad, good = (item for _, item in read_structures(tmp_path / "a.mol2"))
    assert bad.startswith(message)
    assert len(good) == 2


def test_charges_that_say_nothing(tmp_path: Path) -> None:
    for old, new in (("GASTEIGER", "NO_CHARGES"), ("-0.82", "-0.62")):
        (tmp_path / "a.mol2").write_text(WATER.replace(old, new))
        ((_, water),) = read_structures(tmp_path / "a.mol2")
        assert water.info["charge_source"].startswith("assumed")
    (tmp_path / "a.mol2").write_text("@<TRIPOS>MOLECULE\nempty\n0 0\n")
    ((_, empty),) = read_structures(tmp_path / "a.mol2")
    assert empty == "the molecule 'empty' has no atoms"


def typed(*types: str) -> str:
    """Fluorobenzene's first atoms, with their types."""
    rows = [f"{n} {name} {n}.0 0.0 0.0 {kind} 1 MOL 0.0" for n, (name, kind) in enumerate(
        zip(("F1", "C2", "CL3", "C4", "O5"), types, strict=True), start=1
    )]  # fmt: skip
    return "\n".join(
        ["@<TRIPOS>MOLECULE", "m", "5 0", "SMALL", "bcc", "", "@<TRIPOS>ATOM", *rows, ""]
    )


def test_types_of_force_fields(tmp_path: Path) -> None:
    """Antechamber writes GAFF's by default, and Amber's are capitals: ca and CA are no calcium."""
    path = tmp_path / "a.mol2"
    for types in (("f", "ca", "cl", "cd", "os"), ("F", "C.ar", "CL", "C.3", "O.3")):
        path.write_text(typed(*types))
        ((_, atoms),) = read_structures(path)
        assert atoms.get_chemical_symbols() == ["F", "C", "Cl", "C", "O"]
    path.write_text(typed("F", "CA", "Cl", "CA", "OS"))
    ((_, found),) = read_structures(path)
    assert "the type CA of C2 is none of SYBYL; write these, antechamber -at sybyl" in found
