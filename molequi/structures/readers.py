"""Reads structures as files have them.

One record after the other, a damaged one as its error text.
"""

from __future__ import annotations

import gzip
import io
import itertools
import sys
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import ase
import ase.db
import ase.io

from molequi.errors import UserError
from molequi.structures.formats import Format, format_of
from molequi.structures.molecules import atoms_from_smiles, read_sdf


def records(source: str | Path, seed: int = 0) -> Iterator[ase.Atoms | str]:
    """Yield every structure as the file has it, or the text of what is wrong with it.

    `-` is standard input.

    `seed` is that of conformers made from SMILES. Raises UserError for a file that is missing or of
    unknown format.
    """
    if str(source) == "-":
        text = sys.stdin.read()
        yield from _parse(io.BytesIO(text.encode()), _sniff(text), seed)
        return
    path = Path(source)
    if not path.is_file():
        raise UserError(
            f"{path} does not exist; give a structure file (.xyz .sdf .smi .pdb .cif .traj .db, "
            "also .gz), or --smiles TEXT"
        )
    kind = format_of(path)
    if kind in {"xyz", "sdf", "smiles"}:
        try:
            with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as handle:
                yield from _parse(handle, kind, seed)  # type: ignore[arg-type]
        except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
            raise UserError(f"{path} cannot be read as text ({error})") from error
    elif kind == "database":
        yield from _database(path)
    else:
        yield from _any_format(path)


def _parse(handle: IO[bytes], kind: Format, seed: int) -> Iterator[ase.Atoms | str]:
    if kind == "sdf":
        yield from read_sdf(handle, seed=seed)
        return
    with io.TextIOWrapper(handle, encoding="utf-8") as lines:
        yield from (_smiles_lines(lines, seed) if kind == "smiles" else _xyz_frames(lines))


def _sniff(text: str) -> Format:
    lines = text.splitlines()
    if lines and lines[0].strip().isdigit():
        return "xyz"
    return "sdf" if any(line.startswith("M  END") for line in lines) else "smiles"


def _smiles_lines(lines: Iterable[str], seed: int) -> Iterator[ase.Atoms | str]:
    for number, line in enumerate(lines, start=1):
        words = line.split(maxsplit=1)
        if not words or words[0].startswith("#"):
            continue
        try:
            atoms = atoms_from_smiles(words[0], seed)
        except UserError as error:
            yield f"line {number}: {error}"
        else:
            if len(words) > 1:
                atoms.info["name"] = words[1].strip()
            yield atoms


def _xyz_frames(lines: Iterator[str]) -> Iterator[ase.Atoms | str]:
    """Cut an XYZ file into frames by their atom counts.

    So that one damaged frame costs only itself.
    """
    number = 0
    for head in lines:
        number += 1
        if not head.strip():
            continue
        if not head.strip().isdigit():
            yield f"line {number}: expected the number of atoms, got {head.strip()[:40]!r}; the rest of the file is not read"
            return
        n_atoms = int(head)
        block = [head, *itertools.islice(lines, n_atoms + 1)]
        if len(block) < n_atoms + 2:
            yield f"line {number}: the frame should have {n_atoms} atoms but the file ends after {max(len(block) - 2, 0)}"
            return
        yield _one_frame(block, number)
        number += n_atoms + 1


def _one_frame(block: list[str], first_line: int) -> ase.Atoms | str:
    try:
        return ase.io.read(io.StringIO("".join(block)), format="extxyz")
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        return f"line {first_line}: the frame cannot be read ({type(error).__name__}: {' '.join(str(error).split())[:120]})"


def _database(path: Path) -> Iterator[ase.Atoms]:
    """Read an ASE database with its key-value pairs and data, which `ase.io.read` leaves out."""
    with ase.db.connect(path) as database:
        for row in database.select():
            atoms = row.toatoms()
            atoms.info.update(row.key_value_pairs)
            atoms.info.update(row.data)
            yield atoms


def _any_format(path: Path) -> Iterator[ase.Atoms]:
    frames: Iterable[ase.Atoms]
    try:
        frames = ase.io.read(path, index=":")
    except ase.io.formats.UnknownFileTypeError as error:
        raise UserError(
            f"{path} has a format that ASE does not know ({error}); use .xyz, .sdf, .smi, .pdb, "
            ".cif, .traj or .db"
        ) from error
    except (
        Exception
    ) as error:  # ASE's readers raise whatever a damaged file makes them stumble over
        raise UserError(
            f"{path} cannot be read ({type(error).__name__}: {' '.join(str(error).split())[:160]})"
        ) from error
    yield from frames
