"""What a structure holds, where nothing can be held."""

import pytest
from ase.build import molecule
from ase.constraints import FixAtoms, FixCartesian

from molequi.simulation.barrier import run_path
from molequi.simulation.path import PathSettings
from molequi.simulation.scan import run_scan
from molequi.simulation.scan_points import ScanSettings
from molequi.simulation.spectrum import spectrum
from molequi.simulation.vibrations import vibrations


def path(atoms, model):
    other = atoms.copy()
    other.positions[1] += [0.3, 0, 0]
    return run_path(atoms, other, model, PathSettings(images=3, steps=1, relax_ends=False))


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (lambda *given: vibrations(*given, relax_first=False), "normal modes are"),
        (spectrum, "a spectrum is"),
        (lambda *given: run_scan(*given, ScanSettings("angle", "1-0-2", 95, 110, 2)), "a scan is"),
        (path, "a path is"),
    ],
)
def test_atoms_that_are_freed_are_named(morse, caplog, command, said):
    atoms = molecule("H2O")
    command(atoms, morse())
    assert "freed" not in caplog.text
    atoms.set_constraint([FixAtoms([0]), FixCartesian(1)])
    command(atoms, morse())
    assert f"(FixAtoms, FixCartesian); they are freed, as {said} of all atoms" in caplog.text
    assert len(atoms.constraints) == 2
