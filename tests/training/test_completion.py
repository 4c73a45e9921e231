"""A config is completed by the table it names, and keeps silent about targets that are left out."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from ase.units import Hartree

from molequi.datasets.load import load_dataset
from molequi.errors import UserError
from molequi.training.config import Config, load_config
from molequi.training.fine_tuning import refuse_unfit


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "a.csv"
    path.write_text("smiles,logP,active,log S\nCCO,-0.3,yes,1\nCCC,1.8,no,2\nO,-1.4,yes,0.5\n")
    return path


def load(table: Path, *overrides: str) -> Config:
    return load_config("property", [f"data.path={table}", *overrides])


def test_a_table_and_its_columns_are_enough(table: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="molequi")
    config = load(table, "data.targets=logP,active,log S")
    logp, active, solubility = config.targets()
    assert (logp.unit, logp.irreps, logp.binary) == ("1", "0e", False)
    assert (active.unit, active.irreps, active.binary) == ("1", "0e", True)
    assert (solubility.name, solubility.aliases) == ("log_S", ("log s",))
    assert config.level == {}
    (line,) = [record.getMessage() for record in caplog.records]
    assert "logP a number without unit; active yes or no" in line
    assert "properties.logP.unit=K" in line


def test_what_is_said_counts(table: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="molequi")
    config = load(
        table, "data.targets=logP,active", "properties.logP.unit=1", "properties.active.binary=no",
        "properties.active.unit=nM", "level=B3LYP/6-31G*",
    )  # fmt: skip
    logp, active = config.targets()
    assert (logp.unit, active.unit, active.binary) == ("1", "nM", False)
    assert config.level == {"logP": "B3LYP/6-31G*", "active": "B3LYP/6-31G*"}
    assert not caplog.records
    keyed = load(table, "data.targets=solubility", "data.keys={solubility:log S}")
    assert keyed.data.targets == ("solubility",)
    assert keyed.data.keys == {"solubility": "log S"}


def test_a_completed_config_reads_back_equal(table: Path, tmp_path: Path) -> None:
    from molequi.settings import dump_settings

    config = load(table, "data.targets=logP,active")
    path = tmp_path / "resolved.yaml"
    path.write_text(dump_settings(config), encoding="utf-8")
    assert load_config(path) == config


def test_the_file_keeps_silent_about_targets_that_are_left_out() -> None:
    config = load_config("extxyz", ["data.targets=energy"])
    assert config.training.weights == {"energy": 1.0}
    assert config.training.second_stage is not None
    assert config.training.second_stage.weights == {"energy": 10.0}
    assert load_config("extxyz").training.weights == {"energy": 1.0, "forces": 100.0}
    with pytest.raises(UserError, match="'forces' is not a target"):
        load_config("extxyz", ["data.targets=energy", "training.weights.forces=7"])
    with pytest.raises(UserError, match="'gap' is not a target"):
        load_config("property", ["data.targets=homo", "level.gap=CCSD"])


def test_a_column_that_is_not_there_is_one_line(table: Path) -> None:
    with pytest.raises(UserError, match="has no column 'logD'; choose with data.targets=COLUMN"):
        load(table, "data.targets=logD")


@pytest.mark.parametrize("value", ["{}", "[a, 1]", "[[a]]"])
def test_a_kind_that_is_no_word_is_one_line(table: Path, value: str) -> None:
    with pytest.raises(UserError, match=r"data\.kind is .*; input should be a valid string"):
        load(table, "data.targets=logP", f"data.kind={value}")


def test_numbers_of_molecules_are_pooled_unless_they_are_said_to_be_more(table: Path) -> None:
    targets = ("data.targets=logP,active", "properties.active.extensive=false")
    config = load(table, *targets, "properties.charge={unit: e, per_atom: true}")
    assert {name: row.head for name, row in config.declared().items()} == {
        "logP": "pooled", "active": "", "charge": "",
    }  # fmt: skip


def test_a_model_to_start_from_has_its_own_network() -> None:
    """What the bundled config says of the network is no wish of the user's."""
    started = load_config("property", ["init=organic"])
    assert started.model.overrides() == {}
    assert load_config("property").model.cutoff is not None
    asked = load_config("property", ["init=organic", "model.n_layers=3"])
    assert asked.model.overrides() == {"n_layers": 3}


def test_what_is_asked_for_counts_where_the_file_says_the_same() -> None:
    """A typed value is no less a wish for being the file's: it is honoured or refused."""
    asked = load_config("property", ["init=organic", "model.cutoff=4.0"])
    assert asked.model.overrides() == {"cutoff": 4.0}
    with pytest.raises(UserError, match=r"the config has model\.cutoff=4\.0; leave"):
        refuse_unfit(asked)
    with pytest.raises(UserError, match="'forces' is not a target"):
        load_config("extxyz", ["data.targets=energy", "training.weights.forces=100.0"])


def test_a_level_of_theory_is_that_of_the_data(table: Path, tmp_path: Path) -> None:
    level = load_config("property").level
    assert level == {"gap": "B3LYP/6-31G(2df,p)"}
    own = tmp_path / "own.csv"
    own.write_text("smiles,gap\nCCO,5.1\nCO,6.0\n")
    assert load(own, "data.targets=gap").level == {}
    assert load(own, "data.targets=gap", "level=CCSD").level == {"gap": "CCSD"}
    assert load(own, "level.gap=B3LYP/6-31G(2df,p)").level == level
    published = load_config("rmd17", ["data.path=rmd17_ethanol.npz"])
    assert published.level == {"energy": "PBE/def2-SVP", "forces": "PBE/def2-SVP"}
    split = "data.split={kind: random, train: 0.8, valid: 0.1, test: 0.1}"
    assert load_config("rmd17", ["data.path=mine.npz", split]).level == {}
    assert set(load_config("qm9", ["data.path=folder"]).level.values()) == set(level.values())


@pytest.mark.parametrize("name", ["values", "type", "n_atoms", "forward"])
def test_names_that_models_use_for_something_else(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"smiles,{name}\nCCO,0.5\nCO,0.25\n")
    (row,) = load(path, f"data.targets={name}").targets()
    assert (row.name, row.aliases) == (f"{name}_", (name,))
    with pytest.raises(UserError, match=f"the name '{name}' has a meaning of its own"):
        load_config("extxyz", [f"data.targets={name}", f"properties.{name}.unit=K"])


@pytest.mark.parametrize(("heading", "factor"), [("gap [eV]", 1.0), ("gap [Ha]", Hartree)])
def test_a_heading_names_the_column_of_a_known_property(
    tmp_path: Path, heading: str, factor: float
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("smiles,gap [eV],logP,gap [Ha]\n" + "CCO,0.5,1,0.5\nCO,0.25,2,0.25\n" * 5)
    config = load(path, f"data.targets={heading},logP", "level=CCSD")
    assert config.data.targets == ("gap", "logP")
    assert config.data.keys == {"gap": heading}
    assert list(config.properties) == ["logP"]
    assert config.level == {"gap": "CCSD", "logP": "CCSD"}
    gaps = load_dataset(config.data, config.declared()).frames.targets["gap"]
    assert sorted(set(gaps.tolist())) == pytest.approx([0.25 * factor, 0.5 * factor])


@pytest.mark.parametrize("overrides", [["data.targets=gap [Ha],gap"], ["data.keys.gap=gap [eV]"]])
def test_a_heading_of_a_property_that_has_another_column_is_refused(
    tmp_path: Path, overrides: list[str]
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("smiles,gap [eV],gap [Ha]\nCCO,0.5,0.5\nCO,0.25,0.25\n")
    with pytest.raises(UserError, match="property 'gap' is in the table already"):
        load(path, "data.targets=gap [Ha]", *overrides).targets()
