"""The plan of a run: rates, stages, patience, and the clock."""

from __future__ import annotations

import dataclasses

import pytest

from molequi.training.schedule import (
    RATE_COURSES,
    EarlyStopping,
    Schedule,
    SecondStage,
    cosine,
    make_schedule,
    warmup,
)
from molequi.training.settings import TrainingSettings
from molequi.training.state import Position


def test_warmup_and_cosine_at_their_ends():
    assert [warmup(step, 3) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert warmup(0, 0) == 1.0
    assert cosine(0.0) == 1.0
    assert cosine(0.5) == pytest.approx(0.505)
    assert cosine(1.0) == cosine(2.0) == pytest.approx(0.01)


def test_rate_falls_with_the_epochs_or_with_the_clock_whichever_is_further():
    slow = Schedule(1e-2, epochs=10)
    timed = Schedule(1e-2, epochs=10, max_minutes=2.0)
    position = Position(epoch=2, batch=5, step=25, seconds=90.0)
    assert slow.progress(position, 10) == 0.25
    assert timed.progress(position, 10) == 0.75
    assert timed.rate(position, 10) == pytest.approx(1e-2 * cosine(0.75))
    assert timed.progress(Position(seconds=1e9), 10) == 1.0


def test_second_stage_changes_weights_warms_up_again_and_leaves_the_score_its_meaning():
    schedule = Schedule(
        1e-2,
        epochs=10,
        warmup_steps=3,
        schedule="plateau",
        weights={"forces": 100.0},
        second_stage=SecondStage(0.7, {"energy": 10.0}),
    )
    assert schedule.weights_at(0.69) == {"forces": 100.0}
    assert schedule.weights_at(0.7) == schedule.final_weights == {"energy": 10.0}
    assert Schedule(1e-2, epochs=1, weights={"forces": 2.0}).final_weights == {"forces": 2.0}
    assert schedule.rate(Position(epoch=6, step=60), 10) == 1e-2
    assert schedule.rate(Position(epoch=7, step=70, stage_step=70), 10) == 0.25e-2


def test_plateau_halves_the_rate_until_something_improves():
    schedule, stopping = Schedule(1.0, epochs=100, schedule="plateau", patience=6), EarlyStopping()
    rates = []
    for epoch, score in enumerate([1.0, 0.9, 0.95, 0.95, 0.95, 0.95, 0.8]):
        stopping.observe(score, epoch)
        stopping.factor = schedule.factor_after(stopping)
        rates.append(schedule.rate(Position(step=50), 10, stopping))
    assert rates == [1.0, 1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    assert (stopping.best, stopping.best_epoch, stopping.epochs_since_best) == (0.8, 6, 0)


def test_reasons_to_stop():
    schedule = Schedule(
        1e-2, epochs=20, max_minutes=1.0, patience=3, second_stage=SecondStage(0.5, {})
    )
    tired = EarlyStopping(best=1.0, best_epoch=0, epochs_since_best=3)
    assert schedule.reason_to_stop(Position(epoch=4), tired, 10) is None
    began = Position(epoch=10, step=100)
    assert schedule.reason_to_stop(began, tired, 10) is None
    inside = Position(epoch=11, step=110, stage_step=101)
    assert schedule.reason_to_stop(inside, tired, 10) is None
    over = Position(epoch=11, step=110, stage_step=100)
    assert "no better score for 3 epochs" in schedule.reason_to_stop(over, tired, 10)
    longer = dataclasses.replace(schedule, epochs=40)
    assert longer.reason_to_stop(over, tired, 10) is None
    single = dataclasses.replace(schedule, second_stage=None)
    assert "no better score for 3 epochs" in single.reason_to_stop(Position(epoch=4), tired, 10)
    assert "all 20 epochs" in schedule.reason_to_stop(Position(epoch=20), EarlyStopping(), 10)
    assert "1 minutes" in schedule.reason_to_stop(
        Position(epoch=2, seconds=60.0), EarlyStopping(), 10
    )
    assert schedule.reason_to_stop(Position(epoch=2, seconds=59.0), EarlyStopping(), 10) is None


def test_settings_reach_the_schedule():
    settings = TrainingSettings(
        epochs=7,
        patience=4,
        schedule="plateau",
        second_stage={"start": 0.6, "weights": {"energy": 3.0}},
    )
    schedule = make_schedule(settings)
    assert (schedule.epochs, schedule.patience, schedule.schedule, schedule.second_stage) == (
        7,
        4,
        "plateau",
        (0.6, {"energy": 3.0}),
    )


def test_every_course_of_the_rate_can_be_set():
    names = TrainingSettings.model_fields["schedule"].annotation.__args__
    assert set(names) == set(RATE_COURSES)
