"""Ewald's sum against Madelung's constants, and against its own splitting."""

import numpy as np
import pytest
import torch
from ase.build import bulk

from molequi.graphs.neighbors import build_graph
from molequi.kernels.pair_inputs import COULOMB_CONSTANT
from molequi.nn.physics import CoulombParameters, LongRange, ewald
from molequi.nn.physics.image_pairs import image_pairs

# Energy of an ion pair in units of k / nearest distance: Y. Sakamoto, J. Chem. Phys. 28, 164 (1958)
# for NaCl and CsCl; of ZnS, Borwein et al., Lattice Sums Then and Now (2013).
CRYSTALS = {
    "NaCl": (bulk("NaCl", "rocksalt", 5.64), 5.64 / 2.0, 1.747564594633182),
    "CsCl": (bulk("CsCl", "cesiumchloride", 4.12), 4.12 * 3**0.5 / 2.0, 1.762674773070988),
    "ZnS": (bulk("ZnS", "zincblende", 5.41), 5.41 * 3**0.5 / 4.0, 1.638055053388789),
}
# Nothing is nearer, so nothing is damped.
UNDAMPED = CoulombParameters(damping_radius=1e-3)
KERNELS = ["reference", "generic"]


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("name", CRYSTALS)
def test_madelung(name: str, kernels: str) -> None:
    atoms, nearest, constant = CRYSTALS[name]
    graph = build_graph(atoms.positions, atoms.numbers, 1.0, cell=atoms.cell.array, pbc=atoms.pbc)
    coulomb = LongRange(UNDAMPED)
    coulomb.use_kernels(kernels)
    energy = coulomb(graph, torch.tensor([1.0, -1.0])).sum().item()
    assert abs(energy * nearest / (-COULOMB_CONSTANT * constant) - 1.0) < 1e-8


def test_a_very_skewed_cell_is_the_same_crystal() -> None:
    """Its long vectors asked for more waves than there is memory."""
    atoms, nearest, constant = CRYSTALS["NaCl"]
    skew = np.array([[1, 0, 0], [300, 1, 0], [-50, 700, 1]])
    graph = build_graph(
        atoms.positions, atoms.numbers, 1.0, cell=skew @ atoms.cell.array, pbc=atoms.pbc
    )
    energy = LongRange(UNDAMPED)(graph, torch.tensor([1.0, -1.0])).sum().item()
    assert abs(energy * nearest / (-COULOMB_CONSTANT * constant) - 1.0) < 1e-8


@pytest.mark.parametrize("total", [0.0, 1.5])
def test_splitting_does_not_matter(total: float) -> None:
    rng = np.random.default_rng(4)
    cell = torch.tensor([[5.0, 0.3, 0.0], [-1.0, 6.0, 0.5], [0.7, 0.2, 4.0]], dtype=torch.float64)
    positions = torch.tensor(rng.uniform(-4.0, 9.0, (5, 3)))
    charges = torch.tensor(rng.normal(size=5))
    charges += total / 5 - charges.mean()

    def energies(width: float) -> torch.Tensor:
        split = ewald.Splitting(width, 5.3 / width, 10.6 * width)
        pairs = image_pairs(positions, cell, split.cutoff)
        products = charges[pairs.first] * charges[pairs.second] * COULOMB_CONSTANT
        near = pairs.halves(products * ewald.near_reciprocal(pairs.distances, split), 5)
        return near + ewald.wave_energies(positions, charges, cell, split)

    torch.testing.assert_close(energies(0.3), energies(0.8), rtol=0, atol=1e-10)


@pytest.mark.parametrize("kernels", KERNELS)
def test_damping_takes_away_the_near_parts(kernels: str) -> None:
    """With the radius between the first and second neighbours of NaCl: six pairs, two of an ion."""
    atoms, nearest, constant = CRYSTALS["NaCl"]
    graph = build_graph(atoms.positions, atoms.numbers, 1.0, cell=atoms.cell.array, pbc=atoms.pbc)
    coulomb = LongRange(CoulombParameters(damping_radius=3.5))
    coulomb.use_kernels(kernels)
    energy = coulomb(graph, torch.tensor([1.0, -1.0])).sum().item()
    near = np.exp(1.0 - 1.0 / (1.0 - (nearest / 3.5) ** 2))
    expected = -COULOMB_CONSTANT / nearest * (constant - 6.0 * near)
    assert abs(energy / expected - 1.0) < 1e-8


def test_large_box_is_a_molecule() -> None:
    """A neutral molecule without a dipole feels its images with the fifth power of the box."""
    positions = [[0.0, 0.0, -1.2], [0.0, 0.0, 0.0], [0.0, 0.0, 1.2]]
    charges = torch.tensor([-0.3, 0.6, -0.3], dtype=torch.float64)
    coulomb = LongRange(CoulombParameters())
    alone = coulomb(build_graph(positions, [8, 6, 8], 1.0), charges).sum()
    boxes = [
        coulomb(
            build_graph(positions, [8, 6, 8], 1.0, cell=size * np.eye(3), pbc=[True] * 3), charges
        ).sum()
        for size in (15.0, 30.0)
    ]
    shifts = [(box - alone).abs().item() for box in boxes]
    assert shifts[1] < 1e-4
    assert shifts[0] / shifts[1] == pytest.approx(32.0, rel=0.05)
