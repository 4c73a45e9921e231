"""Reads structures as files have them.

One record after the other, a damaged one as its error text.
"""

from __future__ import annotations

import io
import itertools
import os
import sys
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, cast

import ase
import ase.db
import ase.io

from molequi.errors import UserError
from molequi.structures.atoms import charge_of, check_atoms, multiplicity_of
from molequi.structures.formats import Format, format_of, open_binary
from molequi.structures.molecules import atoms_from_smiles, read_sdf


def read_structures(
    source: str | os.PathLike[str], *, charge: int | None = None, seed: int = 0
) -> Iterator[tuple[int, ase.Atoms | str]]:
    """Read every structure of a file, or of standard input for `-`.

    A damaged one comes as its error text and the others go on.

    Reads .xyz, .extxyz, .sdf, .mol, .smi, .db, .traj and what else ASE knows, each also with .gz.
    The atoms carry `info["charge"]` and `info["spin_multiplicity"]`; `charge` overrides what the
    file says; `seed` is that of conformers made from SMILES.
    Raises UserError for a file that is missing, empty or of unknown format.
    """
    found = False
    for index, item in enumerate(records(source, seed)):
        found = True
        if isinstance(item, str):
            yield index, item
            continue
        try:
            item.info["charge"] = charge_of(item, charge)
            item.info["spin_multiplicity"] = multiplicity_of(item, item.info["charge"])
            check_atoms(item)
        except UserError as error:
            yield index, str(error)
        else:
            yield index, item
    if not found:
        raise UserError(f"{source} holds no structures")


def records(source: str | os.PathLike[str], seed: int = 0) -> Iterator[ase.Atoms | str]:
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
            with open_binary(path) as handle:
                yield from _parse(handle, kind, seed)
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
            found = f"expected the number of atoms, got {head.strip()[:40]!r}"
            yield f"line {number}: {found}; the rest of the file is not read"
            return
        n_atoms = int(head)
        block = [head, *itertools.islice(lines, n_atoms + 1)]
        if len(block) < n_atoms + 2:
            n_found = max(len(block) - 2, 0)
            yield (
                f"line {number}: the frame should have {n_atoms} atoms but the file ends after "
                f"{n_found}"
            )
            return
        yield _one_frame(block, number)
        number += n_atoms + 1


def _one_frame(block: list[str], first_line: int) -> ase.Atoms | str:
    try:
        return cast(ase.Atoms, ase.io.read(io.StringIO("".join(block)), format="extxyz"))
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        what = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
        return f"line {first_line}: the frame cannot be read ({what})"


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
