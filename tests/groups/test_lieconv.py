"""LieConv: against a direct sum over kernel matrices, torch's batch norm and brute force.

What must not change does not.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from molequi.groups.clouds import (
    Cloud,
    Selection,
    farthest_points,
    make_cloud,
    masked_mean,
    n_coordinates,
    random_points,
)
from molequi.groups.lie_groups import GROUPS, group_named
from molequi.groups.lieconv import LieConv, LieResNet, Stage, some_of
from molequi.groups.norms import MaskedBatchNorm, measuring

ALL = [(dim, name) for dim, table in GROUPS.items() for name in table]
FREE = [(dim, name) for dim, name in ALL if group_named(name, dim).is_free]
SAMPLED = [(2, "SE(2)"), (3, "SO(3)"), (3, "SE(3)")]
N_SETS, N_POINTS, N_IN = 3, 7, 5


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


@pytest.fixture
def mask() -> torch.Tensor:
    return torch.arange(N_POINTS) < torch.tensor([[N_POINTS], [4], [1]])


def cloud_of(
    dim: int,
    name: str,
    points: torch.Tensor,
    mask: torch.Tensor,
    *,
    n_lifts: int = 1,
    seed: int = 0,
    moved: bool = False,
) -> Cloud:
    """The lifts of points (B, n, dim).

    With `moved`, all multiplied from the left by one group element per set.
    """
    group = group_named(name, dim)
    elements, orbits = group.lift(points, n_lifts, seeded(seed))
    if moved:
        elements = (
            group.exp(1.2 * random(len(points), group.dim, seed=11))[:, None, None] @ elements
        )
    return make_cloud(
        group,
        elements.flatten(1, 2),
        orbits.flatten(1, 2),
        mask.repeat_interleave(n_lifts, dim=1),
        torch.float64,
    )


def network(dim: int, name: str, **settings: object) -> LieResNet:
    torch.manual_seed(0)
    stages = settings.pop("stages", [Stage(), Stage()])
    net = LieResNet(
        N_IN, 8, n_coordinates(group_named(name, dim)), stages, n_hidden=8, n_middle=4, **settings
    ).double()
    with measuring(net):
        net(
            cloud_of(dim, name, random(20, 5, dim, seed=8), torch.ones(20, 5, dtype=torch.bool)),
            random(20, 5, N_IN, seed=9),
        )
    return net


def test_reordered_sums_are_the_sums_of_the_definition(mask):
    torch.manual_seed(0)
    convolution = LieConv(N_IN, 6, 3, n_hidden=8, n_middle=4, radius=2.5).double().eval()
    features, cloud = (
        random(N_SETS, N_POINTS, N_IN),
        cloud_of(3, "T(3)", random(N_SETS, N_POINTS, 3, seed=1), mask),
    )
    found = convolution(cloud, features)
    kernel_weight = convolution.mix.weight.reshape(6, 4, N_IN)
    counts = []
    for b, i in np.argwhere(mask.numpy()).tolist():
        neighbours = [j for j in range(N_POINTS) if mask[b, j] and cloud.distances[b, i, j] <= 2.5]
        total = torch.zeros(6, dtype=torch.float64)
        for j in neighbours:
            s = convolution.kernel(cloud.coordinates[b, i, j][None])[0]
            total += torch.einsum("omc,m->oc", kernel_weight, s) @ features[b, j]
        counts.append(len(neighbours))
        torch.testing.assert_close(
            found[b, i], total / len(neighbours) + convolution.mix.bias, rtol=0, atol=1e-12
        )
    assert min(counts) == 1
    assert 1 < sum(counts) / len(counts) < N_POINTS
    assert torch.equal(found[~mask], torch.zeros_like(found[~mask]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_masked_batch_norm_is_batch_norm_of_what_is_not_masked(mask, dtype):
    ours, theirs = MaskedBatchNorm(N_IN).to(dtype), torch.nn.BatchNorm1d(N_IN).to(dtype)
    with torch.no_grad():
        for parameters in (ours, theirs):
            parameters.weight.copy_(torch.arange(1.0, N_IN + 1))
            parameters.bias.fill_(0.3)
    for seed in range(3):
        x = (2.0 + 3.0 * random(N_SETS, N_POINTS, N_IN, seed=seed)).to(dtype)
        x[~mask] = 1e3
        tolerance = {"rtol": 0.0, "atol": 1e-5 if dtype == torch.float32 else 1e-13}
        torch.testing.assert_close(ours(x, mask)[mask], theirs(x[mask]), **tolerance)
        torch.testing.assert_close(ours.mean, theirs.running_mean, **tolerance)
        torch.testing.assert_close(
            ours.variance,
            theirs.running_var,
            rtol=1e-5 if dtype == torch.float32 else 1e-13,
            atol=0,
        )
    ours.eval(), theirs.eval()
    torch.testing.assert_close(ours(x, mask)[mask], theirs(x[mask]), **tolerance)
    assert not ours(x, mask)[~mask].any()


@pytest.mark.parametrize("n_rows", [1, 2, 400])
@pytest.mark.parametrize("momentum", [0.1, 1.0])
def test_batch_norm_without_a_mask_is_that_of_a_mask_that_hides_nothing(n_rows, momentum):
    """Values, derivatives and running moments, in training and after it, of one row too."""
    found = []
    for mask in (None, torch.ones(1, n_rows, dtype=torch.bool)):
        norm = MaskedBatchNorm(N_IN).double()
        norm.momentum = momentum
        with torch.no_grad():
            norm.weight.copy_(torch.arange(1.0, N_IN + 1)), norm.bias.fill_(0.3)
        x = (2.0 + 3.0 * random(1, n_rows, N_IN)).requires_grad_()
        result = norm(x, mask)
        result.mul(random(1, n_rows, N_IN, seed=1)).sum().backward()
        found.append(
            [result, x.grad, norm.weight.grad, norm.bias.grad, norm.mean, norm.variance]
            + [norm.eval()(x, mask)]
        )
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("dim", "name"), ALL)
@pytest.mark.parametrize("subsample", [farthest_points, random_points])
def test_nothing_changes_when_the_lifts_move_with_the_input(dim, name, subsample, mask):
    """Every group, several lifts, hard neighbourhoods and subsampling included."""
    net = network(dim, name, stages=[Stage(3.0, 0.5), Stage(4.0)], subsample=subsample).eval()
    points, features = random(N_SETS, N_POINTS, dim, seed=1), random(N_SETS, 2 * N_POINTS, N_IN)
    clouds = [cloud_of(dim, name, points, mask, n_lifts=2, moved=moved) for moved in (False, True)]
    (first, left), (second, same) = (net(cloud, features, seeded(3)) for cloud in clouds)
    assert torch.equal(left, same)
    assert left.sum(1).tolist() == [7, 4, 1]
    torch.testing.assert_close(second, first, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("dim", "name"), [row for row in FREE if row[1] != "trivial"])
def test_moved_points_of_a_free_group_give_the_same_to_rounding(dim, name, mask):
    group, net, features = (
        group_named(name, dim),
        network(dim, name).eval(),
        random(N_SETS, N_POINTS, N_IN),
    )
    points = random(N_SETS, N_POINTS, dim, seed=1)
    moved = group.act(group.exp(1.2 * random(N_SETS, group.dim, seed=5))[:, None], points)
    before, after = (net(cloud_of(dim, name, x, mask), features)[0] for x in (points, moved))
    torch.testing.assert_close(after, before, rtol=0, atol=1e-10)
    other = net(
        cloud_of(dim, name, points * torch.linspace(0.5, 2.0, N_POINTS)[:, None], mask), features
    )[0]
    assert (other - before).abs().max() > 1e-3


@pytest.mark.parametrize(("dim", "name"), SAMPLED)
def test_sampled_lifts_are_equivariant_in_the_mean_and_more_lifts_spread_less(dim, name):
    """Means over resamplings of a point set and of its image agree within their standard errors.

    Single lifts do not agree.
    """
    group, net = group_named(name, dim), network(dim, name, stages=[Stage()]).eval()
    points, features, n = random(1, 3, dim, seed=1), random(1, 3, N_IN), 100
    moved = group.act(group.exp(random(1, group.dim, seed=5))[:, None], points)
    spreads = []
    for n_lifts in (1, 4, 16):
        values: list[torch.Tensor] = []
        for seed, x in enumerate((points, moved)):
            every = torch.ones(n, 3, dtype=torch.bool)
            cloud = cloud_of(dim, name, x.expand(n, -1, -1), every, n_lifts=n_lifts, seed=seed)
            repeated = features.repeat_interleave(n_lifts, dim=1).expand(n, -1, -1)
            values.append(masked_mean(net(cloud, repeated)[0], cloud.mask).detach())
        error = torch.sqrt(sum(v.var(0) for v in values) / n)
        assert ((values[0].mean(0) - values[1].mean(0)).abs() / error).max() < 4.0
        spreads.append(float(values[0].std(0).mean()))
    assert spreads[0] > 1.5 * spreads[1] > 1.5**2 * spreads[2] > 0


@pytest.mark.parametrize("training", [False, True])
def test_padding_and_order_of_points_do_not_matter(mask, training):
    net = network(3, "SE(3)", stages=[Stage(4.0), Stage()]).train(training)
    points, features = random(N_SETS, N_POINTS, 3, seed=1), random(N_SETS, N_POINTS, N_IN)
    first = net(cloud_of(3, "SE(3)", points, mask), features)[0]
    padded = (
        torch.where(mask[..., None], points, 77.0),
        torch.where(mask[..., None], features, -5.0),
    )
    elements = group_named("SE(3)", 3).lift(points, 1, seeded(0)).elements[:, :, 0]
    elements = torch.where(
        mask[..., None, None],
        elements,
        group_named("SE(3)", 3).lift(padded[0], 1, seeded(4)).elements[:, :, 0],
    )
    order = torch.tensor([3, 1, 0, 2, 6, 5, 4])
    cloud = make_cloud(
        group_named("SE(3)", 3), elements[:, order], points[:, :, :0], mask[:, order], torch.float64
    )
    second = net(cloud, padded[1][:, order])[0]
    torch.testing.assert_close(
        second[mask[:, order]], first[:, order][mask[:, order]], rtol=0, atol=1e-12
    )


def test_farthest_points_are_those_of_a_search_by_hand(mask):
    points = random(N_SETS, N_POINTS, 3, seed=1)
    cloud = cloud_of(3, "T(3)", points, mask)
    index, kept = farthest_points(cloud, 0.6)
    assert kept.sum(1).tolist() == [5, 3, 1]
    for b in range(N_SETS):
        real = torch.nonzero(mask[b])[:, 0].tolist()
        chosen = [real[0]]
        while len(chosen) < int(kept[b].sum()):
            chosen.append(
                max(
                    (k for k in real if k not in chosen),
                    key=lambda k: min(float((points[b, k] - points[b, c]).norm()) for c in chosen),
                )
            )
        assert index[b, kept[b]].tolist() == chosen


@pytest.mark.parametrize(
    ("size", "fraction", "count"), [(25, 0.6, 15), (50, 0.3, 15), (45, 0.6, 27), (7, 0.5, 4)]
)
def test_the_number_of_kept_points_is_rounded_up_from_the_exact_one(size, fraction, count):
    mask = torch.ones(1, size, dtype=torch.bool)
    cloud = Cloud(torch.rand(1, size, size, 3), torch.rand(1, size, size), mask)
    for subsample in (farthest_points, random_points):
        assert subsample(cloud, fraction).points.shape == (1, count)


def test_random_points_are_different_and_uniform():
    mask = torch.ones(4000, 4, dtype=torch.bool)
    mask[:, 3] = False
    cloud = Cloud(torch.zeros(4000, 4, 4, 0), torch.zeros(4000, 4, 4), mask)
    index, kept = random_points(cloud, 0.5, seeded(0))
    assert kept.all()
    assert (index[:, 0] != index[:, 1]).all()
    shares = torch.bincount(index.flatten(), minlength=4) / index.numel()
    assert shares.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0], abs=0.03)


def test_subset_keeps_rows_and_columns(mask):
    cloud = cloud_of(2, "SE(2)", random(N_SETS, N_POINTS, 2), mask)
    index = torch.tensor([[2, 0], [3, 1], [0, 0]])
    smaller = cloud.subset(
        Selection(index, torch.tensor([[True, True], [True, True], [True, False]]))
    )
    assert torch.equal(smaller.coordinates[1, 0, 1], cloud.coordinates[1, 3, 1])
    assert torch.equal(smaller.distances[0, 1, 0], cloud.distances[0, 0, 2])


def test_an_orbit_counts_in_the_distance():
    group = group_named("SO(2)", 2)
    points = torch.tensor([[[1.0, 0.0], [0.0, 3.0]]], dtype=torch.float64)
    cloud = make_cloud(
        group,
        group.section(points),
        group.orbit(points),
        torch.ones(1, 2, dtype=torch.bool),
        torch.float64,
    )
    assert float(cloud.distances[0, 0, 1]) == pytest.approx(math.sqrt(2 * (math.pi / 2) ** 2 + 4.0))
    assert cloud.coordinates[0, 1, 0].tolist() == pytest.approx([math.pi / 2, 3.0, 1.0])


def test_sets_may_share_a_cloud():
    """One cloud for all sets gives what copies of it give, in training too."""
    net, features = (
        network(2, "T(2)", stages=[Stage(2.0, 0.5), Stage()]).train(),
        random(4, N_POINTS, N_IN),
    )
    cloud = cloud_of(
        2, "T(2)", random(1, N_POINTS, 2, seed=1), torch.ones(1, N_POINTS, dtype=torch.bool)
    )
    copies = Cloud(*(part.expand(4, *part.shape[1:]) for part in cloud))
    torch.testing.assert_close(
        net(cloud, features)[0], net(copies, features)[0], rtol=0, atol=1e-12
    )


def test_measuring_sets_the_moments_and_leaves_the_rest():
    net, features, mask = (
        network(3, "T(3)").eval(),
        random(400, 4, N_IN),
        torch.ones(400, 4, dtype=torch.bool),
    )
    cloud = cloud_of(3, "T(3)", 3.0 * random(400, 4, 3, seed=1), mask)
    weights = [parameter.clone() for parameter in net.parameters()]
    with measuring(net):
        expected = net(cloud, features)[0]
    assert not net.training
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), weights, strict=True))
    # The running variance is the unbiased one, so that the outputs are nearly, not exactly, those
    # of training.
    torch.testing.assert_close(net(cloud, features)[0], expected, rtol=0.01, atol=0.01)


def test_derivatives_through_training_mode_are_right():
    """Gradients and second derivatives with respect to positions, batch norm included."""
    net = network(3, "SE(3)", stages=[Stage()]).train()
    features, mask = random(2, 3, N_IN), torch.tensor([[True, True, True], [True, True, False]])
    stabilizers = (
        group_named("SE(3)", 3)
        .lift(torch.zeros(1, 3, dtype=torch.float64), 1, seeded(0))
        .elements[0]
    )

    def function(points: torch.Tensor) -> torch.Tensor:
        group = group_named("SE(3)", 3)
        elements, orbits = group.lift(points, 1, stabilizers=stabilizers)
        return (
            net(
                make_cloud(
                    group, elements.flatten(1, 2), orbits.flatten(1, 2), mask, torch.float64
                ),
                features,
            )[0]
            .square()
            .sum()
        )

    points = random(2, 3, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(function, points)
    assert torch.autograd.gradgradcheck(function, points)


def test_sampled_neighbourhoods_estimate_the_whole_mean() -> None:
    """Every entry is kept with the same chance, n of each row; the mean over draws is the sum."""
    torch.manual_seed(0)
    near = torch.rand(1, 3, 8) < 0.7
    near[0, 2] = False
    near[0, 2, 1] = True
    counts = near.sum(-1)
    draws = torch.stack([some_of(near, 4) for _ in range(3000)])
    assert torch.equal(draws.sum(-1), counts.clamp(max=4).expand(3000, -1, -1))
    assert not (draws & ~near).any()
    chance = near * (4.0 / counts.clamp(min=4))[..., None]
    assert (draws.double().mean(0) - chance).abs().max() < 0.05
    assert torch.equal(some_of(near, 8), near)
