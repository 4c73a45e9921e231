"""The convolution against e3nn's tensor product, and the compiled kernels against the reference."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from e3nn import o3
from torch.library import opcheck

from molequi.graphs.neighbors import build_graph
from molequi.kernels import (
    BACKENDS,
    Edges,
    convolution,
    convolve,
    cpu,
    edges_of,
    jit_cache,
    splines,
    threads,
)
from molequi.kernels.tables import name_of
from molequi.o3.coupling import CouplingTable, components_of, coupling_table
from molequi.o3.irreps import Irreps

TABLES = {
    "natural": coupling_table(Irreps.natural(3), Irreps.natural(3), Irreps.natural(3)),
    "full": coupling_table(Irreps.full(2), Irreps.natural(2), Irreps.full(2)),
    "scalars in": coupling_table(((0, 1),), Irreps.natural(3), Irreps.natural(3)),
    "separate": coupling_table(
        ((0, 1), (1, -1)), Irreps.natural(3), Irreps.natural(2), separate=True
    ),
}
CUTOFF, N_INTERVALS = 2.5, 9
# Small, because each numba kernel of it must compile within seconds.
SMALL = coupling_table(((0, 1), (1, -1)), Irreps.natural(1), ((0, 1), (1, -1)))


def arguments(
    table: CouplingTable, n_channels: int, dtype: torch.dtype = torch.float64
) -> tuple[list[torch.Tensor], Edges]:
    """Random h, Y, r, s on the edges of nine atoms.

    The last has no neighbours, one edge lies beyond the cutoff.
    """
    generator = torch.Generator().manual_seed(0)
    positions = torch.rand(9, 3, dtype=torch.float64, generator=generator) * 3.0
    positions[8] = 50.0
    edges = edges_of(build_graph(positions.numpy(), [1] * 9, 2.5))
    n_edges = edges.index.shape[1]

    def random(*shape: int) -> torch.Tensor:
        return (
            torch.randn(*shape, dtype=torch.float64, generator=generator)
            .to(dtype)
            .requires_grad_(True)
        )

    distances = 0.2 + 2.2 * torch.rand(n_edges, dtype=torch.float64, generator=generator)
    distances[3] = CUTOFF + 0.1
    tensors = [
        random(9, table.first.dim, n_channels),
        random(n_edges, table.second.dim),
        distances.to(dtype).requires_grad_(True),
    ]
    return [*tensors, random(N_INTERVALS + 3, len(table.paths), n_channels)], edges


def e3nn_convolution(
    tensors: list[torch.Tensor], edges: Edges, table: CouplingTable
) -> tuple[torch.Tensor, Callable]:
    """The same sum by e3nn, one weighted channel-wise path at a time.

    And the map of our layout to e3nn's.
    """
    h, y, distances, coefficients = tensors
    r = splines.evaluate(coefficients, distances, CUTOFF)
    n_channels, sender, receiver = h.shape[2], *edges.index

    def layout(irreps: Irreps, multiplicity: int) -> o3.Irreps:
        return o3.Irreps([(multiplicity, irrep) for irrep in irreps])

    instructions = [(path.first, path.second, path.output, "uvu", True) for path in table.paths]
    product = o3.TensorProduct(
        layout(table.first, n_channels),
        layout(table.second, 1),
        layout(table.output, n_channels),
        instructions,
        irrep_normalization="component",
        path_normalization="none",
        shared_weights=False,
        internal_weights=False,
    ).to(torch.float64)

    def flat(features: torch.Tensor, irreps: Irreps, *, alternating: bool = False) -> torch.Tensor:
        parts = [
            features[:, rows].transpose(1, 2).reshape(len(features), -1)
            for rows in components_of(irreps, alternating=alternating)
        ]
        return torch.cat(parts, dim=1)

    messages = product(flat(h, table.first)[sender], y, r.reshape(len(r), -1))
    summed = messages.new_zeros(len(h), messages.shape[1]).index_add(0, receiver, messages)
    return summed, lambda out: flat(out, table.output, alternating=table.separate)


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("n_channels", [1, 5])
def test_reference_agrees_with_e3nn(name: str, n_channels: int) -> None:
    table = TABLES[name]
    tensors, edges = arguments(table, n_channels)
    expected, flat = e3nn_convolution(tensors, edges, table)
    out = flat(convolve(*tensors, edges, table, CUTOFF))
    torch.testing.assert_close(out, expected, atol=1e-11, rtol=0.0)
    cotangent = torch.randn(
        out.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3)
    )
    ours, theirs = (torch.autograd.grad((x * cotangent).sum(), tensors) for x in (out, expected))
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-10, rtol=0.0)


def sweeps() -> Iterator:
    """Yield kernels, paths in a group, precision and tolerance.

    Kernels of one table take a quarter of a minute to compile: each way of grouping paths and each
    precision has its turn, the other two pairs theirs in the long form.
    """
    for (n_together, way), (dtype, tolerance) in itertools.product(
        ((2, "groups"), (100, "together")), ((torch.float64, 1e-12), (torch.float32, 1e-5))
    ):
        for kernels in ("generic", "specialized"):
            is_long = kernels == "specialized" and (way == "groups") == (dtype == torch.float64)
            yield pytest.param(
                kernels, n_together, dtype, tolerance, id=f"{kernels}-{way}-{dtype}",
                marks=[pytest.mark.long] if is_long else [],
            )  # fmt: skip


@pytest.mark.parametrize(("kernels", "n_together", "dtype", "tolerance"), list(sweeps()))
def test_fused_sweeps_give_the_values_and_derivatives_of_the_reference(
    kernels: str,
    n_together: int,
    dtype: torch.dtype,
    tolerance: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tensors, edges = arguments(SMALL, 5, dtype)
    monkeypatch.setattr(
        cpu, "_CACHE", n_together * tensors[3][:, 0].numel() * tensors[3].element_size()
    )
    g = torch.randn(
        9, SMALL.output.dim, 5, dtype=dtype, generator=torch.Generator().manual_seed(4)
    ).requires_grad_(True)
    results = []
    for name in ("reference", kernels):
        out = convolve(*tensors, edges, SMALL, CUTOFF, kernels=name)
        first = torch.autograd.grad((out * g).sum(), tensors, create_graph=True)
        second = torch.autograd.grad(sum(x.square().sum() for x in first), (*tensors, g))
        # As in training on forces: the first pass leaves the coefficients out.
        forces = torch.autograd.grad(
            (convolve(*tensors, edges, SMALL, CUTOFF, kernels=name) * g).sum(),
            tensors[:3],
            create_graph=True,
        )
        training = torch.autograd.grad(sum(x.square().sum() for x in forces), tensors[3])
        results.append([out, *first, *second, *forces, *training])
    for mine, other in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(
            mine, other, atol=tolerance * float(other.detach().abs().max()), rtol=0.0
        )


def of_several_kinds(n_kinds: int) -> tuple[list[torch.Tensor], Edges]:
    """Arguments with splines of several kinds of edges; edges of any kind stand next to another."""
    (h, y, r, s), edges = arguments(SMALL, 5)
    generator = torch.Generator().manual_seed(5)
    several = torch.randn(n_kinds, *s.shape, dtype=s.dtype, generator=generator)
    kinds = torch.randint(n_kinds, r.shape, generator=generator)
    return [h, y, r, several.requires_grad_(True)], edges._replace(kinds=kinds)


@pytest.mark.parametrize("kernels", BACKENDS)
def test_edges_of_several_kinds_take_each_their_splines(kernels: str) -> None:
    """The sum over kinds of passes in which the others lie beyond the cutoff."""
    tensors, edges = of_several_kinds(3)
    h, y, r, several = tensors
    one = edges._replace(kinds=edges.kinds[:0])
    parts = [
        convolve(
            h, y, r.where(edges.kinds == kind, 2.0 * CUTOFF), several[kind], one, SMALL, CUTOFF
        )
        for kind in range(3)
    ]
    outputs = sum(parts), convolve(*tensors, edges, SMALL, CUTOFF, kernels=kernels)
    firsts = [
        torch.autograd.grad(out.square().sum(), tensors, create_graph=True) for out in outputs
    ]
    seconds = [
        torch.autograd.grad(sum(x.square().sum() for x in first), tensors) for first in firsts
    ]
    expected, found = (
        [out, *first, *second] for out, first, second in zip(outputs, firsts, seconds, strict=True)
    )
    for mine, other in zip(found, expected, strict=True):
        limit = 1e-12 * float(other.detach().abs().max())
        torch.testing.assert_close(mine, other, atol=limit, rtol=0.0)


@pytest.mark.parametrize("kernels", ["generic", "specialized"])
def test_fused_sweeps_pass_numeric_first_and_second_derivatives(kernels: str) -> None:
    tensors, edges = arguments(SMALL, 2)

    def function(*inputs: torch.Tensor) -> torch.Tensor:
        return convolve(*inputs, edges, SMALL, CUTOFF, kernels=kernels)

    assert torch.autograd.gradcheck(function, tensors, atol=1e-6)
    assert torch.autograd.gradgradcheck(function, tensors, atol=1e-5)


@pytest.mark.parametrize("kernels", ["generic", "specialized"])
def test_separate_paths_sum_to_merged_ones(kernels: str) -> None:
    separate = coupling_table(SMALL.first, SMALL.second, SMALL.output, separate=True)
    (h, y, r, s), edges = arguments(SMALL, 3)
    order = [
        SMALL.paths.index(path._replace(output=SMALL.output.index(separate.output[path.output])))
        for path in separate.paths
    ]
    out = convolve(h, y, r, s[:, order], edges, separate, CUTOFF, kernels=kernels)
    parts = [out[:, rows] for rows in components_of(separate.output, alternating=True)]
    summed = [
        sum(part for part, irrep in zip(parts, separate.output, strict=True) if irrep == wanted)
        for wanted in SMALL.output
    ]
    torch.testing.assert_close(
        torch.cat(summed, dim=1), convolve(h, y, r, s, edges, SMALL, CUTOFF), atol=1e-12, rtol=1e-12
    )


@pytest.mark.parametrize("kernels", ["generic", "specialized"])
def test_third_derivatives_are_refused(kernels: str) -> None:
    tensors, edges = arguments(SMALL, 2)
    out = convolve(*tensors, edges, SMALL, CUTOFF, kernels=kernels).square().sum()
    (first,) = torch.autograd.grad(out, tensors[2], create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), tensors[2], create_graph=True)
    with pytest.raises(RuntimeError, match="convolve_double_backward"):
        torch.autograd.grad(second.sum(), tensors[2])


@pytest.mark.parametrize("kernels", ["generic", "specialized"])
def test_operators_pass_opcheck(kernels: str) -> None:
    tensors, edges = arguments(SMALL, 2)
    walk = (*edges, kernels, name_of(SMALL), CUTOFF)
    opcheck(convolution.forward, (*tensors, *walk))
    g = torch.randn(9, SMALL.output.dim, 2, dtype=torch.float64).requires_grad_(True)
    for wants_s in (False, True):
        opcheck(convolution.backward, (*tensors, g, *walk, wants_s))
    cotangents = [torch.randn_like(x) for x in tensors]
    detached = [x.detach() for x in (*tensors, g)]
    opcheck(
        convolution.double_backward,
        (*detached, *cotangents, *walk),
        test_utils=("test_schema", "test_faketensor"),
    )


@pytest.mark.parametrize("kernels", ["generic", "specialized"])
def test_fused_sweeps_of_an_empty_graph_are_zero(kernels: str) -> None:
    (h, _, _, s), _ = arguments(SMALL, 2)
    edges = edges_of(build_graph([[0.0, 0.0, 0.0], [9.0, 0.0, 0.0]], [1, 1], 2.0))
    nothing = torch.zeros(0, 4, dtype=torch.float64)
    for n_atoms in (0, 1, 2):
        ptr = torch.zeros(n_atoms + 1, dtype=torch.int64)
        here = Edges(edges.index, ptr, edges.sender_order, ptr, edges.kinds)
        out = convolve(h[:n_atoms], nothing, nothing[:, 0], s, here, SMALL, CUTOFF, kernels=kernels)
        assert out.shape == (n_atoms, 4, 2)
        assert not out.any()


@pytest.mark.parametrize("kernels", BACKENDS)
def test_a_nan_that_comes_in_comes_out(kernels: str) -> None:
    (h, y, r, s), edges = arguments(SMALL, 2)
    poisoned, lost = h.detach().clone(), r.detach().clone()
    poisoned[0], lost[5] = torch.nan, torch.nan
    out = convolve(poisoned, y, r, s, edges, SMALL, CUTOFF, kernels=kernels)
    seen = edges.index[1][(edges.index[0] == 0) & (r < CUTOFF)]
    assert torch.isnan(out[seen]).any(dim=(1, 2)).all()
    out = convolve(h, y, lost, s, edges, SMALL, CUTOFF, kernels=kernels)
    assert torch.isnan(out[edges.index[1][5]]).any()


@pytest.mark.parametrize("kernels", BACKENDS)
def test_an_edge_from_the_cutoff_on_counts_for_nothing(kernels: str) -> None:
    (h, y, r, s), edges = arguments(SMALL, 2, torch.float32)
    near = r.detach() < CUTOFF
    gone = r.detach().clone()
    gone[:] = torch.tensor([CUTOFF, CUTOFF * 2, torch.inf]).repeat(len(r))[: len(r)]
    assert not convolve(h, y, gone, s, edges, SMALL, CUTOFF, kernels=kernels).any()
    assert int(near.sum()) == len(r) - 1


@pytest.mark.parametrize("kernels", ["generic", "specialized"])
@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_the_number_of_threads_changes_nothing_beyond_rounding(
    kernels: str, n_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors, edges = arguments(SMALL, 3)
    expected = torch.autograd.grad(convolve(*tensors, edges, SMALL, CUTOFF).square().sum(), tensors)
    monkeypatch.setattr(torch, "get_num_threads", lambda: n_threads)
    monkeypatch.setattr(threads, "_WORTH_A_THREAD", 1)
    found = torch.autograd.grad(
        convolve(*tensors, edges, SMALL, CUTOFF, kernels=kernels).square().sum(), tensors
    )
    for mine, other in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-11, rtol=1e-11)


def test_an_unwritable_cache_does_not_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    module = jit_cache.load("VALUE = 1\n")
    assert module.VALUE == 1
