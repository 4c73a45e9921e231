"""`molequi config`: what the bundled experiments are, and all settings of one."""

from __future__ import annotations

import json

import pytest
import yaml

from molequi.experiments import load_experiment
from molequi.runtime import resources
from molequi.training.config import load_config


def test_list_describes_every_bundled_config(molequi):
    result = molequi("config", "list")
    assert (result.code, result.err) == (0, "")
    assert all(name in result.out for name in resources.config_names())
    assert load_config("rmd17").description in result.out
    entries = json.loads(molequi("config", "list", "--json").out)
    assert [entry["name"] for entry in entries] == list(resources.config_names())
    assert all(entry["description"] and entry["expected"] for entry in entries)


def test_keys_are_explained_a_line_each(molequi):
    result = molequi("config", "keys")
    assert (result.code, result.err) == (0, "")
    lines = {text.split()[0]: text for text in result.out.splitlines()}
    assert len(lines) == len(result.out.splitlines())
    words = "0.01", "The highest one of the run."
    assert all(word in lines["training.learning_rate"] for word in words)
    assert "Å" in lines["model.cutoff"]
    assert "(needed)" in lines["data.targets"]
    entries = json.loads(molequi("config", "keys", "--json").out)
    assert [entry["name"] for entry in entries] == list(lines)
    assert "data.n_particles" in molequi("config", "keys", "spring").out


def test_show_states_the_defaults_and_what_was_set(molequi, tmp_path):
    overrides = ("training.epochs=3", "model.n_channels=8")
    result = molequi("config", "show", "rmd17", *overrides)
    assert (result.code, result.err) == (0, "")
    shown = yaml.safe_load(result.out)
    assert shown["training"]["gradient_clip"] == 10.0
    assert (shown["training"]["epochs"], shown["model"]["n_channels"]) == (3, 8)
    path = tmp_path / "mine.yaml"
    path.write_text(result.out, encoding="utf-8")
    assert load_config(path) == load_config("rmd17", overrides)
    assert json.loads(molequi("config", "show", "rmd17", *overrides, "--json").out) == shown


def test_show_knows_both_kinds_of_experiment(molequi):
    shown = yaml.safe_load(molequi("config", "show", "spring", "model.kind=hogn").out)
    assert shown["model"]["kind"] == "hogn"
    assert shown["data"]["n_particles"] == load_experiment("spring").data.n_particles


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "CONFIG is missing"),
        (["nosuch"], "no config named 'nosuch'"),
        (["rmd17", "training.epoch=3"], "did you mean 'training.epochs'"),
    ],
)
def test_mistakes_of_show_are_one_line(molequi, arguments, words):
    result = molequi("config", "show", *arguments)
    assert (result.code, result.out) == (2, "")
    assert words in result.err
    assert len(result.err.strip().splitlines()) == 1
