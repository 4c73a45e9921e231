"""Settings on a command line mean what people mean by them."""

from __future__ import annotations

import pytest

from molequi.errors import UserError
from molequi.keys import NAME, keys_of
from molequi.overrides import BY_KIND, apply_override
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


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("training.epochs=010", 10),
        ("training.seed=017", 17),
        ("training.seed=08", 8),
        ("training.max_minutes=010", 10.0),
        ("data.add_hydrogens=on", True),
        ("data.keys.energy=0123", "0123"),
        ("data.keys.energy=no", "no"),
        ("data.keys.energy=true", "true"),
        ("name=2024-07-31", "2024-07-31"),
    ],
)
def test_values_are_what_they_look_like(text: str, value: object) -> None:
    found: object = load(text)
    for part in text.partition("=")[0].split("."):
        found = found[part] if isinstance(found, dict) else getattr(found, part)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "text", ["training.epochs=true", "training.max_minutes=1:30", "training.weights.energy=yes"]
)
def test_what_is_no_number_is_none(text: str) -> None:
    with pytest.raises(UserError, match="input should be a valid"):
        load(text)


@pytest.mark.parametrize(
    "texts",
    [
        ("data.split=size", "data.split.train=0.5"),
        ("data.split.train=0.5", "data.split=size"),
        ("data.split={kind: size}", "data.split.train=0.5"),
    ],
)
def test_a_kind_of_split_and_its_settings_in_any_order(texts: tuple[str, ...]) -> None:
    split = load(*texts).data.split
    assert (split.kind, split.train, split.valid) == ("size", 0.5, 0.1)
    # What the file says of another kind is left out.
    split = load_config("rmd17", ["data.path=a.npz", *texts]).data.split
    assert (split.kind, split.train, split.valid) == ("size", 0.5, 0.1)


def test_groups_that_a_text_may_stand_for() -> None:
    groups = {key.name.rpartition(".")[0] for key in keys_of(Config) if NAME not in key.name}
    takes = set()
    for group in groups - {""}:
        try:
            load(f"{group}=random")
        except UserError as error:
            if f"{group} is 'random'" in str(error):
                continue
        takes.add(group)
    assert takes == BY_KIND
