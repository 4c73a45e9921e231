"""Reads QM9 from each form in which it is distributed, in the units of the original.

The original is doi 10.1038/sdata.2014.22: figshare's archive of XYZ files; `gdb9.sdf` with a CSV as
PyTorch Geometric and DeepChem keep it; the CSV files of the package qm9pack; or a flat npz with the
arrays index, n_atoms, z, pos and one per column.

These files have one layout, known to the last column, so they are read by position, apart from
`structures.readers`, which guesses what people's files mean: whatever differs is refused here as
not QM9, nothing is told from keys or words, and 134,000 molecules take a quarter of the time (29
microseconds each against 116). One of QM9's files given as a structure is read by `readers`.
"""

from __future__ import annotations

import csv
import dataclasses
import re
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from ase.data import atomic_numbers

from molequi.datasets.array_files import open_arrays, real_numbers, whole_numbers
from molequi.datasets.prepared import Progress
from molequi.errors import UserError
from molequi.runtime.gate import reading
from molequi.structures.unread import instead_of_folder

# Columns of the XYZ comment lines after the index. GHz; D; bohr³; Ha; bohr²; Ha; cal/(mol K).
COLUMNS = tuple("A B C mu alpha homo lumo gap r2 zpve u0 u298 h298 g298 cv".split())
_QM9PACK_COLUMNS = tuple(
    "RotA_GHz RotB_GHz RotC_GHz Dipole_debye Polarizability_bohr3 HOMO_au LUMO_au HOMO_LUMO_gap_au "
    "R2_bohr2 ZPVE_au InternalEnergy_0K_au InternalEnergy_298K_au Enthalphy_298K_au "
    "GibbsFreeEnergy_298K_au Heatcapacity_Cv_cal_mol_K".split()
)
_LARGEST_XYZ = 1 << 20  # bytes; QM9 has none of a hundredth
_MOST = 1 << 31  # QM9 has some 1e5 molecules
_QM9PACK_FILES = ("qm9_part1.csv", "qm9_part2.csv", "qm9_part3.csv")


@dataclasses.dataclass(frozen=True)
class RawQM9:
    """QM9 as distributed.

    index: (M,), number in the original, from 1. columns: by name of `COLUMNS`, (M,), units of the
    original.
    """

    index: np.ndarray
    n_atoms: np.ndarray
    z: np.ndarray
    pos: np.ndarray
    columns: dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class _Molecule:
    """A molecule as a file has it. Raises ValueError where it is not whole."""

    index: int
    z: list[int]
    pos: np.ndarray
    values: list[float]

    def __post_init__(self) -> None:
        if not 0 < self.index < _MOST:
            raise ValueError(f"its number is {self.index}")
        if not self.z or self.pos.shape != (len(self.z), 3):
            raise ValueError(f"{len(self.z)} elements and coordinates {self.pos.shape}")
        if len(self.values) != len(COLUMNS):
            raise ValueError(f"{len(self.values)} of {len(COLUMNS)} properties")


def read_qm9_source(path: str | Path, progress: Progress | None = None) -> RawQM9:
    """Read QM9 in whatever form `path` (a file, or the folder with the files) has it.

    Sorted by index.

    progress: called with the number of molecules read so far. Raises UserError for a form that is
    not known.
    """
    path = Path(path)
    if path.is_dir():
        path = find_qm9_source(path) or path
    if path.suffix == ".npz":
        return _read_flat(path)
    if path.name.endswith((".tar.bz2", ".tar.gz", ".tar")):
        return _gather(_archive_molecules(path), progress, path)
    if path.suffix == ".sdf":
        return _gather(_sdf_molecules(path, _table_beside(path)), progress, path)
    if path.is_dir() and all((path / name).is_file() for name in _QM9PACK_FILES):
        return _gather(_qm9pack_molecules(path), progress, path)
    forms = (
        "dsgdb9nsd.xyz.tar.bz2, gdb9.sdf with its CSV, the data folder of qm9pack, or a flat npz"
    )
    what = "is a folder without QM9" if path.is_dir() else "is not QM9"
    raise UserError(
        f"{path} {what}: expected {forms} (or the folder of one of them){instead_of_folder(path)}"
    )


def find_qm9_source(folder: Path) -> Path | None:
    """Return the file that holds QM9 in `folder` or one of its usual subfolders, or None.

    For qm9pack it is the folder.
    """
    for place in (folder, folder / "raw", folder / "qm9", folder / "qm9" / "raw"):
        for name in ("dsgdb9nsd.xyz.tar.bz2", "gdb9.sdf", "qm9_core.npz"):
            if (place / name).is_file():
                return place / name
        if all((place / name).is_file() for name in _QM9PACK_FILES):
            return place
    return None


def parse_number(text: str) -> float:
    """Read a number that may have Mathematica's exponent, such as 1.5*^-6."""
    return float(text.replace("*^", "e"))


def parse_uncharacterized(text: str) -> np.ndarray:
    """Return the molecule numbers of `uncharacterized.txt`.

    The first word of each line that starts with a whole number.
    """
    words = [line.split()[0] for line in text.splitlines() if line.strip()]
    return np.array(sorted({int(word) for word in words if word.isdigit()}), dtype=np.int64)


def _archive_molecules(path: Path) -> Iterator[_Molecule]:
    with (
        reading(path, "archive of QM9", "download it again"),
        tarfile.open(path, "r|*") as archive,
    ):
        for member in archive:
            # Nothing is unpacked to the disk; a link has no content of its own.
            if not (member.isfile() and member.name.endswith(".xyz")):
                continue
            if member.size > _LARGEST_XYZ:
                raise UserError(f"{path}, {member.name}: {member.size} bytes are no molecule")
            handle = archive.extractfile(member)
            if handle is not None:
                yield _parse_xyz(handle.read().decode("ascii"), f"{path}, {member.name}")


def _parse_xyz(text: str, where: str) -> _Molecule:
    """Read one file of the archive: counts, properties, atoms with charges.

    Frequencies, SMILES and InChI follow and are not read.
    """
    lines = text.split("\n")
    try:
        n_atoms = int(lines[0])
        words = lines[1].split()
        if words[0] == "gdb":
            words = words[1:]
        atoms = _first(lines[2:], n_atoms)
        rows = [line.split() for line in atoms]
        pos = np.array([[parse_number(word) for word in row[1:4]] for row in rows])
        return _Molecule(
            int(words[0]),
            [atomic_numbers[row[0]] for row in rows],
            pos,
            [parse_number(word) for word in words[1:16]],
        )
    except (ValueError, IndexError, KeyError) as error:
        raise UserError(f"{where}: not a QM9 file ({type(error).__name__}: {error})") from error


def _first(lines: Sequence[str], n_atoms: int) -> Sequence[str]:
    """Return the lines of so many atoms. Raises ValueError where there are fewer."""
    if not 0 < n_atoms <= len(lines):
        raise ValueError(f"{len(lines)} lines for {n_atoms} atoms")
    return lines[:n_atoms]


def _table_beside(path: Path) -> Path:
    for name in (f"{path.name}.csv", f"{path.stem}.csv", "qm9.csv"):
        if (path.parent / name).is_file():
            return path.parent / name
    raise UserError(
        f"{path}: its table {path.name}.csv is not beside it; the SDF alone holds no properties"
    )


def _sdf_molecules(path: Path, table: Path) -> Iterator[_Molecule]:
    with (
        reading(path, f"QM9 beside {table.name}"),
        path.open(encoding="ascii") as structures,
        table.open(encoding="ascii", newline="") as rows,
    ):
        reader = csv.DictReader(rows)
        missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
        if missing:
            raise UserError(
                f"{table}: column {missing[0]!r} is missing; it has "
                f"{', '.join(reader.fieldnames or ())}"
            )
        for number, (block, row) in enumerate(
            zip(_sdf_blocks(structures), reader, strict=False), start=1
        ):
            name = block[0].strip()
            if row.get("mol_id", name) != name:
                raise UserError(
                    f"{path}: molecule {number} is {name!r} but its row in {table.name} is "
                    f"{row['mol_id']!r}"
                )
            yield _parse_molblock(block, row, f"{path}, molecule {number}")
        if next(reader, None) is not None or next(_sdf_blocks(structures), None) is not None:
            raise UserError(
                f"{path} and {table.name} have different numbers of molecules; one of them is "
                "incomplete"
            )


def _sdf_blocks(handle: Iterable[str]) -> Iterator[list[str]]:
    block: list[str] = []
    for line in handle:
        if line.startswith("$$$$"):
            yield block
            block = []
        else:
            block.append(line)


def _parse_molblock(block: list[str], row: dict[str, str], where: str) -> _Molecule:
    """Read a V2000 block by its fixed columns; the bonds are of no use here."""
    try:
        atoms = _first(block[4:], int(block[3][:3]))
        pos = np.array(
            [[float(line[0:10]), float(line[10:20]), float(line[20:30])] for line in atoms]
        )
        index = int(re.sub(r"\D", "", block[0]))
        return _Molecule(
            index,
            [atomic_numbers[line[31:34].strip()] for line in atoms],
            pos,
            [float(row[column]) for column in COLUMNS],
        )
    except (ValueError, IndexError, KeyError, TypeError) as error:
        raise UserError(
            f"{where}: not a V2000 record of QM9 ({type(error).__name__}: {error})"
        ) from error


def _qm9pack_molecules(folder: Path) -> Iterator[_Molecule]:
    for name in _QM9PACK_FILES:
        with (
            reading(folder / name, "part of QM9"),
            (folder / name).open(encoding="utf-8", newline="") as handle,
        ):
            for row in csv.DictReader(handle):
                try:
                    pos = np.array(
                        [
                            parse_number(word)
                            for word in re.sub(r"[\[\]]", "", row["XYZ_Ang"]).split(",")
                        ]
                    ).reshape(-1, 3)
                    z = [
                        atomic_numbers[symbol]
                        for symbol in re.findall("[A-Z][a-z]?", row["Elements"])
                    ]
                    yield _Molecule(
                        int(row["Index"]),
                        z,
                        pos,
                        [parse_number(row[column]) for column in _QM9PACK_COLUMNS],
                    )
                except (ValueError, KeyError, TypeError) as error:
                    raise UserError(
                        f"{folder / name}: row {row.get('Index')} is not as in qm9pack 1.0 "
                        f"({type(error).__name__}: {error})"
                    ) from error


def _gather(molecules: Iterator[_Molecule], progress: Progress | None, path: Path) -> RawQM9:
    index, z, pos, values = [], [], [], []
    for count, molecule in enumerate(molecules, start=1):
        index.append(molecule.index)
        z.append(np.array(molecule.z, dtype=np.uint8))
        pos.append(molecule.pos)
        values.append(molecule.values)
        if progress is not None and count % 1000 == 0:
            progress(count)
    if not index:
        raise UserError(f"{path} holds no molecules")
    order = np.argsort(index, kind="stable")
    columns = np.array(values, dtype=np.float64)[order]
    return RawQM9(
        index=np.array(index, dtype=np.int64)[order],
        n_atoms=np.array([len(z[row]) for row in order], dtype=np.int64),
        z=np.concatenate([z[row] for row in order]),
        pos=np.concatenate([pos[row] for row in order]),
        columns={name: columns[:, position] for position, name in enumerate(COLUMNS)},
    )


def _read_flat(path: Path) -> RawQM9:
    arrays = open_arrays(path)
    missing = [name for name in ("index", "n_atoms", "z", "pos", *COLUMNS) if name not in arrays]
    if missing:
        raise UserError(
            f"{path} is not a flat npz of QM9: array {missing[0]!r} is missing; it has "
            f"{', '.join(arrays)}"
        )
    with reading(path, "QM9"):
        index, n_atoms, z = (whole_numbers(arrays, name) for name in ("index", "n_atoms", "z"))
        columns = {name: real_numbers(arrays, name) for name in COLUMNS}
        if any(column.shape != index.shape for column in (n_atoms, *columns.values())):
            raise ValueError(f"its arrays are not all of {len(index)} molecules")
        return RawQM9(index, n_atoms, z, real_numbers(arrays, "pos"), columns)
