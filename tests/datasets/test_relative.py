"""The same atoms elsewhere: what is computed of them, and what is refused."""

from __future__ import annotations

import pytest
import torch

from molequi.datasets.beside import beside
from molequi.datasets.in_memory import Frames
from molequi.datasets.making import make_frames
from molequi.datasets.relative import (
    OTHER_POSITIONS,
    RELATIVE_ENERGY,
    check_elsewhere,
    elsewhere,
)
from molequi.errors import UserError
from molequi.properties import PROPERTIES

# Water and hydroxide with another geometry each, and HF without one between them.
NUMBERS = ((8, 1, 1), (9, 1), (8, 1))
NAN = float("nan")


def frames_of() -> Frames:
    generator = torch.Generator().manual_seed(0)
    places = torch.randn(2, 7, 3, generator=generator, dtype=torch.float64)
    places[1, 3:5] = NAN
    names = (RELATIVE_ENERGY, OTHER_POSITIONS)
    labels = torch.tensor([0.25, NAN, -0.5], dtype=torch.float64)
    return make_frames(
        places[0],
        torch.tensor([z for one in NUMBERS for z in one]),
        torch.tensor([len(one) for one in NUMBERS]),
        electrons=(torch.tensor([0, 0, -1]), torch.ones(3, dtype=torch.int64)),
        targets=dict(zip(names, (labels, places[1]), strict=True)),
        properties={name: PROPERTIES[name] for name in names},
    )


def test_the_same_atoms_stand_elsewhere():
    frames = frames_of()
    found = elsewhere(frames, torch.tensor([1, 2, 0]), 5.0)
    assert found.owner.tolist() == [1, 2]
    assert found.graph.atomic_numbers.tolist() == [8, 1, 8, 1, 1]
    assert found.graph.total_charge.tolist() == [-1, 0]
    other = frames.targets[OTHER_POSITIONS]
    torch.testing.assert_close(found.graph.positions, torch.cat([other[5:], other[:3]]))


def test_relative_energies_are_differences():
    found = beside(frames_of(), torch.tensor([1, 2, 0]), 5.0).elsewhere
    here = torch.tensor([-9.0, -5.0, -2.0], dtype=torch.float64)
    there = torch.tensor([-4.0, -2.5], dtype=torch.float64)
    assert found.differences(here, there).tolist() == [0.0, -1.0, 0.5]


def test_batches_without_other_positions_have_none():
    frames = frames_of()
    assert elsewhere(frames, torch.tensor([1]), 5.0) is None
    assert elsewhere(frames.with_targets([]), torch.tensor([0]), 5.0) is None
    kept = frames.with_targets([RELATIVE_ENERGY])
    assert set(kept.targets) == {RELATIVE_ENERGY, OTHER_POSITIONS}
    check_elsewhere(frames)


def test_labels_without_all_other_positions_are_refused():
    frames = frames_of()
    frames.targets[OTHER_POSITIONS][6, 1] = NAN
    with pytest.raises(UserError, match="structure 2 has relative_energy, but the other_positions"):
        check_elsewhere(frames)


def test_other_positions_on_each_other_are_refused():
    """Zeros for want of positions would be learned as an energy of atoms in one place."""
    frames = frames_of()
    frames.targets[OTHER_POSITIONS][5:] = 0.0
    with pytest.raises(UserError, match="other_positions of structure 2: .* 0.000 Å apart"):
        check_elsewhere(frames)
