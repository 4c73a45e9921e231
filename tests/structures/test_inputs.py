"""Structures of an input: the atoms that are there, and the reason where there are none."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import write

from molequi.errors import UserError
from molequi.structures.inputs import first_atoms, one_structure, read_inputs
from molequi.structures.structure import Structure


def test_atoms_are_required_by_name():
    water = molecule("H2O")
    assert Structure("a.xyz", 0, water).require_atoms() is water
    with pytest.raises(UserError, match=r"structure 3 of a\.xyz: no bonds"):
        Structure("a.xyz", 3, None, error="no bonds").require_atoms()


def test_first_atoms_are_a_copy(tmp_path):
    water = molecule("H2O")
    water.info["charge"] = 0
    copy = first_atoms(water)
    copy.positions += 1.0
    assert np.abs(water.positions).max() < 1.0
    water.write(tmp_path / "water.xyz")
    read = first_atoms(tmp_path / "water.xyz")
    assert isinstance(read, Atoms)
    np.testing.assert_allclose(read.positions, water.positions, atol=1e-7)


def test_what_takes_one_structure_says_that_a_file_has_more(tmp_path, caplog):
    for name, n_frames in (("one.xyz", 1), ("two.xyz", 2)):
        write(tmp_path / name, [molecule("H2O"), molecule("CH4")][:n_frames])
        (tmp_path / name).with_suffix(".smi").write_text("O\nC\n"[: 2 * n_frames])
    for suffix in ("xyz", "smi"):
        assert one_structure(tmp_path / f"one.{suffix}").atoms.get_chemical_formula() == "H2O"
        assert not caplog.records
        assert one_structure(tmp_path / f"two.{suffix}").atoms.get_chemical_formula() == "H2O"
        assert f"two.{suffix} holds more than one structure; the first is taken" in caplog.text
        caplog.clear()


def test_a_file_or_a_smiles_but_not_both():
    with pytest.raises(UserError, match="not both"):
        one_structure("a.xyz", smiles="C")


def test_one_bad_file_costs_only_itself(tmp_path):
    molecule("H2O").write(tmp_path / "a.xyz")
    (tmp_path / "bad.cif").write_text("nothing of a crystal")
    (tmp_path / "empty.xyz").write_text("")
    (tmp_path / "cut.sdf.gz").write_bytes(b"\x1f\x8b\x08\x00")
    (tmp_path / "unknown.doc").write_text("hello")
    names = ["a.xyz", "bad.cif", "empty.xyz", "cut.sdf.gz", "unknown.doc", "a.xyz"]
    found = list(read_inputs([tmp_path / name for name in names], smiles="C"))
    assert [item.atoms is not None for item in found] == [True, *[False] * 4, True, True]
    bad, empty, cut, unknown = (
        item.error.removeprefix(f"{tmp_path / name} ")
        for item, name in zip(found[1:5], names[1:5], strict=True)
    )
    assert bad.startswith("cannot be read (") or bad == "holds no structures"
    assert empty == "holds no structures"
    assert cut.startswith("cannot be read as text")
    assert unknown.startswith("has a format that ASE does not know")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.zip", "is an archive; unpack it first"),
        ("a.h5", "is HDF5, which has no layout of its own"),
        ("a.npz", "`train`, `evaluate` and `label` read"),
        ("a.db.gz", "is compressed; this kind of file is read as it is: unpack it first"),
        ("a.aselmdb", "pip install ase-db-backends"),
    ],
)
def test_files_that_are_not_read_say_what_to_do(tmp_path, name, words):
    (tmp_path / name).write_bytes(b"\0\1")
    (item,) = read_inputs(tmp_path / name)
    assert words in item.error


@pytest.mark.parametrize("name", ["a@300K.pdb", "b@.cif", "c@2.traj", "d@x.json", "e@1.db"])
def test_an_at_sign_is_part_of_the_name(tmp_path, name):
    ethanol = molecule("CH3CH2OH", vacuum=3.0)
    write(tmp_path / name, ethanol)
    (item,) = read_inputs(tmp_path / name)
    assert item.require_atoms().get_chemical_formula() == "C2H6O"


def test_where_charge_and_geometry_come_from_is_a_label():
    (item,) = read_inputs((), smiles="[NH4+]")
    assert item.atoms.info["charge_source"] == "the formal charges of the atoms"
    assert item.labels()["geometry"].startswith("ETKDGv3")


def test_structures_read_before_go_through():
    water = molecule("H2O")
    water.info["charge_source"], water.info["charge"] = "a note", 1
    read = Structure("a.xyz", 3, water)
    (again,) = read_inputs(read)
    assert (again.source, again.index, again.atoms.info["charge_source"]) == ("a.xyz", 3, "a note")
    (charged,) = read_inputs([read], charge=-1)
    assert charged.atoms.info["charge"] == -1
    assert water.info["charge"] == 1
    broken = Structure("a.xyz", 4, None, "why")
    assert list(read_inputs([broken])) == [broken]


def test_a_smiles_file_with_extensions_and_names(tmp_path):
    path = tmp_path / "a.smi"
    path.write_text("CC |^1:0| ethyl radical\nCC ethane\n# none\n\n C\t|$;$| \nC |a\n")
    found = [item.require_atoms() for item in read_inputs(path)]
    assert [len(atoms) for atoms in found] == [7, 8, 5, 5]
    names = [atoms.info.get("name") for atoms in found]
    assert names == ["ethyl radical", "ethane", None, "|a"]
    assert found[0].info["spin_multiplicity"] == 2


@pytest.mark.parametrize("heading", ["SMILES Name", "smiles zinc_id", "inchi"])
def test_a_heading_above_smiles_is_none_of_them(tmp_path, heading):
    """RDKit's writer and ZINC put one."""
    (tmp_path / "a.smi").write_text(f"{heading}\nCCO a\nCO b\n")
    found = [item.require_atoms() for item in read_inputs(tmp_path / "a.smi")]
    assert [atoms.info["name"] for atoms in found] == ["a", "b"]


def test_conformers_of_coordinates_are_none(tmp_path, caplog):
    write(tmp_path / "a.xyz", [molecule("H2O")] * 3)
    assert len(list(read_inputs(tmp_path / "a.xyz", conformers=5))) == 3
    (line,) = [record.getMessage() for record in caplog.records]
    assert "a.xyz has coordinates, which are taken as they are" in line


@pytest.mark.parametrize("bad", [None, float("nan"), 3])
def test_a_cell_without_a_smiles_costs_only_itself(bad):
    found = list(read_inputs(smiles=["CCO", bad, "CCN"], conformers=2))
    assert [item.error for item in found if item.atoms is None] == [
        f"the SMILES is {bad!r}, which is no text; write such as CCO"
    ]
    assert [item.source for item in found] == ["CCO", "CCO", str(bad), "CCN", "CCN"]


@pytest.mark.parametrize("bad", [None, 3, b"CCO"])
def test_what_is_no_structure_and_no_list_is_named(bad):
    named = f"is of type {type(bad).__name__}; give a"
    with pytest.raises(UserError, match=f"the input {named} structure file, - for"):
        read_inputs(bad)
    with pytest.raises(UserError, match=f"smiles {named} text or a list"):
        read_inputs(smiles=bad)
    with pytest.raises(UserError, match=f"an input {named} structure file"):
        read_inputs([molecule("H2O"), bad])


def test_every_conformer_has_a_seed():
    with pytest.raises(UserError, match="seed is 2147483647; .* from 0 to 2,147,483,646"):
        read_inputs(smiles="C", conformers=2, seed=2**31 - 1)
