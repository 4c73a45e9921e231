"""The state that dynamics go on from: whatever happens to its file is told in one line."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from molequi.errors import UserError
from molequi.simulation.state import OfOne, State, Statistics, read_state, write_state


def saved(path: Path) -> bytes:
    generator = np.random.default_rng(0)
    positions, momenta, first = generator.normal(size=(3, 3, 3))
    one = OfOne(generator.bit_generator.state, Statistics(11, 300.0), None, 10, 2)
    mover = {"chains": generator.normal(size=(1, 3))}
    marks = {"frames": 900, "log": [77, "2d20"]}
    state = State(10, positions, momenta, first, [one], mover, 2, marks)
    write_state(path, state, {"atoms": "OH2", "timestep": 0.5})
    return path.read_bytes()


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Cut off, change, put in or take out bytes somewhere."""
    out, place = bytearray(data), chance.randrange(len(data))
    many = bytes(chance.randrange(256) for _ in range(chance.choice([1, 8, 100])))
    return bytes(
        chance.choice(
            [
                out[:place],
                out[:place] + many + out[place + len(many) :],
                out[:place] + many + out[place:],
                out[:place] + out[place + len(many) :],
            ]
        )
    )


def test_every_number_comes_back_to_the_last_bit(tmp_path):
    saved(path := tmp_path / "md.xyz.restart")
    state, identity = read_state(path)
    assert identity == {"atoms": "OH2", "timestep": 0.5}
    expected = np.random.default_rng(0).normal(size=(3, 3, 3))
    np.testing.assert_array_equal([state.positions, state.momenta, state.first], expected)
    assert (state.step, state.n_frames, state.marks["frames"]) == (10, 2, 900)
    (one,) = state.each
    assert one.statistics == Statistics(11, 300.0)
    assert (one.stopped, one.steps, one.n_frames) == (None, 10, 2)
    assert state.mover["chains"].shape == (1, 3)


def test_a_state_of_another_version_is_named_as_one(tmp_path, monkeypatch):
    path = tmp_path / "md.xyz.restart"
    with monkeypatch.context() as then:
        then.setattr("molequi.simulation.state.FORMAT", 1)
        saved(path)
    with pytest.raises(UserError, match="another version of molequi .format 1.*--overwrite"):
        read_state(path)


def test_damaged_files_are_a_state_or_an_error_in_words(tmp_path):
    data, chance = saved(path := tmp_path / "md.xyz.restart"), random.Random(3)
    n_refused = 0
    for _ in range(300):
        path.write_bytes(mutated(data, chance))
        try:
            read_state(path)
        except UserError as error:
            n_refused += 1
            assert "damaged or holds no state" in str(error)
            assert "\n" not in str(error)
    assert n_refused > 200


@pytest.mark.parametrize(
    "change",
    [
        {"positions": np.full((3, 3), np.nan)},
        {"first": np.eye(2)},
        {"momenta": np.eye(3) * 1j},
        {"positions": np.eye(3).astype("U3")},
        {"mover_chains": np.full((1, 3), np.inf)},
        {"mover_chains": np.zeros((2, 3))},
    ],
)
def test_numbers_that_make_no_state_are_refused(tmp_path, change):
    saved(path := tmp_path / "md.xyz.restart")
    with np.load(path) as arrays:
        parts = {**arrays, **change}
    with path.open("wb") as file:
        np.savez(file, **parts)
    with pytest.raises(UserError, match="damaged"):
        read_state(path)
