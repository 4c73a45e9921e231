"""Records of an SDF: drawings, coordinates, hydrogens, isotopes, radicals and charges."""

from __future__ import annotations

import re
from pathlib import Path

import ase
import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from molequi.structures.perception import labels_from_geometry
from molequi.structures.readers import read_structures


def block(rows: str, bonds: str = "", extra: str = "", mark: str = "3D") -> str:
    """A V2000 record: rows of `symbol x y z`, bonds of `first second order`."""
    atoms = [row.split() for row in rows.split(";")]
    ties = [row.split() for row in bonds.split(";") if row.strip()]
    lines = ["name", f"  program 0101260000{mark}", ""]
    lines.append(f"{len(atoms):3}{len(ties):3}  0     0  0  0  0  0  0999 V2000")
    for symbol, x, y, z in atoms:
        lines.append(f"{float(x):10.4f}{float(y):10.4f}{float(z):10.4f} {symbol:3} 0  0  0  0  0")
    lines += [f"{int(a):3}{int(b):3}{int(order):3}  0" for a, b, order in ties]
    return "\n".join([*lines, *extra.split(";"), "M  END", "$$$$", ""]).replace(
        "\n\nM  END", "\nM  END"
    )


def read(folder: Path, text: str, **options: bool) -> list[ase.Atoms | str]:
    (folder / "a.sdf").write_text(text)
    return [item for _, item in read_structures(folder / "a.sdf", **options)]


WATER = "O 0 0 0.1178; H 0 0.7555 -0.4712; H 0 -0.7555 -0.4712"


def drawing(smiles: str) -> str:
    """A flat record, which keeps groups of enhanced stereochemistry."""
    molecule = Chem.MolFromSmiles(smiles)
    AllChem.Compute2DCoords(molecule)
    return Chem.MolToV3KMolBlock(molecule) + "$$$$\n"


CROSS = "C 0 0 0; H {0} 0 0; H -{0} 0 0; H 0 {0} 0; H 0 -{0} 0"
FOUR = "1 2 1; 1 3 1; 1 4 1; 1 5 1"


@pytest.mark.parametrize(("length", "mark"), [(1.5, "2D"), (1.5, "  "), (1.5, "3D"), (1.09, "2D")])
def test_a_flat_drawing_with_all_hydrogens_becomes_a_geometry(
    tmp_path: Path, length: float, mark: str
) -> None:
    (methane,) = read(tmp_path, block(CROSS.format(length), FOUR, mark=mark))
    assert np.ptp(methane.positions, axis=0).min() > 1.0
    assert methane.get_distances(0, [1, 2, 3, 4]) == pytest.approx(1.09, abs=0.01)
    assert methane.info["geometry"].endswith("the record is a flat drawing")


@pytest.mark.parametrize("smiles", ["C/C=C\\[C@@H](O)C#N", "C/C=C/[C@@H](O)C#N"])
def test_a_drawing_says_how_its_double_bonds_stand(tmp_path: Path, smiles: str) -> None:
    (made,) = read(tmp_path, drawing(smiles))
    assert labels_from_geometry(made).smiles == Chem.CanonSmiles(smiles)
    assert "open_stereo" not in made.info
    assert "random" not in made.info["geometry"]


@pytest.mark.parametrize("smiles", ["CC=CC#N", "CC(O)C#N"])
def test_what_a_drawing_leaves_open(tmp_path: Path, smiles: str) -> None:
    """RDKit draws the double bond crossed, and the centre with plain bonds; a wavy one says so."""
    plain = drawing(smiles)
    for text in (plain, plain.replace("M  V30 1 1 1 2\n", "M  V30 1 1 2 1 CFG=2\n")):
        (made,) = read(tmp_path, text)
        assert re.fullmatch("C2=C3 [EZ]|C2 [RS]", made.info["open_stereo"])
        assert "configurations that are left open are random" in made.info["geometry"]


@pytest.mark.parametrize("mark", ["3D", "  "])
def test_a_planar_molecule_is_no_drawing(tmp_path: Path, mark: str) -> None:
    flat = "O 0.1178 0 0; H -0.4712 0.7555 0; H -0.4712 -0.7555 0"
    (water,) = read(tmp_path, block(flat, "1 2 1; 1 3 1", mark=mark))
    assert water.positions[0].tolist() == [0.1178, 0, 0]
    assert "geometry" not in water.info


def test_records_in_space_are_taken_as_they_stand(tmp_path: Path) -> None:
    """All bonds written single: nothing is added to a record that has hydrogens."""
    benzene = Chem.AddHs(Chem.MolFromSmiles("c1ccccc1"))
    AllChem.EmbedMolecule(benzene, randomSeed=1)
    single = Chem.RWMol(benzene)
    for bond in single.GetBonds():
        bond.SetBondType(Chem.BondType.SINGLE)
        bond.SetIsAromatic(False)
    for atom in single.GetAtoms():
        atom.SetIsAromatic(False)
    text = Chem.MolToMolBlock(single, kekulize=False) + "$$$$\n"
    for options in ({}, {"add_hydrogens": True}):
        (found,) = read(tmp_path, text, **options)
        assert found.get_chemical_formula() == "C6H6"
        expected = benzene.GetConformer().GetPositions()
        assert found.positions == pytest.approx(expected, abs=1e-4)
        assert "lacks 6 hydrogens" in found.info["reading"]


def test_no_bonds_are_coordinates(tmp_path: Path) -> None:
    (water,) = read(tmp_path, block(WATER))
    assert water.get_chemical_formula() == "H2O"
    (argon,) = read(tmp_path, block("O 0 0 0"))
    assert argon.get_chemical_formula() == "O"
    (carbon_dioxide,) = read(tmp_path, block("C 0 0 0; O 0 0 1.16; O 0 0 -1.16", "1 2 2; 1 3 2"))
    assert carbon_dioxide.get_chemical_formula() == "CO2"


@pytest.mark.parametrize(
    ("rows", "extra"),
    [
        (WATER, "M  ISO  3   1  18   2   2   3   2"),
        (WATER.replace("H", "D").replace("O 0", "O 0"), "M  ISO  1   1  18"),
    ],
)
def test_isotopes_reach_the_masses(tmp_path: Path, rows: str, extra: str) -> None:
    (water,) = read(tmp_path, block(rows, "1 2 1; 1 3 1", extra))
    assert water.get_chemical_formula() == "H2O"
    assert water.get_masses() == pytest.approx([17.99916, 2.0141018, 2.0141018], abs=1e-5)


def test_isotopes_of_v3000_and_smiles(tmp_path: Path) -> None:
    heavy = Chem.AddHs(Chem.MolFromSmiles("[13CH4]"))
    AllChem.EmbedMolecule(heavy, randomSeed=1)
    (found,) = read(tmp_path, Chem.MolToV3KMolBlock(heavy) + "$$$$\n")
    assert found.get_masses()[0] == pytest.approx(13.003355, abs=1e-5)
    (tmp_path / "a.smi").write_text("[2H]O[2H] heavy water\n")
    ((_, water),) = read_structures(tmp_path / "a.smi")
    assert sorted(water.get_masses()) == pytest.approx([2.0141018, 2.0141018, 15.999], abs=1e-5)


CH2 = "C 0 0 0.1; H 0 0.9 -0.5; H 0 -0.9 -0.5"


@pytest.mark.parametrize(("radical", "multiplicity"), [(1, 1), (3, 3)])
def test_radicals_of_a_carbene(tmp_path: Path, radical: int, multiplicity: int) -> None:
    (found,) = read(tmp_path, block(CH2, "1 2 1; 1 3 1", f"M  RAD  1   1   {radical}"))
    assert found.info["spin_multiplicity"] == multiplicity
    molecule = Chem.MolFromMolBlock(
        block(CH2, "1 2 1; 1 3 1", "M  RAD  1   1   3"), removeHs=False, sanitize=False
    )
    v3000 = Chem.MolToV3KMolBlock(molecule).replace("RAD=3", f"RAD={radical}")
    assert f"RAD={radical}" in v3000
    (found,) = read(tmp_path, v3000 + "$$$$\n")
    assert found.info["spin_multiplicity"] == multiplicity


def test_a_doublet_and_a_charge(tmp_path: Path) -> None:
    (found,) = read(tmp_path, block("O 0 0 0; H 0 0 1", "1 2 1", "M  RAD  1   1   2"))
    assert (found.info["charge"], found.info["spin_multiplicity"]) == (0, 2)
    assert found.info["multiplicity_source"] == "the radicals of the atoms"
    (found,) = read(tmp_path, block("O 0 0 0; H 0 0 1", "1 2 1", "M  CHG  1   1  -1"))
    assert (found.info["charge"], found.info["spin_multiplicity"]) == (-1, 1)
    assert found.info["charge_source"] == "the formal charges of the atoms"
    field = "M  END\n> <charge>\n0\n"
    text = block("O 0 0 0; H 0 0 1", "1 2 1", "M  CHG  1   1  -1").replace("M  END", field)
    (found,) = read(tmp_path, text)
    assert "charge=0 says 0, the formal charges of the atoms says -1" in found


def test_one_damaged_record_costs_only_itself(tmp_path: Path) -> None:
    good = block(WATER, "1 2 1; 1 3 1")
    bad = good.replace("  1  2  1  0", "  1 99  1  0")
    first, broken, empty, last = read(tmp_path, good + bad + "x\n\n\n" + "  0  0\n$$$$\n" + good)
    assert len(first) == len(last) == 3
    assert broken == "record 2 cannot be read as an SDF molecule"
    assert empty.startswith("record 3")
    latin = good.replace("name", "Wässer").encode("latin-1")
    (tmp_path / "a.sdf").write_bytes(latin)
    ((_, found),) = read_structures(tmp_path / "a.sdf")
    assert found.info["name"] == "Wässer"


@pytest.mark.parametrize("order", [0, 5, 8])
def test_bonds_without_an_order(tmp_path: Path, order: int) -> None:
    """A drawing needs them, coordinates do not."""
    ties = FOUR.replace("1 2 1", f"1 2 {order}")
    (drawn,) = read(tmp_path, block(CROSS.format(1.5), ties, mark="2D"))
    reason = "the bond of atoms 1 and 2 has no order"
    assert drawn == f"record 1 is a flat drawing that cannot be made into a geometry: {reason}"
    (methane,) = read(tmp_path, block(CROSS.format(1.09), ties))
    assert len(methane) == 5 and reason in methane.info["reading"]


def test_valences_that_nothing_can_be_made_of(tmp_path: Path) -> None:
    text = block(CROSS.format(1.5), FOUR, mark="2D").splitlines()
    text[4] = text[4][:39] + "999999999999999999999"  # over the column of the valence
    (found,) = read(tmp_path, "\n".join([*text, ""]))
    assert "RDKit makes nothing of its valences" in found


@pytest.mark.parametrize("cell", ["nan", "", "NA"])
def test_fields_that_say_nothing(tmp_path: Path, cell: str) -> None:
    """RDKit writes nan for an empty cell of a table."""
    fields = f">  <charge>  (1)\n{cell}\n\n>  <mult>  (1)\n{cell}\n\n>  <y>\n5\n\n$$$$"
    (atoms,) = read(tmp_path, block(WATER).replace("$$$$", fields))
    assert isinstance(atoms, ase.Atoms)
    assert (atoms.info["charge"], atoms.info["spin_multiplicity"], atoms.info["y"]) == (0, 1, 5)
