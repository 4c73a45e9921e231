"""Structures moved forth and back: which, where to, and what of their forces is made."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from molequi.datasets import inspect
from molequi.datasets.array_files import open_arrays, write_arrays
from molequi.datasets.displaced import check_displacements, displaced
from molequi.datasets.in_memory import Frames
from molequi.datasets.making import make_frames
from molequi.datasets.npz import load_npz, save_npz
from molequi.errors import UserError
from molequi.properties import PROPERTIES

CUTOFF = 4.0
NAMES = ("force_changes", "displacements")


def springs(n_frames: int, labelled: tuple[int, ...], seed: int = 0) -> Frames:
    """Atoms tied to the origin, F = -(k_i + c_i x²) x: changes along d are known in closed form."""
    rng = np.random.default_rng(seed)
    counts = [2 + k % 3 for k in range(n_frames)]
    positions = torch.from_numpy(rng.normal(size=(sum(counts), 3)))
    displacements = torch.from_numpy(0.05 * rng.normal(size=(sum(counts), 3)))
    owner = torch.repeat_interleave(torch.arange(n_frames), torch.tensor(counts))
    for k in range(n_frames):
        if k not in labelled:
            displacements[owner == k] = torch.nan
    lengths = torch.zeros(n_frames, dtype=torch.float64).index_add(
        0, owner, displacements.square().sum(dim=1)
    )
    forces = [force(positions + sign * displacements) for sign in (1.0, -1.0)]
    changes = (forces[0] - forces[1]) / (2.0 * lengths.sqrt()[owner, None])
    targets = {"force_changes": changes, "displacements": displacements}
    return make_frames(
        positions,
        torch.ones(sum(counts)),
        torch.tensor(counts),
        targets=targets,
        properties={name: PROPERTIES[name] for name in targets},
        source=[f"springs:{k}" for k in range(n_frames)],
    )


def force(positions: torch.Tensor) -> torch.Tensor:
    return -(2.0 + positions.square()) * positions


def test_changes_of_springs_are_their_labels():
    frames = springs(6, labelled=(1, 2, 5))
    indices = torch.tensor([5, 0, 1, 3])
    graph, targets = frames.batch(indices, CUTOFF)
    moved = displaced(frames, indices, CUTOFF)
    assert moved is not None
    assert moved.graph.n_molecules == 4
    found = moved.changes(force(moved.graph.positions), len(graph.positions))
    known = ~torch.isnan(targets["force_changes"])
    assert known.any(dim=1).tolist() == [True] * 4 + [False] * 2 + [True] * 3 + [False] * 2
    torch.testing.assert_close(found[known], targets["force_changes"][known])
    assert found[~known].abs().max() == 0.0


def test_short_displacements_give_columns_of_the_jacobian():
    """Of F = -(2 + x²) x: dF/dx = -(2 + 3 x²), with an error of the square of the step."""
    frames = springs(4, labelled=(0, 1, 2, 3))
    errors = []
    for step in (0.1, 0.05):
        short = frames.targets["displacements"] * step
        moved = displaced(
            Frames(**{**vars(frames), "targets": {**frames.targets, "displacements": short}}),
            torch.arange(4),
            CUTOFF,
        )
        owner = torch.repeat_interleave(torch.arange(4), frames.n_atoms)
        norm = torch.zeros(4).double().index_add(0, owner, short.square().sum(dim=1)).sqrt()
        exact = -(2.0 + 3.0 * frames.positions.square()) * short / norm[owner, None]
        found = moved.changes(force(moved.graph.positions), len(short))
        errors.append(float((found - exact).abs().max()))
    assert errors[1] < 1e-4
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.05)


def test_nothing_is_moved_where_nothing_has_a_displacement():
    frames = springs(4, labelled=(2,))
    assert displaced(frames, torch.tensor([0, 1, 3]), CUTOFF) is None
    assert displaced(frames.with_targets(()), torch.tensor([2]), CUTOFF) is None
    assert set(frames.with_targets(["force_changes"]).targets) == set(NAMES)


def test_moved_structures_have_neighbours_of_their_own():
    """A pair beyond the cutoff that the displacement brings within it."""
    frames = springs(1, labelled=(0,))
    positions = torch.tensor([[0.0, 0.0, 0.0], [4.2, 0.0, 0.0]], dtype=torch.float64)
    towards = torch.tensor([[0.15, 0.0, 0.0], [-0.15, 0.0, 0.0]], dtype=torch.float64)
    targets = {"force_changes": torch.zeros(2, 3), "displacements": towards}
    frames = make_frames(
        positions, torch.ones(2), torch.tensor([2]), targets=targets, properties=frames.properties
    )
    moved = displaced(frames, torch.tensor([0]), CUTOFF)
    assert frames.batch(torch.tensor([0]), CUTOFF).graph.edge_index.shape[1] == 0
    assert moved.graph.edge_index.tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("damage", ["missing", "zero", "partly"])
def test_label_without_its_displacement_is_refused(damage):
    frames = springs(4, labelled=(1, 3))
    check_displacements(frames)
    rows = slice(int(frames.offsets[3]), int(frames.offsets[4]))
    value = 0.0 if damage == "zero" else torch.nan
    frames.targets["displacements"][rows][: 1 if damage == "partly" else None] = value
    with pytest.raises(UserError, match="springs:3 has force_changes, but the displacements"):
        check_displacements(frames)


def test_file_holds_what_few_structures_have_for_these_alone(tmp_path):
    frames = springs(9, labelled=(1, 4, 8))
    save_npz(frames, tmp_path / "few.npz")
    arrays = open_arrays(tmp_path / "few.npz")
    assert arrays["force_changes_structures"].tolist() == [1, 4, 8]
    assert arrays["force_changes"].shape == (3 + 3 + 4, 3)
    assert all(np.isfinite(arrays[name]).all() for name in NAMES)
    again = load_npz(tmp_path / "few.npz").frames
    for name in NAMES:
        torch.testing.assert_close(
            again.targets[name], frames.targets[name], equal_nan=True, rtol=0.0, atol=0.0
        )
    report = inspect(tmp_path / "few.npz")
    assert {row.name: row.frames for row in report.labels.rows} == dict.fromkeys(NAMES, 3)


def test_file_of_what_most_structures_have_is_of_format_1(tmp_path):
    save_npz(springs(3, labelled=(0, 2)), tmp_path / "most.npz")
    arrays = open_arrays(tmp_path / "most.npz")
    assert "force_changes_structures" not in arrays
    assert '"format": 1' in str(arrays["meta"])


def test_file_whose_structures_do_not_fit_is_refused(tmp_path):
    save_npz(springs(9, labelled=(1, 4, 8)), tmp_path / "few.npz")
    arrays = open_arrays(tmp_path / "few.npz")
    arrays["force_changes_structures"] = np.array([1, 4])
    write_arrays(tmp_path / "bad.npz", arrays)
    with pytest.raises(UserError, match="values of 10 atoms, but the 2 structures .* have 6"):
        load_npz(tmp_path / "bad.npz")


def test_structures_of_a_file_stand_in_any_order(tmp_path):
    frames = springs(9, labelled=(1, 4, 8))
    save_npz(frames, tmp_path / "few.npz")
    arrays = open_arrays(tmp_path / "few.npz")
    arrays["force_changes_structures"] = np.array([8, 1, 4])
    arrays["force_changes"] = np.roll(arrays["force_changes"], int(frames.n_atoms[8]), axis=0)
    write_arrays(tmp_path / "turned.npz", arrays)
    again = load_npz(tmp_path / "turned.npz").frames
    torch.testing.assert_close(
        again.targets["force_changes"], frames.targets["force_changes"], equal_nan=True
    )


@pytest.mark.parametrize(
    ("structures", "fault"),
    [
        ([1, 4, 9], "names row 9, but the data has rows 0 to 8"),
        ([-1, 1, 4], "names row -1, but"),
        ([1, 4, 8, 4], "names row 4 more than once; give each once"),
        ([1.0, 4.0, 8.0], "is no list of row numbers"),
    ],
)
def test_structures_of_a_file_that_are_none_are_refused(tmp_path, structures, fault):
    save_npz(springs(9, labelled=(1, 4, 8)), tmp_path / "few.npz")
    arrays = open_arrays(tmp_path / "few.npz")
    arrays["force_changes_structures"] = np.array(structures)
    write_arrays(tmp_path / "bad.npz", arrays)
    with pytest.raises(UserError, match=f"'force_changes_structures' {fault}"):
        load_npz(tmp_path / "bad.npz")
