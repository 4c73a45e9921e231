"""What the teacher lacks of its dispersion, to be added to its labels.

AIMNet2's module of D3 gives an atom no C6 where its weights of all reference systems add up to less
than 1e-5: where the coordination number is far from them all, as of S in sulfones and sulfonamides,
of S in SF6 or of Cl in perchlorate. D3 normalises the weights there (Grimme et al., J. Chem. Phys.
132, 154104 (2010), eq. 16). The networks were not trained to make up for it: beside PySCF at the
same level the teacher's energies are too high by 0.09 (SF6), 0.19 (perchlorate) and 0.13 eV
(methanesulfonyl fluoride), of which this is 0.14, 0.08 and 0.12 eV.
"""

import numpy as np
import torch

from molequi.graphs.graph import AtomGraph, make_graph
from molequi.nn.physics import dispersion_parameters
from molequi.nn.physics.d3_table import d3_table
from molequi.nn.physics.dispersion import WIDTH, coordination_numbers, mixed_c6, pair_energies
from molequi.nn.physics.image_pairs import AtomPairs, molecular_pairs

LEAST_WEIGHT = 1e-5
_NO_EDGES = torch.zeros(2, 0, dtype=torch.int64)
_FRAMES_PER_BATCH = 64


def is_lost(numbers: torch.Tensor, coordination: torch.Tensor) -> torch.Tensor:
    """Tell which atoms (N,) have no C6 in the teacher."""
    references = d3_table(numbers.device).coordination[numbers]
    weights = torch.exp(-WIDTH * (coordination[:, None] - references).square())
    return (weights * (references >= 0)).sum(dim=1) < LEAST_WEIGHT


def missing_energies(graph: AtomGraph) -> torch.Tensor:
    """Return the dispersion energy of the pairs with a lost atom: (B,), eV, differentiable."""
    numbers, pairs = graph.atomic_numbers, molecular_pairs(graph)
    coordination = coordination_numbers(numbers, pairs)
    lost = is_lost(numbers, coordination.detach())
    chosen = lost[pairs.first] | lost[pairs.second]
    pairs = AtomPairs(*(part[chosen] for part in pairs))
    energies = pair_energies(mixed_c6(numbers, coordination), pairs, dispersion_parameters("wb97m"))
    sums = energies.new_zeros(graph.n_molecules)
    return sums.index_add(0, graph.batch[pairs.first], energies)


def complete(arrays: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], int]:
    """Add what is missing to `energy`, `forces` and `alone`; returns also the number of frames."""
    energies, forces = missing(arrays["z"], arrays["pos"], arrays["n_atoms"])
    changed = {"energy": arrays["energy"] + energies, "forces": arrays["forces"] + forces}
    if "alone" in arrays:
        changed["alone"] = arrays["alone"] + missing_alone(arrays)
    return arrays | changed, int((energies != 0.0).sum())


def missing_alone(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Return what the teacher lacks of the molecules of complexes, each alone: (B,), eV."""
    frame = np.repeat(np.arange(len(arrays["n_atoms"])), arrays["n_atoms"])
    atoms = np.flatnonzero(~np.isnan(arrays["alone"])[frame])
    # The atoms of a molecule follow each other.
    owner = np.column_stack([frame[atoms], arrays["pieces"][atoms, 0]])
    first = np.flatnonzero(np.diff(owner, axis=0, prepend=-1.0).any(axis=1))
    counts = np.diff(first, append=len(atoms))
    energies, _ = missing(arrays["z"][atoms], arrays["pos"][atoms], counts)
    return np.bincount(frame[atoms][first], weights=energies, minlength=len(arrays["n_atoms"]))


def missing(z: np.ndarray, pos: np.ndarray, n_atoms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the energies (B,), eV, and forces (A, 3), eV/Å, that the teacher lacks."""
    counts = torch.from_numpy(n_atoms.astype(np.int64))
    energies, forces = [], []
    begin = 0
    for part in counts.split(_FRAMES_PER_BATCH):
        atoms = slice(begin, begin := begin + int(part.sum()))
        positions = torch.from_numpy(pos[atoms].astype(np.float64)).requires_grad_(True)
        numbers = torch.from_numpy(z[atoms].astype(np.int64))
        batch = torch.arange(len(part)).repeat_interleave(part)
        graph = make_graph(positions, numbers, _NO_EDGES, batch=batch)
        values = missing_energies(graph)
        (gradient,) = torch.autograd.grad(values.sum(), positions)
        energies.append(values.detach())
        forces.append(-gradient)
    return torch.cat(energies).numpy(), torch.cat(forces).numpy()
