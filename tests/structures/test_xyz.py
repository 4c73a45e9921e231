"""XYZ files as programs write them: comments, cells, symbols, numbers."""

from __future__ import annotations

import bz2
import gzip
import lzma
from pathlib import Path

import ase
import numpy as np
import pytest
from ase import units

from molequi.structures.readers import read_structures

ATOMS = "O 0 0 0.1178\nH 0 0.7555 -0.4712\nH 0 -0.7555 -0.4712\n"
OXALATE = (
    "C 0 0.78 0\nC 0 -0.78 0\nO 1.09 1.37 0\nO -1.09 1.37 0\nO 1.09 -1.37 0\nO -1.09 -1.37 0\n"
)


def read(folder: Path, text: str | bytes, name: str = "a.xyz") -> list[ase.Atoms | str]:
    data = text if isinstance(text, bytes) else text.encode()
    (folder / name).write_bytes(data)
    return [item for _, item in read_structures(folder / name)]


def electrons(atoms: ase.Atoms | str) -> tuple[int, int]:
    assert isinstance(atoms, ase.Atoms), atoms
    return atoms.info["charge"], atoms.info["spin_multiplicity"]


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("-2 1", (-2, 1)),
        ("-2, 1", (-2, 1)),
        ("-2 3", (-2, 3)),
        ("0 1", (0, 1)),
        ("-2", (-2, 1)),
        ("2-", (-2, 1)),
        ("+2", (2, 1)),
        ("oxalate charge: -2", (-2, 1)),
        ("charge = -2", (-2, 1)),
        ("charge=-2 multiplicity=3", (-2, 3)),
        ("charge=-2e 2S+1=3", (-2, 3)),
        ("Charge(-2)", (-2, 1)),
        ("-2 1 oxalate, geometry 3", (-2, 1)),
        ("-2.5 1 2", (0, 1)),
        ("Charge -2 Multiplicity 1", (-2, 1)),
        ("total charge: -2, spin: 3", (-2, 3)),
        ("net charge is -2", (-2, 1)),
        ("charge/multiplicity: -2 3", (-2, 3)),
        ("total_charge: -2", (-2, 1)),
        ("netcharge: -2 energy: -75.1", (-2, 1)),
        ("molecular charge is -2", (-2, 1)),
        ("charge=-2, spin_multiplicity: 3", (-2, 3)),
        ("charge -2 spin 3", (-2, 3)),
        ("step 5 spin 3", (0, 1)),
        ("2'-deoxy charge=-2 5'-end", (-2, 1)),
        ("charge and spin multiplicity -2 3", (-2, 3)),
        ("q=-2,m=3", (-2, 3)),
        ("charge=-2; spin=3; id=5", (-2, 3)),
        ("q: -2", (-2, 1)),
        ("q=-2", (-2, 1)),
        ("chrg: -2 uhf: 2", (-2, 3)),
        ("net_charge=-2", (-2, 1)),
        ("CHARGE=2-", (-2, 1)),
        ('name="charge -2 of 3"', (0, 1)),
        ("charge", (0, 1)),
        ("energy charge spin", (0, 1)),
        ("oxalate, charge neutral", (0, 1)),
        ("100 200", (0, 1)),
        ("0.5 -2", (0, 1)),
        ("step 5 of 10", (0, 1)),
        ("1", (0, 1)),
        ("-154.03", (0, 1)),
        ("surcharge 5", (0, 1)),
        ("", (0, 1)),
    ],
)
def test_what_comments_say_of_charge_and_spin(
    tmp_path: Path, comment: str, expected: tuple[int, int]
) -> None:
    (found,) = read(tmp_path, f"6\n{comment}\n{OXALATE}")
    assert electrons(found) == expected


@pytest.mark.parametrize(
    ("comment", "name"),
    [
        ("my water", "my water"),
        ("water_1", "water_1"),
        ("name=water step=3", "water"),
        ("step=3", None),
        ("charge: 0", None),
        ("12", None),
        ("", None),
    ],
)
def test_a_comment_of_words_is_a_name(tmp_path: Path, comment: str, name: str | None) -> None:
    (found,) = read(tmp_path, f"3\n{comment}\n{ATOMS}")
    assert isinstance(found, ase.Atoms)
    assert found.info.get("name") == name
    assert not {"my", "water", "water_1"} & set(found.info)


@pytest.mark.parametrize(
    ("comment", "message"),
    [
        ("-2 2", "looks like a charge and a multiplicity, but 2 does not go with 46 electrons"),
        ("spin: 1/2", "seems to state a charge or multiplicity that cannot be read ('spin: 1/2')"),
        ("charge: minus two", "seems to state a charge or multiplicity that cannot be read"),
        ("charge: -2 total_charge=0", "total_charge=0 says 0, the words of the comment line"),
        ("charge=-2 net_charge=0", "charge=-2 says -2, net_charge=0 says 0"),
        ("charge=minus", "charge 'minus' (charge) is not a number"),
    ],
)
def test_doubtful_comments_are_refused(tmp_path: Path, comment: str, message: str) -> None:
    (found,) = read(tmp_path, f"6\n{comment}\n{OXALATE}")
    assert isinstance(found, str)
    assert message in found


def test_ions_and_spins_without_a_number_are_said(tmp_path: Path) -> None:
    for word in ("dianion", "radical cation", "triplet", "mulliken_charge: -2"):
        (found,) = read(tmp_path, f"6\noxalate, {word}\n{OXALATE}")
        assert electrons(found) == (0, 1)
        assert "but states no charge or multiplicity" in found.info["reading"]
        (found,) = read(tmp_path, f"6\noxalate, {word}, charge: 0\n{OXALATE}")
        assert "reading" not in found.info


def test_a_charge_under_another_key_is_said(tmp_path: Path) -> None:
    (found,) = read(tmp_path, f"6\nmolecule_charge=-2\n{OXALATE}")
    assert electrons(found) == (0, 1)
    assert "molecule_charge=-2 may state a charge" in found.info["reading"]
    for key in ("molecule_charge=0", "charge_cutoff=5.5", "max_charges=3", "name=charge"):
        (found,) = read(tmp_path, f"6\n{key}\n{OXALATE}")
        assert "reading" not in found.info


def test_the_place_is_noted_anew(tmp_path: Path) -> None:
    (found,) = read(tmp_path, f"6\n-2 1\n{OXALATE}")
    assert found.info["charge_source"] == "the words of the comment line"
    found.write(tmp_path / "b.xyz")
    (again,) = read(tmp_path, (tmp_path / "b.xyz").read_text())
    assert again.info["charge_source"] == "charge=-2"
    assert electrons(again) == (-2, 1)


def test_symbols_of_all_kinds(tmp_path: Path) -> None:
    (found,) = read(tmp_path, "4\n\n8 0 0 0\nD 0 0 1\nt 0 1 0\n13C 1 0 0\n")
    assert found.get_chemical_formula() == "CH2O"
    assert found.get_masses() == pytest.approx([15.999, 2.0141018, 3.0160493, 13.0033548], abs=1e-6)
    named = "2\nProperties=pos:R:3:species:S:1\n0 0 0 D\n0 0 0.7 H\n"
    (found,) = read(tmp_path, named)
    assert found.get_masses() == pytest.approx([2.0141018, 1.008], abs=1e-6)
    stated = "2\nProperties=species:S:1:pos:R:3:masses:R:1\nD 0 0 0 2.5\nH 0 0 0.7 1\n"
    (found,) = read(tmp_path, stated)
    assert found.get_masses().tolist() == [2.5, 1.0]
    (found,) = read(tmp_path, "2\nProperties=Z:I:1:pos:R:3\n1 0 0 0\n1 0 0 0.7\n")
    assert found.get_chemical_formula() == "H2"


def test_a_wrong_symbol_costs_its_frame_and_is_named_by_line(tmp_path: Path) -> None:
    good = f"3\nwater\n{ATOMS}"
    bad = good.replace("\nO", "\nO1")
    first, label, ghost, last = read(tmp_path, good + bad + good.replace("O 0", "Bq 0") + good)
    assert len(first) == len(last) == 3
    assert label == "line 8: 'O1' is no element symbol (O?)"
    assert ghost == "line 13: Bq is a ghost atom; remove it"
    (tinker,) = read(tmp_path, "3 water\n1 O 0 0 0.1 1 2 3\n2 H 0 0.7 -0.4 2 1\n")
    assert "Tinker" in tinker


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.replace("water", "Wässer").encode("latin-1"),
        lambda text: text.encode("utf-16"),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace(" ", "\t").encode(),
        lambda text: text.replace("0.1178", "1.178D-01").encode(),
        lambda text: text.replace("0.1178", "11.78*^-2").encode(),
        lambda text: ("\n" + text).encode(),
        lambda text: gzip.compress(text.encode()),
        lambda text: bz2.compress(text.encode()),
        lambda text: lzma.compress(text.encode()),
    ],
)
@pytest.mark.parametrize("name", ["a.xyz", "-"])
def test_spellings_of_one_water(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encode, name: str
) -> None:
    import io

    data = encode(f"3\nwater\n{ATOMS}")
    if name == "-":
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
        ((_, found),) = read_structures("-")
    else:
        (found,) = read(tmp_path, data, name)
    expected = [[0, 0, 0.1178], [0, 0.7555, -0.4712], [0, -0.7555, -0.4712]]
    assert found.get_chemical_formula() == "H2O"
    assert found.positions == pytest.approx(np.array(expected), abs=1e-12)


@pytest.mark.parametrize("ending", ["gz", "bz2", "xz"])
def test_compressed_by_name(tmp_path: Path, ending: str) -> None:
    pack = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}[ending]
    (found,) = read(tmp_path, pack(f"3\nwater\n{ATOMS}".encode()), f"a@300K.xyz.{ending}")
    assert len(found) == 3


def test_a_frame_of_qm9(tmp_path: Path) -> None:
    numbers = "\t".join(["157.7"] * 15)
    lines = ["5", f"gdb 1\t{numbers}\t", "C\t-0.0127\t1.0858\t8.001*^-3\t-0.5"]
    lines += [f"H\t{x}\t{y}\t{z}\t0.1" for x, y, z in np.eye(4, 3) + 1]
    lines += ["1341.3\t1341.3", "C\tC\t", "InChI=1S/CH4/h1H4\tInChI=1S/CH4/h1H4"]
    first, second = read(tmp_path, "\n".join(lines * 2) + "\n")
    assert first.get_chemical_formula() == second.get_chemical_formula() == "CH4"
    assert first.positions[0, 2] == pytest.approx(0.008001, abs=1e-12)
    assert first.info["gdb"] == 1


@pytest.mark.parametrize("key", ["Lattice", "lattice", "LATTICE", "Lattice ", "lattice = "])
def test_a_lattice_in_any_case(tmp_path: Path, key: str) -> None:
    equals = "" if "=" in key else "="
    (found,) = read(tmp_path, f'3\n{key}{equals}"4 0 0 0 4 0 0 0 4" energy=-1.5\n{ATOMS}')
    assert found.pbc.all()
    assert np.asarray(found.cell) == pytest.approx(4 * np.eye(3))
    assert found.get_potential_energy() == -1.5


def test_a_cell_under_another_name_is_refused(tmp_path: Path) -> None:
    (found,) = read(tmp_path, f'3\ncell="4 0 0 0 4 0 0 0 4"\n{ATOMS}')
    assert "has a cell under 'cell', which is not read" in found
    (found,) = read(tmp_path, f'3\nLattice="0.5 0 0 0 4 0 0 0 4"\n{ATOMS}')
    assert "the cell vector along axis 0 is 0.500 Å long" in found


@pytest.mark.parametrize(
    ("comment", "row", "message"),
    [
        ("", "O 0 0", "line 3: expected SYMBOL X Y Z, got 'O 0 0'"),
        ("", "O 0 0 0,1178", "line 3: expected SYMBOL X Y Z, got 'O 0 0 0,1178'"),
        ("cell: 4 4 4", "O 0 0 0", "has a cell under 'cell', which is not read"),
        ("box=[4, 4, 4]", "O 0 0 0", "has a cell under 'box'"),
        ("Lattice: 4 0 0 0 4 0 0 0 4", "O 0 0 0", "has a cell under 'Lattice'"),
    ],
)
def test_what_would_be_lost_is_named(tmp_path: Path, comment: str, row: str, message: str) -> None:
    (found,) = read(tmp_path, f"1\n{comment}\n{row}\n")
    assert message in found
    (found,) = read(tmp_path, "1\ncell=3 box 7\nO 0 0 0\n")
    assert len(found) == 1


def test_units_and_cell_of_i_pi(tmp_path: Path) -> None:
    rows = [line.split() for line in ATOMS.splitlines()]
    bohr = "".join(f"{s} {' '.join(str(float(x) / units.Bohr) for x in xyz)}\n" for s, *xyz in rows)
    a = 4 / units.Bohr
    angles, unit = "90.0 90.0 90.0  Step: 0  Bead: 0", "atomic_unit"
    texts = [
        f"3\n# CELL(abcABC): {a} {a} {a} {angles} positions{{{unit}}} cell{{{unit}}}\n{bohr}",
        f"3\n# CELL(abcABC): {a} {a} {a} {angles}\n{bohr}",
        f"3\n# CELL[abcABC]: 4 4 4 {angles} cell{{angstrom}} positions{{angstrom}}\n{ATOMS}",
        f"3\n# CELL{{H}}: 4 0 0 0 4 0 0 0 4 cell{{angstrom}} positions{{angstrom}}\n{ATOMS}",
    ]
    for text in texts:
        (found,) = read(tmp_path, text)
        assert found.positions == pytest.approx(
            np.array([[float(x) for x in xyz] for _, *xyz in rows]), abs=1e-12
        )
        assert np.asarray(found.cell) == pytest.approx(4 * np.eye(3))
        assert found.pbc.all()
    (found,) = read(tmp_path, texts[3].replace("0 4 cell", "1 4 cell"))
    assert "is not diagonal" in found
    (found,) = read(tmp_path, texts[2].replace("{angstrom}\n", "{parsec}\n"))
    assert "'parsec' is not known" in found
    (found,) = read(tmp_path, texts[2].replace("positions{", "velocities{"))
    assert "velocities by i-PI, no positions" in found


def test_coordinates_in_bohr_are_doubted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [line.split() for line in ATOMS.splitlines()]
    bohr = "".join(f"{s} {' '.join(str(float(x) / units.Bohr) for x in xyz)}\n" for s, *xyz in rows)
    read(tmp_path, f"3\n\n{ATOMS}")
    assert "bohr" not in caplog.text
    read(tmp_path, f"3\n\n{bohr}")
    assert "typical of bohr" in caplog.text


def test_a_column_of_symbols_by_another_name(tmp_path: Path) -> None:
    for name in ("element", "symbols", "Symbol"):
        comment = f"Properties={name}:S:1:pos:R:3"
        (found,) = read(tmp_path, f"3\n{comment}\n{ATOMS}")
        assert found.get_chemical_formula() == "H2O"


def test_a_symbol_and_an_atomic_number_that_disagree(tmp_path: Path) -> None:
    """ASE takes the number."""
    text = "2\nProperties=species:S:1:pos:R:3:Z:I:1\nO 0 0 0 {}\nH 0 0 0.96 1\n"
    (error,) = read(tmp_path, text.format(6))
    assert error == "line 3: the symbol says O, the atomic number C"
    (atoms,) = read(tmp_path, text.format(8))
    assert isinstance(atoms, ase.Atoms)
    assert atoms.get_chemical_formula() == "HO"


@pytest.mark.parametrize("count", ["9" * 30, "9" * 400, "9" * 5000])
def test_a_number_of_atoms_beyond_all_sizes(tmp_path: Path, count: str) -> None:
    water, broken = read(tmp_path, f"3\n\n{ATOMS}{count}\n\nO 0 0 0\n")
    assert len(water) == 3
    assert broken.startswith("line 6: expected the number of atoms, got '999")
    (found,) = read(tmp_path, f"{'9' * 15}\n\nO 0 0 0\n")
    assert "the frame should have 999999999999999 atoms but the file ends after 1" in found


def test_a_comment_nested_without_end_costs_its_frame(tmp_path: Path) -> None:
    broken, water = read(tmp_path, f'1\n{{"a": {"[" * 100_000}\nO 0 0 0\n3\n\n{ATOMS}')
    assert isinstance(broken, str) and len(water) == 3


@pytest.mark.parametrize("name", ["p3", "xtbopt.log", "crest.trj", "run.allxyz", "a.xmol.gz"])
def test_xyz_by_another_name(tmp_path: Path, name: str) -> None:
    """As xtb, CREST and ORCA write it, the latter with > between frames."""
    data = f"6\ncharge: -2\n{OXALATE}>\n6\ncharge: -2\n{OXALATE}".encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    found = [item for _, item in read_structures(tmp_path / name)]
    assert [electrons(atoms) for atoms in found] == [(-2, 1), (-2, 1)]
