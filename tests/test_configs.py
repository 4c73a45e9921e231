"""The bundled experiments: complete, valid, and models can be made of them."""

from __future__ import annotations

import inspect

import pytest
import yaml

from molequi.config import (
    Config,
    DataSettings,
    ModelSettings,
    SplitSettings,
    TrainingSettings,
    load_config,
)
from molequi.datasets.datamodule import MolecularDataModule
from molequi.datasets.load import load_dataset
from molequi.models.molecular import make_model
from molequi.nn.backbones.registry import BACKBONES
from molequi.properties import Property
from molequi.runtime import resources
from molequi.training.fit import make_schedule
from molequi.training.loss import Objective
from molequi.training.module import MolecularTraining
from molequi.training.schedule import Schedule

DYNAMICS = ("spring", "trajectory")  # tests/hamiltonian/test_train.py looks at these
NAMES = [name for name in resources.config_names() if name not in DYNAMICS]
# Settings of machines and of bookkeeping, and of splits that the data do not have, need not stand
# in every file.
OPTIONAL = {
    "kernels",
    "devices",
    "nodes",
    "workers",
    "logger",
    "checkpoint_minutes",
    "checkpoint_steps",
}


def test_the_promised_experiments_are_there():
    assert {"extxyz", "property", "qm9", "qm9_sample", "rmd17", "organic"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_config_is_complete_and_makes_a_model(name):
    config = load_config(name)
    text = yaml.safe_load(resources.config_path(name).read_text(encoding="utf-8"))
    assert config.name == name
    assert config.description
    assert set(text) == set(Config.model_fields)
    assert set(text["data"]) == set(DataSettings.model_fields)
    assert (
        set(TrainingSettings.model_fields) - OPTIONAL
        <= set(text["training"])
        <= set(TrainingSettings.model_fields)
    )
    assert {"preset", "cutoff"} <= set(text["model"])
    model = make_model(
        (1, 6, 7, 8, 9), config.targets(), preset=config.model.preset, **config.model.overrides()
    )
    assert model.outputs == config.data.targets
    assert make_schedule(config.training).epochs == config.training.epochs


@pytest.mark.parametrize("name", ["qm9_sample"])
def test_bundled_data_load_as_configured(name):
    config = load_config(name, ["data.limit=50"])
    frames, splits = load_dataset(config.data, config.declared())
    assert len(frames) == 50
    assert set(frames.targets) == set(config.data.targets)
    assert all(len(splits[part]) for part in ("train", "valid", "test"))


def arguments(kind) -> set[str]:
    return set(inspect.signature(kind).parameters)


def test_settings_are_the_arguments_of_constructors_under_the_same_names():
    backbones = set().union(*(arguments(kind) for kind in BACKBONES.values()))
    assert set(ModelSettings.model_fields) - {"preset", "kind"} == backbones - {
        "elements",
        "irreps_out",
    }
    assert {"preset", "kind"} <= arguments(make_model)
    assert set(ModelSettings.model_fields["kind"].annotation.__args__[0].__args__) == set(BACKBONES)
    training = set(TrainingSettings.model_fields)
    optimisation = {"weight_decay", "ema", "gradient_clip", "seed"}
    assert optimisation <= training
    assert optimisation == arguments(MolecularTraining) - {"model", "objective", "schedule"}
    assert arguments(Schedule) <= training
    assert {"batch_size", "seed", "workers"} == (arguments(MolecularDataModule) & training)
    assert "huber" in arguments(Objective)
    declared = set(Config.model_fields["properties"].annotation.__args__[1].model_fields)
    assert declared == arguments(Property) - {"name", "qm9"}
    assert {"seed", "path", "index", "kind"} <= set(SplitSettings.model_fields)
