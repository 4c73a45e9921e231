"""Dimensions and bases of intertwiners against Schur's lemma, e3nn, orbit counts and formulas."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
import torch
from e3nn import o3
from grids import image_representation, wallpaper_representation
from scipy import sparse

from molequi.errors import UserError
from molequi.groups import intertwiners as module
from molequi.groups import null_spaces
from molequi.groups.finite import dihedral_group, point_group
from molequi.groups.intertwiners import intertwiners, invariants
from molequi.groups.named_representations import (
    gl_vector,
    lorentz_vector,
    matrix_representation,
    o3_irrep,
    permutation_representation,
    regular_representation,
    symmetric_points,
)
from molequi.groups.representations import (
    direct_sum,
    dual,
    multiple,
    outer_product,
    represent,
    tensor_product,
    trivial,
)

IRREPS = [(l, p) for l in range(4) for p in (1, -1)]


def commutes(rho_in, rho_out) -> float:
    """The largest entry of A rho_in - rho_out A over the basis and the generators."""
    maps = intertwiners(rho_in, rho_out).maps()
    pairs = [
        *zip(rho_in.finite, rho_out.finite, strict=True),
        *zip(rho_in.algebra, rho_out.algebra, strict=True),
    ]
    return max(np.abs(maps @ a.toarray() - b.toarray() @ maps).max(initial=0.0) for a, b in pairs)


@pytest.mark.parametrize(("first", "second"), list(itertools.product(IRREPS, IRREPS)))
def test_irreps_obey_schur(first, second) -> None:
    assert intertwiners(o3_irrep(*first), o3_irrep(*second)).dim == (first == second)


def test_generators_of_rotations_are_those_of_e3nn() -> None:
    for l in range(4):
        for axis, generator in zip(torch.eye(3), o3_irrep(l, 1).algebra, strict=True):
            angle = torch.tensor(0.7)
            expected = o3.Irrep(l, 1).D_from_axis_angle(axis, angle)
            turned = torch.matrix_exp(angle * torch.as_tensor(generator.toarray()))
            torch.testing.assert_close(turned, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize(("l1", "l2"), list(itertools.combinations_with_replacement(range(4), 2)))
def test_couplings_are_clebsch_gordan_tensors(l1: int, l2: int) -> None:
    pair = tensor_product(o3_irrep(l1, (-1) ** l1), o3_irrep(l2, (-1) ** l2))
    for l3, sign in itertools.product(range(7 if l1 + l2 > 3 else 4), (1, -1)):
        found = intertwiners(pair, o3_irrep(l3, sign * (-1) ** (l1 + l2)))
        assert found.dim == (sign == 1 and abs(l1 - l2) <= l3 <= l1 + l2)
        if found.dim:
            expected = (
                o3.wigner_3j(l1, l2, l3, dtype=torch.float64)
                .permute(2, 0, 1)
                .numpy()
                .reshape(2 * l3 + 1, -1)
            )
            assert min(np.abs(found.maps()[0] - s * expected).max() for s in (1, -1)) < 1e-12


def test_direct_sum_counts_pairs_of_equal_irreps() -> None:
    scalar, vector, axial = o3_irrep(0, 1), o3_irrep(1, -1), o3_irrep(1, 1)
    rho_in = direct_sum(multiple(3, scalar), multiple(2, vector), axial)
    rho_out = direct_sum(vector, multiple(4, scalar), multiple(2, axial))
    found = intertwiners(rho_in, rho_out)
    assert found.dim == 3 * 4 + 2 * 1 + 1 * 2
    assert commutes(rho_in, rho_out) < 1e-12
    np.testing.assert_allclose(
        (found.basis.T @ found.basis).toarray(), np.eye(found.dim), atol=1e-12
    )


def test_direct_sum_agrees_with_the_null_space_of_the_whole() -> None:
    rho = direct_sum(o3_irrep(0, 1), multiple(2, o3_irrep(1, -1)), o3_irrep(2, 1))
    whole = represent("O(3)", [m.toarray() for m in rho.finite], [m.toarray() for m in rho.algebra])
    blocks, one = intertwiners(rho, rho).basis.toarray(), intertwiners(whole, whole).basis.toarray()
    np.testing.assert_allclose(blocks @ blocks.T, one @ one.T, atol=1e-10)


@pytest.mark.parametrize("m", [2, 5])
def test_centre_of_mass_is_the_only_point(m: int) -> None:
    """GL(3) moves m points together, S_m exchanges them.

    One map to a point, and mean and differences from points to points.
    """
    points = symmetric_points(m)
    cloud, point = (
        outer_product(gl_vector(3), points),
        outer_product(gl_vector(3), trivial(points.group)),
    )
    found = intertwiners(cloud, point)
    assert found.dim == 1
    positions = np.random.default_rng(0).standard_normal((3, m))
    np.testing.assert_allclose(
        found.maps()[0] @ positions.ravel(), np.sqrt(m / 3) * positions.mean(axis=1), atol=1e-12
    )
    assert intertwiners(cloud, cloud).dim == 2


def orbits_of_a_pixel(n: int, *, mirrors: bool) -> int:
    """Orbits of the turns (and mirrors) about a pixel of a periodic grid.

    By counting the pixels that each leaves alone.
    """
    quarter, half = (1, 1) if n % 2 else (2, 4)
    if not mirrors:
        return (n * n + 2 * quarter + half) // 4
    return (n * n + 2 * quarter + half + (2 * n if n % 2 else 4 * n) + 2 * n) // 8


@pytest.mark.parametrize("n", [4, 5, 8, 9])
def test_wallpaper_groups_have_convolutions(n: int) -> None:
    """A map that commutes with shifts is a convolution.

    Turns and mirrors make its filter constant on their orbits.
    """
    for name in ("p4", "p4m"):
        rho = wallpaper_representation(name, n)
        assert intertwiners(rho, rho).dim == orbits_of_a_pixel(n, mirrors=name == "p4m")
        assert commutes(rho, rho) == 0.0


@pytest.mark.parametrize(
    ("n", "expected"), [(4, (4**4 + 2 * 4**2) // 8), (5, (5**4 + 3 + 4 * 5**2) // 8)]
)
def test_square_acts_on_images(n: int, expected: int) -> None:
    """The orbits of D4 on pairs of pixels, by Burnside's lemma."""
    rho = image_representation(dihedral_group(4), n)
    assert intertwiners(rho, rho).dim == expected


def test_large_grid_needs_no_linear_algebra() -> None:
    rho = wallpaper_representation("p4m", 24)
    found = intertwiners(rho, rho)
    assert found.dim == orbits_of_a_pixel(24, mirrors=True)
    assert found.basis.nnz == rho.dim**2


def test_lorentz_group() -> None:
    vector = lorentz_vector()
    scalar, pair = trivial(vector.group), tensor_product(vector, vector)
    np.testing.assert_allclose(
        np.abs(intertwiners(vector, vector).maps()), [np.eye(4) / 2], atol=1e-12
    )
    assert intertwiners(vector, scalar).dim == 0
    metric = invariants(pair).reshape(-1, 4, 4)
    np.testing.assert_allclose(
        metric * np.sign(metric[0, 0, 0]), [np.diag([1, -1, -1, -1]) / 2], atol=1e-12
    )
    # Three ways to pair four vectors, and the volume that they span.
    assert len(invariants(tensor_product(pair, pair))) == 4
    # Lowering an index is the map to the dual.
    np.testing.assert_allclose(
        np.abs(intertwiners(vector, dual(vector)).maps()), np.abs(metric), atol=1e-12
    )


@pytest.mark.parametrize("name", ["C3", "C3v", "D2d", "Td", "Oh"])
def test_point_groups_by_characters(name: str) -> None:
    """dim Hom(V^2, V^2) is the mean of |chi(g)|^4 over the group."""
    group = point_group(name)
    vector = matrix_representation(group)
    pair = tensor_product(vector, vector)
    traces = np.trace(group.matrices, axis1=1, axis2=2)
    assert intertwiners(pair, pair).dim == pytest.approx(np.mean(traces**4))
    assert commutes(pair, pair) < 1e-12
    assert intertwiners(regular_representation(group), vector).dim == 3


def test_sparse_and_dense_null_spaces_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = tensor_product(o3_irrep(2, 1), o3_irrep(2, 1))
    dense = intertwiners(pair, pair).basis.toarray()
    monkeypatch.setattr(module, "LARGEST_DENSE", 0)
    found = intertwiners(pair, pair).basis.toarray()
    assert found.shape == dense.shape == (625, 5)
    np.testing.assert_allclose(found @ found.T, dense @ dense.T, atol=1e-9)


def test_6561_unknowns_take_little_memory() -> None:
    """81 x 81 maps, which a factorisation of all their equations fills 3.5 GB with."""
    pair = tensor_product(o3_irrep(4, 1), o3_irrep(4, 1))
    tracemalloc.start()
    found = intertwiners(pair, pair)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.dim == 9
    assert commutes(pair, pair) < 1e-12
    assert peak < 0.2e9


def test_equations_that_gradients_do_not_solve_are_factorised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LARGEST_DENSE", 0)
    monkeypatch.setattr(null_spaces, "_MOST_STEPS", 1)
    pair = tensor_product(o3_irrep(2, 1), o3_irrep(2, 1))
    assert intertwiners(pair, pair).dim == 5
    assert commutes(pair, pair) < 1e-9


def test_sparse_null_space_refuses_inexact_generators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST_DENSE", 0)
    test_inexact_generators_are_refused()


def test_sparse_null_space_grows_its_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """64 maps, more than the first block of vectors holds."""
    monkeypatch.setattr(module, "LARGEST_DENSE", 0)
    rho = multiple(8, o3_irrep(1, -1))
    whole = represent("O(3)", rho.finite, rho.algebra)
    assert intertwiners(whole, whole).dim == 64
    assert commutes(whole, whole) < 1e-9


def test_inexact_generators_are_refused() -> None:
    angle = 2 * np.pi / 5
    exact = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    worse = (1 + 1e-7) * exact
    assert intertwiners(represent("C5", [exact]), represent("C5", [exact])).dim == 2
    with pytest.raises(UserError, match="dimension is in doubt"):
        intertwiners(represent("C5", [worse]), represent("C5", [exact]))


def test_rounding_is_no_equation() -> None:
    """det R = 1 + 2e-16 stands for the same group element as 1.

    One map, dense or sparse, whatever the size of the generators.
    """
    turn = np.array([[np.cos(1.0), -np.sin(1.0)], [np.sin(1.0), np.cos(1.0)]])
    determinant = np.array([[np.linalg.det(np.linalg.matrix_power(turn, 5))]])
    assert determinant != 1.0
    rho = represent("Z", [determinant])
    assert intertwiners(rho, trivial(rho.group)).dim == 1
    # Twice the same element, once as a product: everything that commutes with the turn does with
    # what is the turn but for rounding.
    other = represent("Z", [turn @ turn @ np.linalg.inv(turn)])
    assert intertwiners(represent("Z", [turn]), other).dim == 2
    assert not np.array_equal(other.finite[0].toarray(), turn)


@pytest.mark.parametrize("factor", [1e-8, 1e8])
def test_the_scale_of_an_infinitesimal_generator_does_not_matter(factor: float) -> None:
    vector = o3_irrep(1, -1)
    scaled = represent("O(3)", vector.finite, [factor * vector.algebra[0], *vector.algebra[1:]])
    assert intertwiners(scaled, scaled).dim == 1
    assert intertwiners(tensor_product(scaled, scaled), scaled).dim == 0


def test_other_groups_are_refused() -> None:
    with pytest.raises(UserError, match="different groups"):
        intertwiners(lorentz_vector(), o3_irrep(1, -1))
    with pytest.raises(UserError, match="all square"):
        represent("Z", [np.eye(2), np.eye(3)])
    with pytest.raises(UserError, match="l = 1 and parity 2"):
        o3_irrep(1, 2)
    with pytest.raises(UserError, match="p4 and p4m"):
        wallpaper_representation("p6", 4)
    with pytest.raises(UserError, match="no permutation"):
        permutation_representation("S(3)", [np.array([0, 0, 1])])
    with pytest.raises(UserError, match="all square"):
        represent("Z", [np.ones(2)])
    with pytest.raises(UserError, match="is complex; give real matrices"):
        represent("U(1)", [np.array([[1j]])])
    with pytest.raises(UserError, match="finite"):
        represent("Z", [sparse.csr_array(np.array([[np.nan]]))])
