"""From settings to structures, labels and splits."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from ase.units import Hartree
from rdkit import Chem
from rdkit.Chem import AllChem

from molequi.datasets.catalog import describe_datasets, inspect, prepare
from molequi.datasets.download import fetch
from molequi.datasets.labelled_set import LabelledSet
from molequi.datasets.load import load_dataset, load_labelled
from molequi.datasets.making import make_frames
from molequi.datasets.npz import load_npz, save_npz
from molequi.datasets.places import find_data
from molequi.datasets.report import describe_frames
from molequi.datasets.rmd17 import load_rmd17
from molequi.datasets.settings import DataSettings
from molequi.datasets.splits import choose
from molequi.errors import UserError
from molequi.properties import PROPERTIES, declare
from molequi.settings import with_absolute_paths

SAMPLE = "samples/qm9_sample.npz"


def settings(**fields: object) -> DataSettings:
    return DataSettings.model_validate(fields)


@pytest.mark.parametrize("kind", ["qm9", "npz"])
def test_bundled_sample_with_its_stored_split(kind: str) -> None:
    loaded = load_dataset(
        settings(kind=kind, path=SAMPLE, targets=["gap", "u0"], split={"kind": "stored"})
    )
    assert [len(loaded.splits[name]) for name in ("train", "valid", "test")] == [2400, 300, 300]
    assert sorted(torch.cat(list(loaded.splits.values())).tolist()) == list(range(3000))
    assert list(loaded.frames.targets) == ["gap", "u0"]
    assert [row.frames for row in loaded.report.rows] == [3000, 3000]
    assert loaded.notes["licence"] == "CC0"


def test_limit_and_sizes() -> None:
    loaded = load_dataset(
        settings(
            kind="npz",
            path=SAMPLE,
            targets="gap",
            limit=500,
            split={"train": 300, "valid": 50, "test": 0.1},
        )
    )
    assert len(loaded) == 500
    assert [len(loaded.part(name)) for name in ("train", "valid", "test")] == [300, 50, 50]
    stored = {"kind": "stored", "train": 200}
    smaller = load_dataset(
        settings(kind="npz", path=SAMPLE, targets="gap", limit=1000, split=stored)
    )
    assert (len(smaller), len(smaller.part("train"))) == (1000, 200)
    whole = load_npz(find_data(SAMPLE))
    assert set(smaller.part("train").source) <= set(whole.part("train").source)


def test_rmd17_and_its_published_split(reference_data: Callable[[str], Path]) -> None:
    path = str(reference_data("rmd17/rmd17_ethanol.npz"))
    fields = {"kind": "rmd17", "path": path, "targets": ["energy", "forces"]}
    loaded = load_dataset(settings(**fields, split={"kind": "official", "index": 3, "valid": 50}))
    frames, splits = loaded.frames, loaded.splits
    assert [len(splits[name]) for name in ("train", "valid", "test")] == [950, 50, 1000]
    with np.load(path) as arrays:
        assert sorted(splits["test"].tolist()) == sorted(arrays["test_03"].tolist())
        assert set(splits["train"].tolist()) < set(arrays["train_03"].tolist())
    assert frames.targets["forces"].shape == (frames.positions.shape[0], 3)


def test_full_qm9_with_the_cormorant_split(reference_data: Callable[[str], Path]) -> None:
    fields = {
        "kind": "qm9",
        "path": str(reference_data("qm9/qm9_core.npz")),
        "targets": ["dipole_magnitude"],
    }
    loaded = load_dataset(settings(**fields, split={"kind": "cormorant", "train": 1000}))
    sizes = [len(loaded.splits[name]) for name in ("train", "valid", "test")]
    assert sizes == [1000, 17748, 13083]
    assert len(loaded) == 130831


def test_frames_of_several_files(tmp_path: Path) -> None:
    for name in ("a.xyz", "b.xyz"):
        structures = [molecule("H2O") for _ in range(5)]
        for index, atoms in enumerate(structures):
            atoms.info["energy"] = float(index)
        ase.io.write(tmp_path / name, structures)
    loaded = load_dataset(settings(kind="frames", path=str(tmp_path / "*.xyz"), targets=["energy"]))
    assert loaded.frames.source[4:6] == ("a.xyz:4", "b.xyz:0")
    with pytest.raises(UserError, match="matches no file"):
        load_dataset(settings(kind="frames", path=str(tmp_path / "*.traj"), targets=["energy"]))
    (tmp_path / "a.xyz").rename(tmp_path / "run[1].xyz")  # no pattern, for there is such a file
    ase.io.write(tmp_path / "run1.xyz", structures[:1])
    both = f"{tmp_path}/run[1].xyz, {tmp_path}/b.xyz"
    asked = settings(kind="frames", path=both, targets="energy")
    for found in (asked, with_absolute_paths(asked)):
        assert load_dataset(found).frames.source[::5] == ("run[1].xyz:0", "b.xyz:0")


@pytest.fixture
def unlike_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the files e.xyz with energies, and ef.xyz with energies and forces too."""
    monkeypatch.chdir(tmp_path)
    structures = [molecule("H2O") for _ in range(4)]
    for atoms in structures:
        atoms.info["energy"] = -1.0
    ase.io.write("e.xyz", structures)
    for atoms in structures:
        atoms.arrays["forces"] = np.ones((3, 3))
    ase.io.write("ef.xyz", structures)


@pytest.mark.parametrize("path", ["e.xyz,ef.xyz", "ef.xyz,e.xyz"])
def test_what_one_of_several_files_has_is_evaluated_in_any_order(
    path: str, unlike_files: None, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [PROPERTIES[name] for name in ("energy", "forces", "dipole")]
    loaded = load_labelled(path, rows)
    assert {row.name: row.frames for row in loaded.report.rows} == {"energy": 8, "forces": 4}
    assert int(loaded.frames.targets["forces"].isnan().sum()) == 4 * 9
    assert "e.xyz: forces: 4 of 4 frames have no label" in caplog.text
    with pytest.raises(UserError, match="no label of dipole"):
        load_labelled(path, rows[2:])


@pytest.mark.parametrize("path", ["e.xyz,ef.xyz", "ef.xyz,e.xyz"])
def test_training_refuses_only_what_none_of_several_files_has(
    path: str, unlike_files: None, caplog: pytest.LogCaptureFixture
) -> None:
    fields = {"kind": "frames", "path": path}
    loaded = load_dataset(settings(**fields, targets=["energy", "forces", "forces_std"]))
    assert {row.name: row.frames for row in loaded.report.rows} == {"energy": 8, "forces": 4}
    assert int(loaded.frames.targets["forces"].isnan().sum()) == 4 * 9
    assert "e.xyz: forces: 4 of 4 frames have no label" in caplog.text
    with pytest.raises(UserError, match=r"xyz: no labels for the target 'dipole' in 4 frames"):
        load_dataset(settings(**fields, targets=["energy", "forces", "dipole"]))


def test_names_count_in_the_files_that_have_them(unlike_files: None) -> None:
    structures = [molecule("H2O") for _ in range(4)]
    for atoms in structures:
        atoms.info["mine"] = -2.0
    ase.io.write("named.xyz", structures)
    asked = {"keys": {"energy": "mine"}, "units": {"energy": "Hartree"}}
    like = settings(kind="frames", path="named.xyz", targets=["energy"], **asked)
    for path in ("e.xyz,named.xyz", "named.xyz,e.xyz"):
        energies = load_labelled(path, [PROPERTIES["energy"]], like).frames.targets["energy"]
        assert sorted(set(energies.tolist())) == pytest.approx([-2.0 * Hartree, -1.0])


def test_table_with_declared_targets(tmp_path: Path) -> None:
    lines = [f"{'C' * (index + 1)},{index},{index % 2}" for index in range(10)]
    (tmp_path / "a.csv").write_text("smiles,logp,active\n" + "\n".join(lines))
    declared = {
        "logp": declare("logp", unit="1"),
        "active": declare("active", unit="1", binary=True),
    }
    loaded = load_dataset(
        settings(kind="table", path=str(tmp_path / "a.csv"), targets=["logp", "active"]), declared
    )
    assert loaded.frames.properties == declared
    assert loaded.notes == {"geometry": "ETKDGv3 + MMFF94, seed 0"}
    assert [len(loaded.splits[name]) for name in ("train", "valid", "test")] == [8, 1, 1]


def test_mistakes_in_the_settings(tmp_path: Path) -> None:
    sample = {"kind": "npz", "path": SAMPLE}
    with pytest.raises(UserError, match="data.path is not set"):
        load_dataset(settings(kind="frames", targets=["energy"]))
    with pytest.raises(UserError, match="no bundled file 'samples/none.npz'"):
        load_dataset(settings(kind="npz", path="samples/none.npz", targets=["gap"]))
    with pytest.raises(UserError, match="target 'forces' is not in the data; it has .*gap"):
        load_dataset(settings(**sample, targets=["forces"]))
    with pytest.raises(UserError, match="split.kind=official belongs to data.kind=rmd17"):
        load_dataset(settings(**sample, targets=["gap"], split={"kind": "official"}))
    with pytest.raises(UserError, match="Cormorant split belongs to the 130831"):
        load_dataset(settings(**sample, targets=["gap"], split={"kind": "cormorant"}))
    with pytest.raises(UserError, match="split.kind=file needs data.split.path"):
        load_dataset(settings(**sample, targets=["gap"], split={"kind": "file"}))
    with pytest.raises(UserError, match="data.units has no meaning for data.kind=npz"):
        load_dataset(settings(**sample, targets=["gap"], units={"gap": "Ha"}))
    with pytest.raises(UserError, match="no structure is left for train after data.limit=1"):
        load_dataset(settings(**sample, targets=["gap"], limit=1, split={"kind": "stored"}))
    frames = make_frames(
        torch.zeros(4, 3),
        torch.ones(4),
        torch.ones(4),
        targets={"gap": torch.ones(4)},
        properties={"gap": PROPERTIES["gap"]},
    )
    save_npz(frames, tmp_path / "a.npz")
    with pytest.raises(UserError, match="has no stored split"):
        load_dataset(
            settings(
                kind="npz", path=str(tmp_path / "a.npz"), targets=["gap"], split={"kind": "stored"}
            )
        )


def test_a_stored_property_of_another_unit_is_refused(tmp_path: Path) -> None:
    row = declare("barrier", unit="kcal/mol")
    frames = make_frames(
        torch.zeros(9, 3),
        torch.ones(9),
        torch.ones(9),
        targets={"barrier": torch.ones(9)},
        properties={"barrier": row},
    )
    save_npz(frames, tmp_path / "a.npz")
    fields = {"kind": "npz", "path": str(tmp_path / "a.npz"), "targets": ["barrier"]}
    with pytest.raises(UserError, match="stored as 0e in kcal/mol, but declared as 0e in eV"):
        load_dataset(settings(**fields), {"barrier": declare("barrier", unit="eV")})
    assert (
        load_dataset(settings(**fields), {"barrier": row}).frames.targets["barrier"].tolist()
        == [1.0] * 9
    )


def test_labels_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        load_dataset(settings(kind="npz", path=SAMPLE, targets=["gap"]))
    assert "label" in caplog.text
    assert "3000 structures: train 2400, valid 300, test 300" in caplog.text


def test_per_atom_labels_are_counted_by_structure() -> None:
    forces = torch.full((5, 3), torch.nan)
    forces[4] = 1.0
    row = {"forces": PROPERTIES["forces"]}
    frames = make_frames(
        torch.zeros(5, 3),
        torch.ones(5),
        torch.tensor([2, 3]),
        targets={"forces": forces},
        properties=row,
    )
    assert describe_frames(frames, "x").rows[0].frames == 1
    without = frames.subset(torch.tensor([0]))
    assert describe_frames(without, "x").rows[0].frames == 0
    with pytest.raises(UserError, match="target 'forces' has no label in any of 1 structures"):
        LabelledSet(without, describe_frames(without, "x")).require_labels()


def test_catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flat_qm9: Path) -> None:
    entries = {entry.name: entry for entry in describe_datasets(tmp_path)}
    assert not entries["qm9"].available
    assert all(
        entries[name].available for name in ("qm9_sample", "ethanol_sample", "gaps", "molecules")
    )
    shutil.copy(flat_qm9, tmp_path / "qm9_core.npz")
    path = prepare("qm9", tmp_path)
    assert {entry.name: entry for entry in describe_datasets(tmp_path)}["qm9"].available
    assert inspect(path).n_structures == 8
    with pytest.raises(UserError, match="there is no data set 'qm8' to prepare; known is qm9"):
        prepare("qm8", tmp_path)
    with pytest.raises(UserError, match=r"for rmd17 set data.path to its file .doi 10.6084"):
        prepare("rmd17", tmp_path)


@pytest.mark.parametrize(
    ("path", "kind", "count"),
    [
        (SAMPLE, "npz", 3000),
        ("samples/ethanol.extxyz.gz", "frames", 300),
        ("gaps", "table", 600),
        ("samples/drugs.sdf", "frames", 3),
    ],
)
def test_inspect_samples(path: str, kind: str, count: int) -> None:
    report = inspect(path)
    assert (report.kind, report.n_structures) == (kind, count)
    if "ethanol" in path:
        assert [row.name for row in report.labels.rows] == ["energy", "forces"]
    if kind == "table":
        assert [(row.name, row.key) for row in report.labels.rows] == [("gap", "gap")]
        assert report.labels.keys == {"columns": {"name": 600, "smiles": 600, "gap": 600}}


def test_inspect_others(archive: Path, flat_qm9: Path, tmp_path: Path) -> None:
    assert (inspect(archive).kind, inspect(archive).n_structures) == ("qm9", 8)
    assert inspect(flat_qm9).kind == "qm9"
    np.savez(
        tmp_path / "r.npz",
        z=np.array([1]),
        R=np.zeros((2, 1, 3)),
        E=np.ones(2),
        F=np.ones((2, 1, 3)),
    )
    assert (inspect(tmp_path / "r.npz").kind, inspect(tmp_path / "r.npz").n_structures) == (
        "rmd17",
        2,
    )
    with pytest.raises(UserError, match="does not exist"):
        inspect(tmp_path / "none.xyz")


def test_downloads_are_checked(tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(b"data")
    (tmp_path / "bad").write_bytes(b"date")
    mirrors = [(tmp_path / name).as_uri() for name in ("none", "bad", "good")]
    md5 = "8d777f385d3dfec8815d20f7496026dc"
    assert fetch(mirrors, tmp_path / "out" / "file", md5=md5).read_bytes() == b"data"
    with pytest.raises(UserError, match="no mirror gave other .*wrong checksum"):
        fetch(mirrors[:2], tmp_path / "out" / "other", md5=md5)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["file"]


def written(path: Path, names: list[str], *, wrong: int | None = None) -> Path:
    """Frames with energies that the elements explain, to a tenth of an eV."""
    rng = np.random.default_rng(0)
    energies = {1: -13.6, 6: -1029.0, 8: -2042.0}
    frames = []
    for number, name in enumerate(names):
        atoms = molecule(name)
        if len(atoms) > 1:
            atoms.rattle(0.02, seed=number)
        atoms.set_initial_magnetic_moments(None)
        energy = sum(energies[z] for z in atoms.numbers) + 0.1 * (len(atoms) > 1) * rng.normal()
        atoms.info["REF_energy"] = energy + (500.0 if number == wrong else 0.0)
        frames.append(atoms)
    ase.io.write(path, frames)
    return path


@pytest.mark.parametrize("kind", ["random", "molecules"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_isolated_atoms_always_train(tmp_path: Path, kind: str, seed: int) -> None:
    path = written(tmp_path / "a.xyz", ["H", *["H2O", "CH4", "CH3OH", "C2H6"] * 6, "C", "O"])
    loaded = load_dataset(
        settings(path=str(path), targets="energy", split={"kind": kind, "seed": seed})
    )
    alone = [row for row in range(len(loaded)) if loaded.frames.n_atoms[row] == 1]
    assert set(alone) <= set(loaded.splits["train"].tolist())
    rows = torch.cat(list(loaded.splits.values()))
    assert sorted(rows.tolist()) == list(range(27))
    if kind == "molecules":
        homes = {
            name: set(loaded.part(name).n_atoms.tolist()) - {1}
            for name in ("train", "valid", "test")
        }
        assert not homes["train"] & homes["valid"]
        assert not homes["train"] & homes["test"]


@pytest.mark.parametrize("kind", ["random", "file"])
def test_isolated_atoms_stay_beside_a_limit_and_a_size(tmp_path: Path, kind: str) -> None:
    names = ["H", *["H2O", "CH4", "CH3OH", "C2H6"] * 6, "C", "O"]
    path, split = written(tmp_path / "a.xyz", names), tmp_path / "split.json"
    rows = list(range(27))
    split.write_text(json.dumps({"train": rows[:20] + [25, 26], "valid": rows[20:25], "test": []}))
    fields = {"kind": kind, "path": str(split) if kind == "file" else None}
    loaded = load_dataset(
        settings(path=str(path), targets="energy", limit=15, seed=5, split={**fields, "train": 5})
    )
    # Runs of before have the rows of this choice in their split.json: the others stand behind it.
    chosen = choose(27, 15, 5, ()).tolist()
    beside = [row for row in (0, 25, 26) if row not in chosen]
    assert beside
    expected = [names[row] for row in [*chosen, *beside]]
    assert loaded.frames.n_atoms.tolist() == [len(molecule(name)) for name in expected]
    train = loaded.part("train")
    assert sorted(train.n_atoms.tolist())[:4] == [1, 1, 1, 3]
    assert len(train) == 5 + 3


def test_atoms_in_a_crystal_are_divided_and_those_in_a_box_train(tmp_path: Path) -> None:
    crystals = [bulk("Cu", "fcc", a=a) for a in np.linspace(3.4, 3.8, 20)]
    box = ase.Atoms("Cu", cell=[20, 20, 20], pbc=True)
    frames = [*crystals, box]
    for atoms in frames:
        atoms.info["REF_energy"] = -3.0
    ase.io.write(tmp_path / "a.xyz", frames)
    loaded = load_dataset(settings(path=str(tmp_path / "a.xyz"), targets="energy"))
    assert [len(rows) for rows in loaded.splits.values()] == [16 + 1, 2, 2]
    assert 20 in loaded.splits["train"].tolist()


def test_a_set_of_atoms_alone_is_divided_like_others(tmp_path: Path) -> None:
    path = written(tmp_path / "a.xyz", ["H", "C", "O"] * 10)
    loaded = load_dataset(settings(path=str(path), targets="energy"))
    assert [len(rows) for rows in loaded.splits.values()] == [24, 3, 3]


def test_what_spoils_a_training_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = ["H2O", "CH4", "CH3OH", "C2H6"] * 6
    path = written(tmp_path / "a.xyz", names, wrong=5)
    frames = ase.io.read(path, index=":")
    frames[23] = frames[3].copy()
    frames[23].rotate(40, "x")
    ase.io.write(path, frames)
    (tmp_path / "split.json").write_text(
        '{"train": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10], "valid": [11, 12, 13], "test": [22, 23]}'
    )
    split = {"kind": "file", "path": str(tmp_path / "split.json")}
    with caplog.at_level("INFO", logger="molequi"):
        load_dataset(settings(path=str(path), targets="energy", split=split))
    assert "energy: 1 labels lie far outside the others" in caplog.text
    assert "a.xyz:5" in caplog.text
    assert "1 of 2 structures of test stand in train too" in caplog.text
    assert "3 of 3 structures of valid are molecules that train has too" in caplog.text


def test_coincident_atoms_are_refused_before_training(tmp_path: Path) -> None:
    path = written(tmp_path / "a.xyz", ["H2O"] * 12)
    frames = ase.io.read(path, index=":")
    frames[3].positions[1] = frames[3].positions[2]
    ase.io.write(path, frames)
    for kind in (None, "table"):
        with pytest.raises(UserError, match=r"a\.xyz:3: atom 2 and atom 1 are 0\.000 Å apart"):
            load_dataset(settings(kind=kind, path=str(path), targets="energy"))
    with pytest.raises(UserError, match=r"a\.xyz:3: atom 2 and atom 1"):
        load_labelled(path, [PROPERTIES["energy"]])


def test_a_part_of_unknown_elements_alone_is_refused_by_its_reason(tmp_path: Path) -> None:
    path, split = written(tmp_path / "a.xyz", ["CH4", "H2O", "C2H6"] * 5), tmp_path / "split.json"
    rows = {"train": [0, 3, 6], "valid": [1, 4], "test": [2, 7]}
    split.write_text(json.dumps(rows))
    words = "all 2 structures of valid hold elements .* of O, .*split.kind=random or another"
    chosen = {"kind": "file", "path": str(split)}
    with pytest.raises(UserError, match=words):
        load_dataset(settings(path=str(path), targets="energy", split=chosen))
    split.write_text(json.dumps({**rows, "valid": rows["test"], "test": rows["valid"]}))
    loaded = load_dataset(settings(path=str(path), targets="energy", split=chosen))
    assert [len(rows) for rows in loaded.splits.values()] == [6, 1, 0]
    for fold, words in ((1, "all 5 structures of valid"), (3, "all 5 structures of test")):
        drawn = {"kind": "molecules", "folds": 3, "fold": fold}
        with pytest.raises(UserError, match=f"{words} hold elements .* of O, "):
            load_dataset(settings(path=str(path), targets="energy", split=drawn))


@pytest.mark.parametrize("split", [{}, {"kind": "size"}, {"kind": "scaffold"}, {"folds": 3}])
def test_elements_that_would_be_tested_alone_train(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, split: dict[str, object]
) -> None:
    path = tmp_path / "rare.csv"
    smiles = [*("C" * n + "O" for n in range(1, 13)), "CCCCCCCF", "CCCCCCCCCCCCCCl"]
    path.write_text("smiles,gap\n" + "".join(f"{text},{len(text)}\n" for text in smiles))
    rare = {12, 13}
    for seed in range(3):
        caplog.clear()
        drawn = {"train": 9, "valid": 2, "test": 3, "seed": seed, **split}
        loaded = load_dataset(settings(kind="table", path=str(path), targets="gap", split=drawn))
        parts = {name: set(rows.tolist()) for name, rows in loaded.splits.items()}
        assert rare <= parts["train"]
        assert sum(map(len, parts.values())) == len(smiles) == len(set().union(*parts.values()))
    assert split.get("kind") != "size" or "1 structures with Cl move to train" in caplog.text


def test_elements_that_a_split_file_tests_alone_train_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, split = tmp_path / "rare.csv", tmp_path / "split.json"
    path.write_text("smiles,gap\nCO,1\nCCO,2\nCN,3\nCF,4\nCC,5\nCCl,6\n")
    split.write_text('{"train": [0, 1], "valid": [2, 3, 4], "test": [5]}')
    chosen = {"kind": "file", "path": str(split)}
    loaded = load_dataset(settings(kind="table", path=str(path), targets="gap", split=chosen))
    parts = {name: rows.tolist() for name, rows in loaded.splits.items()}
    assert parts == {"train": [0, 1, 2, 3, 5], "valid": [4], "test": []}
    assert "3 structures with N F Cl move to train" in caplog.text
    assert "(first rare.csv:4)" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"z": np.array([8, 1, np.nan])}, "z holds numbers that are not whole"),
        ({"z": np.array([8, 1, 1.0])}, ""),
        ({"E": np.ones(2) * 1j}, "E is of type complex128"),
        ({"R": np.zeros((2, 3, 3)).astype("U4")}, "R is of type <U4"),
        ({"F": np.full((2, 3, 3), 1e300)}, "forces of atom 0 of the set is"),
    ],
)
def test_numbers_of_an_rmd17_file(tmp_path: Path, change: dict, message: str) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "z": np.array([8, 1, 1]),
        "R": rng.normal(size=(2, 3, 3)),
        "E": np.ones(2),
        "F": np.zeros((2, 3, 3)),
    }
    np.savez(tmp_path / "a.npz", **arrays | change)
    if not message:
        assert load_rmd17(tmp_path / "a.npz").frames.elements() == (1, 8)
        return
    with pytest.raises(UserError, match=message):
        load_rmd17(tmp_path / "a.npz")


@pytest.mark.parametrize("name", ["labels.csv", "labels.xyz"])
def test_a_label_that_cannot_be_read_is_left_out_with_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """Whoever judges a model by what a file has would else miss that its energies are not told."""
    path = tmp_path / name
    if name.endswith(".csv"):
        path.write_text('smiles,energy,dipole_magnitude\nO,"-76,4",1.8\nN,"-56,5",1.5\n')
        found = "the text '-76,4' (write a decimal point, not a comma)"
    else:
        path.write_text('2\nenergy="-76,4" dipole_magnitude=1.8\nO 0 0 0\nH 0 0 1\n')
        found = "the numbers [-76, 4]"
    wanted = [PROPERTIES["energy"], PROPERTIES["dipole_magnitude"]]
    assert list(load_labelled(path, wanted).properties) == ["dipole_magnitude"]
    (said,) = [text for text in caplog.messages if text.startswith("energy is left out: ")]
    assert f"it holds {found}, expected 1 number(s)" in said
    assert str(path) in said


def spread(key: str, suffixes: str) -> dict[str, str]:
    """Return fields of a vector or tensor with a component each: 1, 2, 3, ..."""
    return {f"{key}{suffix}": str(k + 1) for k, suffix in enumerate(suffixes.split())}


@pytest.fixture
def headed_sdf(tmp_path: Path) -> Path:
    """Make an SDF whose labels stand in fields with units and components."""
    with Chem.SDWriter(str(tmp_path / "a.sdf")) as writer:
        for smiles in ("O", "CC", "CO", "N", "C"):
            record = Chem.AddHs(Chem.MolFromSmiles(smiles))
            AllChem.EmbedMolecule(record, randomSeed=1)
            fields = {
                "gap [Ha]": "0.5",
                "homo [THz]": "1",
                **spread("mu", "_x _y _z"),
                **spread("dipole", "0 1 2"),
                **spread("polarizability_", "xx xy xz yx yy yz zx zy zz"),
            }
            for name, text in fields.items():
                record.SetProp(name, text)
            writer.write(record)
    return tmp_path / "a.sdf"


@pytest.mark.parametrize("kind", ["table", "frames"])
@pytest.mark.parametrize("keys", [{}, {"moment": "mu", "gap": "gap [Ha]"}])
def test_what_training_takes_from_a_file_is_evaluated_too(
    headed_sdf: Path, kind: str, keys: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    moment = declare("moment" if keys else "mu", unit="D", irreps="1o")
    rows = [PROPERTIES["gap"], moment, PROPERTIES["dipole"], PROPERTIES["polarizability"]]
    names = [row.name for row in rows]
    asked = settings(
        kind=kind, path=str(headed_sdf), targets=names, keys=keys, split={"train": 3, "valid": 1}
    )
    trained = load_dataset(asked, {moment.name: moment})
    for like in (asked, None if not keys else asked):
        found = load_labelled(headed_sdf, [*rows, PROPERTIES["homo"]], like)
        assert list(found.properties) == names
        for name, values in found.frames.targets.items():
            assert torch.equal(values, trained.frames.targets[name])
    assert found.frames.targets["gap"][0] == pytest.approx(0.5 * Hartree)
    assert found.frames.targets[moment.name][0].tolist() == [1.0, 2.0, 3.0]
    assert found.frames.targets["polarizability"][0, 1, 2] == 6.0
    (said,) = {text for text in caplog.messages if "left out" in text}
    assert "homo is left out" in said
    assert "data.units.homo=UNIT" in said


def test_inspection_tells_of_headings_and_components(headed_sdf: Path) -> None:
    report = inspect(headed_sdf)
    assert {row.name: (row.key, row.unit) for row in report.labels.rows} == {
        "gap": ("gap [Ha]", "Ha"),
        "dipole": ("dipole", "e·Å"),
        "polarizability": ("polarizability", "Å³"),
    }
    assert any("the column 'homo [THz]'" in line for line in report.notes)


def test_components_in_a_table_without_axes_cost_no_other_label(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("smiles,gap [Ha],mu_x,mu_y,mu_z\nO,0.5,1,2,3\n")
    mu = declare("mu", unit="D", irreps="1o")
    like = settings(path="b.sdf", targets=["gap", "mu"], units={"gap": "eV"})
    assert list(load_labelled(tmp_path / "a.csv", [PROPERTIES["gap"], mu]).properties) == ["gap"]
    (tmp_path / "a.csv").write_text("smiles,gap [B3LYP]\nO,0.5\n")
    found = load_labelled(tmp_path / "a.csv", [PROPERTIES["gap"]], like)  # as data.units say
    assert found.frames.targets["gap"].tolist() == [0.5]
