"""Outputs of Gaussian: energies, forces and dipoles that belong to the geometry."""

from __future__ import annotations

from pathlib import Path

import ase
import numpy as np
import pytest
from ase import units

from molequi.structures.readers import read_structures

GIVEN = [(8, 0.0, 0.0, 0.0), (1, 0.0, 0.0, 0.99), (1, 0.951649, 0.0, -0.272881)]
STANDARD = [(8, 0.0, 0.0, 0.119159), (1, 0.0, 0.790649, -0.476637), (1, 0.0, -0.790649, -0.476637)]
LINE = " " + "-" * 69 + "\n"
SCF = " SCF Done:  E(RB3LYP) =  -76.4089533      A.U. after    9 cycles\n"
DIPOLE = (
    " Dipole moment (field-independent basis, Debye):\n"
    "    X=     0.0000    Y=     0.0000    Z=    -2.0000  Tot=     2.0000\n"
)
FORCES = (
    f"{LINE} Center     Atomic                   Forces (Hartrees/Bohr)\n"
    f" Number     Number              X              Y              Z\n{LINE}"
    "      1        8           0.010000000    0.000000000    0.007500000\n"
    "      2        1           0.000000000    0.000000000   -0.010371000\n"
    f"      3        1          -0.010000000    0.000000000    0.002871000\n{LINE}"
)


def head(charge: int = 0) -> str:
    return f" Entering Gaussian System, Link 0=g16\n Charge = {charge:2d} Multiplicity = 1\n"


def table(kind: str, rows: list[tuple[float, ...]]) -> str:
    body = "".join(
        f"{i:7d}{int(z):11d}{0:12d}    {x:12.6f}{y:12.6f}{w:12.6f}\n"
        for i, (z, x, y, w) in enumerate(rows, 1)
    )
    titles = " Center     Atomic      Atomic\n Number     Number       Type\n"
    return f"{' ' * 26}{kind} orientation:{' ' * 26}\n{LINE}{titles}{LINE}{body}{LINE}"


def read(tmp_path: Path, text: str) -> list[ase.Atoms]:
    (tmp_path / "a.log").write_text(text)
    found = [item for _, item in read_structures(tmp_path / "a.log")]
    assert not any(isinstance(item, str) for item in found)
    return [item for item in found if isinstance(item, ase.Atoms)]


BOTH = table("Input", GIVEN) + table("Standard", STANDARD)


def test_a_dipole_of_the_standard_orientation_turns_to_that_of_the_input(tmp_path: Path) -> None:
    (water,) = read(tmp_path, head() + BOTH + SCF + DIPOLE)
    middle = water.positions[1:].mean(axis=0)  # from - to +: from O to between the hydrogens
    expected = 2.0 * units.Debye * middle / np.linalg.norm(middle)
    np.testing.assert_allclose(water.calc.results["dipole"], expected, atol=1e-5)


def test_the_dipole_of_an_ion_refers_to_the_centre_of_mass(tmp_path: Path) -> None:
    (ion,) = read(tmp_path, head(2) + BOTH + SCF + DIPOLE)
    there = ase.Atoms("OH2", np.array(STANDARD)[:, 1:])
    along = -2.0 * units.Debye - 2 * there.get_center_of_mass()[2]  # z of the standard orientation
    middle = ion.positions[1:].mean(axis=0)
    expected = -along * middle / np.linalg.norm(middle)
    np.testing.assert_allclose(ion.calc.results["dipole"], expected, atol=1e-5)
    rows = [(z, x + 5.0, y, w) for z, x, y, w in GIVEN]  # no other orientation: NoSymm
    (same,) = read(tmp_path, head(2) + table("Input", rows) + SCF + DIPOLE)
    origin = same.get_center_of_mass()
    np.testing.assert_allclose(
        same.calc.results["dipole"], np.array([0, 0, -2 * units.Debye]) - 2 * origin, atol=1e-5
    )


def test_forces_of_other_axes_than_the_geometry_are_left_out(tmp_path: Path) -> None:
    (kept,) = read(tmp_path, head() + BOTH + SCF + FORCES)
    assert kept.calc.results["forces"][0, 0] == pytest.approx(0.01 * units.Hartree / units.Bohr)
    (left,) = read(tmp_path, head() + table("Standard", STANDARD) + SCF + FORCES)
    assert "forces" not in left.calc.results
    assert "forces are left out" in left.info["reading"]


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        (" ONIOM: extrapolated energy =     -80.554160\n", "of ONIOM"),
        (" Total Energy, E(TD-HF/TD-DFT) =  -80.554160\n", "of the excited state"),
        (" Total Energy, E(TD-HF/TD-KS) =  -80.554160\n", "of the excited state"),
    ],
)
def test_the_energy_is_the_one_that_forces_belong_to(
    tmp_path: Path, printed: str, said: str
) -> None:
    (water,) = read(tmp_path, head() + BOTH + SCF + printed + FORCES)
    assert water.calc.results["energy"] == pytest.approx(-80.554160 * units.Hartree)
    assert said in water.info["reading"]
    freq = f" 1\\1\\GINC-NODE\\FOpt\n{BOTH}{SCF}{printed}{FORCES}"  # of which ASE reads nothing
    (alone,) = read(tmp_path, head() + BOTH + SCF + printed + FORCES + freq)
    assert alone.calc.results["energy"] == water.calc.results["energy"]


def test_several_extrapolated_energies_are_none(tmp_path: Path) -> None:
    printed = "".join(f" ONIOM: extrapolated energy =     -80.{n}\n" for n in (1, 2))
    (open_,) = read(tmp_path, head() + BOTH + SCF + printed + FORCES)
    assert open_.calc is None
    assert "it is open which energy" in open_.info["reading"]


def test_an_excited_energy_is_that_of_the_forces_behind_it_alone(tmp_path: Path) -> None:
    excited = " Total Energy, E(TD-HF/TD-DFT) =  -76.100000\n"
    other = table("Input", [(z, x, y, 1.01 * w) for z, x, y, w in GIVEN])
    vertical = f" 1\\1\\GINC-NODE\\FOpt\n{head(1)}{BOTH}{SCF}{excited}"
    text = head() + BOTH + SCF + FORCES + other + SCF + excited + FORCES + vertical
    ground, above = read(tmp_path, text)
    assert ground.calc.results["energy"] == pytest.approx(-76.4089533 * units.Hartree)
    assert above.calc.results["energy"] == pytest.approx(-76.1 * units.Hartree)
    assert (ground.info["charge"], ground.info["charge_source"]) == (0, "the program's file")
    (kept,) = read(tmp_path, head() + BOTH + SCF + FORCES + vertical)
    assert kept.calc.results["energy"] == ground.calc.results["energy"]


def test_an_unconverged_energy_is_no_label(tmp_path: Path) -> None:
    failed = f" >>>>>>>>>> Convergence criterion not met.\n{SCF}"
    (water,) = read(tmp_path, head() + BOTH + failed)
    assert water.calc is None
    assert "did not converge" in water.info["reading"]


def test_fragments_of_a_counterpoise_job_are_left_out(tmp_path: Path) -> None:
    far = [(z, x, y, w + 3.0) for z, x, y, w in STANDARD]
    ghosts = [(0, *row[1:]) for row in far]
    text = " # B3LYP Counterpoise=2\n" + table("Input", [*GIVEN, *far])
    text += SCF.replace("-76", "-152") + table("Input", [*GIVEN, *ghosts]) + SCF
    (dimer,) = read(tmp_path, head() + text)
    assert len(dimer) == 6
    assert dimer.calc.results["energy"] == pytest.approx(-152.4089533 * units.Hartree)
    assert "without the counterpoise correction" in dimer.info["reading"]
