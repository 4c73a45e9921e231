"""Folds and seeds: how the data of each run are divided."""

from __future__ import annotations

import itertools
import json
import signal
from pathlib import Path

import ase.io
import pytest
from ase import Atoms
from ase.build import molecule
from pytorch_lightning import Callback, LightningModule, Trainer

from molequi.errors import RunInterruptedError, UserError
from molequi.experiments import prepare, train
from molequi.experiments.molecular import MolecularExperiment, begin_all
from molequi.experiments.repeated import RepeatedExperiment

TINY = ("model.preset=light", "training.epochs=1", "data.targets=energy", "training.weights={}")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Five molecules in turn, four times; nitrogen stands in one of them alone."""
    frames = []
    for number, name in enumerate(["CH4", "H2O", "NH3", "CH3OH", "H2CO"] * 4):
        atoms = molecule(name)
        atoms.rattle(0.02, seed=number)
        atoms.info["energy"] = -1.0 - number
        frames.append(atoms)
    ase.io.write(tmp_path / "a.extxyz", frames)
    return tmp_path / "a.extxyz"


def divided(experiment: MolecularExperiment | RepeatedExperiment) -> list[dict[str, list[str]]]:
    """Return the names of the structures of each part, of each run."""
    runs = [experiment]
    if isinstance(experiment, RepeatedExperiment):
        runs = list(experiment.runs().values())
    return [
        {name: sorted(run.dataset.part(name).source) for name in run.dataset.splits} for run in runs
    ]


@pytest.mark.parametrize(
    "parts", [{"train": 10, "valid": 4, "test": 6}, {"train": 6, "valid": 4, "test": 4}]
)
def test_repeats_have_the_rows_of_a_split_file_that_a_limit_leaves(
    parts: dict[str, int], data: Path, tmp_path: Path
) -> None:
    """Also where all rows of the file would exist among those that are left."""
    numbers = iter(range(20))
    rows = {name: list(itertools.islice(numbers, size)) for name, size in parts.items()}
    split, run = tmp_path / "split.json", tmp_path / "run"
    split.write_text(json.dumps(rows))
    given = [*TINY, f"data.path={data}", "data.limit=14"]
    given += ["data.split.kind=file", f"data.split.path={split}"]
    (once,) = divided(prepare("extxyz", given, run))
    assert divided(prepare("extxyz", [*given, "training.repeats=2"], run)) == [once, once]
    for name, own in rows.items():
        assert once[name]
        assert set(once[name]) <= {f"a.extxyz:{number}" for number in own}


class Interrupted(Callback):
    """Ends the n-th of several trainings as a signal does."""

    def __init__(self, training: int) -> None:
        self.training, self.begun = training, 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.begun += 1

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.begun == self.training:
            raise RunInterruptedError("stopped in this run", signal.SIGINT)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("several", ["training.repeats=2", "ensemble=2"])
def test_a_resumed_whole_forgets_its_result_and_is_the_one_to_go_on_with(
    several: str, data: Path, tmp_path: Path
) -> None:
    """The old result stood beside the new config, and the fold was named that cannot go on."""
    folder, given = tmp_path / "run", [*TINY, f"data.path={data}", several]
    train("extxyz", given, folder)
    results = [folder / "result.json", folder / "report.html"]
    before = [path.stat().st_mtime_ns for path in results]
    more = [*given, "training.epochs=2"]
    with pytest.raises(RunInterruptedError, match=r"SIGINT; .* in .*/run, go on") as stopped:
        train("extxyz", more, folder, resume=True, callbacks=[Interrupted(2)])
    assert stopped.value.signal_number == signal.SIGINT
    assert not any(path.exists() for path in results)
    train("extxyz", more, folder, resume=True)
    assert all(path.stat().st_mtime_ns > time for path, time in zip(results, before, strict=True))
    again = prepare("extxyz", more, folder, resume=True)
    begin_all(again, ())
    assert all(path.is_file() for path in results)


def test_folds_test_all_that_a_limit_leaves_once(data: Path, tmp_path: Path) -> None:
    given = (f"data.path={data}", "data.limit=15", "training.folds=3")
    tested = [run["test"] for run in divided(prepare("extxyz", [*TINY, *given], tmp_path / "run"))]
    assert [len(names) for names in tested] == [5, 5, 5]
    assert len({name for names in tested for name in names}) == 15


def test_folds_divide_what_a_limit_and_isolated_atoms_leave_as_one_run_does(
    data: Path, tmp_path: Path
) -> None:
    """The limit was taken again, of the atoms beside it too: each fold but one had other data."""
    atoms = [Atoms(symbol, info={"energy": -1.0}) for symbol in "HCNO"]
    ase.io.write(data, [*atoms, *ase.io.read(data, ":")])
    given = [*TINY, f"data.path={data}", "data.limit=18"]
    folds = divided(prepare("extxyz", [*given, "training.folds=3"], tmp_path / "run"))
    tested = [name for run in folds for name in run["test"]]
    assert len(tested) == len(set(tested))
    assert len({frozenset(run["train"] + run["valid"] + run["test"]) for run in folds}) == 1
    for number, fold in enumerate(folds, start=1):
        split = ["data.split.folds=3", f"data.split.fold={number}"]
        assert divided(prepare("extxyz", [*given, *split], tmp_path / "run")) == [fold]


def test_a_fold_that_cannot_be_tested_is_refused_before_the_first_is_trained(
    data: Path, tmp_path: Path
) -> None:
    split = ["data.split.kind=molecules", "data.split.seed=1", "training.folds=5"]
    whole = prepare("extxyz", [*TINY, f"data.path={data}", *split], tmp_path / "run")
    with pytest.raises(UserError, match="all 4 structures of test .*, of N.*split.kind=random"):
        whole.run()
    assert not (tmp_path / "run").exists()
