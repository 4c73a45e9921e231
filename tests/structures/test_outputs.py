"""Outputs of VASP and Quantum ESPRESSO: electrons that are counted, steps that did not converge."""

from __future__ import annotations

from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest
from ase import units
from ase.calculators.singlepoint import SinglePointCalculator

from molequi.errors import UserError
from molequi.structures.outputs import counted_charge, drop_unconverged, held_multiplicity
from molequi.structures.readers import read_structures

HEAD = """ POTCAR:    PAW_PBE O 08Apr2002
 POTCAR:    PAW_PBE H 15Jun2001
 POTCAR:    PAW_PBE O 08Apr2002
   POMASS =   16.000; ZVAL   =    6.000    mass and valenz
 POTCAR:    PAW_PBE H 15Jun2001
   POMASS =    1.000; ZVAL   =    1.000    mass and valenz
   ions per type =               1   1
   k-points           NKPTS =      1   k-points in BZ     NKDIM =      1   number of bands NBANDS= 8
 k-points in reciprocal lattice and weights: Gamma
   0.00000000  0.00000000  0.00000000       1.000
   ISPIN  =      1    spin polarized calculation?
   NELECT =       8.0000    total number of electrons
  Ionic Valenz
   ZVAL   =   6.00  1.00
------------------------------- Iteration      1(   1)  ----------------------------
"""
STEP = """---------------- aborting loop {reached} -----------------
      direct lattice vectors                 reciprocal lattice vectors
     8.000000000  0.000000000  0.000000000     0.125000000  0.000000000  0.000000000
     0.000000000  8.000000000  0.000000000     0.000000000  0.125000000  0.000000000
     0.000000000  0.000000000  8.000000000     0.000000000  0.000000000  0.125000000
 POSITION                                       TOTAL-FORCE (eV/Angst)
 ---------------------------------------------------------------------
      0.00000      0.00000      0.00000         0.000000      0.000000     -0.500000
      0.00000      0.00000      0.97000         0.000000      0.000000      0.500000
 ---------------------------------------------------------------------
  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)
  ---------------------------------------------------
  free  energy   TOTEN  =       {energy:.8f} eV

  energy  without entropy=      -10.30000000  energy(sigma->0) =      {energy:.8f}

"""
REACHED, MISSED = "because EDIFF is reached", "EDIFF was not reached (unconverged)"
TYPES = (
    '<i name="NELECT">      8.00000000</i><i type="int" name="NELM">     2</i>'
    '<i name="EDIFF">      0.00010000</i>'
    "<set><rc><c>   1</c><c>O </c><c>     16.00</c><c>      6.00</c><c>PAW_PBE O</c></rc>"
    "<rc><c>   1</c><c>H </c><c>      1.00</c><c>      1.00</c><c>PAW_PBE H</c></rc></set>"
)
ESPRESSO = """     number of atoms/cell      =            2
     number of electrons       =         8.00 (up:   4.00, down:   4.00)
     atomic species   valence    mass     pseudopotential
        O              6.00    15.99900     O ( 1.00)
        H1             1.00     1.00800     H ( 1.00)

         1           O   tau(   1) = (   0.0000000   0.0000000   0.0000000  )
         2           H1  tau(   2) = (   0.0000000   0.0000000   0.1212500  )
"""


def test_the_charge_is_what_the_electrons_tell(tmp_path: Path) -> None:
    (tmp_path / "OUTCAR").write_text(HEAD + STEP.format(reached=REACHED, energy=-10.5))
    ((_, ion),) = read_structures(tmp_path / "OUTCAR")
    assert isinstance(ion, ase.Atoms)
    assert (ion.info["charge"], ion.info["spin_multiplicity"]) == (-1, 1)
    assert ion.info["charge_source"] == "the electrons that the program counts"
    assert counted_charge(TYPES, "vasp-xml") == -1
    assert counted_charge(ESPRESSO, "espresso-out") == -1
    assert counted_charge(ESPRESSO.replace("8.00 (", "7.50 ("), "espresso-out") == -0.5
    sites = ESPRESSO[ESPRESSO.index("         1") :]  # again, in the axes of the crystal
    assert counted_charge(ESPRESSO + sites, "espresso-out") == -1
    assert (
        counted_charge(ESPRESSO.replace("cell      =            2", "cell = 3"), "espresso-out")
        is None
    )
    third = HEAD.replace("1.000; ZVAL   =    1.000", "1.000; ZVAL   =    0.333").replace(
        "6.00  1.00", "6.00  0.33"
    )
    third = third.replace("=               1   1", "=               1   300").replace(
        "8.0000", "105.9000"
    )
    assert counted_charge(third, "vasp-out") == 0
    assert counted_charge(HEAD.replace("NELECT", "OTHER"), "vasp-out") is None


def test_multiplicities_are_those_of_spins_that_are_held(tmp_path: Path) -> None:
    """By VASP's NUPDOWN, -1 where spins are free; by the up and down of Quantum ESPRESSO."""
    free = HEAD.replace("ISPIN  =      1", "ISPIN  =      2   NUPDOWN=     -1.0000000")
    held = free.replace("-1.0000000", "2.0000000")
    assert held_multiplicity(held, "vasp-out") == 3
    for text in (HEAD, free, held.replace("ISPIN  =      2", "ISPIN  =      1")):
        assert held_multiplicity(text, "vasp-out") is None
    xml = '<i type="int" name="ISPIN">     2</i><i name="NUPDOWN">      2.00000000</i>'
    assert held_multiplicity(xml, "vasp-xml") == 3
    assert held_multiplicity(xml.replace(" 2.0", "-1.0"), "vasp-xml") is None
    assert held_multiplicity(ESPRESSO, "espresso-out") == 1
    up = ESPRESSO.replace("up:   4.00, down:   4.00", "up:   3.00, down:   5.00")
    assert held_multiplicity(up, "espresso-out") == 3
    (tmp_path / "OUTCAR").write_text(held + STEP.format(reached=REACHED, energy=-10.5))
    ((_, ion),) = read_structures(tmp_path / "OUTCAR")
    assert (ion.info["charge"], ion.info["spin_multiplicity"]) == (-1, 3)


def test_an_unconverged_step_has_no_labels(tmp_path: Path) -> None:
    steps = [(REACHED, -10.5), (MISSED, -9.5), (REACHED, -10.6)]
    text = "".join(STEP.format(reached=reached, energy=energy) for reached, energy in steps)
    (tmp_path / "OUTCAR").write_text(HEAD + text)
    first, second, third = [item for _, item in read_structures(tmp_path / "OUTCAR")]
    assert isinstance(second, ase.Atoms)
    assert second.calc is None
    assert "did not converge" in second.info["reading"]
    assert [atoms.calc.results["energy"] for atoms in (first, third)] == [-10.5, -10.6]


@pytest.mark.parametrize(("before", "is_kept"), [(-10.3, False), (-10.50001, True)])
def test_all_electronic_steps_of_a_vasprun(before: float, is_kept: bool) -> None:
    from ase.calculators.singlepoint import SinglePointCalculator

    inner = "".join(
        f'<scstep><energy><i name="e_fr_energy">{energy}</i></energy></scstep>'
        for energy in (before, -10.5)
    )
    text = f'{TYPES}<calculation>{inner}<energy><i name="e_fr_energy">-10.4</i></energy>'
    atoms = ase.Atoms("OH")
    atoms.calc = SinglePointCalculator(atoms, energy=-10.4)
    drop_unconverged([atoms], f"{text}</calculation>", "vasp-xml")
    assert (atoms.calc is not None) is is_kept


def test_an_output_without_a_complete_step(tmp_path: Path) -> None:
    (tmp_path / "OUTCAR").write_text(HEAD + STEP[:200])
    with pytest.raises(UserError, match="it ends before a first step is complete"):
        list(read_structures(tmp_path / "OUTCAR"))
    (tmp_path / "CONTCAR").write_text("")
    with pytest.raises(UserError, match="CONTCAR is empty"):
        list(read_structures(tmp_path / "CONTCAR"))


@pytest.mark.parametrize(
    ("cell", "flags", "held"),
    [
        ("8 0 0\n0 8 0\n0 0 8\n", "T T F", [False, False, True]),
        ("8 0 0\n3 7 0\n0 0 9\n", "F F T", [True, True, False]),  # c alone is free
        ("8 0 0\n0 8 0\n0 0 8\n", "F F F", [True, True, True]),
        ("8 0 0\n3 7 0\n0 0 9\n", "T F T", [False, True, False]),
        ("8 0 0\n3 7 0\n0 0 9\n", "F T T", None),
        ("8 0 1\n3 7 0\n0 0 9\n", "T T F", None),
    ],
)
def test_what_is_held_along_the_cell_is_written(
    tmp_path: Path, cell: str, flags: str, held: list[bool] | None
) -> None:
    rows = f"0 0 0 T T T\n0 0 0.12 {flags}\n"
    text = f"oh\n1.0\n{cell}O H\n1 1\nSelective dynamics\nDirect\n{rows}"
    (tmp_path / "POSCAR").write_text(text)
    ((_, atoms),) = read_structures(tmp_path / "POSCAR")
    assert isinstance(atoms, ase.Atoms)
    ase.io.write(tmp_path / "a.xyz", atoms, format="extxyz")
    ((_, again),) = read_structures(tmp_path / "a.xyz")
    assert isinstance(again, ase.Atoms)
    moved = again.positions + [[0, 0, 0], [0.1, 0.1, 0.1]]
    again.set_positions(moved)
    stays = np.isclose(again.positions[1], atoms.positions[1])
    assert stays.tolist() == (held or [False, False, False])
    assert ("reading" in atoms.info) is (held is None)


def test_what_is_true_of_many_atoms_is_noted_once(tmp_path: Path) -> None:
    rows = "0 0 0 T T F\n0 0 0.12 T T F\n"
    text = f"oh\n1.0\n8 0 1\n3 7 0\n0 0 9\nO H\n1 1\nSelective dynamics\nDirect\n{rows}"
    (tmp_path / "POSCAR").write_text(text)
    ((_, atoms),) = read_structures(tmp_path / "POSCAR")
    assert isinstance(atoms, ase.Atoms)
    assert atoms.info["reading"].count("held along vectors of the cell") == 1


def test_a_file_too_large_to_be_looked_at_is_read_with_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("molequi.structures.text._LARGEST", 100)
    (tmp_path / "OUTCAR").write_text(HEAD + STEP.format(reached=MISSED, energy=-10.5))
    ((_, atoms),) = read_structures(tmp_path / "OUTCAR")
    assert isinstance(atoms, ase.Atoms)
    assert "too large to be looked at for steps without convergence" in atoms.info["reading"]
    assert atoms.info["charge_source"].startswith("assumed")


@pytest.mark.parametrize("is_reached", [True, False])
def test_a_step_of_nwchem_that_did_not_converge_has_no_energy(is_reached: bool) -> None:
    """NWChem prints the energy it had when the iterations were used up, like any other."""
    failed = "      Calculation failed to converge\n      ------------------------------\n"
    text = f"{'' if is_reached else failed}\n         Total DFT energy =      -76.400000000000\n"
    atoms = ase.Atoms("OH2", positions=[[0, 0, 0], [0, 0.8, 0.6], [0, -0.8, 0.6]])
    atoms.calc = SinglePointCalculator(atoms, energy=-76.4 * units.Hartree)
    drop_unconverged([atoms], text, "nwchem-out")
    assert (atoms.calc is not None) == is_reached
    assert ("did not converge" in atoms.info.get("reading", "")) == (not is_reached)
