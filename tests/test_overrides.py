"""Settings on a command line mean what people mean by them."""

from __future__ import annotations

import pytest

from molequi.overrides import apply_override
from molequi.training.config import Config, load_config


def load(*overrides: str) -> Config:
    return load_config("extxyz", ["data.path=a.xyz", *overrides])


@pytest.mark.parametrize(
    "text",
    [
        "training.weights={energy: 1, forces: 10}",
        "training.weights={energy:1,forces:10}",
        "training.weights={'energy':1,'forces':10}",
        'training.weights={"energy": 1, "forces": 10}',
        "training.weights=energy:1,forces:10",
        "training.weights=energy=1, forces=10",
    ],
)
def test_dictionaries(text: str) -> None:
    assert load(text).training.weights == {"energy": 1.0, "forces": 10.0}


@pytest.mark.parametrize(
    "text",
    [
        "data.targets=energy,dipole",
        "data.targets=[energy,dipole]",
        "data.targets=['energy', 'dipole']",
        "data.targets=(energy, dipole)",
        "data.targets=energy, dipole",
    ],
)
def test_lists(text: str) -> None:
    assert load(text).data.targets == ("energy", "dipole")


def test_texts_numbers_and_nothing() -> None:
    config = load(
        "training.learning_rate=1e-3", "training.patience=None", "training.max_minutes=null",
        "properties.pka.unit=1", "data.split=molecules", "level=PBE", "init=none",
    )  # fmt: skip
    assert config.training.learning_rate == 1e-3
    assert config.training.patience is None
    assert config.training.max_minutes is None
    assert config.properties["pka"].unit == "1"
    assert config.data.split.kind == "molecules"
    assert config.level == {"energy": "PBE", "forces": "PBE"}
    assert config.init is None
    assert load("model.augmentation=none").model.augmentation == "none"


def test_brackets_of_a_name_are_its_own() -> None:
    data: dict[str, object] = {}
    apply_override(data, "data.keys={logS:Solubility (mg/L)}")
    assert data == {"data": {"keys": {"logS": "Solubility (mg/L)"}}}
    config = load("data.targets=energy", "data.keys.energy=Total energy (eV)")
    assert config.data.keys == {"energy": "Total energy (eV)"}
