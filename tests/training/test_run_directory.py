"""The run directory: who may write there, and what stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from molequi.errors import UserError
from molequi.experiments import load_experiment
from molequi.settings import with_absolute_paths
from molequi.training.config import load_config
from molequi.training.run_directory import RunDirectory


@pytest.fixture
def started(tmp_path: Path, toy_config) -> RunDirectory:
    directory = RunDirectory(tmp_path / "run")
    directory.start(toy_config())
    return directory


def test_config_of_a_run_states_everything(started, toy_config):
    assert load_config(started.config) == toy_config()
    assert "gradient_clip: 10.0" in started.config.read_text(encoding="utf-8")


def test_new_place_is_free_and_an_occupied_one_is_not(started, tmp_path, toy_config):
    RunDirectory(tmp_path / "new").claim(toy_config(), resume=False, overwrite=False)
    started.state.touch()
    with pytest.raises(UserError, match="not empty; --resume goes on.*--overwrite replaces"):
        started.claim(toy_config(), resume=False, overwrite=False)
    started.claim(toy_config(), resume=False, overwrite=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        RunDirectory(tmp_path / "file").claim(toy_config(), resume=False, overwrite=True)
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    with pytest.raises(UserError, match="link is a link to .*gone, which does not exist; make"):
        RunDirectory(tmp_path / "link").claim(toy_config(), resume=False, overwrite=False)
    assert not (tmp_path / "new").exists()


def test_a_run_that_ended_before_its_first_checkpoint_begins_again(started, toy_config):
    fresh = {"resume": False, "overwrite": False}
    for path in (started.split, started.log, started.metrics):
        path.write_text("")
    (started.path / ".1-012345678901234567-last.ckpt").write_text("half")
    started.claim(toy_config(), **fresh)
    kept = started.path / "notes.txt"
    kept.write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        started.claim(toy_config(), **fresh)
    kept.rename(started.model)
    with pytest.raises(UserError, match="not empty"):
        started.claim(toy_config(), **fresh)
    started.model.unlink()
    started.config.unlink()
    with pytest.raises(UserError, match="not empty"):
        started.claim(toy_config(), **fresh)


@pytest.mark.parametrize("name", ["toy", "spring"])
def test_a_config_of_ones_own_is_no_run_that_begins_again(name, tmp_path, toy_config):
    """Of dynamics too. Its notes were lost: the run wrote its own settings there."""
    config = toy_config() if name == "toy" else load_experiment("spring")
    directory = RunDirectory(tmp_path / "run")
    directory.start(config)
    assert directory.has_just_begun(config)
    written = directory.config.read_text(encoding="utf-8")
    for own in (f"# notes\n{written}", "name: x\n", "no yaml: at: all\n"):
        directory.config.write_text(own, encoding="utf-8")
        with pytest.raises(UserError, match="not empty; --resume goes on"):
            directory.claim(config, resume=False, overwrite=False)
    directory.config.write_text(f"# notes\n{written}", encoding="utf-8")
    with pytest.raises(UserError, match=r"no run to resume, and no run wrote its config.yaml"):
        directory.claim(config, resume=True, overwrite=False)
    directory.log.write_text("", encoding="utf-8")
    assert not directory.has_just_begun(config)
    directory.split.write_text("{}", encoding="utf-8")
    assert directory.has_just_begun(config)


def test_processes_beside_the_first_find_the_place_occupied_and_go_on(
    started, toy_config, monkeypatch
):
    monkeypatch.setenv("RANK", "1")
    started.claim(toy_config(), resume=False, overwrite=False)
    started.clear()
    assert started.config.is_file()


def test_same_run_goes_on_with_more_epochs_and_other_words(started, toy_config):
    more = {"epochs": 9, "patience": 3, "device": "auto", "checkpoint_steps": 5}
    config = toy_config(training=more, description="other words", expected="more")
    started.claim(config, resume=True, overwrite=False)


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"training": {"learning_rate": 0.5}}, "training.learning_rate was 0.01 and is now 0.5"),
        ({"training": {"weights": {}}}, "training.weights.forces was 10.0 and is now None"),
        ({"model": {"cutoff": 3.0}}, "model.cutoff was 4.0 and is now 3.0"),
        ({"data": {"split": {"seed": 4}}}, "data.split.seed was 0 and is now 4"),
        (
            {"training": {"second_stage": {"weights": {}}}},
            "training.second_stage was None and is now",
        ),
    ],
)
def test_another_run_is_refused_by_its_first_difference(started, toy_config, sections, words):
    with pytest.raises(UserError, match=words):
        started.claim(toy_config(**sections), resume=True, overwrite=False)


def test_no_run_and_a_run_of_another_kind_cannot_be_resumed(started, tmp_path, toy_config):
    with pytest.raises(UserError, match="no run to resume"):
        RunDirectory(tmp_path).claim(toy_config(), resume=True, overwrite=False)
    with pytest.raises(UserError, match="config.yaml"):
        started.claim(load_experiment("spring"), resume=True, overwrite=False)


def test_an_older_run_that_kept_a_list_as_it_was_given_goes_on(tmp_path, monkeypatch, toy_config):
    monkeypatch.chdir(tmp_path)
    for name in ("a.xyz", "b.xyz"):
        (tmp_path / name).write_text("")
    data = {"kind": "frames", "path": "a.xyz,b.xyz", "targets": ["energy", "forces"]}
    older = toy_config(data=data)
    run = RunDirectory(tmp_path / "run")
    run.start(older)
    run.claim(with_absolute_paths(older), resume=True, overwrite=False)


@pytest.mark.parametrize("how", [{"resume": True}, {"overwrite": True}])
def test_two_runs_at_once_are_one_too_many(started, toy_config, how):
    """Both wrote: the config was of the one, the model of the other."""
    how, config = {"resume": False, "overwrite": False, **how}, toy_config()
    with RunDirectory(started.path).held(config, **how):
        with pytest.raises(UserError, match="another run is writing to .* now"):
            started.claim(config, **how)
        with pytest.raises(UserError, match="another run"), started.held(config, **how):
            pass
    started.claim(config, resume=False, overwrite=True)


def test_a_place_that_was_filled_while_the_data_loaded_is_refused(tmp_path, toy_config):
    first, second = (RunDirectory(tmp_path / "run") for _ in range(2))
    fresh = {"resume": False, "overwrite": False}
    first.claim(toy_config(), **fresh)
    second.claim(toy_config(), **fresh)
    with first.held(toy_config(), **fresh):
        first.start(toy_config())
        first.state.touch()
    with pytest.raises(UserError, match="not empty"), second.held(toy_config(), **fresh):
        pass


def test_a_run_that_is_refused_leaves_no_folder(tmp_path, toy_config):
    directory = RunDirectory(tmp_path / "run")
    with (
        pytest.raises(UserError, match="no labels"),
        directory.held(toy_config(), resume=False, overwrite=False),
    ):
        raise UserError("no labels")
    assert not directory.path.exists()


def test_clear_removes_what_a_run_makes_and_nothing_else(started):
    started.write_split({"train": [0, 2], "valid": [1]})
    assert started.read_split() == {"train": [0, 2], "valid": [1]}
    started.write_result({"gap": {"mae": 0.1}})
    started.plots.mkdir()
    made = [started.predictions("test"), started.rollout, started.plots / "parity_gap.png"]
    own = [started.path / "notes.md", started.plots / "mine.svg"]
    for path in (*made, *own):
        path.write_text("")
    started.clear()
    left = {path for path in started.path.rglob("*") if path.is_file()}
    assert left == set(own)


def test_a_refused_run_leaves_the_folder_to_the_one_that_holds_it(tmp_path, toy_config):
    """The holder has the lock and has not written anything yet."""
    fresh = {"resume": False, "overwrite": False}
    first, second = RunDirectory(tmp_path / "run"), RunDirectory(tmp_path / "run")
    with first.held(toy_config(), **fresh):
        with pytest.raises(UserError, match="another run"), second.held(toy_config(), **fresh):
            pass
        assert first.path.is_dir()
    assert not first.path.exists()
