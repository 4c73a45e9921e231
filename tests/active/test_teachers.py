"""Labels that are right, kept, and never computed twice."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.io import read, write

from molequi.active.loop import learn_actively
from molequi.active.teachers import CalculatorTeacher, LevelTeacher
from molequi.errors import UserError
from molequi.structures.writers import write_results


@pytest.fixture
def frames(tmp_path):
    """A file with five water molecules, each with its name and a foreign energy."""
    path, made = tmp_path / "frames.xyz", []
    for seed in range(5):
        atoms = molecule("H2O")
        atoms.rattle(0.05, seed=seed)
        atoms.info |= {"name": f"frame {seed}", "charge": 0, "energy": 17.0}
        made.append(atoms)
    write(path, made)
    return path


def test_labels_are_those_of_the_calculator(frames, tmp_path, emt):
    found = CalculatorTeacher("emt", emt).label(frames, tmp_path / "labels.xyz")
    assert [atoms.info["name"] for atoms in found] == [f"frame {k}" for k in range(5)]
    for atoms, asked in zip(found, read(frames, ":"), strict=True):
        asked.calc = EMT()
        assert atoms.get_potential_energy() == pytest.approx(asked.get_potential_energy(), abs=1e-7)
        np.testing.assert_allclose(atoms.get_forces(), asked.get_forces(), atol=1e-7)
        assert atoms.info["level"] == "emt"
    assert emt.n_calls == 5


@pytest.mark.parametrize("ends_at", [0, 3, 4])
def test_no_label_is_computed_twice(frames, tmp_path, emt, ends_at):
    output, emt.ends_at = tmp_path / "labels.xyz", ends_at
    with pytest.raises(KeyboardInterrupt):
        CalculatorTeacher("emt", emt).label(frames, output)
    assert not output.exists()
    emt.ends_at = None
    found = CalculatorTeacher("emt", emt).label(frames, output)
    assert (len(found), emt.n_calls) == (5, 5)
    CalculatorTeacher("emt", emt).label(frames, output)
    assert emt.n_calls == 5


def test_no_other_run_takes_the_journal_while_the_output_is_written(
    frames, tmp_path, emt, monkeypatch
):
    output = tmp_path / "labels.xyz"

    def write_beside_another(*arguments):
        with pytest.raises(UserError, match="another run is writing"):
            CalculatorTeacher("emt", emt).label(frames, output)
        write_results(*arguments)

    monkeypatch.setattr("molequi.active.teachers.write_results", write_beside_another)
    assert len(CalculatorTeacher("emt", emt).label(frames, output)) == 5
    assert emt.n_calls == 5


def test_labels_of_another_calculator_are_not_mixed(frames, tmp_path, emt):
    output, emt.ends_at = tmp_path / "labels.xyz", 2
    with pytest.raises(KeyboardInterrupt):
        CalculatorTeacher("emt", emt).label(frames, output)
    with pytest.raises(UserError, match="was written for"):
        CalculatorTeacher("another", emt).label(frames, output)


def test_a_frame_without_a_label_is_told_and_the_others_stay(frames, tmp_path, emt, caplog):
    strange = molecule("H2O")
    strange.symbols[0] = "Xe"
    strange.info |= {"name": "strange", "charge": 0}
    write(frames, [strange, *read(frames, ":")])
    found = CalculatorTeacher("emt", emt).label(frames, tmp_path / "labels.xyz")
    assert len(found) == 5
    assert "no label for strange" in caplog.text
    write(frames, [strange])
    with pytest.raises(UserError, match="emt gives no label for any frame: strange"):
        CalculatorTeacher("emt", emt).label(frames, tmp_path / "others.xyz")


def test_a_level_labels_what_molequi_label_would(frames, tmp_path):
    tblite = pytest.importorskip("tblite.ase", reason="tblite is not installed")
    found = LevelTeacher("gfn2-xtb", 1).label(frames, tmp_path / "labels.xyz")
    assert [atoms.info["name"] for atoms in found] == [f"frame {k}" for k in range(5)]
    for atoms in found[:2]:
        alone = atoms.copy()
        alone.calc = tblite.TBLite(method="GFN2-xTB", verbosity=0)
        np.testing.assert_allclose(atoms.get_forces(), alone.get_forces(), atol=1e-4)


def test_a_level_without_forces_is_refused():
    with pytest.raises(UserError, match="unknown level"):
        LevelTeacher("nonsense")


def test_a_level_is_checked_before_anything_moves(tmp_path):
    pytest.importorskip("pyscf", reason="pyscf is not installed")
    with pytest.raises(UserError, match="PySCF has no basis 'nonsense' for H, O"):
        learn_actively(molecule("H2O"), LevelTeacher("hf/nonsense"), tmp_path / "learned")
    assert not (tmp_path / "learned").exists()
