"""Products as dense matrix products, and look-ups by species as one, against plain torch."""

import pytest
import torch

from molequi.kernels import dense_products, reference
from molequi.kernels.species_rows import product_with_choice, rows_of_species
from molequi.o3.coupling import CouplingTable, coupling_table
from molequi.o3.irreps import Irreps

SPECIES = torch.tensor([1, 0, 0, 1])
TABLES = {
    "natural": coupling_table(Irreps.natural(2), Irreps.natural(3), Irreps.natural(2)),
    "both parities": coupling_table(Irreps.full(1), Irreps.full(1), Irreps.full(1)),
    "symmetric": coupling_table(
        Irreps.natural(2), Irreps.natural(2), Irreps.natural(2), symmetric=True
    ),
    "separate": coupling_table(
        Irreps.natural(1), Irreps.natural(2), Irreps.natural(2), separate=True
    ),
}


def derivatives(module, table: CouplingTable, *, is_square: bool, dtype: torch.dtype) -> list:
    """Value, first and second derivatives of `couple`, those of training on forces among them."""
    generator = torch.Generator().manual_seed(0)

    def variable(*shape: int) -> torch.Tensor:
        made = torch.randn(*shape, dtype=torch.float64, generator=generator)
        return made.to(dtype).requires_grad_(True)

    x, y = variable(4, table.first.dim, 3), variable(4, table.second.dim, 3)
    w, g = variable(2, len(table.paths), 3), variable(4, table.output.dim, 3)
    sides = [x, x] if is_square else [x, y]
    inputs = [x, w] if is_square else [x, y, w]
    out = module.couple(*sides, w, SPECIES, table)
    first = torch.autograd.grad((out * g).sum(), inputs, create_graph=True)
    second = torch.autograd.grad(
        sum((t.square() * t).sum() for t in first), (*inputs, g), create_graph=True
    )
    third = torch.autograd.grad(sum(t.square().sum() for t in second), inputs)
    return [out, *first, *second, *third]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 2e-5)])
@pytest.mark.parametrize("is_square", [False, True])
@pytest.mark.parametrize("name", TABLES)
def test_values_and_derivatives_are_those_of_the_reference(
    name: str, is_square: bool, dtype: torch.dtype, tolerance: float
) -> None:
    table = TABLES[name]
    if is_square and table.first != table.second:
        pytest.skip("a square has equal sides")
    mine, others = (
        derivatives(module, table, is_square=is_square, dtype=dtype)
        for module in (dense_products, reference)
    )
    for value, other in zip(mine, others, strict=True):
        scale = float(other.detach().abs().max())
        torch.testing.assert_close(value, other, atol=tolerance * scale, rtol=0.0)


def test_numeric_second_derivatives() -> None:
    table = TABLES["symmetric"]
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, table.first.dim, 1, dtype=torch.float64, generator=generator)
    w = torch.randn(2, len(table.paths), 1, dtype=torch.float64, generator=generator)

    def function(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return dense_products.couple(x, x, w, SPECIES[:2], table)

    inputs = (x.requires_grad_(True), w.requires_grad_(True))
    assert torch.autograd.gradcheck(function, inputs, atol=1e-6)
    assert torch.autograd.gradgradcheck(function, inputs, atol=1e-5)


def test_a_square_has_each_pair_of_components_once() -> None:
    table = TABLES["symmetric"]
    matrices = dense_products._matrices(table, True, torch.float64, torch.device("cpu"))
    pairs = {
        tuple(sorted(pair))
        for pair in zip(table.component_first, table.component_second, strict=True)
    }
    assert len(matrices.first) == len(pairs) < len(table.value)


def test_products_of_no_atoms_are_empty() -> None:
    table = TABLES["natural"]
    x, y = torch.zeros(0, table.first.dim, 3), torch.zeros(0, table.second.dim, 3)
    out = dense_products.couple(x, y, torch.ones(2, len(table.paths), 3), SPECIES[:0], table)
    assert out.shape == (0, table.output.dim, 3)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_rows_by_a_product_are_those_of_a_look_up(dtype: torch.dtype) -> None:
    table = torch.randn(5, 7, dtype=dtype, requires_grad=True)
    species = torch.tensor([4, 0, 0, 2, 4, 4])
    g = torch.randn(6, 7, dtype=dtype)
    for function in (product_with_choice, rows_of_species):
        rows = function(species, table)
        assert torch.equal(rows, table[species])
        (gradient,) = torch.autograd.grad((rows * g).sum(), table)
        (expected,) = torch.autograd.grad((table[species] * g).sum(), table)
        torch.testing.assert_close(gradient, expected)
    assert product_with_choice(species[:0], table).shape == (0, 7)
