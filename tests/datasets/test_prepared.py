"""Sets that are prepared: made, listed, loaded, divided by groups."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from molequi.datasets.catalog import describe_datasets, inspect, prepare, prepared_names
from molequi.datasets.load import load_dataset
from molequi.datasets.npz import load_npz
from molequi.datasets.places import SAMPLES
from molequi.datasets.prepared import preparing
from molequi.datasets.settings import DataSettings
from molequi.datasets.splits import check_groups
from molequi.errors import UserError


def settings(**fields: object) -> DataSettings:
    return DataSettings.model_validate(fields)


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


def test_of_two_preparations_one_waits_and_takes_what_the_other_made(
    tmp_path: Path, sample: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "molequi")
    shutil.copy(sample("alanine.npz"), tmp_path / "alanine_L_conformers.npz")
    with preparing(tmp_path):
        waiting = threading.Thread(target=prepare, args=("alanine", tmp_path))
        waiting.start()
        while "waiting for another run" not in caplog.text:
            time.sleep(0.01)
        (tmp_path / "alanine.npz").write_text("made by the other")
    waiting.join()
    assert (tmp_path / "alanine.npz").read_text() == "made by the other"


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
