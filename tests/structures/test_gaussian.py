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
