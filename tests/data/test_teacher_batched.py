"""Geometries made in batches, against those made one at a time and statistical mechanics."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import molecule

RECIPES = Path(__file__).parents[2] / "data" / "recipes"
if not RECIPES.exists():
    pytest.skip("data/recipes is only in the checkout", allow_module_level=True)
sys.path.insert(0, str(RECIPES))
try:
    aimnet, batched, geometries = (
        importlib.import_module(f"teacher_{name}") for name in ("aimnet", "batched", "geometries")
    )
finally:
    sys.path.remove(str(RECIPES))

STIFFNESS = 4.0  # eV/Å²


def structures(*names: str) -> list:
    atoms = [molecule(name) for name in names]
    return [aimnet.Structure(a.numbers, a.positions, 0) for a in atoms]


def padded(*names: str):
    batch = batched.Padded.of(aimnet.pad(structures(*names)))
    return batch._replace(pos=batch.pos.double())


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(4)


def test_hessians_are_those_of_single_structures(monkeypatch: pytest.MonkeyPatch) -> None:
    radii = batched.radii_of
    monkeypatch.setattr(batched, "radii_of", lambda z: radii(z).double())
    batch = padded("H2O", "CH3CHO", "SO2")
    found = batched.elastic_hessians(batch)
    for one, hessian in zip(structures("H2O", "CH3CHO", "SO2"), found, strict=True):
        expected, n = geometries.elastic_hessian(one.z, one.pos), 3 * len(one.z)
        np.testing.assert_allclose(hessian[:n, :n], expected, atol=1e-4)
        assert not hessian[n:].any()
        assert not hessian[:, n:].any()


def test_ways_downhill_are_those_of_single_structures() -> None:
    """In a well about displaced positions, where no step of either is refused."""
    names = ("H2O", "CH3CHO", "SO2")
    goals = [s.pos * 1.1 + 0.05 for s in structures(*names)]

    def forces_of(moved: list) -> list[np.ndarray]:
        return [STIFFNESS * (goal - s.pos) for goal, s in zip(goals, moved, strict=True)]

    keep = np.array([1, 3, 5])
    kept = aimnet.relax(forces_of, structures(*names), batched.RELAX_STEPS, (1, 3, 5, 14))
    batch = padded(*names)
    moved = [s._replace(pos=p) for s, p in zip(structures(*names), goals, strict=True)]
    goal = batched.Padded.of(aimnet.pad(moved)).pos

    def forces(positions: torch.Tensor) -> torch.Tensor:
        return STIFFNESS * (goal - positions) * batch.is_atom[..., None]

    on_the_way, last = batched.relax(forces, batch, torch.from_numpy(keep))
    for k, (found, end) in enumerate(zip(batch.cut(on_the_way), batch.cut(last), strict=True)):
        np.testing.assert_allclose(found, kept[k][k], atol=2e-4)
        np.testing.assert_allclose(end, kept[3][k], atol=2e-4)
        np.testing.assert_allclose(end, goals[k], atol=0.03 / STIFFNESS)


def test_thermal_noise_is_that_of_the_stiffened_network() -> None:
    one, temperature, n = structures("H2O")[0], 500.0, 20000
    batch = padded(*["H2O", "CO2"] * n)
    moved = batched.thermal_noise(batch, torch.full((2 * n,), temperature), generator())
    found = np.cov((moved - batch.pos)[::2].reshape(n, -1).numpy().T)
    hessian = geometries.elastic_hessian(one.z, one.pos) + 2.0 * np.eye(9)
    expected = geometries.BOLTZMANN * temperature * np.linalg.inv(hessian)
    np.testing.assert_allclose(found, expected, atol=0.04 * expected.max())


def test_dynamics_have_their_temperature() -> None:
    n = 600
    batch = padded(*["H2O"] * n)
    temperatures = torch.tensor([300.0, 900.0]).repeat(n // 2)

    def forces(positions: torch.Tensor) -> torch.Tensor:
        return STIFFNESS * (batch.pos - positions)

    paths = batched.langevin(forces, batch, temperatures, range(200, 300, 10), generator())
    for k, temperature in enumerate((300.0, 900.0)):
        spread = torch.stack([(path - batch.pos)[k::2].square().mean() for path in paths]).mean()
        expected = geometries.BOLTZMANN * temperature / STIFFNESS
        assert float(spread) == pytest.approx(expected, rel=0.06)


def test_bonds_hold_and_protons_stay_where_ions_meet() -> None:
    water = structures("H2O")[0]
    bonds = np.array([[0, 1], [0, 2]])
    start = geometries.Start("qm9", "O", 0, 0, water.z, water.pos, np.zeros(3, int), bonds)
    broken = water.pos.copy()
    broken[1] += 3.0
    assert batched.is_sound(start, water.pos)
    assert not batched.is_sound(start, broken)
    assert not batched.is_sound(start, np.full((3, 3), np.nan))
    # A proton from hydroxonium to chloride.
    z = np.array([8, 1, 1, 1, 17])
    pos = np.array([[0, 0, 0], [0.98, 0, 0], [-0.4, 0.9, 0], [-0.4, -0.9, 0], [2.9, 0, 0.0]])
    pair = start._replace(
        smiles="[OH3+].[Cl-]", z=z, pos=pos, fragment=np.array([0, 0, 0, 0, 1]),
        bonds=np.array([[0, 1], [0, 2], [0, 3]]),
    )  # fmt: skip
    over = pos.copy()
    over[1, 0] = 1.6
    assert geometries.damage(z, pair.bonds, over) == 1
    assert batched.is_sound(pair, pos)
    assert not batched.is_sound(pair, over)
    assert batched.is_sound(pair._replace(smiles="O.Cl"), over)
