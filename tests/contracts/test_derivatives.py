"""Forces, stress and Hessian against numeric derivatives; smoothness at the cutoff."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from molequi.graphs.graph import collate
from molequi.models.molecular import MolecularModel
from molequi.models.probes import at_cutoff, built_in_probes
from molequi.models.structure import Structure

ORGANIC = (1, 6, 7, 8)
CUTOFF = 4.5  # Å, of the models in conftest.py
*MOLECULES, CRYSTAL = built_in_probes(ORGANIC)


def shifted_energies(model: MolecularModel, structure: Structure, step: float) -> np.ndarray:
    """Energies with every coordinate moved by -step and by +step: (2, N, 3)."""
    images = []
    for sign in (-1.0, 1.0):
        for coordinate in range(structure.positions.size):
            positions = structure.positions.copy()
            positions.reshape(-1)[coordinate] += sign * step
            images.append(structure.at(positions))
    return (
        model.compute(collate([image.graph(CUTOFF) for image in images]))["energy"]
        .numpy()
        .reshape(2, *structure.positions.shape)
    )


@pytest.mark.parametrize(
    "structure", [*MOLECULES[1:], CRYSTAL], ids=lambda structure: structure.name
)
def test_forces_are_the_numeric_gradient(
    kind: str, structure: Structure, model_of, outputs_of
) -> None:
    step = 1e-4
    low, high = shifted_energies(model_of(kind), structure, step)
    forces = outputs_of(model_of(kind), structure)["forces"].numpy()
    np.testing.assert_allclose(forces, -(high - low) / (2 * step), atol=1e-4)
    single = outputs_of(model_of(kind, torch.float32), structure)["forces"]
    np.testing.assert_allclose(single, forces, atol=1e-4 * np.abs(forces).max())


def test_stress_is_the_numeric_derivative_and_symmetric(kind: str, model_of, outputs_of) -> None:
    structure, step = CRYSTAL, 1e-5
    numeric = np.zeros((3, 3))
    for i, j in np.ndindex(3, 3):
        strain = np.zeros((3, 3))
        strain[i, j] = step
        low, high = (
            float(outputs_of(model_of(kind), structure.mapped(np.eye(3) + sign * strain))["energy"])
            for sign in (-1.0, 1.0)
        )
        numeric[i, j] = (high - low) / (2 * step) / structure.volume
    stress = outputs_of(model_of(kind), structure, stress=True)["stress"][0].numpy()
    np.testing.assert_allclose(stress, numeric, atol=1e-6 * max(1.0, np.abs(stress).max()))
    np.testing.assert_allclose(stress, stress.T, atol=1e-12)
    single = outputs_of(model_of(kind, torch.float32), structure, stress=True)["stress"][0]
    np.testing.assert_allclose(single, stress, atol=1e-4 * np.abs(stress).max())


def test_stress_exists_only_for_full_cells(model: MolecularModel, outputs_of) -> None:
    slab = Structure(
        "slab",
        CRYSTAL.positions,
        CRYSTAL.atomic_numbers,
        CRYSTAL.cell,
        np.array([True, True, False]),
    )
    stress = outputs_of(model, CRYSTAL, slab, MOLECULES[0], stress=True)["stress"]
    assert torch.isfinite(stress[0]).all()
    assert torch.isnan(stress[1:]).all()


@pytest.mark.parametrize("structure", [MOLECULES[2], CRYSTAL], ids=lambda structure: structure.name)
def test_hessian_is_the_numeric_derivative_of_the_forces(
    kind: str, structure: Structure, model_of, outputs_of
) -> None:
    network, step, n = model_of(kind), 1e-4, structure.positions.size
    images = [
        structure.at(structure.positions + sign * step * np.eye(n)[k].reshape(-1, 3))
        for sign in (-1.0, 1.0)
        for k in range(n)
    ]
    low, high = outputs_of(network, *images)["forces"].numpy().reshape(2, n, n)
    hessian = network.hessian(structure.graph(CUTOFF)).numpy()
    np.testing.assert_allclose(
        hessian, -(high - low) / (2 * step), atol=1e-4 * max(1.0, np.abs(hessian).max())
    )
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-12 * np.abs(hessian).max())
    single = model_of(kind, torch.float32).hessian(structure.graph(CUTOFF)).numpy()
    np.testing.assert_allclose(single, hessian, atol=1e-3 * np.abs(hessian).max())


def test_energy_forces_and_slopes_are_smooth_at_the_cutoff(kind: str, model_of, outputs_of) -> None:
    """Just inside the cutoff the difference to outside falls as a power of the distance from it.

    The third for energies, the second for forces, the first for slopes.
    """
    network = model_of(kind)
    structure, motion = at_cutoff(ORGANIC, CUTOFF)

    def at(distance: float) -> tuple[Tensor, Tensor, Tensor]:
        moved = structure.at(structure.positions + distance * motion)
        outputs = outputs_of(network, moved)
        return outputs["energy"], outputs["forces"], network.hessian(moved.graph(CUTOFF))

    outside, near, far = at(1e-6), at(-0.01), at(-0.02)
    for value, closer, farther, power in zip(outside, near, far, (3, 2, 1), strict=True):
        small, large = float((closer - value).abs().max()), float((farther - value).abs().max())
        assert large > 0.0
        assert small < large * 0.7 * 0.5 ** (power - 1), (
            f"power {power}: {small:.1e} at 0.01 Å, {large:.1e} at 0.02 Å"
        )


def test_derivatives_leave_room_for_training_on_forces(model: MolecularModel) -> None:
    graph = MOLECULES[1].graph(CUTOFF)
    loss = model.compute(graph, create_graph=True)["forces"].square().sum()
    gradients = torch.autograd.grad(
        loss, [p for p in model.parameters() if p.requires_grad], allow_unused=True
    )
    assert all(torch.isfinite(g).all() for g in gradients if g is not None)
    assert any(g is not None and g.abs().max() > 0 for g in gradients)
