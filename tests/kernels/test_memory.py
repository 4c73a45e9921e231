"""No result depends on memory that was never written: fresh memory is filled with NaN here."""

import numpy as np
import pytest
import torch
from torch import Tensor

from molequi.graphs.neighbors import build_graph
from molequi.kernels import convolve, couple, edges_of
from molequi.models.making import make_model
from molequi.models.probes import built_in_probes
from molequi.o3.coupling import coupling_table
from molequi.o3.irreps import Irreps

CUTOFF = 3.0
TABLE = coupling_table(Irreps("0e+1o"), Irreps.natural(1), Irreps("0e+1o"))
# Paths lead into some of the outputs only, and the last atom has no neighbour.
NARROW = coupling_table(Irreps("0e"), Irreps.natural(1), Irreps("0e+0o+1o"))


@pytest.fixture
def dirty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every fresh floating-point tensor hold NaN."""

    def filled(tensor: Tensor) -> Tensor:
        return tensor.fill_(torch.nan) if tensor.is_floating_point() else tensor

    for owner, name in ((torch, "empty"), (torch, "empty_like"), (torch.Tensor, "new_empty")):
        make = getattr(owner, name)

        def fresh(*args, make=make, **kwargs) -> Tensor:
            return filled(make(*args, **kwargs))

        monkeypatch.setattr(owner, name, fresh)


def random(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_(True)


def derivatives(out: Tensor, tensors: list[Tensor]) -> list[Tensor]:
    """The value, all gradients, and all gradients of their squares."""
    seed = torch.linspace(-1.0, 1.0, out.numel(), dtype=out.dtype).reshape(out.shape)
    first = torch.autograd.grad((out * seed).sum(), tensors, create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), tensors)
    return [out, *first, *second]


@pytest.mark.parametrize("kernels", ["generic", "specialized"])
@pytest.mark.parametrize("table", [TABLE, NARROW], ids=["full", "narrow"])
def test_convolutions_write_all_that_they_give(table, kernels: str, dirty: None) -> None:
    positions = np.random.default_rng(0).normal(size=(6, 3))
    positions[5] += 50.0
    graph = build_graph(positions, np.ones(6), CUTOFF)
    n_edges = graph.edge_index.shape[1]
    tensors = [
        random(6, table.first.dim, 3),
        random(n_edges, table.second.dim),
        (0.3 + random(n_edges).abs()).detach().requires_grad_(True),
        random(8, len(table.paths), 3),
    ]
    # Some edges lie beyond the cutoff.
    with torch.no_grad():
        tensors[2][::4] = 2 * CUTOFF
    ours, reference = (
        derivatives(convolve(*tensors, edges_of(graph), table, CUTOFF, kernels=name), tensors)
        for name in (kernels, "reference")
    )
    for value, expected in zip(ours, reference, strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-10)


def test_products_write_all_that_they_give(dirty: None) -> None:
    table = coupling_table(Irreps.natural(2), Irreps.natural(2), Irreps("0e+0o+1o+2e"))
    tensors = [random(4, 9, 3), random(4, 9, 3), random(3, len(table.paths), 3)]
    species = torch.tensor([0, 2, 2, 0])  # the second species has no atom
    ours, reference = (
        derivatives(couple(*tensors, species, table, kernels=name), tensors)
        for name in ("generic", "reference")
    )
    for value, expected in zip(ours, reference, strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("settings", [{}, {"correlation": 2, "parity": "full"}])
def test_predictions_write_all_that_they_read(settings: dict, dirty: None) -> None:
    """The buffers of layers with fixed weights too, taken a second time after a larger molecule."""
    settings = {"n_layers": 2, "n_channels": 4, "l_max": 1, **settings}
    model = make_model([1, 6, 7, 8], ["energy", "forces"], **settings).to(torch.float64)
    structures = sorted(built_in_probes([1, 6, 7, 8]), key=lambda s: -len(s.positions))
    graphs = [structure.graph(model.cutoff) for structure in structures[:2]]
    plain = model.freeze(kernels="reference")
    expected = [plain.compute(graph, forces=True, stress=False) for graph in graphs]
    frozen = model.freeze(kernels="generic")
    for graph, known in zip(graphs, expected, strict=True):
        found = frozen.compute(graph, forces=True, stress=False)
        for name in ("energy", "forces"):
            torch.testing.assert_close(found[name], known[name], rtol=1e-9, atol=1e-9)
