"""Files as people have them, one of a kind each: understood, refused by name, or doubted aloud.

Each was read as something else without a word before. `says` stands in the error, in `reading` or
in the source of a charge.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from molequi.structures.inputs import read_inputs

OH = "O 0.0 0.0 0.0\nH 0.0 0.0 0.96\n"
BOHR = "O 0.0 0.0 0.0\nH 0.0 0.0 1.814\n"


def sdf(smiles: str) -> str:
    """The record of a molecule in space."""
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(molecule, randomSeed=1)
    return Chem.MolToMolBlock(molecule) + "$$$$\n"


def gaussian(route: str, rows: str, state: str = "0 2", rest: str = "") -> str:
    return f"# {route}\n\ntitle\n\n{state}\n{rows}\n{rest}"


def pdb(*occupancies: float) -> str:
    return "".join(
        f"HETATM    {i + 1}  O   HOH A   {i + 1}       {3.0 * i:.3f}   0.000   0.118  {o:.2f}  0.00"
        "           O\n"
        for i, o in enumerate(occupancies)
    )


MOL2 = (
    "@<TRIPOS>MOLECULE\nx\n2 1\nSMALL\nUSER_CHARGES\n@<TRIPOS>ATOM\n1 O1 0 0 0 O.3 1 A {0}\n"
    "2 H1 0 0 0.96 H 1 A 0.3\n@<TRIPOS>BOND\n1 1 2 1\n{1}"
)
CUBE = "a\nb\n2 0 0 0\n2 9 0 0\n2 0 9 0\n2 0 0 9\n8 8 0 0 0\n1 1 0 0 1.814\n" + " 0.0" * 8 + "\n"


class Case(NamedTuple):
    """A file, its text, what is said, and what is understood where it is not refused."""

    name: str
    text: str
    says: str
    charge: int | None = None  # None: refused
    multiplicity: int = 2
    height: float = 0.96  # Å, of the last atom along z


CASES = {
    "formula of an ion": Case("a.xyz", f"2\nOH-\n{OH}", "speaks of 'OH-'", 0),
    "SMILES of an ion": Case("a.xyz", f"2\n[OH-] step 3\n{OH}", "speaks of '[OH-]'", 0),
    "m beside q": Case("a.xyz", f"2\nq=-1 m=3\n{OH}", "q=-1", -1, 3),
    "a comment in JSON": Case("a.xyz", f'2\n{{"charge": -1, "spin": 3}}\n{OH}', "charge=-1", -1, 3),
    "units: bohr": Case("a.xyz", f"2\nunits: bohr\n{BOHR}", "another unit than Å ('units: bohr')"),
    "length_unit=nm": Case("a.xyz", f"2\nlength_unit=nm\n{OH}", "another unit than Å"),
    "coordinates in bohr": Case("a.xyz", f"2\nCoordinates in bohr\n{BOHR}", "another unit than Å"),
    "units=au": Case("a.xyz", f"2\nunits=au\n{BOHR}", "another unit than Å"),
    "fractional": Case("a.xyz", f"2\nfractional coordinates\n{OH}", "speaks of 'fractional'"),
    "a, b and c": Case("a.xyz", f"2\na=9.0 b=9.0 c=9.0 alpha=90\n{OH}", "a cell as a, b and c"),
    "cell parameters": Case("a.xyz", f"2\nabc: 9.0 9.0 9.0\n{OH}", "a cell under 'abc'"),
    "freeze flags": Case(
        "a.xyz", "2\n\nO -1 0.0 0.0 0.0\nH 0 0.0 0.0 0.96\n", "flags of frozen atoms"
    ),
    "no atoms": Case("a.xyz", "0\n\n", "the structure has no atoms"),
    "no comment line": Case("a.xyz", f"2\n{OH}H 0.0 0.9 -0.3\n", "is the row of an atom"),
    "1_0 is a number to Python": Case("a.xyz", "2\n\nO 1_0 0 0\nH 1_0 0 0.96\n", "digits with _"),
    "decimal commas in an SDF": Case("a.sdf", sdf("CCO").replace(".", ","), "has decimal commas"),
    "two records in one": Case(
        "a.sdf", sdf("CCO").replace("$$$$\n", "") + sdf("O"), "holds two molecules, as $$$$"
    ),
    "a lost charge": Case(
        "a.sdf",
        "".join(r for r in sdf("[NH4+]").splitlines(keepends=True) if "M  CHG" not in r),
        "by its bonds it is no molecule",
        0,
        height=0.642,
    ),
    "Gaussian in bohr": Case(
        "a.gjf", gaussian("hf units=au", BOHR, "-1 1"), "bohr, as the route says", -1, 1
    ),
    "Gaussian, units(bohr)": Case(
        "a.gjf", gaussian("hf units(bohr,deg)", BOHR, "-1 1"), "bohr, as the route says", -1, 1
    ),
    "Gaussian in radians": Case("a.gjf", gaussian("hf units=rad", OH), "angles in radians"),
    "point charges": Case(
        "a.gjf", gaussian("hf charge", OH, rest="\n3.0 0.0 0.0 -1.0\n"), "point charges", 0
    ),
    "ORCA": Case("a.inp", f"! HF Opt\n* xyz -1 1\n{OH}*\n", "the ORCA input", -1, 1),
    "ORCA in bohr": Case("a.inp", f"! HF Bohrs\n*xyz -1 1\n{BOHR}*\n", "bohr, as the input", -1, 1),
    "ORCA, fragments": Case(
        "a.inp", "!HF\n* XYZ -1 1 # ion\nO(1) 0 0 0\n\nH(2) 0 0 0.96\n*\n", "the ORCA input", -1, 1
    ),
    "ORCA, another file": Case("a.inp", "! HF\n* xyzfile -1 1 oh.xyz\n", "that of oh.xyz"),
    "ORCA, point charges": Case(
        "a.inp", f"! HF\n* xyz -1 1\n{OH}Q -0.8 0 0 3\n*\n", "'Q -0.8 0 0 3' in the geometry"
    ),
    "ORCA, no end": Case("a.inp", f"! HF\n* xyz -1 1\n{OH}", "has no end"),
    "ORCA, coords": Case("a.inp", "! HF\n%coords\n CTyp xyz\nend\n", "geometry in %coords"),
    "ORCA, internal": Case("a.inp", "! HF\n* int 0 1\nO 0 0 0 0 0 0\n*\n", "internal coordinates"),
    "charge of a half": Case("a.xyz", f"2\ncharge=0.5\n{OH}", "charge 0.5 (charge) is not a whole"),
    "monoanion": Case("a.xyz", f"2\nmonoanion of water\n{OH}", "speaks of 'monoanion'", 0),
    "MOL2 in a crystal": Case(
        "a.mol2", MOL2.format("-1.3", "@<TRIPOS>CRYSIN\n9 9 9 90 90 90 19 1\n"), "CRYSIN", -1, 1
    ),
    "MOL2 with odd charges": Case("a.mol2", MOL2.format("-0.9", ""), "add up to -0.600 e", 0),
    "Turbomole in Å": Case(
        "coord.tmol", "$coord angs\n 0 0 0 o\n 0 0 0.96 h\n$end\n", "as $coord angs says", 0
    ),
    "fractions of Turbomole": Case(
        "coord.tmol", "$coord frac\n 0 0 0 o\n 0 0 0.1 h\n$end\n", "($coord frac), which is not"
    ),
    "the charge in Turbomole's $eht": Case(
        "coord.tmol",
        "$coord\n 0 0 0 o\n 0 0 1.814 h\n$end\n$eht charge=-1 unpaired=0\n",
        "the program's file",
        -1,
        1,
    ),
    "the box of a cube": Case("a.cube", CUBE, "taken for no cell", 0),
    "occupancy 0": Case("a.pdb", pdb(1, 0), "1 atoms with an occupancy of 0", 0, 1, 0.118),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_nothing_is_read_as_something_else_without_a_word(tmp_path, case: Case) -> None:
    (tmp_path / case.name).write_text(case.text, encoding="utf-8")
    found = next(read_inputs(tmp_path / case.name))
    if case.charge is None:
        assert found.atoms is None
        assert case.says in found.error
        return
    atoms = found.require_atoms()
    told = [atoms.info.get(key, "") for key in ("reading", "charge_source")]
    assert any(case.says in text for text in told), told
    assert atoms.info["charge"] == case.charge
    assert atoms.info["spin_multiplicity"] == case.multiplicity
    assert atoms.positions[-1, 2] == pytest.approx(case.height, abs=2e-3)
    assert not atoms.pbc.any()


@pytest.mark.parametrize(
    "comment",
    [
        "zwitterion [NH3+]CC(=O)[O-]",
        "energy_unit=Hartree units=eV",
        "excited at 589 nm in water",
        "dipole in bohr*e r2=12 bohr^2",
        "scaled by 1.02, direct minimisation",
        "a=1 step",
        "SO4 TZ+ basis",
        "energy units: au",
        "C 12 30",
    ],
)
def test_other_words_of_a_comment_raise_no_doubt(tmp_path, comment: str) -> None:
    path = tmp_path / "a.xyz"
    path.write_text(f"3\n{comment}\n{OH}H 0.0 0.9 -0.3\n", encoding="utf-8")
    assert "reading" not in next(read_inputs(path)).require_atoms().info
