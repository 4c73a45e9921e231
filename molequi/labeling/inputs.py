"""Which molecules are to be labelled.

Files, SMILES or QM9, chosen by number, without those whose constitution is on a list.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from rdkit import Chem, rdBase
from rdkit.Chem import rdDetermineBonds

from molequi.datasets.base import Request
from molequi.datasets.chirality.qm9_labels import known_smiles, read_constitutions
from molequi.datasets.conversion import atoms_from_frames
from molequi.datasets.in_memory import Frames
from molequi.datasets.places import default_root, find_data
from molequi.datasets.registry import all_datasets, find_source
from molequi.errors import UserError
from molequi.structures import cip
from molequi.structures.deepmd import is_deepmd
from molequi.structures.formats import format_of
from molequi.structures.inputs import read_inputs
from molequi.structures.structure import Structure

_MOST_ROWS, _MOST_DIGITS = 10**8, 18
_LONGEST_RANGE = 2 * _MOST_DIGITS


def gather(
    inputs: Sequence[str | Atoms],
    smiles: Sequence[str],
    *,
    charge: int | None,
    seed: int,
    rows: str | None,
    add_hydrogens: bool = False,
    as_is: bool = False,
) -> list[Structure]:
    """Return the structures of all inputs, files or atoms, in order.

    For an npz, QM9's own files or the word `qm9` the index is QM9's number.

    rows: `a:b` or a file with one number per line, in the order to take; of one input alone. Raises
    UserError before anything is computed.
    """
    numbers = None if rows is None else _numbers(rows, len(inputs), len(smiles))
    structures: list[Structure] = []
    for place, item in enumerate(inputs):
        if isinstance(item, Atoms):
            given = Structure("atoms", place, item)
            structures += _chosen(list(read_inputs([given], charge=charge)), numbers, "atoms")
        elif _is_data_set(item):
            structures += _from_data_set(item, numbers)
        else:
            found = read_inputs(
                [item if item == "-" else find_data(item)], charge=charge, seed=seed,
                add_hydrogens=add_hydrogens, as_is=as_is,
            )  # fmt: skip
            structures += _chosen(list(found), numbers, item)
    if smiles or not inputs:
        structures += read_inputs((), smiles=smiles, charge=charge, seed=seed)
    return structures


def _numbers(rows: str, n_inputs: int, n_smiles: int) -> np.ndarray:
    """Return the numbers of `rows`. Raises UserError where they are not of one input alone."""
    if (n_inputs, n_smiles) != (1, 0):
        raise UserError(
            f"--rows {rows} counts the structures of one INPUT; {n_inputs} files and {n_smiles} "
            "SMILES were given"
        )
    return read_rows(rows)


def read_rows(text: str) -> np.ndarray:
    """Read `a:b` as the numbers from a to b - 1, or a file of numbers.

    Raises UserError for anything else.
    """
    start, colon, stop = text.partition(":")
    if colon and start.isdecimal() and stop.isdecimal():
        if len(text) > _LONGEST_RANGE:
            raise UserError(f"--rows {text[:40]}... names more structures than any input has")
        first, last = int(start), int(stop)
        if last - first > _MOST_ROWS:
            raise UserError(
                f"--rows {text} names {last - first} structures; no input has more than "
                f"{_MOST_ROWS}"
            )
        if first < last:
            return np.arange(first, last)
    if not Path(text).is_file():
        raise UserError(
            f"--rows {text} is neither a range such as 1:1001 nor a file with one number per line"
        )
    numbers = _numbers_in(text)
    if len(np.unique(numbers)) < len(numbers):
        raise UserError(
            f"{text} names {len(numbers) - len(np.unique(numbers))} numbers twice; leave each in "
            "once"
        )
    return numbers


def _numbers_in(text: str) -> np.ndarray:
    try:
        lines = Path(text).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"--rows {text} cannot be read as text ({error}); one whole number per line is expected"
        ) from error
    for place, line in enumerate(lines, start=1):
        if line.strip() and not _is_number(line.strip()):
            raise UserError(
                f"{text}, line {place}: {line.strip()[:40]!r} is no number; one whole number per "
                "line is expected"
            )
    return np.array([int(line) for line in lines if line.strip()], dtype=np.int64)


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) <= _MOST_DIGITS


def read_excluded(path: str | Path) -> frozenset[str]:
    """Read a list of SMILES, one per line, as constitutions.

    Raises UserError that names the line which cannot be read, or for an empty list.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no file {path}; --exclude takes a list of SMILES, one per line")
    found = read_constitutions(path)
    if not found:
        raise UserError(
            f"{path} lists no SMILES, so that --exclude would leave nothing out; give one per "
            "line, or no --exclude"
        )
    return found


def constitution_of(structure: Structure) -> str:
    """Return the canonical SMILES without stereo marks.

    From the SMILES that came with the structure, else from its geometry.

    Raises UserError where neither can be had: what cannot be compared with a list must not pass it.
    """
    atoms = structure.require_atoms()
    given = atoms.info.get("smiles")
    name = constitution(given) if isinstance(given, str) else _perceived(atoms)
    if name is None:
        raise UserError(
            "its SMILES is not known and no bonds could be found, so it cannot be compared with "
            "the excluded molecules"
        )
    return name


def constitution(smiles: str) -> str | None:
    """Return the canonical SMILES without stereo marks, None where it cannot be read."""
    try:
        return cip.constitution_of(smiles.strip())
    except UserError:
        return None


def _is_data_set(item: str) -> bool:
    """Tell a data set, in a file of its own or by name, from structures in a file."""
    path = find_data(item)
    if not path.exists():
        return item in all_datasets()
    return format_of(path) in {"npz", "archive", "folder"} and not is_deepmd(path)


def _from_data_set(item: str, numbers: np.ndarray | None) -> list[Structure]:
    spec, place = find_source(item)
    path = None if place is None else find_data(place)
    frames = spec.read(Request(place)).frames
    known = _numbers_in_qm9(frames)
    smiles = {} if known is None else known_smiles([_folder(path)])
    rows = {row: row for row in range(len(frames))} if known is None else known
    structures = []
    for number in _known_numbers(item, numbers, rows):
        atoms = atoms_from_frames(frames, rows[number])
        if known is not None:
            atoms.info["gdb"] = number
        if number in smiles:
            atoms.info["smiles"] = smiles[number]
        structures.append(Structure(item, number, atoms))
    return structures


def _known_numbers(item: str, numbers: np.ndarray | None, rows: Mapping[int, int]) -> Iterable[int]:
    """Return the numbers that are wanted, all by default.

    Raises UserError for one that there is not.
    """
    if numbers is None:
        return rows
    missing = [number for number in numbers.tolist() if number not in rows]
    if missing:
        raise UserError(
            f"{item} has no number {missing[0]} ({len(missing)} of the {len(numbers)} rows); it "
            f"has {min(rows)} to {max(rows)}"
        )
    return numbers.tolist()


def _folder(path: Path | None) -> Path:
    if path is None:
        return default_root()
    return path if path.is_dir() else path.parent


def _numbers_in_qm9(frames: Frames) -> dict[int, int] | None:
    """Return the row of each of QM9's numbers, or None where the structures are others."""
    words = [text.split() for text in frames.source]
    if words and all(len(word) == 2 and word[0] == "gdb" and word[1].isdigit() for word in words):
        return {int(word[1]): row for row, word in enumerate(words)}
    return None


def _chosen(
    structures: list[Structure], numbers: np.ndarray | None, item: str
) -> Iterable[Structure]:
    if numbers is None:
        return structures
    missing = [int(number) for number in numbers if number >= len(structures)]
    if missing:
        raise UserError(
            f"{item} has no structure {missing[0]}; its {len(structures)} structures are numbered "
            "from 0"
        )
    return [structures[int(number)] for number in numbers]


def _perceived(atoms: Atoms) -> str | None:
    """Find bonds by RDKit (doi:10.1002/bkcs.10334) and return the constitution."""
    lines = [
        f"{symbol} {x:.8f} {y:.8f} {z:.8f}"
        for symbol, (x, y, z) in zip(atoms.symbols, atoms.positions, strict=True)
    ]
    with rdBase.BlockLogs():
        molecule = Chem.MolFromXYZBlock("\n".join([str(len(atoms)), "", *lines, ""]))
        try:
            rdDetermineBonds.DetermineBonds(molecule, charge=int(atoms.info.get("charge", 0)))
            return cip.constitution_of(molecule)
        except (ValueError, RuntimeError):
            return None
