"""MolecularModel: outputs, derivatives, edge cases."""

import pytest
import torch
from ase.build import molecule
from axial import AXIAL

from molequi.errors import UnknownElementError, UserError
from molequi.graphs.graph import AtomGraph, collate
from molequi.graphs.neighbors import build_graph
from molequi.models.making import make_model
from molequi.models.metadata import ModelMetadata
from molequi.models.molecular import MolecularModel
from molequi.nn.heads.electrostatics import safe_norm

ELEMENTS = (1, 6, 7, 8)


def graph_of(name: str, cutoff: float = 5.0, **charge: int) -> AtomGraph:
    atoms = molecule(name)
    return build_graph(atoms.positions, atoms.numbers, cutoff, **charge)


def batch(cutoff: float = 5.0) -> AtomGraph:
    return collate(
        [
            graph_of(name, cutoff)
            for name in ("CH3CH2OH", "C6H6", "CH3CONH2", "H2O", "CH3NO2", "isobutane")
        ]
    )


def mean_squares(model: MolecularModel, graph: AtomGraph) -> list[float]:
    """Mean square of all features, layer by layer."""
    sizes: list[float] = []
    hooks = [
        layer.register_forward_hook(
            lambda _, __, out: sizes.append(float(out.detach().square().mean()))
        )
        for layer in model.backbone.layers
    ]
    model.embed(graph)
    for hook in hooks:
        hook.remove()
    return sizes


@pytest.mark.parametrize("parity", ["natural", "full"])
@pytest.mark.parametrize("correlation", [1, 2, 3])
def test_features_start_of_order_one_in_every_layer(correlation: int, parity: str) -> None:
    """Uncalibrated, three layers of triple products reach 1e13.

    Calibrated on the structures themselves they come within a factor of ten.
    """
    graph = batch()
    for seed in range(3):
        model = make_model(
            ELEMENTS,
            ["energy"],
            n_channels=16,
            n_layers=3,
            correlation=correlation,
            parity=parity,
            seed=seed,
        )
        assert all(0.01 < size < 20.0 for size in mean_squares(model, graph)), mean_squares(
            model, graph
        )
        model.backbone.calibrate(graph)
        assert all(0.1 < size < 10.0 for size in mean_squares(model, graph)), mean_squares(
            model, graph
        )


def test_an_energy_brings_its_company() -> None:
    model = make_model(ELEMENTS, ["energy", "dipole"])
    graph = batch()
    outputs = model.compute(graph, stress=True)
    assert set(outputs) == {
        "energy",
        "energies",
        "forces",
        "stress",
        "dipole",
        "dipole_magnitude",
        "charges",
    }
    total = torch.zeros(graph.n_molecules, dtype=torch.float64).index_add(
        0, graph.batch, outputs["energies"]
    )
    torch.testing.assert_close(total, outputs["energy"])
    assert torch.isnan(outputs["stress"]).all()
    torch.testing.assert_close(
        outputs["dipole"].norm(dim=1) / 0.20819433, outputs["dipole_magnitude"], rtol=1e-6, atol=0.0
    )


def test_atomization_energy_needs_the_isolated_atoms_of_every_element() -> None:
    model = make_model(ELEMENTS, ["energy"])
    graph = graph_of("H2O")
    some = {"H": -13.6, "O": -2041.0}
    model.metadata = ModelMetadata(isolated_atom_energies=some)
    assert "atomization_energy" not in model.compute(graph)
    model.metadata = ModelMetadata(isolated_atom_energies={**some, "C": -1028.4, "N": -1484.0})
    outputs = model.compute(graph)
    assert float(outputs["atomization_energy"]) == pytest.approx(
        2 * -13.6 - 2041.0 - float(outputs["energy"]), abs=1e-9
    )


def test_charges_of_neutral_molecules_and_ions_add_up_piece_by_piece() -> None:
    model = make_model(ELEMENTS, ["dipole"], cutoff=3.0)
    two = build_graph(
        [*molecule("H2O").positions.tolist(), *(molecule("CH4").positions + 40.0).tolist()],
        [8, 1, 1, 6, 1, 1, 1, 1],
        3.0,
    )
    charges = model.compute(two)["charges"]
    assert charges.abs().max() > 1e-3
    assert float(charges[:3].sum()) == pytest.approx(0.0, abs=1e-5)
    assert float(charges[3:].sum()) == pytest.approx(0.0, abs=1e-5)
    ion = model.compute(graph_of("H2O", 3.0, total_charge=-1))["charges"]
    assert float(ion.sum()) == pytest.approx(-1.0, abs=1e-5)


def test_what_depends_on_where_a_crystal_is_cut_does_not_exist() -> None:
    rows = ["energy", "dipole", "r2", "rosenfeld", AXIAL, "charges"]
    model = make_model(ELEMENTS, rows, n_layers=3, n_channels=4, parity="full")
    cell = torch.eye(3).numpy() * 6.0
    crystal, slab = (
        build_graph(molecule("H2O").positions, [8, 1, 1], 5.0, cell=cell, pbc=[True, True, full])
        for full in (True, False)
    )
    outputs = model.compute(collate([crystal, graph_of("H2O"), slab]), stress=True)
    for name in (
        "dipole",
        "dipole_magnitude",
        "r2",
        "rosenfeld",
        "rosenfeld_isotropic",
        AXIAL.name,
    ):
        assert torch.isnan(outputs[name][[0, 2]]).all(), name
        assert torch.isfinite(outputs[name][1]).all(), name
    assert torch.isfinite(outputs["stress"][0]).all()
    assert torch.isfinite(outputs["charges"]).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_atom_no_edges_and_no_atoms_are_defined(dtype: torch.dtype) -> None:
    model = make_model(
        ELEMENTS, ["energy", "dipole", "polarizability", "gap", "r2"], n_channels=8
    ).to(dtype)
    cases = {
        "one atom": build_graph([[0.0, 0.0, 0.0]], [8], 5.0),
        "no edges": build_graph([[0.0, 0.0, 0.0], [20.0, 0.0, 0.0]], [8, 1], 5.0),
        "no atoms": build_graph([], [], 5.0),
    }
    for name, graph in cases.items():
        outputs = model.compute(graph)
        assert all(torch.isfinite(value).all() for value in outputs.values()), name
        assert not outputs["forces"].any()
        assert not outputs["dipole"].abs().gt(1e-6).any()
    mixed = collate([graph_of("H2O"), cases["no atoms"], cases["one atom"]])
    torch.testing.assert_close(
        model.compute(mixed)["energy"][2:], model.compute(cases["one atom"])["energy"]
    )


def test_hessian_is_the_derivative_of_the_forces() -> None:
    model = make_model(ELEMENTS, ["energy"], n_channels=8).to(torch.float64)
    graph = graph_of("H2O")
    hessian, step = model.hessian(graph), 1e-4
    for atom, axis in ((0, 2), (2, 1)):
        shifted = []
        for sign in (1, -1):
            positions = graph.positions.clone()
            positions[atom, axis] += sign * step
            shifted.append(model.compute(graph._replace(positions=positions))["forces"].reshape(-1))
        numeric = -(shifted[0] - shifted[1]) / (2 * step)
        torch.testing.assert_close(
            hessian[3 * atom + axis], numeric, atol=1e-5 * float(hessian.abs().max()), rtol=0.0
        )


def test_fused_kernels_change_nothing_beyond_rounding() -> None:
    model = make_model(ELEMENTS, ["energy", "dipole"], n_layers=1, n_channels=4, l_max=1).to(
        torch.float64
    )
    graph = batch()
    expected, hessian = model.compute(graph), model.hessian(graph_of("H2O"))
    model.backbone.use_kernels("specialized")
    for name, value in model.compute(graph).items():
        torch.testing.assert_close(value, expected[name], atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(model.hessian(graph_of("H2O")), hessian, atol=1e-10, rtol=1e-10)


def test_unknown_kernels_are_refused() -> None:
    model = make_model(ELEMENTS, ["energy"], n_layers=1, n_channels=4, l_max=1)
    words = "kernels is 'fast'; choose one of auto, reference, generic, specialized, triton"
    with pytest.raises(UserError, match=words):
        model.backbone.use_kernels("fast")
    with pytest.raises(UserError, match=words):
        model.freeze(kernels="fast")


def test_wrong_input_is_refused_with_the_atom_named() -> None:
    model = make_model(ELEMENTS, ["energy"])
    with pytest.raises(
        UserError,
        match=r"element Cl \(atom 4 of molecule 1\) is not in this model; it knows H C N O",
    ):
        model.check_input(
            collate(
                [
                    graph_of("H2O"),
                    build_graph([[3.0 * k, 0.0, 0.0] for k in range(5)], [6, 1, 1, 1, 17], 5.0),
                ]
            )
        )
    with pytest.raises(UserError, match=r"charge \+1 with spin multiplicity 1 is outside"):
        model.check_input(graph_of("H2O", total_charge=1))
    with pytest.raises(UserError, match=r"multiplicity 3"):
        model.check_input(graph_of("H2O", spin_multiplicity=3))
    with pytest.raises(UserError, match=r"0.000 Å apart"):
        model.check_input(build_graph([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], [1, 1], 5.0))
    model.check_input(graph_of("H2O"))


def test_unknown_elements_are_never_computed_as_others() -> None:
    """The check comes with the computation, so that no option leads around it."""
    model = make_model(ELEMENTS, ["energy", "dipole"], n_channels=8)
    graph = build_graph([[0.0, 0.0, 0.0], [0.0, 0.0, 1.3]], [1, 17], 5.0)
    for compute in (model, model.compute, model.hessian, model.embed, model.check_input):
        with pytest.raises(
            UnknownElementError,
            match=r"element Cl \(atom 1\) is not in this model; it knows H C N O and can compute "
            "no others",
        ):
            compute(graph)


def test_coincident_atoms_give_finite_numbers() -> None:
    model = make_model(ELEMENTS, ["energy", "dipole"])
    outputs = model.compute(
        build_graph([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]], [1, 1, 8], 5.0)
    )
    assert all(torch.isfinite(value).all() for value in outputs.values())


def test_statistics_never_break_a_symmetry() -> None:
    model = make_model(ELEMENTS, ["energy", "dipole", "gap"])
    with pytest.raises(ValueError, match="never shifted"):
        model.heads["dipole"].set_statistics(shift=1.0)
    model.heads["gap"].set_statistics(scale=1e-12, shift=7.5)
    torch.testing.assert_close(
        model.compute(batch())["gap"], torch.full((6,), 7.5, dtype=torch.float64)
    )


def test_safe_norm_has_a_zero_gradient_at_zero() -> None:
    vectors = torch.tensor([[0.0, 0.0, 0.0], [3.0, 0.0, 4.0]], requires_grad=True)
    length = safe_norm(vectors)
    (gradient,) = torch.autograd.grad(length.sum(), vectors)
    assert length.tolist() == [0.0, 5.0]
    torch.testing.assert_close(gradient, torch.tensor([[0.0, 0.0, 0.0], [0.6, 0.0, 0.8]]))


def test_models_share_no_state() -> None:
    first, second = make_model(ELEMENTS, ["energy"]), make_model(ELEMENTS, ["energy"])
    first.metadata = ModelMetadata(name="changed")
    first.backbone.use_kernels("specialized")
    assert second.metadata.name is None
    assert isinstance(second, MolecularModel)
    assert not any(layer.kernels != "reference" for layer in second.backbone.layers)


def test_small_graphs_are_computed_by_one_thread(monkeypatch) -> None:
    """Where other jobs hold the cores, two threads wait for each other after every operation."""
    model = make_model([1, 8], ["energy"], n_channels=4, l_max=1)
    seen = []
    forward = model.backbone.forward
    monkeypatch.setattr(
        model.backbone,
        "forward",
        lambda graph: seen.append(torch.get_num_threads()) or forward(graph),
    )
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        water = molecule("H2O")
        model.compute(build_graph(water.positions, water.numbers, 5.0))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == [1]
