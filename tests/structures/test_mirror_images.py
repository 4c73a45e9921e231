"""Which mirror images are conformers, by molecules whose handedness chemistry knows."""

from __future__ import annotations

import ase
import numpy as np
import pytest

from molequi.structures.molecules import atoms_from_smiles
from molequi.structures.perception import labels_from_geometry

# Their mirror image is a conformer, whatever the geometry: no centre; meso; equal ends.
_PERFLUORO = "C(C(F)(F)F)(C(F)(F)F)C(F)(F)F"
_CROWDED = "c9cc(C(C)(C)C)cc(C(C)(C)C)c9"
UNHANDED = {
    "ethanol": "CCO",
    "hydrogen peroxide": "OO",
    "nitromethane": "C[N+](=O)[O-]",
    "hexamethylethane": "CC(C)(C)C(C)(C)C",
    "ethylmethylisopropylamine, which turns over": "CCN(C)C(C)C",
    "meso-2,3-difluorobutane": "C[C@H](F)[C@@H](C)F",
    "cis-1,2-dimethylcyclohexane": "C[C@@H]1CCCC[C@@H]1C",
    "trans-1,4-dimethylcyclohexane": "C[C@H]1CC[C@@H](C)CC1",
    "norbornene": "C1C[C@H]2C=C[C@@H]1C2",
    "spirohexane": "C1CC2(C1)CC2",
    "2-methyl-2,3-pentadiene": "CC=C=C(C)C",
    "quinuclidine": "C1CN2CCC1CC2",
    "triethylenediamine": "C1CN2CCN1CC2",
    "quinolizidine": "C1CCN2CCCCC2C1",
    "1-methylaziridine": "CN1CC1",
    "N-acetyloxaziridine, which turns over": "CC(=O)N1OC1",
    "1,5-diazabicyclo[3.1.0]hexane": "C1CN2CN2C1",
    "1-azabicyclo[1.1.0]butane": "C1C2CN12",
    "cis-1,2-dimethyldiaziridine": "C[N@]1C[N@]1C",
    "di-E-hepta-2,5-dien-4-ol": "C/C=C/C(O)/C=C/C",
    "ethyldimethylphosphine oxide": "CP(C)(=O)CC",
    "a meso dialcohol of crowded arenes": f"O[C@H]({_CROWDED})[C@@H](O){_CROWDED}",
    "a meso alkane of perfluoro-tert-butyl groups": f"F[C@H]({_PERFLUORO})[C@@H](F){_PERFLUORO}",
    "CHDT twice, of both hands": "[2H][C@H]([3H])O[C@@H]([2H])[3H]",
}
HANDED = {
    "lactaldehyde": "C[C@H](O)C=O",
    "2,3-difluorobutane": "C[C@H](F)[C@H](C)F",
    "trans-1,2-dimethylcyclohexane": "C[C@@H]1CCCC[C@H]1C",
    "trans-2-methylcyclopropanol": "C[C@@H]1C[C@H]1O",
    "2,3-pentadiene": "CC=C=CC",
    "spiro[3.3]hepta-1,5-diene": "C1=CC2(C1)C=CC2",
    "ethyl methyl sulfoxide": "CC[S@](C)=O",
    "E,Z-hepta-2,5-dien-4-ol": "C/C=C/[C@H](O)/C=C\\C",
    "Tröger's base without its arenes": "C1C2CCCN1CC2",
    "a dialcohol of crowded arenes": f"O[C@H]({_CROWDED})[C@H](O){_CROWDED}",
    "CHDT twice, of one hand": "[2H][C@H]([3H])O[C@H]([2H])[3H]",
    "1,5-diazabicyclo[3.1.0]hex-2-ene": "C1N2N1C=CC2",
    "1-azabicyclo[3.1.0]hexane": "C1CC2CN2C1",
    "2,3,3-trimethyloxaziridine": "CN1OC1(C)C",
    "trans-1,2-dimethyldiaziridine": "C[N@]1C[N@@]1C",
    "1-chloro-2,2-dimethylaziridine": "ClN1CC1(C)C",
    "Tröger's base": "Cc1ccc2c(c1)CN1CN2Cc2cc(C)ccc21",
}


@pytest.mark.parametrize("name", [*UNHANDED, *HANDED])
def test_known_molecules(name: str) -> None:
    atoms = atoms_from_smiles({**UNHANDED, **HANDED}[name])
    order = np.random.default_rng(0).permutation(len(atoms))
    for positions in (atoms.positions, atoms.positions * [1.0, -1.0, 1.0]):
        for places in (slice(None), order):
            moved = ase.Atoms(atoms.numbers, positions, masses=atoms.get_masses())
            read = labels_from_geometry(moved[places])
            assert read.status == "ok"
            assert read.is_conformer_of_image == (name in UNHANDED)


def test_a_double_bond_of_sulfur_is_neither_cis_nor_trans() -> None:
    for seed in range(6):
        assert labels_from_geometry(atoms_from_smiles("CCS(CC)=NC", seed)).is_conformer_of_image


def test_allenes_with_a_hand_are_told() -> None:
    found = {
        text: labels_from_geometry(atoms_from_smiles(text)).has_allene
        for text in ("CC=C=CC", "CC=C=C(C)C", "C=C=CC", "CC=CC=CC", "CCC(C)=C=CC")
    }
    assert [text for text, has in found.items() if has] == ["CC=C=CC", "CCC(C)=C=CC"]


@pytest.mark.parametrize("name", ["H", "H2", "CO2", "NH3"])
def test_small_molecules_are_their_own_images(name: str) -> None:
    numbers = {"H": [1], "H2": [1, 1], "CO2": [8, 6, 8], "NH3": [7, 1, 1, 1]}[name]
    positions = {
        "H": [[0.0, 0.0, 0.0]],
        "H2": [[0.0, 0.0, 0.0], [0.0, 0.0, 0.74]],
        "CO2": [[0.0, 0.0, -1.16], [0.0, 0.0, 0.0], [0.0, 0.0, 1.16]],
        "NH3": [[0.0, 0.0, 0.3], [0.94, 0.0, 0.0], [-0.47, 0.81, 0.0], [-0.47, -0.81, 0.0]],
    }[name]
    read = labels_from_geometry(ase.Atoms(numbers, positions))
    assert read.is_conformer_of_image or read.labels is None


def test_too_many_exchanges_leave_it_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("molequi.structures.mirror_images._MOST_EXCHANGES", 1)
    atoms = atoms_from_smiles("C[C@@H]1CCCC[C@H]1C")
    assert labels_from_geometry(atoms).is_conformer_of_image is None
