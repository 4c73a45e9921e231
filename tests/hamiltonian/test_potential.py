"""Molecular models as potentials.

What a loss through the integrator differentiates, what a rollout keeps, what is refused.
"""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from ase import units

from molequi.errors import UserError
from molequi.hamiltonian.config import make_dynamics_config
from molequi.hamiltonian.data import make_data
from molequi.hamiltonian.evaluation import energies_along, segment_error
from molequi.hamiltonian.loop import DynamicsRun
from molequi.hamiltonian.mechanics import (
    N_TRANSITIONS,
    Segments,
    angular_momentum,
    linear_momentum,
    rk4,
)
from molequi.hamiltonian.molecule import describe_molecule, make_teacher
from molequi.hamiltonian.potential import MolecularPotential, make_potential
from molequi.hamiltonian.saved import load_dynamics
from molequi.hamiltonian.setup import build
from molequi.hamiltonian.train import fit_dynamics
from molequi.nn.backbones.registry import BACKBONES

SIZES = {"n_channels": 4, "n_layers": 2}
KINDS = pytest.mark.parametrize("kind", BACKBONES)


def settings(**model: object) -> dict[str, object]:
    data = {"kind": "molecule", "path": "samples/ethanol.xyz", "train": 0.024, "test": 0.01}
    return {
        "name": "m",
        "data": data,
        "model": model,
        "training": {"epochs": 2, "batch_size": 5, "device": "cpu"},
    }


@pytest.fixture(scope="module")
def pieces() -> Segments:
    """Six pieces of nonsense near a bundled ethanol, at rest in the mean."""
    frames = make_teacher(make_dynamics_config(settings(kind="invariant")).data).frames
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(
        6, N_TRANSITIONS + 1, 2, frames.n_atoms[0], 3, dtype=torch.float64, generator=generator
    )
    states = torch.cat(
        [
            frames.positions + 0.05 * noise[:, :, :1],
            (noise - noise.mean(3, keepdim=True))[:, :, 1:],
        ],
        dim=2,
    )
    times = torch.arange(N_TRANSITIONS + 1, dtype=torch.float64) * 0.5 * units.fs
    return Segments(states, times, describe_molecule(frames, 6))


@pytest.fixture(scope="module")
def potential(pieces):
    frames = make_teacher(make_dynamics_config(settings(kind="invariant")).data).frames

    def make(kind: str, **overrides: object) -> MolecularPotential:
        model = make_potential(kind, {**SIZES, **overrides}, frames, pieces, 0).double()
        model.model.heads["energy"].set_statistics(0.3)
        return model

    return make


@pytest.mark.parametrize(
    ("kind", "kernels"), [*((kind, "reference") for kind in BACKBONES), ("spherical", "generic")]
)
def test_loss_through_the_integrator_is_differentiated_in_every_weight(
    kind, kernels, pieces, potential
):
    """The gradient against a difference quotient along itself.

    The forces in the graph are differentiated in weights and in positions.
    """
    model, few = potential(kind), pieces.pick(torch.arange(2))
    model.model.backbone.use_kernels(kernels)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    scales = torch.tensor([0.05, 1.0], dtype=torch.float64)
    gradients = torch.autograd.grad(segment_error(model, few, scales), weights, allow_unused=True)
    slope = math.sqrt(sum(float(g.square().sum()) for g in gradients if g is not None))
    assert slope > 0.0
    # What the energy depends on moves the forces too, but for constants.
    of_energy = torch.autograd.grad(
        model.potential(few.states[:, 0, 0], few.systems).sum(), weights, allow_unused=True
    )
    names = [name for name, weight in model.named_parameters() if weight.requires_grad]
    unused = [
        name
        for name, g, used in zip(names, gradients, of_energy, strict=True)
        if g is None and used is not None
    ]
    assert all("bias" in name for name in unused), unused
    values = []
    for step in (1e-5, -2e-5):
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=True):
                weight.add_(
                    torch.zeros_like(weight) if gradient is None else gradient, alpha=step / slope
                )
        values.append(float(segment_error(model, few, scales).detach()))
    assert (values[0] - values[1]) / 2e-5 == pytest.approx(slope, rel=1e-4)


@KINDS
def test_forces_with_and_without_a_graph_are_the_same(kind, pieces, potential):
    model, state, systems = potential(kind), pieces.states[:, 0], pieces.systems
    assert "energy" in model.model.outputs
    with_graph = model(state, systems)
    assert with_graph.requires_grad
    with torch.no_grad():
        torch.testing.assert_close(model(state, systems), with_graph.detach(), rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(
            model.potential(state[:, 0], systems),
            energies_along(model, state[:, None], systems)[:, 0] - _kinetic(state, systems),
        )


def _kinetic(state: torch.Tensor, systems) -> torch.Tensor:
    return (state[:, 1].square().sum(-1) / (2.0 * systems.masses)).sum(-1)


@pytest.mark.parametrize(
    ("kind", "turns"), [("spherical", True), ("invariants", True), ("lieconv", False)]
)
def test_what_a_rollout_keeps(kind, turns, pieces, potential):
    """All are Hamiltonian and see no origin; LieConv over T(3) sees directions."""
    model, start = potential(kind), pieces.states[:2, 0]
    systems, times = (
        pieces.systems.pick(torch.arange(2)),
        torch.arange(6, dtype=torch.float64) * 0.1 * units.fs,
    )
    with torch.no_grad():
        states = rk4(lambda z: model(z, systems), start, times, 2)
    energies = energies_along(model, states, systems)
    exchanged = _kinetic(states[:, -1], systems) - _kinetic(start, systems)
    assert float((energies - energies[:, :1]).abs().max()) < 1e-5 * float(exchanged.abs().max())
    linear, angular = (
        (m(states)[:, -1] - m(states)[:, 0]).abs().max()
        for m in (linear_momentum, angular_momentum)
    )
    assert float(linear) < 1e-11
    assert (float(angular) < 1e-7) == turns, angular


@KINDS
def test_first_forces_have_the_size_of_those_in_the_data(kind, pieces):
    """Momenta tell it; a wrong size would shake the molecule to pieces in the first steps."""
    model = make_potential(
        kind,
        SIZES,
        make_teacher(make_dynamics_config(settings(kind="invariant")).data).frames,
        pieces,
        0,
    )
    slopes = (pieces.states[:, 1:, 1] - pieces.states[:, :-1, 1]) / (0.5 * units.fs)
    found = model.forces(pieces.states[:, 0, 0]).square().mean()
    assert float(found) == pytest.approx(float(slopes.square().mean()), rel=1e-3)


def test_lieconv_without_continuous_forces_is_refused(potential):
    with pytest.raises(
        UserError,
        match="model.kind lieconv cannot be a potential: its lifts to SE\\(3\\) are drawn anew",
    ):
        potential("lieconv", group="SE(3)")
    with pytest.raises(UserError, match="its neighbourhoods are hard"):
        potential("lieconv", radius=2.0)
    with pytest.raises(UserError, match="model.backbone.augmentation turns the molecules"):
        potential("lieconv", augmentation="rotations")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "tensor"}, "known are fc, h-fc, .*, spherical, invariants, coordinates, lieconv"),
        (
            {"kind": "spherical", "backbone": {"n_channels": 3}},
            "model.backbone.n_channels is said by model.width",
        ),
        (
            {"kind": "spherical", "backbone": {"architecture": "lieconv"}},
            "model.backbone.architecture is said by model.kind",
        ),
        ({"kind": "spherical", "backbone": {"l_maxx": 3}}, "did you mean 'model.backbone.l_max'"),
        (
            {"kind": "invariant", "backbone": {"l_max": 1}},
            "is for spherical, invariants, coordinates, lieconv, mace of molecules, model.kind is "
            "invariant",
        ),
    ],
)
def test_wrong_models_are_named(changes, message):
    with pytest.raises(UserError, match=message):
        make_dynamics_config(settings(**changes))


def test_backbones_are_for_molecules():
    with pytest.raises(UserError, match="model.kind is 'spherical'; known are fc"):
        make_dynamics_config(
            {"name": "s", "data": {"kind": "springs"}, "model": {"kind": "spherical"}}
        )


def test_setting_of_another_backbone_is_named(pieces, potential):
    with pytest.raises(
        UserError, match="model.group has no meaning for model.architecture=spherical"
    ):
        potential("spherical", group="T(3)")


def test_e3_backbone_learns_from_a_trajectory_and_comes_back_from_its_folder(tmp_path, monkeypatch):
    config = make_dynamics_config(
        settings(kind="spherical", width=4, n_layers=1, backbone={"l_max": 1, "cutoff": 4.0})
    )
    data = make_data(config)
    assert build(config, data).model.backbone.settings["cutoff"] == 4.0
    run = DynamicsRun(config, data, build(config, data))
    assert run.model.model.backbone.kernels == "reference"
    folder = fit_dynamics(config, data, tmp_path / "run")
    rows = json.loads((folder / "result.json").read_text())
    assert rows["own_energy_change"]["value"] < 1e-4 < rows["energy_error_max"]["value"]
    assert rows["linear_momentum_per_atom"]["value"] < 1e-8
    losses = np.genfromtxt(folder / "metrics.csv", delimiter=",", names=True)["loss"]
    assert losses[1] < losses[0]
    monkeypatch.setattr("molequi.hamiltonian.saved.make_data", lambda _: data)
    model, again, _ = load_dynamics(folder)
    assert again == config
    frames = data.rollouts.states[0, ::20]
    copies = data.rollouts.systems.pick(torch.zeros(len(frames), dtype=torch.int64))
    with torch.no_grad():
        mae = (model(frames, copies)[:, 1] - data.truth.forces(frames[:, 0])).abs().mean()
    assert 0.2 * rows["force_mae"]["value"] < float(mae) < 5.0 * rows["force_mae"]["value"]
