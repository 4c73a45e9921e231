"""Both enantiomers of molecules from SMILES and files."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import ase
import numpy as np
import pytest
import torch
from rdkit import Chem
from rdkit.Chem import AllChem

from molequi.datasets.chirality.chiral import read_chiral
from molequi.datasets.chirality.enantiomers import enantiomers, stereoisomers
from molequi.datasets.in_memory import Frames
from molequi.datasets.load import load_dataset
from molequi.datasets.settings import DataSettings
from molequi.errors import UserError
from molequi.structures.cip import marked_axes, opposite, read_stereo, same_stereoisomer
from molequi.structures.perception import labels_from_geometry


def atoms_of(frames: Frames, index: int) -> ase.Atoms:
    rows = slice(int(frames.offsets[index]), int(frames.offsets[index + 1]))
    return ase.Atoms(frames.atomic_numbers[rows].numpy(), frames.positions[rows].numpy())


@pytest.mark.parametrize(
    ("smiles", "total"),
    [
        ("CC(O)CC", 2),
        ("OC(C(=O)O)C(O)C(=O)O", 3),  # tartaric acid: two active, one meso
        ("OCC(O)C(O)C(O)CO", 4),  # pentitols: D- and L-arabinitol, ribitol, xylitol
        ("OCC(O)C(O)C(O)C(O)C=O", 16),  # aldohexoses
        ("CC1CCCCC1C", 3),
        ("CC=CC", 2),
        ("C1(O)C(O)C(O)C(O)C(O)C1O", 9),  # inositols, two of them mirror images
        ("C[C@H](O)CC", 2),  # marked: only its mirror image is left
        ("CCO", 1),
    ],
)
def test_number_of_stereoisomers(smiles: str, total: int) -> None:
    found = stereoisomers(Chem.MolFromSmiles(smiles), max_isomers=64)
    both = [isomer for isomer in found if not same_stereoisomer(isomer, opposite(isomer))]
    assert len(found) + len(both) == total


def test_too_many_stereoisomers_are_refused() -> None:
    with pytest.raises(UserError, match="up to 256 stereoisomers, more than 32: mark centres"):
        stereoisomers(Chem.MolFromSmiles("CC(F)C(F)C(F)C(F)C(F)C(F)C(F)C(F)Cl"))


def test_second_hand_is_a_reflection_and_not_a_conformer() -> None:
    """All distances of the two enantiomers agree to the last digit.

    So that a model of distances alone can only guess.
    """
    made = read_chiral(["CC(O)C(N)C(=O)O", "FC(Cl)Br"], n_conformers=2)
    assert len(made.frames) == 2 * 4 + 4
    by_source = dict(zip(made.frames.source, range(len(made.frames)), strict=True))
    for text, index in by_source.items():
        atoms = atoms_of(made.frames, index)
        if not text.endswith("mirror"):
            partner = index + 2
            mirror = atoms_of(made.frames, partner)
            assert made.frames.source[partner].endswith("mirror")
            np.testing.assert_allclose(
                atoms.get_all_distances(), mirror.get_all_distances(), rtol=0, atol=1e-12
            )
            np.testing.assert_array_equal(made.labels[index].signs, -made.labels[partner].signs)
            assert made.groups[index] == made.groups[partner]
    assert set(made.groups) == {"CC(O)C(N)C(=O)O", "FC(Cl)Br"}
    assert made.notes["reflections"] == 6


def test_labels_are_those_of_the_coordinates() -> None:
    made = read_chiral(["C[C@H](N)C(=O)O", "OC(C(=O)O)C(O)C(=O)O", "CC(F)C=CC(C)O"])
    for index, labels in enumerate(made.labels):
        found = labels_from_geometry(atoms_of(made.frames, index))
        assert found.labels.atoms == labels.atoms
        start = int(made.frames.offsets[index])
        values = made.frames.targets["handedness"][start : start + len(labels.atoms)]
        torch.testing.assert_close(values, torch.from_numpy(labels.handedness), equal_nan=True)
    kinds = Counter(labels.kind for labels in made.labels)
    assert kinds == {"chiral": 2 + 2 + 8, "meso": 1}


@pytest.mark.parametrize(
    "smiles",
    [
        "O=C1CCCC12CCCC2=O",
        "Cc1ccc2c(c1)CN1CN2Cc2cc(C)ccc21",
        "CC1CCC(=CF)CC1",
        "C1N2N1C=CC2",
        "CC(F)=C=CCl",
    ],
)
def test_a_hand_without_a_label_has_its_reflection(smiles: str) -> None:
    made = read_chiral([smiles, "C1CC2(C1)CC2"])
    assert [labels.kind for labels in made.labels] == ["unknown", "unknown", "achiral"]
    one, other = (atoms_of(made.frames, index) for index in (0, 1))
    np.testing.assert_allclose(one.get_all_distances(), other.get_all_distances(), atol=1e-12)


def test_file_of_smiles_with_bad_lines(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.smi").write_text(
        "# comment\nC[C@H](N)C(=O)O alanine\nC1CC\n\n*C(F)Cl\nC[C@@H](N)C(=O)O the other "
        "hand\n[B](Cl)(F)C(F)Br\n"
    )
    with caplog.at_level("WARNING"):
        made = read_chiral(tmp_path / "a.smi")
    assert [failure.split(": ")[0] for failure in made.failures] == ["a.smi:3", "a.smi:5"]
    assert "cannot be read" in made.failures[0]
    assert "wildcard" in made.failures[1]
    assert "skipped a.smi:3" in caplog.text
    # Line 6 is the reflection of line 2 and is there already.
    assert [text.split()[0] for text in made.frames.source] == ["a.smi:2"] * 2 + ["a.smi:7"] * 2
    assert made.notes["repeated"] == 2
    assert "UFF (MMFF94 has no parameters)" in made.notes["geometry"]


def test_cages_that_cannot_be_are_left_out() -> None:
    """Camphor has two bridgeheads and so four sets of marks, of which the cage allows two.

    Quinine has a nitrogen besides.
    """
    made = read_chiral(
        [
            "CC1(C)C2CCC1(C)C(=O)C2",
            "COc1ccc2nccc([C@@H](O)[C@@H]3C[C@@H]4CCN3C[C@@H]4C=C)c2c1",
            "F[C@]12C[C@@](F)(C1)C2",
        ]
    )
    assert Counter(made.groups) == {
        "CC12CCC(CC1=O)C2(C)C": 2,
        "C=CC1CN2CCC1CC2C(O)c1ccnc2ccc(OC)cc12": 2,
    }
    assert [failure.split(": ")[0] for failure in made.failures] == [
        "SMILES 0",
        "SMILES 1",
        "SMILES 2",
    ]
    assert all("could not be placed in space" in failure for failure in made.failures)
    # (8S,9R)-quinine, carbon by carbon as drawn: C9 is R, C8 is S.
    quinine = made.labels[2].atoms
    assert (quinine[10], quinine[12]) == ("R", "S")


def test_same_seed_gives_the_same_coordinates() -> None:
    first, again, other = (
        read_chiral(["CC(O)C(C)N"], seed=seed).frames.positions for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_tables(tmp_path: Path) -> None:
    text = "name;molecule\nalanine;C[C@H](N)C(=O)O\nnothing;\nbad;CCC(\n"
    with gzip.open(tmp_path / "t.csv.gz", "wt") as handle:
        handle.write(text)
    made = read_chiral(tmp_path / "t.csv.gz", smiles="molecule")
    assert len(made.frames) == 2
    assert [failure.split(": ")[0] for failure in made.failures] == ["t.csv.gz:3", "t.csv.gz:4"]
    with pytest.raises(UserError, match="no column is named smiles"):
        read_chiral(tmp_path / "t.csv.gz")


def test_records_in_space_keep_their_coordinates(tmp_path: Path) -> None:
    molecule = Chem.AddHs(Chem.MolFromSmiles("C[C@H](N)C(=O)O"))
    AllChem.EmbedMolecule(molecule, randomSeed=3)
    broken = Chem.MolToMolBlock(molecule).replace("  1  2  1  0", "  1 99  1  0")
    (tmp_path / "a.sdf").write_text(Chem.MolToMolBlock(molecule) + "$$$$\n" + broken + "$$$$\n")
    made = read_chiral(tmp_path / "a.sdf")
    np.testing.assert_allclose(
        made.frames.positions[: molecule.GetNumAtoms()].numpy(),
        molecule.GetConformer().GetPositions(),
        atol=1e-4,
    )
    assert [labels.signs.sum() for labels in made.labels] == [-1, 1]
    assert len(made.failures) == 1
    assert made.failures[0].startswith("a.sdf: record 2")


def test_flat_record_has_the_hand_of_its_wedge(tmp_path: Path) -> None:
    molecule = Chem.MolFromSmiles("N[C@@H](CS)C(=O)O")
    AllChem.Compute2DCoords(molecule)
    (tmp_path / "a.mol").write_text(Chem.MolToMolBlock(molecule))
    made = read_chiral(tmp_path / "a.mol")
    assert ["".join(labels.atoms) for labels in made.labels] == ["R", "S"]


def axis_drawing() -> str:
    """A flat drawing of a biphenyl with a wedge at its axis."""
    molecule = Chem.AddHs(Chem.MolFromSmiles("Cc1cccc(F)c1-c1c(C)cccc1F"))
    AllChem.EmbedMolecule(molecule, randomSeed=1)
    first, second = molecule.GetSubstructMatch(Chem.MolFromSmarts("c-!@c"))
    bond = molecule.GetBondBetweenAtoms(first, second)
    ends = [
        min(n.GetIdx() for n in a.GetNeighbors() if n.GetIdx() not in {first, second})
        for a in (bond.GetBeginAtom(), bond.GetEndAtom())
    ]
    bond.SetStereoAtoms(*ends)
    bond.SetStereo(Chem.BondStereo.STEREOATROPCW)
    flat = Chem.RemoveHs(molecule)
    AllChem.Compute2DCoords(flat)
    return Chem.MolToMolBlock(flat)


def test_axis_marked_by_a_wedge(tmp_path: Path) -> None:
    block = axis_drawing()
    drawn = Chem.MolFromMolBlock(block)
    assert len(marked_axes(drawn)) == 1
    (tmp_path / "a.mol").write_text(block)
    made = read_chiral(tmp_path / "a.mol", n_conformers=2)
    assert [next(iter(labels.axes.values())) for labels in made.labels[:2]] == [
        next(iter(enantiomers(drawn)[0].labels.axes.values()))
    ] * 2
    assert Counter(label for labels in made.labels for label in labels.axes.values()) == {
        "M": 2,
        "P": 2,
    }
    values = made.frames.targets["axial_handedness"]
    assert (values == 1).sum() == (values == 0).sum() == 4
    mirrored = read_stereo(opposite(enantiomers(drawn)[0].molecule))
    assert marked_axes(mirrored) == marked_axes(enantiomers(drawn)[0].molecule)


def test_files_of_other_kinds(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        read_chiral(tmp_path / "none.smi")
    (tmp_path / "a.xyz").write_text("1\n\nH 0 0 0\n")
    with pytest.raises(UserError, match="made from .smi, .csv"):
        read_chiral(tmp_path / "a.xyz")
    (tmp_path / "a.smi").write_text("C1CC\n")
    with pytest.raises(
        UserError, match=r"no molecule can be used; a.smi:1: SMILES 'C1CC' cannot be read"
    ):
        read_chiral(tmp_path / "a.smi")


def test_no_failure_goes_unsaid(caplog: pytest.LogCaptureFixture) -> None:
    made = read_chiral(["CO", *[f"C{n}(" for n in range(1, 26)]])
    assert len(made.failures) == 25
    assert len(caplog.messages) == 21
    assert caplog.messages[-1] == "skipped 5 more of the SMILES"


@pytest.mark.parametrize("name", ["a.sdf.gz", "a.smi.gz", "a.csv.gz"])
@pytest.mark.parametrize(
    "damage",
    [lambda data: data[: len(data) // 2], lambda data: data[:40] + b"\xff" * 60 + data[100:]],
)
def test_a_damaged_compressed_file_is_one_line(
    tmp_path: Path, name: str, damage: Callable[[bytes], bytes]
) -> None:
    lines = "".join(f"C({n * n}\n" for n in range(300))
    text = (
        "".join(
            Chem.MolToMolBlock(enantiomers(Chem.MolFromSmiles("CO"), seed=n)[0].molecule) + "$$$$\n"
            for n in range(9)
        )
        if "sdf" in name
        else lines
    )
    data = gzip.compress(("smiles\n" * ("csv" in name) + text).encode())
    (tmp_path / name).write_bytes(damage(data))
    with pytest.raises(UserError, match=rf"{name} cannot be read as text"):
        read_chiral(tmp_path / name)


def test_kind_chiral_of_the_settings(tmp_path: Path) -> None:
    names = [f"CC(F)C{'C' * n}" for n in range(12)]
    (tmp_path / "a.smi").write_text("\n".join([*names, "C1"]))
    fields = {"kind": "chiral", "path": str(tmp_path / "a.smi"), "targets": ["handedness"]}
    loaded = load_dataset(
        DataSettings.model_validate({**fields, "split": {"train": 0.6, "valid": 0.2, "test": 0.2}})
    )
    assert len(loaded.failures) == 1
    for part in loaded.splits.values():
        inside = {loaded.groups[row] for row in part.tolist()}
        outside = {
            loaded.groups[row]
            for other in loaded.splits.values()
            if other is not part
            for row in other.tolist()
        }
        assert not inside & outside
    # CC(F)C is achiral: one structure; the others come in both enantiomers.
    assert len(loaded.frames) == 2 * 11 + 1
    twice = load_dataset(DataSettings.model_validate({**fields, "conformers": 2, "limit": 15}))
    assert 12 <= len(twice.frames) <= 15
    assert set(Counter(twice.groups).values()) <= {2, 4}
