"""Labels: found wherever ASE puts them, under whatever name, or a clear error."""

from __future__ import annotations

import time
from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest
from ase import units
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms, FixCartesian

from molequi.datasets.formats.extxyz import read_frames
from molequi.datasets.formats.inspection import inspect_frames, inspect_in_full
from molequi.datasets.report import report_lines
from molequi.errors import UserError
from molequi.properties import declare


def renamed(structures: list[ase.Atoms], names: dict[str, str]) -> list[ase.Atoms]:
    """Move the results out of the calculator, under other names, to where other codes write."""
    moved = []
    for atoms in structures:
        plain = ase.Atoms(atoms.numbers, atoms.positions)
        for name, key in names.items():
            value = atoms.calc.results[name]
            if name in {"forces", "charges"}:
                plain.arrays[key] = value
            else:
                plain.info[key] = value
        moved.append(plain)
    return moved


@pytest.mark.parametrize("name", ["a.extxyz", "a.xyz", "a.xyz.gz", "a.traj", "a.db"])
def test_what_ase_writes_is_found_without_flags(tmp_path: Path, name: str, labelled) -> None:
    structures = labelled()
    ase.io.write(tmp_path / name, structures)
    loaded = read_frames(tmp_path / name, targets=["energy", "forces", "dipole"])
    frames, report = loaded.frames, loaded.report
    assert frames.targets["energy"].numpy() == pytest.approx(
        [atoms.calc.results["energy"] for atoms in structures]
    )
    assert frames.targets["forces"].numpy() == pytest.approx(
        np.concatenate([atoms.calc.results["forces"] for atoms in structures]), abs=1e-7
    )
    assert frames.targets["dipole"].numpy() == pytest.approx(
        np.stack([atoms.calc.results["dipole"] for atoms in structures]), abs=1e-7
    )
    assert [(row.name, row.where, row.frames) for row in report.rows] == [
        (label, "calculator", 4) for label in ("energy", "forces", "dipole")
    ]
    assert report.warnings == ()
    assert frames.source[2] == f"{name}:2"


NAMES = [
    {"energy": "REF_energy", "forces": "REF_forces", "dipole": "REF_dipole"},
    {"energy": "total_energy", "forces": "dft_forces", "dipole": "mu"},
    {"energy": "dft_energy", "forces": "force", "dipole": "dipole_moment"},
    {"energy": "U0", "forces": "Forces", "dipole": "DIPOLE"},
]


@pytest.mark.parametrize("names", NAMES)
def test_other_names_give_the_same_numbers(tmp_path: Path, names: dict[str, str], labelled) -> None:
    structures = labelled()
    ase.io.write(tmp_path / "a.extxyz", structures)
    ase.io.write(tmp_path / "b.extxyz", renamed(structures, names), format="extxyz")
    plain = read_frames(tmp_path / "a.extxyz", targets=["energy", "forces", "dipole"]).frames
    loaded = read_frames(tmp_path / "b.extxyz", targets=["energy", "forces", "dipole"])
    other, report = loaded.frames, loaded.report
    for target in names:
        assert other.targets[target].numpy() == pytest.approx(
            plain.targets[target].numpy(), abs=1e-7
        )
    # ASE itself reads `Forces` and the like case by case; the label is found in either place.
    assert {row.key.lower() for row in report.rows} == {key.lower() for key in names.values()}


def test_total_charges_are_reported(tmp_path: Path) -> None:
    structures = [molecule("H2O"), molecule("CH4")]
    structures[0].info.update(energy=-1.0, Charge=-2)
    structures[1].info.update(energy=-2.0, Charge=0)
    ase.io.write(tmp_path / "a.extxyz", structures)
    loaded = read_frames(tmp_path / "a.extxyz", targets=["energy"])
    frames, report = loaded.frames, loaded.report
    assert frames.total_charge.tolist() == [-2, 0]
    assert (report.rows[-1].name, report.rows[-1].key, report.rows[-1].minimum) == (
        "total_charge",
        "Charge",
        -2.0,
    )


def test_keys_and_units_of_ones_own(tmp_path: Path, labelled) -> None:
    structures = renamed(labelled(), {"energy": "E_ccsd", "forces": "F_ccsd", "dipole": "d"})
    for atoms in structures:
        atoms.info["E_ccsd"] /= units.Hartree
        atoms.arrays["F_ccsd"] /= units.kcal / units.mol
    ase.io.write(tmp_path / "a.extxyz", structures)
    keys = {"energy": "E_ccsd", "forces": "f_CCSD", "dipole": "d"}
    converted = {"energy": "Ha", "forces": "kcal/mol/Å", "dipole": "D"}
    loaded = read_frames(
        tmp_path / "a.extxyz", targets=["energy", "forces", "dipole"], keys=keys, units=converted
    )
    frames, report = loaded.frames, loaded.report
    expected = labelled()
    assert frames.targets["energy"].numpy() == pytest.approx(
        [atoms.calc.results["energy"] for atoms in expected]
    )
    assert frames.targets["forces"].numpy() == pytest.approx(
        np.concatenate([atoms.calc.results["forces"] for atoms in expected]), abs=1e-6
    )
    assert frames.targets["dipole"].numpy() == pytest.approx(
        units.Debye * np.stack([atoms.calc.results["dipole"] for atoms in expected]), abs=1e-6
    )
    assert [row.unit for row in report.rows] == ["Ha", "kcal/mol/Å", "D"]
    assert report.warnings == ()


def test_missing_labels_name_what_is_there(tmp_path: Path, labelled) -> None:
    ase.io.write(
        tmp_path / "a.extxyz", renamed(labelled(), {"energy": "E_ccsd", "forces": "F_ccsd"})
    )
    start = time.perf_counter()
    with pytest.raises(UserError) as error:
        read_frames(tmp_path / "a.extxyz", targets=["energy"])
    assert time.perf_counter() - start < 5
    message = str(error.value)
    assert "\n" not in message
    for part in (
        "no labels for the target 'energy' in 4 frames",
        "info: E_ccsd",
        "arrays: F_ccsd",
        "data.keys.energy=KEY",
    ):
        assert part in message
    with pytest.raises(UserError, match="under the key 'nothing'"):
        read_frames(tmp_path / "a.extxyz", targets=["energy"], keys={"energy": "nothing"})


def test_a_long_file_without_the_label_is_given_up_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labelled
) -> None:
    monkeypatch.setattr("molequi.datasets.formats.extxyz._FRAMES_BEFORE_GIVING_UP", 3)
    ase.io.write(tmp_path / "a.extxyz", labelled())
    with pytest.raises(
        UserError, match="first frames: no labels for the target 'polarizability' in 3 frames"
    ):
        read_frames(tmp_path / "a.extxyz", targets=["polarizability"])


def test_a_key_of_the_wrong_shape_is_explained(tmp_path: Path, labelled) -> None:
    structures = labelled()
    for atoms in structures:
        atoms.calc.results.pop("dipole")
        atoms.info["mu"] = 1.7
        atoms.info["polarizability"] = "unknown"
    ase.io.write(tmp_path / "a.extxyz", structures)
    with pytest.raises(
        UserError,
        match=r"'mu' \(info\) cannot be the target 'dipole': it holds 1 number, expected 3 number",
    ):
        read_frames(tmp_path / "a.extxyz", targets=["dipole"])
    with pytest.raises(UserError, match="it holds the text 'unknown', expected 9 number"):
        read_frames(tmp_path / "a.extxyz", targets=["polarizability"])


def test_settings_for_no_target_are_refused(tmp_path: Path, labelled) -> None:
    ase.io.write(tmp_path / "a.extxyz", labelled())
    with pytest.raises(
        UserError, match="data.units names 'forces', which is no target; the targets are energy"
    ):
        read_frames(tmp_path / "a.extxyz", targets=["energy"], units={"forces": "eV/Å"})
    with pytest.raises(UserError, match="did you mean 'hartree'"):
        read_frames(tmp_path / "a.extxyz", targets=["energy"], units={"energy": "hartre"})


def test_two_candidates_are_told_apart(tmp_path: Path, labelled) -> None:
    """MACE and others write their own results beside the reference.

    A REF_ name is the reference.
    """
    structures = labelled()
    for index, atoms in enumerate(structures):
        atoms.info["REF_energy"] = -100.0 - index
    ase.io.write(tmp_path / "a.extxyz", structures)
    loaded = read_frames(tmp_path / "a.extxyz", targets=["energy"])
    frames, report = loaded.frames, loaded.report
    assert frames.targets["energy"].tolist() == [-100.0, -101.0, -102.0, -103.0]
    assert any(
        "taken from 'REF_energy' (info); 'energy' (calculator) holds other values" in warning
        for warning in report.warnings
    )
    frames = read_frames(
        tmp_path / "a.extxyz", targets=["energy"], keys={"energy": "energy"}
    ).frames
    assert frames.targets["energy"][0] < -4000


def test_free_energies_beside_others_are_named(tmp_path: Path, labelled) -> None:
    structures = labelled()
    for atoms in structures:
        results = {**atoms.calc.results, "free_energy": atoms.calc.results["energy"] - 0.1}
        atoms.calc = SinglePointCalculator(atoms, **results)
    ase.io.write(tmp_path / "a.traj", structures)
    (line,) = read_frames(tmp_path / "a.traj", targets=["energy"]).report.warnings
    assert "to take that one set data.keys.energy=free_energy; forces are gradients of" in line
    chosen = {"energy": "free_energy"}
    loaded = read_frames(tmp_path / "a.traj", targets=["energy"], keys=chosen)
    assert loaded.report.warnings == ()
    assert loaded.frames.targets["energy"][0] == structures[0].calc.results["free_energy"]


def test_what_was_done_in_reading_is_said(tmp_path: Path, labelled, caplog) -> None:
    rows = "$coord angs\n 0 0 0.12 o\n 0 0.76 -0.47 h\n 0 -0.76 -0.47 h\n$end\n"
    (tmp_path / "coord").write_text(rows)
    assert inspect_in_full(tmp_path / "coord").warnings == (
        "1 structure: coordinates in Å, as $coord angs says",
    )
    with pytest.raises(UserError, match="no labels for the target 'energy'"):
        read_frames(tmp_path / "coord", targets=["energy"])
    assert "1 structure: coordinates in Å, as $coord angs says" in caplog.text
    structures = labelled()
    for atoms in structures[:3]:
        atoms.info["reading"] = "a note"
    ase.io.write(tmp_path / "a.xyz", structures)
    assert read_frames(tmp_path / "a.xyz", targets=["energy"]).report.warnings == (
        "3 structures: a note",
    )


def test_gaps_are_missing_not_zero(tmp_path: Path, labelled) -> None:
    structures = labelled()
    structures[1].calc.results.pop("dipole")
    del structures[2].calc.results["forces"]
    structures[3].calc.results["energy"] = np.nan
    ase.io.write(tmp_path / "a.traj", structures)
    loaded = read_frames(tmp_path / "a.traj", targets=["energy", "forces", "dipole"])
    frames, report = loaded.frames, loaded.report
    assert frames.targets["dipole"].isnan().any(dim=1).tolist() == [False, True, False, False]
    assert frames.targets["energy"].isnan().tolist() == [False, False, False, True]
    assert frames.targets["forces"].isnan().any(dim=1).reshape(4, 9).all(dim=1).tolist() == [
        False,
        False,
        True,
        False,
    ]
    assert [row.frames for row in report.rows] == [3, 3, 3]
    assert (
        len([warning for warning in report.warnings if "1 of 4 frames have no label" in warning])
        == 3
    )


def test_labels_that_cannot_be_read_are_told_from_those_that_are_missing(tmp_path: Path) -> None:
    frames = ['energy="-2081,0"', "energy=-2081.0", "energy=n/a", "energy=nan", ""]
    text = "".join(f"1\nProperties=species:S:1:pos:R:3 {info}\nHe 0 0 0\n" for info in frames)
    (tmp_path / "a.xyz").write_text(text)
    loaded = read_frames(tmp_path / "a.xyz", targets=["energy"])
    assert loaded.frames.targets["energy"].isnan().tolist() == [True, False, True, True, True]
    (told,) = [text for text in loaded.report.warnings if "cannot be read" in text]
    # ASE reads a decimal comma as two numbers.
    assert "frame 0 holds the numbers [-2081, 0], expected 1 number(s); 1 label of" in told


def test_constraints_do_not_zero_the_forces(tmp_path: Path, labelled) -> None:
    structures = labelled()
    for atoms in structures:
        atoms.set_constraint(FixAtoms([0, 4]))
    for name in ("a.traj", "a.extxyz", "a.db"):
        ase.io.write(tmp_path / name, structures)
        assert (ase.io.read(tmp_path / name).get_forces()[[0, 4]] == 0).all()
        loaded = read_frames(tmp_path / name, targets=["forces"])
        frames, report = loaded.frames, loaded.report
        expected = np.concatenate([atoms.calc.results["forces"] for atoms in structures])
        assert frames.targets["forces"].numpy() == pytest.approx(expected, abs=1e-7)
        assert report.warnings == ()


@pytest.mark.parametrize("axes", [[0, 1, 2], [0, 2], [1]])
def test_forces_zeroed_by_a_constraint_count_as_missing(tmp_path, labelled, axes) -> None:
    structures = labelled()
    structures[0].calc.results["forces"][np.ix_([0, 4], axes)] = 0.0
    held = FixCartesian([0, 4], mask=[axis in axes for axis in range(3)])
    structures[0].set_constraint(FixAtoms([0, 4]) if len(axes) == 3 else held)
    ase.io.write(tmp_path / "a.extxyz", structures)
    loaded = read_frames(tmp_path / "a.extxyz", targets=["forces"])
    frames, report = loaded.frames, loaded.report
    assert frames.targets["forces"].isnan().any(dim=1).nonzero()[:, 0].tolist() == [0, 4]
    assert any("2 constrained atoms in 1 frames" in warning for warning in report.warnings)


def test_tensors_and_stress(tmp_path: Path) -> None:
    atoms = ase.Atoms("H", cell=[3, 3, 3], pbc=True)
    voigt = np.arange(1.0, 7.0)
    atoms.calc = SinglePointCalculator(atoms, stress=voigt)
    tensor = np.arange(9.0).reshape(3, 3) + 1
    atoms.info["polarizability"] = tensor.ravel()
    atoms.info["beta"] = tensor
    for name in ("a.traj", "a.extxyz"):
        ase.io.write(tmp_path / name, atoms)
        frames = read_frames(
            tmp_path / name, targets=["stress", "polarizability", "rosenfeld"]
        ).frames
        # ASE's order: xx, yy, zz, yz, xz, xy.
        assert frames.targets["stress"][0].tolist() == [[1, 6, 5], [6, 2, 4], [5, 4, 3]]
        assert frames.targets["polarizability"][0].tolist() == tensor.tolist()
        assert frames.targets["rosenfeld"][0].tolist() == tensor.tolist()


def test_declared_rows_and_yes_no(tmp_path: Path) -> None:
    structures = [molecule("H2O") for _ in range(4)]
    for atoms, answer in zip(structures, ["yes", "no", True, 0], strict=True):
        atoms.info["active"] = answer
        atoms.arrays["shift"] = np.arange(3.0)
    ase.io.write(tmp_path / "a.extxyz", structures)
    rows = [
        declare("active", unit="1", binary=True),
        declare("shielding", unit="ppm", per_atom=True, aliases=["shift"]),
    ]
    frames = read_frames(tmp_path / "a.extxyz", targets=rows).frames
    assert frames.targets["active"].tolist() == [1, 0, 1, 0]
    assert frames.targets["shielding"].tolist() == [0, 1, 2] * 4
    structures[2].info["active"] = 0.5
    ase.io.write(tmp_path / "a.extxyz", structures)
    with pytest.raises(UserError, match="active of frame 2 is 0.5; a yes/no label is 0 or 1"):
        read_frames(tmp_path / "a.extxyz", targets=rows)


def test_infinite_labels_and_damaged_frames(tmp_path: Path, labelled) -> None:
    structures = labelled()
    structures[2].calc.results["energy"] = np.inf
    ase.io.write(tmp_path / "a.traj", structures)
    with pytest.raises(UserError, match="a.traj: energy of frame 2 is infinite"):
        read_frames(tmp_path / "a.traj", targets=["energy"])
    structures[2].calc.results["energy"] = 1e300
    ase.io.write(tmp_path / "a.traj", structures)
    with pytest.raises(UserError, match=r"energy of frame 2 is 1e\+300 in size; remove the frame"):
        read_frames(tmp_path / "a.traj", targets=["energy"])
    (tmp_path / "a.xyz").write_text("1\nenergy=1\nH 0 0 0\n1\nenergy=1\nH x 0 0\n")
    with pytest.raises(
        UserError, match=r"a\.xyz, frame 1: line 6: expected SYMBOL X Y Z, got 'H x 0 0'"
    ):
        read_frames(tmp_path / "a.xyz", targets=["energy"])


def test_report_is_a_table(tmp_path: Path, labelled) -> None:
    ase.io.write(tmp_path / "a.extxyz", labelled())
    report = read_frames(tmp_path / "a.extxyz", targets=["energy", "forces"]).report
    head, energy, forces = report_lines(report)
    assert head.split() == [
        "label",
        "key",
        "where",
        "frames",
        "unit",
        "in",
        "file",
        "min",
        "/",
        "mean",
        "/",
        "max",
    ]
    assert energy.split()[:5] == ["energy", "energy", "calculator", "4", "eV"]
    assert forces.split()[4] == "eV/Å"


def test_inspect_finds_everything(tmp_path: Path, labelled) -> None:
    structures = labelled()
    for atoms in structures:
        atoms.info["REF_energy"] = -1.0
    ase.io.write(tmp_path / "a.extxyz", structures)
    report = inspect_frames(tmp_path / "a.extxyz")
    assert {row.name for row in report.rows} == {"energy", "forces", "dipole", "charges"}
    assert report.keys["info"] == {"REF_energy": 4}
    (tmp_path / "b.xyz").write_text("1\n\nH 0 0 0\n")
    assert inspect_frames(tmp_path / "b.xyz").rows == ()


def test_inspect_offers_virials_and_tells_holes(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").write_text(
        '2\nLattice="10 0 0 0 10 0 0 0 10" Properties=species:S:1:pos:R:3:forces:R:3 '
        'virial="3 0 0 0 2 0 0 0 1" pbc="T T T"\n'
        "H 0 0 0 0.1 nan 0\nH 0 0 0.74 0 0 0\n"
    )
    report = inspect_frames(tmp_path / "a.xyz")
    found = {row.name: row for row in report.rows}
    assert set(found) == {"forces", "stress"}
    assert (found["stress"].key, found["stress"].unit) == ("virial", "eV")
    assert any("forces: some numbers of 1 of 1 labels are NaN" in w for w in report.warnings)
    frames = read_frames(tmp_path / "a.xyz", targets=["stress"]).frames
    stress = frames.targets["stress"][0].diagonal().tolist()
    assert stress == pytest.approx([-0.003, -0.002, -0.001])


def test_agrees_with_ase(checkout: Path) -> None:
    path = checkout / "data" / "samples" / "ethanol.extxyz.gz"
    frames = read_frames(path, targets=["energy", "forces"]).frames
    oracle = ase.io.read(path, index=":")
    assert len(frames) == len(oracle)
    assert frames.targets["energy"].numpy() == pytest.approx(
        [atoms.get_potential_energy() for atoms in oracle]
    )
    assert np.array_equal(
        frames.targets["forces"], np.concatenate([atoms.get_forces() for atoms in oracle])
    )
    assert np.array_equal(frames.positions, np.concatenate([atoms.positions for atoms in oracle]))
