"""Outputs of ORCA."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units

from molequi.errors import UserError
from molequi.structures.orca_outputs import orca_outputs

ENERGY = "FINAL SINGLE POINT ENERGY"
END = "                             ****ORCA TERMINATED NORMALLY****\n"
ORIGIN = "The origin for moment calculation is the CENTER OF MASS  = ( 9.448630,  0.000000  0.1)\n"


def step(energy: str, *, bond: float = 0.97, charge: int = -1, origin: str = ORIGIN) -> str:
    return (
        f"{'-' * 33}\nCARTESIAN COORDINATES (ANGSTROEM)\n{'-' * 33}\n"
        "  O      5.000000    0.000000    0.000000\n"
        f"  H      5.000000    0.000000    {bond:.6f}\n\n"
        f"{'-' * 28}\nCARTESIAN COORDINATES (A.U.)\n{'-' * 28}\n"
        f" Total Charge           Charge          ....   {charge}\n"
        f" Multiplicity           Mult            ....    {2 + charge}\n"
        f"{'-' * 25}   {'-' * 20}\n{energy}\n{'-' * 25}   {'-' * 20}\n"
        f"{'-' * 18}\nCARTESIAN GRADIENT\n{'-' * 18}\n\n"
        "   1   O   :    0.000000000   -0.000000000    0.010000000\n"
        "   2   H   :    0.000000000    0.000000000   -0.010000000\n\n"
        f"{origin}Total Dipole Moment    :      0.0000       0.0000       0.6000\n"
    )


def frames(text: str) -> list[Atoms]:
    found = orca_outputs(text)
    assert all(isinstance(item, Atoms) for item in found)
    return [item for item in found if isinstance(item, Atoms)]


def test_each_geometry_has_its_own_energy_forces_and_charge() -> None:
    text = step(f"{ENERGY}       -75.10") + step(f"{ENERGY}  -75.20", bond=1.1, charge=0) + END
    ion, radical = frames(text)
    assert ion.calc.results["energy"] == pytest.approx(-75.10 * units.Hartree)
    assert radical.calc.results["energy"] == pytest.approx(-75.20 * units.Hartree)
    assert (ion.info["charge"], ion.info["spin_multiplicity"]) == (-1, 1)
    assert (radical.info["charge"], radical.info["spin_multiplicity"]) == (0, 2)
    assert radical.get_distance(0, 1) == pytest.approx(1.1)
    force = 0.01 * units.Hartree / units.Bohr
    np.testing.assert_allclose(ion.calc.results["forces"], [[0, 0, -force], [0, 0, force]])


def test_forces_of_mp2_stand_under_their_own_heading() -> None:
    gradient = "The final MP2 gradient\n  0:   0.0  -0.0   0.02\n  1:   0.0   0.0  -0.02\n\n"
    force = 0.02 * units.Hartree / units.Bohr
    scf = step(f"{ENERGY}  -75.1").replace("CARTESIAN GRADIENT", "{}CARTESIAN GRADIENT")
    for text in (scf.format(gradient), scf.format(gradient).replace("CARTESIAN GRAD", "GRAD")):
        (atoms,) = frames(text + END)
        np.testing.assert_allclose(atoms.calc.results["forces"], [[0, 0, -force], [0, 0, force]])


def test_the_dipole_of_an_ion_refers_to_the_centre_of_mass() -> None:
    (ion,) = frames(step(f"{ENERGY}  -75.10") + END)
    np.testing.assert_allclose(ion.calc.results["dipole"], [0, 0, 0.6 * units.Bohr])
    (open_,) = frames(step(f"{ENERGY}  -75.10", origin="") + END)
    assert "dipole" not in open_.calc.results
    assert "the dipole of an ion is left out" in open_.info["reading"]
    (neutral,) = frames(step(f"{ENERGY}  -75.10", origin="", charge=0) + END)
    np.testing.assert_allclose(neutral.calc.results["dipole"], [0, 0, 0.6 * units.Bohr])


@pytest.mark.parametrize("words", ["Wavefunction not fully converged!", "SCF not fully converged!"])
def test_an_unconverged_step_has_no_labels(words: str) -> None:
    good, bad = frames(step(f"{ENERGY}  -75.1") + step(f"{ENERGY} ({words})   -75.0") + END)
    assert good.calc is not None
    assert bad.calc is None
    assert "did not converge" in bad.info["reading"]


def test_a_job_that_did_not_finish() -> None:
    whole = step(f"{ENERGY}  -75.1")
    (last,) = frames(whole + whole.split(ENERGY)[0])
    assert "did not finish" in last.info["reading"]
    with pytest.raises(UserError, match="the job did not finish"):
        orca_outputs(whole.split(ENERGY)[0])


def test_what_is_no_atom_comes_as_its_error() -> None:
    (error,) = orca_outputs(step(f"{ENERGY}  -75.1").replace("  H  ", "  H: ") + END)
    assert "'H:' is no element symbol" in error
    (error,) = orca_outputs(step(f"{ENERGY}  -75.1").replace("  H  ", "  H :  ") + END)
    assert "'H :      5.000000    0.000000    0.970000' of ORCA's coordinates is no atom" in error


def test_the_energy_of_a_spectrum_is_that_of_the_ground_state() -> None:
    told = f"    E(SCF)  =  -75.1 Eh\n    DE(CIS) =      0.250000000 Eh (Root  1)\n{ENERGY}  -74.85"
    (excited,) = frames(step(told) + END)
    assert excited.calc.results["energy"] == pytest.approx(-74.85 * units.Hartree)
    assert "that of excited state 1" in excited.info["reading"]
    (ground,) = frames(step(told).replace("CARTESIAN GRADIENT", "") + END)
    assert ground.calc.results["energy"] == pytest.approx(-75.1 * units.Hartree)
    assert "that of the ground state" in ground.info["reading"]


def test_energies_of_layers_are_no_labels() -> None:
    (layers,) = frames(step(f"{ENERGY}  -75.1\n{ENERGY} (QM/MM)   -75.0") + END)
    assert layers.calc is None
    assert "several kinds of energies" in layers.info["reading"]
