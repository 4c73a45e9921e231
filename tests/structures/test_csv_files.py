"""Tables as structures: SMILES by name or content, names, cells that say nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from molequi.errors import UserError
from molequi.structures.csv_files import find_smiles_column, table_lines
from molequi.structures.inputs import read_inputs


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("columns", "wanted", "found", "is_guess"),
    [
        ("id,SMILES,x", None, "SMILES", False),
        ("id,std_smiles,x", None, "std_smiles", False),
        ("id,Smi,x", "smi", "Smi", False),
        ("id,drug,x", None, "drug", True),
        ("id,drug,x", "drug", "drug", False),
    ],
)
def test_column_with_smiles(
    tmp_path: Path, columns: str, wanted: str | None, found: str, is_guess: bool
) -> None:
    path = write(tmp_path / "a.csv", f"{columns}\n1,CC(=O)O,C\n2,c1ccccc1,\n3,N#N,5\n")
    assert find_smiles_column(path, columns.split(","), wanted)[:2] == (found, is_guess)
    with pytest.raises(UserError, match="has no column 'gap' for SMILES; its columns are id"):
        find_smiles_column(path, columns.split(","), "gap")


def test_no_column_of_names_is_taken_for_smiles(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "name,value\nethane,1\nwater,2\n")
    with pytest.raises(UserError, match="no column is named smiles"):
        list(table_lines(path))


def test_lines_are_structures_with_their_columns(tmp_path: Path) -> None:
    lines = ["0,acetate,CC(=O)[O-],-1", "1,,CC=C,n/a", "2,x,C(,", "3,y,CCO,", "4,z,CCN,", "5,,CO,"]
    path = write(tmp_path / "a.csv", "\n".join([",Name,drug,charge", *lines]))
    anion, propene, broken, *_ = read_inputs(path)
    assert anion.columns == {"": "0", "Name": "acetate", "drug": "CC(=O)[O-]", "charge": "-1"}
    assert anion.require_atoms().info["name"] == "acetate"
    assert anion.require_atoms().info["charge"] == -1
    assert "SMILES from the column 'drug'" in anion.labels()["reading"]
    assert propene.require_atoms().get_chemical_formula() == "C3H6"
    assert "name" not in propene.require_atoms().info
    assert broken.atoms is None
    assert broken.columns is not None
    assert broken.columns["Name"] == "x"
    assert "cannot be read" in str(broken.error)


def test_inchi_is_read_too(tmp_path: Path) -> None:
    ethanol = "InChI=1S/C2H6O/c1-2-3/h3H,2H2,1H3"
    path = write(tmp_path / "a.csv", f'name,InChI\nethanol,"{ethanol}"\nhalf,InChI=1S/C2\n')
    whole, half = read_inputs(path)
    assert whole.require_atoms().get_chemical_formula() == "C2H6O"
    assert whole.require_atoms().info["smiles"] == "CCO"
    assert "cannot be read; check that it is whole" in str(half.error)


def test_fields_of_an_sdf_are_columns(tmp_path: Path) -> None:
    from rdkit import Chem
    from rdkit.Chem import AllChem

    molecule = Chem.AddHs(Chem.MolFromSmiles("CO"))
    AllChem.EmbedMolecule(molecule, randomSeed=1)
    molecule.SetProp("_Name", "methanol")
    text = Chem.MolToMolBlock(molecule) + ">  <pKa>\n15.5\n\n$$$$\nbroken\n$$$$\n"
    good, bad = read_inputs(write(tmp_path / "a.sdf", text))
    assert good.columns == {"name": "methanol", "pKa": "15.5"}
    assert bad.columns == {}
    assert bad.error is not None


def test_a_table_without_a_heading(tmp_path: Path) -> None:
    """Its first molecule would be lost."""
    for text in ("ethanol,CCO\nmethanol,CO\nethane,CC\n", "CCO\nCO\nCC\n"):
        with pytest.raises(UserError, match="first line seems to be no heading, as 'CCO' is a"):
            list(table_lines(write(tmp_path / "a.csv", text)))


def test_isomeric_smiles_come_first(tmp_path: Path) -> None:
    head = "CID,CanonicalSMILES,IsomericSMILES"
    path = write(tmp_path / "a.csv", f"{head}\n1,CC=CC,C/C=C/C\n2,CC=CO,C/C=C\\O\n")
    lines = list(table_lines(path))
    assert [line.smiles for line in lines] == ["C/C=C/C", "C/C=C\\O"]
    assert "'IsomericSMILES', and not from 'CanonicalSMILES'" in lines[0].note
    for names, first in (
        ("nonisomeric_smiles,smiles", "smiles"),
        ("canonical_smiles,SMILES", "SMILES"),
    ):
        assert find_smiles_column(path, names.split(",")).name == first
