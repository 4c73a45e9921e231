"""Inputs of Gaussian: charge, multiplicity, isotopes."""

from __future__ import annotations

from pathlib import Path

import pytest

from molequi.structures.readers import read_structures

INPUT = """%chk=a.chk
#p b3lyp/6-31g(d)

hydroxide

-1 1
O(Iso=18) 0.0 0.0 0.0
H(Iso=2) 0.0 0.0 0.96

"""


@pytest.mark.parametrize("name", ["a.gjf", "a.com", "a.GJF"])
def test_charge_spin_and_isotopes(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(INPUT)
    ((_, ion),) = read_structures(tmp_path / name)
    assert (ion.info["charge"], ion.info["spin_multiplicity"]) == (-1, 1)
    assert ion.info["charge_source"] == "the Gaussian input"
    assert ion.get_masses() == pytest.approx([17.999160, 2.0141018], abs=1e-5)
    assert ion.positions[1, 2] == 0.96


def test_several_jobs_and_a_damaged_one(tmp_path: Path) -> None:
    triplet = INPUT.replace("-1 1", "-1 3").replace("Iso=2", "Iso=2.5").replace("(Iso=18)", "")
    jobs = [INPUT, triplet, INPUT.replace("0.0 0.96", "0.0 here")]
    (tmp_path / "a.gjf").write_text("--Link1--\n".join(jobs))
    first, second, bad = (item for _, item in read_structures(tmp_path / "a.gjf"))
    assert len(first) == 2
    assert second.info["spin_multiplicity"] == 3
    assert second.get_masses() == pytest.approx([15.999, 2.5])
    assert bad.startswith("the Gaussian input cannot be read")


@pytest.mark.parametrize(
    ("charges", "oxygen", "hydrogen", "n_frozen"),
    [
        ("0 1", "O -1 0.0 0.0 0.117", "H 0 0.0 0.757 -0.469", 1),
        ("0,1", "O(PDBName=O,ResName=HOH,ResNum=1) 0.0 0.0 0.117", "H,0.,0.757,-0.469", 0),
        ("0 1", "8 -1 0.0 0.0 0.117", "1 0.0 0.757 -0.469", 1),
        ("0 1 0 1 0 1", "O-OW--0.8 0 0.0 0.0 0.117 H", "H-HW-0.4 -1 0.0 0.757 -0.469 L H-HW 1", 1),
        ("0 1", "O 0 0 0.117", "H 0 0.757 -0.469", 0),
    ],
)
def test_rows_of_gaussview(
    tmp_path: Path, charges: str, oxygen: str, hydrogen: str, n_frozen: int
) -> None:
    last = "H(PDBName=H2,Iso=2,Fragment=1) 0.0 -0.757 -0.469"
    (tmp_path / "a.gjf").write_text(f"# opt\n\nt\n\n{charges}\n{oxygen}\n{hydrogen}\n{last}\n\n")
    ((_, water),) = read_structures(tmp_path / "a.gjf")
    assert water.get_chemical_formula() == "H2O"
    assert (water.info["charge"], water.info["spin_multiplicity"]) == (0, 1)
    assert water.positions[1].tolist() == [0.0, 0.757, -0.469]
    assert water.get_masses()[2] == pytest.approx(2.0141018, abs=1e-5)
    held = [len(one.index) for one in water.constraints]
    assert sum(held) == n_frozen


def test_a_ghost_atom_is_no_atom(tmp_path: Path) -> None:
    (tmp_path / "a.gjf").write_text("# hf\n\nt\n\n0 1\nO 0.0 0.0 0.0\nH-Bq 0.0 0.0 0.96\n\n")
    ((_, found),) = read_structures(tmp_path / "a.gjf")
    assert isinstance(found, str)
