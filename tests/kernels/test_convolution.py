"""The convolution against e3nn's tensor product, and the compiled sweeps against the reference."""

from pathlib import Path

import pytest
import torch
from e3nn import o3

from molequi.kernels import Edges, convolve, cpu, edges_of
from molequi.kernels.reference import couple
from molequi.neighbors import build_graph
from molequi.symmetry.coupling import CouplingTable, coupling_table
from molequi.symmetry.irreps import Irreps, full_irreps, irreps_name, n_rows, natural_irreps

TABLES = {
    "natural": coupling_table(natural_irreps(3), natural_irreps(3), natural_irreps(3)),
    "full": coupling_table(full_irreps(2), natural_irreps(2), full_irreps(2)),
    "scalars in": coupling_table(((0, 1),), natural_irreps(3), natural_irreps(3)),
}
# Small, because each numba sweep of it must compile within seconds.
SMALL = coupling_table(((0, 1), (1, -1)), natural_irreps(1), ((0, 1), (1, -1)))


def arguments(table: CouplingTable, n_channels: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, Edges]:
    """Random tensors on the edges of nine atoms, the last of which has no neighbours."""
    generator = torch.Generator().manual_seed(0)
    positions = torch.rand(9, 3, dtype=torch.float64, generator=generator) * 3.0
    positions[8] = 50.0
    edges = edges_of(build_graph(positions.numpy(), [1] * 9, 2.5))
    n_edges = edges.index.shape[1]

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator).to(dtype).requires_grad_(True)

    return random(9, n_rows(table.first), n_channels), random(n_edges, n_rows(table.second)), random(n_edges, len(table.paths), n_channels), edges


def e3nn_convolution(h: torch.Tensor, y: torch.Tensor, r: torch.Tensor, edges: Edges, table: CouplingTable) -> torch.Tensor:
    """The same sum by e3nn: one weighted channel-wise path at a time."""
    n_channels, sender, receiver = h.shape[2], *edges.index

    def layout(irreps: Irreps, multiplicity: int) -> o3.Irreps:
        return o3.Irreps([(multiplicity, irrep) for irrep in irreps])

    instructions = [(path.first, path.second, path.output, "uvu", True) for path in table.paths]
    product = o3.TensorProduct(
        layout(table.first, n_channels), layout(table.second, 1), layout(table.output, n_channels), instructions,
        irrep_normalization="component", path_normalization="none", shared_weights=False, internal_weights=False,
    ).to(torch.float64)  # fmt: skip

    def flat(features: torch.Tensor, irreps: Irreps) -> torch.Tensor:
        parts, start = [], 0
        for l, _ in irreps:
            parts.append(features[:, start : start + 2 * l + 1].transpose(1, 2).reshape(len(features), -1))
            start += 2 * l + 1
        return torch.cat(parts, dim=1)

    messages = product(flat(h, table.first)[sender], y, r.reshape(len(r), -1))
    return messages.new_zeros(len(h), messages.shape[1]).index_add(0, receiver, messages), lambda out: flat(out, table.output)


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("n_channels", [1, 5])
def test_reference_agrees_with_e3nn(name: str, n_channels: int) -> None:
    table = TABLES[name]
    h, y, r, edges = arguments(table, n_channels)
    expected, flat = e3nn_convolution(h, y, r, edges, table)
    out = flat(convolve(h, y, r, edges, table))
    torch.testing.assert_close(out, expected, atol=1e-11, rtol=0.0)
    cotangent = torch.randn(out.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    ours, theirs = (torch.autograd.grad((x * cotangent).sum(), (h, y, r)) for x in (out, expected))
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-10, rtol=0.0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_compiled_sweeps_give_the_values_and_gradients_of_the_reference(dtype: torch.dtype, tolerance: float) -> None:
    h, y, r, edges = arguments(SMALL, 5, dtype)
    g = torch.randn(9, n_rows(SMALL.output), 5, dtype=dtype, generator=torch.Generator().manual_seed(4)).requires_grad_(True)
    results = []
    for compiled in (False, True):
        out = convolve(h, y, r, edges, SMALL, compiled=compiled)
        first = torch.autograd.grad((out * g).sum(), (h, y, r), create_graph=True)
        second = torch.autograd.grad(sum(x.square().sum() for x in first), (h, y, r, g))
        results.append([out, *first, *second])
    for mine, other in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(mine, other, atol=tolerance * float(other.detach().abs().max()), rtol=0.0)


def test_compiled_sweeps_pass_numeric_first_and_second_derivatives() -> None:
    h, y, r, edges = arguments(SMALL, 2)

    def function(*tensors: torch.Tensor) -> torch.Tensor:
        return convolve(*tensors, edges, SMALL, compiled=True)

    assert torch.autograd.gradcheck(function, (h, y, r), atol=1e-6)
    assert torch.autograd.gradgradcheck(function, (h, y, r), atol=1e-6)


def test_compiled_sweeps_of_an_empty_graph_are_zero() -> None:
    h, _, _, _ = arguments(SMALL, 2)
    edges = edges_of(build_graph([[0.0, 0.0, 0.0], [9.0, 0.0, 0.0]], [1, 1], 2.0))
    nothing = torch.zeros(0, 4, dtype=torch.float64)
    out = convolve(h[:2], nothing, torch.zeros(0, len(SMALL.paths), 2, dtype=torch.float64), edges, SMALL, compiled=True)
    assert out.shape == (2, 4, 2)
    assert not out.any()


def test_a_nan_that_comes_in_comes_out() -> None:
    h, y, r, edges = arguments(SMALL, 2)
    poisoned = h.detach().clone()
    poisoned[0] = torch.nan
    out = convolve(poisoned, y, r, edges, SMALL, compiled=True)
    neighbours = edges.index[1][edges.index[0] == 0]
    assert torch.isnan(out[neighbours]).any(dim=(1, 2)).all()


def test_an_unwritable_cache_does_not_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    module = cpu._load("VALUE = 1\n")
    assert module.VALUE == 1


@pytest.mark.parametrize("irreps", [natural_irreps(2), full_irreps(1)])
def test_node_products_agree_with_e3nn(irreps: Irreps) -> None:
    table = coupling_table(irreps, irreps, irreps)
    generator = torch.Generator().manual_seed(5)
    x, y = (torch.randn(4, n_rows(irreps), 1, dtype=torch.float64, generator=generator) for _ in range(2))
    weights = torch.randn(4, len(table.paths), 1, dtype=torch.float64, generator=generator)
    instructions = [(path.first, path.second, path.output, "uuu", True) for path in table.paths]
    product = o3.TensorProduct(
        irreps_name(irreps), irreps_name(irreps), irreps_name(irreps), instructions,
        irrep_normalization="component", path_normalization="none", shared_weights=False, internal_weights=False,
    ).to(torch.float64)  # fmt: skip
    expected = product(x[..., 0], y[..., 0], weights[..., 0])
    torch.testing.assert_close(couple(x, y, weights, table)[..., 0], expected, atol=1e-11, rtol=0.0)
