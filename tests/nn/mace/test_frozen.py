"""MACE's layers written out give what its layers give, by plain torch and autograd."""

from __future__ import annotations

import pytest
import torch
from ase import Atoms
from ase.build import molecule

from molequi.graphs.graph import AtomGraph, collate, edge_vectors
from molequi.kernels import NodeRange, edge_geometry
from molequi.kernels.prepared import Geometry
from molequi.models.freeze import FrozenModel
from molequi.models.making import make_model
from molequi.models.molecular import MolecularModel
from molequi.nn.mace.frozen import layers, network
from molequi.o3.spherical_harmonics import spherical_harmonics
from molequi.structures.atoms import graph_from_atoms

LAYERS = {
    "scalars": {"hidden": "0e"},
    "off": {"hidden": "0e+1o+2e", "n_layers": 3, "n_channels": 2},
    "plain": {"first_block": "plain", "block": "plain", "n_layers": 3},
    "density": {"first_block": "density", "block": "density_residual", "l_max": 2},
    "shares": {"first_block": "density_residual", "block": "density", "late_envelope": True},
    "pairs": {"distance_transform": "agnesi", "first_block": "density", "l_max": 1},
    "soft": {"distance_transform": "soft", "block": "density", "radial_basis": "gaussian"},
    "parities": {"hidden": "0e+0o+1o+1e", "l_max": 2, "correlation": 2, "n_channels": 2},
    "one_layer": {"n_layers": 1, "correlation": 1},
}


def graph() -> AtomGraph:
    """Molecules, a lone atom, and a crystal of one cell."""
    generator = torch.Generator().manual_seed(0)
    crystal = Atoms("CO", [[0, 0, 0], [1.1, 1.3, 1.2]], cell=2.6 * torch.eye(3).numpy(), pbc=True)
    structures = [molecule("CH3CH2OH"), Atoms("C"), molecule("H2O"), crystal]
    for atoms in structures:
        atoms.positions += 0.05 * torch.rand(len(atoms), 3, generator=generator).numpy()
    return collate([graph_from_atoms(atoms, 4.0) for atoms in structures])


def model_of(**settings: object) -> MolecularModel:
    sizes = {"n_channels": 3, "cutoff": 4.0, "radial_widths": (8,), **settings}
    return make_model((1, 6, 8), ["energy"], architecture="mace", **sizes).double()


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A one for every pass that is written out."""
    calls: list[int] = []
    apply = network.FrozenMacePass.apply
    monkeypatch.setattr(network.FrozenMacePass, "apply", lambda *x: calls.append(1) or apply(*x))
    return calls


def assert_alike(found: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> None:
    assert found.keys() == right.keys()
    for name, value in found.items():
        known = right[name].nan_to_num()
        largest = float(known.abs().max())
        torch.testing.assert_close(
            value.nan_to_num(), known, rtol=1e-11, atol=1e-11 * largest, msg=name
        )


def in_threads(model: FrozenModel, n_threads: int) -> dict[str, torch.Tensor]:
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        return model.compute(graph(), stress=True)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("name", LAYERS)
def test_energy_forces_and_stress_are_those_of_autograd(
    name: str, passes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(**LAYERS[name])
    right = model.freeze(kernels="reference").compute(graph(), stress=True)
    assert not passes
    assert float(right["forces"].abs().max()) > 1e-3
    written = model.freeze(kernels="generic")
    assert_alike(in_threads(written, 1), right)
    monkeypatch.setattr(layers, "_WORTH_A_THREAD", 1)
    assert_alike(in_threads(written, 3), right)
    assert passes == [1, 1]


@pytest.mark.parametrize("hidden", ["0e+1o", "0e+1e+1o"])
def test_properties_that_read_vectors(hidden: str, passes: list[int]) -> None:
    """The last layer has 0e and 1o, with and without rows between them before it."""
    sizes = {"n_channels": 2, "hidden": hidden}
    model = make_model((1, 6, 8), ["energy", "dipole"], architecture="mace", **sizes).double()
    right = model.freeze(kernels="reference").compute(graph())
    assert_alike(model.freeze(kernels="generic").compute(graph()), right)
    assert passes == [1]


def test_more_pairs_than_are_kept_have_networks(
    passes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(**LAYERS["pairs"])
    monkeypatch.setattr("molequi.nn.mace.pair_splines.MOST_BYTES", 1)
    right = model.compute(graph())
    assert_alike(model.freeze(kernels="generic").compute(graph()), right)
    assert not passes


@pytest.mark.parametrize("name", ["plain", "density"])
def test_messages_are_mapped_after_their_sums_where_pairs_are_too_many(
    name: str, passes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The receiver's matrices are in no splines then, with the same numbers."""
    model = model_of(**LAYERS[name])
    right = model.freeze(kernels="generic").compute(graph())
    monkeypatch.setattr("molequi.nn.mace.frozen.splines.MOST_BYTES", 1)
    assert_alike(model.freeze(kernels="generic").compute(graph()), right)
    assert passes == [1, 1]


def test_new_elements_do_not_change_what_is_known(passes: list[int]) -> None:
    """Splines of elements are made when they occur, in any order."""
    water, graphs = molecule("H2O"), {}
    for name in ("CH4", "H2O", "CO"):
        graphs[name] = graph_from_atoms(molecule(name), 4.0)
    model = model_of()
    one, other = model.freeze(kernels="generic"), model.freeze(kernels="generic")
    first = {name: one.compute(graphs[name])["energy"] for name in ("CH4", "H2O", "CO")}
    again = {name: other.compute(graphs[name])["energy"] for name in ("CO", "H2O", "CH4")}
    assert first == again
    assert first["H2O"] == one.compute(graph_from_atoms(water, 4.0))["energy"]
    assert len(passes) == 7


def test_float32_differs_by_rounding() -> None:
    model = model_of(**LAYERS["off"])
    right = model.compute(graph())["forces"]
    found = model.freeze(kernels="generic", dtype=torch.float32).compute(graph())["forces"]
    assert 0.0 < float((found - right).abs().max()) < 1e-4 * float(right.abs().max())


@pytest.mark.parametrize("l_max", [0, 1, 3, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_geometry_is_that_of_torch(l_max: int, dtype: torch.dtype) -> None:
    """Of more edges than lanes, one without a length; e3nn holds torch's harmonics."""
    vectors = torch.cat([edge_vectors(graph()), torch.zeros(1, 3, dtype=torch.float64)])
    vectors.requires_grad_(True)
    lengths = vectors.square().sum(dim=1).clamp(min=1e-12).sqrt()
    y = spherical_harmonics((vectors / lengths[:, None]).to(dtype), l_max)
    r = lengths.to(dtype)
    weights = [torch.cos(torch.arange(x.numel(), dtype=dtype)).view_as(x) for x in (y, r)]
    total = (r * weights[1]).sum() + (y * weights[0]).sum()
    (right,) = torch.autograd.grad(total, vectors)
    found_y, found_r, found = (torch.empty_like(x.detach()) for x in (y, r, vectors))
    edges = NodeRange(0, len(vectors))
    measured, *arrays = (x.detach().numpy() for x in (vectors, found_y, found_r, *weights, found))
    edge_geometry.write_forward(measured, Geometry(*arrays[:2]), edges)
    edge_geometry.write_backward(measured, Geometry(*arrays[2:4]), arrays[4], edges)
    limit = 100 * torch.finfo(dtype).eps
    for one, known in ((found_y, y.detach()), (found_r, r.detach()), (found[:-1], right[:-1])):
        assert float((one - known).abs().max()) <= limit * float(known.abs().max())
    assert float((found[-1] - right[-1]).abs().max()) <= limit * float(right[-1].abs().max() + 1.0)
