"""Clebsch-Gordan coefficients, tables and harmonics against e3nn and against their own laws."""

import numpy as np
import pytest
import torch
from e3nn import o3

from molequi.o3.cartesian import from_cartesian, to_cartesian
from molequi.o3.clebsch_gordan import wigner_3j
from molequi.o3.coupling import coupling_table
from molequi.o3.irreps import Irreps
from molequi.o3.spherical_harmonics import solid_harmonics_along, spherical_harmonics

TRIANGLES = [(a, b, c) for a in range(4) for b in range(4) for c in range(abs(a - b), a + b + 1)]


@pytest.mark.parametrize(("l1", "l2", "l3"), TRIANGLES)
def test_coefficients_are_those_of_e3nn(l1: int, l2: int, l3: int) -> None:
    expected = o3.wigner_3j(l1, l2, l3, dtype=torch.float64).numpy()
    np.testing.assert_allclose(wigner_3j(l1, l2, l3), expected, atol=1e-12)


def test_forbidden_coupling_is_refused() -> None:
    with pytest.raises(ValueError, match="triangle"):
        wigner_3j(1, 1, 3)


def test_cached_coefficients_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        wigner_3j(1, 1, 1)[0, 0, 0] = 1.0


@pytest.mark.parametrize("l_max", [0, 1, 3, 5])
def test_harmonics_are_those_of_e3nn(l_max: int) -> None:
    vectors = torch.nn.functional.normalize(
        torch.randn(40, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), dim=1
    )
    expected = o3.spherical_harmonics(
        list(range(l_max + 1)), vectors, normalize=False, normalization="component"
    )
    torch.testing.assert_close(spherical_harmonics(vectors, l_max), expected, atol=1e-12, rtol=0.0)


def test_derivatives_of_solid_harmonics_along_vectors() -> None:
    """Against automatic differentiation of the polynomials.

    At lengths other than 1 and at the origin.
    """
    generator = torch.Generator().manual_seed(4)
    points, vectors = (
        2 * torch.randn(6, 3, dtype=torch.float64, generator=generator) for _ in range(2)
    )
    points[0] = 0.0
    gradient = torch.autograd.functional.jacobian(
        lambda x: spherical_harmonics(x, 5).sum(dim=0), points
    )
    expected = torch.einsum("mei,ei->em", gradient, vectors)
    torch.testing.assert_close(
        solid_harmonics_along(spherical_harmonics(points, 5), vectors),
        expected,
        atol=1e-10,
        rtol=1e-10,
    )


def test_harmonics_of_a_zero_vector_are_finite_with_finite_gradients() -> None:
    vector = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    values = spherical_harmonics(vector, 3)
    (gradient,) = torch.autograd.grad(values.sum(), vector)
    assert torch.isfinite(values).all()
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("irreps", [Irreps.natural(2), Irreps.full(2)])
def test_a_table_of_paths_commutes_with_rotations(irreps: Irreps) -> None:
    table = coupling_table(irreps, Irreps.natural(2), irreps)
    generator = torch.Generator().manual_seed(1)
    first = torch.randn(irreps.dim, dtype=torch.float64, generator=generator)
    second = torch.randn(9, dtype=torch.float64, generator=generator)
    angles = torch.tensor([0.3, 1.1, -0.7], dtype=torch.float64)

    def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        terms = torch.from_numpy(table.value) * a[table.component_first] * b[table.component_second]
        return torch.zeros(irreps.dim, dtype=torch.float64).index_add(
            0, torch.from_numpy(table.component_output), terms
        )

    def rotation(layout: Irreps) -> torch.Tensor:
        return torch.block_diag(*(o3.wigner_D(l, *angles) for l, _ in layout))

    turned = product(rotation(irreps) @ first, rotation(Irreps.natural(2)) @ second)
    torch.testing.assert_close(
        turned, rotation(irreps) @ product(first, second), atol=1e-12, rtol=0.0
    )


def test_each_path_keeps_unit_variance() -> None:
    table = coupling_table(Irreps.natural(3), Irreps.natural(3), Irreps.natural(3))
    for p, path in enumerate(table.paths):
        power = (table.value[table.path == p] ** 2).sum() / table.output[path.output].dim
        assert power == pytest.approx(1.0, abs=1e-12)


def test_squares_leave_out_what_vanishes() -> None:
    table = coupling_table([(1, -1)], ((1, -1),), [(0, 1), (1, 1), (2, 1)], symmetric=True)
    assert [table.output[path.output] for path in table.paths] == [(0, 1), (2, 1)]


@pytest.mark.parametrize("degrees", [(0, 2), (0, 1, 2)])
def test_cartesian_tensors_turn_like_their_rows(degrees: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(2)
    rows = torch.randn(4, sum(2 * l + 1 for l in degrees), dtype=torch.float64, generator=generator)
    angles = torch.tensor([0.4, -1.2, 2.0], dtype=torch.float64)
    big = torch.block_diag(*(o3.wigner_D(l, *angles) for l in degrees))
    matrix = o3.angles_to_matrix(*angles)
    tensor = to_cartesian(rows, degrees)
    torch.testing.assert_close(
        to_cartesian(rows @ big.T, degrees), matrix @ tensor @ matrix.T, atol=1e-12, rtol=0.0
    )
    torch.testing.assert_close(from_cartesian(tensor, degrees), rows, atol=1e-12, rtol=0.0)
    torch.testing.assert_close(
        tensor.square().sum(dim=(1, 2)), rows.square().sum(dim=1), atol=1e-12, rtol=0.0
    )
