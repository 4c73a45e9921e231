"""The energy between far atoms: conservative, additive, and of the pairs of each molecule alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from torch import Tensor

from molequi.errors import UserError
from molequi.graphs.graph import AtomGraph, collate
from molequi.graphs.neighbors import build_graph
from molequi.kernels.pair_inputs import COULOMB_CONSTANT
from molequi.nn import response
from molequi.nn.physics import CoulombParameters, LongRange, dispersion_parameters

KERNELS = ["reference", "generic"]


def both(kernels: str = "reference") -> LongRange:
    physics = LongRange(CoulombParameters(), dispersion_parameters("wb97m"))
    physics.use_kernels(kernels)
    return physics


def graph_of(atoms) -> AtomGraph:
    return build_graph(atoms.positions, atoms.numbers, 5.0, cell=atoms.cell.array, pbc=atoms.pbc)


def charges_of(graph: AtomGraph) -> Tensor:
    return 0.4 * torch.sin(torch.arange(graph.n_atoms, dtype=torch.float64) + 0.3)


def crystal():
    atoms = bulk("NaCl", "rocksalt", 5.64) * (2, 1, 1)
    atoms.rattle(0.1, seed=3)
    return atoms


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("atoms", [molecule("CH3SH"), crystal()], ids=["molecule", "crystal"])
def test_derivatives_are_those_of_the_energy(atoms, kernels: str) -> None:
    graph, physics = graph_of(atoms), both(kernels)

    def energies(positions: Tensor, charges: Tensor, cell: Tensor) -> Tensor:
        return physics(graph._replace(positions=positions, cell=cell), charges)

    inputs = [x.clone().requires_grad_() for x in (graph.positions, charges_of(graph), graph.cell)]
    assert torch.autograd.gradcheck(energies, inputs, eps=1e-5, atol=1e-7)
    assert torch.autograd.gradgradcheck(energies, inputs, eps=1e-5, atol=1e-6)


@pytest.mark.parametrize("kernels", KERNELS)
def test_stress_is_that_of_finite_strain(kernels: str) -> None:
    atoms = crystal()
    graph, physics = graph_of(atoms), both(kernels)
    charges = charges_of(graph)

    def network(graph: AtomGraph) -> dict[str, Tensor]:
        return {"energy": physics(graph, charges).sum()[None]}

    stress = response.with_forces(network, graph, stress=True)["stress"][0]
    step = 1e-4
    for i, j in ((0, 0), (1, 2)):
        energies = []
        for sign in (1.0, -1.0):
            strain = torch.eye(3, dtype=torch.float64)
            strain[i, j] += 0.5 * sign * step
            strain[j, i] += 0.5 * sign * step
            moved = graph._replace(positions=graph.positions @ strain, cell=graph.cell @ strain)
            energies.append(network(moved)["energy"].item())
        expected = (energies[0] - energies[1]) / (2.0 * step * atoms.get_volume())
        assert abs(stress[i, j].item() - expected) < 1e-7


@pytest.mark.parametrize("kernels", KERNELS)
def test_batch_equals_singles(kernels: str) -> None:
    graphs = [
        graph_of(atoms) for atoms in (molecule("CH3SH"), crystal(), molecule("H"), molecule("SO2"))
    ]
    physics = both(kernels)
    joined = physics(collate(graphs), torch.cat([charges_of(graph) for graph in graphs]))
    alone = torch.cat([physics(graph, charges_of(graph)) for graph in graphs])
    torch.testing.assert_close(joined, alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kernels", KERNELS)
def test_motions_and_order_do_not_matter(kernels: str) -> None:
    graph, physics = graph_of(molecule("CH3SH")), both(kernels)
    charges, generator = charges_of(graph), torch.Generator().manual_seed(2)
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))[0]
    order = torch.randperm(graph.n_atoms, generator=generator)
    moved = graph._replace(
        positions=(graph.positions @ rotation + 3.0)[order],
        atomic_numbers=graph.atomic_numbers[order],
    )
    expected = physics(graph, charges)[order]
    torch.testing.assert_close(physics(moved, charges[order]), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kernels", KERNELS)
def test_crystal_may_be_named_by_any_cell(kernels: str) -> None:
    """Atoms moved by cell vectors, another set of cell vectors, and the doubled cell."""
    atoms, physics = crystal(), both(kernels)
    charges = charges_of(graph_of(atoms))
    expected = physics(graph_of(atoms), charges)
    moved = atoms.copy()
    moved.positions[1] += moved.cell[0] - 2.0 * moved.cell[2]
    other = atoms.copy()
    other.set_cell(np.array([[1, 1, 0], [0, 1, 0], [2, 0, 1]]) @ atoms.cell.array)
    for same in (moved, other):
        torch.testing.assert_close(physics(graph_of(same), charges), expected, rtol=0, atol=1e-9)
    doubled = physics(graph_of(atoms * (1, 2, 1)), charges.repeat(2))
    torch.testing.assert_close(doubled, expected.repeat(2), rtol=0, atol=1e-9)


@pytest.mark.parametrize("cell", [5.64, 3.0])
def test_kernels_agree_where_damping_reaches_beyond_the_splitting(cell: float) -> None:
    """The pairs of rocksalt damped up to 12 Å; the splitting's own sum ends earlier."""
    graph = graph_of(bulk("NaCl", "rocksalt", cell))
    found = []
    for kernels in KERNELS:
        physics = LongRange(CoulombParameters(12.0))
        physics.use_kernels(kernels)
        charges = torch.tensor([1.0, -1.0], dtype=torch.float64, requires_grad=True)
        shape = graph.cell.clone().requires_grad_()
        energy = physics(graph._replace(cell=shape), charges).sum()
        found.append((energy.detach(), *torch.autograd.grad(energy, [charges, shape])))
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-8)


@pytest.mark.parametrize("kernels", KERNELS)
def test_far_ions_attract_as_points(kernels: str) -> None:
    """NH4+ and Cl- 40 Å apart: their own energies, and k q q / r to the fourth power of r."""
    ammonium = molecule("NH3") + Atoms("H", [[0.0, 0.0, 1.1]])
    chloride = Atoms("Cl", ammonium.positions.mean(axis=0)[None] + [[40.0, 0.0, 0.0]])
    q = torch.tensor([0.0, 0.25, 0.25, 0.25, 0.25], dtype=torch.float64)
    one, physics = torch.ones(1, dtype=torch.float64), both(kernels)
    together = physics(graph_of(ammonium + chloride), torch.cat([q, -one])).sum()
    apart = physics(graph_of(ammonium), q).sum() + physics(graph_of(chloride), -one).sum()
    centre = q.numpy() @ ammonium.positions
    distance = np.linalg.norm(chloride.positions[0] - centre)
    assert abs((together - apart).item() + COULOMB_CONSTANT / distance) < 1e-4


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("numbers", [[], [8], [8, 8]])
def test_few_or_coincident_atoms_give_numbers(numbers: list[int], kernels: str) -> None:
    graph = build_graph(np.zeros((len(numbers), 3)), numbers, 5.0)
    positions = graph.positions.requires_grad_()
    charges = torch.ones(len(numbers), requires_grad=True)
    energies = both(kernels)(graph, charges)
    gradients = torch.autograd.grad(energies.sum(), (positions, charges), create_graph=True)
    more = torch.autograd.grad(sum(x.square().sum() for x in gradients), (positions, charges))
    assert len(energies) == len(numbers)
    assert all(x.isfinite().all() for x in (energies, *gradients, *more))
    assert len(numbers) == 2 or not energies.any()


def test_slabs_are_refused() -> None:
    atoms = molecule("SO2", vacuum=5.0, pbc=[True, True, False])
    with pytest.raises(UserError, match=r"^pbc is \[True, True, False\]"):
        both()(graph_of(atoms), torch.zeros(3))
