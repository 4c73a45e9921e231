"""What every model promises, over heads and number types, in explicit formulas: no helper of the physics report is used here."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from molequi.checkpoint import load_model, save_model
from molequi.errors import UserError
from molequi.graph import AtomGraph, collate
from molequi.model import MolecularModel, make_model
from molequi.neighbors import build_graph
from molequi.probes import Structure, at_cutoff, built_in_probes, random_rotation
from molequi.properties import Property, declare

ORGANIC = (1, 6, 7, 8)
CUTOFF = 4.5
# Largest error of an output relative to its largest value: rounding, with room for sums over atoms.
TOLERANCE = {torch.float64: 1e-11, torch.float32: 5e-5}
KINDS = ("natural", "full", "products")

def declared(irreps: str, *, per_atom: bool = False, extensive: bool = True) -> Property:
    name = f"out_{irreps.replace('+', '_')}" + ("_atom" if per_atom else "") + ("" if extensive or per_atom else "_mean")
    return declare(name, irreps=irreps, unit="1", per_atom=per_atom, extensive=extensive)


HEADS = {
    "natural": ("energy", "dipole", "polarizability", "gap", "r2", "cv",
                declared("1o", extensive=False), declared("0e+2e", per_atom=True), declared("3o")),
    "full": ("energy", "angular_momentum", "rosenfeld",
             *(declared(irreps) for irreps in ("0o", "1o", "1e", "2e", "2o", "0e+2e", "0o+1o+2o", "0e+1e+2e")),
             declared("0o", extensive=False), declared("0o", per_atom=True), declare("is_right", irreps="0o", unit="1", per_atom=True, binary=True)),
    "products": ("energy", "dipole", "homo"),
}  # fmt: skip
SETTINGS = {
    "natural": {"n_layers": 2, "l_max": 3, "n_channels": 6},
    "full": {"n_layers": 3, "l_max": 2, "n_channels": 4, "parity": "full"},
    "products": {"n_layers": 2, "l_max": 2, "n_channels": 4, "correlation": 3},
}


@functools.lru_cache
def model_of(kind: str, dtype: torch.dtype = torch.float64) -> MolecularModel:
    model = make_model(ORGANIC, HEADS[kind], seed=3, cutoff=CUTOFF, **SETTINGS[kind])
    model.backbone.calibrate(collate([structure.graph(CUTOFF) for structure in molecules()]))
    model.heads["energy"].set_statistics(2.0, 0.5, -30.0 * torch.arange(119, dtype=torch.float64))
    return model.to(dtype)


@functools.lru_cache
def molecules() -> tuple[Structure, ...]:
    return tuple(built_in_probes(ORGANIC)[:3])


def crystal() -> Structure:
    return built_in_probes(ORGANIC)[3]


def outputs_of(model: MolecularModel, *structures: Structure, stress: bool = False) -> dict[str, Tensor]:
    return model.compute(collate([structure.graph(model.cutoff) for structure in structures]), stress=stress)


def rows_of(model: MolecularModel) -> dict[str, Property]:
    energies = Property("energies", "0e", "eV", per_atom=True)
    return {**model.properties, "energies": energies}


def assert_same(model: MolecularModel, found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        error, size = (found[name] - value).abs().max(), value.abs().max()
        assert torch.isfinite(size), name
        assert float(error) <= TOLERANCE[model.dtype] * max(1e-2, float(size)), f"{name}: error {float(error):.1e}, size {float(size):.1e}"


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=[torch.float64, torch.float32], ids=["float64", "float32"])
def model(request: pytest.FixtureRequest, kind: str) -> MolecularModel:
    return model_of(kind, request.param)


# Motions.


def turned(row: Property, value: Tensor, matrix: np.ndarray) -> Tensor:
    """Apply an orthogonal matrix to a Cartesian output: x -> O x, tensors O T O^T, and det(O) for what is odd as its degree does not say."""
    operation = torch.as_tensor(matrix, dtype=value.dtype)
    sign = torch.linalg.det(operation).round()
    handed = {"0o": sign, "1e": sign, "0o+1o+2o": sign}.get(row.irreps, 1.0)
    if row.irreps in {"0e", "0o"}:
        return handed * value
    if row.irreps in {"1o", "1e"}:
        return handed * value @ operation.T
    return handed * operation @ value @ operation.T


CARTESIAN = {"0e", "0o", "1o", "1e", "0e+2e", "0o+1o+2o", "0e+1e+2e"}


@pytest.mark.parametrize("operation", ["rotation", "inversion", "reflection", "rotated reflection"])
def test_outputs_follow_orthogonal_maps(model: MolecularModel, operation: str) -> None:
    """Rotations, and the mirror law of every irrep: 0e 0o 1o 1e 0e+2e 0o+1o+2o."""
    rotation = random_rotation(np.random.default_rng(1))
    mirror = np.diag([1.0, 1.0, -1.0])
    matrix = {"rotation": rotation, "inversion": -np.eye(3), "reflection": mirror, "rotated reflection": rotation @ mirror}[operation]
    before = outputs_of(model, *molecules())
    after = outputs_of(model, *(structure.mapped(matrix) for structure in molecules()))
    rows = {name: row for name, row in rows_of(model).items() if name in before and row.irreps in CARTESIAN}
    expected = {name: turned(row, before[name], matrix) for name, row in rows.items()}
    assert_same(model, {name: after[name] for name in rows}, expected)


@pytest.mark.parametrize("irreps", ["0e", "0o", "1o", "1e", "2e", "0e+2e", "0o+1o+2o"])
def test_mirror_law_holds_to_the_last_bit(irreps: str) -> None:
    """x -> -x: even outputs tie exactly, odd ones flip exactly, in both number types. No output is zero, so none passes by absence."""
    name = {"0e": "energy"}.get(irreps, declared(irreps).name)
    for dtype in TOLERANCE:
        network = model_of("full", dtype)
        graph = collate([structure.graph(CUTOFF) for structure in molecules()])
        value, image = network.compute(graph)[name], network.compute(graph._replace(positions=-graph.positions))[name]
        assert value.abs().max() > 1e-4
        assert torch.equal(image, -value if irreps.endswith("o") else value)


def test_components_of_high_degree_turn_by_the_matrices_of_e3nn() -> None:
    """Outputs that have no Cartesian form: 2e, 2o and 3o. e3nn's matrices are good to 1e-5 under a float32 default."""
    from e3nn import o3

    rotation = random_rotation(np.random.default_rng(2))
    for kind, irreps in (("full", "2e"), ("full", "2o"), ("natural", "3o")):
        network, name = model_of(kind), declared(irreps).name
        matrix = o3.Irrep(irreps).D_from_matrix(torch.as_tensor(rotation)).to(torch.float64)
        before, after = outputs_of(network, *molecules())[name], outputs_of(network, *(s.mapped(rotation) for s in molecules()))[name]
        torch.testing.assert_close(after, before @ matrix.T, atol=1e-5 * float(before.abs().max()), rtol=0.0)


def test_handed_outputs_vanish_where_a_mirror_plane_says_so() -> None:
    """Formamide is planar: pseudoscalars are zero; a dipole lies in the plane; the parts of a tensor need not vanish."""
    planar = molecules()[2]
    outputs, chiral = outputs_of(model_of("full"), planar), outputs_of(model_of("full"), molecules()[0])
    for name in ("out_0o", "out_0o_mean", "out_0o_atom", "is_right"):
        assert chiral[name].abs().max() > 1e-4
        assert outputs[name].abs().max() < 1e-13 * chiral[name].abs().max() * 100
    assert outputs["out_0o_1o_2o"].abs().max() > 1e-4
    assert outputs_of(model_of("natural"), planar)["dipole"][0, 2].abs() < 1e-14


def test_translation_changes_nothing(model: MolecularModel) -> None:
    shift = np.array([31.0, -17.0, 5.0])
    before = outputs_of(model, *molecules())
    assert_same(model, outputs_of(model, *(structure.at(structure.positions + shift) for structure in molecules())), before)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_translation_changes_no_dipole_of_an_ion(dtype: torch.dtype) -> None:
    """The origin of an ion's dipole is its centre of mass, so it does not depend on the frame."""
    model = model_of("natural", dtype)
    structure = molecules()[1]
    ion = Structure("cation", structure.positions, structure.atomic_numbers, total_charge=1)
    before, after = outputs_of(model, ion), outputs_of(model, ion.at(ion.positions + 20.0))
    assert float(before["charges"].sum()) == pytest.approx(1.0, abs=1e-5)
    assert_same(model, after, before)


def test_order_of_atoms_changes_nothing(model: MolecularModel) -> None:
    structure = molecules()[1]
    order = np.random.default_rng(0).permutation(len(structure.positions))
    before, after = outputs_of(model, structure), outputs_of(model, structure.permuted(order))
    rows = rows_of(model)
    assert_same(model, after, {name: value[torch.as_tensor(order)] if rows[name].per_atom else value for name, value in before.items()})


def test_batch_equals_singles(model: MolecularModel) -> None:
    empty = Structure("nothing", np.zeros((0, 3)), np.zeros(0, dtype=int))
    structures = [*molecules(), empty, molecules()[0]]
    singles = [outputs_of(model, structure) for structure in structures]
    assert_same(model, outputs_of(model, *structures), {name: torch.cat([single[name] for single in singles]) for name in singles[0]})


# Derivatives.


def shifted_energies(model: MolecularModel, structure: Structure, step: float) -> np.ndarray:
    """Energies with every coordinate moved by -step and by +step: (2, N, 3)."""
    images = []
    for sign in (-1.0, 1.0):
        for coordinate in range(structure.positions.size):
            positions = structure.positions.copy()
            positions.reshape(-1)[coordinate] += sign * step
            images.append(structure.at(positions))
    return outputs_of(model, *images)["energy"].numpy().reshape(2, *structure.positions.shape)


@pytest.mark.parametrize("structure", [*molecules()[1:], crystal()], ids=lambda structure: structure.name)
def test_forces_are_the_numeric_gradient(kind: str, structure: Structure) -> None:
    step = 1e-4
    low, high = shifted_energies(model_of(kind), structure, step)
    forces = outputs_of(model_of(kind), structure)["forces"].numpy()
    np.testing.assert_allclose(forces, -(high - low) / (2 * step), atol=1e-4)
    single = outputs_of(model_of(kind, torch.float32), structure)["forces"]
    np.testing.assert_allclose(single, forces, atol=1e-4 * np.abs(forces).max())


def test_stress_is_the_numeric_derivative_and_symmetric(kind: str) -> None:
    structure, step = crystal(), 1e-5
    numeric = np.zeros((3, 3))
    for i, j in np.ndindex(3, 3):
        strain = np.zeros((3, 3))
        strain[i, j] = step
        low, high = (float(outputs_of(model_of(kind), structure.mapped(np.eye(3) + sign * strain))["energy"]) for sign in (-1.0, 1.0))
        numeric[i, j] = (high - low) / (2 * step) / structure.volume
    stress = outputs_of(model_of(kind), structure, stress=True)["stress"][0].numpy()
    np.testing.assert_allclose(stress, numeric, atol=1e-6 * max(1.0, np.abs(stress).max()))
    np.testing.assert_allclose(stress, stress.T, atol=1e-12)
    single = outputs_of(model_of(kind, torch.float32), structure, stress=True)["stress"][0]
    np.testing.assert_allclose(single, stress, atol=1e-4 * np.abs(stress).max())


def test_stress_exists_only_for_full_cells(model: MolecularModel) -> None:
    slab = Structure("slab", crystal().positions, crystal().atomic_numbers, crystal().cell, np.array([True, True, False]))
    stress = outputs_of(model, crystal(), slab, molecules()[0], stress=True)["stress"]
    assert torch.isfinite(stress[0]).all()
    assert torch.isnan(stress[1:]).all()


@pytest.mark.parametrize("structure", [molecules()[2], crystal()], ids=lambda structure: structure.name)
def test_hessian_is_the_numeric_derivative_of_the_forces(kind: str, structure: Structure) -> None:
    network, step, n = model_of(kind), 1e-4, structure.positions.size
    images = [structure.at(structure.positions + sign * step * np.eye(n)[k].reshape(-1, 3)) for sign in (-1.0, 1.0) for k in range(n)]
    low, high = outputs_of(network, *images)["forces"].numpy().reshape(2, n, n)
    hessian = network.hessian(structure.graph(CUTOFF)).numpy()
    np.testing.assert_allclose(hessian, -(high - low) / (2 * step), atol=1e-4 * max(1.0, np.abs(hessian).max()))
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-12 * np.abs(hessian).max())
    single = model_of(kind, torch.float32).hessian(structure.graph(CUTOFF)).numpy()
    np.testing.assert_allclose(single, hessian, atol=1e-3 * np.abs(hessian).max())


def test_energy_forces_and_slopes_are_smooth_at_the_cutoff(kind: str) -> None:
    """Just inside the cutoff the difference to outside falls as the third, second and first power of the distance from it."""
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
        assert small < large * 0.7 * 0.5 ** (power - 1), f"power {power}: {small:.1e} at 0.01 Å, {large:.1e} at 0.02 Å"


def test_derivatives_leave_room_for_training_on_forces(model: MolecularModel) -> None:
    graph = molecules()[1].graph(CUTOFF)
    loss = model.compute(graph, create_graph=True)["forces"].square().sum()
    gradients = torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad], allow_unused=True)
    assert all(torch.isfinite(g).all() for g in gradients if g is not None)
    assert any(g is not None and g.abs().max() > 0 for g in gradients)


# Composition.


def test_far_neutral_fragments_add_up(model: MolecularModel) -> None:
    """Extensive outputs add, per-atom ones stand side by side.

    Left out: means over atoms, and what depends on the origin, the centre of mass, which moves when a fragment is added: the spatial
    extent grows with the distance of the fragments. The trace of the Rosenfeld tensor does not.
    """
    first, second = molecules()[1], molecules()[2]
    alone, joined = [outputs_of(model, s) for s in (first, second)], outputs_of(model, first.beside(second, 40.0))
    expected = {}
    for name, row in rows_of(model).items():
        if name in joined and row.per_atom:
            expected[name] = torch.cat([outputs[name] for outputs in alone])
        elif name in joined and row.extensive and name not in {"r2", "rosenfeld"}:
            expected[name] = alone[0][name] + alone[1][name]
    assert {"energy", "energies", "forces"} <= set(expected)
    assert_same(model, {name: joined[name] for name in expected}, expected)
    assert "rosenfeld_isotropic" in expected or "rosenfeld" not in joined
    if "r2" in joined:
        assert joined["r2"] > 100.0 + alone[0]["r2"] + alone[1]["r2"]


@pytest.mark.parametrize("pbc", [(True, False, False), (False, True, True), (True, True, True)], ids=str)
def test_periodic_structures_are_their_images(pbc: tuple[bool, ...]) -> None:
    """A cell among its explicit images has the atomic energies of the periodic structure, also where the cell is smaller than the cutoff."""
    network = make_model(ORGANIC, ["energy"], cutoff=4.0, n_layers=1, n_channels=4, l_max=1).to(torch.float64)
    unit = crystal()
    periodic = Structure("periodic", unit.positions, unit.atomic_numbers, unit.cell * np.array(pbc)[:, None], np.array(pbc))
    counts = [range(-2, 3) if flag else (0,) for flag in pbc]
    shifts = sorted(((i, j, k) for i in counts[0] for j in counts[1] for k in counts[2]), key=lambda shift: shift != (0, 0, 0))
    positions = np.concatenate([unit.positions + np.array(shift) @ unit.cell for shift in shifts])
    images = Structure("images", positions, np.tile(unit.atomic_numbers, len(shifts)))
    central = outputs_of(network, images)["energies"][: len(unit.positions)]
    torch.testing.assert_close(outputs_of(network, periodic)["energies"], central, atol=1e-12, rtol=1e-12)


# Edges of the domain.


def test_nothing_comes_out_as_nan(model: MolecularModel) -> None:
    """One atom, two beyond the cutoff, none, an ion, a dense heap: every output is a number."""
    structures = [
        Structure("one atom", np.zeros((1, 3)), np.array([8])),
        Structure("beyond the cutoff", np.array([[0.0, 0.0, 0.0], [CUTOFF + 0.1, 0.0, 0.0]]), np.array([8, 1])),
        Structure("nothing", np.zeros((0, 3)), np.zeros(0, dtype=int)),
        Structure("on the cutoff", np.array([[0.0, 0.0, 0.0], [CUTOFF, 0.0, 0.0]]), np.array([8, 1])),
        Structure("anion", np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.97]]), np.array([8, 1]), total_charge=-1),
        Structure("radical", np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.97]]), np.array([8, 1]), spin_multiplicity=2),
    ]
    for structure in structures:
        for name, value in outputs_of(model, structure).items():
            assert torch.isfinite(value).all(), f"{name} of {structure.name}"
    one, apart = outputs_of(model, structures[0]), outputs_of(model, structures[1])
    assert not one["forces"].any()
    assert not apart["forces"].any()
    assert float(apart["energies"][0]) == pytest.approx(float(one["energy"]), abs=1e-5)
    assert model.hessian(structures[0].graph(CUTOFF)).abs().max() == 0.0
    assert model.hessian(structures[2].graph(CUTOFF)).shape == (0, 0)


def test_coincident_atoms_are_refused_and_where_forced_finite(model: MolecularModel) -> None:
    graph = build_graph([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]], [8, 1, 1], CUTOFF)
    with pytest.raises(UserError, match=r"atom [01] and atom [01] are 0.000 Å apart"):
        model.check_input(graph)
    assert all(torch.isfinite(value).all() for value in model.compute(graph).values())


def test_unseen_element_is_named(model: MolecularModel) -> None:
    with pytest.raises(UserError, match=r"element Cl \(atom 1\) is not in this model; it knows H C N O"):
        model.check_input(build_graph([[0.0, 0.0, 0.0], [0.0, 0.0, 1.3]], [1, 17], CUTOFF))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_positions_that_are_no_numbers_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="position of atom 1 is not finite"):
        build_graph([[0.0, 0.0, 0.0], [0.0, bad, 1.3]], [1, 1], CUTOFF)


def test_a_thousand_atoms() -> None:
    """No limit on atoms or neighbours: the sum over a large box is the sum of its parts, far apart."""
    network = model_of("products", torch.float32)
    unit = molecules()[1]
    grid = np.array(list(np.ndindex(5, 5, 4))) * 20.0
    many = Structure("many", (unit.positions + grid[:, None]).reshape(-1, 3), np.tile(unit.atomic_numbers, len(grid)))
    assert len(many.positions) == 1000
    one, outputs = outputs_of(network, unit), outputs_of(network, many)
    assert float(outputs["energy"]) == pytest.approx(1e2 * float(one["energy"]), rel=1e-6)
    torch.testing.assert_close(outputs["forces"].reshape(100, -1, 3)[57], one["forces"], atol=1e-4 * float(one["forces"].abs().max()), rtol=0.0)


def test_dense_neighbourhoods_are_not_truncated() -> None:
    """Sixty neighbours of one atom all count: moving the farthest changes its energy."""
    rng = np.random.default_rng(0)
    shell = rng.standard_normal((60, 3))
    shell *= np.linspace(3.0, 4.2, 60)[:, None] / np.linalg.norm(shell, axis=1, keepdims=True)
    heap = Structure("heap", np.concatenate([np.zeros((1, 3)), shell]), np.full(61, 6))
    assert heap.graph(CUTOFF).receiver_ptr[1] == 60
    network = make_model(ORGANIC, ["energy"], cutoff=CUTOFF, n_layers=1, n_channels=4, l_max=1).to(torch.float64)
    before = outputs_of(network, heap)["energies"][0]
    positions = heap.positions.copy()
    positions[-1] *= 0.95
    assert abs(float(outputs_of(network, heap.at(positions))["energies"][0] - before)) > 1e-9


# State.


def tensors_of(graph: AtomGraph) -> list[Tensor]:
    return [field.clone() for field in graph]


def test_inputs_are_not_changed(model: MolecularModel) -> None:
    graph = collate([molecules()[2].graph(CUTOFF), crystal().graph(CUTOFF)])
    before = tensors_of(graph)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    model(graph)
    model.compute(graph, stress=True)
    model.compute(graph, create_graph=True)
    model.embed(graph)
    model.check_input(graph)
    model.hessian(molecules()[2].graph(CUTOFF))
    assert all(torch.equal(now, then) for now, then in zip(graph, before, strict=True))
    assert not any(field.requires_grad for field in graph)
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_results_are_the_same_every_time(model: MolecularModel) -> None:
    first, second = (outputs_of(model, *molecules()) for _ in range(2))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_detached_results_carry_no_graph(model: MolecularModel) -> None:
    assert not any(value.requires_grad for value in outputs_of(model, *molecules()).values())


def test_checkpoint_round_trip_is_identical(model: MolecularModel, tmp_path: Path) -> None:
    save_model(model, tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    graph = collate([*(structure.graph(CUTOFF) for structure in molecules()), crystal().graph(CUTOFF)])
    expected = model.compute(graph, stress=True)
    found = loaded.compute(graph, stress=True)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name].nan_to_num(), value.nan_to_num()), name
        assert found[name].dtype == value.dtype
    assert torch.equal(model.embed(graph), loaded.embed(graph))


def test_invariant_features_are_invariant(model: MolecularModel) -> None:
    matrix = -random_rotation(np.random.default_rng(4))
    before, after = (model.embed(s.graph(CUTOFF)) for s in (molecules()[1], molecules()[1].mapped(matrix)))
    assert before.shape[0] == len(molecules()[1].positions)
    assert float((after - before).abs().max()) <= TOLERANCE[model.dtype] * float(before.abs().max())
