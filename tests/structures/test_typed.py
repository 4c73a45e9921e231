"""Atoms with names or types in the place of elements."""

from __future__ import annotations

from pathlib import Path

import ase.units
import pytest

from molequi.errors import UserError
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


@pytest.mark.parametrize(
    ("head", "force", "velocity"),
    [
        ("", 1.0, 1e-3 / ase.units.fs),
        ("ITEM: UNITS\nmetal\n", 1.0, 1e-3 / ase.units.fs),
        ("ITEM: UNITS\nreal\n", ase.units.kcal / ase.units.mol, 1 / ase.units.fs),
    ],
)
def test_units_of_a_dump_of_lammps(
    tmp_path: Path, head: str, force: float, velocity: float
) -> None:
    """A force and a velocity of one; no energy stands in a dump."""
    rows = DUMP.format("element", "O", "H").replace("x y z", "x y z vx vy vz fx fy fz")
    text = rows.replace("1 1 1\n", "1 1 1 1 0 0 0 1 0\n").replace("1 1 2\n", "1 1 2 0 0 0 0 0 0\n")
    found = read(tmp_path / "a.lammpstrj", head + text)
    assert found.get_forces()[0].tolist() == pytest.approx([0, force, 0])
    assert found.get_velocities()[0].tolist() == pytest.approx([velocity, 0, 0])
    assert "energy" not in found.calc.results
    assert ("units are not stated" in found.info.get("reading", "")) == (head == "")


def test_a_dump_of_lammps_in_reduced_units(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="units lj, which are not read"):
        read(tmp_path / "a.lammpstrj", "ITEM: UNITS\nlj\n" + DUMP.format("element", "O", "H"))


DATA = """{first}

2 atoms
2 atom types
0 10 xlo xhi
0 10 ylo yhi
0 10 zlo zhi

{types}
Atoms{style}

2 2 {b} 1 1 1.96 0 0 1
1 1 {a} 1 1 1.00 0 0 0

Velocities

1 1.0 0.0 0.0
2 0.0 0.0 0.0
"""
MASSES = "Masses\n\n1 15.9994 # OW\n2 {:g}\n"


def data(
    path: Path,
    types: str = MASSES.format(1.0),
    style: str = " # charge",
    first: str = "a",
    **q: str,
):
    return read(
        path, DATA.format(first=first, types=types, style=style, **{"a": "-1", "b": "0", **q})
    )


@pytest.mark.parametrize("name", ["a.data", "a.lmp", "a.lammps"])
def test_a_data_file_of_lammps(tmp_path: Path, name: str) -> None:
    """Two atoms in reverse order, the hydrogen in the next box."""
    found = data(tmp_path / name)
    assert found.get_chemical_symbols() == ["O", "H"]
    assert found.pbc.all()
    assert found.get_distance(0, 1) == pytest.approx(10.96)
    assert found.get_distance(0, 1, mic=True) == pytest.approx(0.96)
    assert found.info["charge"] == -1
    assert "velocities are left out, as no units" in found.info["reading"]
    assert not found.get_velocities().any()


def test_units_of_a_data_file_of_lammps(tmp_path: Path) -> None:
    """One Å/fs of the units real; the masses are those of the elements, as of everything read."""
    path = tmp_path / "a.data"
    found = data(path, first="LAMMPS data file via write_data, timestep = 0, units = real")
    assert found.get_velocities()[0, 0] == pytest.approx(1 / ase.units.fs)
    assert found.get_masses()[0] == pytest.approx(15.999)
    assert data(path, types=MASSES.format(2.014)).get_masses()[1] == pytest.approx(2.0141, abs=1e-3)
    with pytest.raises(UserError, match="units lj, which are not read"):
        data(path, first="LAMMPS, units = lj")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"types": MASSES.format(15.035)}, "mass 15.035, which tells no element"),
        ({"types": MASSES.format(3.024)}, "mass 3.024, which tells no element"),
        ({"types": MASSES.format(40.0)}, "mass 40, which tells no element"),
        ({"types": ""}, "tells types of atoms and no elements; add their masses"),
        ({"types": "Atom Type Labels\n\n1 OW\n2 HW\n"}, "tells types of atoms and no elements"),
        ({"style": ""}, "does not tell its style of atoms"),
    ],
)
def test_what_a_data_file_of_lammps_does_not_tell(tmp_path, changes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        data(tmp_path / "a.data", **changes)


def test_labels_and_charges_in_a_data_file_of_lammps(tmp_path: Path) -> None:
    labels = "Atom Type Labels\n\n1 O\n2 H\n"
    assert data(tmp_path / "a.data", labels).get_chemical_symbols() == ["O", "H"]
    for charge in ("0", "-0.6"):
        found = data(tmp_path / "a.data", a=charge)
        assert found.info["charge_source"].startswith("assumed")


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
