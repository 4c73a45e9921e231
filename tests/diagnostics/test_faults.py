"""Planted faults: each spoils a healthy model by a thousandth and is found by the tests named.

In both number types.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from axial import AXIAL

import molequi.kernels.splines
import molequi.nn.backbones.spherical
import molequi.nn.radial
from molequi.diagnostics.check import check_model
from molequi.diagnostics.model_runner import ModelRunner
from molequi.graphs.graph import make_graph
from molequi.kernels import splines
from molequi.models.making import make_model
from molequi.models.molecular import MolecularModel
from molequi.models.probes import built_in_probes
from molequi.nn.radial import envelope
from molequi.properties import Property, declare

FAULT = 1e-3
OWN_FIELDS = (
    "positions",
    "atomic_numbers",
    "cell",
    "pbc",
    "batch",
    "total_charge",
    "spin_multiplicity",
)
ORGANIC = (1, 6, 7, 8)
PSEUDOSCALAR = declare("pseudoscalar", irreps="0o", unit="1", extensive=True)


def leak_into_features(model: MolecularModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A coordinate among the invariant features."""

    def spoil(_module, inputs, features):
        x = inputs[0].positions[:, :1].to(features.invariant.dtype)
        return features._replace(invariant=features.invariant + FAULT * x)

    model.backbone.register_forward_hook(spoil)


def leak_of_edge_direction(model: MolecularModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """One component of the edge vectors among the scalar harmonics: invisible to translations."""
    harmonics = molequi.nn.backbones.spherical.spherical_harmonics

    def spoil(directions, l_max):
        rows = harmonics(directions, l_max)
        return rows + FAULT * directions[:, :1] * torch.nn.functional.one_hot(
            torch.tensor(0), rows.shape[1]
        ).to(rows)

    monkeypatch.setattr(molequi.nn.backbones.spherical, "spherical_harmonics", spoil)


def hard_cutoff(model: MolecularModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Radial functions and an envelope that end at a thousandth instead of zero."""

    def spoil(function: Callable, distances: int) -> Callable:
        def spoilt(*arguments):
            r, cutoff = arguments[distances : distances + 2]
            values, inside = function(*arguments), (r < cutoff).to(r)
            return values + FAULT * inside.reshape(-1, *(1,) * (values.ndim - 1))

        return spoilt

    monkeypatch.setattr(molequi.kernels.splines, "evaluate", spoil(splines.evaluate, 1))
    monkeypatch.setattr(molequi.nn.backbones.spherical, "envelope", spoil(envelope, 0))


def kink_at_cutoff(model: MolecularModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Radial functions whose second derivative jumps, as those with the cosine cutoff do."""

    def spoilt(coefficients, distances, cutoff, *kinds):
        return (
            evaluate(coefficients, distances, cutoff, *kinds)
            + 0.5 * (1.0 - distances / cutoff).clamp(min=0.0).square()[:, None, None]
        )

    evaluate = splines.evaluate
    monkeypatch.setattr(molequi.kernels.splines, "evaluate", spoilt)


def change_outputs(model: MolecularModel, change: Callable) -> None:
    """Let `change(graph, outputs)` edit what the network gives, before derivatives are taken."""
    forward = model.forward
    model.forward = lambda graph, **options: {
        **(outputs := forward(graph, **options)),
        **change(graph, outputs),
    }


def change_results(model: MolecularModel, change: Callable) -> None:
    """Let `change(graph, results)` edit what `compute` gives, after derivatives are taken."""
    compute = model.compute
    model.compute = lambda graph, **options: {
        **(results := compute(graph, **options)),
        **change(graph, results),
    }


def direct_forces(model: MolecularModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equivariant forces that are no gradient.

    A vector of the last layer is added to the true ones.
    """

    def spoil(graph, results):
        with torch.no_grad():
            vectors = model.backbone(graph).equivariant[:, 1:4, 0]
        return {
            "forces": results["forces"]
            + FAULT
            * results["forces"].square().mean().sqrt()
            / vectors.square().mean().sqrt()
            * vectors
        }

    change_results(model, spoil)


def chiral_model(row: Property, dtype: torch.dtype) -> tuple[MolecularModel, float]:
    """A model of a chiral property, and how much that changes on the dense chiral cluster."""
    other = make_model(ORGANIC, [row], parity="full", n_layers=3, l_max=1, n_channels=6, seed=5).to(
        dtype
    )
    return other, ModelRunner(other).scale(row.name, built_in_probes(ORGANIC)[0])


def axial_part_in_dipole(model: MolecularModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A 1e vector in a 1o output: right under rotations, wrong in the mirror."""
    other, size = chiral_model(AXIAL, model.dtype)
    factor = FAULT * ModelRunner(model).scale("dipole", built_in_probes(ORGANIC)[0]) / size
    change_outputs(
        model,
        lambda graph, outputs: {"dipole": outputs["dipole"] + factor * other(graph)[AXIAL.name]},
    )


def scalar_of_wrong_parity(model: MolecularModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pseudoscalar in the energy: enantiomers differ."""
    other, size = chiral_model(PSEUDOSCALAR, model.dtype)
    factor = FAULT * ModelRunner(model).scale("energy", built_in_probes(ORGANIC)[0]) / size
    change_outputs(
        model,
        lambda graph, outputs: {
            "energy": outputs["energy"] + factor * other(graph)["pseudoscalar"]
        },
    )


def depends_on_order(model: MolecularModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(_module, inputs, features):
        place = torch.linspace(0.0, 1.0, len(features.invariant), dtype=features.invariant.dtype)
        return features._replace(invariant=features.invariant + 5 * FAULT * place[:, None])

    model.backbone.register_forward_hook(spoil)


def depends_on_batch(model: MolecularModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Features normalised over the whole batch, a little."""

    def spoil(_module, _inputs, features):
        return features._replace(
            invariant=features.invariant + 5 * FAULT * features.invariant.mean(dim=0)
        )

    model.backbone.register_forward_hook(spoil)


def depends_on_size(model: MolecularModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """An energy with a part that grows with the square of the number of atoms."""

    def spoil(graph, outputs):
        counts = torch.bincount(graph.batch, minlength=graph.n_molecules)
        return {"energy": outputs["energy"] + FAULT * counts**2}

    change_outputs(model, spoil)


def wrong_stress(model: MolecularModel, monkeypatch: pytest.MonkeyPatch) -> None:
    change_results(
        model,
        lambda graph, results: (
            {"stress": results["stress"] * (1 + FAULT)} if "stress" in results else {}
        ),
    )


def random_numbers(model: MolecularModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(_module, _inputs, features):
        return features._replace(
            invariant=features.invariant + FAULT * torch.randn_like(features.invariant)
        )

    model.backbone.register_forward_hook(spoil)


def changed_input(model: MolecularModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(graph, results):
        graph.positions.sub_(graph.positions.mean(dim=0))
        return {}

    change_results(model, spoil)


def not_a_number(model: MolecularModel, monkeypatch: pytest.MonkeyPatch) -> None:
    change_results(
        model, lambda graph, results: {"dipole": torch.full_like(results["dipole"], torch.nan)}
    )


def few_neighbors(model: MolecularModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A neighbour list cut off at six per atom."""
    forward = model.forward

    def spoil(graph, **options):
        receiver = graph.edge_index[1]
        kept = torch.arange(len(receiver)) - graph.receiver_ptr[receiver] < 6
        own = {name: getattr(graph, name) for name in OWN_FIELDS}
        return forward(
            make_graph(**own, edge_index=graph.edge_index[:, kept], shifts=graph.shifts[kept]),
            **options,
        )

    model.forward = spoil


FAULTS = {
    leak_into_features: {"rotation.energy", "inversion.energy.0e", "translation"},
    leak_of_edge_direction: {"rotation.energy", "inversion.energy.0e"},
    hard_cutoff: {"energy_at_cutoff", "force_at_cutoff", "outputs_at_cutoff"},
    kink_at_cutoff: {"slope_at_cutoff"},
    direct_forces: {"force_consistency"},
    axial_part_in_dipole: {"inversion.dipole.1o"},
    scalar_of_wrong_parity: {"inversion.energy.0e"},
    depends_on_order: {"permutation"},
    depends_on_batch: {"batch"},
    depends_on_size: {"size_consistency", "supercell"},
    wrong_stress: {"stress_consistency"},
    random_numbers: {"determinism", "fused_kernels"},
    changed_input: {"inputs_unchanged"},
    not_a_number: {"finite", "rotation.dipole"},
    few_neighbors: {"permutation"},
}


# Float32 has the wider limits, so it is the harder of the two; the faults that every model is
# feared for run in both.
IN_BOTH = (leak_into_features, hard_cutoff, direct_forces, axial_part_in_dipole)


CASES = [(fault, torch.float32) for fault in FAULTS] + [(fault, torch.float64) for fault in IN_BOTH]


@pytest.mark.parametrize(
    ("fault", "dtype"), CASES, ids=[f"{fault.__name__}-{str(dtype)[-7:]}" for fault, dtype in CASES]
)
def test_planted_fault_is_found(
    fault: Callable, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch, failed, model_with_biases
) -> None:
    model = model_with_biases(0, dtype)
    fault(model, monkeypatch)
    cluster, _, _, crystal = built_in_probes(ORGANIC)
    found = failed(
        check_model(
            model, [cluster.graph(model.cutoff), crystal.graph(model.cutoff)], with_probes=False
        )
    )
    assert FAULTS[fault] <= found


def test_each_fault_names_its_own_test(failed, model_with_biases) -> None:
    """The unspoilt model of the planted faults passes, so that what they fail is their own."""
    for dtype in (torch.float64, torch.float32):
        assert failed(check_model(model_with_biases(0, dtype))) == set()
