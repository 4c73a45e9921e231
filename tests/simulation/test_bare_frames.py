"""What is written for one command is read by the next one as what was computed."""

import ase.io
import numpy as np
import pytest
from ase.build import molecule

from molequi.simulation.barrier import run_path
from molequi.simulation.calculator import Calculator
from molequi.simulation.path import PathSettings
from molequi.simulation.scan import run_scan
from molequi.simulation.scan_points import ScanSettings
from molequi.simulation.vibrations import vibrations
from molequi.structures.inputs import read_inputs

HEAVY = 2.01410177812  # g/mol, of deuterium


@pytest.fixture(scope="module")
def organic():
    return Calculator("organic", dtype="float64")


def ammonium():
    """Return the cation, with one deuterium."""
    atoms = molecule("NH3") + molecule("H", positions=[[0, 0, 1.15]])
    atoms.info["charge"] = 1
    masses = atoms.get_masses()
    masses[1] = HEAVY
    atoms.set_masses(masses)
    return atoms


def test_frames_keep_charge_spin_and_isotopes(organic, tmp_path):
    cation = ammonium()
    scan = ScanSettings("bond", "0-1", 1.0, 1.1, 2, rigid=True)
    run_scan(cation, organic, scan, output=tmp_path / "scan")
    vibrations(cation, organic, relax_first=False, films=True, output=tmp_path / "modes")
    files = ["scan/scan.xyz", "modes/modes.xyz", "modes/films/mode_000.xyz", "modes/structure.xyz"]
    for name in files:
        for read in read_inputs(tmp_path / name):
            atoms = read.require_atoms()
            assert (atoms.info["charge"], atoms.info["spin_multiplicity"]) == (1, 1), name
            assert atoms.get_masses()[1] == pytest.approx(HEAVY), name


def test_a_saddle_point_has_its_frequency_again(organic, tmp_path):
    ends = [molecule("NH3"), molecule("NH3")]
    ends[1].positions[:, 2] *= -1
    for atoms in ends:
        atoms.set_masses([14.007, HEAVY, HEAVY, HEAVY])
    path = run_path(*ends, organic, PathSettings(images=3, fmax=0.2), output=tmp_path / "path")
    again = vibrations(tmp_path / "path" / "saddle.xyz", organic, relax_first=False)
    # Places are written to 1e-8 Å.
    np.testing.assert_allclose(
        again["frequencies_cm1"][0], path["saddle"]["imaginary_cm1"][0], atol=0.01
    )
    assert again["formula"] == path["formula"] == "D3N"
    for name in ("path.xyz", "mode.xyz"):
        for frame in ase.io.read(tmp_path / "path" / name, ":"):
            assert frame.get_masses()[1] == pytest.approx(HEAVY)
