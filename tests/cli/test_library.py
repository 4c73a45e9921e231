"""`molequi data`, `models` and `check`."""

from __future__ import annotations

import json

from molequi.models.zoo import list_models
from molequi.runtime.resources import config_names, data_path


def test_data_list_names_the_samples(molequi):
    entries = {entry["name"]: entry for entry in json.loads(molequi("data", "list", "--json").out)}
    assert {"qm9", "qm9_sample"} <= set(entries)
    assert entries["qm9_sample"]["available"]
    assert "qm9_sample" in molequi("data", "list").out


def test_data_inspect_shows_labels_with_units(molequi):
    result = molequi("data", "inspect", data_path("samples/ethanol.extxyz.gz"))
    assert result.code == 0
    assert all(text in result.out for text in ("energy", "forces", "eV/Å", "structures"))
    document = json.loads(
        molequi("data", "inspect", data_path("samples/ethanol.extxyz.gz"), "--json").out
    )
    assert {label["name"] for label in document["labels"]} == {"energy", "forces"}


def test_data_inspect_of_a_table_names_its_columns(molequi):
    result = molequi("data", "inspect", data_path("samples/gaps.csv"))
    assert result.code == 0
    assert "columns: " in result.out


def test_data_prepare_of_nothing_known(molequi):
    result = molequi("data", "prepare", "qm99")
    assert result.code == 2
    assert "qm9" in result.err


def test_data_prepare_offline_without_a_source_is_clear(molequi, tmp_path, monkeypatch):
    monkeypatch.setattr("molequi.datasets.qm9.qm9.qm9pack_folder", lambda: None)
    monkeypatch.chdir(tmp_path)
    result = molequi("data", "prepare", "qm9", "--root", tmp_path / "root", "--offline")
    assert result.code == 2
    assert len(result.err.splitlines()) == 1
    assert "qm9pack" in result.err


def test_data_prepare_from_a_file_of_its_own(molequi, tmp_path):
    result = molequi(
        "data",
        "prepare",
        "alanine",
        "--root",
        tmp_path,
        "--source",
        data_path("samples/alanine.npz"),
    )
    assert result.code == 0
    assert result.out.strip() == str(tmp_path / "alanine.npz")
    inspected = json.loads(molequi("data", "inspect", tmp_path / "alanine.npz", "--json").out)
    assert (inspected["n_structures"], inspected["labels"][0]["name"]) == (400, "handedness")
    result = molequi("data", "prepare", "axial", "--root", tmp_path)
    assert result.code == 2
    assert len(result.err.splitlines()) == 1
    assert "give it with --source FILE" in result.err


def test_every_bundled_model_has_a_card(molequi):
    names = json.loads(molequi("models", "--json").out)
    assert set(names) == set(list_models())
    for name in names:
        assert molequi("models", name).code == 0
        card = json.loads(molequi("models", name, "--json").out)
        assert card["name"] == name


def test_file_has_no_card(molequi, tiny_model):
    result = molequi("models", tiny_model)
    assert result.code == 2
    assert result.err.count("\n") == 1
    assert "is a file or folder; cards are those of the bundled models" in result.err


def test_configs_are_bundled():
    assert {"extxyz", "property", "qm9", "rmd17"} <= set(config_names())


def test_check_passes_for_an_untrained_model(molequi, tiny_model):
    result = molequi("check", tiny_model, "--json")
    tests = json.loads(result.out)
    assert result.code == (0 if all(entry["ok"] for entry in tests.values()) else 1)
    assert result.code == 0
    assert set(next(iter(tests.values()))) == {"value", "limit", "ok"}
    assert any(name.startswith("rotation") for name in tests)


def test_check_takes_structures_and_refuses_strangers(molequi, tiny_model, water, tmp_path):
    printed = molequi("check", tiny_model, water)
    assert printed.code == 0
    assert "tests passed" in printed.out
    # INPUT comes beside the built-in structures: the crystal's tests are there too.
    assert "stress_consistency" in printed.out
    strange = tmp_path / "hcl.xyz"
    strange.write_text("2\n\nH 0 0 0\nCl 0 0 1.27\n")
    result = molequi("check", tiny_model, strange)
    assert result.code == 2
    assert "Cl" in result.err
