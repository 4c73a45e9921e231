"""A chemist's own table: columns, fields, failures by line."""

from __future__ import annotations

import bz2
import gzip
import lzma
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import units
from ase.build import molecule
from rdkit import Chem
from rdkit.Chem import AllChem

from molequi.datasets.formats.tables import inspect_table, read_table
from molequi.errors import UserError
from molequi.properties import PROPERTIES, declare
from molequi.structures.molecules import atoms_from_smiles

GAP = PROPERTIES["gap"]
TOXIC = declare("toxic", unit="1", binary=True)
MELTING = declare("melting_point", unit="K", aliases=["mp"])
SHIFTS = declare("shift", unit="ppm", per_atom=True)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_csv_with_smiles(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.csv", "id,smiles,gap,toxic,mp\n1,CCO,5.1,yes,159\n2,O,8.2,No,273.15\n"
    )
    table = read_table(path, [GAP, TOXIC, MELTING])
    frames = table.frames
    assert frames.n_atoms.tolist() == [9, 3]
    assert frames.targets["gap"].tolist() == [5.1, 8.2]
    assert frames.targets["toxic"].tolist() == [1.0, 0.0]
    assert frames.targets["melting_point"].tolist() == [159.0, 273.15]
    assert frames.source == ("a.csv:2", "a.csv:3")
    assert frames.positions[:9].numpy() == pytest.approx(atoms_from_smiles("CCO", 0).positions)
    assert table.notes["geometry"] == "ETKDGv3 + MMFF94, seed 0"
    assert [(row.key, row.where) for row in table.report.rows] == [
        ("gap", "column"),
        ("toxic", "column"),
        ("mp", "column"),
    ]
    assert table.failures == ()


@pytest.mark.parametrize(("name", "separator"), [("a.csv", ";"), ("a.csv", "\t"), ("a.tsv", "\t")])
def test_separators_names_and_units(tmp_path: Path, name: str, separator: str) -> None:
    path = write(
        tmp_path / name,
        separator.join(["Structure", "E_gap"]) + "\n" + separator.join(["C", "0.5048"]) + "\n",
    )
    table = read_table(path, [GAP], keys={"gap": "E_gap"}, units={"gap": "Ha"}, smiles="Structure")
    assert table.frames.targets["gap"].tolist() == pytest.approx([0.5048 * units.Hartree])
    with gzip.open(tmp_path / f"{name}.gz", "wt") as handle:
        handle.write(path.read_text())
    again = read_table(
        tmp_path / f"{name}.gz",
        [GAP],
        keys={"gap": "E_gap"},
        units={"gap": "Ha"},
        smiles="Structure",
    )
    assert again.frames.targets["gap"].tolist() == table.frames.targets["gap"].tolist()


def test_seed_places_the_conformers(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "smiles,gap\nCCCCO,5\n")
    first, again, other = (read_table(path, [GAP], seed=seed) for seed in (7, 7, 8))
    assert np.array_equal(first.frames.positions, again.frames.positions)
    assert not np.allclose(first.frames.positions, other.frames.positions)
    assert str(other.notes["geometry"]).endswith("seed 8")


def test_failures_are_listed_by_line_and_others_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(
        tmp_path / "a.csv",
        "smiles,gap,toxic\nCCO,5,1\nC1CC,3,0\nCC,abc,0\n,2,1\nO,,yes\nC,4,perhaps\nN,6,\n",
    )
    table = read_table(path, [GAP, TOXIC])
    assert table.frames.source == ("a.csv:2", "a.csv:6", "a.csv:8")
    assert table.frames.targets["gap"].isnan().tolist() == [False, True, False]
    assert table.frames.targets["toxic"].isnan().tolist() == [False, False, True]
    lines = [failure.split(": ", 1) for failure in table.failures]
    assert [line for line, _ in lines] == ["a.csv:3", "a.csv:4", "a.csv:5", "a.csv:7"]
    assert "cannot be read" in lines[0][1]
    assert lines[1][1] == "gap='abc' cannot be read as 'gap' (a number)"
    assert lines[2][1] == "the column 'smiles' is empty"
    assert lines[3][1] == "toxic='perhaps' cannot be read as 'toxic' (0 or 1, yes or no)"
    assert "skipped a.csv:4" in caplog.text


def test_smiles_are_found_by_name_or_by_content(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="molequi")
    text = "kind,drug,gap\nN,CCO,5.1\nC,CC(=O)O,8.2\n"
    guessed = read_table(write(tmp_path / "a.csv", text), [GAP]).frames
    assert guessed.n_atoms.tolist() == [9, 8]
    said = "SMILES from the column 'drug', by its content, and not from 'kind'"
    assert said in caplog.text
    named = read_table(write(tmp_path / "b.csv", text.replace("drug", "SMILES")), [GAP]).frames
    assert np.array_equal(named.positions, guessed.positions)


def test_cells_of_structures_and_their_smiles(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "id,SMILES,gap,year\nx,CCO,5.1,2021\ny,O,8.2,n/a\n")
    first, second = read_table(path, [GAP]).cells
    assert {"id": "x", "smiles": "CCO", "gap": "5.1", "year": "2021"}.items() <= first.items()
    assert "year" not in second
    assert list(first) == ["smiles", "id", "gap", "year"]  # nothing that the reader noted
    records = [
        sdf_record("C[C@H](O)N", {"gap": "5"}),
        sdf_record("C[NH3+]", {"gap": "6"}, flat=True),
    ]
    cells = read_table(write(tmp_path / "a.sdf", "".join(records)), [GAP]).cells
    assert [entry["smiles"] for entry in cells] == ["CC(N)O", "C[NH3+]"]


def test_missing_columns_name_those_that_are_there(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "name,smiles,tm\nx,C,1\n")
    with pytest.raises(
        UserError,
        match="no column for the target 'gap'; name it with data.keys.gap=COLUMN; columns: name, "
        "smiles, tm",
    ):
        read_table(path, [GAP])
    with pytest.raises(
        UserError, match="has no column 'SMI' for SMILES; its columns are name, smiles, tm"
    ):
        read_table(path, [GAP], smiles="SMI")
    other = write(tmp_path / "b.csv", "name,structure,gap\nx,ethane,1\n")
    with pytest.raises(
        UserError,
        match=r"no column is named smiles; give the one with SMILES that heading \(a training "
        r"takes data.smiles=COLUMN instead\); the columns are name, structure, gap",
    ):
        read_table(other, [GAP])
    with pytest.raises(UserError, match=r"none of 1 lines can be used; the first: c\.csv:2"):
        read_table(write(tmp_path / "c.csv", "smiles,gap\nC(C,1\n"), [GAP])
    with pytest.raises(UserError, match="the file is empty"):
        read_table(write(tmp_path / "d.csv", "smiles,gap\n"), [GAP])
    with pytest.raises(UserError, match="does not exist"):
        read_table(tmp_path / "none.csv", [GAP])


@pytest.mark.parametrize("row", [PROPERTIES["dipole"], PROPERTIES["polarizability"], SHIFTS])
def test_smiles_have_neither_axes_nor_atom_order(tmp_path: Path, row: object) -> None:
    path = write(tmp_path / "a.csv", f"smiles,{row.name}\nC,1 2 3\n")
    with pytest.raises(
        UserError,
        match="has only SMILES, where the order of atoms and the axes are arbitrary; give an SDF "
        "or extxyz file",
    ):
        read_table(path, [row])


def sdf_record(smiles: str, fields: dict[str, str], *, flat: bool = False) -> str:
    mol = Chem.MolFromSmiles(smiles)
    if flat:
        AllChem.Compute2DCoords(mol)
    else:
        mol = Chem.AddHs(mol)
        AllChem.EmbedMolecule(mol, randomSeed=1)
    return (
        Chem.MolToMolBlock(mol)
        + "".join(f">  <{name}>\n{value}\n\n" for name, value in fields.items())
        + "$$$$\n"
    )


def test_sdf_fields_scalars_vectors_tensors_and_atoms(tmp_path: Path) -> None:
    tensor = np.arange(9.0)
    fields = {
        "gap": "8.5",
        "mu_x": "1",
        "mu_y": "2",
        "mu_z": "3",
        "dipole": "1 2 3",
        "shift": "[1, 2, 3]",
        "toxic": "no",
        "polarizability": ";".join(map(str, tensor)),
    }
    first = sdf_record("O", fields)
    second = sdf_record(
        "N",
        {
            "gap": "7.5",
            "dipole_x": "0",
            "dipole_y": "-1",
            "dipole_z": "0.5",
            "shift": "4 3 2 1",
            "toxic": "true",
        },
    )
    path = write(tmp_path / "a.sdf", first + second)
    table = read_table(
        path, [GAP, TOXIC, PROPERTIES["dipole"], PROPERTIES["polarizability"], SHIFTS]
    )
    frames = table.frames
    assert frames.targets["gap"].tolist() == [8.5, 7.5]
    assert frames.targets["toxic"].tolist() == [0.0, 1.0]
    assert frames.targets["dipole"].tolist() == [[1, 2, 3], [0, -1, 0.5]]
    assert frames.targets["polarizability"][0].tolist() == tensor.reshape(3, 3).tolist()
    assert frames.targets["polarizability"][1].isnan().all()
    assert frames.targets["shift"].tolist() == [1, 2, 3, 4, 3, 2, 1]
    assert table.report.rows[0].where == "field"


def test_a_drawing_takes_scalars_but_no_vectors(tmp_path: Path) -> None:
    text = sdf_record("CCO", {"gap": "5", "dipole": "1 0 0"}, flat=True) + sdf_record(
        "O", {"gap": "8", "dipole": "0 1 0"}
    )
    path = write(tmp_path / "a.sdf", text)
    assert read_table(path, [GAP]).frames.n_atoms.tolist() == [9, 3]
    table = read_table(path, [GAP, PROPERTIES["dipole"]])
    assert table.frames.n_atoms.tolist() == [3]
    assert "the record has no coordinates of its own" in table.failures[0]


def test_labelled_frames_are_a_table_too(tmp_path: Path) -> None:
    structures = [molecule("H2O"), molecule("CH4"), molecule("NH3")]
    for index, atoms in enumerate(structures):
        atoms.info["melting_point"] = 100.0 + index
    ase.io.write(tmp_path / "a.extxyz", structures)
    text = (tmp_path / "a.extxyz").read_text().splitlines()
    text[7] = "C broken"
    path = write(tmp_path / "a.extxyz", "\n".join(text) + "\n")
    table = read_table(path, [MELTING])
    assert table.frames.targets["melting_point"].tolist() == [100.0, 102.0]
    assert table.failures[0].startswith("a.extxyz:1: line 6")
    assert "geometry" not in table.notes


def test_charges_come_from_the_smiles(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "a.csv", "smiles,gap\n[NH4+],9\nCC(=O)[O-],4\n"), [GAP])
    assert table.frames.total_charge.tolist() == [1, -1]


def test_bundled_table(checkout: Path, tmp_path: Path) -> None:
    lines = (checkout / "data" / "samples" / "gaps.csv").read_text().splitlines()
    assert len(lines) == 601
    table = read_table(write(tmp_path / "gaps.csv", "\n".join(lines[:6])), [GAP])
    assert len(table.frames) == 5
    assert (table.frames.targets["gap"] > 1.0).all()


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-8-sig"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_encodings_and_compression(tmp_path: Path, encoding: str, pack) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(pack("name,smiles,gap\nWässer,O,8.2\r\n".encode(encoding)))
    assert read_table(path, [GAP]).frames.targets["gap"].tolist() == [8.2]


@pytest.mark.parametrize(
    "text", ["smiles|gap\nO|8.2\n", "smiles gap\nO   8.2\n", "sep=;\nsmiles;gap\nO;8.2\n"]
)
def test_other_separators(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "a.csv", text)
    assert read_table(path, [GAP]).frames.targets["gap"].tolist() == [8.2]


def test_a_column_that_stands_twice_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "smiles,gap,gap\nO,8.2,-8.2\n")
    for read in (lambda: read_table(path, [GAP]), lambda: inspect_table(path)):
        with pytest.raises(UserError, match="more than one column named 'gap'"):
            read()
    write(path, "smiles,gap,,\nO,8.2,,\n")  # a spreadsheet's empty columns
    assert read_table(path, [GAP]).frames.targets["gap"].tolist() == [8.2]


def test_a_damaged_table_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(b"no gzip")
    for read in (lambda p: read_table(p, [GAP]), inspect_table):
        with pytest.raises(UserError, match="cannot be read as text"):
            read(tmp_path / "a.csv.gz")


def test_charges_of_a_column_against_the_smiles(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "smiles,gap,charge\nC[NH3+],5,1\nC[NH3+],5,1\n")
    assert read_table(path, [GAP]).frames.total_charge.tolist() == [1, 1]
    with pytest.raises(UserError, match=r"charge=0 says 0, the formal charges of the atoms says 1"):
        read_table(write(path, "smiles,gap,charge\nC[NH3+],5,0\n"), [GAP])


@pytest.mark.parametrize("heading", ["gap [Ha]", "Gap (Ha)", "gap(hartree)"])
def test_units_of_headings(tmp_path: Path, heading: str) -> None:
    path = write(tmp_path / "a.csv", f"smiles,{heading}\nC,0.5\nCC,0.25\n")
    expected = [0.5 * units.Hartree, 0.25 * units.Hartree]
    for keys in ({}, {"gap": heading}):
        found = read_table(path, [GAP], keys=keys).frames.targets["gap"]
        assert found.tolist() == pytest.approx(expected)
    given = read_table(path, [GAP], units={"gap": "eV"}).frames.targets["gap"]
    assert given.tolist() == [0.5, 0.25]
    (row,) = inspect_table(path).rows
    assert (row.name, row.maximum) == ("gap", pytest.approx(expected[0]))
    assert set(inspect_table(path).keys["columns"]) == {"smiles", heading}


def test_a_unit_of_something_else_in_a_heading(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "smiles,gap [K]\nC,0.5\n")
    with pytest.raises(UserError, match=r"the column 'gap \[K\]': unit 'K' does not measure"):
        read_table(path, [GAP])
    assert inspect_table(path).rows == ()
    assert list(inspect_table(path).unusable) == ["gap"]
    path = write(tmp_path / "a.csv", "smiles,gap (B3LYP)\nC,0.5\n")
    assert read_table(path, [GAP]).frames.targets["gap"].tolist() == [0.5]


def test_units_of_fields(tmp_path: Path) -> None:
    molecule = AllChem.AddHs(Chem.MolFromSmiles("C"))
    AllChem.EmbedMolecule(molecule, randomSeed=1)
    molecule.SetProp("gap [Ha]", "0.5")
    with Chem.SDWriter(str(tmp_path / "a.sdf")) as writer:
        writer.write(molecule)
    found = read_table(tmp_path / "a.sdf", [GAP]).frames.targets["gap"]
    assert found.tolist() == pytest.approx([0.5 * units.Hartree])


def test_smiles_are_those_of_the_geometry(tmp_path: Path) -> None:
    """Baselines, similarities and scaffolds are of the molecule that is learned."""
    path = write(tmp_path / "a.csv", "id,smiles,product,gap\n1,CCO,CC=O,5.1\n2,CO,C=O,5.4\n")
    table = read_table(path, [GAP], smiles="product")
    assert [row["smiles"] for row in table.cells] == ["CC=O", "C=O"]
    assert [row["smiles_of_file"] for row in table.cells] == ["CCO", "CO"]
    assert table.frames.n_atoms.tolist() == [7, 4]
