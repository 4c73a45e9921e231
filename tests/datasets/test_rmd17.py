"""Arrays of one's own in the layout of rMD17, or flat: their units are read, taken and doubted."""

from __future__ import annotations

from pathlib import Path

import ase
import numpy as np
import pytest
from ase import units

from molequi.datasets.base import Request
from molequi.datasets.formats.flat_npz import FlatNpz
from molequi.datasets.rmd17 import Rmd17, load_rmd17
from molequi.errors import UserError
from molequi.properties import PROPERTIES


def save_ethanols(path: Path, structures: list[ase.Atoms], scale: float, **stated: object) -> None:
    """Write labelled frames in rMD17's layout, energies and forces times `scale`."""
    np.savez(
        path,
        z=structures[0].numbers,
        R=[atoms.positions for atoms in structures],
        E=[atoms.calc.results["energy"] * scale for atoms in structures],
        F=[atoms.calc.results["forces"] * scale for atoms in structures],
        **stated,
    )


def test_units_that_an_npz_states(tmp_path: Path, labelled) -> None:
    structures = labelled()
    save_ethanols(tmp_path / "a.npz", structures, 1 / units.Hartree, e_unit="Ha", r_unit="Ang")
    loaded = load_rmd17(tmp_path / "a.npz")
    expected = [atoms.calc.results["energy"] for atoms in structures]
    assert loaded.frames.targets["energy"].tolist() == pytest.approx(expected)
    forces = np.concatenate([atoms.calc.results["forces"] for atoms in structures])
    assert loaded.frames.targets["forces"].numpy() == pytest.approx(forces)
    assert [(row.key, row.unit) for row in loaded.report.rows] == [("E", "Ha"), ("F", "Ha/Ang")]
    save_ethanols(tmp_path / "b.npz", structures, 1.0, e_unit="furlong")
    with pytest.raises(UserError, match=r"b\.npz, e_unit and r_unit: unit 'furlong'"):
        load_rmd17(tmp_path / "b.npz")


def test_units_of_an_npz_are_doubted_and_can_be_given(tmp_path: Path, labelled) -> None:
    structures = labelled()
    save_ethanols(tmp_path / "a.npz", structures, 1.0)
    targets = (PROPERTIES["energy"], PROPERTIES["forces"])
    doubted = Rmd17().load(Request(str(tmp_path / "a.npz"), targets))
    assert (
        "taken as kcal/mol, but the values fit total energies in eV" in doubted.report.warnings[0]
    )
    assert Rmd17().inspect(tmp_path / "a.npz").notes == doubted.report.warnings
    given = {"energy": "eV", "forces": "eV/Å"}
    right = Rmd17().load(Request(str(tmp_path / "a.npz"), targets, units=given))
    assert right.report.warnings == ()
    assert float(right.frames.targets["energy"][0]) == structures[0].calc.results["energy"]
    with pytest.raises(UserError, match="data.units names 'gap'; this file has energy, forces"):
        Rmd17().load(Request(str(tmp_path / "a.npz"), targets, units={"gap": "eV"}))


def test_a_flat_npz_is_doubted(tmp_path: Path, labelled) -> None:
    structures = labelled()
    np.savez(
        tmp_path / "a.npz",
        n_atoms=[len(atoms) for atoms in structures],
        z=np.concatenate([atoms.numbers for atoms in structures]),
        pos=np.concatenate([atoms.positions for atoms in structures]),
        energy=[atoms.calc.results["energy"] / units.Hartree for atoms in structures],
        meta="{}",
    )
    loaded = FlatNpz().load(Request(str(tmp_path / "a.npz"), (PROPERTIES["energy"],)))
    words = "fit total energies in Ha; if so convert energy from Ha in the file"
    assert words in loaded.report.warnings[0]


@pytest.mark.parametrize("scale", [-1.0, 3.0, 500.0])
def test_no_doubt_about_a_flat_npz_advises_units(tmp_path: Path, labelled, scale: float) -> None:
    structures = labelled(30)
    rng, at_rest = np.random.default_rng(0), structures[0].positions.copy()
    for atoms in structures:
        atoms.positions = at_rest + 0.01 * rng.normal(size=(9, 3))
    steps = [atoms.positions - at_rest for atoms in structures]
    np.savez(
        tmp_path / "a.npz",
        n_atoms=[9] * 30,
        z=np.concatenate([atoms.numbers for atoms in structures]),
        pos=np.concatenate([atoms.positions for atoms in structures]),
        energy=[-4209.0 + 0.5 * 30.0 * (step**2).sum() for step in steps],
        forces=np.concatenate([-30.0 * scale * step for step in steps]),
        meta="{}",
    )
    targets = (PROPERTIES["energy"], PROPERTIES["forces"])
    lines = FlatNpz().load(Request(str(tmp_path / "a.npz"), targets)).report.warnings
    assert any(line.startswith("forces: ") for line in lines)
    assert not any("data.units" in line for line in lines)


def test_the_lattice_of_an_npz_has_its_vectors_as_columns(tmp_path: Path, labelled) -> None:
    structures = labelled()
    cell = np.array([[9.0, 0.0, 0.0], [2.0, 8.0, 0.0], [1.0, -1.0, 7.0]])
    bohr = {"e_unit": "eV", "r_unit": "bohr"}
    save_ethanols(tmp_path / "a.npz", structures, 1.0, lattice=cell.T / units.Bohr, **bohr)
    frames = load_rmd17(tmp_path / "a.npz").frames
    assert frames.pbc.all()
    assert len(frames.cell) == len(structures)
    assert frames.cell[-1].numpy() == pytest.approx(cell)
    save_ethanols(tmp_path / "a.npz", structures, 1.0, lattice=np.zeros((3, 3)))
    assert not load_rmd17(tmp_path / "a.npz").frames.pbc.any()
    for lattice, fault in ((np.ones(3), r"has shape \(3,\)"), (np.ones((3, 3)), "dependent")):
        save_ethanols(tmp_path / "a.npz", structures, 1.0, lattice=lattice)
        with pytest.raises(UserError, match=f"lattice.*{fault}"):
            load_rmd17(tmp_path / "a.npz")


def test_charges_that_an_npz_states(tmp_path: Path, labelled) -> None:
    structures = labelled()
    save_ethanols(tmp_path / "a.npz", structures, 1.0, charge=-1)
    frames = load_rmd17(tmp_path / "a.npz").frames
    assert frames.total_charge.tolist() == [-1] * 4
    assert frames.spin_multiplicity.tolist() == [2] * 4
    of_each = {"Q": np.array([0.0, 1.0, 0.0, -2.0]), "multiplicity": np.array([3, 2, 1, 1])}
    save_ethanols(tmp_path / "a.npz", structures, 1.0, **of_each)
    frames = load_rmd17(tmp_path / "a.npz").frames
    assert frames.total_charge.tolist() == [0, 1, 0, -2]
    assert frames.spin_multiplicity.tolist() == [3, 2, 1, 1]
    save_ethanols(tmp_path / "a.npz", structures, 1.0, q=np.ones((4, 9)))
    assert not load_rmd17(tmp_path / "a.npz").frames.total_charge.any()
    save_ethanols(tmp_path / "a.npz", structures, 1.0, charge=-1, total_charge=1)
    with pytest.raises(UserError, match=r"a\.npz: two places disagree about the total charge"):
        load_rmd17(tmp_path / "a.npz")
