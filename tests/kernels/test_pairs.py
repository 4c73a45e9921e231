"""The compiled kernel of pairs against the plain torch of `nn.physics`."""

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from torch import Tensor

from molequi.graphs.graph import AtomGraph, collate
from molequi.graphs.neighbors import build_graph
from molequi.kernels import pairs
from molequi.kernels.edges import NodeRange
from molequi.nn.physics import CoulombParameters, LongRange, dispersion_parameters

COULOMB, DISPERSION = CoulombParameters(), dispersion_parameters("pbe")
PHYSICS = {
    "both": (COULOMB, DISPERSION),
    "Coulomb": (COULOMB, None),
    "dispersion": (None, DISPERSION),
}


@pytest.fixture(scope="module")
def graph() -> AtomGraph:
    """Molecules and crystals in one batch, atoms outside their cell among them."""
    salt = bulk("NaCl", "rocksalt", 5.64) * (2, 1, 1)
    salt.rattle(0.1, seed=3)
    salt.positions[1] += 2.0 * salt.cell[0] - salt.cell[2]
    silicon = bulk("Si", "diamond", 5.43)
    silicon.rattle(0.1, seed=2)
    structures = molecule("CH3SH"), salt, molecule("H"), silicon, molecule("SO2")
    return collate(
        [
            build_graph(atoms.positions, atoms.numbers, 5.0, cell=atoms.cell.array, pbc=atoms.pbc)
            for atoms in structures
        ]
    )


def waves(like: Tensor) -> Tensor:
    return torch.sin(torch.arange(like.numel(), dtype=like.dtype) + 0.5).reshape(like.shape)


def derivatives(
    graph: AtomGraph, physics: str, kernels: str, dtype: torch.dtype = torch.float64
) -> list[Tensor]:
    """Energies, their gradients with unequal weights, and the gradients of those."""
    long_range = LongRange(*PHYSICS[physics])
    long_range.use_kernels(kernels)
    charges = (0.3 * waves(graph.positions[:, 0])).to(dtype)
    inputs = [x.clone().requires_grad_() for x in (graph.positions, graph.cell, charges)]
    inputs = inputs if physics != "dispersion" else inputs[:2]
    moved = graph._replace(positions=inputs[0], cell=inputs[1])
    weights = waves(graph.positions[:, 1]).requires_grad_()
    energies = long_range(moved, inputs[2] if physics != "dispersion" else None)
    first = torch.autograd.grad(energies, inputs, weights, create_graph=True)
    along = sum((waves(x.detach()) * x).sum() for x in first)
    return [energies, *first, *torch.autograd.grad(along, [*inputs, weights])]


@pytest.mark.parametrize("physics", PHYSICS)
def test_energies_and_two_derivatives(graph: AtomGraph, physics: str) -> None:
    expected = derivatives(graph, physics, "reference")
    found = derivatives(graph, physics, "generic")
    assert len(found) == (8 if physics != "dispersion" else 6)
    for x, y in zip(found, expected, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-11, atol=1e-11)


def test_single_precision_of_charges_costs_nothing_more(graph: AtomGraph) -> None:
    expected = derivatives(graph, "both", "generic")
    found = derivatives(graph, "both", "generic", torch.float32)
    assert [x.dtype for x in found].count(torch.float32) == 2  # dE/dq and its derivative
    for x, y in zip(found, expected, strict=True):
        torch.testing.assert_close(x.double(), y, rtol=1e-5, atol=2e-5)


def test_threads_share_the_work(graph: AtomGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = derivatives(graph, "both", "generic")
    ranges = [NodeRange(0, 5), NodeRange(5, 6), NodeRange(6, graph.n_atoms)]
    monkeypatch.setattr(pairs, "_ranges", lambda space: ranges)
    for x, y in zip(derivatives(graph, "both", "generic"), expected, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-12)


def test_shares_are_even(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads get half of the pairs each, though early atoms have more partners."""
    monkeypatch.setattr(pairs.threads, "available", lambda: 2)
    n = 400
    space = pairs.Space(
        np.zeros(n, np.int64), np.full(n, n), np.zeros((1, 3)), np.array([0]), np.array([1]),
        np.array([np.inf]), np.array([0.0]),
    )  # fmt: skip
    first, second = pairs._ranges(space)
    assert first.last == second.first
    assert abs(first.last - n * (1.0 - 0.5**0.5)) < 3
    assert pairs._ranges(space._replace(batch=space.batch[:50], ends=np.full(50, 50))) == [(0, 50)]


def test_training_builds_no_tensors_of_pairs() -> None:
    """400 atoms have 79,800 pairs; no tensor of the two backward passes is that large."""
    positions = 2.0 * np.argwhere(np.ones((8, 10, 5))).astype(float)
    graph = build_graph(positions, np.full(400, 6), 0.1)
    charges = torch.linspace(-0.1, 0.1, 400, requires_grad=True)
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            sizes = [x.numel() for x in torch.utils._pytree.tree_leaves(out) if torch.is_tensor(x)]
            largest = max(largest, *sizes, 0)
            return out

    long_range = LongRange(COULOMB, DISPERSION)
    long_range.use_kernels("generic")
    x = graph.positions.clone().requires_grad_()
    with Watch():
        energies = long_range(graph._replace(positions=x), charges)
        (gradient,) = torch.autograd.grad(energies.sum(), x, create_graph=True)
        gradient.square().sum().backward()
    assert charges.grad.abs().max() > 0
    assert largest <= 1200
