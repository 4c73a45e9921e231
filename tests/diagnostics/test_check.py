"""The physics report: healthy models pass, whatever they predict, and what it says has a form."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
import torch
from axial import AXIAL

from molequi.diagnostics.check import check_model
from molequi.diagnostics.limits import LIMITS
from molequi.errors import UserError
from molequi.graphs.graph import AtomGraph, collate
from molequi.models.making import make_model
from molequi.models.structure import Structure
from molequi.properties import declare

FAULT = 1e-3
ORGANIC = (1, 6, 7, 8)
CHIRAL_TENSOR = declare("chiral_tensor", irreps="0o+1o+2o", unit="1", extensive=True)


def variety(seed: int) -> dict:
    """What a model predicts, of which elements, by which network."""
    chiral = {"parity": "full", "l_max": 2, "n_layers": 3, "n_channels": 4}
    kinds = (
        (
            ("energy", "dipole", "forces_std", "energy_std"),
            {"correlation": 1 + seed // 4 % 3},
        ),
        (("energy", "polarizability", "gap", "r2"), {"l_max": 2}),
        (("energy", "charges", CHIRAL_TENSOR, AXIAL, "rosenfeld"), chiral),
        (
            ("polarizability", "homo", "dipole_magnitude"),
            {"l_max": 2, "n_layers": 1 + seed // 4 % 3, "cutoff": 4.0},
        ),
    )
    properties, settings = kinds[seed % 4]
    elements = (ORGANIC, (1,), (8, 14), (29,), ORGANIC)[seed // 4]
    return {"properties": properties, "elements": elements, **settings}


@pytest.mark.parametrize("seed", range(20))
def test_random_healthy_models_pass(seed: int, failed, model_with_biases) -> None:
    measurements = check_model(
        model_with_biases(seed, torch.float32 if seed % 3 else torch.float64, **variety(seed))
    )
    assert failed(measurements) == set(), {
        name: measurements[name] for name in failed(measurements)
    }


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    "settings",
    [
        {"correlation": 2, "parity": "full"},
        {"correlation": 3},
        {"correlation": 3, "parity": "full"},
    ],
    ids=str,
)
def test_new_models_with_products_pass(settings: dict, dtype: torch.dtype, failed) -> None:
    model = make_model(
        ORGANIC, ["energy", "dipole", "polarizability"], n_channels=8, **settings
    ).to(dtype)
    measurements = check_model(model)
    assert failed(measurements) == set(), {
        name: measurements[name] for name in failed(measurements)
    }


def test_limits_leave_room_on_both_sides() -> None:
    """A fault of a thousandth lies above each relative limit.

    The slope at the cutoff is there for kinks, not for small faults.
    """
    for name, (double, single, description) in LIMITS.items():
        assert description
        assert (
            0.0
            <= double
            <= single
            < {"slope_at_cutoff": 3 * FAULT, "slope_at_near_cutoff": 20 * FAULT}.get(name, FAULT)
        )


def test_report_covers_every_output_and_irrep(model_with_biases) -> None:
    names = set(
        check_model(
            model_with_biases(0, torch.float64, properties=("energy", "polarizability"), l_max=2)
        )
    )
    assert {
        "rotation.energy",
        "rotation.forces",
        "rotation.stress",
        "inversion.polarizability.0e",
        "inversion.polarizability.2e",
    } <= names
    elsewhere = {"achiral", "enantiomer_separation", "moved_lifts"} | {
        name for name in LIMITS if name.endswith(("_near_cutoff", "_along_separation"))
    }
    assert {name.split(".")[0] for name in names} == set(LIMITS) - elsewhere
    assert {"rotation.features", "inversion.features.0e", "inversion.features.2e"} <= names


def test_model_without_energy_is_not_asked_for_forces(model_with_biases) -> None:
    names = set(check_model(model_with_biases(0, torch.float64, properties=("gap",))))
    assert "rotation.gap" in names
    assert not names & {
        "force_consistency",
        "closed_loop_work",
        "stress_consistency",
        "energy_at_cutoff",
        "force_at_cutoff",
    }


def test_measurements_become_json(model_with_biases) -> None:
    measurements = check_model(model_with_biases(0, torch.float32, properties=("gap",)))
    json.dumps(
        {
            name: {"value": m.value, "limit": m.limit, "ok": m.ok}
            for name, m in measurements.items()
        },
        allow_nan=False,
    )


def test_own_structures_are_measured(failed, model_with_biases) -> None:
    model = model_with_biases(0, torch.float64)
    water = Structure(
        "water",
        np.array([[0.0, 0.0, 0.12], [0.0, 0.76, -0.48], [0.0, -0.76, -0.48]]),
        np.array([8, 1, 1]),
    )
    measurements = check_model(model, [collate([water.graph(model.cutoff)] * 2)], with_probes=False)
    assert failed(measurements) == set()
    assert "stress_consistency" not in measurements
    with pytest.raises(UserError, match="no atoms"):
        check_model(model, [water.at(np.zeros((0, 3))).permuted(np.zeros(0, dtype=int)).graph(5.0)])


def test_own_structures_come_beside_the_probes(model_with_biases) -> None:
    """Faults on the probes and faults on structures of one's own are both found.

    The worst case is named.
    """
    model = model_with_biases(0, torch.float64, properties=("gap",))
    water = Structure(
        "water",
        np.array([[0.0, 0.0, 0.12], [0.0, 0.76, -0.48], [0.0, -0.76, -0.48]]),
        np.array([8, 1, 1]),
    )
    compute = model.compute

    def broken_for(n_atoms: int) -> Callable:
        def wrong(graph: AtomGraph, **options: bool) -> dict[str, torch.Tensor]:
            outputs = compute(graph, **options)
            first = graph.positions.new_zeros(graph.n_molecules).index_add(
                0, graph.batch, graph.positions[:, 0]
            )
            mine = torch.bincount(graph.batch, minlength=graph.n_molecules) == n_atoms
            return {"gap": outputs["gap"] + mine * first}

        return wrong

    for n_atoms, where in ((3, "gap of structure 0"), (10, "gap of lactonitrile")):
        model.compute = broken_for(n_atoms)
        found = check_model(model, [water.graph(model.cutoff)])["translation"]
        assert not found.ok
        assert found.where == where


def test_same_numbers_every_time(model_with_biases) -> None:
    model = model_with_biases(3, torch.float32, properties=("gap",))
    assert check_model(model) == check_model(model)


def test_declared_tensor_of_high_degree_is_checked(failed) -> None:
    """Outputs that are not Cartesian turn by their own matrices."""
    row = declare("octupole", irreps="3o", unit="e·Å³", extensive=True)
    model = make_model(ORGANIC, [row], l_max=3, n_channels=4, seed=2)
    measurements = check_model(model)
    assert failed(measurements) == set()
    assert "inversion.octupole.3o" in measurements
