"""Molecules with their stereo marks from SMILES, .smi, CSV and SDF.

One after the other, a bad line as its error text.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from rdkit import Chem, rdBase

from molequi.errors import UserError
from molequi.runtime.files import no_file
from molequi.structures.csv_files import column_names, open_table, smiles_column, table_reader
from molequi.structures.formats import UNREADABLE, format_of, open_binary, suffix_of
from molequi.structures.sdf import read_drawn_stereo, sanitize, sdf_molecules

Item = tuple[str, "Chem.Mol | str"]


def molecules(source: str | Path | Sequence[str], smiles: str | None = None) -> Iterator[Item]:
    """Yield where each molecule stands and the molecule, or what is wrong with it.

    source: a file (.smi .smiles .csv .tsv .sdf .mol, also .gz), or a list of SMILES. smiles: the
    column with SMILES of a table. A record in space has its coordinates and the marks that they
    give; a flat one has those of its wedges.
    Raises UserError for a file that is missing or of another kind.
    """
    if not isinstance(source, str | Path):
        yield from ((f"SMILES {number}", parse_smiles(text)) for number, text in enumerate(source))
        return
    path = Path(source)
    if not path.is_file():
        raise UserError(
            f"{no_file(path)}; give a file of SMILES (.smi), a table with a SMILES column "
            "(.csv), or an SDF"
        )
    kind = format_of(path)
    if kind not in {"smiles", "table", "sdf"}:
        raise UserError(
            f"{path}: stereoisomers are made from .smi, .csv, .tsv, .sdf or .mol files, not "
            f"{suffix_of(path) or 'a file without suffix'}"
        )
    try:
        if kind == "table":
            yield from _table(path, smiles)
        else:
            yield from _lines(path) if kind == "smiles" else _records(path)
    except (*UNREADABLE, csv.Error) as error:
        raise UserError(f"{path} cannot be read as text ({error})") from error


def parse_smiles(text: str) -> Chem.Mol | str:
    """Return the molecule of a SMILES, or why there is none."""
    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(text.strip())
    if molecule is None or not text.strip():
        return f"SMILES {text.strip()!r} cannot be read; check brackets, ring closures and valences"
    return molecule


def _lines(path: Path) -> Iterator[Item]:
    with open_table(path) as handle:
        for number, line in enumerate(handle, start=1):
            words = line.split()
            if words and not words[0].startswith("#"):
                yield f"{path.name}:{number}", parse_smiles(words[0])


def _table(path: Path, smiles: str | None = None) -> Iterator[Item]:
    with open_table(path) as handle:
        reader = table_reader(handle, path)
        column = smiles_column(path, column_names(reader, path), smiles)
        for line in reader:
            text = (line[column] or "").strip()
            yield (
                f"{path.name}:{reader.line_num}",
                parse_smiles(text) if text else f"the column {column!r} is empty",
            )


def _records(path: Path) -> Iterator[Item]:
    with open_binary(path) as handle, rdBase.BlockLogs():
        for number, molecule in enumerate(sdf_molecules(handle), start=1):
            yield f"{path.name}: record {number}", _checked(molecule)


def _checked(molecule: Chem.Mol | None) -> Chem.Mol | str:
    if molecule is None:
        return "cannot be read as an SDF molecule"
    if not molecule.GetNumAtoms():
        return "has no atoms"
    problem = sanitize(molecule)
    if problem:
        return problem
    if not molecule.GetConformer().Is3D():
        read_drawn_stereo(molecule)
    return molecule
