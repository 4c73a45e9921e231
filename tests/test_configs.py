"""The bundled experiments: complete, valid, and models can be made of them."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import yaml

from molequi.datasets.datamodule import MolecularDataModule
from molequi.datasets.load import load_dataset
from molequi.datasets.settings import DataSettings, SplitSettings
from molequi.experiments import load_experiment
from molequi.hamiltonian.config import (
    MoleculeSettings,
    NetworkSettings,
    OptimisationSettings,
    SpringSettings,
)
from molequi.models.making import make_model
from molequi.models.physics import Physics
from molequi.models.settings import ModelSettings
from molequi.nn.backbones.registry import BACKBONES
from molequi.properties import Property
from molequi.runtime import resources
from molequi.settings import Settings, dump_settings
from molequi.training.config import Config, load_config, make_config
from molequi.training.loss import Objective
from molequi.training.module import MolecularTraining
from molequi.training.schedule import Schedule, make_schedule
from molequi.training.settings import StageSettings, TrainingSettings

NAMES = resources.config_names()
MOLECULAR = [name for name in NAMES if isinstance(load_experiment(name), Config)]
SETTINGS: dict[str, type[Settings]] = {
    kind.__name__: kind
    for kind in (
        *(Config, DataSettings, SplitSettings, ModelSettings, TrainingSettings, StageSettings),
        *(SpringSettings, MoleculeSettings, NetworkSettings, OptimisationSettings),
    )
}
DEFAULTS = yaml.safe_load(
    (Path(__file__).parent / "files" / "default_settings.yaml").read_text(encoding="utf-8")
)


def text_of(name: str) -> dict[str, Any]:
    return yaml.safe_load(resources.config_path(name).read_text(encoding="utf-8"))


def stated_defaults(text: dict[str, Any], settings: Settings, where: str = "") -> list[str]:
    """The keys of a config that say what would hold without them."""
    found = []
    for name, stated in text.items():
        field, value = type(settings).model_fields[name], getattr(settings, name)
        if isinstance(value, Settings):
            found += stated_defaults(stated, value, f"{where}{name}.")
        elif not field.is_required() and field.get_default(call_default_factory=True) == value:
            found.append(f"{where}{name}")
    return found


def test_the_promised_experiments_are_there():
    assert {"extxyz", "property", "qm9", "qm9_sample", "rmd17", "organic"} <= set(MOLECULAR)
    assert set(NAMES) - set(MOLECULAR) == {"spring", "trajectory"}


@pytest.mark.parametrize("name", NAMES)
def test_config_says_what_it_is_about_and_states_no_default(name):
    config, text = load_experiment(name), text_of(name)
    assert config.name == name
    assert config.description
    assert config.expected
    assert {"name", "description", "expected", "data", "model", "training"} <= set(text)
    assert not stated_defaults(text, config)


def test_a_stated_default_is_found():
    text = {"name": "x", "data": {"kind": "qm9", "targets": ["gap"]}, "training": {"epochs": 100}}
    assert stated_defaults(text, make_config(text)) == ["training.epochs"]
    text = {"name": "x", "data": {"kind": "qm9", "targets": ["gap"], "split": {"seed": 0}}}
    assert stated_defaults(text, make_config(text)) == ["data.split.seed"]


@pytest.mark.parametrize("kind", SETTINGS)
def test_defaults_on_which_configs_rely_stay(kind):
    defaults = {
        name: field.get_default(call_default_factory=True)
        for name, field in SETTINGS[kind].model_fields.items()
    }
    for name, value in DEFAULTS[kind].items():
        found = defaults[name]
        assert (list(found) if isinstance(found, tuple) else found) == value, name


@pytest.mark.parametrize("name", NAMES)
def test_dump_of_a_config_states_everything_and_resolves_to_it(name, tmp_path):
    config = load_experiment(name)
    path = tmp_path / "resolved.yaml"
    path.write_text(dump_settings(config), encoding="utf-8")
    assert load_experiment(path) == config
    text = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert set(text) == set(type(config).model_fields)
    for group in ("data", "model", "training"):
        assert set(text[group]) == set(type(getattr(config, group)).model_fields)


@pytest.mark.parametrize("name", MOLECULAR)
def test_config_makes_a_model(name):
    config, text = load_config(name), text_of(name)
    assert "cutoff" in text["model"]
    model = make_model(
        (1, 6, 7, 8, 9), config.targets(), preset=config.model.preset, **config.model.overrides()
    )
    assert model.outputs == config.data.targets
    assert make_schedule(config.training).epochs == config.training.epochs


@pytest.mark.parametrize("name", ["qm9_sample"])
def test_bundled_data_load_as_configured(name):
    config = load_config(name, ["data.limit=50"])
    loaded = load_dataset(config.data, config.declared())
    frames, splits = loaded.frames, loaded.splits
    assert len(frames) == 50
    assert set(frames.targets) == set(config.data.targets)
    assert all(len(splits[part]) for part in ("train", "valid", "test"))


def arguments(kind) -> set[str]:
    return set(inspect.signature(kind).parameters)


def test_settings_are_the_arguments_of_constructors_under_the_same_names():
    backbones = set().union(*(arguments(kind) for kind in BACKBONES.values()))
    # What stands beside the network; the functional is dispersion's.
    dispersion = {"dispersion_functional", "dispersion_parameters"}
    physics = (arguments(Physics) - {"functional"}) | dispersion
    named = set(ModelSettings.model_fields) - {"preset", "architecture"}
    assert physics <= named
    # What training and heads do with them.
    others = {"symmetry", "penalty", "pooling"}
    assert others <= named
    assert named - physics - others == backbones - {"elements", "irreps_out"}
    assert {"preset", "architecture"} <= arguments(make_model)
    for name in BACKBONES:
        assert ModelSettings(architecture=name).architecture == name
    with pytest.raises(ValueError, match="choose one of spherical, invariants, coordinates"):
        ModelSettings(architecture="tensors")
    with pytest.raises(ValueError, match="choose one of auto, reference, generic, specialized"):
        TrainingSettings(kernels="table")
    training = set(TrainingSettings.model_fields)
    optimisation = {"optimizer", "weight_decay", "ema", "gradient_clip", "seed"}
    assert optimisation <= training
    assert optimisation == arguments(MolecularTraining) - {
        *("model", "objective", "schedule", "symmetry")
    }
    assert arguments(Schedule) <= training
    assert {"batch_size", "seed", "workers"} == (arguments(MolecularDataModule) & training)
    assert "huber" in arguments(Objective)
    declared = set(Config.model_fields["properties"].annotation.__args__[1].model_fields)
    # What else a head computes, what is a derivative, and what else its labels mean, is code: no
    # declaration can say it.
    code = {"gives", "serves", "derived_from", "along", "free_constants", "members"}
    assert declared == arguments(Property) - {"name"} - code
    assert {"seed", "path", "index", "kind"} <= set(SplitSettings.model_fields)
