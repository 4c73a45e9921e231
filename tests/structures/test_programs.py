"""Charge and spin in the files of programs."""

from __future__ import annotations

from pathlib import Path

import ase
import pytest

from molequi.structures.programs import note_printed
from molequi.structures.readers import read_structures

TEXTS = {
    "Gaussian": " Charge = -1 Multiplicity = 2\n ...\n Charge = -1 Multiplicity = 2\n",
    "ORCA": " Total Charge           Charge          ....   -1\n"
    " Multiplicity           Mult            ....    2\n",
    "Turbomole": "$chrg -1\n$uhf 1\n",
    "NWChem": "charge -1\ndft\n mult 2\nend\n",
}


@pytest.mark.parametrize("program", list(TEXTS))
def test_what_programs_write(program: str) -> None:
    atoms = ase.Atoms("H2")
    note_printed(atoms, TEXTS[program])
    assert (atoms.info["charge"], atoms.info["spin_multiplicity"]) == (-1, 2)
    assert atoms.info["charge_source"] == "the program's file"
    other = ase.Atoms("H2")  # two jobs: which is meant is not certain
    note_printed(other, TEXTS[program] + TEXTS[program].replace("-1", "0"))
    assert "charge" not in other.info


def test_a_coordinate_file_of_turbomole(tmp_path: Path) -> None:
    rows = "$coord\n 0 0 0.22 o\n 0 1.43 -0.89 h\n 0 -1.43 -0.89 h\n"
    (tmp_path / "coord").write_text(f"{rows}$chrg 1\n$spin 1\n$end\n")
    ((_, cation),) = read_structures(tmp_path / "coord")
    assert (cation.info["charge"], cation.info["spin_multiplicity"]) == (1, 2)


CIF = """data_x
_cell_length_a 8
_cell_length_b 8
_cell_length_c 8
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P 1'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
"""


@pytest.mark.parametrize(
    ("sites", "message"),
    [
        ("O1 O 0.1 0.1 0.1 1\nH1 H 0.1 0.2 0.1 0.5\n", "site 1 is occupied by H 0.5"),
        ("Au1 Au 0 0 0 0.5\nCu1 Cu 0 0 0 0.5\n", "is occupied by Au 0.5, Cu 0.5"),
    ],
)
def test_disorder_in_a_crystal_is_refused(tmp_path: Path, sites: str, message: str) -> None:
    (tmp_path / "a.cif").write_text(CIF + sites)
    ((_, found),) = read_structures(tmp_path / "a.cif")
    assert message in found
    (tmp_path / "a.cif").write_text(CIF + sites.splitlines()[0].replace("0.5", "1") + "\n")
    ((_, found),) = read_structures(tmp_path / "a.cif")
    assert len(found) == 1


def test_a_placeholder_cell(tmp_path: Path) -> None:
    sites = "O1 O 0.1 0.1 0.1 1\nH1 H 0.9 0.9 0.1 1\n"
    (tmp_path / "a.cif").write_text(CIF.replace(" 8", " 1") + sites)
    ((_, found),) = read_structures(tmp_path / "a.cif")
    assert found.startswith("the cell is a cube of 1 Å")


def test_deuterium_in_a_crystal(tmp_path: Path) -> None:
    (tmp_path / "a.cif").write_text(CIF + "O1 O 0.1 0.1 0.1 1\nD1 D 0.1 0.2 0.1 1\n")
    ((_, found),) = read_structures(tmp_path / "a.cif")
    assert found.get_masses()[1] == pytest.approx(2.0141, abs=1e-3)
