"""Unit and sign of stresses, told by molecules in a box."""

from __future__ import annotations

import ase
import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import voigt_6_to_full_3x3_stress

from molequi.datasets.formats.extxyz import read_frames
from molequi.datasets.formats.inspection import inspect_frames
from molequi.datasets.formats.units import conversion_factor


def boxes(scale: float, *, n_frames: int = 6, with_forces: bool = True) -> list[ase.Atoms]:
    """Two springs in boxes of 8 Å, with the exact stress, written in another unit."""
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(n_frames):
        positions = np.array([[0, 0, 0], [0, 0, 1.1], [3, 3, 3], [3, 4.2, 3]])
        positions = positions + 0.1 * rng.standard_normal((4, 3))
        atoms = ase.Atoms("N2O2", positions, cell=[8.0, 8.0, 9.0], pbc=True)
        forces, stress = np.zeros((4, 3)), np.zeros((3, 3))
        for a, b in ((0, 1), (2, 3)):
            d = positions[b] - positions[a]
            length = np.linalg.norm(d)
            pull = 30.0 * (length - 1.15)  # dE/dr, eV/Å
            forces[a] += pull * d / length
            forces[b] -= pull * d / length
            stress += pull * np.outer(d, d) / length / atoms.cell.volume  # dE/dstrain / V
        results = {"energy": -1.0, "stress": scale * stress.ravel()[[0, 4, 8, 5, 2, 1]]}
        if with_forces:
            results["forces"] = forces
        atoms.calc = SinglePointCalculator(atoms, **results)
        frames.append(atoms)
    return frames


def warnings_of(path, frames, **options) -> list[str]:
    ase.io.write(path, frames)
    return [w for w in read_frames(path, targets=["stress"], **options).report.warnings]


@pytest.mark.parametrize(
    ("unit", "per_ev"),
    [
        ("GPa", 1 / units.GPa),
        ("-kbar", -1e-3 / units.bar),
        ("bar", 1 / units.bar),
        ("-eV/Å^3", -1.0),
        ("Ha/bohr^3", units.Bohr**3 / units.Hartree),
    ],
)
def test_unit_and_sign_are_told(tmp_path, unit: str, per_ev: float) -> None:
    path = tmp_path / "a.extxyz"
    (line,) = warnings_of(path, boxes(per_ev))
    assert f"if so set data.units.stress={unit}" in line
    assert ("the sign of a pressure" in line) == unit.startswith("-")
    assert line in inspect_frames(path).warnings
    assert warnings_of(path, boxes(per_ev), units={"stress": unit}) == []
    right = read_frames(path, targets=["stress"], units={"stress": unit}).frames
    expected = boxes(1.0)[0].get_stress(voigt=False)
    assert right.targets["stress"][0].numpy() == pytest.approx(expected, abs=1e-7)


def test_right_stresses_raise_no_doubt(tmp_path) -> None:
    assert warnings_of(tmp_path / "a.extxyz", boxes(1.0)) == []
    assert warnings_of(tmp_path / "a.extxyz", boxes(1.0, with_forces=False)) == []


def test_sizes_alone_are_doubted(tmp_path) -> None:
    (line,) = warnings_of(tmp_path / "a.extxyz", boxes(-1e-3 / units.bar, with_forces=False))
    assert "GPa, kbar or bar would fit" in line


def test_a_minus_before_a_unit() -> None:
    assert conversion_factor("-kbar", "eV/Å^3") == pytest.approx(-1e3 * units.bar)
    assert conversion_factor("kbar", "GPa") == pytest.approx(0.1)


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("key", ["virial", "REF_virials"])
def test_virials_are_stresses(tmp_path, key: str, named: bool) -> None:
    frames = boxes(1.0)
    expected = [atoms.get_stress(voigt=False) for atoms in frames]
    for atoms, stress in zip(frames, expected, strict=True):
        atoms.info[key] = -stress * atoms.cell.volume / units.kcal * units.mol
        del atoms.calc.results["stress"]
    ase.io.write(tmp_path / "a.extxyz", frames)
    found = read_frames(
        tmp_path / "a.extxyz",
        targets=["stress"],
        units={"stress": "kcal/mol"},
        keys={"stress": key} if named else {},
    )
    values = found.frames.targets["stress"].numpy()
    assert values == pytest.approx(np.array(expected), abs=1e-7)
    assert found.report.warnings == ()
    assert (found.report.rows[0].key, found.report.rows[0].unit) == (key, "kcal/mol")


@pytest.mark.parametrize(("unit", "per_ev"), [("-eV", -1.0), ("Ha", 1 / units.Hartree)])
def test_unit_and_sign_of_virials_are_told(tmp_path, unit: str, per_ev: float) -> None:
    frames = boxes(1.0)
    for atoms in frames:
        stress = atoms.calc.results.pop("stress")
        atoms.info["virial"] = -per_ev * voigt_6_to_full_3x3_stress(stress) * atoms.cell.volume
    path = tmp_path / "a.extxyz"
    (line,) = warnings_of(path, frames)
    assert line.startswith("virials, stress: taken as eV")
    assert f"if so set data.units.stress={unit}" in line
    assert warnings_of(path, frames, units={"stress": unit}) == []


def crystals(sign: float, *, virial: bool) -> list[ase.Atoms]:
    """Copper by ASE's effective-medium theory, hot and in several volumes."""
    frames = []
    for index, scale in enumerate(np.linspace(0.97, 1.03, 8)):
        atoms = bulk("Cu", cubic=True)
        atoms.set_cell(atoms.cell * scale, scale_atoms=True)
        atoms.rattle(0.05, seed=index)
        atoms.calc = EMT()
        stress, forces = atoms.get_stress(voigt=False), atoms.get_forces()
        results = {"energy": atoms.get_potential_energy(), "forces": forces}
        if virial:
            atoms.info["virial"] = -sign * stress * atoms.cell.volume
        else:
            results["stress"] = sign * stress.ravel()[[0, 4, 8, 5, 2, 1]]
        atoms.calc = SinglePointCalculator(atoms, **results)
        frames.append(atoms)
    return frames


@pytest.mark.parametrize("virial", [False, True])
def test_the_sign_of_solids_is_told_by_their_volumes(tmp_path, virial: bool) -> None:
    path = tmp_path / "a.extxyz"
    assert warnings_of(path, crystals(1.0, virial=virial)) == []
    (line,) = warnings_of(path, crystals(-1.0, virial=virial))
    unit = "-eV" if virial else "-eV/Å³"
    assert f"fits the other sign; if so set data.units.stress={unit}" in line
    assert warnings_of(path, crystals(-1.0, virial=virial), units={"stress": unit}) == []


@pytest.mark.parametrize("size", [1e-170, 1e-320, 0.0, 1e-150])
def test_forces_too_small_to_tell_anything(tmp_path, size: float) -> None:
    frames = boxes(1.0)
    for atoms in frames:
        atoms.calc.results["forces"] *= size
    assert not any(
        "forces and positions" in line for line in warnings_of(tmp_path / "a.traj", frames)
    )


def test_forces_that_are_no_numbers(tmp_path) -> None:
    frames = boxes(1.0, with_forces=False)
    for atoms in frames:
        atoms.set_array("force", np.full((4, 3), "x"))
    assert warnings_of(tmp_path / "a.extxyz", frames) == []


def test_virials_that_contradict_the_stress_beside_them(tmp_path) -> None:
    frames = boxes(1.0)
    for atoms in frames:
        atoms.info["virial"] = -atoms.get_stress(voigt=False) * atoms.cell.volume
    assert warnings_of(tmp_path / "a.extxyz", frames) == []
    frames[1].info["virial"] = 2.0 * frames[1].info["virial"]
    (line,) = warnings_of(tmp_path / "b.extxyz", frames)
    assert "'virial' (info), as -W/V, differ in 1 of 6 frames, first in frame 1" in line


def test_virials_of_frames_without_the_stress_that_others_have(tmp_path) -> None:
    frames = boxes(1.0)
    for atoms in frames[::2]:
        atoms.info["virial"] = -atoms.get_stress(voigt=False) * atoms.cell.volume
        del atoms.calc.results["stress"]
    lines = warnings_of(tmp_path / "a.extxyz", frames)
    assert any("'virial' (info) in 3 frames without it, first in frame 0" in line for line in lines)
