"""Steps of the optimisers, against torch's own and against the formulas of their papers."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from molequi.models.making import make_model
from molequi.nn.linear import Perceptron
from molequi.nn.matrices import matrix_weights
from molequi.training.optimizers.base import adam_direction
from molequi.training.optimizers.muon import Muon, orthogonal
from molequi.training.optimizers.registry import OPTIMIZERS
from molequi.training.optimizers.soap import Soap
from molequi.training.settings import TrainingSettings

SETTINGS = {"learning_rate": 1e-2, "weight_decay": 0.1}


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def map_of(matrix: torch.Tensor) -> nn.Module:
    """A network of one matrix."""
    network = Perceptron(matrix.shape).to(matrix.dtype)
    network.weights[0].data.copy_(matrix)
    return network


def weight_of(network: nn.Module) -> nn.Parameter:
    return next(network.parameters())


def take_steps(optimizer, network: nn.Module, n_steps: int, *, scale: float = 1.0, start: int = 0):
    """Random gradients of the given size, the same for every optimiser."""
    for step in range(start, start + n_steps):
        for k, weight in enumerate(network.parameters()):
            gradient = random(*weight.shape, seed=1000 * step + k)
            weight.grad = (scale * gradient).to(weight.dtype)
        optimizer.step()


@pytest.fixture(scope="module")
def molecular():
    return make_model(
        [1, 8],
        ["energy", "dipole"],
        n_channels=4,
        correlation=2,
        mixing="separate",
        self_connection="matrices",
    ).double()


def test_every_optimizer_can_be_set():
    names = TrainingSettings.model_fields["optimizer"].annotation.__args__
    assert set(names) == set(OPTIMIZERS)


def test_adam_direction_is_that_of_torch():
    weight, state = nn.Parameter(random(3, 4)), {}
    reference = torch.optim.Adam([weight], lr=1.0)
    for step in range(5):
        before = weight.detach().clone()
        weight.grad = random(3, 4, seed=step) * 10.0**step
        reference.step()
        ours = adam_direction(weight.grad, state)
        assert torch.allclose(before - weight, ours, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 6, 6), (3, 8, 5), (2, 5, 8)])
def test_orthogonal_keeps_the_singular_vectors(shape):
    """Of U S V^T by a singular value decomposition."""
    matrices = random(*shape)
    left, values, right = torch.linalg.svd(matrices, full_matrices=False)
    # Below a hundredth of the largest five rounds do not reach one.
    assert (values.amin(dim=1) > 0.01 * values.amax(dim=1)).all()
    found = left.mT @ orthogonal(matrices) @ right.mT
    assert torch.allclose(found, torch.diag_embed(found.diagonal(dim1=1, dim2=2)), atol=1e-10)
    sizes = found.diagonal(dim1=1, dim2=2)
    assert sizes.min() > 0.65
    assert sizes.max() < 1.25


def test_orthogonal_of_zero_is_zero():
    assert torch.equal(orthogonal(torch.zeros(2, 3, 4)), torch.zeros(2, 3, 4))


def test_muon_takes_the_step_of_torch():
    """torch.optim.Muon orthogonalises in bfloat16, whose rounding is 2^-8."""
    network, other = map_of(random(24, 16)), nn.Parameter(random(24, 16))
    ours = Muon(network, **SETTINGS)
    theirs = torch.optim.Muon([other], lr=1e-2, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for step in range(4):
        gradient = random(24, 16, seed=step)
        before = other.detach().clone()
        weight_of(network).grad, other.grad = gradient.clone(), gradient.clone()
        ours.step()
        theirs.step()
        size = (other - before).norm()
        assert (weight_of(network) - other).norm() < 0.05 * size * (step + 1)


def test_soap_takes_the_steps_of_its_paper():
    """Algorithms 3 and 4 as printed, with the mean gradient kept in the channels' own basis."""
    network = map_of(random(7, 5))
    optimizer = Soap(network, learning_rate=0.1, weight_decay=0.0)
    expected, beta = weight_of(network).detach().clone(), 0.95
    first = random(7, 5, seed=0)
    left, right = (1 - beta) * first @ first.T, (1 - beta) * first.T @ first
    tilts = (torch.diag(torch.linspace(0, 1e-7 * float(s.trace()), len(s))) for s in (left, right))
    p, q = (
        torch.linalg.eigh(s + tilt).eigenvectors
        for s, tilt in zip((left, right), tilts, strict=True)
    )
    mean, square = torch.zeros_like(first), torch.zeros_like(first)
    for step in range(35):
        gradient = random(7, 5, seed=step)
        weight_of(network).grad = gradient.clone()
        optimizer.step()
        if step:
            mean = beta * mean + (1 - beta) * gradient
            square = beta * square + (1 - beta) * (p.T @ gradient @ q) ** 2
            unbiased = [moment / (1 - beta**step) for moment in (mean, square)]
            expected -= 0.1 * p @ ((p.T @ unbiased[0] @ q) / unbiased[1].sqrt()) @ q.T
            left = beta * left + (1 - beta) * gradient @ gradient.T
            right = beta * right + (1 - beta) * gradient.T @ gradient
            if step % 10 == 0:
                p, q = torch.linalg.qr(left @ p).Q, torch.linalg.qr(right @ q).Q
        # Ours shifts what it iterates by 1e-7 of the trace.
        assert torch.allclose(weight_of(network), expected, rtol=0.0, atol=1e-5)


def test_soap_does_not_depend_on_the_basis_of_channels():
    """In exact arithmetic an orthogonal change of the channels turns the step with it."""
    a, b = (torch.linalg.qr(random(5, 5, seed=seed)).Q for seed in (1, 2))
    start = random(5, 5)
    plain, turned = map_of(start), map_of(a @ start @ b.T)
    optimizers = [Soap(network, **SETTINGS) for network in (plain, turned)]
    for step in range(23):
        gradient = random(5, 5, seed=step)
        weight_of(plain).grad, weight_of(turned).grad = gradient, a @ gradient @ b.T
        for optimizer in optimizers:
            optimizer.step()
    start_turned = a @ start @ b.T
    moved = a @ weight_of(plain) @ b.T - start_turned
    assert moved.abs().max() > 0.1
    assert torch.allclose(moved, weight_of(turned) - start_turned, rtol=0.0, atol=1e-4)


@pytest.mark.parametrize("name", ["muon", "soap"])
def test_stacked_matrices_are_treated_one_by_one(name, molecular):
    """The step of a whole network is that of each of its matrices on its own."""
    network = copy.deepcopy(molecular)
    singles = [
        (weight, blocks, [map_of(matrix) for matrix in blocks.cut(weight.detach())])
        for weight, blocks in matrix_weights(network)
    ]
    assert any(len(maps) > 1 for _, _, maps in singles)
    whole = OPTIMIZERS[name](network, **SETTINGS)
    parts = [[OPTIMIZERS[name](single, **SETTINGS) for single in maps] for *_, maps in singles]
    for step in range(12):
        take_steps(whole, network, 1, start=step)
        for (weight, blocks, maps), optimizers in zip(singles, parts, strict=True):
            for single, optimizer, matrix in zip(
                maps, optimizers, blocks.cut(weight.grad), strict=True
            ):
                weight_of(single).grad = matrix.clone()
                optimizer.step()
    for weight, blocks, maps in singles:
        expected = torch.stack([weight_of(single) for single in maps])
        assert torch.allclose(blocks.cut(weight), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_state_that_is_saved_and_loaded_takes_the_same_steps(name, molecular, tmp_path):
    one, two = copy.deepcopy(molecular).float(), copy.deepcopy(molecular).float()
    first, second = (OPTIMIZERS[name](network, **SETTINGS) for network in (one, two))
    take_steps(first, one, 13)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    two.load_state_dict(one.state_dict())
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for optimizer, network in ((first, one), (second, two)):
        take_steps(optimizer, network, 13, start=13)
    for weight, other in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(weight, other)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_threads_share_the_matrices_and_take_the_same_steps(name, molecular):
    """To the last bit, in float32, whatever the number of threads."""
    before = torch.get_num_threads()
    ended = []
    try:
        for n_threads in (1, 2, 5):
            torch.set_num_threads(n_threads)
            network = copy.deepcopy(molecular).float()
            take_steps(OPTIMIZERS[name](network, **SETTINGS), network, 12)
            ended.append(nn.utils.parameters_to_vector(network.parameters()))
            assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(before)
    assert torch.equal(ended[0], ended[1])
    assert torch.equal(ended[0], ended[2])


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("factor", [1e-4, 1e4])
def test_forgotten_moments_let_gradients_of_any_size_follow(name, factor, molecular):
    """Where the weights of the loss change, a cleared state takes the steps of a new optimiser."""
    old, new = copy.deepcopy(molecular), copy.deepcopy(molecular)
    first, second = (OPTIMIZERS[name](network, **SETTINGS) for network in (old, new))
    take_steps(first, old, 5)
    new.load_state_dict(old.state_dict())
    before = [weight.detach().clone() for weight in old.parameters()]
    first.state.clear()
    for optimizer, network in ((first, old), (second, new)):
        take_steps(optimizer, network, 3, scale=factor, start=5)
    for weight, other, start in zip(old.parameters(), new.parameters(), before, strict=True):
        assert torch.equal(weight, other)
        assert (weight - start).abs().max() < 3 * 10.0 * SETTINGS["learning_rate"]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_frozen_weights_and_weights_without_a_gradient_stay(name, molecular):
    network = copy.deepcopy(molecular)
    network.backbone.requires_grad_(False)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    optimizer = OPTIMIZERS[name](network, **SETTINGS)
    optimizer.zero_grad()
    optimizer.step()
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    take_steps(optimizer, network, 2)
    changed = {
        key for key, value in network.state_dict().items() if not torch.equal(value, before[key])
    }
    assert changed == {key for key, _ in network.named_parameters() if key.startswith("heads.")}


@pytest.mark.parametrize("name", ["muon", "soap"])
def test_a_quadratic_of_unlike_scales_is_solved_in_fewer_steps_than_by_adamw(name):
    """||A W B - C||^2 with condition number 10^4: what these optimisers are for."""
    a, b = random(12, 12, seed=1), random(12, 12, seed=2)
    errors = {}
    for key in ("adamw", name):
        network = map_of(torch.zeros(12, 12, dtype=torch.float64))
        optimizer = OPTIMIZERS[key](network, learning_rate=0.05, weight_decay=0.0)
        for step in range(300):
            for group in optimizer.param_groups:
                group["lr"] = 0.05 * (1 - step / 300)
            optimizer.zero_grad()
            loss = (a @ weight_of(network) @ b - torch.eye(12, dtype=torch.float64)).square().sum()
            loss.backward()
            optimizer.step()
        errors[key] = float(loss.detach())
    assert errors[name] < 0.5 * errors["adamw"]
