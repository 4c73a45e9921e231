"""D3(BJ) against Grimme's program (`dftd3`) and against AIMNet2's own term."""

import math

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk, molecule

from molequi.errors import UserError
from molequi.graphs.neighbors import build_graph
from molequi.nn.physics import DispersionParameters, LongRange, dispersion_parameters
from molequi.nn.physics.d3_table import d3_table
from molequi.nn.physics.dispersion_parameters import FUNCTIONALS

KERNELS = ["reference", "generic"]
# One of every kind of element, noble gases, heavy metals and actinides among them.
HEAVY = Atoms("HeLiBNaMgAlGeKrTiFeCuAgSnTeXeCsLaCeYbWAuPbRnUAm")


def energy(atoms: Atoms, functional: str = "wb97m", kernels: str = "reference") -> float:
    dispersion = LongRange(None, dispersion_parameters(functional))
    dispersion.use_kernels(kernels)
    cell, pbc = atoms.cell.array, atoms.pbc
    return dispersion(build_graph(atoms.positions, atoms.numbers, 1.0, cell=cell, pbc=pbc)).sum()


def dftd3(atoms: Atoms, functional: str = "wb97m", **cutoffs: float) -> float:
    """Return the energy of Grimme's program with the parameters that it knows itself, eV."""
    interface = pytest.importorskip("dftd3.interface")
    box = (atoms.cell.array / units.Bohr, atoms.pbc) if atoms.pbc.any() else ()
    model = interface.DispersionModel(atoms.numbers, atoms.positions / units.Bohr, *box)
    if cutoffs:
        model.set_realspace_cutoff(**cutoffs)
    damping = interface.RationalDampingParam(method=functional, atm=False)
    return model.get_dispersion(damping, grad=False)["energy"] * units.Hartree


@pytest.mark.parametrize("kernels", KERNELS)
def test_energy_is_that_of_dftd3_and_of_aimnet2(golden, kernels: str) -> None:
    dispersion = LongRange(None, dispersion_parameters("wb97m"))
    dispersion.use_kernels(kernels)
    found = dispersion(golden.graph).sum().item()
    assert abs(found - golden.dftd3) < 1e-8
    assert math.isnan(golden.dispersion) or abs(found - golden.dispersion) < 1e-6


@pytest.mark.parametrize("kernels", KERNELS)
def test_every_element(kernels: str) -> None:
    rng = np.random.default_rng(1)
    places = np.argwhere(np.ones((3, 3, 3)))[: len(HEAVY)]
    HEAVY.positions = 2.9 * places + rng.normal(size=(len(HEAVY), 3)) * 0.3
    assert abs(energy(HEAVY, kernels=kernels) - dftd3(HEAVY)) < 1e-6


@pytest.mark.parametrize("functional", FUNCTIONALS)
def test_parameters_are_those_of_the_functional(functional: str) -> None:
    atoms = molecule("CH3SH")
    assert abs(energy(atoms, functional) - dftd3(atoms, functional)) < 1e-9


def test_coordination_far_from_every_reference() -> None:
    """Twelve neighbours, of which the exponentials of all reference systems would underflow."""
    cluster = Atoms("ArH12", np.concatenate([[[0.0, 0.0, 0.0]], _icosahedron()]))
    assert abs(energy(cluster) - dftd3(cluster)) < 1e-6


def _icosahedron() -> np.ndarray:
    golden = 0.5 * (1.0 + math.sqrt(5.0))
    face = [(0.0, a, b * golden) for a in (-1, 1) for b in (-1, 1)]
    return 0.6 * np.array([np.roll(corner, k) for corner in face for k in range(3)])


@pytest.mark.parametrize("kernels", KERNELS)
def test_crystal_is_that_of_dftd3_with_a_far_cutoff(kernels: str) -> None:
    """Beyond 21 Å atoms are taken as even, and 1/r^6 sums of Grimme's program end at 85 Å."""
    atoms = bulk("NaCl", "rocksalt", 5.64)
    found = energy(atoms, kernels=kernels)
    assert abs(found / dftd3(atoms, disp2=160.0, disp3=10.0, cn=40.0) - 1.0) < 3e-5
    assert abs(found / dftd3(atoms) - 1.0) > 1e-3  # its own 32 Å leave out more than that


def test_bodies_far_apart_keep_their_own() -> None:
    near, far = molecule("C6H6"), molecule("CH3SH")
    both = near + Atoms(far.numbers, far.positions + [60.0, 0.0, 0.0])
    assert abs(energy(both) - energy(near) - energy(far)) < 1e-7


def test_functionals_by_any_spelling() -> None:
    assert dispersion_parameters("ωB97M") == DispersionParameters(1.0, 0.3908, 0.566, 3.128)
    assert dispersion_parameters("CAM-B3LYP") == dispersion_parameters("camb3lyp")
    with pytest.raises(UserError, match=r"'b4lyp'; known are b1b95, .*s6, s8, a1 and a2 \(bohr\)"):
        dispersion_parameters("b4lyp")


def test_elements_beyond_the_table_are_refused() -> None:
    with pytest.raises(UserError, match="no parameters for Og, it knows the elements up to Lr"):
        energy(Atoms("OgH", [[0, 0, 0], [0, 0, 2]]))


def test_table_is_symmetric_and_knows_carbon() -> None:
    table = d3_table(torch.device("cpu"))
    torch.testing.assert_close(table.c6, table.c6.permute(1, 0, 3, 2), rtol=0, atol=0)
    # C6 of two carbon atoms of ethane, 18.2 a.u. (J. Chem. Phys. 132, 154104 (2010), section II.C).
    ethane = table.c6[6, 6, 4, 4].item() / (units.Hartree * units.Bohr**6)
    assert abs(ethane - 18.21) < 0.05
