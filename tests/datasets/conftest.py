"""QM9 in each form it is distributed in, made small.

Eight of its molecules and one that the consistency check would remove.
"""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase
import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
COLUMNS = tuple("A B C mu alpha homo lumo gap r2 zpve u0 u298 h298 g298 cv".split())
QM9PACK = tuple(
    "RotA_GHz RotB_GHz RotC_GHz Dipole_debye Polarizability_bohr3 HOMO_au LUMO_au HOMO_LUMO_gap_au "
    "R2_bohr2 ZPVE_au InternalEnergy_0K_au InternalEnergy_298K_au Enthalphy_298K_au "
    "GibbsFreeEnergy_298K_au Heatcapacity_Cv_cal_mol_K".split()
)
# kcal/mol, in DeepChem's table of methane.
METHANE_ATOMIZATION = (-395.999594594, -398.64329016, -401.014646522, -372.471772148)


@pytest.fixture(scope="session")
def molecules() -> list[dict[str, Any]]:
    """Eight molecules with the texts of their numbers.

    Number 58, which QM9 lists as uncharacterized, is a copy of water.
    """
    known = json.loads((HERE / "files" / "qm9_molecules.json").read_text(encoding="utf-8"))
    doubtful = {**known[2], "index": 58}
    return sorted([*known, doubtful], key=lambda molecule: molecule["index"])


@pytest.fixture(scope="session")
def uncharacterized_text() -> str:
    """The list as figshare has it: prose around the numbers.

    PyG cuts off the first nine lines and the last.
    """
    numbers = (
        (CHECKOUT / "data" / "samples" / "qm9_uncharacterized.txt")
        .read_text(encoding="utf-8")
        .split()
    )
    head = (
        "Molecules that failed the consistency check.\n\nTheir InChI changed.\n\n\n\n\n"
        "  Index  from  to\n\n"
    )
    return head + "".join(f"  {number}  InChI=1S/X  InChI=1S/Y\n" for number in numbers) + "\n"


@pytest.fixture(scope="session")
def archive(molecules: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """figshare's dsgdb9nsd.xyz.tar.bz2: tabs, Mathematica's exponents, lines after the atoms."""
    path = tmp_path_factory.mktemp("archive") / "dsgdb9nsd.xyz.tar.bz2"
    with tarfile.open(path, "w:bz2") as tar:
        for molecule in reversed(molecules):
            content = xyz_text(molecule).encode("ascii")
            member = tarfile.TarInfo(f"dsgdb9nsd_{molecule['index']:06d}.xyz")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def xyz_text(molecule: dict[str, Any]) -> str:
    def number(text: str) -> str:
        return text.replace("E", "*^")

    lines = [
        str(len(molecule["elements"])),
        f"gdb {molecule['index']}\t" + "\t".join(map(number, molecule["values"])) + "\t",
    ]
    for element, xyz, charge in zip(
        molecule["elements"], molecule["xyz"], molecule["charges"], strict=True
    ):
        lines.append("\t".join([element, *map(number, xyz), number(charge)]))
    lines += [
        "\t".join(molecule["frequencies"]),
        f"{molecule['smiles']}\t{molecule['smiles']}\t",
        f"{molecule['inchi']}\t{molecule['inchi']}\t",
    ]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="session")
def sdf_folder(
    molecules: list[dict[str, Any]],
    uncharacterized_text: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """gdb9.sdf, gdb9.sdf.csv and uncharacterized.txt in `raw`, as PyG keeps them.

    PyG counts molecules by their rows, so the eight stand in the rows of their numbers and copies
    of methane between them.
    """
    raw = tmp_path_factory.mktemp("pyg") / "raw"
    raw.mkdir()
    by_number = {molecule["index"]: molecule for molecule in molecules}
    rows = [{**by_number.get(number, molecules[0]), "index": number} for number in range(1, 213)]
    with (raw / "gdb9.sdf").open("w", encoding="ascii") as handle:
        for row in rows:
            handle.write(sdf_block(row))
    with (raw / "gdb9.sdf.csv").open("w", encoding="ascii", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["mol_id", *COLUMNS, "u0_atom", "u298_atom", "h298_atom", "g298_atom"])
        for row in rows:
            writer.writerow(
                [
                    f"gdb_{row['index']}",
                    *(float(value) for value in row["values"]),
                    *METHANE_ATOMIZATION,
                ]
            )
    (raw / "uncharacterized.txt").write_text(uncharacterized_text, encoding="ascii")
    return raw


def sdf_block(molecule: dict[str, Any]) -> str:
    atoms = [
        f"{float(x):10.4f}{float(y):10.4f}{float(z):10.4f} {element:<3} 0  0  0  0  0  0  0  0  0  "
        "0  0  0\n"
        for element, (x, y, z) in zip(molecule["elements"], molecule["xyz"], strict=True)
    ]
    bonds = [f"{1:3d}{other:3d}  1  0  0  0  0\n" for other in range(2, len(atoms) + 1)]
    counts = f"{len(atoms):3d}{len(bonds):3d}  0  0  0  0  0  0  0  0999 V2000\n"
    head = f"gdb_{molecule['index']}\n     RDKit          3D\n\n"
    return f"{head}{counts}{''.join(atoms)}{''.join(bonds)}M  END\n$$$$\n"


@pytest.fixture(scope="session")
def qm9pack_data(molecules: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of qm9pack: three CSV files, without the uncharacterized molecule."""
    folder = tmp_path_factory.mktemp("qm9pack")
    rows = [molecule for molecule in molecules if molecule["index"] != 58]
    for part, chunk in enumerate((rows[:3], rows[3:5], rows[5:]), start=1):
        with (folder / f"qm9_part{part}.csv").open("w", encoding="utf-8", newline="") as handle:
            writer = csv.writer(handle, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
            writer.writerow(
                ["XYZ_file", "Index", "SMILES", "N_atoms", "Elements", "XYZ_Ang", *QM9PACK]
            )
            for row in chunk:
                elements = "[" + ",".join(f"'{element}'" for element in row["elements"]) + "]"
                xyz = "[" + ",".join("[" + ",".join(atom) + "]" for atom in row["xyz"]) + "]"
                name = f"dsgdb9nsd_{row['index']:06d}.xyz"
                writer.writerow(
                    [
                        name,
                        row["index"],
                        row["smiles"],
                        len(row["elements"]),
                        elements,
                        xyz,
                        *row["values"],
                    ]
                )
    return folder


@pytest.fixture(scope="session")
def flat_qm9(molecules: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A flat npz in QM9's own units."""
    path = tmp_path_factory.mktemp("flat") / "qm9_core.npz"
    numbers = {"H": 1, "C": 6, "N": 7, "O": 8, "F": 9}
    values = np.array([[float(value) for value in molecule["values"]] for molecule in molecules])
    np.savez(
        path,
        index=np.array([molecule["index"] for molecule in molecules], dtype=np.int32),
        n_atoms=np.array([len(molecule["elements"]) for molecule in molecules], dtype=np.int16),
        z=np.array(
            [numbers[element] for molecule in molecules for element in molecule["elements"]],
            dtype=np.uint8,
        ),
        pos=np.array(
            [[float(x) for x in atom] for molecule in molecules for atom in molecule["xyz"]]
        ),
        **{column: values[:, position] for position, column in enumerate(COLUMNS)},
    )
    return path


def ethanol_frames(n_frames: int = 4) -> list[ase.Atoms]:
    """Ethanol at random around its minimum, with labels of plausible size in a calculator."""
    generator = np.random.default_rng(0)
    structures = []
    for _ in range(n_frames):
        atoms = molecule("CH3CH2OH")
        atoms.positions += 0.03 * generator.normal(size=(9, 3))
        atoms.calc = SinglePointCalculator(
            atoms,
            energy=-4209.0 + generator.normal(),
            forces=generator.normal(size=(9, 3)),
            dipole=0.3 * generator.normal(size=3),
            charges=generator.normal(size=9),
        )
        structures.append(atoms)
    return structures


@pytest.fixture
def labelled() -> Callable[..., list[ase.Atoms]]:
    """Return the function that makes labelled frames of ethanol."""
    return ethanol_frames


@pytest.fixture(scope="session")
def sample(checkout: Path) -> Callable[[str], Path]:
    """Return the function that finds a bundled sample by its file name."""
    return lambda name: checkout / "data" / "samples" / name
