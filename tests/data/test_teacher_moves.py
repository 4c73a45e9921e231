"""The displacements of molecules behind the training set of the bundled models."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

RECIPES = Path(__file__).parents[2] / "data" / "recipes"
WATER = (
    np.array([8, 1, 1]),
    np.array([[0.0, 0.0, 0.0], [0.0, 0.757, 0.587], [0.0, -0.757, 0.587]]),
)
# Ethanol, staggered, Å.
ETHANOL = (
    np.array([6, 6, 8, 1, 1, 1, 1, 1, 1]),
    np.array(
        [
            [1.17, -0.40, 0.00],
            [0.00, 0.56, 0.00],
            [-1.19, -0.21, 0.00],
            [2.12, 0.16, 0.00],
            [1.14, -1.04, 0.89],
            [1.14, -1.04, -0.89],
            [0.05, 1.20, 0.89],
            [0.05, 1.20, -0.89],
            [-1.95, 0.38, 0.00],
        ]
    ),
)


@pytest.fixture(scope="module")
def moves() -> ModuleType:
    """Return the recipe's module."""
    if not RECIPES.exists():
        pytest.skip("data/recipes is only in the checkout")
    sys.path.insert(0, str(RECIPES))
    try:
        return importlib.import_module("teacher_moves")
    finally:
        sys.path.remove(str(RECIPES))


@pytest.mark.parametrize("name", ["rattle", "stretch", "xh", "twist", "pair"])
def test_generators_are_deterministic_under_a_seed(moves: ModuleType, name: str) -> None:
    z, pos = ETHANOL
    before = pos.copy()
    make = {
        "rattle": lambda rng: moves.rattle(pos, 0.05, rng),
        "stretch": lambda rng: moves.stretch(z, pos, 0.8, 1.4, rng, only_xh=False),
        "xh": lambda rng: moves.stretch(z, pos, 0.75, 1.6, rng, only_xh=True),
        "twist": lambda rng: moves.twist(z, pos, rng),
        "pair": lambda rng: moves.place_pair(ETHANOL, WATER, rng)[1],
    }[name]
    first, again, other = (make(np.random.default_rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3
    np.testing.assert_array_equal(pos, before)


def test_stretch_changes_one_bond_and_keeps_both_sides_rigid(moves: ModuleType) -> None:
    z, pos = ETHANOL
    moved = moves.stretch(z, pos, 1.5, 1.5, np.random.default_rng(0), only_xh=True)
    change = moves.distances(moved)[moves.bonds(z, pos)] / moves.distances(pos)[moves.bonds(z, pos)]
    assert np.count_nonzero(change > 1.3) == 2  # one bond, seen from both ends
    assert np.abs(change[change < 1.3] - 1.0).max() < 0.12


def test_ring_bonds_are_not_open(moves: ModuleType) -> None:
    angle = np.arange(6) * np.pi / 3
    ring = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    z = np.array([6] * 6 + [1] * 6)
    benzene = np.concatenate([1.39 * ring, 2.48 * ring])
    assert len(moves.open_bonds(z, benzene)) == 6  # the C-H bonds
    assert moves.twist(z, benzene, np.random.default_rng(0)) is None


def test_twist_keeps_bond_lengths(moves: ModuleType) -> None:
    z, pos = ETHANOL
    moved = moves.twist(z, pos, np.random.default_rng(1))
    bonded = moves.bonds(z, pos)
    assert np.abs(moves.distances(moved)[bonded] - moves.distances(pos)[bonded]).max() < 0.15
    assert np.abs(moves.distances(moved)[~bonded & np.isfinite(moves.distances(pos))]).min() > 0.6


def test_pairs_touch_but_do_not_overlap(moves: ModuleType) -> None:
    for seed in range(20):
        z, pos = moves.place_pair(WATER, ETHANOL, np.random.default_rng(seed))
        gap = np.linalg.norm(pos[:3, None] - pos[None, 3:], axis=-1).min()
        assert 1.5 < gap < 5.0
        np.testing.assert_array_equal(z, np.concatenate([WATER[0], ETHANOL[0]]))
        np.testing.assert_allclose(
            moves.distances(pos[:3])[0, 1:], moves.distances(WATER[1])[0, 1:], rtol=1e-12
        )


def test_faces_meet_without_mirror_images(moves: ModuleType) -> None:
    """Ethanol, bent out of its plane, on benzene: both keep shape and hand, their normals meet.

    A rotation is found by Kabsch's method with its determinant left free.
    """
    angles = np.arange(6) * np.pi / 3
    ring = np.stack([np.cos(angles), np.sin(angles), np.zeros(6)], axis=1)
    benzene = np.repeat([6, 1], 6), np.concatenate([1.39 * ring, 2.48 * ring])
    chiral = ETHANOL[0], moves.twist(*ETHANOL, np.random.default_rng(1))
    rng, tilts, radii = np.random.default_rng(0), [], {6: 1.7, 1: 1.2, 8: 1.52}
    for _ in range(200):
        z, pos = moves.place_faces(chiral, benzene, rng)
        parts = pos[:9], pos[9:]
        for placed, known in zip(parts, (chiral[1], benzene[1]), strict=True):
            distances = [np.linalg.norm(p[:, None] - p[None], axis=-1) for p in (placed, known)]
            np.testing.assert_allclose(*distances, atol=1e-9)
        u, _, vt = np.linalg.svd((parts[0] - parts[0].mean(0)).T @ (chiral[1] - chiral[1].mean(0)))
        assert np.linalg.det(u @ vt) == pytest.approx(1.0)
        sums = np.array([[radii[i] + radii[j] for j in z[9:]] for i in z[:9]])
        gaps = np.linalg.norm(pos[:9, None] - pos[None, 9:], axis=-1) / sums
        assert 0.79 < gaps.min() < 1.26
        normals = [np.linalg.svd(p - p.mean(0))[2][2] for p in parts]
        tilts.append(abs(float(normals[0] @ normals[1])))
    assert 0.65 < (np.array(tilts) > 0.85).mean() < 0.85
    assert 0.15 < (np.array(tilts) < 0.5).mean() < 0.35


IODOACETYLENE = (
    np.array([53, 6, 6, 1]),
    np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 2.0], [0.0, 0.0, 3.2], [0.0, 0.0, 4.26]]),
)


def test_acceptors_stand_before_halogens_without_mirror_images(moves: ModuleType) -> None:
    """Chiral, twisted ethanol keeps shape and hand; O looks at I, most often along its bond."""
    chiral, rng = moves.twist(*ETHANOL, np.random.default_rng(1)), np.random.default_rng(0)
    angles, facing, contacts = [], [], []
    for _ in range(400):
        z, pos = moves.place_halogen(IODOACETYLENE, (ETHANOL[0], chiral), rng)
        first, second = pos[:4], pos[4:]
        np.testing.assert_array_equal(z, np.concatenate([IODOACETYLENE[0], ETHANOL[0]]))
        np.testing.assert_array_equal(first, IODOACETYLENE[1])
        np.testing.assert_allclose(
            moves.distances(second)[0, 1:], moves.distances(chiral)[0, 1:], atol=1e-9
        )
        u, _, vt = np.linalg.svd((second - second.mean(0)).T @ (chiral - chiral.mean(0)))
        assert np.linalg.det(u @ vt) == pytest.approx(1.0)
        assert np.linalg.norm(first[:, None] - second[None], axis=-1).min() > 1.4
        if np.linalg.norm(second - first[0], axis=1).argmin() == 2:
            line = second[2] / (contact := float(np.linalg.norm(second[2])))
            contacts.append(contact / (1.98 + 1.52))
            angles.append(np.degrees(np.arccos(-line[2])))
            out = second[2] - 0.5 * (second[1] + second[8])
            facing.append(float(-line @ out) / np.linalg.norm(out))
    assert len(angles) > 150
    assert 0.71 < min(contacts) < 0.8
    assert 0.5 < (np.array(angles) < 40.0).mean() < 0.95
    assert max(angles) < 111.0
    assert np.median(facing) > 0.7


def test_halogens_meet_single_atoms(moves: ModuleType) -> None:
    chloride = np.array([17]), np.zeros((1, 3))
    for seed in range(20):
        _, pos = moves.place_halogen(IODOACETYLENE, chloride, np.random.default_rng(seed))
        assert 2.4 < np.linalg.norm(pos[4] - pos[:4], axis=1).min() < 5.0
