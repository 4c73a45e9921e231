"""Labels that look wrong are reported: all zero, or of a size that fits another unit."""

from __future__ import annotations

from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest
from ase import units

from molequi.datasets.formats.extxyz import read_frames


def test_zero_labels_are_reported(tmp_path: Path, labelled) -> None:
    structures = labelled()
    for atoms in structures:
        atoms.calc.results["dipole"] = np.zeros(3)
    ase.io.write(tmp_path / "a.extxyz", structures)
    assert (
        "all 4 labels are exactly zero"
        in read_frames(tmp_path / "a.extxyz", targets=["dipole"]).report.warnings[0]
    )


@pytest.mark.parametrize(
    ("target", "factor", "expected"),
    [
        ("energy", 1 / units.Hartree, "fit total energies in Ha; if so set data.units.energy=Ha"),
        ("energy", units.mol / units.kcal, "fit total energies in kcal/mol"),
        ("energy", units.mol / units.kJ, "fit total energies in kJ/mol"),
        ("forces", units.mol / units.kcal, "kcal/mol/Å would fit"),
        ("energy", 1.0, None),
        ("forces", 1.0, None),
    ],
)
def test_suspicious_units(
    tmp_path: Path, target: str, factor: float, expected: str | None, labelled
) -> None:
    structures = labelled()
    for atoms in structures:
        atoms.calc.results[target] = atoms.calc.results[target] * factor
    ase.io.write(tmp_path / "a.extxyz", structures)
    warnings = read_frames(tmp_path / "a.extxyz", targets=[target]).report.warnings
    assert len(warnings) == (expected is not None)
    assert expected is None or expected in warnings[0]


def test_coordinates_in_bohr_are_suspicious(tmp_path: Path, labelled) -> None:
    structures = labelled()
    for atoms in structures:
        atoms.positions /= units.Bohr
    ase.io.write(tmp_path / "a.extxyz", structures)
    assert (
        "typical of bohr"
        in read_frames(tmp_path / "a.extxyz", targets=["energy"]).report.warnings[0]
    )


@pytest.mark.parametrize(
    ("energy", "words"),
    [
        (lambda right: right / units.Hartree, "1 fit total energies in Ha"),
        (lambda right: right + 4200.0, "1 are no total energies"),
    ],
)
def test_energies_of_several_kinds(tmp_path: Path, energy, words: str, labelled) -> None:
    structures = labelled()
    structures[2].calc.results["energy"] = energy(structures[2].calc.results["energy"])
    ase.io.write(tmp_path / "a.extxyz", structures)
    (line,) = read_frames(tmp_path / "a.extxyz", targets=["energy"]).report.warnings
    assert (
        f"of 4 values 3 fit total energies in eV, {words} (first of the latter: a.extxyz:2)" in line
    )


def test_a_unit_that_was_given_is_doubted_too(tmp_path: Path, labelled) -> None:
    ase.io.write(tmp_path / "a.extxyz", labelled())
    found = read_frames(tmp_path / "a.extxyz", targets=["energy"], units={"energy": "kcal/mol"})
    (line,) = found.report.warnings
    assert "taken as kcal/mol, but the values fit total energies in eV" in line
