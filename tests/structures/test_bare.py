"""Missing hydrogens told from what has none, and added by distances alone."""

from __future__ import annotations

import ase
import numpy as np
import pytest
from ase.build import bulk, graphene, molecule, nanotube
from ase.collections import g2
from rdkit import Chem

from molequi.errors import UserError
from molequi.runtime.resources import data_path
from molequi.structures.bare import openness
from molequi.structures.hydrogens import with_hydrogens
from molequi.structures.molecules import atoms_from_smiles

# One sign alone, or two carbons alone, are no proof: CCl2 and CF2 are carbenes.
UNTOLD = {"HCCl3", "HCF3", "CH3CN", "H2CCl2", "H2CF2", "C3H4_D2d", "C3H4_C3v", "2-butyne", "H2CCO"}
# What has no hydrogen on a carbon and is whole.
WHOLE = """O=C=S N#CC#N ClC(Cl)(Cl)Cl FC(F)=C(F)F BrC#CBr FC(F)(F)C#N IC(I)(I)I IC(I)=C(I)I
O=C=C=C=O FC(F)(F)C(F)(F)F ClC1=C(Cl)C(Cl)=C(Cl)C(Cl)=C1Cl O=C1C(=O)C(=O)C1=O O=C(Cl)Cl
[O-]C(=O)C(=O)[O-] FC(F)(F)C(=O)O F[C](F)C(F)(F)F [O-]C(=O)C(F)(F)F O=[N+]([O-])C(Cl)(Cl)Cl
FC(F)(F)SC(F)(F)F NC(=O)N NC(=N)N OC(=O)C(=O)O NC#N O=C1NC(=O)C(=O)N1 N#C[N-]C#N
N#CC(C#N)=C(C#N)C#N S=C=S [C-]#[O+] [O-]C(=O)[O-] O=C=NC(=O)C(Cl)(Cl)Cl""".split()
# Molecules whose hydrogens come back.
COMPLETED = """CC(=O)Oc1ccccc1C(=O)O CN1C=NC2=C1C(=O)N(C)C(=O)N2C NC(Cc1c[nH]c2ccccc12)C(=O)O
OCC1OC(O)C(O)C(O)C1O CS(=O)(=O)Nc1ccc(cc1)[N+](=O)[O-] Nc1ncnc2[nH]cnc12 c1ccsc1 CSC NCC(=O)O
N=C(N)NCCCC(N)C(=O)O O=c1cc[nH]cc1 c1cc[nH]c1 C[N+](C)(C)CC=O O=C=CC CC(=O)C C=CC=C CN=C=O
CCP(=O)(O)O c1cnoc1 CN=NC CC#CC""".split()


def stripped(atoms: ase.Atoms) -> ase.Atoms:
    left = atoms.copy()
    del left[left.numbers == 1]
    return left


def test_no_molecule_of_g2_is_refused() -> None:
    assert [name for name in g2.names if openness(molecule(name)).n_carbons] == []


def test_molecules_of_g2_without_their_hydrogens_are() -> None:
    left = {name: stripped(molecule(name)) for name in g2.names if 1 in molecule(name).numbers}
    left = {name: bare for name, bare in left.items() if 6 in bare.numbers and len(bare) > 2}
    untold = {name for name, bare in left.items() if not openness(bare).is_certain}
    assert (len(left), untold) == (60, UNTOLD)


@pytest.mark.parametrize("smiles", WHOLE)
def test_whole_molecules_without_hydrogen_on_carbon(smiles: str) -> None:
    assert not openness(atoms_from_smiles(smiles)).is_certain


def chain(symbols: str, *distances: float) -> ase.Atoms:
    return ase.Atoms(symbols, [[0, 0, z] for z in np.cumsum([0.0, *distances])])


def bent(symbol: str, length: float, angle: float) -> ase.Atoms:
    half = np.radians(angle / 2)
    x, z = length * np.sin(half), length * np.cos(half)
    return ase.Atoms(f"C{symbol}2", [[0, 0, 0], [x, 0, z], [-x, 0, z]])


@pytest.mark.parametrize(
    "atoms",
    [
        ase.Atoms("C"),
        *(chain("C2", length) for length in (1.0, 1.24, 1.4, 1.6)),
        *(chain("CO", length) for length in (1.0, 1.13, 1.3, 1.6)),
        *(chain(f"C{other}", length) for other, length in (("N", 1.17), ("S", 1.53), ("F", 1.27))),
        chain("C3", 1.295, 1.295),
        chain("C4", 1.31, 1.29, 1.31),
        chain("CCO", 1.37, 1.16),
        bent("F", 1.30, 104.9),  # carbenes
        bent("Cl", 1.716, 109.2),
        bent("O", 1.23, 138.0),  # CO2 with an electron more
        molecule("C60"),
        bulk("C"),
    ],
)
def test_carbon_and_fragments_are_what_they_are(atoms: ase.Atoms) -> None:
    assert not openness(atoms).is_certain


def test_graphite_has_edges() -> None:
    flake, tube = graphene(size=(4, 4, 1)), nanotube(6, 0, length=4)
    for atoms in (flake, tube):
        assert openness(atoms).n_carbons == 0
        atoms.pbc = False
        assert openness(atoms).n_carbons > 0
        assert not openness(atoms).is_certain


def test_polar_hydrogens_alone_are_not_enough() -> None:
    alanine = atoms_from_smiles("CC(N)C(=O)OC")
    carbons = alanine.positions[alanine.numbers == 6]
    distances = np.linalg.norm(alanine.positions[:, None] - carbons, axis=2).min(axis=1)
    del alanine[(alanine.numbers == 1) & (distances < 1.2)]
    assert (alanine.numbers == 1).sum() == 2
    assert openness(alanine).is_certain


@pytest.mark.parametrize("smiles", COMPLETED)
def test_hydrogens_come_back(smiles: str) -> None:
    whole = atoms_from_smiles(smiles)
    found = with_hydrogens(stripped(whole))
    assert found.get_chemical_formula() == whole.get_chemical_formula()
    told = found.info["geometry"].rpartition(": ")[2]
    assert Chem.CanonSmiles(told) == Chem.CanonSmiles(smiles)
    heavy = whole.numbers != 1
    assert np.array_equal(found.positions[: heavy.sum()], whole.positions[heavy])


def test_hydrogens_of_molecules_computed_by_density_functionals() -> None:
    """Of QM9, every hundredth: the composition comes back, in at least 29 of 30."""
    with np.load(data_path("samples/qm9_sample.npz")) as data:
        ends = np.cumsum(data["n_atoms"])
        numbers, positions = data["z"], data["pos"]
    right = 0
    for index in range(50, 3000, 100):
        rows = slice(ends[index - 1], ends[index])
        whole = ase.Atoms(numbers=numbers[rows], positions=positions[rows])
        assert openness(whole).n_carbons == 0
        bare = stripped(whole)
        right += with_hydrogens(bare).get_chemical_formula() == whole.get_chemical_formula()
    assert right >= 29


def test_what_distances_do_not_tell_is_refused() -> None:
    with pytest.raises(UserError, match="no hydrogens can be added beside Fe"):
        with_hydrogens(ase.Atoms("C2Fe", [[0, 0, 0], [1.4, 0, 0], [0.7, 2, 0]]))
    # Three carbons at aromatic distances: one has no partner.
    ring = ase.Atoms("C3", [[0, 0, 0], [1.40, 0, 0], [2.10, 1.21, 0]])
    with pytest.raises(UserError, match="do not tell the double bonds at carbon"):
        with_hydrogens(ring)
