"""A model as a function of plain tensors, without a branch on what they hold.

So it can be traced, and a program without Python runs what was traced. One structure at a time;
what depends on the values of tensors comes in as arguments: the edges, all pairs of atoms whose
far energy counts, the waves of Ewald's sum. Open and periodic structures are two functions.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from molequi.errors import UserError
from molequi.graphs.graph import AtomGraph, make_graph
from molequi.graphs.neighbors import neighbor_pairs
from molequi.kernels.pair_inputs import LAST, OUTER
from molequi.models.ensemble import Ensemble
from molequi.models.molecular import MolecularModel
from molequi.models.outputs import with_terms
from molequi.models.physics import NO_PHYSICS
from molequi.nn.physics import ewald
from molequi.nn.physics.dispersion import tail_integrals
from molequi.nn.physics.image_pairs import AtomPairs, lengths
from molequi.nn.weight_tables import freeze_tables

# Å, to which pairs of a crystal go where there is no dispersion, which needs more.
_COULOMB_REACH = 12.0


class Arguments(NamedTuple):
    """What describes one structure: Å, float64, and int64.

    positions: (N, 3). numbers: (N,). edges: (2, E), senders and receivers, and shifts: (E, 3), of
    all pairs closer than the cutoff, both ways. cell: (3, 3), rows are vectors, zero for an open
    structure. pairs: (2, P) and pair_shifts: (P, 3), of all pairs of an open structure, or of those
    of a crystal closer than `far_reach`, each once. waves: (K, 3), whole numbers.
    """

    positions: Tensor
    numbers: Tensor
    edges: Tensor
    shifts: Tensor
    cell: Tensor
    pairs: Tensor
    pair_shifts: Tensor
    waves: Tensor


def far_reach(model: MolecularModel) -> float:
    """Return how far pairs of a crystal must go, Å; 0 for a model without far energies."""
    if model.physics.dispersion is not None:
        return OUTER
    return _COULOMB_REACH if model.physics.coulomb else 0.0


def longest_wave(model: MolecularModel) -> float:
    """Return the largest 2 pi |n / cell| of the waves, 1/Å; 0 where there are none."""
    return _splitting(model).wave if model.physics.coulomb else 0.0


def _splitting(model: MolecularModel) -> ewald.Splitting:
    """Return where Ewald's sum is split; its value does not depend on that."""
    reach = far_reach(model)
    return ewald.Splitting(LAST / reach, reach, 2.0 * LAST * LAST / reach)


class OneStructure(nn.Module):
    """Energies of atoms (N,), eV, charges (N,), e, and the dipole (3,), e·Å, of one structure.

    The whole energy, far terms and all, in plain torch. Charges and dipoles that a model does not
    have are zero, and so is the dipole of a periodic structure. total_charge: e.
    Nothing is refused here: unknown elements and untrained charges give numbers without meaning.
    """

    def __init__(self, model: MolecularModel, *, is_periodic: bool, total_charge: int = 0) -> None:
        super().__init__()
        model = copy.deepcopy(model).eval().requires_grad_(False)
        model.use_kernels("reference")
        freeze_tables(model)
        tail_integrals()  # kept numbers of numpy, which tracers would not run
        self.is_periodic = is_periodic
        self.split = _splitting(model) if model.physics.coulomb else None
        self.terms = model.terms
        model.set_physics(dataclasses.replace(NO_PHYSICS, charges=model.physics.charges))
        self.model = model
        flags = (torch.ones if is_periodic else torch.zeros)(1, 3, dtype=torch.bool)
        self.register_buffer("pbc", flags, persistent=False)
        self.register_buffer("charge", torch.tensor([total_charge]), persistent=False)

    pbc: Tensor
    charge: Tensor

    def forward(self, *tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute; tensors: those of `Arguments`, one after the other."""
        given = Arguments(*tensors)
        graph = self._graph(given)
        outputs, molecules = self.model.learned_outputs(graph)
        outputs = with_terms(outputs, graph, molecules, None)
        energies, none = outputs["energies"], torch.zeros_like(outputs["energies"])
        charges = none
        if molecules.charges is not None:
            charges = molecules.charges.values
        elif "charges" in outputs:
            charges = outputs["charges"].to(torch.float64)
        if self.terms is not None:
            energies = energies + self._far(given, graph, charges)
        has_dipole = "dipole" in outputs and not self.is_periodic
        dipole = outputs["dipole"][0] if has_dipole else none.new_zeros(3)
        return energies, charges, dipole

    def _graph(self, given: Arguments) -> AtomGraph:
        """Make the graph, edges sorted by receiver."""
        order = torch.argsort(given.edges[1], stable=True)
        edges = given.edges.index_select(1, order)
        counts = torch.zeros_like(given.numbers).index_add(0, edges[1], torch.ones_like(edges[1]))
        return AtomGraph(
            given.positions,
            given.numbers,
            edges,
            given.shifts.index_select(0, order),
            given.cell[None],
            self.pbc,
            torch.zeros_like(given.numbers),
            self.charge,
            torch.ones_like(self.charge),
            torch.cat([torch.zeros_like(self.charge), counts.cumsum(0)]),
            torch.argsort(edges[0], stable=True),
        )

    def _far(self, given: Arguments, graph: AtomGraph, charges: Tensor) -> Tensor:
        """Return what the terms give the atoms: (N,), eV."""
        terms, far = self.terms, torch.zeros_like(charges)
        if terms is None:
            return far
        if terms.repulsion is not None:
            far = far + terms.repulsion(graph)
        if terms.long_range is None:
            return far
        first, second = given.pairs[0], given.pairs[1]
        x = given.positions
        vectors = x.index_select(0, second) - x.index_select(0, first)
        crystal = None
        if self.is_periodic:
            vectors = vectors + given.pair_shifts.to(x.dtype) @ given.cell
            split = self.split or ewald.Splitting(1.0, OUTER, 0.0)  # not used without charges
            crystal = split, torch.linalg.det(given.cell).abs()
        pairs = AtomPairs(first, second, lengths(vectors))
        far = far + terms.long_range.of_pairs(given.numbers, charges, pairs, crystal)
        if self.is_periodic and self.split is not None:
            waves = given.waves.to(x.dtype)
            far = far + ewald.energies_of_waves(x, charges, given.cell, self.split, waves)
        return far


def refuse_export(model: MolecularModel, *, total_charge: int | None = None) -> None:
    """Refuse a model that cannot stand alone, or not for this total charge, e, where one is given.

    Raises UserError that says why.
    """
    name = model.metadata.name
    if "energy" not in model.outputs:
        raise UserError(
            f"model {name} has no energy to export; it gives {', '.join(model.outputs)}"
        )
    if isinstance(model, Ensemble):
        raise UserError(
            f"model {name} is an ensemble of {model.n_members}, of which one can be exported at a "
            "time: give a member of its run, such as RUN/member_1"
        )
    obstacle = model.capabilities.no_forces_reason
    if obstacle is not None:
        raise UserError(f"model {name} cannot be exported: it has no continuous forces: {obstacle}")
    known = sorted({charge for charge, _ in model.metadata.charge_multiplicity})
    if total_charge is not None and total_charge not in known:
        raise UserError(
            f"model {name} was trained for total charges {', '.join(map(str, known))}, not for "
            f"{total_charge}; export it for one of these"
        )


def example(model: MolecularModel, n_atoms: int, seed: int, *, is_periodic: bool) -> Arguments:
    """Make up a structure of all elements of a model, for tracing and for comparison."""
    rng, side = np.random.default_rng(seed), 2.2 * n_atoms ** (1 / 3)
    grid = np.stack(np.meshgrid(*[np.arange(math.ceil(n_atoms ** (1 / 3)))] * 3), -1).reshape(-1, 3)
    positions = 2.2 * grid[:n_atoms] + rng.uniform(-0.2, 0.2, (n_atoms, 3))
    cell = np.diag([side + 1.0, side + 2.0, side + 3.0]) + 0.3 * np.tri(3, k=-1)
    return arguments(
        model, positions, np.resize(model.elements, n_atoms), cell if is_periodic else None
    )


def arguments(
    model: MolecularModel, positions: np.ndarray, numbers: np.ndarray, cell: np.ndarray | None
) -> Arguments:
    """Describe one structure; positions: (N, 3), cell: (3, 3), Å, or none of an open one."""
    pbc = np.full(3, cell is not None)
    near = neighbor_pairs(positions, model.cutoff, cell=cell, pbc=pbc)
    if cell is None:
        pairs = np.stack(np.triu_indices(len(positions), 1))
        pair_shifts, box = np.zeros((pairs.shape[1], 3), dtype=np.int64), np.zeros((3, 3))
    else:
        far = neighbor_pairs(positions, max(far_reach(model), model.cutoff), cell=cell, pbc=pbc)
        # From the receiver to the sender, as edge vectors point.
        pairs, pair_shifts = _once(far.edge_index[::-1], far.shifts)
        box = cell
    waves = wave_counts(torch.tensor(box), longest_wave(model))
    return Arguments(
        torch.tensor(positions),
        torch.tensor(numbers),
        torch.tensor(near.edge_index),
        torch.tensor(near.shifts),
        torch.tensor(box),
        torch.tensor(np.ascontiguousarray(pairs)),
        torch.tensor(pair_shifts),
        waves,
    )


def _once(pairs: np.ndarray, shifts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keep one of the two directions of every pair."""
    ahead = [tuple(shift) > (0, 0, 0) for shift in shifts.tolist()]
    kept = (pairs[0] < pairs[1]) | ((pairs[0] == pairs[1]) & np.array(ahead, dtype=bool))
    return pairs[:, kept], shifts[kept]


def wave_counts(cell: Tensor, longest: float) -> Tensor:
    """Return whole numbers (K, 3) of the waves up to a length, 1/Å, one of each G and -G, not 0.

    cell: (3, 3), Å. TorchScript takes this function.
    """
    if longest <= 0.0 or float(cell.abs().max()) == 0.0:
        return torch.zeros(0, 3, dtype=torch.int64, device=cell.device)
    most = torch.floor(longest * cell.square().sum(dim=1).sqrt() / (2.0 * math.pi)).to(torch.int64)
    a, b, c = int(most[0]), int(most[1]), int(most[2])
    grid = torch.cartesian_prod(
        torch.arange(-a, a + 1), torch.arange(-b, b + 1), torch.arange(-c, c + 1)
    ).to(cell.device)
    half = grid[grid.shape[0] // 2 + 1 :]
    waves = 2.0 * math.pi * half.to(cell.dtype) @ torch.linalg.inv(cell).T
    return half[waves.square().sum(dim=1) <= longest**2]


def slope(function: Callable[..., tuple[Tensor, Tensor, Tensor]], given: Arguments) -> Tensor:
    """Return the forces (N, 3), eV/Å, of a function like `OneStructure`."""
    positions = given.positions.detach().requires_grad_(True)
    energies, _, _ = function(*given._replace(positions=positions))
    return -torch.autograd.grad(energies.sum(), positions)[0]


# eV/Å, by which forces may differ: what rounding makes of the largest sums.
_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-7}


def refuse_difference(
    model: MolecularModel,
    forces_of: Callable[[Arguments], Tensor],
    *,
    is_periodic: bool,
    total_charge: int,
) -> None:
    """Compare the forces of an exported function with the model's, on another number of atoms.

    Raises UserError where forces differ, which a branch on values that was traced may do.
    """
    given = example(model, 23, 1, is_periodic=is_periodic)
    graph = make_graph(
        given.positions,
        given.numbers,
        given.edges,
        shifts=given.shifts,
        cell=given.cell[None],
        pbc=torch.full((1, 3), is_periodic),
        total_charge=torch.tensor([total_charge]),
    )
    expected = model.compute(graph, forces=True)["forces"]
    forces = forces_of(given)
    worst, limit = float((forces - expected).abs().max()), _TOLERANCE[model.dtype]
    if not worst <= limit:
        kind = "periodic" if is_periodic else "open"
        raise UserError(
            f"model {model.metadata.name} cannot be exported: its forces on an {kind} structure "
            f"change by {worst:.1e} eV/Å, more than {limit:g}"
        )
