"""Equivariant polynomials: fused kernels against the reference, which is tested against MACE.

The reference itself turns as it must, and equals MACE's numbers in `tests/models/test_importers`.
"""

from __future__ import annotations

import pytest
import torch
from torch.library import opcheck

from molequi.kernels import contract, contraction
from molequi.kernels.contraction_terms import name_of, program
from molequi.kernels.tables import name_of as table_name
from molequi.o3.irreps import Irreps
from molequi.o3.symmetric import Polynomials, equivariant_polynomials

SPECIES = torch.tensor([1, 0, 0, 1, 2])
CASES = {
    "off": equivariant_polynomials(Irreps.natural(3), Irreps("0e+1o"), 3),
    "parities": equivariant_polynomials(Irreps.full(1), Irreps("0e+0o+1o"), 3),
    "squares": equivariant_polynomials(Irreps.natural(2), Irreps("0e+2e"), 2),
    "linear": equivariant_polynomials(Irreps.natural(1), Irreps("0e+1o"), 1),
    "twice": equivariant_polynomials(Irreps("0e+1o+1o"), Irreps("0e+1o"), 2),
}


def tensors(polynomials: Polynomials, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    """Random x, w and g of five atoms."""
    generator = torch.Generator().manual_seed(0)
    shapes = (
        (5, polynomials.irreps.dim, 3),
        (3, sum(polynomials.counts), 3),
        (5, polynomials.output.dim, 3),
    )
    return [
        torch.randn(*shape, dtype=torch.float64, generator=generator).to(dtype).requires_grad_(True)
        for shape in shapes
    ]


def derivatives(polynomials: Polynomials, kernels: str) -> list[torch.Tensor]:
    """The value, its gradients, and the gradients of what these add up to with random weights."""
    x, w, g = tensors(polynomials)
    out = contract(x, w, SPECIES, polynomials, kernels=kernels)
    first = torch.autograd.grad(out, (x, w), g, create_graph=True)
    total = sum((part * torch.cos(part.detach() + 1.0)).sum() for part in first)
    found = [out, *first, *torch.autograd.grad(total, (x, w, g))]
    return [part.detach() for part in found]


@pytest.mark.parametrize("name", CASES)
def test_fused_is_the_reference(name: str) -> None:
    for found, right in zip(
        derivatives(CASES[name], "generic"), derivatives(CASES[name], "reference"), strict=True
    ):
        assert float((found - right).abs().max()) <= 1e-12 * max(1.0, float(right.abs().max()))


@pytest.mark.parametrize("name", CASES)
def test_second_derivatives_of_forces_alone(name: str) -> None:
    """As in training on forces: the first pass asks for no gradient of the weights."""
    results = []
    for kernels in ("generic", "reference"):
        x, w, g = tensors(CASES[name])
        out = contract(x, w, SPECIES, CASES[name], kernels=kernels)
        (forces,) = torch.autograd.grad(out, x, g, create_graph=True)
        results.append(torch.autograd.grad(forces.square().sum(), (x, w, g), allow_unused=True))
    for found, right in zip(*results, strict=True):
        if right is None:  # a linear map has the same forces everywhere
            assert found is None or not found.any()
        else:
            assert float((found - right).abs().max()) <= 1e-12 * float(right.abs().max())


@pytest.mark.parametrize("name", ["off", "squares"])
def test_numeric_second_derivatives(name: str) -> None:
    x, w, _ = tensors(CASES[name])

    def function(features: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        return contract(features, weights, SPECIES[:1], CASES[name], kernels="generic")

    one = x.detach()[:1, :, :1].requires_grad_(), w.detach()[:, :, :1].requires_grad_()
    assert torch.autograd.gradgradcheck(function, one, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_second_derivatives_where_the_output_is_squared(name: str) -> None:
    """As in Hessians: what the output is multiplied with depends on the features itself."""
    results = []
    for kernels in ("generic", "reference"):
        x, w, _ = tensors(CASES[name])
        value = contract(x, w, SPECIES, CASES[name], kernels=kernels).square().sum()
        (slope,) = torch.autograd.grad(value, x, create_graph=True)
        results.append(torch.autograd.grad(slope.square().sum(), (x, w)))
    for found, right in zip(*results, strict=True):
        assert float((found - right).abs().max()) <= 1e-12 * float(right.abs().max())


def test_third_derivatives_are_those_of_the_reference() -> None:
    results = []
    for kernels in ("generic", "reference"):
        x, w, _ = tensors(CASES["off"])
        value = contract(x, w, SPECIES, CASES["off"], kernels=kernels).square().sum()
        for _ in range(2):
            (slope,) = torch.autograd.grad(value, x, create_graph=True)
            value = slope.square().sum()
        results.append(torch.autograd.grad(value, x)[0])
    assert float((results[0] - results[1]).abs().max()) <= 1e-11 * float(results[1].abs().max())


def test_float32_differs_by_rounding() -> None:
    for polynomials in CASES.values():
        x, w, _ = (t.detach() for t in tensors(polynomials, torch.float32))
        found = contract(x, w, SPECIES, polynomials, kernels="generic")
        right = contract(x.double(), w.double(), SPECIES, polynomials)
        assert float((found - right).abs().max()) < 1e-5 * float(right.abs().max())


def test_operators_are_sound() -> None:
    polynomials = CASES["squares"]
    x, w, g = tensors(polynomials)
    opcheck(contraction._forward, (x, w, SPECIES, name_of(polynomials)))
    inputs = (x.detach(), w.detach(), g.detach(), SPECIES, name_of(polynomials), True)
    opcheck(contraction._backward, inputs, test_utils=("test_schema", "test_faketensor"))


def test_products_of_two_are_made_once() -> None:
    """What `contraction_terms` says of the number of operations."""
    steps = program(name_of(CASES["off"]), torch.float64)
    chain, squares = CASES["off"].cubes, CASES["off"].squares
    assert len(steps.pairs) < len(chain.pairs.value)
    assert len(steps.triples) == len(chain.triples.value)
    assert len(steps.singles) < len(squares.value)


def test_tables_of_chosen_paths_have_no_name() -> None:
    with pytest.raises(ValueError, match="a table of chosen paths of .* has no name"):
        table_name(CASES["off"].cubes.pairs)
