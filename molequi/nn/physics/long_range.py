"""The energy between far atoms: Coulomb of given charges, and dispersion."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from molequi.graphs.graph import AtomGraph
from molequi.nn.physics import dispersion, ewald
from molequi.nn.physics.coulomb import (
    COULOMB_CONSTANT,
    CoulombParameters,
    far_reciprocal,
    near_part,
)
from molequi.nn.physics.d3_table import refuse_unknown_elements
from molequi.nn.physics.dispersion_parameters import DispersionParameters
from molequi.nn.physics.image_pairs import AtomPairs, image_pairs, molecular_pairs, refuse_slabs


class LongRange(nn.Module):
    """Damped Coulomb energy of atomic charges and D3(BJ), each where its parameters are given.

    E = k sum_(i<j) (1 - fc(r)) q_i q_j / r - sum_(i<j) C6_ij [...], over all pairs of a molecule
    (`coulomb`, `dispersion`). In a crystal Ewald's sum of all images takes the place of the first,
    less the near parts fc, and the second is summed within 21 Å and estimated beyond.
    It has no weights. Differentiable twice in positions, cell and charges.
    """

    def __init__(
        self,
        coulomb: CoulombParameters | None = None,
        dispersion: DispersionParameters | None = None,
    ) -> None:
        super().__init__()
        self.coulomb, self.dispersion = coulomb, dispersion
        self.kernels = "reference"

    def use_kernels(self, kernels: str) -> None:
        """Choose who computes the pairs of molecules: `reference` is plain torch.

        Any other name of `kernels.BACKENDS` means the compiled pair kernel, on a CPU.
        """
        self.kernels = kernels

    def forward(self, graph: AtomGraph, charges: Tensor | None = None) -> Tensor:
        """Return energies (N,), float64, eV: half of each pair's to each of its atoms.

        charges: (N,), e, needed for Coulomb alone. Raises UserError for structures that are
        periodic in one or two directions, and for elements that D3 does not know.
        """
        if self.coulomb is None:
            charges = graph.positions.new_zeros(graph.n_atoms)
        elif charges is None:
            raise ValueError("a Coulomb energy needs charges, got None")
        charges = charges.to(torch.float64)
        if self.dispersion is not None:
            refuse_unknown_elements(graph.atomic_numbers)
        energies = self._of_molecules(graph, charges)
        if bool(graph.pbc.any()):
            refuse_slabs(graph.pbc)
            for molecule in graph.pbc.all(dim=1).nonzero()[:, 0].tolist():
                energies = energies + self._of_crystal(graph, charges, molecule)
        return energies

    def _of_molecules(self, graph: AtomGraph, charges: Tensor) -> Tensor:
        pairs = molecular_pairs(graph)
        energies = graph.positions.new_zeros(graph.n_atoms)
        if self.coulomb is not None:
            far = far_reciprocal(pairs.distances, self.coulomb.damping_radius)
            energies = energies + pairs.halves(_coulomb(charges, pairs, far), graph.n_atoms)
        if self.dispersion is not None:
            energies = energies + dispersion.molecular_dispersion(
                graph.atomic_numbers, pairs, self.dispersion
            )
        return energies

    def _of_crystal(self, graph: AtomGraph, charges: Tensor, molecule: int) -> Tensor:
        """Return the energies of one periodic structure, zero for the atoms of the others."""
        atoms = (graph.batch == molecule).nonzero()[:, 0]
        positions, cell = graph.positions[atoms], graph.cell[molecule]
        volume = torch.linalg.det(cell).abs()
        split = ewald.splitting(len(atoms), volume.item())
        reach = [0.0]
        if self.coulomb is not None:
            reach += [split.cutoff, self.coulomb.damping_radius]
        if self.dispersion is not None:
            reach.append(dispersion.OUTER)
        pairs = image_pairs(positions, cell, max(reach))
        energies = torch.zeros_like(positions[:, 0])
        if self.coulomb is not None:
            near = near_part(pairs.distances, self.coulomb.damping_radius) / pairs.distances
            energies = ewald.ewald_energies(positions, charges[atoms], cell, pairs, split)
            energies = energies - pairs.halves(_coulomb(charges[atoms], pairs, near), len(atoms))
        if self.dispersion is not None:
            energies = energies + dispersion.periodic_dispersion(
                graph.atomic_numbers[atoms], pairs.within(dispersion.OUTER), volume, self.dispersion
            )
        return graph.positions.new_zeros(graph.n_atoms).index_add(0, atoms, energies)


def _coulomb(charges: Tensor, pairs: AtomPairs, reciprocal: Tensor) -> Tensor:
    """Return k q_i q_j times what stands for 1 / r: (P,), eV."""
    first, second = charges.index_select(0, pairs.first), charges.index_select(0, pairs.second)
    return COULOMB_CONSTANT * first * second * reciprocal
