"""PDB files: elements, locations, models, cells and charges by their columns."""

from __future__ import annotations

from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest
from ase.build import molecule

from molequi.structures.readers import read_structures

METHANOL = (
    (" C1 ", -0.047, 0.664, 0.0, "C"),
    (" O1 ", -0.047, -0.758, 0.0, "O"),
    (" H1 ", -1.093, 0.974, 0.0, "H"),
    (" H2 ", 0.438, 1.072, 0.889, "H"),
    (" H3 ", 0.438, 1.072, -0.889, "H"),
    (" HO1", 0.878, -1.044, 0.0, "H"),
)


def record(name, x, y, z, element="", location=" ", occupancy=1.0, charge="", residue="MOH") -> str:
    return (
        f"HETATM    1 {name:4}{location}{residue:3} A   1    {x:8.3f}{y:8.3f}{z:8.3f}"
        f"{occupancy:6.2f}{0.0:6.2f}          {element:>2}{charge:2}\n"
    )


def read(folder: Path, text: str) -> list[ase.Atoms | str]:
    (folder / "a.pdb").write_text(text)
    return [item for _, item in read_structures(folder / "a.pdb")]


def test_as_ase_reads_it(tmp_path: Path) -> None:
    """The oracle for a plain file."""
    crystal = molecule("CH3CH2OH", cell=[6.0, 7.0, 8.0], pbc=True)
    ase.io.write(tmp_path / "a.pdb", [crystal, crystal])
    expected = ase.io.read(tmp_path / "a.pdb", index=":")
    found = [item for _, item in read_structures(tmp_path / "a.pdb")]
    assert len(found) == 2
    assert found[0].positions == pytest.approx(expected[0].positions, abs=1e-12)
    assert np.asarray(found[0].cell) == pytest.approx(np.asarray(expected[0].cell), abs=1e-9)
    assert found[0].symbols.get_chemical_formula() == "C2H6O"


@pytest.mark.parametrize(
    "names",
    [
        [" CA ", " OH ", " HA1", " HA2", " HA3", " HO "],
        [" C1 ", " O1 ", "1H1 ", "2H1 ", "3H1 ", "1HO1"],
        [" C  ", " O  ", "HC11", "HC12", "HC13", "HO11"],
    ],
)
def test_elements_from_names(tmp_path: Path, names: list[str]) -> None:
    rows = (record(name, *row[1:4]) for name, row in zip(names, METHANOL, strict=True))
    (found,) = read(tmp_path, "".join(rows) + "END\n")
    assert found.get_chemical_symbols() == ["C", "O", "H", "H", "H", "H"]
    assert "elements are told from the atom names" in found.info["reading"]


def test_names_of_two_letters(tmp_path: Path) -> None:
    text = record("CL1 ", 0, 0, 0) + record("NA  ", 0, 0, 3, residue="NA")
    (found,) = read(tmp_path, text)
    assert found.get_chemical_symbols() == ["Cl", "Na"]
    (found,) = read(tmp_path, record("CA  ", 0, 0, 0))
    assert found == (
        "line 1: the element of atom 'CA' is not certain (Ca or C?); fill columns 77-78"
    )
    (found,) = read(tmp_path, record("CA  ", 0, 0, 0, "CA"))
    assert found.get_chemical_symbols() == ["Ca"]


def test_deuterium(tmp_path: Path) -> None:
    for element in ("D", ""):
        rows = record(" O  ", 0, 0, 0.1, "O") + record(" D1 ", 0, 0.7, -0.4, element)
        (found,) = read(tmp_path, rows)
        assert found.get_chemical_formula() == "HO"
        assert found.get_masses()[1] == pytest.approx(2.0141018, abs=1e-6)


def test_alternate_locations_of_a_residue(tmp_path: Path) -> None:
    fixed = "".join(record(*row) for row in METHANOL[:2])
    a = "".join(record(*row, location="A", occupancy=0.4) for row in METHANOL[2:])
    b = "".join(
        record(name, -x, y, z, element, location="B", occupancy=0.6)
        for name, x, y, z, element in METHANOL[2:]
    )
    (found,) = read(tmp_path, fixed + a + b)
    assert found.get_chemical_formula() == "CH4O"
    assert found.positions[2:, 0] == pytest.approx([-row[1] for row in METHANOL[2:]])
    assert "4 alternate locations of lower occupancy are left out" in found.info["reading"]
    (equal,) = read(
        tmp_path, fixed + (a + b).replace("  0.40", "  0.50").replace("  0.60", "  0.50")
    )
    assert "4 alternate locations of no higher occupancy" in equal.info["reading"]
    (found,) = read(tmp_path, fixed + a)  # no alternative: kept, and said
    assert found.get_chemical_formula() == "CH4O"
    assert "4 atoms with an occupancy below 1 count as whole" in found.info["reading"]


def test_models_cells_and_empty_ends(tmp_path: Path) -> None:
    rows = "".join(record(*row) for row in METHANOL)
    cell = "CRYST1    6.000    7.000    8.000  90.00  90.00 100.00 P 1           1\n"
    text = f"{cell}MODEL        1\n{rows}TER\nENDMDL\nMODEL        2\n{rows}ENDMDL\nEND\n"
    first, second = read(tmp_path, text)
    assert first == second
    assert first.cell.cellpar() == pytest.approx([6, 7, 8, 90, 90, 100])
    assert first.pbc.all()


def test_placeholder_cells_and_symmetry(tmp_path: Path) -> None:
    rows = "".join(record(*row) for row in METHANOL)
    one = "CRYST1    1.000    1.000    1.000  90.00  90.00  90.00 P 1           1\n"
    (found,) = read(tmp_path, one + rows)
    assert not found.pbc.any()
    assert "CRYST1 gives a cell of 1 Å" in found.info["reading"]
    (found,) = read(tmp_path, one.replace("P 1    ", "P 21 21 21").replace("1.0", "9.0") + rows)
    assert "space group P 21 21 21" in found


def test_charges_of_columns_79_and_80(tmp_path: Path) -> None:
    rows = record(" O  ", 0, 0, 0, "O", charge="1-") + record(" H  ", 0, 0, 1, "H")
    (found,) = read(tmp_path, rows)
    assert (found.info["charge"], found.info["charge_source"]) == (
        -1,
        "columns 79-80 of the PDB file",
    )
    (found,) = read(tmp_path, rows.replace("1-", "-1"))
    assert found.info["charge"] == -1


def test_a_damaged_model_costs_only_itself(tmp_path: Path) -> None:
    good = "".join(record(*row) for row in METHANOL) + "ENDMDL\n"
    first, bad, last = read(tmp_path, good + good.replace("-0.758", "  what") + good)
    assert bad == "line 9: a coordinate in columns 31-54 is no number"
    assert len(first) == len(last) == 6
