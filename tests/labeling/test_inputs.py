from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.io import write
from rdkit import Chem
from rdkit.Chem import AllChem

from molequi.datasets.chirality.alanine import load_alanine
from molequi.datasets.chirality.qm9_labels import known_smiles
from molequi.datasets.npz import save_npz
from molequi.datasets.qm9.qm9 import load_qm9
from molequi.errors import UserError
from molequi.labeling.inputs import constitution, constitution_of, gather, read_excluded, read_rows
from molequi.runtime.resources import data_path
from molequi.structures.molecules import atoms_from_smiles
from molequi.structures.structure import Structure

SETTINGS = {"charge": None, "seed": 0}


def test_hydrogens_are_added_where_asked(tmp_path):
    skeleton = Chem.MolFromSmiles("CC(C)O")
    AllChem.EmbedMolecule(skeleton, randomSeed=1)
    (tmp_path / "a.sdf").write_text(Chem.MolToMolBlock(skeleton) + "$$$$\n")
    path = str(tmp_path / "a.sdf")
    (refused,) = gather([path], [], rows=None, **SETTINGS)
    assert "none of its 8 hydrogens" in refused.error
    (found,) = gather([path], [], rows="0:1", **SETTINGS, add_hydrogens=True)
    assert found.require_atoms().get_chemical_formula() == "C3H8O"


def test_rows_of_a_range_and_of_a_file(tmp_path):
    assert read_rows("3:6").tolist() == [3, 4, 5]
    (tmp_path / "rows").write_text("7\n\n 2 \n")
    assert read_rows(str(tmp_path / "rows")).tolist() == [7, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("6:3", "neither a range such as"),
        ("3", "neither"),
        ("a:b", "neither"),
        ("1\nx\n", "line 2: 'x' is no number"),
        ("4\n4\n", "1 numbers twice"),
    ],
)
def test_wrong_rows(tmp_path, text, message):
    if "\n" in text:
        (tmp_path / "rows").write_text(text)
        text = str(tmp_path / "rows")
    with pytest.raises(UserError, match=message):
        read_rows(text)


def test_structures_of_files_are_numbered_from_0(tmp_path):
    path = tmp_path / "some.xyz"
    write(path, [molecule(name) for name in ("H2O", "CH4", "NH3")])
    found = gather([str(path)], [], rows="1:3", **SETTINGS)
    assert [(structure.index, structure.atoms.get_chemical_formula()) for structure in found] == [
        (1, "CH4"),
        (2, "H3N"),
    ]
    with pytest.raises(UserError, match=r"no structure 3; its 3 structures are numbered from 0"):
        gather([str(path)], [], rows="2:4", **SETTINGS)
    with pytest.raises(UserError, match=r"counts the structures of one INPUT"):
        gather([str(path), str(path)], [], rows="0:1", **SETTINGS)
    assert len(gather([str(path)], ["CCO"], rows=None, **SETTINGS)) == 4


def test_molecules_of_qm9_by_their_own_numbers(tmp_path):
    frames = load_qm9(data_path("samples/qm9_sample.npz")).frames
    number = int(frames.source[5].split()[1])
    (tmp_path / "rows").write_text(f"{number}\n{int(frames.source[2].split()[1])}\n")
    found = gather(["qm9_sample"], [], rows=str(tmp_path / "rows"), **SETTINGS)
    start, stop = int(frames.offsets[5]), int(frames.offsets[6])
    assert (found[0].index, found[0].atoms.info["gdb"]) == (number, number)
    assert np.array_equal(found[0].atoms.positions, frames.positions[start:stop].numpy())
    assert found[1].atoms.info["charge"] == 0
    with pytest.raises(UserError, match=r"qm9_sample has no number 134000 \(1 of the 1 rows\)"):
        gather(["qm9_sample"], [], rows="134000:134001", **SETTINGS)


def test_sets_other_than_qm9_have_neither_its_numbers_nor_its_smiles(tmp_path):
    np.savez(tmp_path / "qm9_extra.npz", index=np.arange(9), smiles=np.array(["C#C"] * 9))
    frames = load_alanine(data_path("samples/alanine.npz")).frames
    save_npz(frames.subset(torch.arange(5)), tmp_path / "mine.npz")
    for source in (str(tmp_path / "mine.npz"), "alanine_sample"):
        found = gather([source], [], rows="1:3", **SETTINGS)
        assert [structure.index for structure in found] == [1, 2]
        assert not {"gdb", "smiles"} & set(found[0].atoms.info)
        assert found[0].atoms.get_chemical_formula() == "C3H7NO2"


def test_smiles_of_qm9_stand_beside_it(tmp_path):
    np.savez(tmp_path / "qm9_extra.npz", index=np.array([4, 9]), smiles=np.array(["C#C", "CC#C"]))
    assert known_smiles([tmp_path]) == {4: "C#C", 9: "CC#C"}


@pytest.mark.parametrize(
    ("marked", "bare"),
    [("C[C@H](N)C(=O)O", "CC(N)C(=O)O"), ("C/C=C/C", "CC=CC"), ("[H]/N=C/C", "CC=N"), ("OC", "CO")],
)
def test_a_constitution_has_no_marks(marked, bare):
    assert constitution(marked) == constitution(bare) == bare


def test_constitution_from_smiles_or_geometry():
    alanine = atoms_from_smiles("C[C@H](N)C(=O)O")
    assert constitution_of(Structure("x", 0, alanine)) == "CC(N)C(=O)O"
    bare = Atoms(alanine.numbers, alanine.positions)
    assert constitution_of(Structure("x", 0, bare)) == "CC(N)C(=O)O"
    ammonium = atoms_from_smiles("[NH4+]")
    bare = Atoms(ammonium.numbers, ammonium.positions, info={"charge": 1})
    assert constitution_of(Structure("x", 0, bare)) == "[NH4+]"


def test_what_cannot_be_compared_does_not_pass():
    with pytest.raises(UserError, match="cannot be compared with the excluded molecules"):
        constitution_of(Structure("x", 0, Atoms("C5", np.eye(5, 3) * 9.0)))


def test_list_of_excluded_molecules(tmp_path):
    path = tmp_path / "list.smi"
    path.write_text("# a remark\nC[C@H](N)C(=O)O alanine\n\nOC\n")
    assert read_excluded(path) == {"CC(N)C(=O)O", "CO"}
    path.write_text("CO\nC1CC\n")
    with pytest.raises(UserError, match=r"list.smi, line 2: SMILES 'C1CC' cannot be read"):
        read_excluded(path)
    with pytest.raises(UserError, match="one per line"):
        read_excluded(Path("nosuch.smi"))
    path.write_text("# a remark\n\n")
    with pytest.raises(
        UserError, match="lists no SMILES, so that --exclude would leave nothing out"
    ):
        read_excluded(path)


def test_lists_that_are_no_text(tmp_path):
    path = tmp_path / "list"
    path.write_bytes(b"\x80\x81\xff\n")
    with pytest.raises(UserError, match=r"list cannot be read as text .*expected a list of SMILES"):
        read_excluded(path)
    with pytest.raises(UserError, match=r"--rows .*list cannot be read as text"):
        read_rows(str(path))
