"""The functions behind tests/benchmarks/symmetry_buys.py.

Laws against other derivations, symmetry where it is claimed and none where it is not.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from ase import units
from torch import Tensor

from molequi.datasets.chirality.alanine import load_alanine
from molequi.runtime.resources import data_path

BENCHMARKS = Path(__file__).parent / "benchmarks"


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch):
    """Return the function that imports a module of tests/benchmarks/buys."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def load(name: str) -> ModuleType:
        return importlib.import_module(f"buys.{name}")

    return load


def random_strain(n: int) -> Tensor:
    matrix = torch.from_numpy(np.random.default_rng(0).uniform(-0.15, 0.15, (n, 3, 3)))
    return 0.5 * (matrix + matrix.mT)


def test_stress_is_the_derivative_of_the_energy(part):
    """W = mu/2 (tr C - 3) - mu ln J + lambda/2 (ln J)^2, written out in eigenvalues."""
    stress = part("stress")
    strain = random_strain(8).requires_grad_(True)
    squares = torch.linalg.eigvalsh(torch.eye(3, dtype=torch.float64) + 2.0 * strain)
    log_volume = 0.5 * squares.log().sum(dim=1)
    energy = (
        0.5 * stress.MU * (squares.sum(dim=1) - 3.0)
        - stress.MU * log_volume
        + 0.5 * stress.LAMBDA * log_volume.square()
    )
    torch.testing.assert_close(
        stress.stress_of(strain.detach()),
        torch.autograd.grad(energy.sum(), strain)[0],
        rtol=1e-10,
        atol=1e-12,
    )


def test_small_strain_gives_hookes_law(part):
    stress = part("stress")
    strain = 1e-6 * random_strain(4)
    trace = strain.diagonal(dim1=1, dim2=2).sum(dim=1)
    hooke = 2.0 * stress.MU * strain + stress.LAMBDA * trace[:, None, None] * torch.eye(
        3, dtype=torch.float64
    )
    torch.testing.assert_close(stress.stress_of(strain), hooke, rtol=0, atol=1e-11)


def test_only_the_exact_model_knows_other_axes(part):
    stress = part("stress")
    rows = []
    for kind in (stress.IsotropicEnergy, stress.ComponentNetwork):
        torch.manual_seed(0)
        model = kind()
        rows.append(stress.stress_row(model, stress.train_stress(model, steps=200)))
    exact, naive = rows
    assert exact["ratio_y"] == pytest.approx(1.0, abs=1e-9)
    assert exact["ratio_axes_min"] == pytest.approx(1.0, abs=1e-9)
    assert exact["ratio_axes_max"] == pytest.approx(1.0, abs=1e-9)
    assert naive["ratio_y"] > 3.0
    assert naive["ratio_axes_mean"] > 2.0


def test_forces_of_distorted_molecules_are_the_gradient_of_mmff(part):
    stress = part("stress")
    frames = stress.distorted(3, 0)
    spread = (frames.positions - frames.positions[:1])[1:]
    assert spread[:, :, 0].abs().max() > 0.02
    assert spread[:, :, 1:].abs().max() == 0.0
    from rdkit import Chem
    from rdkit.Chem import AllChem

    molecule = Chem.AddHs(Chem.MolFromSmiles("CCO"))
    AllChem.EmbedMolecule(molecule, randomSeed=1)
    positions, step = frames.positions[1].numpy(), 1e-4
    for atom, axis in ((0, 0), (2, 1)):
        moved = [positions.copy() for _ in range(2)]
        moved[0][atom, axis] -= step
        moved[1][atom, axis] += step
        low, high = (stress.mmff(molecule, each)[0] for each in moved)
        assert (low - high) / (2 * step) == pytest.approx(
            frames.forces[1, atom, axis].item(), abs=1e-4
        )


def test_rotations_carry_x_onto_the_axis(part):
    axes = torch.nn.functional.normalize(torch.randn(5, 3, dtype=torch.float64), dim=1)
    matrices = part("learn").rotations_of_x(axes, 0)
    torch.testing.assert_close(matrices[:, :, 0], axes)
    torch.testing.assert_close(
        matrices @ matrices.mT, torch.eye(3, dtype=torch.float64).expand(5, 3, 3)
    )
    assert torch.linalg.det(matrices) == pytest.approx(np.ones(5))


def test_switch_is_trained_by_the_command_and_tested_on_turned_frames(part, tmp_path):
    """Turned frames have the labels of the law: an exact model has the same error there."""
    soft, learn = part("soft"), part("learn")
    row = soft.soft_row("exact", 20, learn.Settings(2), tmp_path)
    assert row["turned_energy_mae_mev"] == pytest.approx(row["energy_mae_mev"], rel=1e-3)
    assert row["force_violation_mev_a"] < 0.1 < row["force_mae_mev_a"]


def test_loop_work_of_a_gradient_is_nothing_and_of_a_vector_output_is_not(part):
    direct, learn = part("direct"), part("learn")
    frames = learn.ethanol(None)[0].subset(slice(20))
    works = []
    for rows, is_direct in ((["energy"], False), (["energy", learn.DIRECT], True)):
        model = learn.molecular_model(frames, rows, n_channels=4, l_max=1).to(torch.float64)
        works.append(direct.loop_work(model, frames, direct=is_direct)[1])
    assert works[0] < 1e-3
    assert works[1] > 0.01


def test_dynamics_keep_the_energy_of_a_spring_and_heat_in_a_whirl(part):
    """A spring of two hydrogen atoms keeps its energy; a force that turns does work on them."""
    direct = part("direct")
    start, numbers = (
        torch.tensor([[-0.4, 0.0, 0.0], [0.4, 0.0, 0.0]], dtype=torch.float64),
        torch.tensor([1, 1]),
    )

    def spring(positions: Tensor) -> tuple[Tensor, float]:
        bond = positions[1] - positions[0]
        stretch = bond.norm() - 0.74
        force = -20.0 * stretch * bond / bond.norm()
        return torch.stack([-force, force]), 10.0 * stretch.item() ** 2

    def whirl(positions: Tensor) -> tuple[Tensor, float]:
        forces, energy = spring(positions)
        return forces + 0.5 * torch.stack(
            [-positions[:, 1], positions[:, 0], torch.zeros(2, dtype=torch.float64)], dim=1
        ), energy

    quiet, heated = (direct.nve(law, start, numbers, 0.5) for law in (spring, whirl))
    assert quiet["ps"] == pytest.approx(0.5)
    assert abs(quiet["drift_mev_atom_ps"]) < 3.0
    assert abs(heated["drift_mev_atom_ps"]) > 30.0 * abs(quiet["drift_mev_atom_ps"])
    assert quiet["last_temperature_k"] * units.kB > 0.0


def test_hands_are_labelled_and_unsigned_numbers_cannot_tell_them(part):
    invariants = part("invariants")
    frames = load_alanine(data_path("samples/alanine.npz")).frames.subset(torch.arange(6))
    assert invariants.is_left(frames).tolist() == [1.0, 0.0, 1.0, 0.0, 1.0, 0.0]
    irreps, settings = invariants.HANDS[0][1:]
    assert invariants.hand_row(irreps, settings, 2)["accuracy_percent"] == 50.0


def test_finished_rows_are_not_computed_again(part, tmp_path):
    rows = part("learn").Rows(tmp_path / "rows.json", {"steps": 1})
    assert rows.get("a", "one", lambda: {"value": 1.0}) == {
        "model": "one",
        "steps": 1,
        "value": 1.0,
    }
    again = part("learn").Rows(tmp_path / "rows.json", {"steps": 1})
    assert again.get("a", "one", lambda: pytest.fail("computed again"))["value"] == 1.0
    other = part("learn").Rows(tmp_path / "rows.json", {"steps": 2})
    assert other.get("a", "one", lambda: {"value": 2.0})["value"] == 2.0


def test_script_prints_one_document(part, capsys, monkeypatch):
    part("learn")
    script, threads = importlib.import_module("symmetry_buys"), torch.get_num_threads()
    monkeypatch.setattr(sys, "argv", ["symmetry_buys.py", "--parts", "d", "--steps", "1", "--json"])
    script.main()
    torch.set_num_threads(threads)
    assert set(json.loads(capsys.readouterr().out)) == {"stress", "distorted_forces"}
    monkeypatch.setattr(sys, "argv", ["symmetry_buys.py", "--parts", "xy"])
    with pytest.raises(SystemExit, match="2"):
        script.main()
    assert "--parts is 'xy'" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["symmetry_buys.py", "--ethanol", "missing.npz"])
    with pytest.raises(SystemExit, match="2"):
        script.main()
    assert "there is no file missing.npz" in capsys.readouterr().err
