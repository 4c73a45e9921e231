"""Charge and spin in the files of programs."""

from __future__ import annotations

from pathlib import Path

import ase.build
import ase.io
import pytest

from molequi.errors import UserError
from molequi.structures.atoms import settle_electrons
from molequi.structures.gaussian import gaussian_inputs
from molequi.structures.programs import note_printed
from molequi.structures.readers import read_structures

TEXTS = {
    "gaussian-out": " Charge = -1 Multiplicity = 2\n ...\n Charge = -1 Multiplicity = 2\n",
    "orca-output": " Total Charge           Charge          ....   -1\n"
    " Multiplicity           Mult            ....    2\n",
    "turbomole": "$chrg -1\n$uhf 1\n",
    "nwchem-in": "charge -1\ndft\n mult 2\nend\n",
    "nwchem-out": "          Charge           :    -1\n          Spin multiplicity:     2\n",
    "gamess-us-out": " CHARGE OF MOLECULE                             =   -1\n"
    " SPIN MULTIPLICITY                              =    2\n",
    "espresso-in": "&system\n ! tot_charge = 5\n nat=2, tot_charge = -1.d0\n"
    " tot_magnetization = 1\n",
    "cp2k-restart": "   &DFT\n     CHARGE -1\n     MULTIPLICITY  2\n",
    "castep-castep": "   net   charge of system    : -1.000\n"
    "   net   spin   of system    :  1.000\n",
    "cjson": '{"properties": {"totalCharge": -1, "totalSpinMultiplicity": 2}}',
}


@pytest.mark.parametrize("program", list(TEXTS))
def test_what_programs_write(program: str) -> None:
    atoms = ase.Atoms("H2")
    note_printed(atoms, TEXTS[program], program)
    assert (atoms.info["charge"], atoms.info["spin_multiplicity"]) == (-1, 2)
    assert atoms.info["charge_source"] == "the program's file"
    other = ase.Atoms("H2")  # two jobs: which is meant is not certain
    note_printed(other, TEXTS[program] + TEXTS[program].replace("-1", "0"), program)
    assert "charge" not in other.info
    assert "several charges (-1, 0)" in other.info["reading"]


def test_unpaired_electrons_and_fractions_of_a_charge() -> None:
    atoms = ase.Atoms("H2")
    text = "  open shells     =     1\n  charge          =  -1.00\n"
    note_printed(atoms, text, "nwchem-out")
    assert (atoms.info["charge"], atoms.info["spin_multiplicity"]) == (-1, 2)
    note_printed(atoms, "&system tot_charge = 0.5 /", "espresso-in")
    with pytest.raises(UserError, match="not a whole number"):
        settle_electrons(atoms)


def test_fragments_and_models_of_gaussian_are_not_the_molecule() -> None:
    atoms = ase.Atoms("H2")
    text = (
        " Charge =  1 Multiplicity = 2 in supermolecule\n"
        " Charge =  0 Multiplicity = 1 in fragment      1.\n"
        " Charge =  1 Multiplicity = 2 in fragment      2.\n"
        " Charge =  1 Multiplicity = 2 for low   level calculation on real  system.\n"
        " Charge =  0 Multiplicity = 1 for high  level calculation on model system.\n"
    )
    note_printed(atoms, text, "gaussian-out")
    assert (atoms.info["charge"], atoms.info["spin_multiplicity"]) == (1, 2)


@pytest.mark.parametrize(
    ("head", "rows", "result"),
    [
        ("units au", " O 0 0 0\n H 0 0 1.8\n", 1.8 * ase.units.Bohr),
        ("noautosym units angstroms", " O 0 0 0\n H 0 0 0.96\n", 0.96),
        ("", " O1 0 0 0\n hw 0 0 9.6D-1 # in water\n\n symmetry c1\n", 0.96),
        ("", " oxygen 0 0 0\n Hydrogen2 0 0 0.96\n", 0.96),
        ("", " O 0 0 0\n hyd 0 0 0.96\n", "'hyd' is no element symbol"),
        ("", " o 0 0 0\n h 0 0 0.96\n symmetry cs\n", "leaves atoms to the symmetry cs"),
        ("", " O 0 0 0\n H 0 0 0.96 mass 2.014\n", "masses of single atoms are not read"),
        ("", " zmatrix\n O\n H 1 0.96\n end\n", "Z-matrices, files to load"),
        ("", " O 0 0 0\n bqH 0 0 0.96\n", "bqH in the geometry is a ghost atom"),
        ("units nm", " O 0 0 0\n H 0 0 0.096\n", "is in nm"),
        ("", "", "the geometry has no atoms"),
    ],
)
@pytest.mark.parametrize("behind", ["\n", "basis\n * library 6-31g\nend\n\n"])
def test_a_geometry_of_nwchem(
    tmp_path: Path, head: str, rows: str, behind: str, result: float | str
) -> None:
    path = tmp_path / "a.nw"
    path.write_text(f"start a\ncharge -1\ngeometry {head}\n{rows}END\n{behind}task scf\n")
    ((_, found),) = read_structures(path)
    if isinstance(result, str):
        assert result in found
    else:
        assert found.info["charge"] == -1
        assert found.get_chemical_symbols() == ["O", "H"]
        assert found.get_distance(0, 1) == pytest.approx(result)


@pytest.mark.parametrize(
    ("spin", "multiplicity"),
    [("dft\n mult 3\nend", 3), ("scf\n uhf\n Triplet\nend", 3), ("scf\n nopen 2\nend", 3)],
)
def test_multiplicities_of_nwchem(tmp_path: Path, spin: str, multiplicity: int) -> None:
    path = tmp_path / "a.nw"
    path.write_text(f"geometry\n O 0 0 0\n O 0 0 1.2\nend\n{spin}\ntask scf\n")
    ((_, found),) = read_structures(path)
    assert found.info["spin_multiplicity"] == multiplicity


def test_names_of_elements_of_nwchem(tmp_path: Path) -> None:
    """Names whose first two letters are another symbol: Ca, Ni."""
    path = tmp_path / "a.nw"
    path.write_text("geometry\n carbon 0 0 0\n NITROGEN1 0 0 1.2\n Cl 2 0 0\n ca1 4 0 0\nend\n")
    ((_, found),) = read_structures(path)
    assert found.get_chemical_symbols() == ["C", "N", "Cl", "Ca"]


def test_a_crystal_and_a_geometry_without_end_of_nwchem(tmp_path: Path) -> None:
    path = tmp_path / "a.nw"
    ase.io.write(path, ase.build.bulk("NaCl", "rocksalt", 5.6), format="nwchem-in")
    ((_, crystal),) = read_structures(path)
    assert crystal.pbc.all()
    assert crystal.cell.volume == pytest.approx(5.6**3 / 4)
    path.write_text("geometry\n O 0 0 0\n H 0 0 0.96\n")
    ((_, found),) = read_structures(path)
    assert found == "the geometry has no end; write a line with it"


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


def test_whole_zeros_of_a_gaussian_input_are_coordinates() -> None:
    text = "# hf/sto-3g\n\nt\n\n-1 1\nO 0 0 0\nH 0 0 0.96\n\n"
    (hydroxide,) = gaussian_inputs(iter(text.splitlines(keepends=True)))
    assert hydroxide.positions.tolist() == [[0, 0, 0], [0, 0, 0.96]]


PEROXIDE = "H\nO 1 oh\nO 2 oo 1 ooh\nH 3 oh 2 ooh 1 -t\n"


@pytest.mark.parametrize(
    "behind",
    [
        "\noh=0.96\noo=1.45\nooh=100.\nt=115.\n",
        "Variables:\n oh 0.96\n OO 1.45\n ooh 1.0D2 ! degrees\n t 115\n",
        "  Variables:\noh=0.96\noo=1.45\n  Constants:\nooh=100.0\nt=115.0\n",
        "\noh 0.96\noo 1.45 F\n\nooh 100.\nt 115.\n\n1 2 1.0\n2 3 1.0\n3 4 1.0\n4\n",
    ],
)
def test_variables_of_a_gaussian_input(behind: str) -> None:
    text = f"# hf/sto-3g\n\ntitle\n\n0 1\n{PEROXIDE}{behind}\n"
    (peroxide,) = gaussian_inputs(iter(text.splitlines(keepends=True)))
    assert peroxide.get_chemical_symbols() == ["H", "O", "O", "H"]
    assert peroxide.get_distance(0, 1) == pytest.approx(0.96)
    assert peroxide.get_distance(2, 3) == pytest.approx(0.96)
    assert peroxide.get_distance(1, 2) == pytest.approx(1.45)
    assert peroxide.get_angle(0, 1, 2) == peroxide.get_angle(1, 2, 3) == pytest.approx(100)
    assert peroxide.get_dihedral(0, 1, 2, 3) == pytest.approx(360 - 115)


def test_variables_to_which_no_number_is_given() -> None:
    text = f"# hf/sto-3g\n\ntitle\n\n0 1\n{PEROXIDE}\noh=0.96\noo=1.45\nt=115.\n\n"
    (error,) = gaussian_inputs(iter(text.splitlines(keepends=True)))
    assert "variables in its Z-matrix to which it gives no numbers" in error


def test_counts_of_no_elements_are_refused(tmp_path: Path) -> None:
    sites = "1 2\nDirect\n0 0 0\n0.1 0 0\n0.9 0 0\n"
    (tmp_path / "POSCAR").write_text(f"water\n1.0\n5 0 0\n0 5 0\n0 0 5\n{sites}")
    with pytest.raises(UserError, match="names no elements; write the line of their symbols"):
        list(read_structures(tmp_path / "POSCAR"))
