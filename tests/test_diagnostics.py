"""The physics report: healthy models pass, and faults of a thousandth are each found, in both number types."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
import torch

import molequi.nn.backbone
import molequi.nn.radial
from molequi.diagnostics import LIMITS, Measurement, check_model
from molequi.diagnostics_observer import Observer, rotation_of_rows
from molequi.errors import UserError
from molequi.graph import AtomGraph, collate, make_graph
from molequi.model import MolecularModel, make_model
from molequi.nn.linear import Perceptron
from molequi.nn.radial import envelope
from molequi.probes import Structure, at_cutoff, built_in_probes, random_rotation, structures_of
from molequi.properties import Property, declare, get_property

FAULT = 1e-3
OWN_FIELDS = ("positions", "atomic_numbers", "cell", "pbc", "batch", "total_charge", "spin_multiplicity")
ORGANIC = (1, 6, 7, 8)
HANDED = declare("handed", irreps="0o", unit="1", extensive=True)
HANDED_TENSOR = declare("handed_tensor", irreps="0o+1o+2o", unit="1", extensive=True)


def failed(measurements: dict[str, Measurement]) -> set[str]:
    return {name for name, measurement in measurements.items() if not measurement.ok}


def model_with_biases(
    seed: int, dtype: torch.dtype, *, properties: tuple[str | Property, ...] = ("energy", "dipole"), elements: tuple[int, ...] = ORGANIC, **settings
) -> MolecularModel:
    """A random model as training leaves it: biases are not zero, messages have unit variance, energies have a scale and references."""
    model = make_model(elements, properties, seed=seed, **{"n_channels": 6, "l_max": 1, **settings})
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, Perceptron):
                for bias in module.biases:
                    bias.copy_(0.3 * torch.randn(bias.shape, generator=generator))
    model.backbone.calibrate(collate([probe.graph(model.cutoff) for probe in built_in_probes(elements)]))
    if "energy" in properties:
        model.heads["energy"].set_statistics(2.5, -4.0, -300.0 * torch.arange(119, dtype=torch.float64))
    return model.to(dtype)


def healthy_model(seed: int, dtype: torch.dtype) -> MolecularModel:
    handed = {"parity": "full", "l_max": 2, "n_layers": 3, "n_channels": 4}
    kinds = (
        (("energy", "dipole"), {"correlation": 1 + seed // 4 % 3}),
        (("energy", "polarizability", "gap", "r2"), {"l_max": 2}),
        (("energy", "charges", HANDED_TENSOR, "angular_momentum"), handed),
        (("polarizability", "homo", "dipole_magnitude"), {"l_max": 2, "n_layers": 1 + seed // 4 % 3, "cutoff": 4.0}),
    )
    properties, settings = kinds[seed % 4]
    elements = (ORGANIC, (1,), (8, 14), (29,), ORGANIC)[seed // 4]
    return model_with_biases(seed, dtype, properties=properties, elements=elements, **settings)


@pytest.mark.parametrize("seed", range(20))
def test_random_healthy_models_pass(seed: int) -> None:
    measurements = check_model(healthy_model(seed, torch.float32 if seed % 3 else torch.float64))
    assert failed(measurements) == set(), {name: measurements[name] for name in failed(measurements)}


def test_limits_leave_room_on_both_sides() -> None:
    """A fault of a thousandth lies above each relative limit; the slope at the cutoff is there for kinks, not for small faults."""
    for name, (double, single, description) in LIMITS.items():
        assert description
        assert 0.0 <= double <= single < (3 * FAULT if name == "slope_at_cutoff" else FAULT)


def test_report_covers_every_output_and_irrep() -> None:
    names = set(check_model(model_with_biases(0, torch.float64, properties=("energy", "polarizability"), l_max=2)))
    assert {"rotation.energy", "rotation.forces", "rotation.stress", "inversion.polarizability.0e", "inversion.polarizability.2e"} <= names
    assert {name.split(".")[0] for name in names} == set(LIMITS)


def test_model_without_energy_is_not_asked_for_forces() -> None:
    names = set(check_model(model_with_biases(0, torch.float64, properties=("gap",))))
    assert "rotation.gap" in names
    assert not names & {"force_consistency", "closed_loop_work", "stress_consistency", "energy_at_cutoff", "force_at_cutoff"}


def test_measurements_become_json() -> None:
    measurements = check_model(model_with_biases(0, torch.float32, properties=("gap",)))
    json.dumps({name: {"value": m.value, "limit": m.limit, "ok": m.ok} for name, m in measurements.items()}, allow_nan=False)


def test_own_structures_are_measured() -> None:
    model = model_with_biases(0, torch.float64)
    water = Structure("water", np.array([[0.0, 0.0, 0.12], [0.0, 0.76, -0.48], [0.0, -0.76, -0.48]]), np.array([8, 1, 1]))
    measurements = check_model(model, [collate([water.graph(model.cutoff)] * 2)], with_probes=False)
    assert failed(measurements) == set()
    assert "stress_consistency" not in measurements
    with pytest.raises(UserError, match="no atoms"):
        check_model(model, [water.at(np.zeros((0, 3))).permuted(np.zeros(0, dtype=int)).graph(5.0)])


def test_own_structures_come_beside_the_probes() -> None:
    """Faults on the probes and faults on structures of one's own are both found; the worst case is named."""
    model = model_with_biases(0, torch.float64, properties=("gap",))
    water = Structure("water", np.array([[0.0, 0.0, 0.12], [0.0, 0.76, -0.48], [0.0, -0.76, -0.48]]), np.array([8, 1, 1]))
    compute = model.compute

    def broken_for(n_atoms: int) -> Callable:
        def wrong(graph: AtomGraph, **options: bool) -> dict[str, torch.Tensor]:
            outputs = compute(graph, **options)
            first = graph.positions.new_zeros(graph.n_molecules).index_add(0, graph.batch, graph.positions[:, 0])
            mine = torch.bincount(graph.batch, minlength=graph.n_molecules) == n_atoms
            return {"gap": outputs["gap"] + mine * first}

        return wrong

    for n_atoms, where in ((3, "gap of structure 0"), (10, "gap of lactonitrile")):
        model.compute = broken_for(n_atoms)
        found = check_model(model, [water.graph(model.cutoff)])["translation"]
        assert not found.ok
        assert found.where == where


def test_same_numbers_every_time() -> None:
    model = model_with_biases(3, torch.float32, properties=("gap",))
    assert check_model(model) == check_model(model)


# Planted faults. Each takes a healthy model, spoils it by a thousandth and is found by the tests named.


def leak_into_features(model: MolecularModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A coordinate among the invariant features."""

    def spoil(_module, inputs, features):
        x = inputs[0].positions[:, :1].to(features.invariant.dtype)
        return features._replace(invariant=features.invariant + FAULT * x)

    model.backbone.register_forward_hook(spoil)


def leak_of_edge_direction(model: MolecularModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """One component of the edge vectors among the scalar harmonics: invisible to translations."""
    harmonics = molequi.nn.backbone.spherical_harmonics

    def spoil(directions, l_max):
        rows = harmonics(directions, l_max)
        return rows + FAULT * directions[:, :1] * torch.nn.functional.one_hot(torch.tensor(0), rows.shape[1]).to(rows)

    monkeypatch.setattr(molequi.nn.backbone, "spherical_harmonics", spoil)


def hard_cutoff(model: MolecularModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """An envelope that ends at a thousandth instead of zero."""

    def spoil(distances, cutoff):
        return torch.where(distances < cutoff, envelope(distances, cutoff) + FAULT, torch.zeros_like(distances))

    monkeypatch.setattr(molequi.nn.radial, "envelope", spoil)
    monkeypatch.setattr(molequi.nn.backbone, "envelope", spoil)


def kink_at_cutoff(model: MolecularModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cosine cutoff, whose second derivative jumps."""

    def spoil(distances, cutoff):
        return torch.where(distances < cutoff, 0.5 * (1.0 + torch.cos(torch.pi * distances / cutoff)), torch.zeros_like(distances))

    monkeypatch.setattr(molequi.nn.radial, "envelope", spoil)
    monkeypatch.setattr(molequi.nn.backbone, "envelope", spoil)


def change_outputs(model: MolecularModel, change: Callable) -> None:
    """Let `change(graph, outputs)` edit what the network gives, before derivatives are taken."""
    forward = model.forward
    model.forward = lambda graph: {**(outputs := forward(graph)), **change(graph, outputs)}


def change_results(model: MolecularModel, change: Callable) -> None:
    """Let `change(graph, results)` edit what `compute` gives, after derivatives are taken."""
    compute = model.compute
    model.compute = lambda graph, **options: {**(results := compute(graph, **options)), **change(graph, results)}


def direct_forces(model: MolecularModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equivariant forces that are no gradient: a vector of the last layer is added to the true ones."""

    def spoil(graph, results):
        with torch.no_grad():
            vectors = model.backbone(graph).equivariant[:, 1:4, 0]
        return {"forces": results["forces"] + FAULT * results["forces"].square().mean().sqrt() / vectors.square().mean().sqrt() * vectors}

    change_results(model, spoil)


def handed_model(row: Property, dtype: torch.dtype) -> tuple[MolecularModel, float]:
    """A model of a handed property, and how much that changes on the dense chiral cluster."""
    other = make_model(ORGANIC, [row], parity="full", n_layers=3, l_max=1, n_channels=6, seed=5).to(dtype)
    return other, Observer(other).scale(row.name, built_in_probes(ORGANIC)[0])


def axial_part_in_dipole(model: MolecularModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A 1e vector in a 1o output: right under rotations, wrong in the mirror."""
    other, size = handed_model(get_property("angular_momentum"), model.dtype)
    factor = FAULT * Observer(model).scale("dipole", built_in_probes(ORGANIC)[0]) / size
    change_outputs(model, lambda graph, outputs: {"dipole": outputs["dipole"] + factor * other(graph)["angular_momentum"]})


def scalar_of_wrong_parity(model: MolecularModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pseudoscalar in the energy: left and right hands differ."""
    other, size = handed_model(HANDED, model.dtype)
    factor = FAULT * Observer(model).scale("energy", built_in_probes(ORGANIC)[0]) / size
    change_outputs(model, lambda graph, outputs: {"energy": outputs["energy"] + factor * other(graph)["handed"]})


def depends_on_order(model: MolecularModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(_module, inputs, features):
        place = torch.linspace(0.0, 1.0, len(features.invariant), dtype=features.invariant.dtype)
        return features._replace(invariant=features.invariant + 5 * FAULT * place[:, None])

    model.backbone.register_forward_hook(spoil)


def depends_on_batch(model: MolecularModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Features normalised over the whole batch, a little."""

    def spoil(_module, _inputs, features):
        return features._replace(invariant=features.invariant + 5 * FAULT * features.invariant.mean(dim=0))

    model.backbone.register_forward_hook(spoil)


def depends_on_size(model: MolecularModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """An energy with a part that grows with the square of the number of atoms."""

    def spoil(graph, outputs):
        counts = torch.bincount(graph.batch, minlength=graph.n_molecules)
        return {"energy": outputs["energy"] + FAULT * counts**2}

    change_outputs(model, spoil)


def wrong_stress(model: MolecularModel, monkeypatch: pytest.MonkeyPatch) -> None:
    change_results(model, lambda graph, results: {"stress": results["stress"] * (1 + FAULT)} if "stress" in results else {})


def random_numbers(model: MolecularModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(_module, _inputs, features):
        return features._replace(invariant=features.invariant + FAULT * torch.randn_like(features.invariant))

    model.backbone.register_forward_hook(spoil)


def changed_input(model: MolecularModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(graph, results):
        graph.positions.sub_(graph.positions.mean(dim=0))
        return {}

    change_results(model, spoil)


def not_a_number(model: MolecularModel, monkeypatch: pytest.MonkeyPatch) -> None:
    change_results(model, lambda graph, results: {"dipole": torch.full_like(results["dipole"], torch.nan)})


def few_neighbors(model: MolecularModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A neighbour list cut off at six per atom."""
    forward = model.forward

    def spoil(graph):
        receiver = graph.edge_index[1]
        kept = torch.arange(len(receiver)) - graph.receiver_ptr[receiver] < 6
        own = {name: getattr(graph, name) for name in OWN_FIELDS}
        return forward(make_graph(**own, edge_index=graph.edge_index[:, kept], shifts=graph.shifts[kept]))

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
    random_numbers: {"determinism"},
    changed_input: {"inputs_unchanged"},
    not_a_number: {"finite", "rotation.dipole"},
    few_neighbors: {"permutation"},
}


# Float32 has the wider limits, so it is the harder of the two; the faults that every model is feared for run in both.
IN_BOTH = (leak_into_features, hard_cutoff, direct_forces, axial_part_in_dipole)
CASES = [(fault, torch.float32) for fault in FAULTS] + [(fault, torch.float64) for fault in IN_BOTH]


@pytest.mark.parametrize(("fault", "dtype"), CASES, ids=[f"{fault.__name__}-{str(dtype)[-7:]}" for fault, dtype in CASES])
def test_planted_fault_is_found(fault: Callable, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_with_biases(0, dtype)
    fault(model, monkeypatch)
    cluster, _, _, crystal = built_in_probes(ORGANIC)
    found = failed(check_model(model, [cluster.graph(model.cutoff), crystal.graph(model.cutoff)], with_probes=False))
    assert FAULTS[fault] <= found


def test_each_fault_names_its_own_test() -> None:
    """The unspoilt model of the planted faults passes, so that what they fail is their own."""
    for dtype in (torch.float64, torch.float32):
        assert failed(check_model(model_with_biases(0, dtype))) == set()


# The pieces.


def test_rotation_of_rows_is_exact() -> None:
    from e3nn import o3

    rotation = random_rotation(np.random.default_rng(0))
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    for l in range(4):
        own = rotation_of_rows(l, rotation)
        np.testing.assert_allclose(own @ own.T, np.eye(2 * l + 1), atol=1e-13)
        theirs = o3.Irrep(l, 1).D_from_matrix(torch.as_tensor(rotation))
        np.testing.assert_allclose(own, theirs, atol=1e-5)


def test_at_cutoff_parts_exactly_there() -> None:
    for cutoff in (2.5, 5.0, 8.0):
        structure, motion = at_cutoff((1, 8), cutoff)
        inside, outside = (structure.at(structure.positions + s * motion).graph(cutoff) for s in (-0.01, 0.01))
        assert inside.edge_index.shape[1] - outside.edge_index.shape[1] == 14


def test_probes_have_the_symmetries_they_claim() -> None:
    cluster, organic, planar, crystal = built_in_probes(ORGANIC)
    assert np.all(planar.positions[:, 2] == 0.0)
    assert crystal.is_periodic
    assert min(np.linalg.norm(crystal.cell, axis=1)) < 5.0
    for structure in (cluster, organic):
        lengths = np.linalg.norm(structure.positions[:, None] - structure.positions[None], axis=-1)
        assert lengths[~np.eye(len(lengths), dtype=bool)].min() > 0.9
    assert {z for probe in built_in_probes((29,)) for z in probe.atomic_numbers} == {29}


def test_structures_survive_the_way_through_a_graph() -> None:
    probes = built_in_probes(ORGANIC)
    back = structures_of(collate([probe.graph(4.0) for probe in probes]))
    for probe, structure in zip(probes, back, strict=True):
        np.testing.assert_array_equal(structure.positions, probe.positions)
        np.testing.assert_array_equal(structure.atomic_numbers, probe.atomic_numbers)
        np.testing.assert_array_equal(structure.cell, probe.cell)


def test_declared_tensor_of_high_degree_is_checked() -> None:
    """Outputs that are not Cartesian turn by their own matrices."""
    row = declare("octupole", irreps="3o", unit="e·Å³", extensive=True)
    model = make_model(ORGANIC, [row], l_max=3, n_channels=4, seed=2)
    measurements = check_model(model)
    assert failed(measurements) == set()
    assert "inversion.octupole.3o" in measurements
