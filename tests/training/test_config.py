"""Settings: every mistake is one line that names the key and the remedy; dump and load agree."""

from __future__ import annotations

import pytest

from molequi.datasets.base import Request
from molequi.datasets.settings import DataSettings
from molequi.errors import UserError
from molequi.hamiltonian.config import MoleculeSettings
from molequi.settings import dump_settings, first_difference, with_absolute_paths
from molequi.training import config as settings

MINIMAL = {
    "name": "x",
    "data": {"kind": "frames", "path": "a.xyz", "targets": ["energy", "forces"]},
}


def write(tmp_path, text):
    path = tmp_path / "experiment.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_dumped_config_reads_back_equal(tmp_path):
    config = settings.make_config(
        {
            **MINIMAL,
            "training": {"learning_rate": "1e-3", "second_stage": {"weights": {"energy": 10}}},
        }
    )
    assert config.training.learning_rate == 1e-3
    assert settings.load_config(write(tmp_path, dump_settings(config))) == config


def test_overrides_use_dotted_names_and_yaml_values(tmp_path):
    path = write(tmp_path, dump_settings(settings.make_config(MINIMAL)))
    overrides = [
        "training.epochs=3",
        "data.targets=energy,dipole",
        "model.n_channels=8",
        "properties.solubility.unit=mol/L",
        "init=organic",
    ]
    config = settings.load_config(path, overrides)
    assert config.training.epochs == 3
    assert config.data.targets == ("energy", "dipole")
    assert config.model.overrides() == {"n_channels": 8}
    assert config.declared()["solubility"].unit == "mol/L"
    assert config.init == "organic"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.epoch=3", ["training.epoch", "did you mean 'training.epochs'"]),
        ("model.cutof=3", ["did you mean 'model.cutoff'"]),
        ("data.split.trian=3", ["did you mean 'data.split.train'"]),
        ("training.epochs=0", ["training.epochs is 0", "greater than 0"]),
        ("training.schedule=linear", ["training.schedule", "'cosine' or 'plateau'"]),
        ("properties.foo.irreps=0e", ["properties.foo.unit", "missing"]),
        ("training.weights.dipole=1", ["training.weights", "'dipole' is not a target"]),
        ("data.targets=force", ["'force'", "did you mean 'forces'"]),
        ("data.targets=logS", ["'logS'", "properties.logS.unit"]),
        ("freeze=backbone", ["no init"]),
        ("data.split.column=part", ["column=part belongs to data.split.kind=time", "is random"]),
        ("data.split.path=rows.json", ["belongs to data.split.kind=file"]),
        ("data.split.index=3", ["belongs to data.split.kind=official"]),
        ("data.split.fold=2", ["fold=2 is one of data.split.folds parts"]),
        ("level.dipole=DFT", ["'dipole' is not a target"]),
        ("data.strucures=x", ["unknown key 'data.strucures'", "did you mean 'data.structures'"]),
        ("stress=1", ["unknown key 'stress'", "known are"]),
        ("dict=1", ["unknown key 'dict'"]),
        ("training.str=1", ["unknown key 'training.str'"]),
        ("training.weights={energy: 1, energy: 2}", ["training.weights", "'energy' is in line 1"]),
        ("data.units=3", ["data.units is 3", "should be a mapping, such as {a: 1, b: 2}"]),
        ("data.targets=3", ["data.targets is 3", "should be a list"]),
        ("model=3", ["model is 3", "should be a group of settings"]),
        ("model.dispersion_parameters=[1, 2]", ["is [1, 2]; it takes 4 values"]),
        ("model.dispersion_parameters=[1, 2, 3, 4, 5]", ["takes 4 values, not 5"]),
        ("training.weights.energy=-1", ["training.weights.energy is -1", "equal to 0"]),
        ("training.second_stage.weights.energy=-1", ["weights.energy is -1", "equal to 0"]),
        ("training.weights={energy: 0, forces: 0}", ["training.weights is zero for every target"]),
        ("epochs", ["key=value"]),
        ("isolated_atoms.Xx=-1", ["isolated_atoms: 'Xx' is no element", "write such as H: -13.6"]),
        (("training.folds=2", "data.split.folds=3"), ["runs every fold", "leave one of the two"]),
        ("name.x=1", ["'name' is a value"]),
    ],
)
def test_mistakes_name_the_key_and_the_remedy(tmp_path, override, words):
    path = write(tmp_path, dump_settings(settings.make_config(MINIMAL)))
    with pytest.raises(UserError) as caught:
        settings.load_config(path, [override] if isinstance(override, str) else override)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_broken_files_are_named(tmp_path):
    with pytest.raises(UserError, match="line 2"):
        settings.load_config(write(tmp_path, "name: x\ndata: }\n"))
    twice = "name: x\ntraining: {epochs: 3}\ndata: {kind: frames}\ntraining: {seed: 1}\n"
    with pytest.raises(UserError, match="yaml, line 4: 'training' is in line 2 already; leave one"):
        settings.load_config(write(tmp_path, twice))
    with pytest.raises(UserError, match="mapping"):
        settings.load_config(write(tmp_path, "- 1\n"))
    with pytest.raises(UserError, match="no config named 'nonsense'"):
        settings.load_config("nonsense")


def test_run_directory_for_a_config_is_told_how_it_goes_on(tmp_path):
    (tmp_path / "config.yaml").write_text("name: mine\n", encoding="utf-8")
    with pytest.raises(UserError, match=f"train --output {tmp_path} --resume` goes on with it"):
        settings.load_config(str(tmp_path))


def test_paths_that_exist_become_absolute_and_other_words_stay(tmp_path, monkeypatch):
    (tmp_path / "a.xyz").write_text("")
    (tmp_path / "split.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    data = {**MINIMAL["data"], "split": {"kind": "file", "path": "split.json"}}
    config = with_absolute_paths(settings.make_config({**MINIMAL, "data": data}))
    assert config.data.path == str(tmp_path / "a.xyz")
    assert config.data.split.path == str(tmp_path / "split.json")
    assert config.training.reference_energies == "least_squares"
    assert config.name == "x"
    bundled = settings.load_config("qm9_sample")
    assert with_absolute_paths(bundled) == bundled


@pytest.mark.parametrize("folder", ["plain", "with [1] and *"])
@pytest.mark.parametrize("path", ["b.xyz, a.xyz", "*.xyz", "c*,a.xyz,samples/ethanol.extxyz.gz"])
def test_lists_and_patterns_mean_the_same_files_in_any_folder(folder, path, tmp_path, monkeypatch):
    (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / folder)
    for name in ("a.xyz", "b.xyz", "c.xyz"):
        (tmp_path / folder / name).write_text("")
    found = [file.resolve() for file in Request(path).files()]
    data = {**MINIMAL["data"], "path": path}
    config = with_absolute_paths(settings.make_config({**MINIMAL, "data": data}))
    assert with_absolute_paths(config) == config
    monkeypatch.chdir(tmp_path)
    assert [file.resolve() for file in Request(config.data.path).files()] == found


def test_a_list_in_a_folder_with_a_comma_stays(tmp_path, monkeypatch):
    (tmp_path / "a,b").mkdir()
    monkeypatch.chdir(tmp_path / "a,b")
    for name in ("a.xyz", "b.xyz"):
        (tmp_path / "a,b" / name).write_text("")
    data = {**MINIMAL["data"], "path": "a.xyz,b.xyz"}
    config = with_absolute_paths(settings.make_config({**MINIMAL, "data": data}))
    assert config.data.path == "a.xyz,b.xyz"


def test_a_list_may_be_longer_than_the_name_of_a_file(tmp_path, monkeypatch):
    (tmp_path / "a.xyz").write_text("")
    monkeypatch.chdir(tmp_path)
    data = {**MINIMAL["data"], "path": ",".join(["a.xyz"] * 900)}
    config = with_absolute_paths(settings.make_config({**MINIMAL, "data": data}))
    assert Request(config.data.path).files() == [tmp_path / "a.xyz"] * 900


def test_models_become_absolute_where_they_exist(tmp_path, monkeypatch):
    (tmp_path / "before").mkdir()
    monkeypatch.chdir(tmp_path)
    mine = with_absolute_paths(settings.make_config({**MINIMAL, "init": "before"}))
    assert mine.init == str(tmp_path / "before")
    moves = MoleculeSettings(kind="molecule", path="samples/molecules.xyz", teacher="before")
    assert with_absolute_paths(moves).teacher == str(tmp_path / "before")
    joined = DataSettings(targets=["gap"], structures="before")
    assert with_absolute_paths(joined).structures == str(tmp_path / "before")
    bundled = with_absolute_paths(settings.make_config({**MINIMAL, "init": "organic"}))
    assert bundled.init == "organic"


def test_first_difference_is_named_and_what_may_change_is_not():
    one = settings.make_config(MINIMAL)
    other = settings.make_config(
        {**MINIMAL, "description": "d", "training": {"epochs": 3, "seed": 4, "weights": {}}}
    )
    assert first_difference(one, other) == ("training.seed", 0, 4)
    assert first_difference(one, one) is None
    words = settings.make_config({**MINIMAL, "description": "d", "training": {"max_minutes": 3}})
    assert first_difference(one, words) is None
