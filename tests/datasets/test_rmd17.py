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


def save_ethanols(path: Path, structures: list[ase.Atoms], scale: float, **stated: str) -> None:
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
    assert "fit total energies in Ha" in loaded.report.warnings[0]
