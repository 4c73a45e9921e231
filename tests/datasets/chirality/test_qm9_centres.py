"""R and S centres of QM9, joined by number."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from molequi.datasets.chirality.qm9_centres import load_qm9_chirality
from molequi.datasets.load import load_dataset
from molequi.datasets.npz import load_npz
from molequi.datasets.settings import DataSettings
from molequi.datasets.splits import check_groups
from molequi.errors import UserError


def settings(**fields: object) -> DataSettings:
    return DataSettings.model_validate(fields)


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
