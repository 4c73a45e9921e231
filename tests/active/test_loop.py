"""The loop: rounds that are what their table says, and that go on after any end."""

from __future__ import annotations

import dataclasses
import re
import shutil
import signal

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.io import read, write

from molequi.active import loop
from molequi.active.beginning import Start, require_like
from molequi.active.exploring import doubt_limit
from molequi.active.loop import learn_actively
from molequi.active.picking import Doubted
from molequi.active.retraining import Recipe
from molequi.active.settings import ActiveSettings
from molequi.active.teachers import CalculatorTeacher
from molequi.errors import RunInterruptedError, UserError
from molequi.models.zoo import load
from molequi.prediction.predict import predict
from molequi.simulation.md_settings import MDSettings
from molequi.structures.structure import Structure

TRAINING = ("training.epochs=2", "training.batch_size=4", "training.warmup_steps=1")
DYNAMICS = MDSettings("nvt", 300.0, steps=40, interval=5)
SETTINGS = ActiveSettings(rounds=2, labels=9, per_round=5, doubt=1e-6, copies=2, dynamics=DYNAMICS)


def learn(atoms, emt, output, model, **named):
    named = {"settings": SETTINGS, "recipe": Recipe(overrides=TRAINING), **named}
    start = named.pop("start", None) or Start(model)
    return learn_actively(atoms, CalculatorTeacher("emt", emt), output, start=start, **named)


@pytest.fixture(scope="module")
def learned(tmp_path_factory, doubting, undrawn):
    """Two rounds for water."""
    output = tmp_path_factory.mktemp("learned") / "here"
    return learn(molecule("H2O"), EMT, output, doubting)


def test_labels_stop_at_their_budget(learned):
    assert learned.reason == "all 9 labels are used"
    assert [int(row["picked"]) for row in learned.rows] == [5, 4]
    assert [int(row["labels"]) for row in learned.rows] == [5, 9]
    assert learned.n_labels == 9


def test_what_is_labelled_is_the_calculators(learned):
    frames = read(learned.labelled, ":")
    assert len({frame.positions.tobytes() for frame in frames}) == len(frames) == 9
    for frame in frames:
        alone = frame.copy()
        alone.calc = EMT()
        np.testing.assert_allclose(frame.get_forces(), alone.get_forces(), atol=1e-7)


def test_the_error_is_that_of_the_model_before_it_saw_the_labels(learned):
    """Recomputed from the model of the first round on the labels of the second."""
    folder = learned.labelled.parent
    frames = read(folder / "round-02" / "labels.xyz", ":")
    records = predict(frames, load(folder / "round-01" / "training"))
    wrong = np.concatenate(
        [r["forces"] - f.get_forces() for r, f in zip(records, frames, strict=True)]
    )
    row = learned.rows[1]
    assert float(row["forces_mae_eV_A"]) == pytest.approx(np.abs(wrong).mean(), rel=1e-4)
    spreads = np.concatenate([record["forces_std"] for record in records])
    within = (np.linalg.norm(wrong, axis=1) <= spreads).mean()
    assert float(row["within"]) == pytest.approx(within, abs=0.051)


def test_the_doubts_of_the_table_are_those_of_the_trajectories(learned):
    folder = learned.labelled.parent
    frames = read(folder / "round-02" / "dynamics.xyz", ":")
    doubts = [frame.arrays["molequi_forces_std"].max() for frame in frames]
    assert float(learned.rows[1]["doubt_90_eV_A"]) == pytest.approx(np.quantile(doubts, 0.9))
    assert int(learned.rows[1]["frames"]) == len(frames)


@pytest.mark.parametrize("ends_at", [pytest.param(2, marks=pytest.mark.long), 7])
def test_an_ended_run_goes_on_to_the_same_model(
    learned, tmp_path, water, doubting, emt, ends_at, monkeypatch
):
    """Without computing a label twice."""
    output, emt.ends_at = tmp_path / "here", ends_at
    with pytest.raises(KeyboardInterrupt):
        learn(water, emt, output, doubting)
    emt.ends_at = None
    # As another machine would round it.
    monkeypatch.setattr(loop, "doubt_limit", lambda *a: (x := doubt_limit(*a)) and x * (1 + 1e-9))
    again = learn(water, emt, output, doubting)
    assert emt.n_calls == 9
    assert again.model.read_bytes()[-1000:] == learned.model.read_bytes()[-1000:]
    assert again.labelled.read_bytes() == learned.labelled.read_bytes()
    for one, other in zip(again.rows, learned.rows, strict=True):
        assert {**one, "seconds": ""} == {**other, "seconds": ""}


@pytest.fixture
def finished(learned, tmp_path):
    """A copy of the folder of the two rounds."""
    return shutil.copytree(learned.labelled.parent, tmp_path / "here")


def test_a_finished_run_is_left_alone_and_a_larger_budget_goes_on(
    learned, finished, water, doubting, emt
):
    before = (finished / "labelled.xyz").read_bytes()
    assert learn(water, emt, finished, doubting).rows == learned.rows
    assert emt.n_calls == 0
    more = learn(water, emt, finished, doubting, settings=_changed(rounds=3, labels=11))
    assert (emt.n_calls, more.rows[:2]) == (2, learned.rows)
    assert more.labelled.read_bytes().startswith(before)


def _changed(**named):
    return ActiveSettings(**{**vars(SETTINGS), **named})


def test_other_settings_are_refused_and_overwrite_begins_anew(finished, water, doubting, emt):
    with pytest.raises(UserError, match=r"with settings.copies 2, now it is 3; .* or --overwrite"):
        learn(water, emt, finished, doubting, settings=_changed(copies=3))
    dynamics = dataclasses.replace(SETTINGS.dynamics, steps=7)
    with pytest.raises(UserError, match=r"with settings\.dynamics\.steps \d+, now it is 7; "):
        learn(water, emt, finished, doubting, settings=_changed(dynamics=dynamics))
    with pytest.raises(UserError, match="was begun with other structures; give the same"):
        learn(molecule("NH3"), emt, finished, doubting)
    (finished / "mine.txt").write_text("stays")
    learn(water, emt, finished, doubting, settings=_changed(rounds=1, copies=3), overwrite=True)
    assert emt.n_calls == 5
    assert (finished / "mine.txt").read_text() == "stays"
    assert len((finished / "rounds.csv").read_text().splitlines()) == 2


@pytest.fixture
def data(tmp_path):
    """Labelled frames of water."""
    path, frames = tmp_path / "data.xyz", []
    for seed in range(6):
        atoms = molecule("H2O")
        atoms.rattle(0.05, seed=seed)
        atoms.calc = EMT()
        atoms.get_forces()
        frames.append(atoms)
    write(path, frames)
    return path


def test_the_goal_ends_it_without_a_label(tmp_path, water, emt, data, undrawn):
    """Beginning with labelled data and a new model, whose doubts are far below the threshold."""
    found = learn(
        water, emt, tmp_path / "here", None, settings=_changed(doubt=1e3), start=Start(None, data),
        recipe=Recipe(overrides=(*TRAINING, "model.n_channels=4", "model.n_layers=1")),
        picker=Doubted(1e3),
    )  # fmt: skip
    assert "the goal is reached" in found.reason
    assert (found.n_labels, emt.n_calls, len(found.rows)) == (0, 0, 1)
    assert len(read(found.labelled, ":")) == 6


def test_no_frame_to_pick_is_no_goal(tmp_path, water, doubting, emt, monkeypatch):
    monkeypatch.setattr(loop, "evenly", lambda *_: [])
    found = learn(water, emt, tmp_path / "here", doubting)
    assert (found.n_labels, found.reason.partition(":")[0]) == (0, "no frame could be picked")


def test_doubted_frames_that_are_known_already_are_no_goal(tmp_path, water, emt, data, doubting):
    found = learn(
        water, emt, tmp_path / "here", doubting, start=Start(doubting, data),
        picker=lambda *_: [],
    )  # fmt: skip
    assert found.reason.startswith("no frame could be picked: 100.0 % of the frames")
    assert found.reason.endswith("nearly the same as what is labelled")


def test_one_label_is_too_few_to_train(tmp_path, water, doubting, emt, data):
    dynamics = dataclasses.replace(DYNAMICS, steps=5)
    with pytest.raises(UserError, match="there is 1 labelled structure, and training needs two"):
        learn(
            water, emt, tmp_path / "here", doubting, settings=_changed(copies=1, dynamics=dynamics)
        )
    write(data, read(data))
    with pytest.raises(UserError, match="there is 1 labelled structure"):
        learn(water, emt, tmp_path / "there", None, start=Start(None, data))
    assert not (tmp_path / "there").exists()


def test_going_on_takes_back_no_model_and_no_structure(tmp_path, water, doubting, emt, data):
    """What was trained before the first round is not put in the place of what came later."""
    named = {"start": Start(doubting, data), "settings": _changed(rounds=1)}
    found = learn(water, emt, tmp_path / "here", None, **named)
    before = found.model.read_bytes(), found.labelled.read_bytes()
    assert before[0] == (tmp_path / "here/round-01/training/model.safetensors").read_bytes()
    assert len(read(found.labelled, ":")) == 6 + 5
    again = learn(water, emt, tmp_path / "here", None, **named)
    assert (again.model.read_bytes(), again.labelled.read_bytes()) == before
    assert again.n_labels == 5
    frames = read(data, ":")
    for frame in frames:
        frame.calc.results["energy"] += 1.0
    write(data, frames)
    with pytest.raises(UserError, match="was begun with other labels; "):
        learn(water, emt, tmp_path / "here", None, **named)


def test_an_interrupted_overwrite_is_not_gone_on_with(finished, water, doubting, emt, monkeypatch):
    def interrupted(_path):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(shutil, "rmtree", interrupted)
        learn(water, emt, finished, doubting, overwrite=True)
    with pytest.raises(UserError, match="give --overwrite again"):
        learn(water, emt, finished, doubting)
    learn(water, emt, finished, doubting, settings=_changed(rounds=1), overwrite=True)
    assert len((finished / "rounds.csv").read_text().splitlines()) == 2


def test_a_signal_during_the_last_label_stops_before_the_training(
    tmp_path, water, doubting, emt, monkeypatch
):
    answer = CalculatorTeacher._answer

    def signalled(self, frame):
        if emt.n_calls == 4:
            signal.raise_signal(signal.SIGTERM)
        return answer(self, frame)

    monkeypatch.setattr(CalculatorTeacher, "_answer", signalled)
    with pytest.raises(RunInterruptedError, match="SIGTERM in round 1"):
        learn(water, emt, tmp_path / "here", doubting)
    assert emt.n_calls == 5
    assert (tmp_path / "here" / "round-01" / "labels.xyz").is_file()
    assert not (tmp_path / "here" / "round-01" / "training").exists()


def test_a_folder_with_something_else_is_left_alone(tmp_path, water, doubting, emt):
    (tmp_path / "thesis.tex").write_text("years")
    with pytest.raises(UserError, match="holds something else"):
        learn(water, emt, tmp_path, doubting, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_model_without_doubt_is_refused(tmp_path, water, network, emt):
    from molequi.models.checkpoint import save_model

    path = tmp_path / "sure.safetensors"
    save_model(network, path)
    with pytest.raises(UserError, match="gives no forces_std"):
        learn(water, emt, tmp_path / "here", path)


def test_what_no_round_could_move_is_refused_before_anything_is_written(
    tmp_path, doubting, emt, data
):
    sodium = Atoms("HNa", [(0, 0, 0), (0, 0, 1.9)])
    ion = molecule("H2O", info={"charge": 2})
    cases = [
        (sodium, Start(doubting), "structure 0: element Na (atom 1) is not in this model"),
        (sodium, Start(None, data), "structure 0: no structure of --data has Na"),
        (ion, Start(None, data), "no structure of --data has charge +2 and multiplicity 1"),
    ]
    for atoms, start, message in cases:
        with pytest.raises(UserError, match=re.escape(message)):
            learn(atoms, emt, tmp_path / "here", doubting, start=start)
        assert not (tmp_path / "here").exists()
    assert emt.n_calls == 0
    # What --data bring is learned before the first round, from whatever model.
    like = [Structure("", 0, molecule("H2O"))]
    require_like(like, [molecule("H2O")], None)
    require_like([Structure("", 0, sodium)], [Atoms("Na", info={"charge": 0})], load(doubting))


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"rounds": 0}, "rounds is 0"),
        ({"labels": 1}, "labels is 1; it must be at least 2"),
        ({"doubt": 0.0}, "doubt is 0 eV/Å"),
        ({"dynamics": MDSettings("npt")}, "npt cannot"),
        ({"dynamics": MDSettings("nvt", steps=0)}, "0 steps"),
        ({"dynamics": MDSettings("nvt", steps=9, interval=10)}, "no frame after the first"),
    ],
)
def test_settings_without_sense_are_refused(named, message):
    with pytest.raises(UserError, match=message):
        _changed(**named)


def test_nothing_to_begin_with_is_refused():
    with pytest.raises(UserError, match="neither a model nor labelled data"):
        Start(None)
