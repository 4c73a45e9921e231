"""The repulsion of nuclei: the published function, a smooth end, nothing at bond lengths."""

import math

import pytest
import torch
from ase.build import molecule
from ase.data import covalent_radii

from molequi.graphs.neighbors import build_graph
from molequi.nn.physics import Repulsion


def pair(r: float, numbers: tuple[int, int] = (6, 8), cutoff: float = math.inf) -> torch.Tensor:
    graph = build_graph([[0.0, 0.0, 0.0], [0.0, 0.0, max(r, 1e-6)]], numbers, 5.0)
    far = torch.zeros_like(graph.positions)
    far[1, 2] = r - graph.positions[1, 2]
    return Repulsion(cutoff)(graph._replace(positions=graph.positions + far)).sum()


def test_function_is_the_published_one() -> None:
    """By hand at 0.2 Å of C and O, where the envelope is 1 to 1e-3: 28 x^6."""
    r, reach = 0.2, covalent_radii[6] + covalent_radii[8]
    x = r / (0.46850 / (6**0.23 + 8**0.23))
    phi = sum(
        c * math.exp(-d * x)
        for c, d in ((0.1818, 3.2), (0.5099, 0.9423), (0.2802, 0.4029), (0.02817, 0.2016))
    )
    ratio = (r / reach) ** 6
    envelope = 1.0 - 28.0 * ratio + 48.0 * ratio * (r / reach) - 21.0 * ratio * (r / reach) ** 2
    assert pair(r).item() == pytest.approx(14.39964 * 48.0 / r * phi * envelope, rel=2e-4)


def test_end_is_smooth() -> None:
    """At the sum of radii it goes to zero with the third power of what is left."""
    reach = covalent_radii[6] + covalent_radii[8]
    left = [pair(reach - step).item() for step in (0.02, 0.01)]
    assert 7.0 < left[0] / left[1] < 9.0
    assert pair(reach + 1e-9).item() == 0.0
    assert pair(1.0, cutoff=0.9).item() == 0.0


def test_derivatives() -> None:
    graph = build_graph(0.55 * molecule("CH3SH").positions, molecule("CH3SH").numbers, 5.0)
    positions = graph.positions.clone().requires_grad_()

    def energies(x: torch.Tensor) -> torch.Tensor:
        return Repulsion()(graph._replace(positions=x))

    assert energies(positions).sum() > 10.0
    assert torch.autograd.gradcheck(energies, positions, atol=1e-4)
    assert torch.autograd.gradgradcheck(energies, positions, atol=1e-2, rtol=1e-4)


@pytest.mark.parametrize("name", ["CH3SH", "SiH4", "H2O", "CH3CH2OH", "CH3Cl"])
def test_single_bonds_feel_next_to_nothing(name: str) -> None:
    atoms = molecule(name)
    assert Repulsion()(build_graph(atoms.positions, atoms.numbers, 5.0)).max() < 0.02


@pytest.mark.parametrize("name", ["N2", "CO", "HCN", "C2H2", "CO2", "C6H6", "SO2", "CS", "H2"])
def test_three_quarters_leave_multiple_bonds_alone(name: str) -> None:
    atoms = molecule(name)
    graph = build_graph(atoms.positions, atoms.numbers, 5.0)
    near = build_graph(0.5 * atoms.positions, atoms.numbers, 5.0)
    assert Repulsion(reach=0.75)(graph).sum() == 0.0
    assert Repulsion(reach=0.75)(near).sum() > 0.5


def test_coincident_nuclei_repel_without_nan() -> None:
    graph = build_graph([[0.0, 0.0, 0.0]] * 2, [1, 1], 5.0)
    positions = graph.positions.requires_grad_()
    energy = Repulsion()(graph).sum()
    (gradient,) = torch.autograd.grad(energy, positions, create_graph=True)
    assert 1e2 < energy < 1e4
    assert gradient.isfinite().all()


@pytest.mark.parametrize("numbers", [[], [8]])
def test_no_pairs(numbers: list[int]) -> None:
    graph = build_graph([[0.0, 0.0, 0.0]] * len(numbers), numbers, 5.0)
    assert Repulsion()(graph).tolist() == [0.0] * len(numbers)
