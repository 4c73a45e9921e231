"""Axes: labels read off coordinates, and how their reader complains."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from molequi.datasets.chirality.axial import load_axial
from molequi.datasets.conversion import atoms_from_frames
from molequi.datasets.splits import check_groups
from molequi.errors import UserError


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
        torsion = atoms_from_frames(loaded.frames, index).get_dihedral(1, 10, 11, 12)
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
