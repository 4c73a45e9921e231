"""Atoms with names or types in the place of elements."""

from __future__ import annotations

from pathlib import Path

import pytest

from molequi.structures.readers import read_structures

DUMP = """ITEM: TIMESTEP
0
ITEM: NUMBER OF ATOMS
2
ITEM: BOX BOUNDS pp pp pp
0 10
0 10
0 10
ITEM: ATOMS id {} x y z
1 {} 1 1 1
2 {} 1 1 2
"""
GRO = """ions
    {}
{}   {box} {box} {box}
"""


def read(path: Path, text: str):
    path.write_text(text)
    return next(found for _, found in read_structures(path))


def gro(path: Path, names: list[tuple[str, str]], box: str = "2.00000"):
    rows = "".join(
        f"{index:5d}{residue:<5s}{name:>5s}{index:5d}{0.5 * index:8.3f}{0:8.3f}{0:8.3f}\n"
        for index, (residue, name) in enumerate(names, start=1)
    )
    return read(path, GRO.format(len(names), rows, box=box))


def test_types_of_lammps_are_no_elements(tmp_path: Path) -> None:
    assert "no elements" in read(tmp_path / "a.lammpstrj", DUMP.format("type", 1, 2))
    found = read(tmp_path / "a.lammpstrj", DUMP.format("element", "O", "H"))
    assert found.get_chemical_symbols() == ["O", "H"]


def test_ions_and_carbons_of_gromacs(tmp_path: Path) -> None:
    names = [("NA", "NA"), ("CL", "CL"), ("SOD", "SOD"), ("CA", "CA"), ("LIG", "CL1")]
    found = gro(tmp_path / "a.gro", [*names, ("ALA", "CA"), ("ALA", "HG1"), ("SOL", "OW")])
    assert found.get_chemical_symbols() == ["Na", "Cl", "Na", "Ca", "Cl", "C", "H", "O"]
    assert "told from the atom names" in found.info["reading"]
    assert gro(tmp_path / "a.gro", [("SOL", "OW"), ("SOL", "HW1")]).pbc.all()


def test_a_virtual_site_and_a_box_of_zeros(tmp_path: Path) -> None:
    assert "MW) is a virtual site" in gro(tmp_path / "a.gro", [("SOL", "OW"), ("SOL", "MW")])
    assert not gro(tmp_path / "a.gro", [("SOL", "OW"), ("SOL", "HW1")], "0.00000").pbc.any()


@pytest.mark.parametrize(("name", "element"), [("SOD", "Na"), ("CLA", "Cl"), ("POT", "K")])
def test_ions_of_charmm_in_a_pdb(tmp_path: Path, name: str, element: str) -> None:
    row = f"HETATM    1 {name}  {name} A   1       0.000   0.000   0.000  1.00  0.00\nEND\n"
    assert read(tmp_path / "a.pdb", row).get_chemical_symbols() == [element]
