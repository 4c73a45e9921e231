"""Alanine as both enantiomers, R and S centres of QM9, axes.

The loaders, their splits, and how they complain.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import ase
import numpy as np
import pytest
import torch

from molequi.config import DataSettings
from molequi.datasets.catalog import describe_datasets, inspect, prepare, prepared_names
from molequi.datasets.chirality.alanine import load_alanine
from molequi.datasets.chirality.axial import load_axial
from molequi.datasets.chirality.qm9_centres import load_qm9_chirality
from molequi.datasets.in_memory import Frames
from molequi.datasets.load import load_dataset
from molequi.datasets.npz import load_npz
from molequi.datasets.places import SAMPLES
from molequi.datasets.splits import check_groups
from molequi.errors import UserError
from molequi.structures.perception import labels_from_geometry


def settings(**fields: object) -> DataSettings:
    return DataSettings.model_validate(fields)


@pytest.fixture(scope="module")
def sample(checkout: Path) -> Callable[[str], Path]:
    return lambda name: checkout / "data" / "samples" / name


def atoms_of(frames: Frames, index: int) -> ase.Atoms:
    rows = slice(int(frames.offsets[index]), int(frames.offsets[index + 1]))
    return ase.Atoms(frames.atomic_numbers[rows].numpy(), frames.positions[rows].numpy())


def test_alanine_comes_as_both_enantiomers(sample: Callable[[str], Path]) -> None:
    loaded = load_alanine(sample("alanine.npz"))
    frames = loaded.frames
    assert {name: len(rows) for name, rows in loaded.splits.items()} == {
        "train": 320,
        "valid": 40,
        "test": 40,
    }
    check_groups(loaded.splits, loaded.groups, "alanine")
    for index in range(0, 400, 2):
        first, second = atoms_of(frames, index), atoms_of(frames, index + 1)
        np.testing.assert_array_equal(first.positions, -second.positions)
        assert loaded.groups[index] == loaded.groups[index + 1]
    values = frames.targets["handedness"].reshape(400, 13)
    known = ~values.isnan()
    assert (known.sum(dim=1) == 1).all()
    # L is S, and stands first.
    assert values[known].tolist() == [0.0, 1.0] * 200
    for index, label in ((0, "S"), (1, "R"), (398, "S"), (399, "R")):
        assert list(labels_from_geometry(atoms_of(frames, index)).centres.values()) == [label]
        assert frames.atomic_numbers.reshape(400, 13)[index][known[index]].tolist() == [6]


def test_whole_set_of_alanine(reference_data: Callable[[str], Path]) -> None:
    path = reference_data("chirality/alanine_L_conformers.npz")
    loaded = load_dataset(
        settings(kind="alanine", path=str(path), targets=["handedness"], split={"kind": "official"})
    )
    splits = loaded.splits
    assert {name: len(rows) for name, rows in splits.items()} == {
        "train": 16000,
        "valid": 2000,
        "test": 2000,
    }
    with np.load(path) as arrays:
        test = np.flatnonzero(arrays["split"] == 2)
    assert sorted(set((splits["test"] // 2).tolist())) == test.tolist()


def test_damaged_alanine(tmp_path: Path, sample: Callable[[str], Path]) -> None:
    with np.load(sample("alanine.npz")) as arrays:
        good = dict(arrays)

    def complaint(**changes: np.ndarray | None) -> str:
        np.savez(
            tmp_path / "a.npz",
            **{name: values for name, values in {**good, **changes}.items() if values is not None},
        )
        with pytest.raises(UserError) as caught:
            load_alanine(tmp_path / "a.npz")
        return str(caught.value)

    assert "array 'split' is missing" in complaint(split=None)
    assert "the arrays do not fit" in complaint(split=good["split"][1:])
    assert "the arrays do not fit" in complaint(split=good["split"] + 1)
    mixed = good["R"].copy()
    mixed[[7, 9]] *= -1
    assert "frame 7 (2 in all) is the other enantiomer than frame 0" in complaint(R=mixed)
    assert "should have one stereocentre, found 0" in complaint(R=good["R"] * 3)
    bad = good["R"].copy()
    bad[5, 3] = np.nan
    assert "not finite" in complaint(R=bad) or "frame 5" in complaint(R=bad)


def table(path: Path, lines: list[str]) -> Path:
    with gzip.open(path, "wt") as handle:
        handle.write(
            "index,status,smiles_3d,smiles_mirror,cip,n_rs,is_chiral\n" + "\n".join(lines) + "\n"
        )
    return path


def test_qm9_labels_are_joined_by_number(
    tmp_path: Path, flat_qm9: Path, molecules: list[dict]
) -> None:
    """The numbers of methane and the like, with labels made up.

    What counts is the atom that gets them.
    """
    numbers = [molecule["index"] for molecule in molecules if molecule["index"] != 58]
    first, second = numbers[3], numbers[1]
    lines = [
        f"{first},ok,C[C@H](F)Cl,,1:R,1,1",
        f"{second},ok,C[C@H](F)Br,,0:S,1,1",
        f"{numbers[0]},ok,C,,,0,0",
        f"{numbers[2]},order,,,,,",
    ]
    loaded = load_qm9_chirality(table(tmp_path / "t.csv.gz", lines), flat_qm9)
    assert loaded.frames.source == (f"gdb {first}", f"gdb {second}")
    assert loaded.groups == ("CC(F)Cl", "CC(F)Br")
    values = loaded.frames.targets["handedness"]
    start = int(loaded.frames.offsets[1])
    assert torch.nonzero(~values.isnan())[:, 0].tolist() == [1, start]
    assert (values[1], values[start]) == (1.0, 0.0)
    assert loaded.notes["R"] == loaded.notes["S"] == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,ok,C[C@H](F)Cl,,1:X,1,1", "'1:X' of number 1 is no label; expected ATOM:R or ATOM:S"),
        ("1,ok,C[C@H](F)Cl,,7:R,1,1", "number 1 has no atom 7"),
        ("999,ok,C[C@H](F)Cl,,1:R,1,1", "number 999 .1 in all. is not among the"),
        ("1,ok,C[C@H,,1:R,1,1", "cannot be read"),
        ("1,ok,C,,,0,0", "no molecule with exactly one R or S centre"),
    ],
)
def test_damaged_labels_of_qm9(tmp_path: Path, flat_qm9: Path, line: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_qm9_chirality(table(tmp_path / "t.csv.gz", [line]), flat_qm9)


def test_other_tables_are_refused(tmp_path: Path, flat_qm9: Path) -> None:
    (tmp_path / "a.csv").write_text("smiles,gap\nC,1\n")
    with pytest.raises(UserError, match="column 'index' is missing"):
        load_qm9_chirality(tmp_path / "a.csv", flat_qm9)
    with pytest.raises(UserError, match="does not exist; expected the table of R/S labels"):
        load_qm9_chirality(tmp_path / "none.csv", flat_qm9)
    (tmp_path / "b.csv.gz").write_bytes(b"not gzip")
    with pytest.raises(UserError, match="cannot be read as a table"):
        load_qm9_chirality(tmp_path / "b.csv.gz", flat_qm9)


def test_whole_set_of_qm9(reference_data: Callable[[str], Path]) -> None:
    fields = {
        "path": str(reference_data("qm9/qm9_chirality.csv.gz")),
        "structures": str(reference_data("qm9/qm9_core.npz")),
    }
    loaded = load_dataset(
        settings(kind="qm9_chirality", **fields, targets="handedness", split={"kind": "official"})
    )
    values = loaded.frames.targets["handedness"]
    assert ((values == 1).sum(), (values == 0).sum()) == (11480, 11992)
    assert abs(len(loaded.splits["train"]) / 23472 - 0.8) < 0.01
    check_groups(loaded.splits, loaded.groups, "QM9")
    # The sample keeps parts and labels of the whole.
    small = load_npz(Path(__file__).parents[3] / "data" / "samples" / "qm9_chirality_sample.npz")
    part_of = {
        loaded.frames.source[row]: name
        for name, rows in loaded.splits.items()
        for row in rows.tolist()
    }
    for name, rows in small.splits.items():
        assert all(part_of[small.frames.source[row]] == name for row in rows.tolist())


def test_axes_of_the_sample(sample: Callable[[str], Path]) -> None:
    loaded = load_axial(sample("axial.sdf.gz"))
    failures = loaded.failures
    assert not failures
    frames = loaded.frames
    values = frames.targets["axial_handedness"]
    owners = torch.repeat_interleave(torch.arange(len(frames)), frames.n_atoms)
    per_frame = torch.zeros(len(frames)).index_add_(0, owners, (~values.isnan()).float())
    assert (per_frame >= 2).all()
    check_groups(loaded.splits, loaded.groups, "axial")
    assert len(set(loaded.groups)) < len(frames)
    assert loaded.notes["M"] > 0 < loaded.notes["P"]
    assert set(loaded.notes["axes_without_label"]) <= {
        "substituents rank alike",
        "an axis through one atom",
        "no single bond between planar atoms",
    }
    assert (frames.spin_multiplicity == 1).all()


def test_axes_of_binol_have_the_sense_of_their_torsion(
    reference_data: Callable[[str], Path], tmp_path: Path
) -> None:
    """In 1,1'-bi-2-naphthol the carbons that bear oxygen outrank the others.

    The torsion between them tells M from P.
    """
    name = "Oc1ccc2ccccc2c1-c1c(O)ccc2ccccc12"
    text = gzip.decompress(
        reference_data("chirality/rota_axial_conformers.sdf.gz").read_bytes()
    ).decode()
    blocks = [block for block in text.split("$$$$\n") if block.startswith(name + "\n")]
    (tmp_path / "binol.sdf").write_text("".join(block + "$$$$\n" for block in blocks))
    loaded = load_axial(tmp_path / "binol.sdf", reference_data("chirality/rota_axial_labels.csv"))
    assert len(loaded.frames) == len(blocks) > 1
    for index in range(len(loaded.frames)):
        torsion = atoms_of(loaded.frames, index).get_dihedral(1, 10, 11, 12)
        rows = slice(int(loaded.frames.offsets[index]), int(loaded.frames.offsets[index + 1]))
        values = loaded.frames.targets["axial_handedness"][rows]
        assert torch.nonzero(~values.isnan())[:, 0].tolist() == [10, 11]
        assert values[10] == values[11] == float(torsion < 180)


def test_damaged_axes(tmp_path: Path, sample: Callable[[str], Path]) -> None:
    text = gzip.decompress(sample("axial.sdf.gz").read_bytes()).decode()
    blocks = [block + "$$$$\n" for block in text.split("$$$$\n") if block.strip()][:40]

    def field(block: str, value: str | None) -> str:
        head, _, tail = block.partition("<axes>")
        if value is None:
            return head.replace(">  ", "", 0) + "<other>" + tail
        first, _, rest = tail.partition("\n")
        return f"{head}<axes>{first}\n{value}\n" + rest.partition("\n")[2]

    broken = [
        field(blocks[0], None),
        field(blocks[1], "[(5, 600)]"),
        field(blocks[2], "nothing"),
        blocks[3].replace("M  END", "", 1),
    ]
    (tmp_path / "a.sdf").write_text("".join(broken + blocks[4:]))
    loaded = load_axial(tmp_path / "a.sdf")
    failures = loaded.failures
    assert len(loaded.frames) > 10
    words = ["no field 'axes'", "names the axis (5, 600)", "'nothing' cannot be read"]
    for number, word in enumerate(words, start=1):
        assert any(
            failure.startswith(f"a.sdf: record {number}:") and word in failure
            for failure in failures
        ), failures
    (tmp_path / "b.sdf").write_text("".join(broken[:3]))
    with pytest.raises(UserError, match="no conformer has an axis with a label"):
        load_axial(tmp_path / "b.sdf")
    title = blocks[4].partition("\n")[0]
    (tmp_path / "t.csv").write_text(f'SMILES,label\n"{title}","[(0, 1)]"\n')
    failures = load_axial(tmp_path / "a.sdf", tmp_path / "t.csv").failures
    assert any("but the table has [(0, 1)]" in failure for failure in failures)
    (tmp_path / "u.csv").write_text("a,b\n")
    with pytest.raises(UserError, match="expected the columns SMILES and label"):
        load_axial(tmp_path / "a.sdf", tmp_path / "u.csv")


def test_prepare_and_list(tmp_path: Path, sample: Callable[[str], Path]) -> None:
    assert not any(
        entry.available for entry in describe_datasets(tmp_path) if entry.name in prepared_names()
    )
    with pytest.raises(
        UserError, match="alanine is made from alanine_L_conformers.npz, which is not at"
    ):
        prepare("alanine", tmp_path)
    path = prepare("alanine", tmp_path, sources=[sample("alanine.npz")])
    assert {entry.name: entry for entry in describe_datasets(tmp_path)}["alanine"].available
    assert prepare("alanine", tmp_path) == path
    loaded = load_dataset(
        settings(kind="alanine", path=str(path), targets=["handedness"], split={"kind": "stored"})
    )
    assert len(loaded.frames) == 400
    assert loaded.groups[:2] == ("frame 0", "frame 0")
    assert inspect(path).n_structures == 400
    with pytest.raises(UserError, match="is no prepared axial but alanine"):
        load_dataset(settings(kind="axial", path=str(path), targets=["axial_handedness"]))
    with pytest.raises(UserError, match="data.structures has no meaning for alanine"):
        load_dataset(
            settings(kind="alanine", path=str(path), structures="x.npz", targets=["handedness"])
        )
    with pytest.raises(UserError, match="alanine is read from one file, but 2 were given"):
        load_dataset(
            settings(
                kind="alanine",
                path=f"{sample('alanine.npz')},{sample('alanine.npz')}",
                targets=["handedness"],
            )
        )
    with pytest.raises(UserError, match="--source and --structures belong"):
        prepare("qm9", tmp_path, sources=[path])


def test_a_set_that_is_not_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(
        UserError,
        match="rosenfeld is not prepared .*run `molequi data prepare rosenfeld --source "
        "qm9_rosenfeld.npz`",
    ):
        load_dataset(settings(kind="rosenfeld", targets=["rosenfeld"]))


@pytest.mark.parametrize(
    ("name", "kind", "target"),
    [
        ("alanine_sample", "alanine", "handedness"),
        ("qm9_chirality_sample", "qm9_chirality", "handedness"),
        ("rosenfeld_sample", "rosenfeld", "rosenfeld"),
        ("axial_sample", "axial", "axial_handedness"),
    ],
)
@pytest.mark.parametrize("split", ["official", "random"])
def test_samples_by_name(name: str, kind: str, target: str, split: str) -> None:
    assert name in SAMPLES
    loaded = load_dataset(settings(kind=kind, path=name, targets=[target], split={"kind": split}))
    check_groups(loaded.splits, loaded.groups, name)
    assert all(len(rows) for rows in loaded.splits.values())
    assert inspect(name).n_structures >= len(loaded.frames)


def test_a_split_that_leaks_is_refused(tmp_path: Path, sample: Callable[[str], Path]) -> None:
    rows = torch.arange(400)
    np.savez(
        tmp_path / "s.npz",
        train=rows[:301].numpy(),
        valid=rows[301:350].numpy(),
        test=rows[350:].numpy(),
    )
    with pytest.raises(UserError, match="'frame 150' stands in train and in valid"):
        load_dataset(
            settings(
                kind="alanine",
                path=str(sample("alanine.npz")),
                targets="handedness",
                split={"kind": "file", "path": str(tmp_path / "s.npz")},
            )
        )


def test_groups_survive_the_npz_file(sample: Callable[[str], Path]) -> None:
    loaded = load_dataset(
        settings(
            kind="npz",
            path="qm9_chirality_sample",
            targets=["handedness"],
            split={"kind": "random"},
        )
    )
    assert len(loaded.groups) == 300
    assert loaded.groups == load_npz(sample("qm9_chirality_sample.npz")).groups
