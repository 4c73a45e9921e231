"""One registry of data sets: every place knows what stands there, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from molequi.datasets import registry
from molequi.datasets.base import DatasetEntry, DatasetSpec, Request
from molequi.datasets.catalog import describe_datasets, inspect
from molequi.datasets.labelled_set import LabelledSet
from molequi.datasets.load import load_dataset, load_labelled
from molequi.datasets.making import make_frames
from molequi.datasets.places import SAMPLES, find_data
from molequi.datasets.prepared import PreparedSet
from molequi.datasets.registry import DATASETS, detect, find_source, get_dataset
from molequi.datasets.report import describe_frames
from molequi.datasets.settings import DataSettings
from molequi.errors import UserError
from molequi.properties import PROPERTIES, declare
from molequi.training.config import load_config


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_are_recognised(name: str) -> None:
    kinds = {
        "ethanol_sample": "frames",
        "gaps": "table",
        "alanine_sample": "alanine",
        "axial_sample": "axial",
        "molecules": "frames",
    }
    assert detect(name) == inspect(name).kind == kinds.get(name, "npz")


def test_files_of_sets_are_recognised(
    tmp_path: Path, flat_qm9: Path, archive: Path, qm9pack_data: Path
) -> None:
    assert [detect(path) for path in (flat_qm9, archive, qm9pack_data)] == ["qm9"] * 3
    np.savez(tmp_path / "r.npz", z=[1], R=np.zeros((2, 1, 3)), E=[1.0, 2.0], F=np.zeros((2, 1, 3)))
    np.savez(tmp_path / "o.npz", nuclear_charges=[1], coords=np.zeros((2, 1, 3)), energies=[1.0])
    np.savez(tmp_path / "t.npz", index=[1], beta=np.zeros((1, 3, 3)))
    kinds = [detect(tmp_path / name) for name in ("r.npz", "o.npz", "t.npz")]
    assert kinds == ["rmd17", "rmd17", "rosenfeld"]
    (tmp_path / "a.csv").write_text("index,status,smiles_3d,cip,n_rs,is_chiral\n")
    (tmp_path / "a.smi").write_text("CCO\n")
    assert detect(tmp_path / "a.csv") == "qm9_chirality"
    assert detect(tmp_path / "a.smi") == "chiral"


def test_reference_files_are_recognised(reference_data: Callable[[str], Path]) -> None:
    expected = {
        "qm9/qm9_chirality.csv.gz": "qm9_chirality",
        "rmd17/rmd17_ethanol.npz": "rmd17",
        "chirality/alanine_L_conformers.npz": "alanine",
        "chirality/qm9_rosenfeld.npz": "rosenfeld",
        "chirality/rota_axial_conformers.sdf.gz": "axial",
    }
    assert {name: detect(reference_data(name)) for name in expected} == expected


def test_what_cannot_be_recognised(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist; give a structure file"):
        detect(tmp_path / "none.xyz")
    np.savez(tmp_path / "a.npz", weights=np.zeros(3))
    with pytest.raises(UserError, match="is an npz of no known kind; it has weights"):
        detect(tmp_path / "a.npz")
    (tmp_path / "b.npz").write_bytes(b"no archive")
    with pytest.raises(UserError, match=r"b.npz .*"):
        detect(tmp_path / "b.npz")


def test_config_without_a_kind_looks_at_the_file() -> None:
    fields = {"path": "qm9_sample", "targets": "gap", "limit": 20}
    guessed = load_dataset(DataSettings.model_validate(fields))
    named = load_dataset(DataSettings.model_validate({**fields, "kind": "npz"}))
    assert guessed.frames.source == named.frames.source
    with pytest.raises(UserError, match="neither kind nor path"):
        load_dataset(DataSettings.model_validate({"targets": "gap"}))


def test_arrays_are_recognised_where_structure_files_are_expected(tmp_path: Path) -> None:
    """As with `molequi train extxyz data.path=FILE.npz`."""
    path = str(find_data("qm9_sample"))
    fields = {"path": path, "targets": "gap", "limit": 20, "kind": "frames"}
    assert len(load_dataset(DataSettings.model_validate(fields)).frames) == 20
    np.savez(tmp_path / "a.npz", weights=np.zeros(3))
    with pytest.raises(UserError, match="is an npz of no known kind; it has weights"):
        load_dataset(DataSettings.model_validate({**fields, "path": str(tmp_path / "a.npz")}))


def test_unknown_kinds_name_the_nearest() -> None:
    with pytest.raises(UserError, match=r"data.kind is 'rosenfled'; did you mean 'rosenfeld'\?"):
        load_config("qm9", ["data.kind=rosenfled"])
    with pytest.raises(UserError, match=r"data.kind is 'qm8'; did you mean 'qm9'\?"):
        get_dataset("qm8")


def test_labels_that_a_file_has_of_those_wanted() -> None:
    wanted = [PROPERTIES["energy"], PROPERTIES["dipole"], PROPERTIES["gap"]]
    assert set(load_labelled(find_data("ethanol_sample"), wanted).properties) == {"energy"}
    loaded = load_labelled("qm9_sample", wanted)
    assert set(loaded.properties) == {"gap"}
    assert len(loaded.part("test")) == 300
    with pytest.raises(
        UserError, match="split 'tset' is not known for these data; they have train"
    ):
        loaded.part("tset")
    with pytest.raises(UserError, match="has no label of dipole"):
        load_labelled("ethanol_sample", [PROPERTIES["dipole"]])


@pytest.mark.parametrize("name", DATASETS)
def test_specs_say_what_they_are(name: str) -> None:
    spec = DATASETS[name]
    assert spec.name == name
    assert spec.description
    assert spec.__doc__
    assert isinstance(spec, PreparedSet) <= bool(spec.targets)
    assert isinstance(spec, PreparedSet) <= (spec.entry(Path("nowhere")) is not None)


class Dimers(DatasetSpec):
    """A set of a stranger: two atoms a line, with their distance as energy."""

    name = "dimers"
    description = "made up"
    targets = ("energy",)
    has_official_split = True

    def recognises(self, path: Path) -> bool:
        """Recognise the suffix."""
        return path.suffix == ".dimers"

    def read(self, request: Request) -> LabelledSet:
        """Read one distance a line."""
        distances = torch.tensor([float(x) for x in request.file().read_text().split()])
        positions = torch.zeros(len(distances), 2, 3)
        positions[:, 1, 0] = distances
        frames = make_frames(
            positions.reshape(-1, 3),
            torch.ones(2 * len(distances)),
            torch.full((len(distances),), 2),
            targets={"energy": distances},
            properties={"energy": PROPERTIES["energy"]},
        )
        rows = torch.arange(len(distances))
        splits = {"train": rows[:-2], "valid": rows[-2:-1], "test": rows[-1:]}
        return LabelledSet(frames, describe_frames(frames, "a line"), splits)

    def entry(self, folder: Path) -> DatasetEntry:
        """Say where it is."""
        return DatasetEntry(self.name, self.description, "nowhere", False)


def test_a_new_set_is_a_class_and_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "DATASETS", {"dimers": Dimers(), **DATASETS})
    path = tmp_path / "a.dimers"
    path.write_text("1\n2\n3\n4\n")
    assert detect(path) == "dimers"
    assert (inspect(path).kind, inspect(path).n_structures) == ("dimers", 4)
    assert "dimers" in {entry.name for entry in describe_datasets(tmp_path)}
    assert find_source(path).spec.name == "dimers"
    overrides = [f"data.path={path}", "data.targets=energy", "data.split.kind=official"]
    config = load_config(
        "extxyz",
        [*overrides, "data.kind=dimers", "training.weights={}", "training.second_stage=null"],
    )
    loaded = load_dataset(config.data)
    assert loaded.part("train").targets["energy"].tolist() == [1.0, 2.0]
    assert set(load_labelled(path, [PROPERTIES["energy"]]).properties) == {"energy"}
    row = declare("distance", unit="Å")
    with pytest.raises(UserError, match="target 'distance' is not in the data; it has energy"):
        Dimers().load(Request(str(path), (row,)))


def test_what_a_training_would_refuse_or_doubt_is_shown(tmp_path):
    """Coincident atoms, a poisoned label, and a frame that cannot be read."""
    rows = [
        f"2\nenergy={-1 + 0.001 * (i % 7)}\nH 0 0 0\nH 0 0 {0.74 + 0.001 * i}\n" for i in range(20)
    ]
    rows[3] = rows[3].replace("energy=-", "energy=-9000")
    rows[5] = "2\nenergy=-1\nH 0 0 0\nH 0 0 0.05\n"
    rows[7] = "2\nenergy=-1\nH 0 0 0\nQq 0 0 0.05\n"
    path = tmp_path / "a.xyz"
    path.write_text("".join(rows))
    report = inspect(path)
    assert report.n_structures == 19
    notes = "\n".join(report.notes)
    assert (
        "1 structures cannot be read; the first: structure 7: line 32: 'Qq' is no element" in notes
    )
    assert "atom 1 and atom 0 are 0.050 Å apart; nuclei closer than 0.2 Å" in notes
    assert "energy: 1 labels lie far outside the others" in notes
    assert "structure 3 (" in notes
