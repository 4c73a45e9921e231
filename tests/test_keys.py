"""The keys of settings: explained where they are declared, and found by what people write."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import molequi
import molequi.cli
from molequi.hamiltonian.config import MoleculeConfig, SpringConfig
from molequi.keys import NAME, keys_of, meant, names_in
from molequi.settings import Settings
from molequi.training.config import Config, make_config


def leaves(settings: Settings, inside: str = "") -> set[str]:
    """The dotted names of what a config holds, from its values."""
    found = set()
    for name, value in settings:
        is_group = isinstance(value, Settings)
        found |= leaves(value, f"{inside}{name}.") if is_group else {f"{inside}{name}"}
    return found


@pytest.mark.parametrize("kind", [Config, SpringConfig, MoleculeConfig])
def test_every_key_is_explained_in_one_line(kind):
    keys = [*keys_of(kind)]
    assert len({key.name for key in keys}) == len(keys)
    for key in keys:
        assert 5 <= len(key.meaning) <= 100, key
        assert "\n" not in key.meaning, key


def test_keys_are_those_of_a_config_with_its_defaults():
    config = make_config({"name": "x", "data": {"targets": ["energy"]}})
    keys = {key.name: key for key in keys_of(Config)}
    own = {name for name in keys if NAME not in name and ".second_stage." not in name}
    assert own == leaves(config) - {"properties"}
    assert {name for name, key in keys.items() if key.is_required} == {
        "name", "data.targets", f"properties.{NAME}.unit", "training.second_stage.weights"
    }  # fmt: skip
    assert keys["training.learning_rate"].default == config.training.learning_rate
    assert keys["data.split.train"].default == config.data.split.train


def test_units_are_those_of_the_declarations():
    units = {key.name: key.unit for key in keys_of(Config)}
    assert (units["model.cutoff"], units["training.max_minutes"]) == ("Å", "min")
    assert units["training.reference_energies"] == "eV"
    assert units["training.epochs"] == ""
    assert {key.name: key.unit for key in keys_of(MoleculeConfig)}["data.temperature"] == "K"


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("training.lr", "training.learning_rate"),
        ("training.wd", "training.weight_decay"),
        ("training.max_epochs", "training.epochs"),
        ("training.epoch", "training.epochs"),
        ("training.batchsize", "training.batch_size"),
        ("training.decay", "training.weight_decay"),
        ("training.cutoff", "model.cutoff"),
        ("model.lmax", "model.l_max"),
        ("model.num_layers", "model.n_layers"),
        ("model.channels", "model.n_channels"),
        ("model.batch_size", "training.batch_size"),
        ("data.strucures", "data.structures"),
        ("lr", "training.learning_rate"),
        ("epochs", "training.epochs"),
        ("targets", "data.targets"),
        ("properties.logP.units", "properties.logP.unit"),
        ("training.zzz", None),
    ],
)
def test_what_people_write_finds_the_key(written, key):
    assert meant(Config, written.split(".")) == key


def test_names_in_a_group():
    assert names_in(Config, ["data", "split"])[0] == "kind"
    assert names_in(Config, ["training", "second_stage"]) == ["start", "weights"]
    assert names_in(Config, ["properties", "logP"])[0] == "irreps"


def test_settings_that_messages_advise_are_keys():
    """`split.kind=random`, which a message advised, was refused as an unknown key."""
    known = {key.name for kind in (Config, SpringConfig, MoleculeConfig) for key in keys_of(kind)}
    patterns = [re.compile(re.escape(name).replace(NAME, r"\w+") + "$") for name in known]
    advised = {
        (name, f"{path.name}:{node.lineno}")
        for folder in (Path(molequi.__file__).parent, Path(molequi.cli.__file__).parent)
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for name in re.findall(r"(?<![\w./])([a-z_]{4,}(?:\.[a-z_]+)+)=(?!=)", node.value)
    }
    assert len(advised) > 50
    # Mappings, such as data.units, have keys of the user's own; the others are examples of none.
    unknown = {
        (name, place)
        for name, place in advised
        if name.rpartition(".")[0] not in known and not any(p.match(name) for p in patterns)
    }
    assert {name for name, _ in unknown} == {"group.key"}, sorted(unknown)
