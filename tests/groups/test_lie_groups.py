"""Lie groups: closed forms against matrix exponential and logarithm, lifts, the metric.

Derivatives at the special angles too.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from molequi.errors import UserError
from molequi.groups import stable
from molequi.groups.lie import LieGroup
from molequi.groups.lie_groups import GROUPS, group_named
from molequi.groups.rotations import haar_space, quaternion_of, rotation_log

ALL = [(dim, name) for dim, table in GROUPS.items() for name in table]
GROUP_IDS = [f"{name}-{dim}d" for dim, name in ALL]
TURNING = [(2, "SO(2)"), (2, "SE(2)"), (2, "R*xSO(2)"), (3, "SO(3)"), (3, "SE(3)")]


@pytest.fixture(params=ALL, ids=GROUP_IDS)
def group(request: pytest.FixtureRequest) -> LieGroup:
    dim, name = request.param
    return group_named(name, dim)


def coordinates_of(group: LieGroup, n: int, seed: int = 0) -> torch.Tensor:
    """Random algebra elements with angles below pi."""
    values = torch.randn(
        n, group.dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    return values / values.norm(dim=1, keepdim=True).clamp(min=1.0) * 2.9 if group.dim else values


def hat(group: LieGroup, coordinates: torch.Tensor) -> torch.Tensor:
    return torch.einsum("...k,kij->...ij", coordinates, group.basis())


def points_of(group: LieGroup, n: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(
        n, group.point_dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


def random_elements(group: LieGroup, n: int, seed: int = 2) -> torch.Tensor:
    return group.exp(coordinates_of(group, n, seed))


def test_all_groups_of_the_paper_are_there():
    assert set(GROUPS[2]) | set(GROUPS[3]) == {
        "trivial",
        "T(1)y",
        "T(2)",
        "T(3)",
        "SO(2)",
        "SO(3)",
        "SE(2)",
        "SE(3)",
        "R*",
        "R*xSO(2)",
        "R*xSQ",
    }


def test_exp_is_the_matrix_exponential(group):
    for scale in (1.0, 1e-2, 1e-5, 0.0):
        coordinates = scale * coordinates_of(group, 7)
        expected = torch.linalg.matrix_exp(hat(group, coordinates))
        torch.testing.assert_close(group.exp(coordinates), expected, rtol=1e-13, atol=1e-14)


def test_log_is_the_matrix_logarithm(group):
    elements = random_elements(group, 5)
    expected = torch.stack(
        [torch.as_tensor(np.real(scipy.linalg.logm(element.numpy()))) for element in elements]
    )
    torch.testing.assert_close(hat(group, group.log(elements)), expected, rtol=0, atol=1e-11)


def test_log_inverts_exp(group):
    for scale in (1.0, 1e-3, 1e-9, 0.0):
        coordinates = scale * coordinates_of(group, 50)
        torch.testing.assert_close(
            group.log(group.exp(coordinates)), coordinates, rtol=1e-12, atol=1e-15 + 4e-16 * scale
        )


def test_inverse_and_relative(group):
    first, second = random_elements(group, 6, 3), random_elements(group, 6, 4)
    identity = torch.eye(group.matrix_dim, dtype=torch.float64).expand_as(first)
    torch.testing.assert_close(group.inverse(first) @ first, identity, rtol=0, atol=1e-12)
    product = torch.linalg.solve(second, first)
    torch.testing.assert_close(
        group.exp(group.relative(first, second)), product, rtol=1e-11, atol=1e-12
    )


@pytest.mark.parametrize(("dim", "name"), TURNING)
@pytest.mark.parametrize("distance", [1e-2, 1e-5, 1e-9, 1e-12])
def test_log_near_a_half_turn(dim, name, distance):
    """Up to pi the coordinates come back.

    The angle is never lost as it is in arccos of the trace, whose error here is 1e-8.
    """
    group = group_named(name, dim)
    coordinates = torch.zeros(4, group.dim, dtype=torch.float64)
    slots = {"SO(2)": [0], "SE(2)": [0], "R*xSO(2)": [1]}.get(name, [0, 1, 2])
    axes = torch.randn(
        4, len(slots), generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    coordinates[:, slots] = (math.pi - distance) * axes / axes.norm(dim=1, keepdim=True)
    torch.testing.assert_close(group.log(group.exp(coordinates)), coordinates, rtol=0, atol=2e-15)


@pytest.mark.parametrize(("dim", "name"), [(dim, name) for dim, name in ALL if name != "trivial"])
@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-4, math.pi - 1e-9, math.pi])
def test_second_derivatives_are_finite_at_special_angles(dim, name, angle):
    group = group_named(name, dim)
    base = torch.zeros(group.dim, dtype=torch.float64)
    base[{"R*xSO(2)": 1}.get(name, 0)] = angle

    def function(step: torch.Tensor) -> torch.Tensor:
        return (
            group.log(group.exp(base) @ group.exp(step)).square().sum()
            + group.exp(base + step).square().sum()
        )

    assert torch.isfinite(torch.autograd.functional.hessian(function, torch.zeros_like(base))).all()


@pytest.mark.parametrize(("dim", "name"), TURNING)
def test_second_derivatives_are_right(dim, name):
    """Against finite differences.

    On both sides of the seam between series and closed form, and close to pi.
    """
    group = group_named(name, dim)
    slot = 1 if name == "R*xSO(2)" else 0
    for angle in (1e-3, 0.44, 0.4473, 0.70, 0.7072, 3.1):
        base = torch.full((group.dim,), 0.1, dtype=torch.float64)
        base[slot] = angle
        if angle == 3.1:
            base = base * torch.nn.functional.one_hot(torch.tensor(slot), group.dim)
        start = group.exp(base).detach()

        def function(step: torch.Tensor, start: torch.Tensor = start) -> torch.Tensor:
            return group.log(start @ group.exp(step))

        step = torch.zeros(group.dim, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(function, step, atol=1e-7)
        assert torch.autograd.gradgradcheck(function, step, atol=1e-6)


@pytest.mark.parametrize(
    ("function", "closed"),
    [
        (stable.sinc, lambda t: np.sin(t) / t),
        (stable.versine, lambda t: (1 - np.cos(t)) / t**2),
        (stable.cubic_remainder, lambda t: (t - np.sin(t)) / t**3),
        (stable.cotangent_remainder, lambda t: (1 - 0.5 * t / np.tan(0.5 * t)) / t**2),
    ],
)
def test_even_functions(function, closed):
    """In 80-bit floats, whose cancellation at these angles is below a rounding of 64 bits."""
    angle = np.linspace(0.05, 3.1, 400).astype(np.longdouble)
    expected = torch.as_tensor(closed(angle).astype(np.float64))
    torch.testing.assert_close(
        function(torch.as_tensor(angle.astype(np.float64)).square()),
        expected,
        rtol=1e-14,
        atol=1e-15,
    )


def test_values_of_even_functions_at_zero():
    zero = torch.zeros((), dtype=torch.float64)
    values = [
        float(function(zero))
        for function in (
            stable.sinc,
            stable.versine,
            stable.cubic_remainder,
            stable.cotangent_remainder,
        )
    ]
    assert values == pytest.approx([1.0, 1 / 2, 1 / 6, 1 / 12], rel=1e-15)


def test_quaternions_are_of_unit_length_in_all_four_charts():
    turns = torch.tensor(
        [[0.1, 0.2, 0.3], [3.1, 0.1, 0.0], [0.1, 3.1, 0.0], [0.0, 0.1, 3.1]], dtype=torch.float64
    )
    quaternion = quaternion_of(group_named("SO(3)", 3).exp(turns))
    torch.testing.assert_close(
        quaternion.norm(dim=1), torch.ones(4, dtype=torch.float64), rtol=0, atol=1e-14
    )
    assert quaternion.abs().argmax(1).tolist() == [0, 1, 2, 3]


def test_lift_carries_the_origin_to_the_point(group):
    points = points_of(group, 20)
    lift = group.lift(points, 3, torch.Generator().manual_seed(0))
    origins = group.act(torch.linalg.inv(lift.elements), points[:, None].expand(-1, 3, -1))
    # One origin per orbit: orbits with the same embedding have the same one.
    torch.testing.assert_close(origins, origins[:, :1].expand_as(origins), rtol=0, atol=1e-12)
    torch.testing.assert_close(
        group.act(lift.elements, origins), points[:, None].expand(-1, 3, -1), rtol=0, atol=1e-12
    )
    moved = group.act(random_elements(group, 20), points)
    torch.testing.assert_close(group.orbit(moved), group.orbit(points), rtol=1e-12, atol=1e-12)
    moved_origins = group.act(torch.linalg.inv(group.section(moved)), moved)
    torch.testing.assert_close(moved_origins, origins[:, 0], rtol=0, atol=1e-11)


def test_free_groups_have_one_lift(group):
    points = points_of(group, 4)
    first, second = (
        group.lift(points, 2, torch.Generator().manual_seed(seed)).elements for seed in (0, 1)
    )
    assert torch.equal(first, second) == group.is_free
    assert torch.equal(first[:, 0], first[:, 1]) == group.is_free


def test_free_lifts_move_with_the_point(group):
    """u(g x) = g u(x) where the stabilizer is trivial; else they differ by an element of it."""
    points, elements = points_of(group, 30), random_elements(group, 30)
    difference = torch.linalg.solve(
        elements @ group.section(points), group.section(group.act(elements, points))
    )
    identity = torch.eye(group.matrix_dim, dtype=torch.float64)
    if group.is_free:
        torch.testing.assert_close(difference, identity.expand_as(difference), rtol=0, atol=1e-11)
    else:
        origins = group.act(torch.linalg.inv(group.section(points)), points)
        torch.testing.assert_close(group.act(difference, origins), origins, rtol=0, atol=1e-11)


def test_distance_is_the_frobenius_norm_and_left_invariant(group):
    first, second, third = (random_elements(group, 8, seed) for seed in (5, 6, 7))
    distance = group.length(group.relative(first, second))
    logs = hat(group, group.relative(first, second))
    torch.testing.assert_close(distance, torch.linalg.matrix_norm(logs))
    torch.testing.assert_close(
        group.length(group.relative(third @ first, third @ second)), distance, rtol=1e-9, atol=1e-9
    )
    torch.testing.assert_close(
        group.length(group.relative(second, first)), distance, rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize(
    ("dim", "name"),
    [
        (2, "T(2)"),
        (3, "T(3)"),
        (2, "SO(2)"),
        (3, "SO(3)"),
        (2, "R*"),
        (2, "R*xSO(2)"),
        (2, "R*xSQ"),
    ],
)
def test_geodesic_groups_obey_the_triangle_inequality(dim, name):
    group = group_named(name, dim)
    u, v, w = (random_elements(group, 400, seed) for seed in (8, 9, 10))
    slack = (
        group.length(group.relative(u, v))
        + group.length(group.relative(v, w))
        - group.length(group.relative(u, w))
    )
    assert slack.min() > -1e-9


def test_haar_samples_have_the_moments_of_the_measure():
    """Characters are orthonormal.

    The means of tr R, (tr R)² and (tr R)⁴ are 0, 1 and 3 for SO(3).
    """
    trace = (
        haar_space((40000,), torch.zeros(1, dtype=torch.float64), torch.Generator().manual_seed(0))
        .diagonal(dim1=1, dim2=2)
        .sum(1)
    )
    assert float(trace.mean()) == pytest.approx(0.0, abs=0.02)
    assert float(trace.square().mean()) == pytest.approx(1.0, abs=0.03)
    assert float(trace.pow(4).mean()) == pytest.approx(3.0, abs=0.15)


def test_stabilizer_samples_do_not_depend_on_the_frame():
    """The angle of Haar rotations has density (1 - cos t) / pi, with mean pi/2 + 2/pi.

    Uniform angles or Euler angles do not.
    """
    angles = rotation_log(
        haar_space((40000,), torch.zeros(1, dtype=torch.float64), torch.Generator().manual_seed(1))
    ).norm(dim=1)
    assert float(angles.mean()) == pytest.approx(math.pi / 2 + 2 / math.pi, abs=0.01)


def test_a_point_at_the_origin_has_all_rotations_for_lifts():
    """Whatever direction another point has, the turn between the two lifts is a Haar rotation.

    Its mean angle is pi/2 + 2/pi.
    """
    group, generator = group_named("SO(3)", 3), torch.Generator().manual_seed(0)
    for direction in ([0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.3, -0.5, -0.8]):
        points = torch.tensor([[0.0, 0.0, 0.0], direction], dtype=torch.float64).expand(20000, 2, 3)
        elements = group.lift(points, 1, generator).elements[:, :, 0]
        angles = group.relative(elements[:, 0], elements[:, 1]).norm(dim=1)
        assert float(angles.mean()) == pytest.approx(math.pi / 2 + 2 / math.pi, abs=0.02)
        pole = group.orbit(points[:, 1]) * torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
        torch.testing.assert_close(group.act(elements[:, 1], pole), points[:, 1])


@pytest.mark.parametrize(
    ("name", "point"), [("R*", [0.0, 0.0]), ("R*xSO(2)", [0.0, 0.0]), ("R*xSQ", [1.0, 0.0])]
)
def test_points_without_a_lift_are_refused(name, point):
    points = torch.tensor([[1.0, 1.0], point], dtype=torch.float64)
    with pytest.raises(UserError, match=r"point \[1\] lies .* no lift"):
        group_named(name, 2).lift(points)


@pytest.mark.parametrize(("dim", "name"), [(2, "SO(2)"), (3, "SO(3)"), (2, "SE(2)"), (3, "SE(3)")])
def test_the_origin_lifts_with_finite_derivatives(dim, name):
    group = group_named(name, dim)

    def function(point: torch.Tensor) -> torch.Tensor:
        return group.section(point).square().sum() + group.orbit(point).square().sum()

    hessian = torch.autograd.functional.hessian(function, torch.zeros(dim, dtype=torch.float64))
    assert torch.isfinite(hessian).all()


def test_unknown_group_is_refused():
    with pytest.raises(
        UserError,
        match=r"no group 'SE\(2\)' on points in 3 dimensions; choose one of trivial, T\(3\), "
        r"SO\(3\), SE\(3\)",
    ):
        group_named("SE(2)", 3)
