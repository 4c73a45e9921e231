"""The backbone on distances, angles and dihedrals.

What it sees, what it refuses, and that it is a backbone like the other.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms

from molequi.errors import UserError
from molequi.graphs.graph import collate
from molequi.models.checkpoint import load_model, save_model
from molequi.models.making import make_model
from molequi.models.probes import built_in_probes
from molequi.models.structure import Structure, random_rotation
from molequi.nn.backbones.registry import BACKBONES
from molequi.nn.backbones.spherical import SphericalBackbone
from molequi.simulation.calculator import Calculator
from molequi.training.config import make_config

ORGANIC = (1, 6, 7, 8)
PROBES = built_in_probes(ORGANIC)[:3]


def make(parity: str = "full", **settings):
    outputs = ["energy", "handedness"] if parity == "full" else ["energy"]
    return make_model(
        ORGANIC, outputs, architecture="invariants", parity=parity, n_channels=8, **settings
    ).to(torch.float64)


def test_signed_dihedrals_tell_hands_apart_and_unsigned_ones_cannot():
    graph = PROBES[1].graph(5.0)
    mirrored = graph._replace(positions=graph.positions * torch.tensor([1.0, 1.0, -1.0]))
    signed, unsigned = make("full"), make("natural")
    assert signed(graph)["handedness"].abs().max() > 1e-3
    torch.testing.assert_close(
        signed(mirrored)["handedness"], -signed(graph)["handedness"], atol=1e-13, rtol=0
    )
    for model in (signed, unsigned):
        torch.testing.assert_close(
            model(mirrored)["energies"], model(graph)["energies"], atol=1e-12, rtol=0
        )
    with pytest.raises(UserError, match=r"handedness needs 0o.*parity=full \(signed dihedrals\)"):
        make_model(ORGANIC, ["handedness"], architecture="invariants")


def test_vectors_are_refused():
    with pytest.raises(UserError, match="dipole needs 1o.*model.architecture=spherical"):
        make_model(ORGANIC, ["dipole"], architecture="invariants", parity="full")


def test_angles_and_dihedrals_reach_the_output():
    """Hydrogen peroxide turned about its middle bond.

    It keeps all distances within 1.74 Å, and the angles between them.
    """

    def peroxide(dihedral: float) -> Structure:
        turn = np.array([np.cos(dihedral), np.sin(dihedral)])
        positions = np.array(
            [[-0.73, 0.0, 0.0], [0.73, 0.0, 0.0], [-0.9, 0.95, 0.0], [0.9, *(0.95 * turn)]]
        )
        return Structure("peroxide", positions, np.array([8, 8, 1, 1]))

    model = make("natural", cutoff=1.74, near_cutoff=1.74)
    energies = [model(peroxide(angle).graph(1.74))["energy"].item() for angle in (0.7, 1.9, -1.9)]
    assert energies[2] == pytest.approx(energies[1], abs=1e-13)
    assert abs(energies[1] - energies[0]) > 1e-4


def test_energy_is_smooth_where_a_neighbour_leaves_the_near_cutoff():
    """Third differences of the energy stay as small at the near cutoff as beside it."""
    model = make("natural", near_cutoff=2.0)
    step = 1e-3

    def energy(x: float) -> float:
        positions = np.array([[0.0, 0.0, 0.0], [1.1, 0.3, 0.0], [-0.4, 1.2, 0.2], [0.1, 0.2, x]])
        return model(Structure("four", positions, np.array([6, 1, 8, 7])).graph(5.0))[
            "energy"
        ].item()

    at = np.sqrt(2.0**2 - 0.1**2 - 0.2**2)
    curve = np.array([energy(at + k * step) for k in range(-20, 21)])
    jumps = np.abs(np.diff(curve, 2)) / step**2
    assert np.abs(np.diff(jumps)).max() < 20 * step * max(1.0, jumps.max())


@pytest.mark.parametrize("parity", ["natural", "full"])
def test_features_start_neither_small_nor_steep(parity):
    """Of order one, and changing by no more per Å than sums over distances do, whatever the seed.

    Else forces start far too large.
    """
    graph = collate([probe.graph(5.0) for probe in PROBES])
    moved = graph._replace(
        positions=graph.positions
        + 1e-4 * torch.from_numpy(np.random.default_rng(1).standard_normal(graph.positions.shape))
    )
    for seed in range(3):
        backbone = make(parity, seed=seed).backbone
        backbone.calibrate(graph)
        still, slopes = backbone(graph), []
        for before, after in zip(still[:2], backbone(moved)[:2], strict=True):
            slopes.append(
                (
                    ((after - before) / 1e-4).square().mean().sqrt() / before.square().mean().sqrt()
                ).item()
            )
        assert max(slopes) < 6.0
        assert 0.1 < still.invariant.detach().square().mean() < 3.0
        assert still.invariant.shape == (graph.n_atoms, backbone.n_invariants)


def test_nothing_but_rounding_is_not_raised_to_unit_size():
    """Signed dihedrals of flat structures are zero.

    A network calibrated on these keeps its laws on others.
    """
    positions = np.array(
        [[0.0, 0, 0], [1.1, 0, 0], [-0.5, 1.0, 0], [1.6, -0.9, 0], [-0.5, -1.0, 0]]
    )
    tilted = positions @ random_rotation(np.random.default_rng(0)).T
    model = make("full")
    model.backbone.calibrate(Structure("flat", tilted, np.array([6, 6, 1, 1, 8])).graph(5.0))
    assert model.backbone.layers[0].odd_size[1:].min() > 1e-4
    graph = PROBES[1].graph(5.0)
    mirrored = graph._replace(positions=-graph.positions)
    torch.testing.assert_close(
        model(mirrored)["handedness"], -model(graph)["handedness"], atol=1e-12, rtol=0
    )


def test_kind_and_settings_survive_a_file(tmp_path):
    model = make("full", near_cutoff=2.1)
    save_model(model, tmp_path / "model.safetensors")
    read = load_model(tmp_path / "model.safetensors")
    assert read.backbone.settings == model.backbone.settings
    graph = PROBES[0].graph(5.0)
    assert torch.equal(read.compute(graph)["forces"], model.compute(graph)["forces"])


def test_calculator_gives_forces_that_are_the_gradient():
    atoms = Atoms(PROBES[1].atomic_numbers, PROBES[1].positions)
    atoms.calc = Calculator(make("natural"))
    forces, step = atoms.get_forces(), 2e-5
    for atom, axis in ((0, 0), (4, 2)):
        energies = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * step
            moved.calc = atoms.calc
            energies.append(moved.get_potential_energy())
        assert (energies[1] - energies[0]) / (2 * step) == pytest.approx(
            forces[atom, axis], rel=1e-6
        )


def test_fused_kernels_are_refused():
    model = make("natural")
    model.backbone.use_kernels("auto")
    with pytest.raises(UserError, match="architecture invariants has only plain torch"):
        model.backbone.use_kernels("generic")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"architecture": "fields"},
            "model.architecture is 'fields'; there are spherical, invariants",
        ),
        (
            {"architecture": "invariants", "l_max": 2},
            "model.l_max has no meaning for model.architecture=invariants",
        ),
        (
            {"architecture": "spherical", "near_cutoff": 2.0},
            "model.near_cutoff has no meaning for model.architecture=spherical",
        ),
        (
            {"architecture": "invariants", "near_cutoff": 6.0},
            "near_cutoff is 6.0 Å, beyond model.cutoff",
        ),
        ({"architecture": "invariants", "parity": "signed"}, "model.parity is 'signed'"),
        (
            {"architecture": "invariants", "n_channels": 0},
            "model.n_channels is 0; it must lie between 1 and 4096",
        ),
    ],
)
def test_settings_that_make_no_network_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        make_model(ORGANIC, ["energy"], **settings)


def test_kinds_are_named_after_themselves():
    assert BACKBONES["spherical"] is SphericalBackbone
    assert all(kind.architecture == name for name, kind in BACKBONES.items())
    data = {"kind": "frames", "targets": ["energy"]}
    network = {"architecture": "invariants", "near_cutoff": 2.0}
    config = make_config({"name": "x", "data": data, "model": network})
    assert config.model.overrides() == {
        "architecture": "invariants",
        "near_cutoff": 2.0,
    }
    with pytest.raises(UserError, match="model.architecture is 'frames'"):
        make_config({"name": "x", "data": data, "model": {"architecture": "frames"}})
