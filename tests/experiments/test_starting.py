"""Which kind of experiment a config is, and what is refused before anything is written."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from molequi.errors import UserError
from molequi.experiments import load_experiment, prepare
from molequi.experiments.base import Experiment
from molequi.experiments.dynamics import DynamicsExperiment
from molequi.experiments.ensemble import EnsembleExperiment
from molequi.experiments.molecular import MolecularExperiment
from molequi.experiments.repeated import RepeatedExperiment
from molequi.hamiltonian.config import DynamicsConfig
from molequi.settings import dump_settings
from molequi.training.config import Config

TRAJECTORY = ("data.path=samples/ethanol.extxyz.gz", "data.limit=20", "model.preset=light")
SPRINGS = ("data.train=2", "data.valid=1", "data.test=1", "data.rollouts=1")


@pytest.mark.parametrize(
    ("config", "more", "kind"),
    [
        ("extxyz", TRAJECTORY, MolecularExperiment),
        ("extxyz", (*TRAJECTORY, "training.folds=2"), RepeatedExperiment),
        ("extxyz", (*TRAJECTORY, "ensemble=2"), EnsembleExperiment),
        ("extxyz", (*TRAJECTORY, "ensemble=2", "members=heads"), MolecularExperiment),
        ("spring", SPRINGS, DynamicsExperiment),
    ],
)
def test_a_config_says_what_is_run(
    config: str, more: tuple[str, ...], kind: type[Experiment], tmp_path: Path
) -> None:
    experiment = prepare(config, more, tmp_path / "run")
    assert type(experiment) is kind
    assert experiment.has_callbacks == (kind is not DynamicsExperiment)
    assert not (tmp_path / "run").exists()


def test_configs_of_either_kind_are_read() -> None:
    assert isinstance(load_experiment("extxyz"), Config)
    assert isinstance(load_experiment("spring"), DynamicsConfig)


def test_going_on_needs_a_run() -> None:
    with pytest.raises(UserError, match="the run directory to go on with must be given"):
        prepare(None)


def test_a_run_does_not_replace_the_config_that_it_is_read_from(tmp_path: Path) -> None:
    """Not even one that a run wrote, copied to change a setting."""
    own = tmp_path / "run" / "config.yaml"
    own.parent.mkdir()
    own.write_text(dump_settings(load_experiment("spring", SPRINGS)), encoding="utf-8")
    with pytest.raises(UserError, match=r"replace .*config.yaml, which it is read from; --output"):
        prepare(own, ["training.epochs=2"], own.parent)
    assert prepare(own, ["training.epochs=2"], own.parent, overwrite=True)
    assert prepare(own, (), tmp_path / "other")


def test_settings_are_no_name_of_a_config() -> None:
    with pytest.raises(UserError, match="the config is of type dict; give a YAML file or a bund"):
        load_experiment({"name": "mine"})


def test_a_missing_logger_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(UserError, match="tensorboard, which is not installed"):
        prepare("extxyz", [*TRAJECTORY, "training.logger=tensorboard"], tmp_path / "run")
    assert not (tmp_path / "run").exists()
