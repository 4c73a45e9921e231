"""Structures from files, SMILES and ASE: charges, multiplicities, damaged records."""

from __future__ import annotations

import gzip
import io
import shutil
from pathlib import Path

import ase
import ase.db
import ase.io
import numpy as np
import pytest
from ase.build import bulk, molecule
from rdkit import Chem
from rdkit.Chem import AllChem

from molequi.datasets.conversion import frames_from_atoms
from molequi.errors import UserError
from molequi.structures.atoms import charge_of, graph_from_atoms, multiplicity_of
from molequi.structures.molecules import atoms_from_smiles, conformers_from_smiles
from molequi.structures.readers import read_structures


def read_all(source: str | Path, **options: object) -> list[ase.Atoms | str]:
    items = list(read_structures(source, **options))
    assert [index for index, _ in items] == list(range(len(items)))
    return [item for _, item in items]


@pytest.mark.parametrize("name", ["a.xyz", "a.extxyz", "a.xyz.gz", "a.traj", "a.db"])
def test_what_ase_writes_is_read(tmp_path: Path, name: str) -> None:
    structures = [molecule("CH3CH2OH"), molecule("H2O"), molecule("CH4")]
    ase.io.write(tmp_path / name, structures)
    found = read_all(tmp_path / name)
    assert [atoms.get_chemical_formula() for atoms in found] == ["C2H6O", "H2O", "CH4"]
    for mine, other in zip(found, structures, strict=True):
        assert mine.positions == pytest.approx(other.positions, abs=2e-3)
        assert mine.info["charge"] == 0
        assert mine.info["spin_multiplicity"] == 1


def test_models_of_a_pdb(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "a.pdb", [molecule("CH3CH2OH")] * 2)
    assert [atoms.get_chemical_formula() for atoms in read_all(tmp_path / "a.pdb")] == [
        "C2H6O",
        "C2H6O",
    ]


def test_crystal_and_gzipped_sdf(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "a.cif", bulk("NaCl", "rocksalt", a=5.6))
    (atoms,) = read_all(tmp_path / "a.cif")
    assert atoms.pbc.all()
    assert atoms.cell.volume == pytest.approx(5.6**3 / 4)
    block = Chem.MolToMolBlock(Chem.AddHs(embedded("CO"), addCoords=True))
    with gzip.open(tmp_path / "a.sdf.gz", "wt") as handle:
        handle.write(block + "> <mp>\n-97.6\n\n$$$$\n")
    (atoms,) = read_all(tmp_path / "a.sdf.gz")
    assert atoms.get_chemical_formula() == "CH4O"
    assert atoms.info["mp"] == -97.6


def embedded(smiles: str) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert AllChem.EmbedMolecule(mol, randomSeed=1) == 0
    return mol


def test_the_charge_of_each_place_and_none_of_two_that_disagree() -> None:
    atoms = ase.Atoms(
        "OH", [[0, 0, 0], [0, 0, 1]], info={"charge": 1, "formal_charge": 3}, charges=[-1, 0]
    )
    assert charge_of(atoms, charge=2) == 2
    with pytest.raises(UserError, match=r"charge=1 says 1, the formal charges of the atoms says 3"):
        charge_of(atoms)
    del atoms.info["formal_charge"]
    with pytest.raises(UserError, match=r"charge=1 says 1, the sum of the initial charges says -1"):
        charge_of(atoms)
    del atoms.info["charge"]
    atoms.info["Total_Charge"] = -1.0
    assert charge_of(atoms) == -1
    del atoms.info["Total_Charge"]
    assert charge_of(atoms) == -1
    atoms.set_initial_charges([-0.6, 0.6])
    atoms.info["formal_charge"] = 0
    assert charge_of(atoms) == 0
    del atoms.arrays["initial_charges"]
    atoms.info["formal_charge"] = 3
    assert charge_of(atoms) == 3
    del atoms.info["formal_charge"]
    atoms.set_initial_charges([-0.6, 0.3])
    with pytest.raises(UserError, match=r"add up to -0\.300 e, not a whole number"):
        charge_of(atoms)
    atoms.info["charge"] = -1  # partial charges are no statement beside one
    assert charge_of(atoms) == -1
    atoms.info["charge"] = 0.5
    with pytest.raises(UserError, match="not a whole number"):
        charge_of(atoms)


@pytest.mark.parametrize(
    ("smiles", "charge", "multiplicity"),
    [("[NH4+]", 1, 1), ("CC(=O)[O-]", -1, 1), ("[CH3]", 0, 2), ("C[N+](=O)[O-]", 0, 1)],
)
def test_formal_charges_of_smiles_and_sdf(
    tmp_path: Path, smiles: str, charge: int, multiplicity: int
) -> None:
    (tmp_path / "a.smi").write_text(f"# a comment\n{smiles} name of it\n")
    (tmp_path / "a.sdf").write_text(Chem.MolToMolBlock(embedded(smiles)) + "$$$$\n")
    for name in ("a.smi", "a.sdf"):
        (atoms,) = read_all(tmp_path / name)
        assert (atoms.info["charge"], atoms.info["spin_multiplicity"]) == (charge, multiplicity)
    (atoms,) = read_all(tmp_path / "a.smi", charge=charge + 2)
    assert atoms.info["charge"] == charge + 2


def test_multiplicity_follows_the_electrons() -> None:
    assert multiplicity_of(molecule("CH3"), 0) == 2
    assert multiplicity_of(molecule("CH3"), 1) == 1
    oxygen = molecule("O2")
    oxygen.info["spin_multiplicity"] = 3
    assert multiplicity_of(oxygen, 0) == 3
    oxygen.info["spin_multiplicity"] = 2
    with pytest.raises(
        UserError, match="multiplicity 2 does not go with the 16 electrons of O2 with charge 0"
    ):
        multiplicity_of(oxygen, 0)
    assert multiplicity_of(oxygen, 0, 1) == 1
    with pytest.raises(UserError, match="multiplicity 2 does not go with the 16 electrons of O2"):
        multiplicity_of(molecule("O2"), 0, 2)
    for given, problem in ((1.5, "not a whole number"), ("high", "not a number"), (0, "does not")):
        with pytest.raises(UserError, match=problem):
            multiplicity_of(molecule("O2"), 0, given)


def test_one_damaged_frame_costs_only_itself(tmp_path: Path) -> None:
    text = io.StringIO()
    ase.io.write(text, [molecule("H2O")] * 4, format="extxyz")
    lines = text.getvalue().splitlines()
    lines[5 + 2] = "O zero 0 0"
    (tmp_path / "a.xyz").write_text("\n".join(lines[:-1]))
    good, damaged, again, cut = read_all(tmp_path / "a.xyz")
    assert len(good) == len(again) == 3
    assert damaged.startswith("line 6: the frame cannot be read")
    assert cut.startswith("line 16: the frame should have 3 atoms but the file ends after 2")
    (tmp_path / "b.xyz").write_text("\n".join([*lines[:5], "what is this", "1", "x", "H 0 0 0"]))
    assert read_all(tmp_path / "b.xyz")[1].startswith(
        "line 6: expected the number of atoms, got 'what is this'"
    )


def test_damaged_records_of_smiles_and_sdf(tmp_path: Path) -> None:
    (tmp_path / "a.smi").write_text("CCO\nC1CC\n*C\n\nO\n")
    ethanol, open_ring, wildcard, water = read_all(tmp_path / "a.smi")
    assert (ethanol.get_chemical_formula(), water.get_chemical_formula()) == ("C2H6O", "H2O")
    assert open_ring.startswith("line 2: SMILES 'C1CC' cannot be read")
    assert "wildcard" in wildcard
    block = Chem.MolToMolBlock(embedded("CO"))
    (tmp_path / "a.sdf").write_text(f"{block}$$$$\nname\n\ngarbage\nhere\n$$$$\n{block}$$$$\n")
    first, second, third = read_all(tmp_path / "a.sdf")
    assert len(first) == len(third) == 6
    assert second == "record 2 cannot be read as an SDF molecule"


def test_the_lost_mark_of_an_allene_is_said() -> None:
    for smiles in ("CC=[C@]=CC", "[C@@](=CC)=CC"):
        assert "the mark @ of the allene at atom" in atoms_from_smiles(smiles).info["geometry"]
    for smiles in ("CC=C=CC", "C[C@H](O)F", "C[C@H](F)C=C=C"):
        assert "allene" not in atoms_from_smiles(smiles).info["geometry"]


def test_a_compressed_sdf_that_ends_early(tmp_path: Path) -> None:
    data = gzip.compress((Chem.MolToMolBlock(embedded("CCO")) + "$$$$\n").encode())
    (tmp_path / "a.sdf.gz").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r"a.sdf.gz cannot be read as text \(Compressed file ended"):
        read_all(tmp_path / "a.sdf.gz")


def test_hydrogens_missing_from_an_sdf(tmp_path: Path) -> None:
    flat = Chem.MolFromSmiles("CCO")
    AllChem.Compute2DCoords(flat)
    solid = Chem.RemoveHs(embedded("CCO"))
    (tmp_path / "a.sdf").write_text(
        Chem.MolToMolBlock(flat) + "$$$$\n" + Chem.MolToMolBlock(solid) + "$$$$\n"
    )
    drawing, refused = read_all(tmp_path / "a.sdf")
    assert refused == (
        "record 2 has coordinates in space but none of its 6 hydrogens; add them to the file, or "
        "ask for --add-hydrogens (in a training data.add_hydrogens=true); --as-is takes it for "
        "what it is"
    )
    drawing, skeleton = read_all(tmp_path / "a.sdf", add_hydrogens=True)
    assert drawing.get_chemical_formula() == skeleton.get_chemical_formula() == "C2H6O"
    assert drawing.info["geometry"] == "ETKDGv3 + MMFF94, seed 0; the record is a flat drawing"
    assert skeleton.info["geometry"] == "6 hydrogens added to the file's coordinates"
    assert skeleton.positions[:3] == pytest.approx(solid.GetConformer().GetPositions(), abs=1e-3)


@pytest.mark.parametrize("text", ["3\nwater\nO 0 0 0\nH 0 0 1\nH 0 1 0\n", "O\n", None])
def test_standard_input(monkeypatch: pytest.MonkeyPatch, text: str | None) -> None:
    content = Chem.MolToMolBlock(embedded("O")) + "$$$$\n" if text is None else text
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content.encode())))
    (atoms,) = read_all("-")
    assert atoms.get_chemical_formula() == "H2O"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.xyz does not exist"):
        read_all(tmp_path / "none.xyz")
    (tmp_path / "empty.xyz").write_text("\n")
    with pytest.raises(UserError, match="holds no structures"):
        read_all(tmp_path / "empty.xyz")
    (tmp_path / "a.doc").write_text("hello")
    with pytest.raises(UserError, match=r"a\.doc"):
        read_all(tmp_path / "a.doc")
    (tmp_path / "bad.xyz.gz").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot be read as text"):
        read_all(tmp_path / "bad.xyz.gz")
    (tmp_path / "bad.xyz").write_bytes(b"\xff\xfe\x00")
    (nonsense,) = read_all(tmp_path / "bad.xyz")
    assert nonsense.startswith("line 1: expected the number of atoms")


def test_impossible_structures_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").write_text(
        '1\n\nX 0 0 0\n1\n\nH nan 0 0\n1\npbc="T F F"\nH 0 0 0\n1\ncharge=x\nH 0 0 0\n'
        "1\n\nH 0 0 0\n"
    )
    dummy, infinite, no_cell, no_number, good = read_all(tmp_path / "a.xyz")
    assert "atom 0 is no element (symbol X)" in dummy
    assert "position of atom 0 is not finite" in infinite
    assert "pbc is on along axis 0 but its cell vector is zero" in no_cell
    assert "charge 'x' (charge) is not a number" in no_number
    assert len(good) == 1
    with pytest.raises(UserError, match="first: position of atom 0 is not finite"):
        frames_from_atoms([ase.Atoms("H", [[np.nan, 0, 0]])], source=["first"])


def test_smiles_conformers_are_seeded() -> None:
    first, again, other = (
        atoms_from_smiles("CCCCO", 0),
        atoms_from_smiles("CCCCO", 0),
        atoms_from_smiles("CCCCO", 1),
    )
    assert np.array_equal(first.positions, again.positions)
    assert not np.allclose(first.positions, other.positions)
    assert first.info["geometry"] == "ETKDGv3 + MMFF94, seed 0"
    conformers = conformers_from_smiles("CCCCO", 4)
    assert np.array_equal(conformers[0].positions, first.positions)
    assert len(conformers) == 4
    distances = [atoms.get_all_distances() for atoms in conformers]
    assert any(not np.allclose(distances[0], other, atol=1e-2) for other in distances[1:])
    # A bond of carbon to hydrogen at MMFF94's length.
    assert np.sort(first.get_all_distances()[0])[1:4] == pytest.approx(1.09, abs=0.02)
    with pytest.raises(UserError, match="cannot be read"):
        atoms_from_smiles("")


def test_graph_and_frames_carry_everything() -> None:
    atoms = bulk("Cu") * (2, 1, 1)
    atoms.info["charge"] = 1
    graph = graph_from_atoms(atoms, 3.0)
    assert graph.edge_index.shape[1] == 2 * 12
    assert (int(graph.total_charge[0]), int(graph.spin_multiplicity[0])) == (1, 2)
    assert int(graph_from_atoms(atoms, 3.0, charge=0).spin_multiplicity[0]) == 1
    frames = frames_from_atoms([atoms, molecule("H2O")])
    assert frames.pbc.tolist() == [[True] * 3, [False] * 3]
    assert frames.cell[0].numpy() == pytest.approx(np.asarray(atoms.cell))
    assert frames.total_charge.tolist() == [1, 0]
    assert len(frames_from_atoms([])) == 0


def test_bundled_structures_are_read(checkout: Path, tmp_path: Path) -> None:
    counts = {
        "molecules.xyz": 10,
        "ethanol.xyz": 1,
        "aspirin.xyz": 1,
        "drugs.sdf": 3,
        "ethanol.extxyz.gz": 300,
    }
    for name, count in counts.items():
        shutil.copy(checkout / "data" / "samples" / name, tmp_path / name)
        found = read_all(tmp_path / name)
        assert len(found) == count, name
        assert all(isinstance(atoms, ase.Atoms) and atoms.info["charge"] == 0 for atoms in found)
