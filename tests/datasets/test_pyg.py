"""Data sets as PyTorch Geometric has them, beside its own QM9 made from the same files."""

from __future__ import annotations

import logging
import shutil
import warnings
from pathlib import Path

import pytest
import torch
from rdkit import Chem
from rdkit.Chem import AllChem

from molequi.datasets.conversion import frames_from_atoms
from molequi.datasets.npz import load_npz
from molequi.datasets.qm9.qm9 import load_qm9
from molequi.errors import UserError
from molequi.properties import PROPERTIES, declare
from molequi.structures.molecules import atoms_from_smiles

with warnings.catch_warnings():
    # PyTorch Geometric compiles with torch.jit.script when it is imported.
    warnings.simplefilter("ignore", DeprecationWarning)
    from torch_geometric.datasets import qm9 as pyg_qm9
    from torch_geometric.loader import DataLoader
    from torch_geometric.utils import from_smiles
    from torch_geometric.utils.smiles import e_map, x_map

    from molequi.datasets import Molecules, graph_from_data


def test_atoms_and_bonds_are_those_of_pygs_qm9(sdf_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(sdf_folder, tmp_path / "raw")
    theirs = pyg_qm9.QM9(str(tmp_path))
    ours = Molecules(load_qm9(sdf_folder).frames.with_targets(["gap"]))
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.equal(mine.z, other.z)
        assert torch.equal(mine.x[:, -6], other.x[:, 5])
        torch.testing.assert_close(mine.gap[0], other.y[0, 4], rtol=1e-5, atol=1e-5)
        if mine.z.tolist() == [6, 1, 1, 1, 1]:  # the bonds of the others are made up in that file
            assert torch.equal(mine.edge_index, other.edge_index)
            assert torch.equal(mine.edge_attr, other.edge_attr)
            assert torch.equal(mine.x[:, -1], other.x[:, -1])


def test_bonds_found_in_geometries_are_those_of_the_smiles() -> None:
    texts = ["c1ccncc1C", "CC#N", "CC(=O)OC", "C1CC1N", "C=CC=O", "FC(F)F", "OCC1=CC=CO1"]
    ours = Molecules(frames_from_atoms([atoms_from_smiles(text) for text in texts], source=texts))
    bond_types = ["SINGLE", "DOUBLE", "TRIPLE", "AROMATIC"]
    for text, mine in zip(texts, ours, strict=True):
        theirs = from_smiles(text, with_hydrogen=True)
        assert torch.equal(mine.edge_index, theirs.edge_index)
        found = mine.edge_attr.argmax(dim=1)
        expected = [e_map["bond_type"][int(number)] for number in theirs.edge_attr[:, 0]]
        assert [bond_types[int(number)] for number in found] == expected
        aromatic = theirs.x[:, list(x_map).index("is_aromatic")]
        assert torch.equal(mine.x[:, -5], aromatic.float())
        kinds = [
            x_map["hybridization"][int(k)] for k in theirs.x[:, list(x_map).index("hybridization")]
        ]
        for column, kind in zip((-4, -3, -2), ("SP", "SP2", "SP3"), strict=True):
            assert mine.x[:, column].bool().tolist() == [one == kind for one in kinds]


def test_labels_of_atoms_and_molecules_go_through_pygs_loader(checkout: Path) -> None:
    frames = load_npz(checkout / "data" / "samples" / "qm9_chirality_sample.npz").frames
    ours = Molecules(frames.subset(torch.arange(6)), bonds=False)
    batch = next(iter(DataLoader(ours, batch_size=6)))
    n_atoms = int(frames.offsets[6])
    assert batch.handedness.shape == (n_atoms,)
    assert torch.equal(
        batch.handedness.nan_to_num(), frames.targets["handedness"][:n_atoms].float().nan_to_num()
    )
    assert batch.edge_index.shape == (2, 0)
    assert graph_from_data(batch, 4.0).n_molecules == 6
    tensors = Molecules("rosenfeld_sample", ["rosenfeld", "dipole"], bonds=False)
    assert tensors[0].rosenfeld.shape == (1, 3, 3)
    assert next(iter(DataLoader(tensors, batch_size=4))).rosenfeld.shape == (4, 3, 3)


def test_atoms_bonds_and_smiles_of_molecules_known_by_heart(
    caplog: pytest.LogCaptureFixture,
) -> None:
    texts = ["c1ccccc1", "C#CC(=O)O", "[NH4+]"]
    structures = [atoms_from_smiles(text) for text in texts]
    structures.append(structures[0][:7])  # a ring that has lost hydrogens
    with caplog.at_level(logging.WARNING):
        ours = Molecules(frames_from_atoms(structures, source=[*texts, "broken"]))
    assert [one.smiles for one in ours] == [*texts, ""]
    assert "no bonds were found for 1 of 4 structures, the first of them broken" in caplog.text
    benzene, acid, ammonium, broken = ours
    elements = [1, 6, 7, 8]
    assert benzene.x.shape == (12, len(elements) + 6)
    assert benzene.x[0].tolist() == [0, 1, 0, 0, 6, 1, 0, 1, 0, 1]
    assert benzene.edge_attr.sum(dim=0).tolist() == [12, 0, 0, 12]
    assert acid.edge_attr.sum(dim=0).tolist() == [8, 2, 2, 0]
    assert acid.x[:4, 6:9].tolist() == [[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0]]
    assert ammonium.total_charge.tolist() == [1]
    assert ammonium.x[0, -1] == 4
    assert broken.edge_index.shape == (2, 0)


def test_units_of_headings_are_taken(tmp_path: Path) -> None:
    record = Chem.AddHs(Chem.MolFromSmiles("C"))
    AllChem.EmbedMolecule(record, randomSeed=1)
    record.SetProp("gap [meV]", "500")
    with Chem.SDWriter(str(tmp_path / "a.sdf")) as writer:
        writer.write(record)
    (methane,) = Molecules(tmp_path / "a.sdf", ["gap"])
    assert methane.gap.tolist() == [0.5]


def test_a_source_without_such_labels_is_refused(checkout: Path) -> None:
    with pytest.raises(UserError, match="has no label of dipole"):
        Molecules("ethanol_sample", ["dipole"])
    small = Molecules("rosenfeld_sample", bonds=False)
    assert {"rosenfeld", "polarizability", "dipole", "energy"} <= set(small.frames.targets)
    assert set(small.frames.properties) <= set(PROPERTIES)
    row = declare("x", unit="1")
    frames = frames_from_atoms(
        [atoms_from_smiles("C")], targets={"x": torch.ones(1)}, properties={"x": row}
    )
    with pytest.raises(UserError, match="a label cannot be called 'x' here"):
        Molecules(frames)
