"""What a training between rounds is asked for."""

from __future__ import annotations

import types

import pytest

from molequi.active.folder import RoundFolder
from molequi.active.retraining import Recipe, divided
from molequi.errors import UserError


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """Return the settings by name that a recipe trains 40 structures with."""

    def ask(recipe, init=None):
        found = {}

        def prepare(_config, settings, _output, **_how):
            found.update(text.split("=", 1) for text in settings)
            return types.SimpleNamespace(run=lambda: None)

        monkeypatch.setattr("molequi.active.retraining.prepare", prepare)
        recipe.train(RoundFolder(tmp_path), 3, tmp_path / "labelled.xyz", 40, init)
        return found

    return ask


def test_steps_become_epochs(asked):
    """32 of 40 structures train; extxyz has batches of 4: 8 steps an epoch."""
    assert asked(Recipe(steps=800))["training.epochs"] == "100"
    assert asked(Recipe(steps=8))["training.epochs"] == "10"
    more = asked(Recipe(steps=800, overrides=("training.batch_size=8",)))
    assert more["training.epochs"] == "200"
    assert asked(Recipe(steps=800, overrides=("training.epochs=7",)))["training.epochs"] == "7"


@pytest.mark.parametrize(
    ("overrides", "targets"),
    [
        ((), "energy,forces,forces_std"),
        (("ensemble=4",), "energy,forces"),
        (("ensemble=4", "ensemble=null"), "energy,forces,forces_std"),
    ],
)
def test_members_or_a_head_tell_the_doubt(asked, overrides, targets):
    assert asked(Recipe(overrides=overrides))["data.targets"] == targets


def test_it_goes_on_from_the_last_model_with_another_seed(asked):
    found = asked(Recipe(seed=10, level="B3LYP/def2-SVP, density fitting: #1"), init="last.model")
    assert (found["init"], found["training.seed"]) == ('"last.model"', "13")
    assert found["level"] == '"B3LYP/def2-SVP, density fitting: #1"'


def test_a_wrong_setting_is_found_before_anything_moves():
    with pytest.raises(UserError, match="did you mean"):
        Recipe(overrides=("training.epoch=3",)).check()


def test_a_structure_never_changes_from_validation_to_training():
    for n in range(2, 40):
        parts = divided(n)
        assert sorted([*parts["train"], *parts["valid"]]) == list(range(n))
        assert parts["train"]
        if n >= 5:
            assert set(parts["valid"]) <= set(divided(n + 1)["valid"])
            assert set(parts["train"]) <= set(divided(n + 1)["train"])
