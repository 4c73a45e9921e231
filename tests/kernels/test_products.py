"""Products of node features against e3nn's tensor product; fused kernels against the reference."""

import pytest
import torch
from e3nn import o3
from torch.library import opcheck

from molequi.kernels import couple, products
from molequi.kernels.tables import name_of
from molequi.o3.coupling import CouplingTable, coupling_table
from molequi.o3.irreps import Irreps

SPECIES = torch.tensor([1, 0, 0, 1])
TABLES = {
    "natural": coupling_table(Irreps.natural(3), Irreps.natural(3), Irreps.natural(2)),
    "both parities": coupling_table(Irreps.full(1), Irreps.full(1), Irreps.full(1)),
    "a square": coupling_table(
        Irreps.natural(2), Irreps.natural(2), Irreps.natural(2), symmetric=True
    ),
}


def arguments(
    table: CouplingTable, n_channels: int, dtype: torch.dtype = torch.float64
) -> list[torch.Tensor]:
    """Random x, y, w of four atoms."""
    generator = torch.Generator().manual_seed(0)
    shapes = (
        (4, table.first.dim, n_channels),
        (4, table.second.dim, n_channels),
        (2, len(table.paths), n_channels),
    )
    return [
        torch.randn(*shape, dtype=torch.float64, generator=generator).to(dtype).requires_grad_(True)
        for shape in shapes
    ]


@pytest.mark.parametrize("kernels", ["reference", "generic"])
@pytest.mark.parametrize("irreps", [Irreps.natural(2), Irreps.full(1)])
def test_products_agree_with_e3nn(irreps: Irreps, kernels: str) -> None:
    table = coupling_table(irreps, irreps, irreps)
    generator = torch.Generator().manual_seed(5)
    x, y = (
        torch.randn(4, irreps.dim, 1, dtype=torch.float64, generator=generator) for _ in range(2)
    )
    weights = torch.randn(2, len(table.paths), 1, dtype=torch.float64, generator=generator)
    instructions = [(path.first, path.second, path.output, "uuu", True) for path in table.paths]
    product = o3.TensorProduct(
        *[str(irreps)] * 3,
        instructions,
        irrep_normalization="component",
        path_normalization="none",
        shared_weights=False,
        internal_weights=False,
    ).to(torch.float64)
    expected = product(x[..., 0], y[..., 0], weights[SPECIES][..., 0])
    torch.testing.assert_close(
        couple(x, y, weights, SPECIES, table, kernels=kernels)[..., 0],
        expected,
        atol=1e-11,
        rtol=0.0,
    )


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("name", TABLES)
def test_sweeps_give_the_values_and_derivatives_of_the_reference(
    name: str, dtype: torch.dtype, tolerance: float
) -> None:
    table, tensors = TABLES[name], arguments(TABLES[name], 5, dtype)
    g = torch.randn(
        4, table.output.dim, 5, dtype=dtype, generator=torch.Generator().manual_seed(4)
    ).requires_grad_(True)
    results = []
    for kernels in ("reference", "generic"):
        out = couple(*tensors, SPECIES, table, kernels=kernels)
        first = torch.autograd.grad((out * g).sum(), tensors, create_graph=True)
        second = torch.autograd.grad(sum(t.square().sum() for t in first), (*tensors, g))
        # As in training on forces: the first pass leaves the weights out.
        forces = torch.autograd.grad(
            (couple(*tensors, SPECIES, table, kernels=kernels) * g).sum(),
            tensors[:2],
            create_graph=True,
        )
        training = torch.autograd.grad(sum(t.square().sum() for t in forces), tensors[2])
        results.append([out, *first, *second, *forces, *training])
    for mine, other in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(
            mine, other, atol=tolerance * float(other.detach().abs().max()), rtol=0.0
        )


def test_sweeps_pass_numeric_derivatives_and_opcheck() -> None:
    table = TABLES["both parities"]
    tensors = arguments(table, 2)

    def function(*inputs: torch.Tensor) -> torch.Tensor:
        return couple(*inputs, SPECIES, table, kernels="generic")

    assert torch.autograd.gradcheck(function, tensors, atol=1e-6)
    assert torch.autograd.gradgradcheck(function, tensors, atol=1e-5)
    opcheck(products._forward, (*tensors, SPECIES, name_of(table)))
    g = torch.randn(4, table.output.dim, 2, dtype=torch.float64).requires_grad_(True)
    for wants_w in (False, True):
        opcheck(products._backward, (*tensors, g, SPECIES, name_of(table), wants_w))


def test_products_of_no_atoms_are_empty() -> None:
    table = TABLES["both parities"]
    x, y, w = arguments(table, 2)
    assert couple(x[:0], y[:0], w, SPECIES[:0], table, kernels="generic").shape == (
        0,
        table.output.dim,
        2,
    )
