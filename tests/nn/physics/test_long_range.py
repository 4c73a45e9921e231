"""The energy between far atoms: conservative, additive, and of the pairs of each molecule alone."""

from __future__ import annotations

import pytest
import torch
from ase.build import bulk, molecule
from torch import Tensor

from molequi.errors import UserError
from molequi.graphs.graph import AtomGraph, collate
from molequi.graphs.neighbors import build_graph
from molequi.nn.physics import CoulombParameters, LongRange, dispersion_parameters

BOTH = LongRange(CoulombParameters(), dispersion_parameters("wb97m"))


def graph_of(atoms) -> AtomGraph:
    return build_graph(atoms.positions, atoms.numbers, 5.0, cell=atoms.cell.array, pbc=atoms.pbc)


def charges_of(graph: AtomGraph) -> Tensor:
    return 0.4 * torch.sin(torch.arange(graph.n_atoms, dtype=torch.float64) + 0.3)


def crystal():
    atoms = bulk("NaCl", "rocksalt", 5.64) * (2, 1, 1)
    atoms.rattle(0.1, seed=3)
    return atoms


@pytest.mark.parametrize("atoms", [molecule("CH3SH"), crystal()], ids=["molecule", "crystal"])
def test_derivatives_are_those_of_the_energy(atoms) -> None:
    graph = graph_of(atoms)

    def energies(positions: Tensor, charges: Tensor, cell: Tensor) -> Tensor:
        return BOTH(graph._replace(positions=positions, cell=cell), charges)

    inputs = [x.clone().requires_grad_() for x in (graph.positions, charges_of(graph), graph.cell)]
    assert torch.autograd.gradcheck(energies, inputs, eps=1e-5, atol=1e-7)
    assert torch.autograd.gradgradcheck(energies, inputs, eps=1e-5, atol=1e-6)


def test_batch_equals_singles() -> None:
    graphs = [
        graph_of(atoms) for atoms in (molecule("CH3SH"), crystal(), molecule("H"), molecule("SO2"))
    ]
    joined = BOTH(collate(graphs), torch.cat([charges_of(graph) for graph in graphs]))
    alone = torch.cat([BOTH(graph, charges_of(graph)) for graph in graphs])
    torch.testing.assert_close(joined, alone, rtol=0, atol=1e-12)


def test_slabs_are_refused() -> None:
    atoms = molecule("SO2", vacuum=5.0, pbc=[True, True, False])
    with pytest.raises(UserError, match=r"structure 0 has pbc \[True, True, False\]"):
        BOTH(graph_of(atoms), torch.zeros(3))
