"""Mirror images of frames, and what happens to a vector that is given the wrong parity."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from molequi.datasets.chirality.mirror import mirror_frames, mirror_values
from molequi.datasets.in_memory import Frames
from molequi.datasets.making import make_frames
from molequi.errors import UserError
from molequi.o3.coupling import coupling_table
from molequi.properties import PROPERTIES, Property, declare, get_property

ANGULAR_MOMENTUM = declare("angular_momentum", irreps="1e", unit="amu·Å²/fs", extensive=True)
PARITIES = {
    "energy": 1,
    "forces": -1,
    "dipole": -1,
    "polarizability": 1,
    "rosenfeld": -1,
    "rosenfeld_isotropic": -1,
    ANGULAR_MOMENTUM.name: 1,
}


@pytest.mark.parametrize("name", PARITIES)
def test_parities_of_the_table(name: str) -> None:
    row = get_property(name, {ANGULAR_MOMENTUM.name: ANGULAR_MOMENTUM})
    values = torch.randn(4, *row.shape, dtype=torch.float64)
    assert torch.equal(mirror_values(values, row), PARITIES[name] * values)


def test_yes_no_labels() -> None:
    values = torch.tensor([1.0, 0.0, torch.nan])
    torch.testing.assert_close(
        mirror_values(values, PROPERTIES["handedness"]),
        torch.tensor([0.0, 1.0, torch.nan]),
        equal_nan=True,
    )
    assert torch.equal(
        mirror_values(values[:2], declare("toxic", unit="1", binary=True)), values[:2]
    )


def test_mixed_parities_keep_their_parts_apart() -> None:
    """A 3x3 tensor whose antisymmetric part alone is even.

    That part stays, the rest changes sign.
    """
    tensor = torch.randn(5, 3, 3, dtype=torch.float64)
    mirrored = mirror_values(tensor, declare("mixed", irreps="0o+1e+2o", unit="1"))
    torch.testing.assert_close(mirrored - mirrored.mT, tensor - tensor.mT)
    torch.testing.assert_close(mirrored + mirrored.mT, -(tensor + tensor.mT))


def moving(row: Property, positions: torch.Tensor, momenta: torch.Tensor) -> Frames:
    """One frame with J = sum of q x p as a target."""
    value = torch.linalg.cross(positions, momenta).sum(dim=0, keepdim=True)
    numbers = torch.full((len(positions),), 6)
    return make_frames(
        positions,
        numbers,
        torch.tensor([len(positions)]),
        targets={row.name: value},
        properties={row.name: row},
    )


@pytest.fixture
def motion() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    positions, momenta = torch.randn(2, 6, 3, generator=generator, dtype=torch.float64)
    return positions - positions.mean(dim=0), momenta


def test_axial_vector_turns_with_rotations_and_survives_inversion(
    motion: tuple[torch.Tensor, torch.Tensor],
) -> None:
    positions, momenta = motion
    row = ANGULAR_MOMENTUM
    frames = moving(row, positions, momenta)
    turn = torch.from_numpy(Rotation.random(random_state=1).as_matrix())
    turned = moving(row, positions @ turn.T, momenta @ turn.T)
    torch.testing.assert_close(turned.targets[row.name], frames.targets[row.name] @ turn.T)
    # Positions and momenta both change sign, their product does not: what the irrep 1e says is what
    # happens.
    inverted = moving(row, -positions, -momenta)
    torch.testing.assert_close(mirror_frames(frames).targets[row.name], inverted.targets[row.name])
    torch.testing.assert_close(inverted.targets[row.name], frames.targets[row.name])


def test_calling_an_axial_vector_polar_breaks_the_mirror_law(
    motion: tuple[torch.Tensor, torch.Tensor],
) -> None:
    """Declared 1o, J still turns rightly, but its mirror image is wrong by twice its length.

    No rotation test would notice.
    """
    positions, momenta = motion
    polar = declare("false_momentum", irreps="1o", unit="amu·Å²/fs")
    frames, inverted = moving(polar, positions, momenta), moving(polar, -positions, -momenta)
    claimed = mirror_frames(frames).targets["false_momentum"]
    wrong = (claimed - inverted.targets["false_momentum"]).norm() / inverted.targets[
        "false_momentum"
    ].norm()
    assert float(wrong) == pytest.approx(2.0)


def test_couplings_know_the_difference() -> None:
    """Two polar vectors have a path to 1e, which is the cross product, and none to 1o."""
    assert not coupling_table(((1, -1),), ((1, -1),), ((1, -1),)).paths
    table = coupling_table(((1, -1),), ((1, -1),), ((1, 1),))
    q, p = np.random.default_rng(0).normal(size=(2, 3))
    product = np.zeros(3)
    np.add.at(
        product,
        table.component_output,
        table.value * q[table.component_first] * p[table.component_second],
    )
    cross = np.cross(q, p)
    assert abs(product @ cross) == pytest.approx(np.linalg.norm(product) * np.linalg.norm(cross))


def test_frames() -> None:
    frames = make_frames(
        torch.randn(5, 3),
        torch.ones(5),
        torch.tensor([2, 3]),
        targets={
            "dipole": torch.ones(2, 3),
            "handedness": torch.tensor([1.0, torch.nan, 0.0, torch.nan, torch.nan]),
        },
        properties={name: PROPERTIES[name] for name in ("dipole", "handedness")},
        source=["a", "b"],
    )
    mirrored = mirror_frames(frames)
    assert torch.equal(mirrored.positions, -frames.positions)
    assert mirrored.source == ("a mirror", "b mirror")
    twice = mirror_frames(mirrored)
    for name, values in frames.targets.items():
        torch.testing.assert_close(twice.targets[name], values, equal_nan=True)
    periodic = dataclasses.replace(frames, pbc=torch.ones_like(frames.pbc))
    with pytest.raises(UserError, match="mirror images are made of molecules"):
        mirror_frames(periodic)
