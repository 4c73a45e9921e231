"""The energy between far atoms: Coulomb of given charges, and dispersion."""

from __future__ import annotations

import functools
import math

import torch
from ase import units
from torch import Tensor, nn

from molequi.graphs.graph import AtomGraph
from molequi.kernels import pair_spaces
from molequi.kernels.pair_inputs import COULOMB_CONSTANT, OUTER, Strengths
from molequi.kernels.pairs import Dispersion, PairPhysics, pair_energies
from molequi.nn.physics import dispersion as d3
from molequi.nn.physics import ewald
from molequi.nn.physics.coulomb import CoulombParameters, far_reciprocal, near_part
from molequi.nn.physics.d3_table import d3_table, refuse_unknown_elements
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
        """Choose who computes the pairs: `reference` is plain torch, and so is `auto`.

        Any other name of `kernels.BACKENDS` means the compiled pair kernel, on a CPU.
        """
        self.kernels = "reference" if kernels == "auto" else kernels

    def check_input(self, graph: AtomGraph) -> None:
        """Refuse structures that have no such energy.

        Raises NotComputableError for those that are periodic in one or two directions, and for
        elements that D3 does not know.
        """
        refuse_slabs(graph.pbc)
        if self.dispersion is not None:
            refuse_unknown_elements(graph.atomic_numbers)

    def forward(self, graph: AtomGraph, charges: Tensor | None = None) -> Tensor:
        """Return energies (N,), float64, eV: half of each pair's to each of its atoms.

        charges: (N,), e, needed for Coulomb alone. Raises what `check_input` does.
        """
        if self.coulomb is None:
            charges = None
        elif charges is None:
            raise ValueError("a Coulomb energy needs charges, got None")
        if self.dispersion is not None:
            refuse_unknown_elements(graph.atomic_numbers)
        splits = self._splits(graph)
        if self.kernels != "reference" and graph.positions.device.type == "cpu":
            energies = self._compiled(graph, charges, splits)
        else:
            energies = self._plain(graph, charges, splits)
        if charges is not None:
            for molecule, split in splits.items():
                atoms = (graph.batch == molecule).nonzero()[:, 0]
                cell = graph.cell[molecule]
                waves = ewald.wave_energies(
                    graph.positions[atoms], charges[atoms].to(torch.float64), cell, split
                )
                energies = energies.index_add(0, atoms, waves)
        return energies

    def _splits(self, graph: AtomGraph) -> dict[int, ewald.Splitting]:
        """Say of each crystal how Ewald's sum is split, whose cutoff is that of its pairs."""
        if not bool(graph.pbc.any()):
            return {}
        refuse_slabs(graph.pbc)
        counts = torch.bincount(graph.batch, minlength=graph.n_molecules).tolist()
        volumes = torch.linalg.det(graph.cell.detach()).abs().tolist()
        return {
            molecule: ewald.splitting(counts[molecule], volumes[molecule])
            for molecule in graph.pbc.all(dim=1).nonzero()[:, 0].tolist()
        }

    def _reach(self, split: ewald.Splitting) -> float:
        """Return how far pairs of a crystal go, Å."""
        reach = 0.0 if self.coulomb is None else max(split.cutoff, self.coulomb.damping_radius)
        return reach if self.dispersion is None else max(reach, OUTER)

    def _compiled(
        self, graph: AtomGraph, charges: Tensor | None, splits: dict[int, ewald.Splitting]
    ) -> Tensor:
        """Return the energies of pairs by the compiled kernel."""
        points, batch = graph.positions, graph.batch.numpy()
        if not splits:
            space = pair_spaces.molecules(batch, graph.n_molecules)
        else:
            of_each = [splits.get(molecule) for molecule in range(graph.n_molecules)]
            points = pair_spaces.points(points, graph.cell, graph.batch, graph.pbc.any(dim=1))
            space = pair_spaces.with_crystals(
                batch,
                graph.cell.detach().numpy(),
                [math.inf if split is None else self._reach(split) for split in of_each],
                [0.0 if split is None else split.width for split in of_each],
            )
        physics = _physics(self.coulomb, self.dispersion)
        return pair_energies(points, charges, graph.atomic_numbers.numpy(), space, physics)

    def _plain(
        self, graph: AtomGraph, charges: Tensor | None, splits: dict[int, ewald.Splitting]
    ) -> Tensor:
        """Return the energies of pairs in plain torch."""
        energies = self.of_pairs(graph.atomic_numbers, charges, molecular_pairs(graph))
        for molecule, split in splits.items():
            atoms = (graph.batch == molecule).nonzero()[:, 0]
            of_crystal = self.of_pairs(
                graph.atomic_numbers[atoms],
                None if charges is None else charges[atoms],
                image_pairs(graph.positions[atoms], graph.cell[molecule], self._reach(split)),
                (split, torch.linalg.det(graph.cell[molecule]).abs()),
            )
            energies = energies.index_add(0, atoms, of_crystal)
        return energies

    def of_pairs(
        self,
        numbers: Tensor,
        charges: Tensor | None,
        pairs: AtomPairs,
        crystal: tuple[ewald.Splitting, Tensor] | None = None,
    ) -> Tensor:
        """Return what pairs give their atoms: (N,), eV; crystal: its splitting and volume, Å³."""
        energies = pairs.distances.new_zeros(numbers.shape[0])
        if self.coulomb is not None and charges is not None:
            reciprocal = far_reciprocal(pairs.distances, self.coulomb.damping_radius)
            if crystal is not None:
                near = near_part(pairs.distances, self.coulomb.damping_radius) / pairs.distances
                reciprocal = ewald.near_reciprocal(pairs.distances, crystal[0]) - near
            q = charges.to(torch.float64)
            products = q.index_select(0, pairs.first) * q.index_select(0, pairs.second)
            energies = pairs.halves(COULOMB_CONSTANT * products * reciprocal, numbers.shape[0])
        if self.dispersion is not None:
            energies = energies + d3.dispersion_energies(
                numbers, pairs, self.dispersion, None if crystal is None else crystal[1]
            )
        return energies


@functools.lru_cache
def _physics(
    coulomb: CoulombParameters | None, dispersion: DispersionParameters | None
) -> PairPhysics:
    """Return what the compiled kernel needs to know; models that are copied share the tables."""
    radius = 0.0 if coulomb is None else coulomb.damping_radius
    if dispersion is None:
        return PairPhysics(Strengths(radius, 0.0, 0.0, 0.0, 0.0), None)
    table = (values.numpy() for values in d3_table(torch.device("cpu")))
    return PairPhysics(
        Strengths(radius, dispersion.s6, dispersion.s8, *d3.tail_integrals()),
        Dispersion(dispersion.a1, dispersion.a2 * units.Bohr, *table),
    )
